//! A transaction in the language of the `nft` program.
//!
//! Text is a deliberate choice: nft 1.0.6 (Debian 12) cannot read maps declared with `typeof` from JSON,
//! which rules out the `nftables` crate, and its text is what an operator reads in `nft list ruleset`.
//! Changes of elements alone go over netlink (see `batch`): every run of the program that removes something
//! takes several milliseconds.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    row::Row,
    table::{self, TABLE, TableConfig},
    transaction::Transaction,
};

/// The statements of a transaction, as [`Nft::run`](super::Nft::run) takes them: chains, removals, additions.
#[must_use]
pub fn encode(transaction: &Transaction, config: &TableConfig) -> String {
    let chains: String = transaction.chains.iter().map(|count| table::chains(*count, config)).collect();
    let deletes = transaction.deletes.iter().map(Row::of_key);
    let adds = transaction.adds.iter().map(Row::of);
    chains + &statements("delete", deletes) + &statements("add", adds)
}

/// One statement a map: nft parses a long list of elements much faster than many statements.
fn statements(verb: &str, rows: impl Iterator<Item = Row>) -> String {
    let mut lists: BTreeMap<&str, String> = BTreeMap::new();
    for row in rows {
        let list = lists.entry(row.set).or_default();
        let comma = if list.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(list, "{comma}{row}");
    }
    let mut text = String::new();
    for (map, list) in lists {
        let _ = writeln!(text, "{verb} element {TABLE} {map} {{ {list} }}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use penstock_model::{FrontendAddress, Protocol};

    use super::*;
    use crate::nftables::{Chain, Element, ElementKey};

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
