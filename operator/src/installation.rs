//! Whether what the chart has installed is at work, as the API server shows it: what `helm test` asks. What is at work
//! renews its Lease, so two looks are compared and no clock of another machine is believed. The DNS is asked for a name: it
//! may be in another namespace, and an answer says more than a Pod that is ready.

use std::{collections::BTreeMap, fmt, time::Duration};

use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, ObjectList},
};
use tokio::{
    net::lookup_host,
    time::{Instant, sleep, timeout},
};

use crate::leadership::LEASE_NAME;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// For an answer of the DNS: longer than a question that got lost takes to be asked again.
const PATIENCE: Duration = Duration::from_secs(12);
/// What the announcer of a node calls its Lease.
const ANNOUNCER_LEASE: &str = "penstock-announcer-";

/// A part of an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// `penstock-operator`.
    Operator,
    /// `penstock-announcer`, on nodes.
    Announcer,
    /// `penstock-node`, on nodes.
    Node,
    /// `penstock-dns`, whom this process asks for names.
    Dns,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "operator",
            Self::Announcer => "announcer",
            Self::Node => "node",
            Self::Dns => "dns",
        })
    }
}

/// An installation does not work.
#[derive(Debug, thiserror::Error)]
#[error("after {} s: {}", .limit.as_secs(), .faults.join("; "))]
pub struct Faulty {
    limit: Duration,
    faults: Vec<String>,
}

/// When each Lease that is held was renewed, in its holder's microseconds.
type Renewals = BTreeMap<String, i64>;

/// What a look shows.
#[derive(Clone, Debug, Default)]
struct Look {
    pods: Vec<Pod>,
    renewals: Renewals,
}

impl Look {
    fn new(pods: ObjectList<Pod>, leases: &ObjectList<Lease>) -> Self {
        let renewals = leases.iter().filter_map(|lease| Some((lease.name_any(), renewal(lease)?)));
        Self { pods: pods.items, renewals: renewals.collect() }
    }

    async fn take(client: &Client, namespace: &str) -> kube::Result<Self> {
        let ours = ListParams::default().labels("app.kubernetes.io/name=penstock");
        let pods = Api::namespaced(client.clone(), namespace).list(&ours).await?;
        let leases = Api::namespaced(client.clone(), namespace).list(&ListParams::default()).await?;
        Ok(Self::new(pods, &leases))
    }

    /// What keeps `parts` from being at work. `first` are the renewals of the first look.
    fn faults(&self, parts: &[Part], first: &Renewals) -> Vec<String> {
        let with_pods = parts.iter().filter(|part| **part != Part::Dns);
        with_pods.flat_map(|part| self.faults_of(*part, first)).collect()
    }

    fn faults_of(&self, part: Part, first: &Renewals) -> Vec<String> {
        let pods: Vec<&Pod> = self.pods.iter().filter(|pod| is_of(pod, part)).collect();
        if pods.is_empty() {
            return vec![format!("no Pod of penstock-{part} is there")];
        }
        let unready = pods.iter().filter(|pod| !is_ready(pod));
        let unready = unready.map(|pod| format!("Pod {} on {} is not ready", pod.name_any(), node(pod)));
        let leases = match part {
            Part::Operator => vec![LEASE_NAME.to_owned()],
            Part::Announcer => pods.iter().map(|pod| format!("{ANNOUNCER_LEASE}{}", node(pod))).collect(),
            Part::Node | Part::Dns => Vec::new(),
        };
        let stale = leases.into_iter().filter(|lease| !self.is_renewed(lease, first));
        unready.chain(stale.map(|lease| format!("Lease {lease} is not renewed"))).collect()
    }

    fn is_renewed(&self, lease: &str, first: &Renewals) -> bool {
        self.renewals.get(lease).is_some_and(|renewal| first.get(lease) != Some(renewal))
    }
}

fn renewal(lease: &Lease) -> Option<i64> {
    let spec = lease.spec.as_ref()?;
    let held = spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty());
    spec.renew_time.as_ref().filter(|_| held).map(|time| time.0.as_microsecond())
}

/// Whether it belongs to the part, and neither ended nor is about to.
fn is_of(pod: &Pod, part: Part) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let component = pod.labels().get("app.kubernetes.io/component");
    let lives = pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Failed" | "Succeeded"));
    lives && component.is_some_and(|component| *component == part.to_string())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    conditions.unwrap_or_default().iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node")
}

/// What keeps a name that every cluster has from being found. There is no look at the address: it is the API server's choice.
async fn fault_of_names(cluster_domain: &str) -> Option<String> {
    // The dot keeps search domains out.
    let name = format!("kubernetes.default.svc.{cluster_domain}.");
    match timeout(PATIENCE, lookup_host((name.as_str(), 443))).await {
        Ok(Ok(mut found)) => found.next().is_none().then(|| format!("the DNS knows no address of {name}")),
        Ok(Err(error)) => Some(format!("the DNS does not find {name}: {error}")),
        Err(_) => Some(format!("the DNS does not answer about {name}")),
    }
}

