use std::collections::BTreeSet;

use penstock_model::{
    Family, Frontend, FrontendAddress, FrontendKind, ObjectKey, Protocol, Scheduler, SourceRanges,
    TrafficPolicy,
};
use proptest::prelude::*;

use super::*;
use crate::ipvs::{codec::ServerFlags, mark::Mark};

fn settings() -> Settings {
    Settings { available: Scheduler::ALL.into(), ..Settings::default() }
}

fn key(name: &str, protocol: Protocol) -> PortKey {
    PortKey { service: Arc::new(ObjectKey::new("d", name)), port: 80, protocol }
}

fn frontend(ip: &str, protocol: Protocol, kind: FrontendKind) -> Frontend {
    Frontend { address: FrontendAddress { ip: ip.parse().unwrap(), protocol, port: 80 }, kind }
}

fn at(ip: &str, protocol: Protocol) -> ServerAddress {
    ServerAddress::Frontend(frontend(ip, protocol, FrontendKind::ClusterIp).address)
}

fn pod(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 244, 0, last], 8080))
}

fn cluster_ip(protocol: Protocol, endpoints: &[u8]) -> ServicePort {
    ServicePort {
        frontends: vec![frontend("10.96.0.7", protocol, FrontendKind::ClusterIp)],
        cluster: endpoints.iter().map(|last| pod(*last)).collect(),
        ..ServicePort::default()
    }
}

fn change(name: &str, protocol: Protocol, desired: Option<ServicePort>) -> Change {
    Change { key: key(name, protocol), desired: desired.map(Arc::new) }
}

/// A ledger after one port, and the port as it is to be next.
fn after(first: ServicePort, next: ServicePort, protocol: Protocol) -> (Ledger, Plan) {
    let (mut ledger, now) = (Ledger::new(settings()), Instant::now());
    ledger.apply(&[change("web", protocol, Some(first))], now);
    let plan = ledger.apply(&[change("web", protocol, Some(next))], now);
    (ledger, plan)
}

#[test]
fn one_endpoint_more_or_less_is_one_request() {
    use Protocol::{Tcp, Udp};
    let server = at("10.96.0.7", Tcp);
    let (_, more) = after(cluster_ip(Tcp, &[1]), cluster_ip(Tcp, &[1, 2]), Tcp);
    assert_eq!(more.requests, [Request::NewDestination(server, Destination::serving(pod(2)))]);
    assert_eq!(more.len(), 1);
    let (ledger, less) = after(cluster_ip(Tcp, &[1, 2]), cluster_ip(Tcp, &[1]), Tcp);
    assert_eq!(less.requests, [Request::SetDestination(server, Destination::draining(pod(2)))]);
    assert_eq!((less.len(), ledger.draining()), (1, vec![server]));
    let (ledger, less) = after(cluster_ip(Udp, &[1, 2]), cluster_ip(Udp, &[1]), Udp);
    let gone = Request::DeleteDestination(at("10.96.0.7", Udp), Destination::draining(pod(2)));
    assert_eq!((less.requests, ledger.draining()), (vec![gone], vec![]));
}

#[test]
fn what_drains_goes_when_it_is_idle_or_had_its_time_and_serves_again_when_it_comes_back() {
    let tcp = Protocol::Tcp;
    let (mut ledger, _) = after(cluster_ip(tcp, &[1, 2, 3]), cluster_ip(tcp, &[1]), tcp);
    let (server, now) = (at("10.96.0.7", tcp), Instant::now());
    let busy = Connections { active: 1, inactive: 0 };
    let connections = |two, three| BTreeMap::from([(pod(2), two), (pod(3), three)]);
    let gone = |last| Request::DeleteDestination(server, Destination::draining(pod(last)));
    assert_eq!(ledger.drained(server, &connections(busy, Connections::default()), now), [gone(3)]);
    let back = ledger.apply(&[change("web", tcp, Some(cluster_ip(tcp, &[1, 2])))], now);
    assert_eq!(back.requests, [Request::SetDestination(server, Destination::serving(pod(2)))]);
    ledger.apply(&[change("web", tcp, Some(cluster_ip(tcp, &[1])))], now);
    assert_eq!(ledger.drained(server, &connections(busy, busy), now), []);
    let all = BTreeMap::from([(server, connections(busy, busy))]);
    assert_eq!(ledger.drain(&all, now + DRAINING), [gone(2)]);
    assert_eq!((ledger.draining(), ledger.drain(&all, now)), (vec![], vec![]));
}

