//! What is outside the cluster for a class of the provider `aws`: the endpoint that stands for AWS, and a proxy before it
//! that makes one call after the other go wrong.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::api::{DynamicObject, PostParams};
use penstock_crds::LoadBalancerClass;
use penstock_e2e::wait::{Look, until};
use penstock_tests::{
    aws_endpoint::{ACCESS_KEY, AwsEndpoint, Clock, Listener, REGION, Settings, Store, Tags, VPC},
    fault_proxy::{FaultProxy, Kill, Plan, Upstream},
};
use serde_json::{Value, json};

use crate::{appliance::nodes, user::User};

/// The class.
pub(crate) const CLASS: &str = "nlb";
/// The instances of the nodes that are there when a story begins.
pub(crate) const INSTANCES: [&str; 2] = ["i-0123456789abcde01", "i-0123456789abcde02"];
/// As on AWS, only shorter: so long what was just made is not shown.
const LAG: Duration = Duration::from_millis(400);

/// What the operator's process finds its credentials in; every secret is right.
pub(crate) const CREDENTIALS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
    ("AWS_SECRET_ACCESS_KEY", "s3cret"),
    // What has no credentials here must not ask for those of a machine.
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// See the module.
pub(crate) struct Cloud {
    endpoint: AwsEndpoint,
    pub(crate) proxy: FaultProxy,
}

impl Cloud {
    /// Starts both. The proxy kills the operator.
    pub(crate) async fn start(kill: Kill) -> Result<Self> {
        let endpoint = AwsEndpoint::start().await?;
        let base = endpoint.url().parse().context("name the endpoint of AWS")?;
        let proxy = FaultProxy::start(Upstream::http(base), kill).await?;
        Ok(Self { endpoint, proxy })
    }

    /// Forgets everything, once the calls of a dead operator have ended.
    pub(crate) async fn clear(&self) {
        self.proxy.begin(Plan::Nothing);
        self.proxy.drained().await;
        let settings = Settings { describe_lag: LAG, ..Settings::default() };
        *self.endpoint.store() = Store::new(settings, Clock::running());
    }

    /// The nodes and the class.
    pub(crate) async fn prepare(&self, user: &User) -> Result<()> {
        for (number, instance) in INSTANCES.into_iter().enumerate() {
            create_node(user, &format!("node-{}", number + 1), instance).await?;
        }
        let parameters = json!({"region": REGION, "vpcId": VPC, "clusterName": "chaos",
            "endpointUrl": self.proxy.url(), "internalSubnets": ["subnet-a", "subnet-b"]});
        let class: LoadBalancerClass = serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancerClass", "metadata": {"name": CLASS},
            "spec": {"provider": "aws", "aws": parameters}
        }))?;
        user.classes().create(&PostParams::default(), &class).await.context("create a class")?;
        Ok(())
    }

    /// All balancers with their listeners and targets, without what differs from run to run; and what must not be.
    pub(crate) fn state(&self, services: &[DynamicObject]) -> Value {
        let store = self.endpoint.store();
        let live: BTreeSet<&str> = services.iter().filter_map(|s| s.metadata.uid.as_deref()).collect();
        json!({"balancers": balancers(&store), "orphans": strays(&store, &live)})
    }

    /// Waits until there is exactly one balancer with these ports, and these instances behind each.
    pub(crate) async fn serves(&self, user: &User, ports: &[Port], instances: &[&str]) -> Result<()> {
        let listener = |port: &Port| {
            let targets: Vec<String> = instances.iter().map(|id| format!("{id}:{}", port.node)).collect();
            json!({"port": port.port, "protocol": port.protocol, "targets": targets})
        };
        let wanted: Vec<Value> = ports.iter().map(listener).collect();
        let wanted = json!(wanted);
        self.eventually(user, |store| {
            let found = balancers(store);
            found.len() == 1 && found[0]["listeners"] == wanted && store.target_groups.len() == ports.len()
        })
        .await
    }

    /// Waits until nothing is left there.
    pub(crate) async fn is_empty(&self, user: &User) -> Result<()> {
        self.eventually(user, Store::is_empty).await
    }

    async fn eventually(&self, user: &User, wanted: impl Fn(&Store) -> bool) -> Result<()> {
        until("the balancers of AWS", user.limit, || async {
            let store = self.endpoint.store();
            Ok(if wanted(&store) { Look::Ready(()) } else { Look::NotYet(store.summary().to_string()) })
        })
        .await
    }
}

