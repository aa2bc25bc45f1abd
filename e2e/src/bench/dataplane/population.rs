//! The Services and their endpoints, as values. Most endpoints are nobody: addresses of RFC 2544's range for benchmarks,
//! to which nothing is sent. Some Services, spread over all, have endpoints that answer.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

use super::size::Size;

/// The namespace of all objects.
pub const NAMESPACE: &str = "bench";

/// The Services' own port.
pub const PORT: u16 = 80;

/// Where an answering endpoint says its name and hangs up.
pub const NAME_PORT: u16 = 7000;

/// Where an answering endpoint takes all it is sent.
pub const SINK_PORT: u16 = 7001;

/// How many addresses each of the two Pods with endpoints answers at, and how many endpoints a Service may have.
pub const BLOCK: usize = 64;

/// One of the Pods with endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It says `a`.
    A,
    /// It says `b`.
    B,
}

impl Side {
    /// What its endpoints say.
    pub fn name(self) -> u8 {
        match self {
            Self::A => b'a',
            Self::B => b'b',
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// An address of its block, which lies within the first node's Pod range.
    pub fn address(self, number: usize) -> Ipv4Addr {
        let base = match self {
            Self::A => 128,
            Self::B => 192,
        };
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 244, 1, base)) + low(number % BLOCK))
    }
}

/// What a Service's endpoints do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They do not exist.
    Crowd,
    /// They say their names.
    Named,
    /// They take what they are sent.
    Sink,
    /// There is only one, which says its name and can be moved between the Pods.
    Mover,
}

/// A Service by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Service(pub usize);

impl Service {
    /// All of a size.
    pub fn all(size: Size) -> impl Iterator<Item = Self> {
        (0..size.services).map(Self)
    }

    /// Those of a kind.
    pub fn of(size: Size, kind: Kind) -> Vec<Self> {
        Self::all(size).filter(|service| service.kind() == kind).collect()
    }

    /// What its endpoints do. The last of every thousand is one that answers.
    pub fn kind(self) -> Kind {
        match self.0 % 100 {
            49 | 99 => Kind::Named,
            35 => Kind::Sink,
            n if n % 20 == 10 => Kind::Mover,
            _ => Kind::Crowd,
        }
    }

    /// Its name, and its slice's.
    pub fn name(self) -> String {
        format!("s{:05}", self.0)
    }

    /// Its ClusterIP: within the Service range, behind the addresses that the API server takes itself.
    pub fn cluster_ip(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 4, 0)) + low(self.0))
    }

    /// Where it is reached.
    pub fn address(self) -> SocketAddr {
        (self.cluster_ip(), PORT).into()
    }

    /// Its endpoints at the start.
    pub fn endpoints(self, size: Size) -> Vec<Ipv4Addr> {
        match self.kind() {
            Kind::Crowd => {
                (0..size.endpoints).map(|number| nobody(self.0 * size.endpoints + number)).collect()
            }
            Kind::Named | Kind::Sink => {
                (0..size.endpoints).map(|number| Side::A.address(self.0 + number)).collect()
            }
            Kind::Mover => vec![Side::A.address(self.0)],
        }
    }

    fn target(self, size: Size) -> u16 {
        match self.kind() {
            // 5,000 × 50 endpoints are more than the range has addresses.
            Kind::Crowd => 8000 + u16::try_from(self.0 * size.endpoints / NOBODIES).unwrap_or_default(),
            Kind::Named | Kind::Mover => NAME_PORT,
            Kind::Sink => SINK_PORT,
        }
    }

    /// The Service object.
    pub fn object(self) -> Value {
        json!({
            "metadata": { "name": self.name() },
            "spec": { "clusterIP": self.cluster_ip(), "ports": [{ "name": "p", "port": PORT }] },
        })
    }

    /// Its EndpointSlice.
    pub fn slice(self, size: Size) -> Value {
        let endpoints = self.endpoints(size);
        json!({
            "metadata": { "name": self.name(), "labels": { "kubernetes.io/service-name": self.name() } },
            "addressType": "IPv4",
            "ports": [{ "name": "p", "port": self.target(size), "protocol": "TCP" }],
            "endpoints": listed(&endpoints),
        })
    }
}

/// The part of a slice that a change of endpoints replaces.
pub fn endpoints_patch(endpoints: &[Ipv4Addr]) -> Value {
    json!({ "endpoints": listed(endpoints) })
}

fn listed(endpoints: &[Ipv4Addr]) -> Vec<Value> {
    let one = |address| json!({ "addresses": [address], "conditions": { "ready": true }, "nodeName": "n1" });
    endpoints.iter().map(one).collect()
}

/// Of 198.18.0.0/15; the last 256 addresses are kept for [`newcomer`].
const NOBODIES: usize = (1 << 17) - 256;

fn nobody(number: usize) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + low(number % NOBODIES))
}

/// The address of an endpoint that no Service had at the start.
pub fn newcomer(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(198, 19, 255, (number % 256) as u8)
}

/// Numbers here are far below 2³².
fn low(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `count` of these, spread evenly, with the last one.
pub fn spread_over<T: Copy>(all: &[T], count: usize) -> Vec<T> {
    let count = count.min(all.len());
    (1..=count).map(|n| all[n * all.len() / count - 1]).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ipnet::Ipv4Net;

    use super::*;
    use crate::topology::SERVICES;

    const LARGE: Size = Size::new(20_000, 5);

    #[test]
    fn every_service_has_its_own_address_in_the_service_range() {
        let all: BTreeSet<_> = Service::all(Size::new(60_000, 5)).map(Service::cluster_ip).collect();
        assert_eq!(all.len(), 60_000);
        assert!(all.iter().all(|address| SERVICES.0.contains(address)));
    }

    #[test]
    fn endpoints_of_the_crowd_are_nobody_and_no_two_are_alike() {
        let nobodies: Ipv4Net = "198.18.0.0/15".parse().unwrap();
        for size in [LARGE, Size::new(5000, 50)] {
            let crowd = Service::of(size, Kind::Crowd);
            let all: Vec<_> = crowd
                .iter()
                .flat_map(|s| s.endpoints(size).into_iter().map(|e| (e, s.target(size))))
                .collect();
            assert!(all.iter().all(|(address, _)| nobodies.contains(address)));
            assert!(all.iter().all(|(address, _)| !(0..256).any(|n| newcomer(n) == *address)));
            // Where a Service straddles the end of the range a few come twice, in different Services.
            let distinct: BTreeSet<_> = all.iter().collect();
            assert!(all.len() - distinct.len() < size.endpoints, "{} of {}", distinct.len(), all.len());
        }
    }

    #[test]
    fn those_that_answer_are_spread_and_the_last_is_one() {
        for services in [100, 1000, 20_000] {
            let named = Service::of(Size::new(services, 5), Kind::Named);
            assert_eq!(named.len(), services / 50);
            let sample = spread_over(&named, 20);
            assert_eq!(sample.last(), Some(&Service(services - 1)));
            assert_eq!(sample.len(), 20.min(services / 50));
        }
        assert_eq!(Service::of(LARGE, Kind::Mover).len(), 1000);
        assert_eq!(Service::of(LARGE, Kind::Sink).len(), 200);
    }

    #[test]
    fn the_sides_share_no_address() {
        let addresses: BTreeSet<_> =
            [Side::A, Side::B].iter().flat_map(|side| (0..BLOCK).map(|n| side.address(n))).collect();
        assert_eq!(addresses.len(), 2 * BLOCK);
        assert_eq!(Side::B.address(BLOCK - 1).to_string(), "10.244.1.255");
    }
}