/// Waits until every Pod of the parts is ready, the operator's Lease is renewed, and that of the announcer of each node, and
/// until a name of `cluster_domain` is found where the DNS is a part.
///
/// # Errors
/// With what is still missing when the time is over.
pub async fn verify(
    client: &Client,
    namespace: &str,
    parts: &[Part],
    cluster_domain: &str,
    limit: Duration,
) -> Result<(), Faulty> {
    let end = Instant::now() + limit;
    let mut first: Option<Renewals> = None;
    loop {
        let mut faults = match Look::take(client, namespace).await {
            Ok(look) => look.faults(parts, first.get_or_insert_with(|| look.renewals.clone())),
            Err(error) => vec![format!("the API server cannot be asked: {error}")],
        };
        if parts.contains(&Part::Dns) {
            faults.extend(fault_of_names(cluster_domain).await);
        }
        if faults.is_empty() {
            return Ok(());
        }
        if Instant::now() >= end {
            return Err(Faulty { limit, faults });
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const ALL: [Part; 3] = [Part::Operator, Part::Announcer, Part::Node];

    fn pod(part: &str, node: &str, ready: &str) -> Pod {
        let labels = json!({"app.kubernetes.io/component": part});
        let conditions = json!([{"type": "Ready", "status": ready}]);
        serde_json::from_value(json!({
            "metadata": {"name": format!("{part}-{node}"), "labels": labels}, "spec": {"nodeName": node, "containers": []},
            "status": {"phase": "Running", "conditions": conditions}
        }))
        .unwrap()
    }

    fn lease(name: &str, holder: &Value, second: u8) -> Lease {
        let time = format!("2026-01-01T00:00:{second:02}.000000Z");
        let spec = json!({"holderIdentity": holder, "renewTime": time});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    }

    fn look(pods: Vec<Pod>, leases: Vec<Lease>) -> Look {
        let pods = ObjectList { types: Default::default(), metadata: Default::default(), items: pods };
        let leases = ObjectList { types: Default::default(), metadata: Default::default(), items: leases };
        Look::new(pods, &leases)
    }

    fn pods() -> Vec<Pod> {
        vec![pod("operator", "n1", "True"), pod("announcer", "n1", "True"), pod("node", "n1", "True")]
    }

    fn leases(second: u8) -> Vec<Lease> {
        vec![
            lease("penstock-operator", &json!("operator-n1"), second),
            lease("penstock-announcer-n1", &json!("n1"), second),
        ]
    }

    #[test]
    fn what_is_ready_and_renews_its_lease_is_at_work() {
        let first = look(pods(), leases(1));
        assert_eq!(look(pods(), leases(2)).faults(&ALL, &first.renewals), [] as [&str; 0]);
        // Also by a clock that went back.
        assert_eq!(look(pods(), leases(0)).faults(&ALL, &first.renewals), [] as [&str; 0]);
    }

    #[test]
    fn what_stands_still_is_not() {
        let first = look(pods(), leases(1));
        let said = first.faults(&ALL, &first.renewals);
        assert_eq!(
            said,
            ["Lease penstock-operator is not renewed", "Lease penstock-announcer-n1 is not renewed"]
        );
        let given_up =
            vec![lease("penstock-operator", &json!(""), 2), lease("penstock-announcer-n1", &json!(null), 2)];
        assert_eq!(look(pods(), given_up).faults(&ALL, &first.renewals), said);
    }

    #[test]
    fn missing_leaving_and_unready_pods_are_named() {
        let mut leaving = pod("announcer", "n1", "True");
        leaving.metadata.deletion_timestamp =
            Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
        let mut ended = pod("operator", "n1", "True");
        ended.status.as_mut().unwrap().phase = Some("Failed".into());
        let look = look(vec![leaving, ended, pod("node", "n1", "False")], leases(2));
        assert_eq!(
            look.faults(&ALL, &Renewals::new()),
            [
                "no Pod of penstock-operator is there",
                "no Pod of penstock-announcer is there",
                "Pod node-n1 on n1 is not ready"
            ]
        );
        assert_eq!(look.faults(&[Part::Dns], &Renewals::new()), [] as [&str; 0]);
    }

    /// RFC 6761: nobody has names below `invalid`.
    #[tokio::test]
    async fn a_name_that_is_not_found_is_named() {
        let said = fault_of_names("cluster.invalid").await.unwrap();
        assert!(said.contains("kubernetes.default.svc.cluster.invalid."), "{said}");
    }
}
