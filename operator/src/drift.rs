//! Looks for balancers that are no longer as they were left: providers are asked for everything at once, at long and
//! irregular intervals, and what may differ is looked at Service by Service.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Service;
use kube::{ResourceExt, runtime::reflector::Store};
use penstock_crds::{DriftPolicy, LoadBalancerClassSpec, ProviderKind};
use penstock_model::ObjectKey;
use penstock_providers::Sweep;
use tokio_util::sync::CancellationToken;

use crate::{class::served_by, fleet::identity, reconcile::Context};

/// Between two Services, where a provider is to be asked for each.
const SPACING: Duration = Duration::from_millis(200);

/// Services whose balancer is to be looked at although nothing that they want has changed.
#[derive(Debug, Default)]
pub(crate) struct Suspects(Mutex<BTreeSet<ObjectKey>>);

impl Suspects {
    pub(crate) fn add(&self, key: &ObjectKey) {
        self.lock().insert(key.clone());
    }

    /// Whether it was one; it is none from now on.
    pub(crate) fn take(&self, key: &ObjectKey) -> bool {
        self.lock().remove(key)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ObjectKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Classes that share calls and credentials, by name.
type Classes = BTreeMap<String, LoadBalancerClassSpec>;

/// Runs until it is told to stop. Between two sweeps are at least `interval` and at most twice as much, so that clusters
/// of one account do not ask together.
pub(crate) async fn look_for_drift(
    context: Arc<Context>,
    services: Store<Service>,
    interval: Duration,
    stop: &CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval.mul_f64(1.0 + fastrand::f64())) => {}
        }
        let groups = {
            let world = context.world.read().unwrap_or_else(PoisonError::into_inner);
            groups(world.classes.iter())
        };
        for classes in groups.values() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sweep(&context, classes, &services) => {}
            }
        }
    }
}

/// Those that somebody wants to be looked at, by what they share.
fn groups<'a>(
    all: impl Iterator<Item = (&'a String, &'a LoadBalancerClassSpec)>,
) -> BTreeMap<String, Classes> {
    let mut groups: BTreeMap<String, Classes> = BTreeMap::new();
    let outside =
        all.filter(|(_, class)| class.provider != ProviderKind::Pool && class.drift != DriftPolicy::Ignore);
    for (name, class) in outside {
        groups.entry(identity(class)).or_default().insert(name.clone(), class.clone());
    }
    groups
}

async fn sweep(context: &Context, classes: &Classes, services: &Store<Service>) {
    let Some(class) = classes.values().next() else { return };
    if context.fleet.would_hear(class, Instant::now()).is_some() {
        return;
    }
    let swept = match context.fleet.outside(class).await {
        Ok(provider) => {
            let swept = provider.sweep().await;
            context.metrics.called_api(&identity(class), provider.as_ref());
            swept
        }
        Err(error) => Err(error),
    };
    let worth = match swept {
        Ok(Sweep::Each) => None,
        Ok(Sweep::Of(uids)) => Some(uids),
        Err(error) => {
            context.fleet.heard(class, &error, Instant::now());
            tracing::warn!(%error, "could not look for drift, trying again later");
            return;
        }
    };
    for key in concerned(&services.state(), classes, worth.as_ref()) {
        context.suspects.add(&key);
        context.waiting.wake(&key);
        if worth.is_none() {
            tokio::time::sleep(SPACING).await;
        }
    }
}

/// The Services of these classes that are worth a look; `None`: all of them.
fn concerned(
    services: &[Arc<Service>],
    classes: &Classes,
    worth: Option<&BTreeSet<String>>,
) -> Vec<ObjectKey> {
    let of_class = |s: &&Arc<Service>| served_by(s).is_some_and(|name| classes.contains_key(name));
    let meant = |s: &&Arc<Service>| worth.is_none_or(|uids| s.uid().is_some_and(|uid| uids.contains(&uid)));
    services.iter().filter(of_class).filter(meant).map(|s| ObjectKey::of(&s.metadata)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_crds::{FINALIZER, SERVED_BY};
    use serde_json::json;

    fn class(drift: &str, url: &str) -> LoadBalancerClassSpec {
        serde_json::from_value(json!({"provider": "webhook", "drift": drift, "webhook": {"url": url}}))
            .unwrap()
    }

    #[test]
    fn classes_of_one_provider_are_looked_at_together_and_those_to_be_ignored_not_at_all() {
        let all = [
            ("a", "Repair", "http://x"),
            ("b", "Report", "http://x"),
            ("c", "Ignore", "http://x"),
            ("d", "Repair", "http://y"),
        ];
        let all: Classes =
            all.iter().map(|(name, drift, url)| ((*name).to_owned(), class(drift, url))).collect();
        let groups = groups(all.iter());
        let names: Vec<Vec<&String>> = groups.values().map(|classes| classes.keys().collect()).collect();
        assert_eq!(names, [vec!["a", "b"], vec!["d"]]);
    }

    #[test]
    fn only_services_that_such_a_class_serves_are_looked_at() {
        let service = |name: &str, class: &str| -> Arc<Service> {
            Arc::new(
                serde_json::from_value(json!({"metadata": {"namespace": "d", "name": name, "uid": name,
                "finalizers": [FINALIZER], "annotations": {SERVED_BY: class}}}))
                .unwrap(),
            )
        };
        let services = [service("one", "a"), service("two", "a"), service("other", "b")];
        let classes = Classes::from([("a".to_owned(), class("Repair", "http://x"))]);
        let names = |worth: Option<BTreeSet<String>>| -> Vec<String> {
            concerned(&services, &classes, worth.as_ref()).into_iter().map(|key| key.name).collect()
        };
        assert_eq!(names(None), ["one", "two"]);
        assert_eq!(names(Some(BTreeSet::from(["two".to_owned(), "other".to_owned()]))), ["two"]);
    }
}
