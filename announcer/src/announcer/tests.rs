//! Several announcers on one segment, with an API server that can be cut off from some of them. Time is simulated.

use std::net::{Ipv4Addr, Ipv6Addr};

use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_crds::{IPAddressPool, L2Advertisement};
use penstock_model::Standing;
use serde_json::json;

use super::*;
use crate::dataplane_link::Done;

const DURATION: Duration = Duration::from_secs(2);
const STEP: Duration = Duration::from_millis(100);
const ADDRESSES: u32 = 40;

fn read<T: serde::de::DeserializeOwned>(value: serde_json::Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn address(n: u32) -> IpAddr {
    match n % 2 {
        0 => Ipv4Addr::from(0xcb00_71c8 + n).into(),
        _ => Ipv6Addr::from((0x2001_0db8_0113 << 80) + u128::from(n)).into(),
    }
}

fn lease(node: &str, token: i64) -> Lease {
    let time = jiff::Timestamp::from_microsecond(token).unwrap();
    read(json!({"metadata": {"name": format!("penstock-announcer-{node}")},
        "spec": {"holderIdentity": node, "leaseDurationSeconds": DURATION.as_secs(), "renewTime": format!("{time:.6}")}}))
}

fn given_up(node: &str) -> Lease {
    read(json!({"metadata": {"name": format!("penstock-announcer-{node}")}, "spec": {"holderIdentity": ""}}))
}

fn services() -> Vec<core::Service> {
    let service = |n| {
        read(
            json!({"metadata": {"name": format!("s{n}"), "namespace": "d"}, "spec": {"type": "LoadBalancer"},
            "status": {"loadBalancer": {"ingress": [{"ip": address(n).to_string()}]}}}),
        )
    };
    (0..ADDRESSES).map(service).collect()
}

fn slices() -> Vec<discovery::EndpointSlice> {
    let slice = |n| {
        read(json!({"metadata": {"name": format!("s{n}"), "namespace": "d",
                "labels": {"kubernetes.io/service-name": format!("s{n}")}},
            "addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.4"]}]}))
    };
    (0..ADDRESSES).map(slice).collect()
}

fn node(name: &str) -> core::Node {
    read(json!({"metadata": {"name": name},
        "status": {"addresses": [{"type": "InternalIP", "address": "203.0.113.11"}]}}))
}

fn pool() -> IPAddressPool {
    read(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "IPAddressPool",
        "metadata": {"name": "p", "namespace": "p"}, "spec": {"addresses": ["203.0.113.0/24", "2001:db8:113::/48"]}}))
}

fn advertisement() -> L2Advertisement {
    read(json!({"apiVersion": "penstock.dev/v1alpha1", "kind": "L2Advertisement",
        "metadata": {"name": "a", "namespace": "p"}, "spec": {}}))
}

fn link() -> Link {
    Link {
        index: 2,
        name: "eth0".into(),
        mac: Mac([2, 0, 0, 0, 0, 1]),
        running: true,
        addresses: ["203.0.113.11".parse().unwrap()].into(),
    }
}

/// One announcer and what connects it.
struct Member {
    name: &'static str,
    announcer: Announcer,
    /// The process runs.
    running: bool,
    /// Renewals reach the API server.
    writes: bool,
    /// News of the API server arrive.
    reads: bool,
    owned: BTreeSet<IpAddr>,
}

struct Segment {
    now: Instant,
    tick: i64,
    names: Vec<&'static str>,
    members: Vec<Member>,
}

