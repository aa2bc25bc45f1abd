//! Questions about a population: names that exist, that nearly do, and all else that a client may send. Pure.

use fastrand::Rng;

use super::names::{self, Topic};
use super::packet::{Damage, Edns, Labels, Query};
use super::population::{Population, one};

/// How a question is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// In a stream.
    Tcp,
}

/// A question as it is sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// What it is about.
    pub topic: Topic,
    /// How it is sent.
    pub transport: Transport,
    /// What it means, before damage.
    pub query: Query,
    /// What is wrong with it.
    pub damage: Option<Damage>,
    /// All octets; the first two are the id.
    pub octets: Vec<u8>,
}

/// What a server is told that questions depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The cluster's domains.
    pub domains: Vec<&'static str>,
    /// `disabled`, `insecure` or `verified`.
    pub pods: &'static str,
}

/// Record types by number, with those that clients ask for oftener.
const TYPES: [u16; 36] = [
    A, A, A, A, A, A, A, A, AAAA, AAAA, AAAA, AAAA, AAAA, SRV, SRV, SRV, PTR, PTR, TXT, TXT, SOA, NS, CNAME,
    CNAME, MX, 65, 64, 43, 48, 257, 35, 13, 10, 65280, ANY, 252,
];
/// Numbers of record types (IANA, Domain Name System Parameters).
pub const A: u16 = 1;
/// As [`A`].
pub const AAAA: u16 = 28;
/// As [`A`].
pub const SRV: u16 = 33;
/// As [`A`].
pub const PTR: u16 = 12;
/// As [`A`].
pub const TXT: u16 = 16;
/// As [`A`].
pub const SOA: u16 = 6;
/// As [`A`].
pub const NS: u16 = 2;
/// As [`A`].
pub const CNAME: u16 = 5;
/// As [`A`].
pub const MX: u16 = 15;
/// As [`A`].
pub const ANY: u16 = 255;

impl Question {
    /// A question about the objects of a population, to servers with a setting.
    pub fn new(rng: &mut Rng, population: &Population, setting: &Setting) -> Self {
        let topic = Topic::any(rng);
        let (name, wanted) = names::name(rng, topic, population, setting);
        let record_type = wanted.filter(|_| rng.u8(..3) > 0).unwrap_or_else(|| *one(rng, &TYPES));
        let query = Query {
            name: with_case(rng, name),
            record_type,
            class: if topic == Topic::Class { *one(rng, &[3, 4, 254, 255, 0, 1]) } else { 1 },
            op_code: if topic == Topic::OpCode { rng.u8(1..16) } else { 0 },
            flags: *one(rng, &[0x0100, 0x0100, 0x0100, 0, 0x0110, 0x0120, 0x0130]),
            edns: edns(rng, topic),
        };
        let damage = (topic == Topic::Malformed).then(|| *one(rng, &Damage::ALL));
        let octets = damage.map_or_else(|| query.encode(), |damage| query.damaged(damage, rng));
        let transport = if rng.u8(..10) == 0 { Transport::Tcp } else { Transport::Udp };
        Self { topic, transport, query, damage, octets }
    }

    /// The name in lower case, as text.
    pub fn name(&self) -> String {
        let labels =
            self.query.name.iter().map(|label| label.to_ascii_lowercase().escape_ascii().to_string());
        labels.map(|label| label + ".").collect::<String>()
    }
}

fn with_case(rng: &mut Rng, mut name: Labels) -> Labels {
    if rng.u8(..3) == 0 {
        name.iter_mut().flatten().filter(|_| rng.bool()).for_each(u8::make_ascii_uppercase);
    }
    name
}

fn edns(rng: &mut Rng, topic: Topic) -> Option<Edns> {
    if topic != Topic::Edns && rng.bool() {
        return None;
    }
    let size = *one(rng, &[1232, 1232, 1232, 0, 512, 600, 1400, 4096, 65535]);
    let version = if topic == Topic::Edns && rng.bool() { rng.u8(1..) } else { 0 };
    let options = match rng.u8(..8) {
        0 => vec![(10, vec![1, 2, 3, 4, 5, 6, 7, 8])],
        1 => vec![(3, Vec::new()), (8, vec![0, 1, 24, 0, 192, 0, 2])],
        2 => vec![(65001, vec![0; 8])],
        _ => Vec::new(),
    };
    Some(Edns { size, version, dnssec_ok: rng.u8(..4) == 0, options })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(seed: u64) -> Vec<Question> {
        let population = Population::new(seed, 0, 60);
        let setting = Setting { domains: vec!["cluster.local", "alt.example"], pods: "insecure" };
        let mut rng = Rng::with_seed(seed);
        (0..5000).map(|_| Question::new(&mut rng, &population, &setting)).collect()
    }

    #[test]
    fn the_same_seed_asks_the_same() {
        assert_eq!(questions(1), questions(1));
        assert_ne!(questions(1), questions(2));
    }

    #[test]
    fn every_topic_transport_and_damage_is_asked() {
        let all = questions(3);
        for topic in Topic::ALL {
            let of_topic = all.iter().filter(|question| question.topic == topic);
            assert!(of_topic.count() > 15, "{topic:?}");
        }
        assert!(all.iter().any(|question| question.transport == Transport::Tcp));
        let damages = Damage::ALL.iter().filter(|d| all.iter().any(|q| q.damage == Some(**d)));
        assert!(damages.count() >= Damage::ALL.len() - 2);
    }

    #[test]
    fn no_name_is_longer_than_names_are() {
        for question in questions(4) {
            let octets: usize = question.query.name.iter().map(|label| label.len() + 1).sum();
            assert!(octets < 255, "{}", question.name());
        }
    }
}
