//! Nodes and namespaces: what they say goes into the [`World`], and the Services that it concerns are looked at again.

use std::{
    collections::BTreeMap,
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
        let (mut targets, mut all_namespaces) = (None, false);
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                Some(update) = nodes.next() => {
                    apply_nodes(&mut targets, update);
                    due = due.or_else(|| Some(Instant::now() + if *self.known.borrow() { BATCH } else { Duration::ZERO }));
                }
                Some(update) = namespaces.next() => {
                    all_namespaces = true;
                    self.take_namespaces(update);
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    self.take_targets(targets.as_ref());
                }
                else => return,
            }
            if targets.is_some() && due.is_none() && all_namespaces {
                self.known.send_if_modified(|known| !std::mem::replace(known, true));
            }
        }
    }

    fn take_targets(&self, targets: Option<&BTreeMap<String, Target>>) {
        let targets: Vec<Target> = targets.into_iter().flatten().map(|(_, target)| target.clone()).collect();
        {
            let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
            if world.targets == targets {
                return;
            }
            world.targets = targets;
        }
        self.sent_to_nodes.wake_all();
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

fn apply_nodes(targets: &mut Option<BTreeMap<String, Target>>, update: Update<Node>) {
    let named = |node: &Node| Target::of(node).map(|target| (target.node.clone(), target));
    match update {
        Update::Reset(nodes) => *targets = Some(nodes.iter().filter_map(named).collect()),
        Update::Apply(node) => {
            let known = targets.get_or_insert_default();
            known.remove(node.metadata.name.as_deref().unwrap_or_default());
            known.extend(named(&node));
        }
        Update::Delete(node) => {
            targets.get_or_insert_default().remove(node.metadata.name.as_deref().unwrap_or_default());
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
        let mut targets = None;
        apply_nodes(&mut targets, Update::Reset(vec![node(json!({}))]));
        assert_eq!(targets.as_ref().unwrap().len(), 1);
        let label = "node.kubernetes.io/exclude-from-external-load-balancers";
        apply_nodes(&mut targets, Update::Apply(node(json!({label: ""}))));
        assert!(targets.unwrap().is_empty());
    }
}
