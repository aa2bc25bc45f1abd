//! Queries as they come from the network, and answers as they go there. Pure.

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, RData, Record},
    serialize::binary::{BinEncodable, BinEncoder},
};

/// The length of a message's header (RFC 1035 §4.1.1).
const HEADER: usize = 12;
/// The length of an OPT record without options (RFC 6891 §6.1.2).
const OPT: u16 = 11;
/// What a client takes over UDP that does not say otherwise (RFC 1035 §4.2.1).
const WITHOUT_EDNS: u16 = 512;
/// The most that we send in a datagram, whatever the client says: it passes every path without fragments (DNS flag
/// day 2020).
pub const LARGEST_DATAGRAM: u16 = 1232;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// In a datagram.
    Udp,
    /// In a stream.
    Tcp,
}

/// A question that can be answered.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The question, in the case in which it was asked.
    pub query: Query,
    /// The serial that the client has, where it asks what is new since (IXFR, RFC 1995 §3).
    pub known_serial: Option<u32>,
    head: Head,
}

/// What an answer repeats.
#[derive(Clone, Copy, Debug)]
struct Head {
    id: u16,
    op_code: OpCode,
    recursion_desired: bool,
    checking_disabled: bool,
    edns: Option<ClientEdns>,
}

/// What a client says in its OPT record.
#[derive(Clone, Copy, Debug)]
struct ClientEdns {
    payload: u16,
    dnssec_ok: bool,
}

/// What becomes of a message.
#[derive(Clone, Debug)]
pub enum Received {
    /// It is no query, and an answer might start a loop.
    Drop,
    /// It is answered with an error: these octets.
    Reject(ResponseCode, Vec<u8>),
    /// It asks something.
    Query(Box<Asked>),
}

/// The content of an answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The code.
    pub code: ResponseCode,
    /// Whether it is of a domain of ours.
    pub authoritative: bool,
    /// Whether other names are asked upstream.
    pub recursion_available: bool,
    /// The answer section.
    pub answers: Vec<Record>,
    /// The authority section.
    pub authorities: Vec<Record>,
    /// The additional section.
    pub additionals: Vec<Record>,
}

impl Reply {
    /// Only a code.
    #[must_use]
    pub fn of_code(code: ResponseCode) -> Self {
        Self { code, ..Self::default() }
    }
}

/// Reads a message. Takes any octets.
#[must_use]
pub fn receive(octets: &[u8]) -> Received {
    let Some(header) = octets.get(..HEADER) else { return Received::Drop };
    let (is_answer, op_code) = (header[2] & 0x80 != 0, OpCode::from_u8(header[2] >> 3 & 0x0f));
    if is_answer {
        return Received::Drop;
    }
    let head = Head {
        id: u16::from_be_bytes([header[0], header[1]]),
        op_code,
        recursion_desired: header[2] & 1 != 0,
        checking_disabled: header[3] & 0x10 != 0,
        edns: None,
    };
    let reject = |head: Head, query: Option<Query>, code| {
        Received::Reject(code, head.encode(query, &Reply::of_code(code), WITHOUT_EDNS))
    };
    if op_code != OpCode::Query {
        return reject(head, None, ResponseCode::NotImp);
    }
    if header[4..6] != [0, 1] {
        return reject(head, None, ResponseCode::FormErr);
    }
    let Ok(mut message) = Message::from_vec(octets) else { return reject(head, None, ResponseCode::FormErr) };
    let Some(query) = message.queries.pop() else { return reject(head, None, ResponseCode::FormErr) };
    let head = Head { edns: message.edns.as_ref().map(ClientEdns::of), ..head };
    if message.edns.as_ref().is_some_and(|edns| edns.version() > 0) {
        return reject(head, Some(query), ResponseCode::BADVERS);
    }
    if query.query_class() != DNSClass::IN {
        return reject(head, Some(query), ResponseCode::Refused);
    }
    let known_serial = message.authorities.iter().find_map(serial);
    Received::Query(Box::new(Asked { query, known_serial, head }))
}

fn serial(record: &Record) -> Option<u32> {
    if let RData::SOA(soa) = &record.data { Some(soa.serial) } else { None }
}

impl ClientEdns {
    fn of(edns: &Edns) -> Self {
        Self { payload: edns.max_payload(), dnssec_ok: edns.flags().dnssec_ok }
    }
}

impl Asked {
    /// Encodes an answer: as much of it as the client takes, with a mark where something is missing.
    #[must_use]
    pub fn encode(&self, reply: &Reply, transport: Transport) -> Vec<u8> {
        let limit = match (transport, self.head.edns) {
            (Transport::Tcp, _) => u16::MAX,
            (Transport::Udp, None) => WITHOUT_EDNS,
            (Transport::Udp, Some(edns)) => edns.payload.clamp(WITHOUT_EDNS, LARGEST_DATAGRAM),
        };
        self.head.encode(Some(self.query.clone()), reply, limit)
    }
}

impl Head {
    fn encode(&self, query: Option<Query>, reply: &Reply, limit: u16) -> Vec<u8> {
        let mut message = Message::new(self.id, MessageType::Response, self.op_code);
        message.metadata.recursion_desired = self.recursion_desired;
        message.metadata.checking_disabled = self.checking_disabled;
        message.metadata.authoritative = reply.authoritative;
        message.metadata.recursion_available = reply.recursion_available;
        message.metadata.response_code = ResponseCode::from(0, reply.code.low());
        message.add_queries(query);
        message.add_answers(reply.answers.iter().cloned());
        message.add_authorities(reply.authorities.iter().cloned());
        message.add_additionals(reply.additionals.iter().cloned());
        let reserved = if self.edns.is_some() { OPT } else { 0 };
        let mut octets = Vec::with_capacity(usize::from(WITHOUT_EDNS));
        let mut encoder = BinEncoder::new(&mut octets);
        encoder.set_max_size(limit.saturating_sub(reserved));
        if message.emit(&mut encoder).is_err() {
            return self.failure();
        }
        // Behind it may be the first half of a record that did not fit.
        let length = encoder.offset();
        octets.truncate(length);
        if let Some(edns) = self.edns {
            append_opt(&mut octets, reply.code, edns.dnssec_ok);
        }
        octets
    }

    /// What can always be encoded: the header.
    fn failure(&self) -> Vec<u8> {
        let [high, low] = self.id.to_be_bytes();
        let mut octets = vec![high, low, 0x80, ResponseCode::ServFail.low()];
        octets.resize(HEADER, 0);
        octets
    }
}

/// Our own OPT record behind a message; encoded by hand, so that it never is what does not fit.
fn append_opt(octets: &mut Vec<u8>, code: ResponseCode, dnssec_ok: bool) {
    const COUNT: std::ops::Range<usize> = 10..12;
    let [high, low] = LARGEST_DATAGRAM.to_be_bytes();
    let flags = if dnssec_ok { 0x80 } else { 0 };
    octets.extend([0, 0, 41, high, low, code.high(), 0, flags, 0, 0, 0]);
    let count = u16::from_be_bytes([octets[COUNT.start], octets[COUNT.start + 1]]).saturating_add(1);
    octets[COUNT].copy_from_slice(&count.to_be_bytes());
}
