//! What is outside the cluster for classes of clouds: an account each, with the endpoint that stands for the cloud, and a
//! proxy before it that makes one call after the other go wrong.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::api::{DynamicObject, PostParams};
use penstock_crds::LoadBalancerClass;
use penstock_e2e::{
    control_plane::ControlPlane,
    wait::{Look, until},
};
use penstock_providers::Certificate;
use penstock_tests::{
    fault_proxy::{FaultProxy, Kill, Plan, Upstream},
    secret,
};
use serde_json::{Map, Value, json};

use crate::{
    appliance::nodes, aws::Aws, digitalocean::DigitalOcean, hetzner::Hetzner, scenario::Outside, user::User,
};

/// The class.
pub(crate) const CLASS: &str = "cloud";
/// The machines that are there when a story begins.
pub(crate) const MACHINES: [u8; 2] = [1, 2];

/// Whose account it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Aws,
    Hetzner,
    DigitalOcean,
}

/// What differs between clouds.
pub(crate) trait Account: Send + Sync {
    /// For reports.
    fn name(&self) -> &'static str;

    /// Scheme and authority of the endpoint.
    fn url(&self) -> String;

    /// Forgets everything.
    fn clear(&self);

    /// The class's spec, with the endpoint at this URL.
    fn class(&self, url: &str) -> Value;

    /// What the cloud calls a machine.
    fn machine(&self, number: u8) -> String;

    /// What a node that is this machine says.
    fn provider_id(&self, machine: &str) -> String;

    /// All balancers with `listeners` (port, protocol, and where they send to), without what differs from run to run.
    fn balancers(&self) -> Vec<Value>;

    /// Things of which there has to be one for each port.
    fn parts(&self) -> usize;

    /// What belongs to no Service that is there, is there twice for one, or serves nobody: every sentence is something
    /// that must not be at rest.
    fn strays(&self, live: &BTreeSet<&str>) -> Vec<String>;

    /// Whether nothing at all is left.
    fn is_empty(&self) -> bool;

    /// The certificates that were uploaded, as PEM, where there are such stories.
    fn certificates(&self) -> Vec<String> {
        Vec::new()
    }
}

/// See the module.
pub(crate) struct Cloud {
    account: Box<dyn Account>,
    pub(crate) proxy: FaultProxy,
}

/// One of each kind.
#[derive(Clone)]
pub(crate) struct Clouds(Arc<[Cloud; 3]>);

/// A port of a Service: what clients connect to, and what nodes listen at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    /// As the balancer has it.
    pub(crate) protocol: &'static str,
    pub(crate) port: u16,
    pub(crate) node: u16,
}

impl Clouds {
    /// Starts all. The proxies kill the operator.
    pub(crate) async fn start(kill: &Kill) -> Result<Self> {
        let aws = Cloud::start(Box::new(Aws::start().await?), kill).await?;
        let hetzner = Cloud::start(Box::new(Hetzner::start().await?), kill).await?;
        let digitalocean = Cloud::start(Box::new(DigitalOcean::start().await?), kill).await?;
        Ok(Self(Arc::new([aws, hetzner, digitalocean])))
    }

    /// Credentials in Secrets, and the right to read them and those with certificates.
    pub(crate) fn install(control_plane: &ControlPlane) -> Result<()> {
        let kubectl = |args: &[&str]| control_plane.run_kubectl(args).map(drop);
        secret::grant(kubectl, crate::hetzner::SECRET, &[("token", crate::hetzner::TOKEN)])?;
        secret::grant(kubectl, crate::digitalocean::SECRET, &[("token", crate::digitalocean::TOKEN)])?;
        secret::allow_tls(kubectl)
    }

    pub(crate) fn of(&self, kind: Kind) -> &Cloud {
        let [aws, hetzner, digitalocean] = self.0.as_ref();
        match kind {
            Kind::Aws => aws,
            Kind::Hetzner => hetzner,
            Kind::DigitalOcean => digitalocean,
        }
    }

    pub(crate) fn all(&self) -> &[Cloud] {
        self.0.as_ref()
    }

    /// What there is of each.
    pub(crate) fn state(&self, services: &[DynamicObject]) -> Value {
        let each = self.all().iter().map(|cloud| (cloud.account.name().to_owned(), cloud.state(services)));
        Value::Object(each.collect::<Map<_, _>>())
    }
}

impl Cloud {
    async fn start(account: Box<dyn Account>, kill: &Kill) -> Result<Self> {
        let base =
            account.url().parse().with_context(|| format!("name the endpoint of {}", account.name()))?;
        let proxy = FaultProxy::start(Upstream::http(base), kill.clone()).await?;
        Ok(Self { account, proxy })
    }