impl Segment {
    fn new(names: &[&'static str]) -> Self {
        let now = Instant::now();
        let mut segment = Self { now, tick: 0, names: names.to_vec(), members: vec![] };
        for name in names {
            let mut announcer = Announcer::new(name, vec![], DURATION);
            segment.lists().into_iter().for_each(|input| announcer.take(input, now));
            let owned = BTreeSet::new();
            segment.members.push(Member { name, announcer, running: true, writes: true, reads: true, owned });
        }
        segment.advance(Duration::from_secs(3));
        segment
    }

    fn lists(&self) -> Vec<Input> {
        vec![
            Input::Services(Box::new(Update::Reset(services()))),
            Input::Slices(Box::new(Update::Reset(slices()))),
            Input::Nodes(Box::new(Update::Reset(self.names.iter().map(|name| node(name)).collect()))),
            Input::Pools(Box::new(Update::Reset(vec![pool()]))),
            Input::Advertisements(Box::new(Update::Reset(vec![advertisement()]))),
            Input::RouteAdvertisements(Box::new(Update::Reset(vec![]))),
            Input::Peers(Box::new(Update::Reset(vec![]))),
            Input::BfdProfiles(Box::new(Update::Reset(vec![]))),
            Input::Communities(Box::new(Update::Reset(vec![]))),
            Input::Leases(Box::new(Update::Reset(vec![]))),
            Input::Links(vec![link()]),
            Input::Predecessor(Predecessor::Gone),
        ]
    }

    fn member(&mut self, name: &str) -> &mut Member {
        self.members.iter_mut().find(|m| m.name == name).unwrap()
    }

    /// Renewals each 500 ms, a little apart from each other; decisions each step; new owners claim.
    fn advance(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += STEP;
            self.tick += 1;
            for writer in 0..self.members.len() {
                if (self.tick + i64::try_from(writer).unwrap()) % 5 == 0 {
                    self.renew(writer);
                }
            }
            self.decide();
        }
    }

    fn renew(&mut self, writer: usize) {
        let (now, tick) = (self.now, self.tick);
        let member = &mut self.members[writer];
        if !member.running {
            return;
        }
        let (name, written) = (member.name, member.writes);
        member.announcer.take(Input::RenewalSent { token: tick, at: now }, now);
        if written {
            self.tell(&Update::Apply(lease(name, tick)));
        }
    }

    fn tell(&mut self, update: &Update<Lease>) {
        let now = self.now;
        for member in self.members.iter_mut().filter(|m| m.running && m.reads) {
            member.announcer.take(Input::Leases(Box::new(update.clone())), now);
        }
    }

    fn decide(&mut self) {
        let now = self.now;
        let mut claims = Vec::new();
        for member in self.members.iter_mut().filter(|m| m.running) {
            let orders = member.announcer.decide(now).clone();
            let owned: BTreeSet<IpAddr> = orders.owned.keys().copied().collect();
            if orders.claiming {
                claims.extend(owned.difference(&member.owned).map(|ip| (member.name, *ip)));
            }
            member.owned = owned;
        }
        for (by, address) in claims {
            for member in self.members.iter_mut().filter(|m| m.running && m.name != by) {
                let claim = Input::Claim { address, by: Mac([2, 0, 0, 0, 0, 9]), interface: "eth0".into() };
                member.announcer.take(claim, now);
                member.owned = member.announcer.decide(now).owned.keys().copied().collect();
            }
        }
    }

    fn owners(&self, address: IpAddr) -> Vec<&'static str> {
        let owning = self.members.iter().filter(|m| m.running && m.owned.contains(&address));
        owning.map(|m| m.name).collect()
    }

    fn assert_one_owner_each(&self, what: &str) {
        for n in 0..ADDRESSES {
            assert_eq!(
                self.owners(address(n)).len(),
                1,
                "{what}: {} has {:?}",
                address(n),
                self.owners(address(n))
            );
        }
    }

    fn all_owned(&self) -> Vec<BTreeSet<IpAddr>> {
        self.members.iter().map(|m| m.owned.clone()).collect()
    }
}

#[test]
fn every_address_has_one_owner_and_all_share() {
    let segment = Segment::new(&["n1", "n2", "n3"]);
    segment.assert_one_owner_each("at rest");
    assert!(segment.members.iter().all(|m| m.owned.len() > 5), "{:?}", segment.all_owned());
}

