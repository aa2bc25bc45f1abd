//! What the operations leave behind, played on a model of the table's maps that refuses what the kernel
//! refuses: removing what is not there and adding what is.

use penstock_model::{FrontendKind, ObjectKey, Protocol};
use proptest::prelude::*;

use super::*;

type World = BTreeMap<PortKey, Arc<ServicePort>>;

/// Whether external, and the verdict's N; `None` for a refused frontend.
type Entry = Option<(bool, u32)>;

#[derive(Debug, Default)]
struct Table {
    elements: BTreeMap<ElementKey, Element>,
    chains: BTreeSet<u32>,
}

/// The content without its history: the order of endpoints is gone.
#[derive(Debug, Default, PartialEq)]
struct Content {
    frontends: BTreeMap<FrontendAddress, (Entry, BTreeSet<SocketAddr>)>,
    hairpins: BTreeSet<IpAddr>,
}

impl Table {
    fn run(&mut self, transaction: &Transaction) {
        for count in &transaction.chains {
            assert!(self.chains.insert(*count), "chains for {count} exist");
        }
        for key in &transaction.deletes {
            assert!(self.elements.remove(key).is_some(), "{key:?} is not there");
        }
        for element in &transaction.adds {
            if let Element::Service { chain, .. } = element {
                assert!(self.chains.contains(&chain.endpoints()), "no chain for {element:?}");
            }
            assert!(self.elements.insert(element.key(), *element).is_none(), "{element:?} is there");
        }
    }

    /// Also checks that indexes run from 0 to N-1 and that N is what the verdict says.
    fn content(&self) -> Content {
        let mut content = Content::default();
        for element in self.elements.values() {
            match *element {
                Element::Service { frontend, chain } => {
                    let count = chain.endpoints();
                    let slot = |index| self.elements.get(&ElementKey::Endpoint(frontend, index));
                    let endpoints = (0..count).map(|index| match slot(index) {
                        Some(Element::Endpoint { to, .. }) => *to,
                        other => panic!("{frontend} has {other:?} at {index} of {count}"),
                    });
                    let entry = Some((matches!(chain, Chain::External(_)), count));
                    content.frontends.insert(frontend, (entry, endpoints.collect()));
                }
                Element::Refused(frontend) => {
                    content.frontends.insert(frontend, (None, BTreeSet::new()));
                }
                Element::Hairpin(ip) => assert!(content.hairpins.insert(ip)),
                Element::Endpoint { .. } => {}
            }
        }
        let endpoints: usize = content.frontends.values().map(|(_, e)| e.len()).sum();
        let hairpins = content.hairpins.len();
        assert_eq!(endpoints + content.frontends.len() + hairpins, self.elements.len(), "left over elements");
        content
    }
}

fn expected(world: &World) -> Content {
    let mut content = Content::default();
    for port in world.values() {
        for Frontend { address, kind } in &port.frontends {
            let endpoints: BTreeSet<_> =
                port.cluster.iter().filter(|e| e.is_ipv4() == address.ip.is_ipv4()).collect();
            let entry = (!endpoints.is_empty()).then_some((kind.is_external(), endpoints.len() as u32));
            content.frontends.insert(*address, (entry, endpoints));
        }
        content.hairpins.extend(port.hairpins());
    }
    content
}

fn key(n: u8) -> PortKey {
    PortKey { service: Arc::new(ObjectKey::new("d", format!("s{n}"))), port: 80, protocol: Protocol::Tcp }
}

fn frontend(n: u8) -> Frontend {
    let ip = if n.is_multiple_of(2) { format!("10.96.0.{n}") } else { format!("2001:db8:96::{n}") };
    let kind = if n.is_multiple_of(3) { FrontendKind::ExternalIp } else { FrontendKind::ClusterIp };
    Frontend { address: FrontendAddress { ip: ip.parse().unwrap(), protocol: Protocol::Tcp, port: 80 }, kind }
}

fn endpoint(n: u8) -> SocketAddr {
    let ip = if n.is_multiple_of(2) { format!("10.244.0.{n}") } else { format!("2001:db8:244::{n}") };
    SocketAddr::new(ip.parse().unwrap(), 8080)
}

fn bits(mask: u16) -> impl Iterator<Item = u8> {
    (0..16).filter(move |bit| mask & (1 << bit) != 0)
}

/// Masks of frontends, endpoints and local endpoints.
type Wish = Option<(u16, u16, u16)>;

/// Every frontend goes to the first port that wishes for it, as it does in the index.
fn world(wishes: &[Wish]) -> World {
    let mut taken = 0;
    let mut world = World::new();
    for (n, wish) in (0_u8..).zip(wishes) {
        let Some((frontends, endpoints, local)) = *wish else { continue };
        let own = frontends & 0xff & !taken;
        taken |= own;
        let port = ServicePort {
            frontends: bits(own).map(frontend).collect(),
            cluster: bits(endpoints).map(endpoint).collect(),
            local: bits(endpoints & local).map(endpoint).collect(),
            ..ServicePort::default()
        };
        world.insert(key(n), Arc::new(port));
    }
    world
}

fn changes(before: &World, after: &World) -> Vec<Change> {
    let keys: BTreeSet<&PortKey> = before.keys().chain(after.keys()).collect();
    let differing = keys.into_iter().filter(|k| before.get(k) != after.get(k));
    differing.map(|k| Change { key: k.clone(), desired: after.get(k).cloned() }).collect()
}

fn wishes() -> impl Strategy<Value = Vec<Wish>> {
    prop::collection::vec(prop::option::weighted(0.8, any::<(u16, u16, u16)>()), 4)
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
    fn an_endpoint_that_comes_or_goes_moves_at_most_one_other(mask: u16, bit in 0_u8..8) {
        let mask = mask & 0x5555 & !(1 << (2 * bit));
        let one = |endpoints| world(&[Some((1, endpoints, 0))]);
        let (with, without) = (one(mask | 1 << (2 * bit)), one(mask));
        for (before, after) in [(&without, &with), (&with, &without)] {
            let mut slots = Slots::default();
            slots.apply(&changes(&World::new(), before));
            let transaction = slots.apply(&changes(before, after));
            // The verdict, the endpoint and the last one's move: each at most a removal and an addition.
            prop_assert!(transaction.deletes.len() <= 3 && transaction.adds.len() <= 2, "{transaction:?}");
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
        slots.apply(&(0..services).map(|n| at(n, 5 + n % 2)).collect::<Vec<_>>());
        slots.apply(&[at(0, 6)])
    };
    assert_eq!(cost(10), cost(5_000));
    assert_eq!(cost(10).len(), 3, "a new endpoint, and the verdict removed and added");
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
