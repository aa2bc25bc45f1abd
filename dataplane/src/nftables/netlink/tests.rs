//! On the kernel, in network namespaces of their own. Needs root.

use std::{collections::BTreeMap, net::SocketAddr, process::Command};

use ipnet::IpNet;
use nix::errno::Errno;
use penstock_model::{FrontendAddress, Masquerade, Protocol, Scope};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use serde_json::Value;

use super::*;
use crate::{
    netfilter::fresh_namespace::{in_fresh_namespace, nft},
    nftables::{Choice, Element, ElementKey, Send, TableConfig, Target, table, text},
};

/// The empty table.
fn base() -> String {
    table::define(&TableConfig::default())
}

fn socket() -> NetfilterSocket {
    NetfilterSocket::open(&NetworkNamespace::Own).unwrap()
}

/// The elements of every set, sorted: the kernel's order is that of a seeded hash.
fn elements() -> BTreeMap<String, Vec<String>> {
    let output = Command::new("nft").args(["-j", "list", "table", "inet", "penstock"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sets = listed["nftables"].as_array().unwrap().iter();
    let sets = sets.filter_map(|object| object.get("map").or(object.get("set")));
    let sets = sets.map(|set| {
        let mut found: Vec<String> =
            set["elem"].as_array().into_iter().flatten().map(Value::to_string).collect();
        found.sort();
        (set["name"].as_str().unwrap().to_owned(), found)
    });
    sets.collect()
}

fn frontend(n: u8) -> FrontendAddress {
    let ip = if n.is_multiple_of(2) { format!("10.96.0.{n}") } else { format!("2001:db8:96::{n}") };
    let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][usize::from(n) % 3];
    FrontendAddress { ip: ip.parse().unwrap(), protocol, port: [53, 80, 65_535, 258][usize::from(n) % 4] }
}

/// One of 624 keys with one of 3 values.
fn any_element() -> impl Strategy<Value = Element> {
    (0_u8..48, 0_u8..13, 1_u8..4).prop_map(|(n, kind, value)| element(frontend(n), n, kind, value))
}

fn element(frontend: FrontendAddress, n: u8, kind: u8, value: u8) -> Element {
    let v4 = frontend.ip.is_ipv4();
    let ip = if v4 { format!("10.244.1.{value}") } else { format!("2001:db8:244::{value}") };
    let net = if v4 { format!("10.{n}.0.0/16") } else { format!("2001:db8:{n}::/47") };
    let to = SocketAddr::new(ip.parse().unwrap(), 256 * u16::from(value) + 1);
    let net: IpNet = net.parse::<IpNet>().unwrap().trunc();
    let scope = if n.is_multiple_of(5) { Scope::Local } else { Scope::Cluster };
    let index = [0, 1, 256, 65_535][usize::from(n) % 4];
    let count = u32::from(value);
    let masquerade = if value == 1 { None } else { Some(Masquerade::Always) };
    let send = Target::Send(Send { masquerade, scope, choice: Choice::Sticky(count << 9) });
    let token = 0x8002_0000 | index;
    match kind {
        0 => Element::Service(frontend, send),
        1 => Element::Refused(frontend),
        2 => Element::Endpoint(frontend, scope, index, to),
        3 => Element::Hairpin(to.ip()),
        4 => Element::Inside(frontend, send),
        5 => Element::Outside(frontend, if value == 1 { Target::Drop } else { Target::ShortCircuit }),
        6 => Element::Affine(frontend, count << 17),
        7 => Element::Choice(frontend, scope, count),
        8 => Element::Token(frontend, scope, index, token),
        9 => Element::Holder(frontend, scope, token, to),
        10 => Element::Firewalled(frontend),
        11 => Element::Source(frontend, net),
        _ => Element::ClusterIp(to.ip()),
    }
}

/// Elements that are there go, or change if so wished; others come.
fn transaction(held: &mut BTreeMap<ElementKey, Element>, wishes: &[(Element, bool)]) -> Transaction {
    let mut transaction = Transaction::default();
    let wishes: BTreeMap<_, _> =
        wishes.iter().map(|(element, change)| (element.key(), (*element, *change))).collect();
    for (key, (element, change)) in wishes {
        let was = held.remove(&key);
        if was.is_some() {
            transaction.deletes.push(key);
        }
        if was.is_none() || change {
            transaction.adds.push(element);
            held.insert(key, element);
        }
    }
    transaction
}

fn after(
    transactions: Vec<Transaction>,
    apply: fn(&mut NetfilterSocket, &Transaction),
) -> BTreeMap<String, Vec<String>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    in_fresh_namespace(move || {
        nft(&base());
        let mut socket = socket();
        transactions.iter().for_each(|transaction| apply(&mut socket, transaction));
        sender.send(elements()).unwrap();
    });
    receiver.recv().unwrap()
}