#[test]
fn orders_name_the_interface_with_the_nodes_address() {
    let mut segment = Segment::new(&["n1"]);
    let now = segment.now;
    let orders = segment.member("n1").announcer.decide(now).clone();
    assert_eq!(orders.owned[&address(0)], BTreeSet::from(["eth0".to_owned()]));
    let down = Link { running: false, ..link() };
    segment.member("n1").announcer.take(Input::Links(vec![down]), now);
    assert!(segment.member("n1").announcer.decide(now).owned[&address(0)].is_empty());
}

#[test]
fn a_link_that_has_the_address_keeps_it_from_being_announced() {
    let mut segment = Segment::new(&["n1"]);
    let now = segment.now;
    let announcer = &mut segment.member("n1").announcer;
    for (running, others) in [(true, 0), (false, 1)] {
        let gateway =
            Link { index: 3, name: "eth1".into(), running, addresses: [address(0)].into(), ..link() };
        announcer.take(Input::Links(vec![link(), gateway]), now);
        let owned = announcer.decide(now).owned.keys().filter(|ip| **ip == address(0)).count();
        assert_eq!(owned, others, "running: {running}");
    }
}

#[test]
fn the_interface_flag_replaces_the_default() {
    let mut announcer = Announcer::new("n1", vec!["eth1".into()], DURATION);
    let other = Link { index: 3, name: "eth1".into(), addresses: BTreeSet::new(), ..link() };
    announcer.take(Input::Links(vec![link(), other]), Instant::now());
    let default = InterfaceSelection { default: true, named: BTreeSet::new() };
    assert_eq!(announcer.interfaces(&default), BTreeSet::from(["eth1".to_owned()]));
    let named = InterfaceSelection { default: false, named: ["eth0".to_owned(), "none".to_owned()].into() };
    assert_eq!(announcer.interfaces(&named), BTreeSet::from(["eth0".to_owned()]));
}

#[test]
fn nothing_is_announced_before_all_lists_have_arrived() {
    let segment = Segment::new(&["n1"]);
    for missing in 0..7 {
        let now = Instant::now();
        let mut announcer = Announcer::new("n1", vec![], DURATION);
        let mut lists = segment.lists();
        let last = lists.remove(missing);
        lists.into_iter().for_each(|input| announcer.take(input, now));
        announcer.take(Input::RenewalSent { token: 1, at: now }, now);
        announcer.take(Input::Leases(Box::new(Update::Apply(lease("n1", 1)))), now);
        assert!(announcer.decide(now).owned.is_empty(), "without list {missing}");
        announcer.take(last, now);
        announcer.take(Input::Leases(Box::new(Update::Apply(lease("n1", 1)))), now);
        assert!(!announcer.decide(now).owned.is_empty(), "with list {missing}");
    }
}

#[test]
fn a_killed_nodes_addresses_move_within_the_lease_and_no_others() {
    let mut segment = Segment::new(&["n1", "n2", "n3"]);
    let before = segment.all_owned();
    segment.member("n1").running = false;
    segment.advance(Duration::from_secs(1));
    assert!(before[0].iter().all(|ip| segment.owners(*ip).is_empty()), "too early to tell");
    segment.advance(DURATION - Duration::from_secs(1) + STEP);
    segment.assert_one_owner_each("after the kill");
    assert!(
        segment.members[1].owned.is_superset(&before[1]) && segment.members[2].owned.is_superset(&before[2])
    );
}

#[test]
fn an_api_server_away_withdraws_and_moves_nothing() {
    let mut segment = Segment::new(&["n1", "n2", "n3"]);
    let before = segment.all_owned();
    for member in &mut segment.members {
        (member.reads, member.writes) = (false, false);
    }
    for _ in 0..600 {
        segment.advance(STEP * 10);
        assert_eq!(segment.all_owned(), before);
    }
    // They come back one after the other, as their backoff lets them.
    for name in ["n2", "n1", "n3"] {
        let member = segment.member(name);
        (member.reads, member.writes) = (true, true);
        segment.advance(Duration::from_secs(3));
        assert_eq!(segment.all_owned(), before, "{name} is back");
    }
}