#[test]
fn a_frontend_that_lost_its_endpoints_is_refused_and_its_server_goes_once_it_has_drained() {
    let tcp = Protocol::Tcp;
    let (mut ledger, plan) = after(cluster_ip(tcp, &[1]), cluster_ip(tcp, &[]), tcp);
    let (server, address) =
        (at("10.96.0.7", tcp), frontend("10.96.0.7", tcp, FrontendKind::ClusterIp).address);
    assert_eq!(plan.additions, [Rule::Refused(address)]);
    assert_eq!(plan.removals, [Rule::OffCluster(address)]);
    assert_eq!(plan.requests, [Request::SetDestination(server, Destination::draining(pod(1)))]);
    let idle = BTreeMap::from([(pod(1), Connections::default())]);
    assert_eq!(ledger.drained(server, &idle, Instant::now()), [Request::DeleteServer(server)]);
    // It comes back as a new one.
    let plan = ledger.apply(&[change("web", tcp, Some(cluster_ip(tcp, &[1])))], Instant::now());
    assert!(matches!(plan.requests[..], [Request::NewServer(_), Request::NewDestination(..)]), "{plan:?}");
}

#[test]
fn the_kernel_is_told_to_let_go_before_the_same_address_comes_again() {
    let (tcp, now) = (Protocol::Tcp, Instant::now());
    let mut ledger = Ledger::new(settings());
    ledger.apply(&[change("old", tcp, Some(cluster_ip(tcp, &[1])))], now);
    for order in [[0, 1], [1, 0]] {
        let mut ledger = ledger.clone();
        let batch = [change("old", tcp, None), change("new", tcp, Some(cluster_ip(tcp, &[2])))];
        let plan = ledger.apply(&order.map(|n| batch[n].clone()), now);
        let server = at("10.96.0.7", tcp);
        // The server stays: only who serves differs.
        assert_eq!(
            plan.requests,
            [
                Request::SetDestination(server, Destination::draining(pod(1))),
                Request::NewDestination(server, Destination::serving(pod(2))),
            ],
            "{order:?}"
        );
        assert_eq!((plan.bind, plan.unbind), (vec![], vec![]));
    }
    let gone = ledger.apply(&[change("old", tcp, None)], now);
    assert_eq!(gone.requests, [Request::DeleteServer(at("10.96.0.7", tcp))]);
    assert_eq!(gone.unbind, ["10.96.0.7".parse::<IpAddr>().unwrap()]);
}

#[test]
fn external_policy_local_has_a_server_for_those_outside_and_one_for_those_inside() {
    let tcp = Protocol::Tcp;
    let balancer = |last| frontend(last, tcp, FrontendKind::LoadBalancer);
    let port = ServicePort {
        frontends: vec![balancer("192.0.2.1"), balancer("192.0.2.2")],
        cluster: [pod(1), pod(2)].into_iter().collect(),
        local: [pod(2)].into_iter().collect(),
        external_policy: TrafficPolicy::Local,
        affinity_seconds: Some(60),
        ..ServicePort::default()
    };
    let mut ledger = Ledger::new(settings());
    let plan = ledger.apply(&[change("web", tcp, Some(port))], Instant::now());
    let servers: Vec<VirtualServer> = plan
        .requests
        .iter()
        .filter_map(|request| match request {
            Request::NewServer(server) => Some(*server),
            _ => None,
        })
        .collect();
    let [first, second, inside] = servers[..] else { panic!("{servers:?}") };
    for server in [first, second] {
        let flags = ServerFlags(ServerFlags::PERSISTENT.0 | ServerFlags::SH_FALLBACK.0);
        assert_eq!((server.scheduler, server.flags, server.timeout), (Some(Scheduler::Sh), flags, 60));
        let to = Request::NewDestination(server.address, Destination::serving(pod(2)));
        assert!(plan.requests.contains(&to));
    }
    assert_eq!((inside.scheduler, inside.timeout), (Some(Scheduler::Sh), 0));
    let ServerAddress::Mark(Family::IPv4, mark) = inside.address else { panic!("{inside:?}") };
    let marked = plan.additions.iter().filter(|rule| matches!(rule, Rule::Inside(_, m) if *m == mark));
    assert_eq!((marked.count(), Mark::is_ours(mark)), (2, true));
    assert_eq!(
        plan.requests
            .iter()
            .filter(|r| matches!(r, Request::NewDestination(a, _) if *a == inside.address))
            .count(),
        2
    );
}

