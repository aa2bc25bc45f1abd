//! What is outside the cluster: an endpoint of the provider `webhook`, and a proxy before it that makes one call after
//! the other go wrong.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{DynamicObject, PostParams},
};
use penstock_crds::LoadBalancerClass;
use penstock_e2e::wait::{Look, until};
use penstock_tests::{
    fault_proxy::{FaultProxy, Kill, Plan, Upstream},
    webhook_endpoint::{Balancer, Store, WebhookEndpoint},
};
use serde_json::{Value, json};

use crate::user::User;

/// The class of the endpoint.
pub(crate) const CLASS: &str = "outside";
/// The nodes that are there when a story begins.
pub(crate) const NODES: [&str; 2] = ["node-1", "node-2"];

/// See the module.
pub(crate) struct Appliance {
    endpoint: WebhookEndpoint,
    pub(crate) proxy: FaultProxy,
}

impl Appliance {
    /// Starts both. The proxy kills the operator.
    pub(crate) async fn start(kill: Kill) -> Result<Self> {
        let endpoint = WebhookEndpoint::start().await?;
        let base = format!("http://{}", endpoint.address()).parse().context("name the endpoint")?;
        let proxy = FaultProxy::start(Upstream::http(base), kill).await?;
        Ok(Self { endpoint, proxy })
    }

    /// Forgets everything, once the calls of a dead operator have ended.
    pub(crate) async fn clear(&self) {
        self.proxy.begin(Plan::Nothing);
        self.proxy.drained().await;
        *self.endpoint.store() = Store::default();
    }

    /// The nodes and the class; what is asked of the appliance is unfinished for so many looks.
    pub(crate) async fn prepare(&self, user: &User, unfinished: u32) -> Result<()> {
        {
            let mut store = self.endpoint.store();
            (store.unfinished, store.retry_after) = (unfinished, (unfinished > 0).then_some(1));
        }
        for (name, address) in NODES.into_iter().zip(["192.0.2.11", "192.0.2.12"]) {
            create_node(user, name, address).await?;
        }
        let class: LoadBalancerClass = serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancerClass", "metadata": {"name": CLASS},
            "spec": {"provider": "webhook", "webhook": {"url": format!("{}/balancers", self.proxy.url())}}
        }))?;
        user.classes().create(&PostParams::default(), &class).await.context("create a class")?;
        Ok(())
    }

    /// All balancers, without what differs from run to run; and those that have no Service.
    pub(crate) fn state(&self, services: &[DynamicObject]) -> Value {
        let store = self.endpoint.store();
        let mut balancers: Vec<Value> = store.balancers.values().map(of_balancer).collect();
        balancers.sort_by_key(ToString::to_string);
        let exists = |uid: &String| services.iter().any(|service| service.metadata.uid.as_ref() == Some(uid));
        let orphans = store.balancers.iter().filter(|(uid, _)| !exists(uid));
        json!({"balancers": balancers, "orphans": orphans.map(|(_, b)| &b.owner.name).collect::<Vec<_>>()})
    }

    /// Waits until it serves exactly one Service, at these ports and by these nodes.
    pub(crate) async fn serves(&self, user: &User, ports: &[u16], nodes: &[&str]) -> Result<()> {
        self.eventually(user, |balancers| match balancers {
            [one] => ports_of(one) == ports && nodes_of(one) == nodes && one.unfinished == 0 && !one.deleting,
            _ => false,
        })
        .await
    }

    /// Waits until it has no balancer any longer.
    pub(crate) async fn is_empty(&self, user: &User) -> Result<()> {
        self.eventually(user, |balancers| matches!(balancers, [])).await
    }

    async fn eventually(&self, user: &User, wanted: impl Fn(&[&Balancer]) -> bool) -> Result<()> {
        until("the balancers outside", user.limit, || async {
            let store = self.endpoint.store();
            let balancers: Vec<&Balancer> = store.balancers.values().collect();
            let sketch =
                || balancers.iter().map(|b| of_balancer(b).to_string()).collect::<Vec<_>>().join("; ");
            Ok(if wanted(&balancers) { Look::Ready(()) } else { Look::NotYet(sketch()) })
        })
        .await
    }
}

/// Creates a node.
pub(crate) async fn create_node(user: &User, name: &str, address: &str) -> Result<()> {
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}
    }))?;
    nodes(user).create(&PostParams::default(), &node).await.context("create a node")?;
    Ok(())
}

/// All nodes.
pub(crate) fn nodes(user: &User) -> Api<Node> {
    Api::all(user.client.clone())
}

fn of_balancer(balancer: &Balancer) -> Value {
    json!({
        "service": format!("{}/{}", balancer.owner.namespace, balancer.owner.name),
        "ports": ports_of(balancer), "nodes": nodes_of(balancer),
        "unfinished": balancer.unfinished, "deleting": balancer.deleting, "error": balancer.error,
    })
}

fn ports_of(balancer: &Balancer) -> Vec<u16> {
    balancer.spec.frontends.iter().map(|frontend| frontend.port).collect()
}

fn nodes_of(balancer: &Balancer) -> Vec<&str> {
    let mut nodes: Vec<&str> = balancer.targets.iter().map(|target| target.node.as_str()).collect();
    nodes.sort_unstable();
    nodes
}
