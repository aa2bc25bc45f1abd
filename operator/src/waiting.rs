//! Services that wait for an address, and the call that wakes them.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use k8s_openapi::api::core::v1::Service;
use kube::runtime::reflector::ObjectRef;
use penstock_model::ObjectKey;

/// The waiting Services.
#[derive(Debug)]
pub(crate) struct Waiting {
    keys: Mutex<BTreeSet<ObjectKey>>,
    wake: UnboundedSender<ObjectRef<Service>>,
}

impl Waiting {
    /// An empty list, and the stream of those to look at again.
    pub(crate) fn new() -> (Self, UnboundedReceiver<ObjectRef<Service>>) {
        let (wake, woken) = unbounded();
        (Self { keys: Mutex::default(), wake }, woken)
    }

    /// Notes whether a Service waits.
    pub(crate) fn set(&self, key: &ObjectKey, waits: bool) {
        let mut keys = self.lock();
        if waits {
            keys.insert(key.clone());
        } else {
            keys.remove(key);
        }
    }

    /// Something was freed: everybody who waits is looked at again. A closed receiver means that the process ends.
    pub(crate) fn wake_all(&self) {
        for key in self.lock().iter() {
            let _ = self.wake.unbounded_send(ObjectRef::new(&key.name).within(&key.namespace));
        }
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ObjectKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