#[test]
fn a_scheduler_that_the_kernel_lacks_or_nobody_asked_for_is_the_default() {
    let scheduler_of = |wanted, available: &[Scheduler]| {
        let available = available.iter().copied().collect();
        let mut ledger =
            Ledger::new(Settings { scheduler: Scheduler::Wlc, available, ..Settings::default() });
        let port = ServicePort { scheduler: wanted, ..cluster_ip(Protocol::Tcp, &[1]) };
        let plan = ledger.apply(&[change("web", Protocol::Tcp, Some(port))], Instant::now());
        plan.requests.iter().find_map(|request| match request {
            Request::NewServer(server) => server.scheduler,
            _ => None,
        })
    };
    assert_eq!(scheduler_of(None, &[]), Some(Scheduler::Wlc));
    assert_eq!(scheduler_of(Some(Scheduler::Mh), &[]), Some(Scheduler::Wlc));
    assert_eq!(scheduler_of(Some(Scheduler::Mh), &[Scheduler::Mh]), Some(Scheduler::Mh));
}

#[test]
fn the_nodes_own_addresses_are_not_bound_and_their_other_ports_stay_open() {
    let own = BTreeSet::from(["10.96.0.7".parse().unwrap()]);
    let mut ledger = Ledger::new(Settings { own_addresses: own, ..settings() });
    let plan =
        ledger.apply(&[change("web", Protocol::Tcp, Some(cluster_ip(Protocol::Tcp, &[1])))], Instant::now());
    assert_eq!(plan.bind, Vec::<IpAddr>::new());
    assert!(!plan.additions.iter().any(|rule| matches!(rule, Rule::Vip(_))), "{plan:?}");
}

/// The kernel, as far as requests go.
#[derive(Clone, Debug, Default)]
struct Model(BTreeMap<ServerAddress, Observed>);

impl Model {
    /// As strict as the kernel.
    fn carry_out(&mut self, requests: &[Request]) {
        for request in requests {
            match *request {
                Request::NewServer(server) => {
                    let new = Observed { server, destinations: BTreeMap::new() };
                    assert!(self.0.insert(server.address, new).is_none(), "{request:?}");
                }
                Request::SetServer(server) => self.0.get_mut(&server.address).unwrap().server = server,
                Request::DeleteServer(address) => assert!(self.0.remove(&address).is_some(), "{request:?}"),
                Request::NewDestination(address, to) => {
                    let destinations = &mut self.0.get_mut(&address).unwrap().destinations;
                    assert!(destinations.insert(to.address, to).is_none(), "{request:?}");
                }
                Request::SetDestination(address, to) => {
                    *self.0.get_mut(&address).unwrap().destinations.get_mut(&to.address).unwrap() = to;
                }
                Request::DeleteDestination(address, to) => {
                    let destinations = &mut self.0.get_mut(&address).unwrap().destinations;
                    assert!(destinations.remove(&to.address).is_some(), "{request:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// What new connections meet.
    fn serving(&self) -> BTreeMap<VirtualServer, BTreeSet<SocketAddr>> {
        let serving = self.0.values().map(|observed| {
            let serving = observed.destinations.values().filter(|to| to.weight > 0);
            (observed.server, serving.map(|to| to.address).collect::<BTreeSet<_>>())
        });
        serving.filter(|(_, serving)| !serving.is_empty()).collect()
    }
}

fn some_port(bits: (u8, u8, u8, u8)) -> ServicePort {
    let (frontends, endpoints, local, terms) = bits;
    let policy = |bit: u8| if terms & bit == 0 { TrafficPolicy::Cluster } else { TrafficPolicy::Local };
    let kinds = [FrontendKind::ClusterIp, FrontendKind::LoadBalancer, FrontendKind::NodePort];
    let set = |bits: u8| (0..6_u8).filter(move |bit| bits >> bit & 1 == 1);
    let nets: Vec<ipnet::IpNet> = vec!["192.0.2.0/24".parse().unwrap()];
    let v6 = |last: u8| SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)], 8080));
    let endpoint = |last| if last == 5 { v6(last) } else { pod(last) };
    ServicePort {
        frontends: set(frontends)
            .map(|bit| {
                let ip = if bit == 5 { "2001:db8:96::1".to_owned() } else { format!("10.96.0.{bit}") };
                frontend(&ip, Protocol::Tcp, kinds[usize::from(bit % 3)])
            })
            .collect(),
        cluster: set(endpoints).map(endpoint).collect(),
        local: set(endpoints & local).map(endpoint).collect(),
        internal_policy: policy(1),
        external_policy: policy(2),
        affinity_seconds: (terms & 4 != 0).then_some(10),
        scheduler: (terms & 8 != 0).then_some(Scheduler::Dh),
        source_ranges: SourceRanges::new(&nets[..usize::from(terms >> 4 & 1)], false),
    }
}

type Step = BTreeMap<u8, (u8, u8, u8, u8)>;

/// Two Services, whose frontends do not overlap: the index sees to that.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let port = (any::<u8>(), any::<u8>(), any::<u8>(), any::<u8>());
    let step = (prop::option::of(port), prop::option::of(port), any::<u8>()).prop_map(|(a, b, split)| {
        let cut = |mask: u8| move |(frontends, e, l, t): (u8, u8, u8, u8)| (frontends & mask, e, l, t);
        [(0, a.map(cut(split))), (1, b.map(cut(!split)))]
            .into_iter()
            .filter_map(|(n, port)| Some((n, port?)))
            .collect::<Step>()
    });
    prop::collection::vec(step, 1..6)
}

