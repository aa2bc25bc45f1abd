//! Questions as octets. Written by hand: no library writes what is wrong on purpose.

use fastrand::Rng;

/// A name as its labels, which may hold any octets; without the root.
pub type Labels = Vec<Vec<u8>>;

/// An OPT record of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Edns {
    /// The datagram that the client takes, in octets.
    pub size: u16,
    /// The version.
    pub version: u8,
    /// Whether DNSSEC's records are wanted.
    pub dnssec_ok: bool,
    /// Options, by code.
    pub options: Vec<(u16, Vec<u8>)>,
}

/// A question that is well formed.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What is asked for.
    pub name: Labels,
    /// The record type.
    pub record_type: u16,
    /// The class.
    pub class: u16,
    /// The kind of message.
    pub op_code: u8,
    /// Bits of the header: RD, AD and CD.
    pub flags: u16,
    /// The OPT record.
    pub edns: Option<Edns>,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    /// It ends within its header.
    Header,
    /// It says that it is an answer.
    IsAnswer,
    /// It says that it has no question.
    NoQuestion,
    /// It says that it has two, and has.
    TwoQuestions,
    /// Its name points at itself.
    Loop,
    /// Its name points behind itself.
    Forward,
    /// Its name has 260 octets.
    LongName,
    /// A label's length has a bit that means nothing.
    LabelBits,
    /// It ends within its question.
    Cut,
    /// It says that it has an answer, and has none.
    NoAnswer,
    /// It says that it has three records behind, and has none.
    NoRecords,
    /// It has an OPT record twice.
    TwoOpts,
    /// Its OPT record has a name.
    NamedOpt,
    /// An option is longer than its record.
    LongOption,
    /// Octets follow that belong to nothing.
    Behind,
}

impl Damage {
    /// All.
    pub const ALL: [Self; 15] = [
        Self::Header,
        Self::IsAnswer,
        Self::NoQuestion,
        Self::TwoQuestions,
        Self::Loop,
        Self::Forward,
        Self::LongName,
        Self::LabelBits,
        Self::Cut,
        Self::NoAnswer,
        Self::NoRecords,
        Self::TwoOpts,
        Self::NamedOpt,
        Self::LongOption,
        Self::Behind,
    ];
}

const HEADER: usize = 12;
const OPT: [u8; 3] = [0, 0, 41];

impl Query {
    /// The octets.
    pub fn encode(&self) -> Vec<u8> {
        let flags = self.flags | u16::from(self.op_code & 0x0f) << 11;
        let records = u16::from(self.edns.is_some());
        let words = [0, flags, 1, 0, 0, records];
        let mut octets: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        octets.extend(self.question());
        octets.extend(self.edns.iter().flat_map(Edns::encode));
        octets
    }

    fn question(&self) -> Vec<u8> {
        let mut octets = name(&self.name);
        octets.extend(self.record_type.to_be_bytes());
        octets.extend(self.class.to_be_bytes());
        octets
    }

    /// The octets, with something wrong.
    pub fn damaged(&self, damage: Damage, rng: &mut Rng) -> Vec<u8> {
        let mut octets = Self { edns: None, ..self.clone() }.encode();
        let behind = HEADER + name(&self.name).len();
        match damage {
            Damage::Header => octets.truncate(rng.usize(..HEADER)),
            Damage::IsAnswer => octets[2] |= 0x80,
            Damage::NoQuestion => octets[5] = 0,
            Damage::TwoQuestions => {
                octets[5] = 2;
                octets.extend(self.question());
            }
            Damage::Loop => replace_name(&mut octets, behind, &[0xc0, 0x0c]),
            Damage::Forward => replace_name(&mut octets, behind, &[0xc0, 0x20]),
            Damage::LongName => replace_name(&mut octets, behind, &name(&vec![vec![b'a'; 51]; 5])),
            Damage::LabelBits => octets[HEADER] |= *[0x40, 0x80].get(rng.usize(..2)).unwrap_or(&0x40),
            Damage::Cut => octets.truncate(HEADER + rng.usize(..octets.len() - HEADER)),
            Damage::NoAnswer => octets[7] = 1,
            Damage::NoRecords => octets[11] = 3,
            Damage::TwoOpts => {
                octets[11] = 2;
                let edns = Edns { size: 1232, version: 0, dnssec_ok: false, options: Vec::new() };
                octets.extend([edns.encode(), edns.encode()].concat());
            }
            Damage::NamedOpt => {
                octets[11] = 1;
                octets.extend([1, b'x', 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
            }
            Damage::LongOption => {
                octets[11] = 1;
                octets.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 10, 0, 200]);
            }
            Damage::Behind => octets.extend((0..rng.usize(1..20)).map(|_| rng.u8(..))),
        }
        octets
    }
}

fn replace_name(octets: &mut Vec<u8>, behind: usize, with: &[u8]) {
    octets.splice(HEADER..behind, with.iter().copied());
}

fn name(labels: &Labels) -> Vec<u8> {
    let one = |label: &Vec<u8>| {
        let length = u8::try_from(label.len().min(63)).unwrap_or(63);
        [&[length], &label[..usize::from(length)]].concat()
    };
    let mut octets: Vec<u8> = labels.iter().flat_map(one).collect();
    octets.push(0);
    octets
}

impl Edns {
    fn encode(&self) -> Vec<u8> {
        let mut octets = OPT.to_vec();
        octets.extend(self.size.to_be_bytes());
        octets.extend([0, self.version, if self.dnssec_ok { 0x80 } else { 0 }, 0]);
        let options: Vec<u8> = self.options.iter().flat_map(|(code, data)| option(*code, data)).collect();
        octets.extend(u16::try_from(options.len()).unwrap_or(u16::MAX).to_be_bytes());
        octets.extend(options);
        octets
    }
}

fn option(code: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap_or(u16::MAX);
    [&code.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::Message;

    fn query() -> Query {
        let name = ["web", "default", "svc", "cluster", "local"].map(|label| label.as_bytes().to_vec());
        let edns = Edns { size: 1400, version: 0, dnssec_ok: true, options: vec![(3, vec![])] };
        let name = name.to_vec();
        Query { name, record_type: 33, class: 1, op_code: 0, flags: 0x0100, edns: Some(edns) }
    }

    #[test]
    fn a_library_reads_what_is_well_formed() {
        let message = Message::from_vec(&query().encode()).unwrap();
        assert_eq!(message.queries[0].to_string(), "web.default.svc.cluster.local. IN SRV");
        let edns = message.edns.as_ref().unwrap();
        assert!(edns.max_payload() == 1400 && edns.flags().dnssec_ok && message.metadata.recursion_desired);
    }

    #[test]
    fn every_damage_changes_the_octets() {
        let whole = Query { edns: None, ..query() }.encode();
        for damage in Damage::ALL {
            assert_ne!(query().damaged(damage, &mut Rng::with_seed(1)), whole, "{damage:?}");
        }
    }
}
