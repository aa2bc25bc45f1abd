//! The bytes are those that the `nft` program (1.0.6) sends for the same statements, as `nft --debug=mnl` and
//! `strace` show them.

use penstock_model::{FrontendAddress, Protocol, Scope::Cluster};
use proptest::prelude::*;

use super::*;
use crate::{
    netfilter::{attribute, attributes},
    nftables::{Element, ElementKey, Target},
};

const BORDERS: usize = 20;

fn at(ip: &str, port: u16) -> FrontendAddress {
    FrontendAddress { ip: ip.parse().unwrap(), protocol: Protocol::Udp, port }
}

fn adds(adds: Vec<Element>) -> Batch {
    Batch::of(&Transaction { adds, ..Transaction::default() })
}

/// Behind the headers of the only message.
fn added(element: Element) -> Vec<u8> {
    let bytes = adds(vec![element]).encode(0);
    let message = &bytes[BORDERS..bytes.len() - BORDERS];
    assert_eq!(message[..4], (message.len() as u32).to_ne_bytes());
    // NFT_MSG_NEWSETELEM of nftables; NLM_F_REQUEST, and NLM_F_ACK because it is the last one; number 1; NFPROTO_INET.
    assert_eq!(message[4..20], [12, 10, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    message[20..].to_vec()
}

/// What the program sends, without the attribute 4 (`NFTA_SET_ELEM_LIST_SET_ID`): that names sets of the same batch, and ours
/// exist.
fn golden(set: &[u8], elements: &[&[u8]]) -> Vec<u8> {
    [b"\x0d\0\x01\0penstock\0\0\0\0", set, &elements.concat()].concat()
}

#[test]
fn a_map_of_ipv4_to_a_number_and_a_set() {
    let element = Element::Service(at("10.96.0.10", 53), Target::Drop);
    let key = b"\x14\0\x01\x80\x10\0\x01\0\x0a\x60\0\x0a\x11\0\0\0\0\x35\0\0";
    let number = [&b"\x0c\0\x02\x80\x08\0\x01\0"[..], &0xe000_0000_u32.to_ne_bytes()].concat();
    let expected = golden(b"\x0e\0\x02\0services4\0\0\0", &[b"\x28\0\x03\x80\x24\0\x01\x80", key, &number]);
    assert_eq!(added(element), expected);
    let refused = Element::Refused(at("10.96.0.10", 53));
    let expected = golden(b"\x0d\0\x02\0refused4\0\0\0\0", &[b"\x1c\0\x03\x80\x18\0\x01\x80", key]);
    assert_eq!(added(refused), expected);
}

#[test]
fn a_map_of_ipv6_to_a_number() {
    let element = Element::Service(at("2001:db8:96::10", 53), Target::Drop);
    let key = b"\x20\0\x01\x80\x1c\0\x01\0\x20\x01\x0d\xb8\0\x96\0\0\0\0\0\0\0\0\0\x10\x11\0\0\0\0\x35\0\0";
    let number = [&b"\x0c\0\x02\x80\x08\0\x01\0"[..], &0xe000_0000_u32.to_ne_bytes()].concat();
    let expected = golden(b"\x0e\0\x02\0services6\0\0\0", &[b"\x34\0\x03\x80\x30\0\x01\x80", key, &number]);
    assert_eq!(added(element), expected);
}

#[test]
fn a_range_has_both_ends() {
    let element = Element::Source(at("10.96.0.10", 53), "10.1.0.0/16".parse().unwrap());
    let end = |attribute: u8, ip: [u8; 4]| {
        let mut bytes =
            vec![0x18, 0, attribute, 0x80, 0x14, 0, 1, 0, 10, 0x60, 0, 10, 17, 0, 0, 0, 0, 53, 0, 0];
        bytes.extend(ip);
        bytes
    };
    let (low, high) = (end(1, [10, 1, 0, 0]), end(10, [10, 1, 255, 255]));
    let expected = golden(b"\x0d\0\x02\0sources4\0\0\0\0", &[b"\x38\0\x03\x80\x34\0\x01\x80", &low, &high]);
    assert_eq!(added(element), expected);
}

#[test]
fn endpoints_with_their_index_in_the_hosts_byte_order() {
    let to = "10.244.0.5:5353".parse().unwrap();
    let element = Element::Endpoint(at("10.96.0.10", 53), Cluster, 258, to);
    let expected = golden(
        b"\x13\0\x02\0udp-endpoints4\0\0",
        &[
            b"\x2c\0\x03\x80\x28\0\x01\x80",
            b"\x14\0\x01\x80\x10\0\x01\0\x0a\x60\0\x0a\0\x35\0\0",
            &258_u32.to_ne_bytes(),
            b"\x10\0\x02\x80\x0c\0\x01\0\x0a\xf4\0\x05\x14\xe9\0\0",
        ],
    );
    assert_eq!(added(element), expected);
    let to = "[2001:db8::5]:5353".parse().unwrap();
    let element = Element::Endpoint(at("2001:db8:96::10", 53), Cluster, 258, to);
    let expected = golden(
        b"\x13\0\x02\0udp-endpoints6\0\0",
        &[
            b"\x44\0\x03\x80\x40\0\x01\x80",
            b"\x20\0\x01\x80\x1c\0\x01\0\x20\x01\x0d\xb8\0\x96\0\0\0\0\0\0\0\0\0\x10\0\x35\0\0",
            &258_u32.to_ne_bytes(),
            b"\x1c\0\x02\x80\x18\0\x01\0\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\x14\xe9\0\0",
        ],
    );
    assert_eq!(added(element), expected);
}

#[test]
fn a_set_has_keys_only() {
    let element = Element::Hairpin("10.244.0.5".parse().unwrap());
    let expected = golden(
        b"\x0d\0\x02\0hairpin4\0\0\0\0",
        &[b"\x18\0\x03\x80\x14\0\x01\x80\x10\0\x01\x80\x0c\0\x01\0\x0a\xf4\0\x05\x0a\xf4\0\x05"],
    );
    assert_eq!(added(element), expected);
}

#[test]
fn a_batch_removes_and_then_adds_within_its_borders() {
    let frontend = at("10.96.0.10", 53);
    let transaction = Transaction {
        deletes: vec![ElementKey::Service(frontend), ElementKey::Endpoint(frontend, Cluster, 258)],
        ..Transaction::default()
    };
    // The removal's datagram as strace shows it; the last message also asks to be acknowledged.
    let mut expected = b"\x14\0\0\0\x10\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\x0a".to_vec();
    expected.extend(b"\x50\0\0\0\x0e\x0a\x01\0\x01\0\0\0\0\0\0\0\x01\0\0\0");
    let key: &[u8] = b"\x1c\0\x03\x80\x18\0\x01\x80\x14\0\x01\x80\x10\0\x01\0\x0a\x60\0\x0a";
    expected.extend(golden(b"\x0e\0\x02\0services4\0\0\0", &[key, b"\x11\0\0\0\0\x35\0\0"]));
    expected.extend(b"\x54\0\0\0\x0e\x0a\x05\0\x02\0\0\0\0\0\0\0\x01\0\0\0");
    let rest = [&b"\0\x35\0\0"[..], &258_u32.to_ne_bytes()].concat();
    expected.extend(golden(b"\x13\0\x02\0udp-endpoints4\0\0", &[key, &rest]));
    expected.extend(b"\x14\0\0\0\x11\0\x01\0\x03\0\0\0\0\0\0\0\0\0\0\x0a");
    assert_eq!(Batch::of(&transaction).encode(0), expected);
}

#[test]
fn the_element_at_fault_is_named() {
    let to = "10.244.0.5:53".parse().unwrap();
    let elements = [1, 2, 3].map(|index| Element::Endpoint(at("10.96.0.10", 53), Cluster, index, to));
    let batch = adds(elements.to_vec());
    let start = batch.0[0].header().bytes().len() + 20 + 4;
    let second = start + element(&Row::of(&elements[0])).bytes().len();
    let expected = "add to udp-endpoints4: 10.96.0.10 . 53 . 2 : 10.244.0.5 . 53";
    assert_eq!(batch.describe(7, 8, Some(second)), expected);
    assert_eq!(batch.describe(7, 8, Some(second + 1)), "add to udp-endpoints4: 3 elements");
    assert_eq!(batch.describe(7, 8, None), "add to udp-endpoints4: 3 elements");
    assert_eq!(batch.describe(7, 7, None), "commit a batch of elements");
    let one = adds(vec![Element::Hairpin("10.244.0.5".parse().unwrap())]);
    assert_eq!(one.describe(u32::MAX, 0, None), "add to hairpin4: 10.244.0.5 . 10.244.0.5");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn long_lists_are_split_and_complete(count in 0_u32..6_000, first: u32) {
        let to = "[2001:db8::5]:5353".parse().unwrap();
        let frontend = at("2001:db8:96::10", 53);
        let batch = adds((0..count).map(|index| Element::Endpoint(frontend, Cluster, index, to)).collect());
        let bytes = batch.encode(first);
        let (mut rest, mut messages, mut found) = (&bytes[..], 0, 0);
        while !rest.is_empty() {
            let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
            prop_assert_eq!(rest[8..12].to_vec(), first.wrapping_add(messages).to_ne_bytes());
            let list = attribute(&rest[Message::ATTRIBUTES..length], LIST_ELEMENTS);
            found += list.map_or(0, |list| attributes(list).count());
            (rest, messages) = (&rest[length..], messages + 1);
        }
        prop_assert_eq!(found, count as usize);
        prop_assert_eq!(messages, batch.messages());
    }
}
