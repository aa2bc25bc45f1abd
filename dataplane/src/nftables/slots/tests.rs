//! What the operations leave behind, played on a model of the table's maps that refuses what the kernel
//! refuses: removing what is not there and adding what is.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use penstock_model::{
    Family, Fate, Frontend, FrontendAddress, FrontendKind, Masquerade, ObjectKey, Protocol, Scope, Sender,
    ServicePort, SourceRanges, Sources, TrafficPolicy,
};
use proptest::prelude::*;

use super::*;
use crate::nftables::{
    chain::{Choice, Target},
    token::PORT,
};

type World = BTreeMap<PortKey, Arc<ServicePort>>;

const SENDERS: [Sender; 3] = [Sender::Pod, Sender::Node, Sender::Outside];

#[derive(Debug, Default)]
struct Table {
    elements: BTreeMap<ElementKey, Element>,
    chains: BTreeSet<Chain>,
}

/// What a sender's connections meet: dropped, rejected, or sent to these endpoints, the source replaced or not, and the
/// time-out of affinity.
#[derive(Clone, Debug, PartialEq)]
enum Meets {
    Nothing(Fate),
    Endpoints { to: BTreeSet<SocketAddr>, masqueraded: bool, sticky: Option<u32> },
}

/// The content without its history: the order of endpoints and the numbers of ports are gone.
#[derive(Debug, Default, PartialEq)]
struct Content {
    frontends: BTreeMap<FrontendAddress, Vec<Meets>>,
    sources: BTreeMap<FrontendAddress, BTreeSet<IpNet>>,
    shared: BTreeSet<Element>,
}

impl Table {
    fn run(&mut self, transaction: &Transaction) {
        for chain in &transaction.chains {
            assert!(self.chains.insert(*chain), "{chain:?} exists");
        }
        for key in &transaction.deletes {
            assert!(self.elements.remove(key).is_some(), "{key:?} is not there");
        }
        for element in &transaction.adds {
            assert!(
                element.chain().is_none_or(|chain| self.chains.contains(&chain)),
                "no chain: {element:?}"
            );
            assert!(self.elements.insert(element.key(), *element).is_none(), "{element:?} is there");
        }
    }

    /// Also checks that all that is there leads somewhere, without gaps.
    fn content(&self) -> Content {
        let (mut content, mut used) = (Content::default(), BTreeSet::new());
        for element in self.elements.values() {
            match *element {
                Element::Service(frontend, _) | Element::Refused(frontend) => {
                    let meets = SENDERS.map(|sender| self.meets(frontend, sender, &mut used)).to_vec();
                    assert!(
                        content.frontends.insert(frontend, meets).is_none(),
                        "{frontend} has two entries"
                    );
                }
                Element::Firewalled(frontend) => drop(content.sources.entry(frontend).or_default()),
                Element::Source(frontend, net) => {
                    content.sources.entry(frontend).or_default().insert(net);
                    used.insert(ElementKey::Firewalled(frontend));
                }
                Element::Hairpin(_) | Element::ClusterIp(_) => drop(content.shared.insert(*element)),
                _ => continue,
            }
            used.insert(element.key());
        }
        let left: Vec<_> = self.elements.keys().filter(|key| !used.contains(key)).collect();
        assert!(left.is_empty(), "left over: {left:?}");
        content
    }

    fn find(&self, key: ElementKey, used: &mut BTreeSet<ElementKey>) -> Option<Element> {
        used.insert(key);
        self.elements.get(&key).copied()
    }

    /// As the rules go.
    fn meets(&self, frontend: FrontendAddress, sender: Sender, used: &mut BTreeSet<ElementKey>) -> Meets {
        let Some(Element::Service(_, mut target)) = self.find(ElementKey::Service(frontend), used) else {
            return Meets::Nothing(Fate::Rejected);
        };
        let mut masqueraded = false;
        if target == Target::ShortCircuit {
            let inside = self.find(ElementKey::Inside(frontend), used);
            let outside = self.find(ElementKey::Outside(frontend), used);
            masqueraded = sender == Sender::Node;
            target = match (sender, inside, outside) {
                (Sender::Outside, _, Some(Element::Outside(_, target))) => target,
                (Sender::Pod | Sender::Node, Some(Element::Inside(_, target)), _) => target,
                other => panic!("{frontend}: {other:?}"),
            };
        }
        let Target::Send(send) = target else { return Meets::Nothing(Fate::Dropped) };
        masqueraded |= match send.masquerade {
            None => false,
            Some(Masquerade::OffCluster) => sender != Sender::Pod,
            Some(Masquerade::Always) => true,
        };
        let (to, sticky) = match send.choice {
            Choice::Random(count) => (self.by_index(frontend, send.scope, count, used), None),
            Choice::Sticky(seconds) => (self.by_token(frontend, send.scope, used), Some(seconds)),
        };
        Meets::Endpoints { to, masqueraded, sticky }
    }

