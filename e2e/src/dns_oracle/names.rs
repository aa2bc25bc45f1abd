//! The names that are asked for. Pure.

use std::net::IpAddr;

use fastrand::Rng;

use super::packet::Labels;
use super::population::{Hint, NAMESPACES, OWN_ADDRESS, Population, one};
use super::question::{A, AAAA, CNAME, PTR, SRV, Setting};

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The name of a Service.
    Service,
    /// A port of it.
    Port,
    /// An endpoint of it.
    Endpoint,
    /// A name that is nearly one of those.
    Nearly,
    /// The domain itself, a branch, a namespace, and other names near the top.
    Top,
    /// The name of a Pod's address.
    Pod,
    /// The name of an address.
    Reverse,
    /// A name near those.
    NearlyReverse,
    /// A name of others.
    Outside,
    /// A class other than IN.
    Class,
    /// An operation other than a query.
    OpCode,
    /// EDNS, of other versions too.
    Edns,
    /// Octets that are no question.
    Malformed,
}

impl Topic {
    /// All.
    pub const ALL: [Self; 13] = [
        Self::Service,
        Self::Port,
        Self::Endpoint,
        Self::Nearly,
        Self::Top,
        Self::Pod,
        Self::Reverse,
        Self::NearlyReverse,
        Self::Outside,
        Self::Class,
        Self::OpCode,
        Self::Edns,
        Self::Malformed,
    ];
    /// How often each is asked about, out of a hundred.
    const SHARES: [usize; 13] = [24, 10, 14, 12, 6, 7, 9, 4, 7, 1, 1, 3, 2];

    /// One of them.
    pub fn any(rng: &mut Rng) -> Self {
        let mut at = rng.usize(..Self::SHARES.iter().sum::<usize>());
        for (topic, share) in Self::ALL.into_iter().zip(Self::SHARES) {
            if at < share {
                return topic;
            }
            at -= share;
        }
        Self::Service
    }
}

/// A name about the topic, and the type that is mostly asked of it.
pub fn name(rng: &mut Rng, topic: Topic, all: &Population, setting: &Setting) -> (Labels, Option<u16>) {
    let hint = one(rng, &all.hints);
    match topic {
        Topic::Service | Topic::Class | Topic::OpCode | Topic::Edns | Topic::Malformed => {
            let wanted = *one(rng, &[A, AAAA, A, AAAA, SRV, CNAME]);
            (below(rng, setting, service(hint)), Some(wanted))
        }
        Topic::Port => {
            let name = port(rng, hint);
            (below(rng, setting, name), Some(SRV))
        }
        Topic::Endpoint => {
            let name = endpoint(rng, hint, all);
            (below(rng, setting, name), Some(*one(rng, &[A, AAAA])))
        }
        Topic::Nearly => {
            let whole = *one(rng, &[Topic::Service, Topic::Port, Topic::Endpoint]);
            let (whole, wanted) = name(rng, whole, all, setting);
            (nearly(rng, whole), wanted)
        }
        Topic::Top => (top(rng, setting), None),
        Topic::Pod => (pod(rng, all, setting), Some(*one(rng, &[A, AAAA]))),
        Topic::Reverse => (reverse(*one(rng, &all.addresses)), Some(PTR)),
        Topic::NearlyReverse => (nearly_reverse(rng, all), Some(PTR)),
        Topic::Outside => (labels(one(rng, &OUTSIDE)), None),
    }
}

const OUTSIDE: [&str; 21] = [
    "www.example.test",
    "alias.example.test",
    "far.example.test",
    "loop.example.test",
    "v6.example.test",
    "big.example.test",
    "mail.example.test",
    "text.example.test",
    "example.test",
    "gone.example.test",
    "back.example.test",
    "any.wild.example.test",
    "_sip._udp.example.test",
    "nowhere.invalid",
    "example",
    "local",
    "test",
    "cluster.local.example.test",
    "arpa",
    "xcluster.local",
    "svc",
];

fn labels(text: impl AsRef<str>) -> Labels {
    text.as_ref()
        .split('.')
        .filter(|label| !label.is_empty())
        .map(|label| label.as_bytes().to_vec())
        .collect()
}

fn below(rng: &mut Rng, setting: &Setting, mut name: Labels) -> Labels {
    name.extend(labels(one(rng, &setting.domains)));
    name
}

fn service(hint: &Hint) -> Labels {
    labels(format!("{}.{}.svc", hint.name, hint.namespace))
}

fn under(first: &[&str], mut name: Labels) -> Labels {
    name.splice(0..0, first.iter().map(|label| label.as_bytes().to_vec()));
    name
}

fn port(rng: &mut Rng, hint: &Hint) -> Labels {
    let none = [("http".to_owned(), "TCP".to_owned())];
    let (name, protocol) = one(rng, if hint.ports.is_empty() { &none } else { &hint.ports });
    let protocol = if rng.u8(..6) == 0 { "udp" } else { &protocol.to_lowercase() };
    let (name, protocol) = match rng.u8(..12) {
        0 => (name.clone(), protocol.to_owned()),
        1 => ("_nobody".to_owned(), format!("_{protocol}")),
        2 => ("_".to_owned(), format!("_{protocol}")),
        _ => (format!("_{name}"), format!("_{protocol}")),
    };
    under(&[&name, &protocol], service(hint)).into_iter().filter(|label| !label.is_empty()).collect()
}

