//! `kubectl penstock announcements`: which node tells whom of which address, as the nodes say themselves.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::Result;
use k8s_openapi::{api::coordination::v1::Lease, jiff::Timestamp};
use kube::{Api, ResourceExt, api::ListParams};
use penstock_crds::{AnnouncedAddress, NodeAnnouncement, PeerSession};
use serde::Serialize;

use crate::{access::sentence, cluster::Cluster, table::table};

/// The announcers' Leases: their label, and what stands before the node's name.
const LEASES: (&str, &str) = ("penstock.dev/lease=announcer", "penstock-announcer-");
pub(crate) const RESOURCE: &str = "nodeannouncements.penstock.dev";

/// What the command prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AnnouncementsReport {
    /// Address by address.
    pub announcements: Vec<Announcement>,
    /// Sessions with routers.
    pub sessions: Vec<NodeSession>,
    /// What nodes cannot carry out.
    pub problems: Vec<Problem>,
    /// What may not be as it stands here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// An address that a node announces.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Announcement {
    /// The node.
    pub node: String,
    /// The address, and whom the node tells.
    #[serde(flatten)]
    pub address: AnnouncedAddress,
}

/// A BGP session of a node.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NodeSession {
    /// The node.
    pub node: String,
    /// The session.
    #[serde(flatten)]
    pub session: PeerSession,
}

/// What a node cannot carry out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The nodes that say so.
    pub nodes: Vec<String>,
    /// The sentence.
    pub problem: String,
}

/// Reads what nodes announce; of one Service only, if it is named (`namespace/name`).
///
/// # Errors
/// When the user may not read it, or the API server does not answer.
pub async fn announcements(cluster: &Cluster, service: Option<&str>) -> Result<AnnouncementsReport> {
    let api: Api<NodeAnnouncement> = Api::namespaced(cluster.client.clone(), &cluster.operator_namespace);
    let list = api.list(&ListParams::default()).await;
    let resource = format!("{RESOURCE} in namespace {}", cluster.operator_namespace);
    let list = list.map_err(|error| anyhow::anyhow!(sentence("list", &resource, &error)))?;
    let mut report = report(&list.items, service);
    report.notes = notes(cluster, &list.items).await?;
    Ok(report)
}

/// A node whose announcer is away says nothing new.
async fn notes(cluster: &Cluster, nodes: &[NodeAnnouncement]) -> Result<Vec<String>> {
    if nodes.is_empty() {
        return Ok(vec![format!(
            "no announcer has said anything in namespace {}: is it installed, and its namespace this one?",
            cluster.operator_namespace
        )]);
    }
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.operator_namespace);
    match api.list(&ListParams::default().labels(LEASES.0)).await {
        Ok(leases) => Ok(absent(nodes, &leases.items, Timestamp::now())),
        Err(error @ kube::Error::Api(_)) => Ok(vec![sentence("list", "leases.coordination.k8s.io", &error)]),
        Err(error) => Err(anyhow::anyhow!(sentence("list", "leases.coordination.k8s.io", &error))),
    }
}

/// In one sentence each.
pub(crate) fn absent(nodes: &[NodeAnnouncement], leases: &[Lease], now: Timestamp) -> Vec<String> {
    let away = away(nodes, leases, now).into_iter();
    away.map(|node| format!("the announcer of {node} is away: this is what it said last")).collect()
}

/// The nodes that have said something and whose announcer does not renew its Lease.
pub(crate) fn away(nodes: &[NodeAnnouncement], leases: &[Lease], now: Timestamp) -> Vec<String> {
    let lives = |node: &str| {
        leases
            .iter()
            .any(|lease| lease.name_any().strip_prefix(LEASES.1) == Some(node) && is_held(lease, now))
    };
    nodes.iter().map(ResourceExt::name_any).filter(|node| !lives(node)).collect()
}

fn is_held(lease: &Lease, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else { return false };
    let age = spec.renew_time.as_ref().map(|renewal| now.as_second() - renewal.0.as_second());
    let duration = spec.lease_duration_seconds.map_or(0, i64::from);
    // Clocks of nodes differ a little.
    spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty())
        && age.is_some_and(|age| age <= duration.max(10))
}

fn report(nodes: &[NodeAnnouncement], service: Option<&str>) -> AnnouncementsReport {
    let mut report = AnnouncementsReport::default();
    let mut problems: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for object in nodes {
        let (node, status) = (object.name_any(), object.status.clone().unwrap_or_default());
        let of_service =
            |address: &AnnouncedAddress| service.is_none_or(|key| address.services.iter().any(|s| s == key));
        let addresses = status.addresses.into_iter().filter(of_service);
        report.announcements.extend(addresses.map(|address| Announcement { node: node.clone(), address }));
        let sessions = status.peers.into_iter();
        report.sessions.extend(sessions.map(|session| NodeSession { node: node.clone(), session }));
        for problem in status.problems {
            problems.entry(problem).or_default().push(node.clone());
        }
    }
    let numeric = |a: &Announcement| a.address.address.parse::<std::net::IpAddr>().ok();
    report.announcements.sort_by_key(|a| (numeric(a), a.node.clone()));
    report.problems = problems.into_iter().map(|(problem, nodes)| Problem { nodes, problem }).collect();
    report
}