#[test]
fn a_node_cut_off_alone_yields_to_who_takes_over_and_takes_back_when_it_returns() {
    for (reads, writes) in [(false, false), (true, false), (false, true)] {
        let mut segment = Segment::new(&["n1", "n2"]);
        let before = segment.all_owned();
        let cut = segment.member("n1");
        (cut.reads, cut.writes) = (reads, writes);
        for _ in 0..100 {
            segment.advance(STEP);
            segment.assert_one_owner_each("while it is cut off");
        }
        let owned = segment.member("n1").owned.clone();
        if writes {
            // The others see it alive and leave its addresses to it; it keeps them.
            assert_eq!(owned, before[0]);
        } else {
            assert!(owned.is_empty(), "yielded to n2");
        }
        let back = segment.member("n1");
        (back.reads, back.writes) = (true, true);
        segment.advance(Duration::from_secs(1));
        segment.assert_one_owner_each("when it is back");
        assert_eq!(segment.all_owned(), before);
    }
}

#[test]
fn a_node_without_health_still_follows_the_objects_that_it_sees() {
    let mut segment = Segment::new(&["n1"]);
    segment.member("n1").writes = false;
    segment.advance(Duration::from_secs(5));
    let now = segment.now;
    let announcer = &mut segment.member("n1").announcer;
    assert_eq!(announcer.decide(now).owned.len(), 40);
    announcer.take(Input::Services(Box::new(Update::Delete(services().remove(0)))), now);
    assert!(!announcer.decide(now).owned.contains_key(&address(0)), "its Service is gone");
    announcer.take(Input::Services(Box::new(Update::Apply(services().remove(0)))), now);
    assert!(!announcer.decide(now).owned.contains_key(&address(0)), "nothing new is taken");
}

#[test]
fn a_healthy_owner_does_not_yield_to_a_claim() {
    let mut segment = Segment::new(&["n1"]);
    let now = segment.now;
    let claim = Input::Claim { address: address(0), by: Mac([2, 0, 0, 0, 0, 9]), interface: "eth0".into() };
    let announcer = &mut segment.member("n1").announcer;
    announcer.take(claim.clone(), now);
    announcer.take(claim, now);
    assert!(announcer.decide(now).owned.contains_key(&address(0)));
    let conflict =
        Conflict { address: address(0), by: Mac([2, 0, 0, 0, 0, 9]), interface: "eth0".to_owned() };
    assert_eq!(announcer.take_conflicts(), [conflict], "said once");
    assert_eq!(announcer.take_conflicts(), []);
}

#[test]
fn a_clean_stop_leaves_no_moment_without_an_owner() {
    let mut segment = Segment::new(&["n1", "n2", "n3"]);
    segment.member("n1").announcer.begin_stop();
    segment.decide();
    segment.assert_one_owner_each("it keeps answering");
    segment.tell(&Update::Apply(given_up("n1")));
    segment.decide();
    segment.assert_one_owner_each("handed over at once");
    assert!(segment.member("n1").owned.is_empty());
}

#[test]
fn a_drain_begins_with_handing_over() {
    let mut segment = Segment::new(&["n1", "n2", "n3"]);
    let mut cordoned = node("n1");
    cordoned.spec = Some(read(json!({"unschedulable": true})));
    for name in ["n1", "n2", "n3"] {
        let now = segment.now;
        let news = Input::Nodes(Box::new(Update::Apply(cordoned.clone())));
        segment.member(name).announcer.take(news, now);
    }
    segment.decide();
    segment.assert_one_owner_each("handed over");
    assert!(segment.member("n1").owned.is_empty());
}

