//! A transaction in the language of the `nft` program.
//!
//! Text is a deliberate choice: nft 1.0.6 (Debian 12) cannot read maps declared with `typeof` from JSON,
//! which rules out the `nftables` crate, and its text is what an operator reads in `nft list ruleset`.
//! Should the program become a bottleneck, only this module and `nft` are replaced by netlink.

use std::{collections::BTreeMap, fmt::Write as _};

use penstock_model::{Family, FrontendAddress, Protocol};

use super::{
    table::{self, TABLE, TableConfig},
    transaction::{Chain, Element, ElementKey, Transaction},
};

/// The statements of a transaction: chains, removals, additions.
pub(super) fn encode(transaction: &Transaction, config: &TableConfig) -> String {
    let chains: String = transaction.chains.iter().map(|count| table::chains(*count, config)).collect();
    let deletes = transaction.deletes.iter().map(|key| (map(key), Key(key).to_string()));
    let adds = transaction.adds.iter().map(|element| (map(&element.key()), with_value(element)));
    chains + &statements("delete", deletes) + &statements("add", adds)
}

/// One statement a map: nft parses a long list of elements much faster than many statements.
fn statements(verb: &str, elements: impl Iterator<Item = (&'static str, String)>) -> String {
    let mut lists: BTreeMap<&str, String> = BTreeMap::new();
    for (map, element) in elements {
        let list = lists.entry(map).or_default();
        if !list.is_empty() {
            list.push_str(", ");
        }
        list.push_str(&element);
    }
    let mut text = String::new();
    for (map, list) in lists {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{verb} element {TABLE} {map} {{ {list} }}");
    }
    text
}

fn map(key: &ElementKey) -> &'static str {
    match (key, key.family()) {
        (ElementKey::Service(_), Family::IPv4) => "services4",
        (ElementKey::Service(_), Family::IPv6) => "services6",
        (ElementKey::Refused(_), Family::IPv4) => "refused4",
        (ElementKey::Refused(_), Family::IPv6) => "refused6",
        (ElementKey::Endpoint(frontend, _), family) => endpoint_map(frontend.protocol, family),
        (ElementKey::Hairpin(_), Family::IPv4) => "hairpin4",
        (ElementKey::Hairpin(_), Family::IPv6) => "hairpin6",
    }
}

fn endpoint_map(protocol: Protocol, family: Family) -> &'static str {
    match (protocol, family) {
        (Protocol::Tcp, Family::IPv4) => "tcp-endpoints4",
        (Protocol::Tcp, Family::IPv6) => "tcp-endpoints6",
        (Protocol::Udp, Family::IPv4) => "udp-endpoints4",
        (Protocol::Udp, Family::IPv6) => "udp-endpoints6",
        (Protocol::Sctp, Family::IPv4) => "sctp-endpoints4",
        (Protocol::Sctp, Family::IPv6) => "sctp-endpoints6",
    }
}

struct Key<'a>(&'a ElementKey);

impl std::fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ElementKey::Service(frontend) | ElementKey::Refused(frontend) => frontend_key(frontend, f),
            ElementKey::Endpoint(frontend, index) => {
                write!(f, "{} . {} . {index}", frontend.ip, frontend.port)
            }
            ElementKey::Hairpin(ip) => write!(f, "{ip} . {ip}"),
        }
    }
}

fn frontend_key(frontend: &FrontendAddress, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
    write!(f, "{} . {} . {}", frontend.ip, frontend.protocol.lower(), frontend.port)
}

fn with_value(element: &Element) -> String {
    let key = element.key();
    let key = Key(&key);
    match element {
        Element::Service { chain: Chain::Cluster(count), .. } => format!("{key} : goto cluster-{count}"),
        Element::Service { chain: Chain::External(count), .. } => format!("{key} : goto external-{count}"),
        Element::Refused(_) => format!("{key} : goto reject-connection"),
        Element::Endpoint { to, .. } => format!("{key} : {} . {}", to.ip(), to.port()),
        Element::Hairpin(_) => key.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use penstock_model::Protocol;

    use super::*;

    #[test]
    fn chains_then_removals_then_additions_one_statement_a_map() {
        let at = |ip: &str, port| FrontendAddress { ip: ip.parse().unwrap(), protocol: Protocol::Udp, port };
        let (four, six) = (at("10.96.0.10", 53), at("2001:db8:96::10", 53));
        let transaction = Transaction {
            chains: BTreeSet::from([2]),
            deletes: vec![ElementKey::Refused(six), ElementKey::Refused(four), ElementKey::Endpoint(four, 1)],
            adds: vec![
                Element::Service { frontend: four, chain: Chain::External(2) },
                Element::Endpoint { frontend: six, index: 0, to: "[2001:db8::5]:5353".parse().unwrap() },
                Element::Service { frontend: at("10.96.0.11", 53), chain: Chain::Cluster(2) },
                Element::Refused(four),
                Element::Hairpin("10.244.0.5".parse().unwrap()),
            ],
        };
        let text = encode(&transaction, &TableConfig::default());
        let (chains, elements) = text.split_at(text.find("delete").unwrap());
        assert!(chains.lines().all(|l| l.starts_with("add chain") || l.starts_with("add rule")), "{chains}");
        assert_eq!(
            elements,
            "delete element inet penstock refused4 { 10.96.0.10 . udp . 53 }\n\
             delete element inet penstock refused6 { 2001:db8:96::10 . udp . 53 }\n\
             delete element inet penstock udp-endpoints4 { 10.96.0.10 . 53 . 1 }\n\
             add element inet penstock hairpin4 { 10.244.0.5 . 10.244.0.5 }\n\
             add element inet penstock refused4 { 10.96.0.10 . udp . 53 : goto reject-connection }\n\
             add element inet penstock services4 { 10.96.0.10 . udp . 53 : goto external-2, \
             10.96.0.11 . udp . 53 : goto cluster-2 }\n\
             add element inet penstock udp-endpoints6 { 2001:db8:96::10 . 53 . 0 : 2001:db8::5 . 5353 }\n"
        );
    }
}
