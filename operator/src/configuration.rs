//! Classes and pools: read, judged, handed to the provider; what became of each is written to its status.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock},
};

use futures::{StreamExt, channel::mpsc::UnboundedSender, pin_mut};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::watcher,
};
use penstock_crds::{ConditionKind, IPAddressPool, LoadBalancerClass, Reason, condition, set_condition};
use penstock_providers::pool::PoolProvider;
use penstock_runtime::{Update, updates};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::watch;

use crate::class::Classes;

/// A class or pool is in use, or why not.
type Verdict = Result<(), (Reason, String)>;

/// Watches classes and pools for as long as the process lives.
pub(crate) struct Configuration {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) provider: Arc<PoolProvider>,
    pub(crate) classes: Arc<RwLock<Classes>>,
    /// Every Service is looked at again after a change: it may have become ours, or its address forbidden.
    pub(crate) changed: UnboundedSender<()>,
    /// Turns true once both lists have arrived.
    pub(crate) known: watch::Sender<bool>,
}

/// The objects known of a kind, by name; `None` before the first list.
type Known<K> = Option<BTreeMap<String, K>>;

impl Configuration {
    /// Ends only with the process.
    pub(crate) async fn run(self) {
        let pools = updates(self.pools(), watcher::Config::default());
        let classes = updates(self.class_api(), watcher::Config::default());
        pin_mut!(pools, classes);
        let (mut known_pools, mut known_classes): (Known<IPAddressPool>, Known<LoadBalancerClass>) =
            (None, None);
        loop {
            tokio::select! {
                Some(update) = pools.next() => apply(&mut known_pools, update),
                Some(update) = classes.next() => apply(&mut known_classes, update),
                else => return,
            }
            if let (Some(pools), Some(classes)) = (&known_pools, &known_classes) {
                self.take(pools, classes).await;
            }
        }
    }

    fn pools(&self) -> Api<IPAddressPool> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn class_api(&self) -> Api<LoadBalancerClass> {
        Api::all(self.client.clone())
    }

    async fn take(
        &self,
        pools: &BTreeMap<String, IPAddressPool>,
        classes: &BTreeMap<String, LoadBalancerClass>,
    ) {
        let verdicts = self.provider.configure(&pools.values().cloned().collect::<Vec<_>>());
        let (read, class_verdicts) = Classes::judge(&classes.values().cloned().collect::<Vec<_>>());
        *self.classes.write().unwrap_or_else(PoisonError::into_inner) = read;
        self.known.send_replace(true);
        let _ = self.changed.unbounded_send(());
        for (name, verdict) in verdicts {
            let verdict = verdict.map(|_| ()).map_err(|r| (r.reason, r.message));
            let conditions = pools[&name].status.as_ref().map(|s| s.conditions.clone());
            report(&self.pools(), &pools[&name], conditions.unwrap_or_default(), verdict).await;
        }
        for (name, verdict) in class_verdicts {
            let conditions = classes[&name].status.as_ref().map(|s| s.conditions.clone());
            report(&self.class_api(), &classes[&name], conditions.unwrap_or_default(), verdict).await;
        }
    }
}

fn apply<K: Resource>(known: &mut Known<K>, update: Update<K>) {
    let name = |object: &K| object.meta().name.clone().unwrap_or_default();
    match (update, known) {
        (Update::Reset(objects), known) => {
            *known = Some(objects.into_iter().map(|o| (name(&o), o)).collect())
        }
        (Update::Apply(object), Some(known)) => {
            known.insert(name(&object), object);
        }
        (Update::Delete(object), Some(known)) => {
            known.remove(&name(&object));
        }
        // The watch lists before it says anything else.
        (Update::Apply(_) | Update::Delete(_), None) => {}
    }
}

/// Writes the condition `Accepted` where it differs. A failed write is logged: the next change of any class or
/// pool tries again.
async fn report<K>(api: &Api<K>, object: &K, mut conditions: Vec<Condition>, verdict: Verdict)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let (status, reason, message) = match verdict {
        Ok(()) => (true, Reason::Accepted, String::new()),
        Err((reason, message)) => (false, reason, message),
    };
    let generation = object.meta().generation;
    let new = condition(ConditionKind::Accepted, status, reason, &message, generation, Timestamp::now());
    if !set_condition(&mut conditions, new) {
        return;
    }
    let patch = json!({"status": {"conditions": conditions}});
    let name = object.name_any();
    if let Err(error) = api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
        tracing::warn!(kind = %K::kind(&()), name, %error, "condition could not be written");
    } else if !status {
        tracing::warn!(kind = %K::kind(&()), name, message, "not accepted");
    }
}
