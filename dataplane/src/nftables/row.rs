//! How an element stands in its set: the one place that knows which set, key and value it is. Text and
//! netlink are written from the same rows.

use std::{borrow::Cow, fmt, net::IpAddr};

use penstock_model::{Family, FrontendAddress, Protocol};

use super::transaction::{Chain, Element, ElementKey};

/// An element, or its key alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The set or map.
    pub(super) set: &'static str,
    /// What the set compares; several fields are a concatenation.
    pub(super) key: Vec<Field>,
    /// What the map holds.
    pub(super) value: Value,
}

/// One field of a key or a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// `ipv4_addr` or `ipv6_addr`.
    Address(IpAddr),
    /// `inet_proto`.
    Protocol(Protocol),
    /// `inet_service`, in network byte order.
    Port(u16),
    /// `integer` and `mark` of 32 bits, in the host's byte order, as `numgen` and `meta mark` put them into registers.
    Number(u32),
}

/// What stands behind a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing: it is a set, or only the key counts.
    None,
    /// `goto` a chain.
    Goto(Cow<'static, str>),
    /// Data.
    Fields(Vec<Field>),
}

impl Row {
    /// The key of an element, as it is removed.
    pub(super) fn of_key(key: &ElementKey) -> Self {
        let (set, key) = match *key {
            ElementKey::Service(frontend) => (of(frontend.ip, ["services4", "services6"]), full(frontend)),
            ElementKey::Refused(frontend) => (of(frontend.ip, ["refused4", "refused6"]), full(frontend)),
            ElementKey::Endpoint(frontend, index) => (
                endpoint_map(frontend.protocol, frontend.ip),
                vec![Field::Address(frontend.ip), Field::Port(frontend.port), Field::Number(index)],
            ),
            ElementKey::Hairpin(ip) => {
                (of(ip, ["hairpin4", "hairpin6"]), vec![Field::Address(ip), Field::Address(ip)])
            }
        };
        Self { set, key, value: Value::None }
    }

    /// An element with its value, as it is added.
    pub(super) fn of(element: &Element) -> Self {
        let value = match element {
            Element::Service { chain: Chain::Cluster(n), .. } => Value::Goto(format!("cluster-{n}").into()),
            Element::Service { chain: Chain::External(n), .. } => Value::Goto(format!("external-{n}").into()),
            Element::Refused(_) => Value::Goto("reject-connection".into()),
            Element::Endpoint { to, .. } => {
                Value::Fields(vec![Field::Address(to.ip()), Field::Port(to.port())])
            }
            Element::Hairpin(_) => Value::None,
        };
        Self { value, ..Self::of_key(&element.key()) }
    }
}

fn of(ip: IpAddr, [v4, v6]: [&'static str; 2]) -> &'static str {
    match Family::of(ip) {
        Family::IPv4 => v4,
        Family::IPv6 => v6,
    }
}

fn full(frontend: FrontendAddress) -> Vec<Field> {
    vec![Field::Address(frontend.ip), Field::Protocol(frontend.protocol), Field::Port(frontend.port)]
}

fn endpoint_map(protocol: Protocol, ip: IpAddr) -> &'static str {
    let both = match protocol {
        Protocol::Tcp => ["tcp-endpoints4", "tcp-endpoints6"],
        Protocol::Udp => ["udp-endpoints4", "udp-endpoints6"],
        Protocol::Sctp => ["sctp-endpoints4", "sctp-endpoints6"],
    };
    of(ip, both)
}

/// As `nft` writes it behind the name of the set.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        concatenation(&self.key, f)?;
        match &self.value {
            Value::None => Ok(()),
            Value::Goto(chain) => write!(f, " : goto {chain}"),
            Value::Fields(fields) => {
                f.write_str(" : ")?;
                concatenation(fields, f)
            }
        }
    }
}

fn concatenation(fields: &[Field], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fields.iter().enumerate().try_for_each(|(index, field)| {
        f.write_str(if index == 0 { "" } else { " . " })?;
        match field {
            Field::Address(ip) => write!(f, "{ip}"),
            Field::Protocol(protocol) => f.write_str(protocol.lower()),
            Field::Port(port) => write!(f, "{port}"),
            Field::Number(number) => write!(f, "{number}"),
        }
    })
}
