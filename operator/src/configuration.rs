//! Classes and pools: read, judged, handed to the provider; what became of each is written to its status.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::{StreamExt, channel::mpsc::UnboundedSender, pin_mut};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{Patch, PatchParams},
    runtime::watcher,
};
use penstock_crds::{ConditionKind, IPAddressPool, LoadBalancerClass, Reason, condition, set_condition};
use penstock_providers::pool::{PoolProvider, Verdicts, judge};
use penstock_runtime::{Update, readable_updates};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::{Notify, watch};

use crate::{
    class::{ClassVerdict, Classes},
    intent::World,
    metrics::Metrics,
};

/// A condition that could not be written is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// Watches classes and pools for as long as the process lives.
pub(crate) struct Configuration {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) provider: Arc<PoolProvider>,
    pub(crate) world: Arc<RwLock<World>>,
    /// What pools have left has changed.
    pub(crate) pools_used: Arc<Notify>,
    pub(crate) metrics: Metrics,
    /// Every Service is looked at again after a change: it may have become ours, or its address forbidden.
    pub(crate) changed: UnboundedSender<()>,
    /// Turns true once both lists have arrived.
    pub(crate) known: watch::Sender<bool>,
}

/// The objects known of a kind, by name; `None` before the first list.
type Known<K> = Option<BTreeMap<String, K>>;

/// What was last handed on, so that the echo of a condition is not taken for a change.
type InForce = Option<(Verdicts, Classes)>;

impl Configuration {
    /// Ends only with the process.
    pub(crate) async fn run(self) {
        let pools = readable_updates(self.pools(), watcher::Config::default());
        let classes = readable_updates(self.class_api(), watcher::Config::default());
        pin_mut!(pools, classes);
        let (mut known_pools, mut known_classes): (Known<IPAddressPool>, Known<LoadBalancerClass>) =
            (None, None);
        let (mut in_force, mut reported): (InForce, bool) = (None, true);
        loop {
            tokio::select! {
                Some(update) = pools.next() => apply(&mut known_pools, update),
                Some(update) = classes.next() => apply(&mut known_classes, update),
                () = tokio::time::sleep(RETRY), if !reported => {}
                else => return,
            }
            if let (Some(pools), Some(classes)) = (&known_pools, &known_classes) {
                reported = self.take(pools, classes, &mut in_force).await;
            }
        }
    }

    fn pools<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn class_api<K>(&self) -> Api<K>
    where
        K: Resource,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// Returns whether every condition says what it should.
    async fn take(
        &self,
        pools: &BTreeMap<String, IPAddressPool>,
        classes: &BTreeMap<String, LoadBalancerClass>,
        in_force: &mut InForce,
    ) -> bool {
        let verdicts = judge(&pools.values().cloned().collect::<Vec<_>>());
        let (read, class_verdicts) = Classes::judge(&classes.values().cloned().collect::<Vec<_>>());
        self.put_in_force(&verdicts, &read, in_force);
        let mut reported = true;
        for (name, verdict) in verdicts {
            let verdict = verdict.map(|_| ()).map_err(|r| (r.reason, r.message));
            let conditions = pools[&name].status.as_ref().map(|s| s.conditions.clone());
            reported &= report(&self.pools(), &pools[&name], conditions.unwrap_or_default(), verdict).await;
        }
        for (name, verdict) in class_verdicts {
            let conditions = classes[&name].status.as_ref().map(|s| s.conditions.clone());
            reported &=
                report(&self.class_api(), &classes[&name], conditions.unwrap_or_default(), verdict).await;
        }
        reported
    }

    fn put_in_force(&self, verdicts: &Verdicts, classes: &Classes, in_force: &mut InForce) {
        let new = (verdicts.clone(), classes.clone());
        if in_force.as_ref() == Some(&new) {
            return;
        }
        self.provider.configure(verdicts);
        self.world.write().unwrap_or_else(PoisonError::into_inner).classes = classes.clone();
        *in_force = Some(new);
        self.metrics.forget_pools();
        self.metrics.set_free(self.provider.free());
        self.known.send_replace(true);
        // A closed receiver means that the process ends.
        let _ = self.changed.unbounded_send(());
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

/// Writes the condition `Accepted` where it differs. Returns whether it says now what it should.
async fn report<K>(api: &Api<K>, object: &K, mut conditions: Vec<Condition>, verdict: ClassVerdict) -> bool
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
        return true;
    }
    let (kind, name) = (K::kind(&()), object.name_any());
    if !status {
        tracing::warn!(%kind, name, message, "not accepted");
    }
    let patch = json!({"status": {"conditions": conditions}});
    match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => true,
        // It is gone: the watch will say so.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => true,
        Err(error) => {
            tracing::warn!(%kind, name, %error, "condition could not be written, trying again");
            false
        }
    }
}
