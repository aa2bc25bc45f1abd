//! Which endpoints are chosen: conditions, hints, several slices.

use serde_json::json;

use super::*;
use crate::flows::service::{Endpoint, Slice};

const A1: &[Pod] = &[Pod::A1];
const B1: &[Pod] = &[Pod::B1];
const BOTH: &[Pod] = &[Pod::A1, Pod::B1];

pub(super) fn cases() -> Vec<Case> {
    [terminating(), terminating_local(), conditions(), zone_hints(), node_hints(), slices()].concat()
}

fn ready(pod: Pod) -> Endpoint {
    Endpoint::ready(pod)
}

fn draining(pod: Pod) -> Endpoint {
    Endpoint::ready(pod).terminating(true)
}

fn gone(pod: Pod) -> Endpoint {
    Endpoint::ready(pod).terminating(false)
}

/// Terminating endpoints get new connections only when there is nothing better, and only while they serve.
fn terminating() -> Vec<Case> {
    vec![
        Case::new(
            "terminating and serving endpoints only",
            Service::of(vec![draining(Pod::A1), draining(Pod::B1)]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH))
        .flow(MIX, CLIENT, NODE_PORT_1, &from_node(N1, BOTH))
        .flow(MIX, CLIENT, LB_1, &from_node(N1, BOTH)),
        Case::new(
            "a ready endpoint beside a terminating one",
            Service::of(vec![draining(Pod::A1), ready(Pod::B1)]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(B1))
        .flow(MIX, CLIENT, NODE_PORT_1, &from_node(N1, B1)),
        Case::new(
            "terminating endpoints, one of them serving",
            Service::of(vec![gone(Pod::A1), draining(Pod::B1)]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(B1)),
        Case::new("terminating endpoints that do not serve", Service::of(vec![gone(Pod::A1), gone(Pod::B1)]))
            .flow(MIX, POD1, CLUSTER_IP, &Expect::Refused)
            .flow(MIX, CLIENT, NODE_PORT_1, &Expect::Refused),
    ]
}

fn local(endpoints: Vec<Endpoint>) -> Service {
    Service { external_local: true, ..Service::of(endpoints) }
}

/// With policy Local each node falls back by itself.
fn terminating_local() -> Vec<Case> {
    let inside = |endpoints| Service { internal_local: true, ..Service::of(endpoints) };
    vec![
        Case::new(
            "eTP Local, terminating here and ready elsewhere",
            local(vec![draining(Pod::A1), ready(Pod::B1)]),
        )
        .flow(MIX, CLIENT, NODE_PORT_1, &kept(A1))
        .flow(MIX, CLIENT, LB_1, &kept(A1))
        .flow(MIX, CLIENT, LB_2, &kept(B1))
        .flow(MIX, POD1, LB_1, &kept(B1))
        .flow(MIX, POD1, CLUSTER_IP, &kept(B1)),
        Case::new("eTP Local, ready and terminating here", local(vec![ready(Pod::A1), draining(Pod::A2)]))
            .flow(MIX, CLIENT, NODE_PORT_1, &kept(A1))
            .flow(ONE, CLIENT, NODE_PORT_2, &Expect::Dropped),
        Case::new(
            "eTP Local, not serving here and ready elsewhere",
            local(vec![gone(Pod::A1), ready(Pod::B1)]),
        )
        .flow(MIX, CLIENT, NODE_PORT_1, &Expect::Dropped)
        .flow(MIX, CLIENT, NODE_PORT_2, &kept(B1)),
        Case::new("eTP Local, terminating elsewhere only", local(vec![draining(Pod::B1)]))
            .flow(MIX, CLIENT, NODE_PORT_1, &Expect::Dropped)
            .flow(MIX, CLIENT, NODE_PORT_2, &kept(B1)),
        Case::new(
            "iTP Local, terminating here and ready elsewhere",
            inside(vec![draining(Pod::A1), ready(Pod::B1)]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(A1))
        .flow(MIX, POD2, CLUSTER_IP, &kept(B1))
        .flow(MIX, CLIENT, NODE_PORT_1, &from_node(N1, B1)),
    ]
}

/// What else slices say of an endpoint.
fn conditions() -> Vec<Case> {
    let with = |conditions| Service::of(vec![ready(Pod::A1).conditions(conditions)]);
    let not_ready = || with(json!({ "ready": false, "serving": false, "terminating": false }));
    // What the endpoint controller writes for such Services: ready while all else says no.
    let published = with(json!({ "ready": true, "serving": false, "terminating": true }));
    vec![
        Case::new("publishNotReadyAddresses", Service { publish_not_ready: true, ..published })
            .flow(MIX, POD1, CLUSTER_IP, &kept(A1))
            .flow(MIX, CLIENT, NODE_PORT_1, &from_node(N1, A1)),
        Case::new(
            "publishNotReadyAddresses, slice not ready",
            Service { publish_not_ready: true, ..not_ready() },
        )
        .flow(ONE, POD1, CLUSTER_IP, &Expect::Refused),
        Case::new("endpoints that are not ready", not_ready())
            .flow(MIX, POD1, CLUSTER_IP, &Expect::Refused)
            .flow(MIX, CLIENT, LB_1, &Expect::Refused),
        Case::new("conditions unset", with(json!({}))).flow(MIX, POD1, CLUSTER_IP, &kept(A1)),
        Case::new("serving but not ready nor terminating", with(json!({ "ready": false, "serving": true })))
            .flow(ONE, POD1, CLUSTER_IP, &Expect::Refused),
    ]
}

/// n1 is in zone a, n2 in zone b.
fn zone_hints() -> Vec<Case> {
    let hinted = |pod: Pod, zone| ready(pod).for_zones(&[zone]);
    let each = || vec![hinted(Pod::A1, "a"), hinted(Pod::B1, "b")];
    vec![
        Case::new("zone hints", Service::of(each()))
            .flow(ALL, POD1, CLUSTER_IP, &kept(A1))
            .flow(MIX, POD2, CLUSTER_IP, &kept(B1))
            .flow(MIX, NODE1, CLUSTER_IP, &from_node(N1, A1))
            .flow(MIX, CLIENT, NODE_PORT_1, &from_node(N1, A1))
            .flow(MIX, CLIENT, LB_2, &from_node(N2, B1)),
        Case::new(
            "zone hints that name another place",
            Service::of(vec![hinted(Pod::A1, "b"), hinted(Pod::B1, "a")]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(B1)),
        Case::new(
            "zone hints, one endpoint without",
            Service::of(vec![hinted(Pod::A1, "a"), ready(Pod::B1)]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH)),
        Case::new(
            "zone hints for other zones",
            Service::of(vec![hinted(Pod::A1, "c"), hinted(Pod::B1, "b")]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH))
        .flow(ONE, POD2, CLUSTER_IP, &kept(B1)),
        Case::new(
            "zone hints for two zones",
            Service::of(vec![hinted(Pod::A1, "a"), ready(Pod::B1).for_zones(&["a", "b"])]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH))
        .flow(ONE, POD2, CLUSTER_IP, &kept(B1)),
        Case::new(
            "zone hints, one of an endpoint that is not ready missing",
            Service::of([each(), vec![gone(Pod::A2)]].concat()),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(A1)),
        Case::new(
            "zone hints on terminating endpoints only",
            Service::of(vec![draining(Pod::A1).for_zones(&["a"]), draining(Pod::B1).for_zones(&["b"])]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH)),
        Case::new("zone hints and eTP Local", local(vec![hinted(Pod::A1, "b"), hinted(Pod::B1, "a")]))
            .flow(MIX, CLIENT, NODE_PORT_1, &kept(A1))
            .flow(MIX, POD1, CLUSTER_IP, &kept(B1))
            // The short circuit leads to what policy Cluster would choose.
            .flow(MIX, POD1, LB_1, &kept(B1)),
    ]
}

fn node_hints() -> Vec<Case> {
    let hinted = |pod: Pod, node| ready(pod).for_node(node);
    vec![
        Case::new(
            "node hints",
            Service::of(vec![hinted(Pod::A1, N1), hinted(Pod::A2, N2), hinted(Pod::B1, N2)]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(A1))
        .flow(MIX, POD2, CLUSTER_IP, &kept(&[Pod::A2, Pod::B1]))
        .flow(MIX, CLIENT, NODE_PORT_1, &from_node(N1, A1)),
        Case::new(
            "node hints before zone hints",
            Service::of(vec![hinted(Pod::A1, N1).for_zones(&["a"]), hinted(Pod::A2, N2).for_zones(&["a"])]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(A1)),
        Case::new(
            "node hints, one endpoint with a zone hint only",
            Service::of(vec![hinted(Pod::A1, N2).for_zones(&["a"]), ready(Pod::B1).for_zones(&["b"])]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(A1)),
        Case::new(
            "node hints, one endpoint without any",
            Service::of(vec![hinted(Pod::A1, N1), ready(Pod::B1)]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH)),
        Case::new(
            "node hints for another node only",
            Service::of(vec![hinted(Pod::A1, N2), hinted(Pod::B1, N2)]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH)),
    ]
}

fn slices() -> Vec<Case> {
    let of = |slices: Vec<Vec<Endpoint>>| Service {
        slices: slices.into_iter().map(Into::into).collect(),
        ..Service::default()
    };
    let headless =
        Slice { labels: vec![("service.kubernetes.io/headless", "")], ..vec![ready(Pod::B1)].into() };
    vec![
        Case::new("endpoints in two slices", of(vec![vec![ready(Pod::A1)], vec![ready(Pod::B1)]]))
            .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH))
            .flow(MIX, CLIENT, NODE_PORT_1, &from_node(N1, BOTH)),
        Case::new(
            "an endpoint that stands in two slices",
            of(vec![BOTH.iter().map(|pod| ready(*pod)).collect(), vec![ready(Pod::A1)]]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH)),
        Case::new(
            "an endpoint that terminates in one slice and not in another",
            of(vec![vec![gone(Pod::A1)], vec![ready(Pod::A1)], vec![draining(Pod::A1)]]),
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(A1)),
        Case::new(
            "a slice labelled headless",
            Service { slices: vec![vec![ready(Pod::A1)].into(), headless], ..Service::default() },
        )
        .flow(MIX, POD1, CLUSTER_IP, &kept(A1)),
    ]
}