fn endpoint(rng: &mut Rng, hint: &Hint, all: &Population) -> Labels {
    let strange = one(rng, &all.addresses).to_string();
    let known = (!hint.endpoints.is_empty() && rng.u8(..6) > 0).then(|| one(rng, &hint.endpoints).clone());
    under(&[&dashed(&known.unwrap_or(strange))], service(hint))
}

/// An address as a label; a hostname stays as it is.
fn dashed(text: &str) -> String {
    let dashed = match text.parse::<IpAddr>() {
        Ok(_) => text.replace(['.', ':'], "-"),
        Err(_) => text.split('.').next().unwrap_or_default().to_owned(),
    };
    if dashed.ends_with('-') { dashed + "0" } else { dashed }
}

fn nearly(rng: &mut Rng, mut name: Labels) -> Labels {
    let at = rng.usize(..name.len());
    match rng.u8(..8) {
        0 => drop(name.remove(at)),
        1 => name.insert(at, one(rng, &["x", "*", "_tcp", "svc", "_", "any"]).as_bytes().to_vec()),
        2 => name[at].push(b'x'),
        3 => name[at] = b"*".to_vec(),
        4 => name[at].insert(0, b'_'),
        5 => name[at] = vec![*one(rng, &[b'.', b'\\', b' ', 0, 0xff, b'"', b'*'])],
        6 => name[at] = vec![b'l'; 63],
        _ => name.insert(at, one(rng, &NAMESPACES).as_bytes().to_vec()),
    }
    while name.iter().map(|label| label.len() + 1).sum::<usize>() >= 255 {
        name.remove(0);
    }
    name
}

fn top(rng: &mut Rng, setting: &Setting) -> Labels {
    const NAMES: [&str; 22] = [
        "",
        "",
        "svc",
        "pod",
        "ns.dns",
        "ns.dns",
        "dns",
        "x.ns.dns",
        "dns-version",
        "dns-version",
        "x.dns-version",
        "hostmaster",
        "apex.dns",
        "_tcp",
        "default",
        "nobody.svc",
        "nobody.pod",
        "svc.svc",
        "pod.svc",
        "svc.pod",
        "a.b.c.d.svc",
        "kubernetes.default.svc",
    ];
    let namespace = one(rng, &NAMESPACES);
    let name = match rng.u8(..4) {
        0 => format!("{namespace}.svc"),
        1 => format!("{namespace}.pod"),
        _ => (*one(rng, &NAMES)).to_owned(),
    };
    below(rng, setting, labels(name))
}

fn pod(rng: &mut Rng, all: &Population, setting: &Setting) -> Labels {
    const STRANGE: [&str; 12] = [
        "1-2-3-4",
        "256-1-1-1",
        "1-2-3",
        "--1",
        "--",
        "x",
        "01-2-3-4",
        "fd00-244--0",
        "--ffff-10-244-0-1",
        "*",
        "1-2-3-4-5",
        "fd00-0244--0001",
    ];
    let address = dashed(&one(rng, &all.addresses).to_string());
    let label = if rng.u8(..4) == 0 { one(rng, &STRANGE) } else { address.as_str() };
    let namespace = *one(rng, &["shop", "team-a", "shop", "team-a", "default", "nobody"]);
    let name = labels(format!("{label}.{namespace}.pod"));
    let name = if rng.u8(..8) == 0 { under(&["x"], name) } else { name };
    below(rng, setting, name)
}

fn reverse(address: IpAddr) -> Labels {
    match address {
        IpAddr::V4(v4) => {
            let octets: Vec<String> = v4.octets().iter().rev().map(ToString::to_string).collect();
            labels(format!("{}.in-addr.arpa", octets.join(".")))
        }
        IpAddr::V6(v6) => {
            let digits = format!("{:032x}", u128::from(v6));
            let digits: Vec<String> = digits.chars().rev().map(String::from).collect();
            labels(format!("{}.ip6.arpa", digits.join(".")))
        }
    }
}

fn nearly_reverse(rng: &mut Rng, all: &Population) -> Labels {
    const NAMES: [&str; 14] = [
        "in-addr.arpa",
        "ip6.arpa",
        "svc.in-addr.arpa",
        "pod.ip6.arpa",
        "web.default.svc.in-addr.arpa",
        "1.in-addr.arpa",
        "256.1.1.1.in-addr.arpa",
        "x.in-addr.arpa",
        "01.1.96.10.in-addr.arpa",
        "1.ip6.arpa",
        "10.ip6.arpa",
        "9.113.0.203.in-addr.arpa",
        "dns-version.in-addr.arpa",
        "ns.dns.ip6.arpa",
    ];
    let mut name = reverse(if rng.bool() { *one(rng, &all.addresses) } else { OWN_ADDRESS.into() });
    match rng.u8(..6) {
        0 => drop(name.remove(0)),
        1 => name.insert(0, b"x".to_vec()),
        2 => name.insert(0, b"1".to_vec()),
        3 => name[0] = b"00".to_vec(),
        _ => name = labels(one(rng, &NAMES)),
    }
    name
}
