//! `kubectl penstock trace`: reads what a way follows from, and prints the way.

use std::{collections::BTreeSet, fmt::Write};

use anyhow::Result;
use k8s_openapi::{
    api::{
        coordination::v1::Lease, core::v1 as core, discovery::v1::EndpointSlice, networking::v1::ServiceCIDR,
    },
    jiff::Timestamp,
};
use kube::Api;
use penstock_crds::{ExternalIPPolicy, LoadBalancer, NodeAnnouncement};

use crate::{
    access::Gaps,
    announcements::{RESOURCE, away},
    cluster::Cluster,
    explain::Weight,
    style::{bad, doubtful, good},
    table::table,
    trace::{EndpointRow, Hop, Landscape, Question, Stage, Trace, Verdict, trace},
};

/// Without these every rule would be wrong.
const NEEDED: [&str; 3] = ["services", "nodes", "endpointslices.discovery.k8s.io"];

/// Follows a connection in the cluster.
///
/// # Errors
/// When what counts cannot be read, or what is asked for does not exist.
pub async fn trace_in(cluster: &Cluster, question: &Question) -> Result<Trace> {
    let mut gaps = Gaps::default();
    let landscape = landscape(cluster, &mut gaps).await?;
    gaps.refuse("trace", &NEEDED)?;
    Ok(trace(question, &Landscape { notes: gaps.sentences(), ..landscape })?)
}

async fn landscape(cluster: &Cluster, gaps: &mut Gaps) -> Result<Landscape> {
    let client = || cluster.client.clone();
    let cidrs = gaps.list(&Api::<ServiceCIDR>::all(client()), "servicecidrs.networking.k8s.io").await?;
    let cidrs = cidrs.into_iter().filter_map(|object| object.spec?.cidrs).flatten();
    let (announcements, away) = announcements(cluster, gaps).await?;
    Ok(Landscape {
        services: gaps.list(&Api::<core::Service>::all(client()), "services").await?,
        slices: gaps.list(&Api::<EndpointSlice>::all(client()), "endpointslices.discovery.k8s.io").await?,
        nodes: gaps.list(&Api::<core::Node>::all(client()), "nodes").await?,
        policies: gaps
            .list(&Api::<ExternalIPPolicy>::all(client()), "externalippolicies.penstock.dev")
            .await?,
        service_cidrs: cidrs.filter_map(|text| text.parse().ok()).collect(),
        announcements,
        away,
        records: gaps.list(&Api::<LoadBalancer>::all(client()), "loadbalancers.penstock.dev").await?,
        notes: Vec::new(),
    })
}

async fn announcements(
    cluster: &Cluster,
    gaps: &mut Gaps,
) -> Result<(Option<Vec<NodeAnnouncement>>, BTreeSet<String>)> {
    let namespace = &cluster.operator_namespace;
    let api: Api<NodeAnnouncement> = Api::namespaced(cluster.client.clone(), namespace);
    let objects = gaps.list(&api, &format!("{RESOURCE} in namespace {namespace}")).await?;
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), namespace);
    let leases = gaps.list(&api, &format!("leases.coordination.k8s.io in namespace {namespace}")).await?;
    if gaps.lack(RESOURCE) {
        return Ok((None, BTreeSet::new()));
    }
    let known = !gaps.lack("leases.coordination.k8s.io");
    let away = if known { away(&objects, &leases, Timestamp::now()) } else { Vec::new() };
    Ok((Some(objects), away.into_iter().collect()))
}

/// Several lines, the last one ended too.
#[must_use]
pub fn trace_text(trace: &Trace) -> String {
    let mut text = format!("{}\n", trace.target);
    for hop in &trace.hops {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {} {:<9} {}", weight(hop.weight), stage(hop.stage), sentence(hop));
    }
    let verdict = match trace.verdict {
        Verdict::Arrives => good("It arrives."),
        Verdict::DependsOnNode => doubtful("It depends on the node by which it comes."),
        Verdict::Stops => bad("It does not arrive."),
    };
    let _ = writeln!(text, "{verdict}");
    if !trace.endpoints.is_empty() {
        text.push('\n');
        table(&mut text, ["ENDPOINT", "NODE", "STATE", "CHOSEN ON"], trace.endpoints.iter().map(row));
    }
    if trace.hops.iter().any(|hop| hop.stage == Stage::Node) {
        text.push_str(
            "\nWhat a node really has, say on it: nft list table inet penstock (mode nftables), iptables-save (mode \
             iptables),\nipvsadm -Ln (mode ipvs)\n",
        );
    }
    text
}

/// In a word of seven columns.
fn weight(weight: Weight) -> String {
    match weight {
        Weight::Problem => bad("problem"),
        Weight::Note => doubtful("note   "),
        Weight::Fine => good("fine   "),
    }
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Client => "client",
        Stage::Service => "service",
        Stage::Balancer => "way",
        Stage::Node => "node",
        Stage::Endpoint => "endpoint",
    }
}

fn sentence(hop: &Hop) -> String {
    let node = hop.node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
    format!("{node}{}", hop.sentence.replace('\n', " "))
}

fn row(row: &EndpointRow) -> [String; 4] {
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    let state = if row.state == "ready" { good(row.state) } else { doubtful(row.state) };
    let node = or_dash(row.node.clone().unwrap_or_default());
    [row.address.clone(), node, state, or_dash(row.chosen_on.join(", "))]
}

/// Whether it comes to an endpoint, at least by way of some nodes.
#[must_use]
pub fn arrives(trace: &Trace) -> bool {
    trace.verdict != Verdict::Stops
}