#[test]
fn the_kernel_holds_what_it_would_after_the_nft_program() {
    let steps = prop::collection::vec(prop::collection::vec((any_element(), any::<bool>()), 1..40), 1..6);
    let config = Config { cases: 12, failure_persistence: None, ..Config::default() };
    let same = TestRunner::new(config).run(&steps, |steps| {
        let mut held = BTreeMap::new();
        let transactions: Vec<_> = steps.iter().map(|wishes| transaction(&mut held, wishes)).collect();
        let by_netlink = after(transactions.clone(), |socket, transaction| {
            carry_out(socket, &Batch::of(transaction)).unwrap();
        });
        let by_text =
            after(transactions, |_, transaction| nft(&text::encode(transaction, &TableConfig::default())));
        prop_assert_eq!(by_netlink.values().map(Vec::len).sum::<usize>(), held.len());
        prop_assert_eq!(by_netlink, by_text);
        Ok(())
    });
    same.unwrap();
}

#[test]
fn a_batch_that_cannot_be_carried_out_says_why_and_changes_nothing() {
    in_fresh_namespace(|| {
        nft(&base());
        let (mut socket, at) = (socket(), frontend(2));
        let to = "10.244.0.1:80".parse().unwrap();
        let endpoint = |index| Element::Endpoint(at, Scope::Cluster, index, to);
        let first = Transaction { adds: vec![endpoint(0)], ..Transaction::default() };
        carry_out(&mut socket, &Batch::of(&first)).unwrap();
        let before = elements();
        let mut refused = |deletes: Vec<ElementKey>, adds: Vec<Element>| {
            let transaction = Transaction { deletes, adds, ..Transaction::default() };
            let error = carry_out(&mut socket, &Batch::of(&transaction)).unwrap_err();
            assert_eq!(elements(), before, "{error}");
            let NetfilterError::Refused { what, why } = error else { panic!("{error}") };
            (what, why.errno)
        };
        let gone = [0, 1, 2].map(|index| ElementKey::Endpoint(at, Scope::Cluster, index)).to_vec();
        let what = "remove from sctp-endpoints4: 10.96.0.2 . 65535 . 1".to_owned();
        assert_eq!(refused(gone, vec![Element::Refused(at)]), (what, Errno::ENOENT));
        let other = Element::Endpoint(at, Scope::Cluster, 0, "10.244.0.2:80".parse().unwrap());
        let what = "add to sctp-endpoints4: 10.96.0.2 . 65535 . 0 : 10.244.0.2 . 80".to_owned();
        let (refusal, errno) = refused(vec![], vec![endpoint(3), other]);
        // Older kernels say EBUSY.
        assert!(refusal == what && [Errno::EEXIST, Errno::EBUSY].contains(&errno), "{refusal}: {errno}");
    });
}

#[test]
fn a_batch_longer_than_any_attribute_and_the_usual_buffer_is_one_transaction() {
    in_fresh_namespace(|| {
        nft(&base());
        let (mut socket, frontend) = (socket(), frontend(2));
        let to = "10.244.0.1:80".parse().unwrap();
        let all: Vec<_> =
            (0..10_000).map(|index| Element::Endpoint(frontend, Scope::Cluster, index, to)).collect();
        let mut run = |transaction: &Transaction| {
            let batch = Batch::of(transaction);
            assert!(batch.encode(0).len() > 213_000 && batch.messages() > 5);
            carry_out(&mut socket, &batch)
        };
        run(&Transaction { adds: all.clone(), ..Transaction::default() }).unwrap();
        assert_eq!(elements()["sctp-endpoints4"].len(), 10_000);
        let mut deletes: Vec<_> = all.iter().map(Element::key).collect();
        deletes.push(ElementKey::Endpoint(frontend, Scope::Cluster, 20_000));
        run(&Transaction { deletes: deletes.clone(), ..Transaction::default() }).unwrap_err();
        assert_eq!(elements()["sctp-endpoints4"].len(), 10_000);
        deletes.pop();
        run(&Transaction { deletes, ..Transaction::default() }).unwrap();
        assert_eq!(elements()["sctp-endpoints4"].len(), 0);
    });
}

#[test]
fn without_a_table_or_a_namespace_it_fails() {
    let one = Transaction { adds: vec![Element::Refused(frontend(2))], ..Transaction::default() };
    in_fresh_namespace(move || {
        let error = carry_out(&mut socket(), &Batch::of(&one)).unwrap_err();
        assert!(error.to_string().contains("does not exist (ENOENT)"), "{error}");
    });
    let nowhere = NetworkNamespace::Named("penstock-nowhere".into());
    assert!(matches!(NetfilterSocket::open(&nowhere), Err(NetfilterError::Open(_))));
}
