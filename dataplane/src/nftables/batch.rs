//! A transaction's elements in the kernel's own words: one batch of nfnetlink messages. Pure.
//!
//! The kernel carries a batch out as a whole or not at all (`nfnetlink_rcv_batch`).

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use netlink_packet_core::NLM_F_ACK;

use super::{
    row::{Field, Row},
    table::TABLE,
    transaction::Transaction,
};
use crate::netfilter::{Attributes, Message, protocol_number};

/// `enum nft_set_elem_list_attributes`.
const LIST_TABLE: u16 = 1;
const LIST_SET: u16 = 2;
const LIST_ELEMENTS: u16 = 3;
/// `enum nft_list_attributes`.
const LIST_ELEMENT: u16 = 1;
/// `enum nft_set_elem_attributes`.
const ELEMENT_KEY: u16 = 1;
const ELEMENT_DATA: u16 = 2;
const ELEMENT_KEY_END: u16 = 10;
/// `enum nft_data_attributes`.
const DATA_VALUE: u16 = 1;
/// The family of the table.
const INET: u8 = libc::NFPROTO_INET as u8;

/// What a message does with its elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Remove,
    Add,
}

/// The elements of one message: one set, and no more than an attribute holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    verb: Verb,
    /// Family and name; the family is `inet`.
    table: &'static str,
    set: &'static str,
    rows: Vec<Row>,
    elements: Attributes,
}

/// The messages of a transaction without chains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch(Vec<Part>);

impl Batch {
    /// Removals come before additions, as in the transaction. Its chains are not in it.
    pub(super) fn of(transaction: &Transaction) -> Self {
        let removals = transaction.deletes.iter().map(Row::of_key);
        Self::of_rows(TABLE, removals, transaction.adds.iter().map(Row::of))
    }

    /// The same for any table of the family `inet`. What is removed may be a key alone.
    pub(crate) fn of_rows(
        table: &'static str,
        removals: impl Iterator<Item = Row>,
        additions: impl Iterator<Item = Row>,
    ) -> Self {
        let removals = parts(Verb::Remove, table, removals);
        Self(removals.chain(parts(Verb::Add, table, additions)).collect())
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many sequence numbers it takes: one a message, and those of the borders.
    pub(super) fn messages(&self) -> u32 {
        // Every message holds an element, and no machine holds that many.
        u32::try_from(self.0.len()).unwrap_or(u32::MAX - 2) + 2
    }

    /// The sequence number that is acknowledged once all of it has been carried out.
    pub(super) fn acknowledged(&self, first: u32) -> u32 {
        first.wrapping_add(self.messages() - 2)
    }

    /// As it goes over the wire, numbered from `first`.
    pub(super) fn encode(&self, first: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let last = self.acknowledged(first);
        border(libc::NFNL_MSG_BATCH_BEGIN, first).emit(&mut bytes);
        for (sequence, part) in (1..).map(|n| first.wrapping_add(n)).zip(&self.0) {
            // Kernels before 6.10 do not acknowledge the border at the end.
            let flags = if sequence == last { NLM_F_ACK } else { 0 };
            part.message(sequence, flags).emit(&mut bytes);
        }
        border(libc::NFNL_MSG_BATCH_END, last.wrapping_add(1)).emit(&mut bytes);
        bytes
    }

    /// What the message with a number was to do; with an offset, to the element that stands there.
    pub(super) fn describe(&self, first: u32, sequence: u32, offset: Option<usize>) -> String {
        let number = sequence.wrapping_sub(first).wrapping_sub(1) as usize;
        self.0.get(number).map_or_else(|| "commit a batch of elements".into(), |part| part.describe(offset))
    }
}

impl Part {
    fn new(verb: Verb, table: &'static str, set: &'static str) -> Self {
        Self { verb, table, set, rows: Vec::new(), elements: Attributes::default() }
    }

    fn header(&self) -> Attributes {
        let (_, table) = self.table.split_once(' ').unwrap_or_default();
        Attributes::default().with_text(LIST_TABLE, table).with_text(LIST_SET, self.set)
    }

