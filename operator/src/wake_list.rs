//! Services that wait for something that they share, and the call that wakes them: an address that is freed, a change
//! of nodes.

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::channel::mpsc::UnboundedSender;
use k8s_openapi::api::core::v1::Service;
use kube::runtime::reflector::ObjectRef;
use penstock_model::ObjectKey;

/// Services that are looked at again together.
#[derive(Debug)]
pub(crate) struct WakeList {
    keys: Mutex<BTreeSet<ObjectKey>>,
    wake: UnboundedSender<ObjectRef<Service>>,
}

impl WakeList {
    /// An empty list; whom it wakes goes into `wake`.
    pub(crate) fn new(wake: UnboundedSender<ObjectRef<Service>>) -> Self {
        Self { keys: Mutex::default(), wake }
    }

    /// Notes whether a Service is on it.
    pub(crate) fn set(&self, key: &ObjectKey, listed: bool) {
        let mut keys = self.lock();
        if listed {
            keys.insert(key.clone());
        } else {
            keys.remove(key);
        }
    }

    /// Everybody on the list is looked at again.
    pub(crate) fn wake_all(&self) {
        self.lock().iter().for_each(|key| self.wake(key));
    }

    /// One Service is looked at again, listed or not. A closed receiver means that the process ends.
    pub(crate) fn wake(&self, key: &ObjectKey) {
        let _ = self.wake.unbounded_send(ObjectRef::new(&key.name).within(&key.namespace));
    }

    /// One Service is looked at again if it is on the list.
    pub(crate) fn wake_listed(&self, key: &ObjectKey) {
        if self.lock().contains(key) {
            self.wake(key);
        }
    }

    /// How many are on it.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ObjectKey>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