    /// Forgets everything, once the calls of a dead operator have ended.
    pub(crate) async fn clear(&self) {
        self.proxy.begin(Plan::Nothing);
        self.proxy.drained().await;
        self.account.clear();
    }

    /// The nodes and the class.
    pub(crate) async fn prepare(&self, user: &User) -> Result<()> {
        for number in MACHINES {
            self.create_node(user, number).await?;
        }
        let class: LoadBalancerClass = serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancerClass", "metadata": {"name": CLASS},
            "spec": self.account.class(&self.proxy.url())
        }))?;
        user.classes().create(&PostParams::default(), &class).await.context("create a class")?;
        Ok(())
    }

    /// Creates the node of a machine.
    pub(crate) async fn create_node(&self, user: &User, number: u8) -> Result<()> {
        let provider_id = self.account.provider_id(&self.account.machine(number));
        let object =
            json!({"metadata": {"name": format!("node-{number}")}, "spec": {"providerID": provider_id}});
        let node: Node = serde_json::from_value(object)?;
        nodes(user).create(&PostParams::default(), &node).await.context("create a node")?;
        Ok(())
    }

    /// All balancers, and what must not be.
    fn state(&self, services: &[DynamicObject]) -> Value {
        let live: BTreeSet<&str> = services.iter().filter_map(|s| s.metadata.uid.as_deref()).collect();
        json!({"balancers": self.account.balancers(), "orphans": self.account.strays(&live)})
    }

    /// Waits until there is exactly one balancer with these ports, and these machines behind each.
    pub(crate) async fn serves(&self, user: &User, ports: &[Port], machines: &[u8]) -> Result<()> {
        let listener = |port: &Port| {
            let target = |number: &u8| format!("{}:{}", self.account.machine(*number), port.node);
            let targets: Vec<String> = machines.iter().map(target).collect();
            json!({"port": port.port, "protocol": port.protocol, "targets": targets})
        };
        let wanted = json!(ports.iter().map(listener).collect::<Vec<_>>());
        self.eventually(user, |account| {
            let found = account.balancers();
            found.len() == 1 && found[0]["listeners"] == wanted && account.parts() == ports.len()
        })
        .await
    }

    /// Waits until this certificate is there, and no other.
    pub(crate) async fn shows(&self, user: &User, certificate: &Certificate) -> Result<()> {
        let text = |pem: &str| pem.split_whitespace().collect::<String>();
        let wanted = text(&certificate.leaf_pem());
        self.eventually(user, |account| {
            let held = account.certificates();
            held.len() == 1 && text(&held[0]) == wanted
        })
        .await
    }

    /// Waits until nothing is left there.
    pub(crate) async fn is_empty(&self, user: &User) -> Result<()> {
        self.eventually(user, |account| account.is_empty()).await
    }

    async fn eventually(&self, user: &User, wanted: impl Fn(&dyn Account) -> bool) -> Result<()> {
        let account = self.account.as_ref();
        until(&format!("the balancers of {}", account.name()), user.limit, || async {
            let seen = || format!("{}; {} parts", json!(account.balancers()), account.parts());
            Ok(if wanted(account) { Look::Ready(()) } else { Look::NotYet(seen()) })
        })
        .await
    }
}

impl User {
    /// The account that a story is about.
    pub(crate) fn cloud(&self, kind: Kind) -> &Cloud {
        self.clouds.of(kind)
    }
}

impl From<Kind> for Outside {
    fn from(kind: Kind) -> Self {
        Self::Cloud(kind)
    }
}

/// The first name or address that a Service shows.
pub(crate) fn front(service: &Service) -> Option<&str> {
    let balancer = service.status.as_ref()?.load_balancer.as_ref()?;
    let first = balancer.ingress.as_ref()?.first()?;
    first.hostname.as_deref().or(first.ip.as_deref())
}

/// A balancer for each Service, and a Service for each balancer; owners are UIDs.
pub(crate) fn unmatched<'a>(
    what: &str,
    owners: impl Iterator<Item = Option<&'a str>>,
    live: &BTreeSet<&str>,
) -> Vec<String> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    for owner in owners {
        if owner.is_none_or(|uid| !live.contains(uid)) {
            found.push(format!("a {what} belongs to no Service"));
        }
        if !seen.insert(owner) {
            found.push(format!("a Service has two of: {what}"));
        }
    }
    found
}