    fn message(&self, sequence: u32, flags: u16) -> Message {
        let message = match self.verb {
            Verb::Remove => libc::NFT_MSG_DELSETELEM,
            Verb::Add => libc::NFT_MSG_NEWSETELEM,
        };
        Message {
            kind: Message::kind(libc::NFNL_SUBSYS_NFTABLES, message),
            flags,
            sequence,
            family: INET,
            version: 0,
            resource: 0,
            attributes: self.header().with_nested(LIST_ELEMENTS, &self.elements),
        }
    }

    fn describe(&self, offset: Option<usize>) -> String {
        let verb = match self.verb {
            Verb::Remove => "remove from",
            Verb::Add => "add to",
        };
        let row = offset.and_then(|offset| self.row_at(offset));
        match (row, self.rows.as_slice()) {
            (Some(row), _) | (None, [row]) => format!("{verb} {}: {row}", self.set),
            (None, rows) => format!("{verb} {}: {} elements", self.set, rows.len()),
        }
    }

    /// The element that stands at an offset of the message.
    fn row_at(&self, offset: usize) -> Option<&Row> {
        let list = Message::ATTRIBUTES + self.header().bytes().len();
        let mut start =
            list + Attributes::default().with_nested(LIST_ELEMENTS, &Attributes::default()).bytes().len();
        self.rows.iter().find(|row| {
            let here = start == offset;
            start += element(row).bytes().len();
            here
        })
    }
}

fn border(kind: libc::c_int, sequence: u32) -> Message {
    Message {
        kind: Message::kind(0, kind),
        sequence,
        resource: libc::NFNL_SUBSYS_NFTABLES as u16,
        ..Message::default()
    }
}

/// One part a set, or as many as its elements need.
fn parts(verb: Verb, table: &'static str, rows: impl Iterator<Item = Row>) -> impl Iterator<Item = Part> {
    let mut sets: BTreeMap<&'static str, Vec<Part>> = BTreeMap::new();
    for row in rows {
        let element = element(&row);
        let parts = sets.entry(row.set).or_default();
        let length = parts.last().map_or(usize::MAX, |part| part.elements.bytes().len());
        if length.saturating_add(element.bytes().len()) > Attributes::LONGEST {
            parts.push(Part::new(verb, table, row.set));
        }
        if let Some(part) = parts.last_mut() {
            part.elements.append(&element);
            part.rows.push(row);
        }
    }
    sets.into_values().flatten()
}

fn element(row: &Row) -> Attributes {
    let mut content = Attributes::default().with_nested(ELEMENT_KEY, &data(&row.key, IpNet::network));
    if row.key.iter().any(|field| matches!(field, Field::Net(_))) {
        content = content.with_nested(ELEMENT_KEY_END, &data(&row.key, IpNet::broadcast));
    }
    if !row.value.is_empty() {
        content = content.with_nested(ELEMENT_DATA, &data(&row.value, IpNet::network));
    }
    Attributes::default().with_nested(LIST_ELEMENT, &content)
}

/// Of ranges one end.
fn data(fields: &[Field], end: fn(&IpNet) -> IpAddr) -> Attributes {
    Attributes::default().with(DATA_VALUE, &concatenation(fields, end))
}

/// In a concatenation every field fills whole registers of four bytes.
fn concatenation(fields: &[Field], end: fn(&IpNet) -> IpAddr) -> Vec<u8> {
    let mut bytes = Vec::new();
    for field in fields {
        match field {
            Field::Address(ip) => extend(&mut bytes, *ip),
            Field::Net(net) => extend(&mut bytes, end(net)),
            Field::Protocol(protocol) => bytes.push(protocol_number(*protocol)),
            Field::Port(port) => bytes.extend(port.to_be_bytes()),
            Field::Number(number) | Field::Priority(number) => bytes.extend(number.to_ne_bytes()),
        }
        if fields.len() > 1 {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes
}

fn extend(bytes: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => bytes.extend(ip.octets()),
        IpAddr::V6(ip) => bytes.extend(ip.octets()),
    }
}

#[cfg(test)]
mod tests;