    fn by_index(
        &self,
        frontend: FrontendAddress,
        scope: Scope,
        count: u32,
        used: &mut BTreeSet<ElementKey>,
    ) -> BTreeSet<SocketAddr> {
        let at = |index| match self.find(ElementKey::Endpoint(frontend, scope, index), used) {
            Some(Element::Endpoint(.., to)) => to,
            other => panic!("{frontend} has {other:?} at {index} of {count}"),
        };
        let all: Vec<SocketAddr> = (0..count).map(at).collect();
        distinct(&all)
    }

    fn by_token(
        &self,
        frontend: FrontendAddress,
        scope: Scope,
        used: &mut BTreeSet<ElementKey>,
    ) -> BTreeSet<SocketAddr> {
        let Some(Element::Affine(_, port)) = self.find(ElementKey::Affine(frontend), used) else {
            panic!("{frontend} has no number");
        };
        let Some(Element::Choice(.., count)) = self.find(ElementKey::Choice(frontend, scope), used) else {
            panic!("{frontend} has no choice");
        };
        let at = |index| {
            let key = ElementKey::Token(frontend, scope, index);
            let Some(Element::Token(.., token)) = self.find(key, used) else { panic!("no token at {index}") };
            assert_eq!(token & PORT, port);
            match self.find(ElementKey::Holder(frontend, scope, token), used) {
                Some(Element::Holder(.., to)) => to,
                other => panic!("{frontend} has {other:?} for {token:x}"),
            }
        };
        let all: Vec<SocketAddr> = (0..count).map(at).collect();
        distinct(&all)
    }
}

fn distinct(all: &[SocketAddr]) -> BTreeSet<SocketAddr> {
    let set: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!(set.len(), all.len(), "one stands there twice");
    set
}

/// As the model says it.
fn expected(world: &World) -> Content {
    let mut content = Content::default();
    for port in world.values() {
        for frontend in &port.frontends {
            let treatment = port.treatment(frontend);
            let meets = SENDERS.map(|sender| expect(port, frontend, treatment.route.fate(sender))).to_vec();
            content.frontends.insert(frontend.address, meets);
            if let Sources::Only(nets) = treatment.sources {
                content.sources.insert(frontend.address, nets.iter().copied().collect());
            }
            if frontend.kind == FrontendKind::ClusterIp {
                content.shared.insert(Element::ClusterIp(frontend.address.ip));
            }
        }
        content.shared.extend(port.hairpins().into_iter().map(Element::Hairpin));
    }
    content
}

fn expect(port: &ServicePort, frontend: &Frontend, fate: Fate) -> Meets {
    let Fate::Sent { scope, masqueraded } = fate else { return Meets::Nothing(fate) };
    let set = if scope == Scope::Cluster { &port.cluster } else { &port.local };
    let to = set.of(Family::of(frontend.address.ip)).iter().copied().collect();
    Meets::Endpoints { to, masqueraded, sticky: port.affinity_seconds }
}

fn key(n: u8) -> PortKey {
    PortKey { service: Arc::new(ObjectKey::new("d", format!("s{n}"))), port: 80, protocol: Protocol::Tcp }
}

fn frontend(n: u8) -> Frontend {
    let ip = if n.is_multiple_of(2) { format!("10.96.0.{n}") } else { format!("2001:db8:96::{n}") };
    let kinds = [
        FrontendKind::ExternalIp,
        FrontendKind::ClusterIp,
        FrontendKind::LoadBalancer,
        FrontendKind::NodePort,
    ];
    // Of the eight that there are, ClusterIPs and load balancer IPs of both families.
    let kind = kinds[usize::from(n / 2 + n % 2) % 4];
    let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][usize::from(n) % 3];
    Frontend { address: FrontendAddress { ip: ip.parse().unwrap(), protocol, port: 80 }, kind }
}

fn endpoint(n: u8) -> SocketAddr {
    let ip = if n.is_multiple_of(2) { format!("10.244.0.{n}") } else { format!("2001:db8:244::{n}") };
    SocketAddr::new(ip.parse().unwrap(), 8080)
}

fn bits(mask: u16) -> impl Iterator<Item = u8> {
    (0..16).filter(move |bit| mask & (1 << bit) != 0)
}

/// Masks of frontends, endpoints, local endpoints and of policies, affinity and source ranges.
type Wish = Option<(u16, u16, u16, u8)>;

/// Every frontend goes to the first port that wishes for it, as it does in the index.
fn world(wishes: &[Wish]) -> World {
    let mut taken = 0;
    let mut world = World::new();
    for (n, wish) in (0_u8..).zip(wishes) {
        let Some((frontends, endpoints, local, terms)) = *wish else { continue };
        let own = frontends & 0xff & !taken;
        taken |= own;
        world.insert(key(n), Arc::new(port(own, endpoints, local, terms)));
    }
    world
}

