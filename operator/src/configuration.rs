//! Classes, pools and policies: read, judged, handed to the provider; what became of each is written to its status.

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
use penstock_crds::{
    ConditionKind, ExternalIPPolicy, IPAddressPool, IPAddressPoolStatus, LoadBalancerClass, ProviderKind,
    Reason, condition, set_condition,
};
use penstock_model::ExternalIpAllowList;
use penstock_providers::pool::{PoolProvider, PoolUsage, Refused, Verdicts, judge};
use penstock_runtime::{Update, readable_updates};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use crate::{
    class::{ClassVerdict, Classes},
    external_ip_policies::judge_external_ip_policies,
    intent::World,
    metrics::Metrics,
};

/// A condition that could not be written is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);

/// What pools have left is written this long after it changed, so that a burst of Services is one write.
const BATCH: Duration = Duration::from_secs(1);

/// Watches classes, pools and policies for as long as the process lives.
pub(crate) struct Configuration {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) provider: Arc<PoolProvider>,
    pub(crate) world: Arc<RwLock<World>>,
    /// What pools have left has changed; told only once the statuses of all Services were adopted.
    pub(crate) pools_used: Arc<Notify>,
    pub(crate) metrics: Metrics,
    /// Every Service is looked at again after a change: it may have become ours, or its address forbidden.
    pub(crate) changed: UnboundedSender<()>,
    /// Turns true once all lists have arrived.
    pub(crate) known: watch::Sender<bool>,
    /// Whether some class may send to endpoints.
    pub(crate) endpoints_wanted: watch::Sender<Option<bool>>,
}

/// The objects known of a kind, by name; `None` before the first list.
type Known<K> = Option<BTreeMap<String, K>>;

/// The objects known of all kinds.
#[derive(Default)]
struct Objects {
    pools: Known<IPAddressPool>,
    classes: Known<LoadBalancerClass>,
    policies: Known<ExternalIPPolicy>,
}

/// What was last handed on, so that the echo of a condition is not taken for a change.
#[derive(Clone, PartialEq)]
struct InForce {
    pools: Verdicts,
    classes: Classes,
    external_ips: ExternalIpAllowList,
}

impl Configuration {
    /// Ends only with the process.
    pub(crate) async fn run(self) {
        let pools = readable_updates(self.pools(), watcher::Config::default());
        let classes = readable_updates(self.cluster_api(), watcher::Config::default());
        let policies = readable_updates(self.cluster_api(), watcher::Config::default());
        pin_mut!(pools, classes, policies);
        let (mut objects, mut in_force) = (Objects::default(), None);
        let (mut reported, mut counting) = (true, None);
        loop {
            tokio::select! {
                Some(update) = pools.next() => apply(&mut objects.pools, update),
                Some(update) = classes.next() => apply(&mut objects.classes, update),
                Some(update) = policies.next() => apply(&mut objects.policies, update),
                () = tokio::time::sleep(RETRY), if !reported => {}
                () = self.pools_used.notified() => {
                    counting = counting.or_else(|| Some(Instant::now() + BATCH));
                    continue;
                }
                () = sleep_until(counting.unwrap_or_else(Instant::now)), if counting.is_some() => {
                    let counted = self.count(objects.pools.as_ref()).await;
                    counting = (!counted).then(|| Instant::now() + RETRY);
                    continue;
                }
                else => return,
            }
            reported = self.take(&objects, &mut in_force).await;
        }
    }

    fn pools<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn cluster_api<K>(&self) -> Api<K>
    where
        K: Resource,
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// Returns whether every condition says what it should.
    async fn take(&self, objects: &Objects, in_force: &mut Option<InForce>) -> bool {
        let Objects { pools: Some(pools), classes: Some(classes), policies: Some(policies) } = objects else {
            return true;
        };
        let verdicts = judge(&pools.values().cloned().collect::<Vec<_>>());
        let (read, class_verdicts) = Classes::judge(&classes.values().cloned().collect::<Vec<_>>());
        let all_policies: Vec<ExternalIPPolicy> = policies.values().cloned().collect();
        let (external_ips, policy_verdicts) = judge_external_ip_policies(&all_policies);
        self.put_in_force(InForce { pools: verdicts.clone(), classes: read, external_ips }, in_force);
        let pool_verdict = |v: Result<_, Refused>| v.map(|_| ()).map_err(|r| (r.reason, r.message));
        let verdicts = verdicts.into_iter().map(|(name, v)| (name, pool_verdict(v)));
        let reported = [
            report_all(&self.pools(), pools, verdicts.collect()).await,
            report_all(&self.cluster_api(), classes, class_verdicts).await,
            report_all(&self.cluster_api(), policies, policy_verdicts).await,
        ];
        reported.iter().all(|said| *said)
    }