/// Several lines, the last one ended too.
#[must_use]
pub fn announcements_text(report: &AnnouncementsReport) -> String {
    let mut text = String::new();
    if report.announcements.is_empty() {
        text.push_str("Nothing is announced.\n");
    } else {
        let rows = report.announcements.iter().map(announcement_row);
        table(&mut text, ["ADDRESS", "NODE", "ANNOUNCED TO", "SERVICES"], rows);
    }
    if !report.sessions.is_empty() {
        text.push('\n');
        let rows = report.sessions.iter().map(session_row);
        table(&mut text, ["PEER", "NODE", "SESSION", "PREFIXES", "BFD", "REASON"], rows);
    }
    for problem in &report.problems {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n{} (on {})\n", problem.problem, problem.nodes.join(", "));
    }
    text
}

fn announcement_row(announcement: &Announcement) -> [String; 4] {
    let AnnouncedAddress { address, services, interfaces, peers } = &announcement.address;
    let segments = interfaces.iter().map(|interface| format!("segment {interface}"));
    let routers = peers.iter().map(|peer| format!("router {peer}"));
    let whom: Vec<String> = segments.chain(routers).collect();
    let whom = if whom.is_empty() { "nobody: no interface to answer on".to_owned() } else { whom.join(", ") };
    [address.clone(), announcement.node.clone(), whom, services.join(", ")]
}

fn session_row(of: &NodeSession) -> [String; 6] {
    let PeerSession { peer, state, since, prefixes, reason, bfd } = &of.session;
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let state = format!("{state} since {:.0}", since.0);
    [peer.clone(), of.node.clone(), state, prefixes.to_string(), shown(bfd), shown(reason)]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, status: &Value) -> NodeAnnouncement {
        let object = json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "NodeAnnouncement",
            "metadata": {"name": name}, "spec": {}, "status": status});
        serde_json::from_value(object).unwrap()
    }

    fn nodes() -> Vec<NodeAnnouncement> {
        let session = |state: &str, reason: Value| json!({"peer": "leaf", "state": state, "since": "2026-11-23T10:00:00Z", "prefixes": 1, "reason": reason});
        vec![
            node(
                "n2",
                &json!({"addressCount": 1, "sessions": "0/1", "peers": [session("Active", json!("connection refused"))],
                    "addresses": [{"address": "203.0.113.9", "services": ["d/two"], "interfaces": ["eth0"]}],
                    "problems": ["BGPPeer x: no session"]}),
            ),
            node(
                "n1",
                &json!({"addressCount": 2, "sessions": "1/1", "peers": [session("Established", Value::Null)],
                    "addresses": [
                        {"address": "203.0.113.10", "services": ["d/one"], "peers": ["leaf"]},
                        {"address": "203.0.113.9", "services": ["d/two"], "peers": ["leaf"], "interfaces": []}],
                    "problems": ["BGPPeer x: no session"]}),
            ),
        ]
    }

    #[test]
    fn a_table_of_who_tells_whom() {
        let text = announcements_text(&report(&nodes(), None));
        let expected = "\
ADDRESS        NODE   ANNOUNCED TO   SERVICES
203.0.113.9    n1     router leaf    d/two
203.0.113.9    n2     segment eth0   d/two
203.0.113.10   n1     router leaf    d/one

PEER   NODE   SESSION                                  PREFIXES   BFD   REASON
leaf   n2     Active since 2026-11-23T10:00:00Z        1          -     connection refused
leaf   n1     Established since 2026-11-23T10:00:00Z   1          -     -

BGPPeer x: no session (on n2, n1)
";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }

    #[test]
    fn one_service_only() {
        let report = report(&nodes(), Some("d/one"));
        let addresses: Vec<&str> = report.announcements.iter().map(|a| a.address.address.as_str()).collect();
        assert_eq!(addresses, ["203.0.113.10"]);
        assert!(announcements_text(&super::report(&[], None)).starts_with("Nothing is announced."));
    }

    #[test]
    fn a_node_whose_announcer_is_away_is_named() {
        let lease = |node: &str, renewed: &str| -> Lease {
            serde_json::from_value(json!({"metadata": {"name": format!("penstock-announcer-{node}")},
                "spec": {"holderIdentity": node, "leaseDurationSeconds": 2, "renewTime": renewed}}))
            .unwrap()
        };
        let now = "2026-11-23T10:01:00Z".parse().unwrap();
        let leases = [lease("n1", "2026-11-23T10:00:59.000000Z"), lease("n2", "2026-11-23T10:00:00.000000Z")];
        let notes = absent(&nodes(), &leases, now);
        assert_eq!(notes, ["the announcer of n2 is away: this is what it said last"]);
        assert_eq!(absent(&nodes(), &[], now).len(), 2);
    }
}
