//! A transaction in the language of the `nft` program.
//!
//! Text is a deliberate choice: nft 1.0.6 (Debian 12) cannot read maps declared with `typeof` from JSON,
//! which rules out the `nftables` crate, and its text is what an operator reads in `nft list ruleset`.
//! Changes of elements alone go over netlink (see `batch`): every run of the program that removes something
//! takes several milliseconds.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    chain_rules,
    row::Row,
    table::{TABLE, TableConfig},
    transaction::Transaction,
};

/// The statements of a transaction, as [`Nft::run`](super::Nft::run) takes them: chains, removals, additions.
#[must_use]
pub fn encode(transaction: &Transaction, config: &TableConfig) -> String {
    let chains = chain_rules::make(&transaction.chains, config);
    let deletes = transaction.deletes.iter().map(Row::of_key);
    let adds = transaction.adds.iter().map(Row::of);
    chains + &statements(TABLE, "delete", deletes) + &statements(TABLE, "add", adds)
}

/// One statement a map: nft parses a long list of elements much faster than many statements.
pub(crate) fn statements(table: &str, verb: &str, rows: impl Iterator<Item = Row>) -> String {
    let mut lists: BTreeMap<&str, String> = BTreeMap::new();
    for row in rows {
        let list = lists.entry(row.set).or_default();
        let comma = if list.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(list, "{comma}{row}");
    }
    let mut text = String::new();
    for (map, list) in lists {
        let _ = writeln!(text, "{verb} element {table} {map} {{ {list} }}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use penstock_model::{FrontendAddress, Masquerade, Protocol, Scope};

    use super::*;
    use crate::nftables::{Chain, Choice, Element, ElementKey, Send, Target};

    fn send(masquerade: Option<Masquerade>, scope: Scope, choice: Choice) -> Send {
        Send { masquerade, scope, choice }
    }

    #[test]
    fn chains_then_removals_then_additions_one_statement_a_map() {
        let at = |ip: &str, port| FrontendAddress { ip: ip.parse().unwrap(), protocol: Protocol::Udp, port };
        let (four, six) = (at("10.96.0.10", 53), at("2001:db8:96::10", 53));
        let external = send(Some(Masquerade::Always), Scope::Cluster, Choice::Random(2));
        let sticky = send(Some(Masquerade::OffCluster), Scope::Local, Choice::Sticky(10));
        let transaction = Transaction {
            chains: BTreeSet::from([Chain::Send(external)]),
            deletes: vec![
                ElementKey::Refused(six),
                ElementKey::Refused(four),
                ElementKey::Endpoint(four, Scope::Cluster, 1),
                ElementKey::Source(four, "10.0.0.0/8".parse().unwrap()),
            ],
            adds: vec![
                Element::Service(four, Target::Send(external)),
                Element::Endpoint(six, Scope::Local, 0, "[2001:db8::5]:5353".parse().unwrap()),
                Element::Service(at("10.96.0.11", 53), Target::Send(sticky)),
                Element::Service(at("10.96.0.12", 53), Target::Drop),
                Element::Refused(four),
                Element::Hairpin("10.244.0.5".parse().unwrap()),
                Element::Holder(four, Scope::Local, 0x8002_0001, "10.244.0.5:53".parse().unwrap()),
            ],
        };
        let text = encode(&transaction, &TableConfig::default());
        let (chains, elements) = text.split_at(text.find("delete").unwrap());
        assert_eq!(
            chains,
            "add chain inet penstock external-pick-2\n\
             add rule inet penstock external-pick-2 jump mark-masquerade\n\
             add rule inet penstock external-pick-2 goto pick-2\n\
             add element inet penstock chains { 9000:2 : goto external-pick-2 }\n"
        );
        assert_eq!(
            elements,
            "delete element inet penstock refused4 { 10.96.0.10 . udp . 53 }\n\
             delete element inet penstock refused6 { 2001:db8:96::10 . udp . 53 }\n\
             delete element inet penstock sources4 { 10.96.0.10 . udp . 53 . 10.0.0.0/8 }\n\
             delete element inet penstock udp-endpoints4 { 10.96.0.10 . 53 . 1 }\n\
             add element inet penstock hairpin4 { 10.244.0.5 . 10.244.0.5 }\n\
             add element inet penstock refused4 { 10.96.0.10 . udp . 53 }\n\
             add element inet penstock services4 { 10.96.0.10 . udp . 53 : 9000:2, \
             10.96.0.11 . udp . 53 : ac00:a, 10.96.0.12 . udp . 53 : e000:0 }\n\
             add element inet penstock udp-endpoints6 { 2001:db8:96::10 . 53 . 2147483648 : 2001:db8::5 . 5353 }\n\
             add element inet penstock udp-holders-local4 { 10.96.0.10 . 53 . 8002:1 : 10.244.0.5 . 53 }\n"
        );
    }
}