fn name(n: u8) -> String {
    format!("s{n}")
}

fn changes(before: &Step, after: &Step) -> Vec<Change> {
    let all: BTreeSet<&u8> = before.keys().chain(after.keys()).collect();
    let differing = all.into_iter().filter(|n| before.get(n) != after.get(n));
    differing.map(|n| change(&name(*n), Protocol::Tcp, after.get(n).map(|bits| some_port(*bits)))).collect()
}

proptest! {
    /// Whatever came before, new connections meet what a fresh start would give them, the kernel never refuses, and
    /// elements and addresses come and go once.
    #[test]
    fn any_way_leads_to_what_is_wanted(steps in steps(), backwards: bool) {
        let (mut ledger, mut kernel, now) = (Ledger::new(settings()), Model::default(), Instant::now());
        let (mut rules, mut bound) = (BTreeSet::new(), BTreeSet::new());
        let mut before = Step::new();
        for after in steps {
            let mut batch = changes(&before, &after);
            if backwards {
                batch.reverse();
            }
            let plan = ledger.apply(&batch, now);
            for rule in &plan.removals {
                prop_assert!(rules.remove(rule), "{:?} was not there", rule);
            }
            for rule in &plan.additions {
                prop_assert!(rules.insert(*rule), "{:?} was there", rule);
            }
            plan.bind.iter().for_each(|ip| assert!(bound.insert(*ip)));
            plan.unbind.iter().for_each(|ip| assert!(bound.remove(ip)));
            kernel.carry_out(&plan.requests);
            let (mut fresh, mut model) = (Ledger::new(settings()), Model::default());
            let from_nothing = fresh.apply(&changes(&Step::new(), &after), now);
            model.carry_out(&from_nothing.requests);
            prop_assert_eq!(kernel.serving(), model.serving());
            prop_assert_eq!(&rules, &from_nothing.additions.iter().copied().collect());
            prop_assert_eq!(&bound, &fresh.vips().collect());
            prop_assert_eq!(ledger.programmed(), fresh.programmed());
            before = after;
        }
        // What had to drain has drained.
        for server in ledger.draining() {
            let idle = kernel.0[&server].destinations.keys().map(|to| (*to, Connections::default())).collect();
            let requests = ledger.drained(server, &idle, now);
            kernel.carry_out(&requests);
        }
        prop_assert!(ledger.agrees(&kernel.0, |_| true));
        let weightless = kernel.0.values().flat_map(|o| o.destinations.values()).any(|to| to.weight == 0);
        prop_assert!(!weightless);
    }

    /// Whatever somebody else did, it is repaired, and then there is nothing to repair.
    #[test]
    fn what_others_did_is_repaired(step in steps(), other in steps()) {
        let now = Instant::now();
        let (step, other) = (step[0].clone(), other[0].clone());
        let (mut ledger, mut theirs) = (Ledger::new(settings()), Ledger::new(settings()));
        let mut kernel = Model::default();
        ledger.apply(&changes(&Step::new(), &step), now);
        kernel.carry_out(&theirs.apply(&changes(&Step::new(), &other), now).requests);
        let requests = ledger.repair(&kernel.0, |_| true, now);
        kernel.carry_out(&requests);
        prop_assert!(ledger.agrees(&kernel.0, |_| true));
        prop_assert_eq!(ledger.repair(&kernel.0, |_| true, now), vec![]);
        prop_assert_eq!(ledger.agrees(&Model::default().0, |_| true), kernel.0.is_empty());
    }
}
