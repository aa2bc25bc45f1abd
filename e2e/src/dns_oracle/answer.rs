//! Answers, without what may differ: ids, compression, the order of records, and times and serials that follow a clock. Pure.

use std::fmt;

use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, Record};

/// What came of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Silence,
    /// What no library reads.
    Unreadable(Vec<u8>, String),
    /// A message.
    Message(Box<Content>),
}

/// What a message says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// Whether the id is the question's.
    pub same_id: bool,
    /// The code.
    pub code: String,
    /// The operation.
    pub op_code: String,
    /// AA.
    pub authoritative: bool,
    /// TC.
    pub truncated: bool,
    /// RD.
    pub recursion_desired: bool,
    /// RA.
    pub recursion_available: bool,
    /// AD.
    pub authentic: bool,
    /// CD.
    pub checking_disabled: bool,
    /// The question as it is repeated.
    pub question: Vec<String>,
    /// The answer section.
    pub answers: Vec<String>,
    /// The authority section.
    pub authorities: Vec<String>,
    /// The additional section without the OPT record.
    pub additionals: Vec<String>,
    /// Whether there is an OPT record, its version, DO, and the codes of its options. Its size is the server's own.
    pub edns: Option<(u8, bool, Vec<u16>)>,
    /// How many octets it has; not compared.
    pub length: usize,
}

impl Answer {
    /// Reads octets. Names in the zones have records of the server's own, and their times are compared.
    pub fn read(octets: &[u8], id: u16, zones: &[Name]) -> Self {
        match Message::from_vec(octets) {
            Ok(message) => Self::Message(Box::new(Content::of(&message, id, zones, octets.len()))),
            Err(error) => Self::Unreadable(octets.to_vec(), error.to_string()),
        }
    }

    /// What is said, if anything is.
    pub fn content(&self) -> Option<&Content> {
        if let Self::Message(content) = self { Some(content) } else { None }
    }

    /// Whether the two say the same.
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Message(one), Self::Message(two)) => one.comparable() == two.comparable(),
            _ => self == other,
        }
    }
}

impl Content {
    fn of(message: &Message, id: u16, zones: &[Name], length: usize) -> Self {
        let head = &message.metadata;
        let section = |records: &[Record]| {
            let mut texts: Vec<String> = records.iter().map(|record| text(record, zones)).collect();
            texts.sort_unstable();
            // Records of a name and type are a set (RFC 2181 5); CoreDNS repeats some.
            texts.dedup();
            texts
        };
        let edns = message.edns.as_ref().map(|edns| {
            let mut codes: Vec<u16> =
                edns.options().as_ref().iter().map(|(code, _)| (*code).into()).collect();
            codes.sort_unstable();
            (edns.version(), edns.flags().dnssec_ok, codes)
        });
        Self {
            same_id: head.id == id,
            code: format!("{:?}", head.response_code),
            op_code: format!("{:?}", head.op_code),
            authoritative: head.authoritative,
            truncated: head.truncation,
            recursion_desired: head.recursion_desired,
            recursion_available: head.recursion_available,
            authentic: head.authentic_data,
            checking_disabled: head.checking_disabled,
            question: message.queries.iter().map(ToString::to_string).collect(),
            answers: section(&message.answers),
            authorities: section(&message.authorities),
            additionals: section(&message.additionals),
            edns,
            length,
        }
    }

    /// Without the bits that a server of others sets, or that one sets who asks it.
    pub fn of_others(&self) -> Self {
        Self { authoritative: false, recursion_available: false, ..self.comparable() }
    }

    /// Of an answer that is cut off, only that it is: how much of it is there is up to the server.
    fn comparable(&self) -> Self {
        let mut this = Self { length: 0, ..self.clone() };
        if this.truncated {
            this.answers.clear();
            this.authorities.clear();
            this.additionals.clear();
        }
        this
    }
}

/// A zone of others below one of ours.
const OTHERS: &str = "113.0.203.in-addr.arpa.";

/// One line. The serial is that of a clock; the times of others' records run down while they are kept.
fn text(record: &Record, zones: &[Name]) -> String {
    let name = record.name.to_lowercase().to_string();
    let ours = zones.iter().any(|zone| zone.zone_of(&record.name)) && !name.ends_with(OTHERS);
    let data = match &record.data {
        RData::SOA(soa) if ours => format!(
            "{} {} SERIAL {} {} {} {}",
            soa.mname, soa.rname, soa.refresh, soa.retry, soa.expire, soa.minimum
        ),
        data => data.to_string(),
    };
    let ttl = if ours { record.ttl.to_string() } else { "TTL".to_owned() };
    format!("{} {ttl} {} {} {data}", record.name, record.dns_class, record.record_type())
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silence => f.write_str("nothing"),
            Self::Unreadable(octets, error) => write!(f, "unreadable ({error}): {octets:02x?}"),
            Self::Message(content) => content.fmt(f),
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = [
            ("aa", self.authoritative),
            ("tc", self.truncated),
            ("rd", self.recursion_desired),
            ("ra", self.recursion_available),
            ("ad", self.authentic),
            ("cd", self.checking_disabled),
            ("other-id", !self.same_id),
        ];
        let flags: Vec<&str> = flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        write!(f, "{} {} [{}] {:?}", self.op_code, self.code, flags.join(" "), self.question)?;
        write!(f, " edns {:?}, {} octets", self.edns, self.length)?;
        for (name, section) in
            [("answer", &self.answers), ("authority", &self.authorities), ("additional", &self.additionals)]
        {
            for record in section.iter().take(12) {
                write!(f, "\n      {name}: {record}")?;
            }
            if section.len() > 12 {
                write!(f, "\n      {name}: and {} more", section.len() - 12)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{MessageType, OpCode};
    use hickory_proto::rr::rdata::{A, SOA};

    fn answer(id: u16, records: Vec<Record>) -> Answer {
        let mut message = Message::new(id, MessageType::Response, OpCode::Query);
        message.add_answers(records);
        let zones = [Name::from_ascii("cluster.local.").unwrap()];
        Answer::read(&message.to_vec().unwrap(), id, &zones)
    }

    fn address(name: &str, ttl: u32, last: u8) -> Record {
        Record::from_rdata(Name::from_ascii(name).unwrap(), ttl, RData::A(A::new(10, 0, 0, last)))
    }

    fn soa(serial: u32) -> Record {
        let zone = Name::from_ascii("cluster.local.").unwrap();
        Record::from_rdata(zone.clone(), 5, RData::SOA(SOA::new(zone.clone(), zone, serial, 1, 2, 3, 4)))
    }

    #[test]
    fn order_ids_serials_and_times_of_others_do_not_count() {
        let (one, two) = (address("a.cluster.local.", 5, 1), address("a.cluster.local.", 5, 2));
        assert!(answer(1, vec![one.clone(), two.clone()]).equals(&answer(2, vec![two, one])));
        assert!(answer(1, vec![soa(1)]).equals(&answer(1, vec![soa(2)])));
        let outside = |ttl| answer(1, vec![address("a.test.", ttl, 1)]);
        assert!(outside(1).equals(&outside(2)));
    }

    #[test]
    fn case_times_and_data_count() {
        let one = |name, ttl, last| answer(1, vec![address(name, ttl, last)]);
        let base = one("a.cluster.local.", 5, 1);
        assert!(!base.equals(&one("A.cluster.local.", 5, 1)));
        assert!(!base.equals(&one("a.cluster.local.", 6, 1)));
        assert!(!base.equals(&one("a.cluster.local.", 5, 2)));
        assert!(!base.equals(&Answer::Silence) && Answer::Silence.equals(&Answer::Silence));
    }
}
