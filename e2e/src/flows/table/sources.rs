//! What depends on who asks: session affinity and source ranges.

use std::time::Duration;

use super::*;

const BOTH: &[Pod] = &[Pod::A1, Pod::B1];
const A1: &[Pod] = &[Pod::A1];
const THREE: &[Pod] = &[Pod::A1, Pod::A2, Pod::B1];
const FOUR: &[Pod] = &[Pod::A1, Pod::A2, Pod::B1, Pod::B2];

/// Kubernetes' default, and one that a table can wait for, in seconds.
const LONG: u32 = 10_800;
const SHORT: u32 = 3;

pub(super) fn cases() -> Vec<Case> {
    [affinity(), ranges(), ranges_and_policies()].concat()
}

fn sticky(pods: &[Pod], seen: Seen) -> Expect {
    Expect::Sticky(answerers(pods, seen))
}

fn affinity() -> Vec<Case> {
    let service = |seconds| Service { affinity: Some(seconds), ..Service::ready(FOUR) };
    let (masqueraded_1, masqueraded_2) = (&sticky(FOUR, Seen::Node(N1)), &sticky(FOUR, Seen::Node(N2)));
    let forgets = |seen| Expect::Forgets(answerers(THREE, seen), Duration::from_secs(u64::from(SHORT) + 1));
    vec![
        Case::new("affinity", service(LONG))
            .flow(ALL, POD1, CLUSTER_IP, &sticky(FOUR, Seen::Kept))
            .flow(MIX, NODE1, CLUSTER_IP, masqueraded_1)
            .flow(ALL, CLIENT, NODE_PORT_1, masqueraded_1)
            .flow(MIX, CLIENT, NODE_PORT_2, masqueraded_2)
            .flow(MIX, CLIENT, LB_1, masqueraded_1)
            .flow(MIX, CLIENT, EXTERNAL_2, masqueraded_2),
        Case::new("affinity and eTP Local", Service { external_local: true, ..service(LONG) })
            .flow(MIX, CLIENT, NODE_PORT_1, &sticky(&[Pod::A1, Pod::A2], Seen::Kept))
            .flow(MIX, CLIENT, LB_2, &sticky(&[Pod::B1, Pod::B2], Seen::Kept))
            .flow(MIX, POD1, CLUSTER_IP, &sticky(FOUR, Seen::Kept)),
        Case::new("affinity and iTP Local", Service { internal_local: true, ..service(LONG) }).flow(
            MIX,
            POD1,
            CLUSTER_IP,
            &sticky(&[Pod::A1, Pod::A2], Seen::Kept),
        ),
        // It is the Service port's, whichever address the client uses.
        Case::new("affinity across frontends", Service { external_local: true, ..service(LONG) })
            .flow(MIX, POD1, CLUSTER_IP, &sticky(FOUR, Seen::Kept))
            .and(MIX, LB_1)
            .flow(MIX, POD2, CLUSTER_IP, &sticky(FOUR, Seen::Kept))
            .and(MIX, NODE_PORT_2)
            .flow(MIX, CLIENT, NODE_PORT_1, &sticky(&[Pod::A1, Pod::A2], Seen::Kept))
            .and(MIX, LB_1),
        Case::new("affinity with one endpoint", Service { affinity: Some(LONG), ..Service::ready(A1) }).flow(
            MIX,
            POD1,
            CLUSTER_IP,
            &kept(A1),
        ),
        Case::new("affinity that runs out", Service { affinity: Some(SHORT), ..Service::ready(THREE) })
            .flow(ALL, POD1, CLUSTER_IP, &forgets(Seen::Kept))
            .flow(MIX, CLIENT, NODE_PORT_1, &forgets(Seen::Node(N1))),
    ]
}