/// A port of a Service: what clients connect to, and what nodes listen at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
    pub(crate) node: u16,
}

/// The first name that a Service shows.
pub(crate) fn hostname(service: &Service) -> Option<&str> {
    let balancer = service.status.as_ref()?.load_balancer.as_ref()?;
    balancer.ingress.as_ref()?.first()?.hostname.as_deref()
}

/// Creates a node that is an instance.
pub(crate) async fn create_node(user: &User, name: &str, instance: &str) -> Result<()> {
    let spec = json!({"providerID": format!("aws:///{REGION}a/{instance}")});
    let node: Node = serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec}))?;
    nodes(user).create(&PostParams::default(), &node).await.context("create a node")?;
    Ok(())
}

fn balancers(store: &Store) -> Vec<Value> {
    let each = store.load_balancers.iter().map(|(arn, held)| {
        let mut listeners: Vec<&Listener> =
            store.listeners.values().filter(|listener| listener.load_balancer == *arn).collect();
        listeners.sort_by_key(|listener| listener.wish.port);
        let listeners: Vec<Value> = listeners.into_iter().map(|held| of_listener(store, held)).collect();
        json!({"service": held.tags.get(SERVICE), "scheme": held.shape.scheme, "attributes": held.attributes,
            "listeners": listeners})
    });
    let mut all: Vec<Value> = each.collect();
    all.sort_by_key(ToString::to_string);
    all
}

fn of_listener(store: &Store, held: &Listener) -> Value {
    let group = store.target_groups.get(&held.wish.target_group);
    let registered = group.into_iter().flat_map(|group| &group.targets);
    let live = registered.filter(|(_, target)| target.deregistered.is_none());
    let targets: Vec<String> = live.map(|((id, port), _)| format!("{id}:{port}")).collect();
    json!({"port": held.wish.port, "protocol": held.wish.protocol, "targets": targets})
}

/// The tags that say whose something is.
const SERVICE: &str = "penstock.dev/service";
const SERVICE_UID: &str = "penstock.dev/service-uid";

/// What belongs to no Service that is there, is there twice for one, or serves nobody: every sentence is something that
/// must not be at rest.
fn strays(store: &Store, live: &BTreeSet<&str>) -> Vec<String> {
    let dead = |tags: &Tags| tags.get(SERVICE_UID).is_none_or(|uid| !live.contains(uid.as_str()));
    let mut found = Vec::new();
    for held in store.load_balancers.values() {
        if dead(&held.tags) {
            found.push("a balancer belongs to no Service".to_owned());
        }
        let owner = held.tags.get(SERVICE_UID);
        let same = store.load_balancers.values().filter(|other| other.tags.get(SERVICE_UID) == owner);
        if same.count() > 1 {
            found.push("a Service has two balancers".to_owned());
        }
    }
    for held in store.target_groups.values() {
        match () {
            () if dead(&held.tags) => found.push("a target group belongs to no Service".to_owned()),
            () if held.attached.is_none() => found.push("no listener uses a target group".to_owned()),
            () => {}
        }
    }
    for held in store.listeners.values() {
        let (balancer, group) =
            (store.load_balancers.get(&held.load_balancer), store.target_groups.get(&held.wish.target_group));
        let owners = (
            balancer.map(|balancer| balancer.tags.get(SERVICE_UID)),
            group.map(|group| group.tags.get(SERVICE_UID)),
        );
        if owners.0 != owners.1 || owners.0.is_none() {
            found.push("a listener sends from one Service's balancer to another's targets".to_owned());
        }
    }
    found
}