    fn put_in_force(&self, new: InForce, in_force: &mut Option<InForce>) {
        if in_force.as_ref() == Some(&new) {
            return;
        }
        self.provider.configure(&new.pools);
        {
            let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
            world.classes = new.classes.clone();
            world.rules.external_ips.allowed = new.external_ips.clone();
        }
        let sends = new.classes.has_provider(ProviderKind::Aws);
        let recount = in_force.replace(new).is_some();
        self.metrics.forget_pools();
        if recount {
            self.pools_used.notify_one();
        }
        self.endpoints_wanted.send_replace(Some(sends));
        self.known.send_replace(true);
        // A closed receiver means that the process ends.
        let _ = self.changed.unbounded_send(());
    }

    /// Says in metrics and statuses what pools have left. Returns whether all of them say so now.
    async fn count(&self, pools: Option<&BTreeMap<String, IPAddressPool>>) -> bool {
        let usage: BTreeMap<String, PoolUsage> = self.provider.usage().into_iter().collect();
        self.metrics.set_free(&usage);
        let mut said = true;
        for (name, pool) in pools.into_iter().flatten() {
            let Some(patch) = usage.get(name).and_then(|usage| usage_patch(pool, usage)) else { continue };
            said &= write_status(&self.pools::<IPAddressPool>(), pool, patch).await;
        }
        said
    }
}

/// The merge patch that makes the pool's status say how many of its addresses are in use; `None` when it does.
fn usage_patch(pool: &IPAddressPool, usage: &PoolUsage) -> Option<Value> {
    let said = pool.status.clone().unwrap_or_default();
    let now = IPAddressPoolStatus {
        assigned_ipv4: usage.assigned_v4,
        assigned_ipv6: usage.assigned_v6,
        available_ipv4: usage.available_v4,
        available_ipv6: usage.available_v6,
        ..said.clone()
    };
    let mut patch = json!({"status": now});
    // Conditions are another write's business.
    patch["status"].as_object_mut()?.remove("conditions");
    (now != said).then_some(patch)
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

/// Writes the condition `Accepted` of each object where it differs. Returns whether all say now what they should.
async fn report_all<K>(
    api: &Api<K>,
    objects: &BTreeMap<String, K>,
    verdicts: BTreeMap<String, ClassVerdict>,
) -> bool
where
    K: Resource<DynamicType = ()> + Accepted + Clone + DeserializeOwned + Debug,
{
    let mut reported = true;
    for (name, verdict) in verdicts {
        if let Some(object) = objects.get(&name) {
            reported &= report(api, object, object.conditions(), verdict).await;
        }
    }
    reported
}

/// A kind of ours whose status has conditions.
trait Accepted {
    fn conditions(&self) -> Vec<Condition>;
}

impl Accepted for IPAddressPool {
    fn conditions(&self) -> Vec<Condition> {
        self.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default()
    }
}

impl Accepted for LoadBalancerClass {
    fn conditions(&self) -> Vec<Condition> {
        self.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default()
    }
}

impl Accepted for ExternalIPPolicy {
    fn conditions(&self) -> Vec<Condition> {
        self.status.as_ref().map(|s| s.conditions.clone()).unwrap_or_default()
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
    write_status(api, object, json!({"status": {"conditions": conditions}})).await
}

/// Returns whether the object's status says now what it should.
async fn write_status<K>(api: &Api<K>, object: &K, patch: Value) -> bool
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let (kind, name) = (K::kind(&()), object.name_any());
    match api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => true,
        // It is gone: the watch will say so.
        Err(kube::Error::Api(answer)) if answer.is_not_found() => true,
        Err(error) => {
            tracing::warn!(%kind, name, %error, "status could not be written, trying again");
            false
        }
    }
}