fn port(frontends: u16, endpoints: u16, local: u16, terms: u8) -> ServicePort {
    let policy = |bit: u8| if terms & bit == 0 { TrafficPolicy::Cluster } else { TrafficPolicy::Local };
    let nets: Vec<IpNet> = ["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/47"].map(|n| n.parse().unwrap()).into();
    ServicePort {
        frontends: bits(frontends).map(frontend).collect(),
        cluster: bits(endpoints).map(endpoint).collect(),
        // Some that are only local, as when hints lead away from here.
        local: bits((endpoints | 0x1010) & local).map(endpoint).collect(),
        internal_policy: policy(1),
        external_policy: policy(2),
        affinity_seconds: [None, None, Some(10), Some(10_800)][usize::from(terms >> 2 & 3)],
        source_ranges: SourceRanges::new(&nets[..usize::from(terms >> 4 & 3)], false),
        scheduler: None,
    }
}

fn changes(before: &World, after: &World) -> Vec<Change> {
    let keys: BTreeSet<&PortKey> = before.keys().chain(after.keys()).collect();
    let differing = keys.into_iter().filter(|k| before.get(k) != after.get(k));
    differing.map(|k| Change { key: k.clone(), desired: after.get(k).cloned() }).collect()
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    prop::collection::vec(prop::option::weighted(0.8, any::<(u16, u16, u16, u8)>()), 4)
}

proptest! {
    #[test]
    fn any_sequence_of_changes_leaves_what_a_fresh_load_would(steps in prop::collection::vec(wishes(), 1..8)) {
        let (mut slots, mut table, mut before) = (Slots::default(), Table::default(), World::new());
        for step in steps {
            let after = world(&step);
            table.run(&slots.apply(&changes(&before, &after)));
            prop_assert_eq!(table.content(), expected(&after));
            let frontends = after.values().map(|port| port.frontends.len() as u64).sum::<u64>();
            prop_assert_eq!(slots.programmed().frontends, frontends);
            before = after;
        }
        let mut fresh = Table::default();
        fresh.run(&Slots::default().apply(&changes(&World::new(), &before)));
        prop_assert_eq!(fresh.content(), table.content());
    }

    #[test]
    fn an_endpoint_that_comes_or_goes_moves_at_most_one_other(mask: u16, bit in 0_u8..8, sticky: bool) {
        let mask = mask & 0x5555 & !(1 << (2 * bit));
        let one = |endpoints| world(&[Some((1 << 4, endpoints, 0, u8::from(sticky) << 3))]);
        let (with, without) = (one(mask | 1 << (2 * bit)), one(mask));
        for (before, after) in [(&without, &with), (&with, &without)] {
            let mut slots = Slots::default();
            slots.apply(&changes(&World::new(), before));
            let transaction = slots.apply(&changes(before, after));
            // The number or the choice, the endpoint and the last one's move: each at most a removal and an addition;
            // with affinity also where it is found by its token, and for the first or last one whose number it is.
            let most = if sticky { (5, 5) } else { (3, 2) };
            let is = (transaction.deletes.len(), transaction.adds.len());
            prop_assert!(is.0 <= most.0 && is.1 <= most.1, "{:?}", transaction);
        }
    }
}

#[test]
fn the_cost_of_one_endpoint_does_not_depend_on_the_number_of_services() {
    let cost = |services: u16| {
        let at = |n: u16, endpoints: u16| Change {
            key: PortKey {
                service: Arc::new(ObjectKey::new("d", format!("s{n}"))),
                port: 80,
                protocol: Protocol::Tcp,
            },
            desired: Some(Arc::new(ServicePort {
                frontends: vec![Frontend {
                    address: FrontendAddress {
                        ip: IpAddr::from([10, 96, (n >> 8) as u8, n as u8]),
                        protocol: Protocol::Tcp,
                        port: 80,
                    },
                    kind: FrontendKind::ClusterIp,
                }],
                cluster: (1..=endpoints).map(|e| SocketAddr::from(([10, 244, 0, e as u8], 80))).collect(),
                ..ServicePort::default()
            })),
        };
        let mut slots = Slots::default();
        slots.apply(&(0..services).map(|n| at(n, 5)).collect::<Vec<_>>());
        slots.apply(&[at(0, 6)])
    };
    assert_eq!(cost(10), cost(5_000));
    assert_eq!(cost(10).len(), 3, "a new endpoint, and the frontend's number removed and added");
}

#[test]
fn the_last_endpoint_takes_the_index_of_the_one_that_went() {
    let [a, b, c, d] = [2, 4, 6, 8].map(endpoint);
    assert_eq!(reassign(&[a, b, c], &BTreeSet::from([b, c])), [c, b]);
    assert_eq!(reassign(&[a, b, c], &BTreeSet::from([b])), [b]);
    assert_eq!(reassign(&[a, b, c], &BTreeSet::from([b, c, d])), [d, b, c]);
    assert_eq!(reassign(&[c, a], &BTreeSet::from([a, b, c, d])), [c, a, b, d]);
    assert_eq!(reassign(&[a], &BTreeSet::new()), []);
}
