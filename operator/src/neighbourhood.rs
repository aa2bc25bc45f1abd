//! Nodes and namespaces: what they say goes into the [`World`], and the Services that it concerns are looked at again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use kube::{
    Api, Client,
    core::PartialObjectMeta,
    runtime::{reflector::Store, watcher},
};
use penstock_model::ObjectKey;
use penstock_providers::Target;
use penstock_runtime::{Update, updates};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{intent::World, wake_list::WakeList};

/// A change of nodes is waited out for this long, so that a rolling upgrade is a few calls for each balancer and not
/// one for each node.
const BATCH: Duration = Duration::from_secs(1);

/// A namespace's labels.
type Labels = BTreeMap<String, String>;

/// Watches nodes and namespaces for as long as the process lives.
pub(crate) struct Neighbourhood {
    pub(crate) client: Client,
    pub(crate) world: Arc<RwLock<World>>,
    /// Who is told of a change of nodes.
    pub(crate) sent_to_nodes: Arc<WakeList>,
    /// Who lives in a namespace.
    pub(crate) services: Store<Service>,
    /// Turns true once both lists have arrived.
    pub(crate) known: watch::Sender<bool>,
}

impl Neighbourhood {
    /// Ends only with the process.
    pub(crate) async fn run(self) {
        let nodes = updates::<Node>(Api::all(self.client.clone()), watcher::Config::default());
        let namespaces: Api<PartialObjectMeta<Namespace>> = Api::all(self.client.clone());
        let namespaces = updates(namespaces, watcher::Config::default());
        pin_mut!(nodes, namespaces);
        let (mut nodes_known, mut all_namespaces): (Option<Nodes>, bool) = (None, false);
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                Some(update) = nodes.next() => {
                    apply_nodes(&mut nodes_known, update);
                    due = due.or_else(|| Some(Instant::now() + if *self.known.borrow() { BATCH } else { Duration::ZERO }));
                }
                Some(update) = namespaces.next() => {
                    all_namespaces = true;
                    self.take_namespaces(update);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    self.take_nodes(nodes_known.as_ref());
                }
                else => return,
            }
            if nodes_known.is_some() && due.is_none() && all_namespaces {
                self.known.send_if_modified(|known| !std::mem::replace(known, true));
            }
        }
    }

    fn take_nodes(&self, nodes: Option<&Nodes>) {
        let targets: Vec<Target> =
            nodes.into_iter().flatten().filter_map(|(_, n)| n.target.clone()).collect();
        let node_ips: BTreeSet<IpAddr> =
            nodes.into_iter().flatten().flat_map(|(_, n)| n.ips.clone()).collect();
        let labels: BTreeMap<String, Labels> =
            nodes.into_iter().flatten().map(|(name, n)| (name.clone(), n.labels.clone())).collect();
        let (targets_differ, ips_differ) = {
            let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
            let targets_differ = world.targets != targets || world.node_labels != labels;
            let differ = (targets_differ, world.rules.node_ips != node_ips);
            (world.targets, world.rules.node_ips, world.node_labels) = (targets, node_ips, labels);
            differ
        };
        if targets_differ {
            self.sent_to_nodes.wake_all();
        }
        if ips_differ {
            // An externalIP may be a node's by now, or no longer.
            let concerned = |s: &Service| s.spec.as_ref().is_some_and(|spec| spec.external_ips.is_some());
            for service in self.services.state().iter().filter(|service| concerned(service)) {
                self.sent_to_nodes.wake(&ObjectKey::of(&service.metadata));
            }
        }
    }

    /// A pool may have chosen, or may choose now, by the labels that changed.
    fn take_namespaces(&self, update: Update<PartialObjectMeta<Namespace>>) {
        let changed = {
            let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
            changed_namespaces(&mut world.namespaces, update)
        };
        let concerned = |service: &Service| {
            service.metadata.namespace.as_ref().is_some_and(|namespace| changed.contains(namespace))
        };
        for service in self.services.state().iter().filter(|service| concerned(service)) {
            self.sent_to_nodes.wake(&ObjectKey::of(&service.metadata));
        }
    }
}

/// What counts of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Neighbour {
    /// `None` where it may not receive traffic.
    target: Option<Target>,
    /// Its InternalIPs: nobody else's address.
    ips: Vec<IpAddr>,
    /// By which a Service may choose its targets.
    labels: Labels,
}

/// All nodes by name.
type Nodes = BTreeMap<String, Neighbour>;

fn apply_nodes(nodes: &mut Option<Nodes>, update: Update<Node>) {
    let neighbour = |node: &Node| {
        let read = penstock_model::Node::from_object(node);
        let labels = node.metadata.labels.clone().unwrap_or_default();
        (read.name, Neighbour { target: Target::of(node), ips: read.internal_ips, labels })
    };
    match update {
        Update::Reset(all) => *nodes = Some(all.iter().map(neighbour).collect()),
        Update::Apply(node) => nodes.get_or_insert_default().extend([neighbour(&node)]),
        Update::Delete(node) => {
            nodes.get_or_insert_default().remove(&neighbour(&node).0);
        }
    }
}

/// Takes over the labels; returns the namespaces whose labels are others now.
fn changed_namespaces(
    known: &mut BTreeMap<String, Labels>,
    update: Update<PartialObjectMeta<Namespace>>,
) -> Vec<String> {
    let labels = |n: PartialObjectMeta<Namespace>| {
        (n.metadata.name.unwrap_or_default(), n.metadata.labels.unwrap_or_default())
    };
    let before = known.clone();
    match update {
        Update::Reset(all) => *known = all.into_iter().map(labels).collect(),
        Update::Apply(one) => known.extend([labels(one)]),
        Update::Delete(one) => {
            known.remove(&labels(one).0);
        }
    }
    known.iter().filter(|(name, labels)| before.get(*name) != Some(labels)).map(|(n, _)| n.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn namespace(name: &str, team: &str) -> PartialObjectMeta<Namespace> {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": {"team": team}}})).unwrap()
    }

    #[test]
    fn only_namespaces_whose_labels_changed_are_named() {
        let mut known = BTreeMap::new();
        let all = vec![namespace("a", "x"), namespace("b", "y")];
        assert_eq!(changed_namespaces(&mut known, Update::Reset(all)), ["a", "b"]);
        assert!(changed_namespaces(&mut known, Update::Apply(namespace("a", "x"))).is_empty());
        assert_eq!(changed_namespaces(&mut known, Update::Apply(namespace("a", "z"))), ["a"]);
        assert!(changed_namespaces(&mut known, Update::Delete(namespace("b", "y"))).is_empty());
        assert!(!known.contains_key("b"));
    }

    #[test]
    fn a_node_that_is_excluded_by_now_is_no_target_any_longer() {
        let node = |labels| {
            serde_json::from_value::<Node>(json!({"metadata": {"name": "n", "labels": labels}})).unwrap()
        };
        let mut nodes = None;
        apply_nodes(&mut nodes, Update::Reset(vec![node(json!({}))]));
        assert!(nodes.as_ref().unwrap()["n"].target.is_some());
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        apply_nodes(&mut nodes, Update::Apply(node(json!({label: ""}))));
        assert_eq!(nodes.unwrap()["n"].target, None);
    }
}
