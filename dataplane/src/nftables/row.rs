//! How an element stands in its set: the one place that knows which set, key and value it is. Text and
//! netlink are written from the same rows.

use std::{fmt, net::IpAddr};

use ipnet::IpNet;
use penstock_model::{Family, FrontendAddress, Protocol, Scope};

use super::{
    chain::Chain,
    table::LOCAL_OFFSET,
    transaction::{Element, ElementKey},
};

/// An element, or its key alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// The set or map.
    pub(crate) set: &'static str,
    /// What the set compares; several fields are a concatenation.
    pub(crate) key: Vec<Field>,
    /// What the map holds; nothing if it is a set, or only the key counts.
    pub(crate) value: Vec<Field>,
}

/// One field of a key or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// `ipv4_addr` or `ipv6_addr`.
    Address(IpAddr),
    /// A range of them, in a set of intervals.
    Net(IpNet),
    /// `inet_proto`.
    Protocol(Protocol),
    /// `inet_service`, in network byte order.
    Port(u16),
    /// `integer` of 32 bits, in the host's byte order, as `numgen` puts it into registers.
    Number(u32),
    /// `meta priority`, likewise.
    Priority(u32),
}

impl Row {
    /// The key of an element, as it is removed.
    pub(super) fn of_key(key: &ElementKey) -> Self {
        let fields = match *key {
            ElementKey::Service(f)
            | ElementKey::Inside(f)
            | ElementKey::Outside(f)
            | ElementKey::Refused(f)
            | ElementKey::Affine(f)
            | ElementKey::Choice(f, _)
            | ElementKey::Firewalled(f) => full(f).to_vec(),
            ElementKey::Endpoint(f, scope, index) | ElementKey::Token(f, scope, index) => {
                numbered(f, Field::Number(register(scope, index)))
            }
            ElementKey::Holder(f, _, token) => numbered(f, Field::Priority(token)),
            ElementKey::Source(f, net) => full(f).into_iter().chain([Field::Net(net)]).collect(),
            ElementKey::Hairpin(ip) => vec![Field::Address(ip); 2],
            ElementKey::ClusterIp(ip) => vec![Field::Address(ip)],
        };
        Self { set: set(key), key: fields, value: Vec::new() }
    }

    /// An element with its value, as it is added.
    pub(super) fn of(element: &Element) -> Self {
        let value = match *element {
            Element::Service(_, target) | Element::Inside(_, target) | Element::Outside(_, target) => {
                vec![Field::Priority(target.number())]
            }
            Element::Endpoint(.., to) | Element::Holder(.., to) => {
                vec![Field::Address(to.ip()), Field::Port(to.port())]
            }
            Element::Choice(_, scope, count) => vec![Field::Priority(Chain::Token(scope, count).number())],
            Element::Affine(_, number) | Element::Token(.., number) => vec![Field::Priority(number)],
            Element::Refused(_)
            | Element::Firewalled(_)
            | Element::Source(..)
            | Element::Hairpin(_)
            | Element::ClusterIp(_) => Vec::new(),
        };
        Self { value, ..Self::of_key(&element.key()) }
    }
}

fn set(key: &ElementKey) -> &'static str {
    let both = match *key {
        ElementKey::Service(_) => ["services4", "services6"],
        ElementKey::Inside(_) => ["inside4", "inside6"],
        ElementKey::Outside(_) => ["outside4", "outside6"],
        ElementKey::Refused(_) => ["refused4", "refused6"],
        ElementKey::Affine(_) => ["affine4", "affine6"],
        ElementKey::Choice(_, Scope::Cluster) => ["choices4", "choices6"],
        ElementKey::Choice(_, Scope::Local) => ["choices-local4", "choices-local6"],
        ElementKey::Firewalled(_) => ["firewalled4", "firewalled6"],
        ElementKey::Source(..) => ["sources4", "sources6"],
        ElementKey::Hairpin(_) => ["hairpin4", "hairpin6"],
        ElementKey::ClusterIp(_) => ["cluster-ips4", "cluster-ips6"],
        ElementKey::Endpoint(f, ..) => endpoints(f.protocol),
        ElementKey::Token(f, ..) => tokens(f.protocol),
        ElementKey::Holder(f, Scope::Cluster, _) => holders(f.protocol),
        ElementKey::Holder(f, Scope::Local, _) => local_holders(f.protocol),
    };
    match key.family() {
        Family::IPv4 => both[0],
        Family::IPv6 => both[1],
    }
}

fn endpoints(protocol: Protocol) -> [&'static str; 2] {
    match protocol {
        Protocol::Tcp => ["tcp-endpoints4", "tcp-endpoints6"],
        Protocol::Udp => ["udp-endpoints4", "udp-endpoints6"],
        Protocol::Sctp => ["sctp-endpoints4", "sctp-endpoints6"],
    }
}

fn tokens(protocol: Protocol) -> [&'static str; 2] {
    match protocol {
        Protocol::Tcp => ["tcp-tokens4", "tcp-tokens6"],
        Protocol::Udp => ["udp-tokens4", "udp-tokens6"],
        Protocol::Sctp => ["sctp-tokens4", "sctp-tokens6"],
    }
}

fn holders(protocol: Protocol) -> [&'static str; 2] {
    match protocol {
        Protocol::Tcp => ["tcp-holders4", "tcp-holders6"],
        Protocol::Udp => ["udp-holders4", "udp-holders6"],
        Protocol::Sctp => ["sctp-holders4", "sctp-holders6"],
    }
}

fn local_holders(protocol: Protocol) -> [&'static str; 2] {
    match protocol {
        Protocol::Tcp => ["tcp-holders-local4", "tcp-holders-local6"],
        Protocol::Udp => ["udp-holders-local4", "udp-holders-local6"],
        Protocol::Sctp => ["sctp-holders-local4", "sctp-holders-local6"],
    }
}

fn full(frontend: FrontendAddress) -> [Field; 3] {
    [Field::Address(frontend.ip), Field::Protocol(frontend.protocol), Field::Port(frontend.port)]
}

fn numbered(frontend: FrontendAddress, number: Field) -> Vec<Field> {
    vec![Field::Address(frontend.ip), Field::Port(frontend.port), number]
}

/// What the packet draws for an index: both scopes share the maps.
fn register(scope: Scope, index: u32) -> u32 {
    match scope {
        Scope::Cluster => index,
        Scope::Local => index.saturating_add(LOCAL_OFFSET),
    }
}

/// As `nft` writes it behind the name of the set.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        concatenation(&self.key, f)?;
        if self.value.is_empty() {
            return Ok(());
        }
        f.write_str(" : ")?;
        concatenation(&self.value, f)
    }
}

fn concatenation(fields: &[Field], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fields.iter().enumerate().try_for_each(|(index, field)| {
        f.write_str(if index == 0 { "" } else { " . " })?;
        match field {
            Field::Address(ip) => write!(f, "{ip}"),
            Field::Net(net) => write!(f, "{net}"),
            Field::Protocol(protocol) => f.write_str(protocol.lower()),
            Field::Port(port) => write!(f, "{port}"),
            Field::Number(number) => write!(f, "{number}"),
            Field::Priority(number) => write!(f, "{}", Priority(*number)),
        }
    })
}

/// A number in `meta priority`, as `nft` writes and reads it.
pub(super) struct Priority(pub(super) u32);

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{:x}", self.0 >> 16, self.0 & 0xffff)
    }
}