fn ranged(ranges: &[&'static str], pods: &[Pod]) -> Service {
    Service { source_ranges: ranges.to_vec(), ..Service::ready(pods) }
}

/// Who is meant by a range: the client, all Pods, the first node.
const CLIENT_RANGE: &[&str] = &["203.0.113.1/32", "2001:db8:113::1/128"];
const POD_RANGE: &[&str] = &["10.244.0.0/16", "2001:db8:244::/48"];
const NODE_RANGE: &[&str] = &["203.0.113.11/32", "2001:db8:113::11/128"];
const NOBODY: &[&str] = &["192.0.2.0/25", "2001:db8:ffff::/48"];

/// They count for load balancer addresses only, for everybody who asks there.
fn ranges() -> Vec<Case> {
    let (at_1, dropped) = (&from_node(N1, BOTH), &Expect::Dropped);
    vec![
        Case::new("source ranges with the client", ranged(CLIENT_RANGE, BOTH))
            .flow(ALL, CLIENT, LB_1, at_1)
            .flow(MIX, POD1, LB_1, dropped)
            .flow(MIX, NODE1, LB_1, dropped),
        Case::new("source ranges with the Pods", ranged(POD_RANGE, BOTH))
            .flow(ALL, CLIENT, LB_1, dropped)
            .flow(MIX, CLIENT, LB_2, dropped)
            .flow(MIX, POD1, LB_1, at_1)
            .flow(MIX, NODE1, LB_1, dropped)
            .flow(MIX, POD1, CLUSTER_IP, &kept(BOTH))
            .flow(MIX, CLIENT, CLUSTER_IP, at_1)
            .flow(ALL, CLIENT, NODE_PORT_1, at_1)
            .flow(MIX, CLIENT, EXTERNAL_1, at_1),
        Case::new("source ranges with the node", ranged(NODE_RANGE, BOTH))
            .flow(MIX, NODE1, LB_1, at_1)
            .flow(ONE, NODE2, LB_1, dropped)
            .flow(ONE, CLIENT, LB_1, dropped),
        Case::new("source ranges with everybody", ranged(&["0.0.0.0/0", "::/0"], BOTH))
            .flow(MIX, CLIENT, LB_1, at_1)
            .flow(MIX, POD1, LB_1, at_1),
        Case::new(
            "source ranges of two networks",
            ranged(&["192.0.2.0/25", "203.0.113.0/24", "2001:db8:113::/64"], BOTH),
        )
        .flow(MIX, CLIENT, LB_1, at_1)
        .flow(ONE, POD1, LB_1, dropped),
        Case::new(
            "source ranges with spaces around",
            ranged(&[" 203.0.113.1/32 ", " 2001:db8:113::1/128"], BOTH),
        )
        .flow(MIX, CLIENT, LB_1, at_1)
        .flow(ONE, POD1, LB_1, dropped),
        Case::new("source ranges of the other family only", ranged(&["2001:db8:ffff::/48"], BOTH))
            .flow(ONE, CLIENT, LB_1, at_1)
            .flow(&[(Tcp, V6)], CLIENT, LB_1, dropped),
    ]
}

/// They are looked at before everything else.
fn ranges_and_policies() -> Vec<Case> {
    let local = |ranges, pods| Service { external_local: true, ..ranged(ranges, pods) };
    vec![
        Case::new("source ranges and eTP Local", local(CLIENT_RANGE, BOTH))
            .flow(MIX, CLIENT, LB_1, &kept(A1))
            .flow(MIX, POD1, LB_1, &Expect::Dropped)
            .flow(MIX, NODE1, LB_1, &Expect::Dropped)
            .flow(ONE, CLIENT, NODE_PORT_1, &kept(A1)),
        Case::new("source ranges with nobody and eTP Local", local(NOBODY, BOTH))
            .flow(MIX, CLIENT, LB_1, &Expect::Dropped)
            .flow(MIX, POD1, LB_1, &Expect::Dropped)
            .flow(MIX, CLIENT, NODE_PORT_1, &kept(A1)),
        Case::new("source ranges with the client, no endpoints", ranged(CLIENT_RANGE, &[]))
            .flow(MIX, CLIENT, LB_1, &Expect::Refused)
            .flow(MIX, POD1, LB_1, &Expect::Dropped)
            .flow(ONE, POD1, CLUSTER_IP, &Expect::Refused),
        Case::new("source ranges with nobody, no endpoints", ranged(NOBODY, &[]))
            .flow(MIX, CLIENT, LB_1, &Expect::Dropped)
            .flow(ONE, CLIENT, NODE_PORT_1, &Expect::Refused),
    ]
}
