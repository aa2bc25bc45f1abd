//! Endpoints, for balancers that send to them without the nodes' help. Nothing is watched before a class may need it:
//! with many Services there are more endpoints than anything else.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kube::{
    Api, Client,
    runtime::{reflector::Store, watcher},
};
use penstock_model::{EndpointIndex, ObjectKey};
use penstock_runtime::{Update, updates};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{intent::World, wake_list::WakeList};

/// A change of endpoints is waited out for this long, so that a rollout is a few calls for each balancer.
const BATCH: Duration = Duration::from_secs(1);

/// Watches EndpointSlices for as long as the process lives.
pub(crate) struct Endpoints {
    pub(crate) client: Client,
    pub(crate) world: Arc<RwLock<World>>,
    /// Who is told of a change.
    pub(crate) sent_to_endpoints: Arc<WakeList>,
    pub(crate) services: Store<Service>,
    /// Whether some class may need them; `None` before the classes are known.
    pub(crate) wanted: watch::Receiver<Option<bool>>,
    /// Turns true once they are known, or are known not to be needed.
    pub(crate) known: watch::Sender<bool>,
}

impl Endpoints {
    /// Ends only with the process.
    pub(crate) async fn run(mut self) {
        let needed = self.wanted.wait_for(Option::is_some).await.is_ok_and(|wanted| *wanted == Some(true));
        if !needed {
            self.known.send_replace(true);
            if self.wanted.wait_for(|wanted| *wanted == Some(true)).await.is_err() {
                return std::future::pending().await;
            }
        }
        self.watch().await;
    }

    async fn watch(&self) {
        let index = Arc::new(RwLock::new(EndpointIndex::default()));
        let slices = updates::<EndpointSlice>(Api::all(self.client.clone()), watcher::Config::default());
        pin_mut!(slices);
        let (mut touched, mut due): (BTreeSet<ObjectKey>, Option<Instant>) = (BTreeSet::new(), None);
        loop {
            tokio::select! {
                Some(update) = slices.next() => {
                    let first = matches!(update, Update::Reset(_));
                    touched.extend(apply(&mut index.write().unwrap_or_else(PoisonError::into_inner), update));
                    if first && !self.publish(&index) {
                        touched.clear();
                    }
                    due = due.or_else(|| (!touched.is_empty()).then(|| Instant::now() + BATCH));
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    due = None;
                    std::mem::take(&mut touched).iter().for_each(|key| self.sent_to_endpoints.wake_listed(key));
                }
                else => return,
            }
        }
    }

    /// From now on they count. Returns whether they did before.
    fn publish(&self, index: &Arc<RwLock<EndpointIndex>>) -> bool {
        let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
        let before = world.endpoints.replace(Arc::clone(index)).is_some();
        drop(world);
        let unknown_until_now = !before && self.known.borrow().to_owned();
        self.known.send_replace(true);
        if unknown_until_now {
            let balanced =
                |s: &Service| s.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("LoadBalancer");
            for service in self.services.state().iter().filter(|service| balanced(service)) {
                self.sent_to_endpoints.wake(&ObjectKey::of(&service.metadata));
            }
        }
        before
    }
}

/// The Services whose endpoints may differ now.
fn apply(index: &mut EndpointIndex, update: Update<EndpointSlice>) -> Vec<ObjectKey> {
    let touched = match update {
        Update::Apply(slice) => index.apply(&slice),
        Update::Delete(slice) => index.delete(&ObjectKey::of(&slice.metadata)),
        Update::Reset(slices) => {
            let listed: BTreeSet<ObjectKey> =
                slices.iter().map(|slice| ObjectKey::of(&slice.metadata)).collect();
            let gone: Vec<ObjectKey> = index.keys().filter(|key| !listed.contains(key)).cloned().collect();
            let gone: Vec<_> = gone.iter().flat_map(|key| index.delete(key)).collect();
            gone.into_iter()
                .chain(slices.iter().flat_map(|slice| index.apply(slice)).collect::<Vec<_>>())
                .collect()
        }
    };
    touched.iter().map(|key| key.as_ref().clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn slice(name: &str, service: &str, ready: bool) -> EndpointSlice {
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "d", "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
            "ports": [{"name": "", "protocol": "TCP", "port": 80}]
        }))
        .unwrap()
    }

    #[test]
    fn who_has_other_endpoints_is_named_also_after_a_list_that_leaves_some_out() {
        let mut index = EndpointIndex::default();
        let mut by =
            |update| -> Vec<String> { apply(&mut index, update).into_iter().map(|key| key.name).collect() };
        assert_eq!(by(Update::Reset(vec![slice("a-1", "a", true), slice("b-1", "b", true)])), ["a", "b"]);
        assert!(by(Update::Apply(slice("a-1", "a", true))).is_empty());
        assert_eq!(by(Update::Apply(slice("a-1", "a", false))), ["a"]);
        assert_eq!(by(Update::Reset(vec![slice("a-1", "a", false)])), ["b"]);
        assert_eq!(by(Update::Delete(slice("a-1", "a", false))), ["a"]);
    }
}