#[test]
fn with_a_dataplane_nothing_is_announced_before_its_word() {
    let segment = Segment::new(&["n1"]);
    let now = segment.now;
    let mut announcer = Announcer::new("n1", vec![], DURATION).coupled();
    segment.lists().into_iter().for_each(|input| announcer.take(input, now));
    assert!(!announcer.is_synced());
    announcer.arrived.note(&Input::Links(vec![]));
    assert!(!announcer.is_synced());
    let word = Standing::All([address(0)].into());
    let (done, mut carried_out) = tokio::sync::oneshot::channel();
    announcer.take(Input::Standing { word, done: Done::new(done) }, now);
    assert!(announcer.is_synced());
    assert!(carried_out.try_recv().is_err());
}

#[test]
fn one_that_follows_another_stands_by_and_then_answers_for_the_same_at_once() {
    let mut segment = Segment::new(&["n1", "n2"]);
    let (now, before) = (segment.now, segment.all_owned());
    let mut next = Announcer::new("n1", vec![], DURATION).coupled();
    let lists: Vec<_> =
        segment.lists().into_iter().filter(|input| !matches!(input, Input::Predecessor(_))).collect();
    lists.into_iter().for_each(|input| next.take(input, now));
    next.take(Input::Leases(Box::new(Update::Apply(lease("n2", 1)))), now);
    assert!(next.can_follow(now) && !next.is_synced() && next.decide(now).owned.is_empty());

    let rules = Standing::All((0..ADDRESSES).map(address).collect());
    next.take(Input::Predecessor(Predecessor::Yields(Some(rules))), now);
    assert!(next.is_synced() && !next.can_follow(now));
    // Both renew the Lease, and hear of both renewals.
    for (token, at) in [(100, now), (200, now + STEP)] {
        let own = if token == 100 { &mut segment.member("n1").announcer } else { &mut next };
        own.take(Input::RenewalSent { token, at }, at);
        for announcer in [&mut segment.member("n1").announcer, &mut next] {
            announcer.take(Input::Leases(Box::new(Update::Apply(lease("n1", token)))), at);
        }
    }
    let now = now + STEP;
    for announcer in [&mut segment.member("n1").announcer, &mut next] {
        let orders = announcer.decide(now);
        assert_eq!(orders.owned.keys().copied().collect::<BTreeSet<_>>(), before[0]);
        assert!(orders.claiming);
    }
}

#[test]
fn one_that_cannot_know_yet_who_is_dead_does_not_follow() {
    let segment = Segment::new(&["n1"]);
    let now = segment.now;
    let mut next = Announcer::new("n1", vec![], DURATION);
    for input in segment.lists() {
        let input = match input {
            Input::Predecessor(_) => continue,
            Input::Leases(_) => Input::Leases(Box::new(Update::Reset(vec![lease("dead", 1)]))),
            input => input,
        };
        next.take(input, now);
    }
    assert!(!next.can_follow(now), "a dead node's Lease, seen for the first time, may be a living one's");
    assert_eq!(next.next_deadline(now), Some(now + DURATION));
    assert!(next.can_follow(now + DURATION));
    next.take(Input::Predecessor(Predecessor::Gone), now);
    assert!(!next.can_follow(now + DURATION) && next.is_synced());
}

#[test]
fn a_machine_that_slept_takes_nothing_from_the_living() {
    let mut segment = Segment::new(&["n1", "n2"]);
    let before = segment.all_owned();
    let slept = segment.now + Duration::from_secs(60);
    assert_eq!(segment.member("n1").announcer.decide(slept).owned.len(), before[0].len());
}

#[test]
fn deadlines_are_known() {
    let mut segment = Segment::new(&["n1", "n2"]);
    let now = segment.now;
    let deadline = segment.member("n1").announcer.next_deadline(now).unwrap();
    assert!(deadline > now && deadline <= now + DURATION);
}
