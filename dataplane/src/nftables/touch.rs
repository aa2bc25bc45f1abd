//! What the kernel tells about commits, as far as it concerns our table. Pure.

use std::{collections::BTreeSet, fmt};

use super::table::TABLE;
use crate::netfilter::{Data, Message, attribute};

/// The name of the table is the first attribute of every message about it and about what is in it:
/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`, `NFTA_SET_ELEM_LIST_TABLE`, `NFTA_OBJ_TABLE`, ….
const TABLE_NAME: u16 = 1;
/// `NFTA_RULE_CHAIN`, `NFTA_SET_NAME`, `NFTA_SET_ELEM_LIST_SET`.
const SECOND_NAME: u16 = 2;
/// `NFTA_CHAIN_NAME`.
const CHAIN_NAME: u16 = 3;
/// `enum nft_gen_attributes`.
const GENERATION: u16 = 1;
const PROCESS: u16 = 2;
const PROGRAM: u16 = 3;
/// Says that a commit is done, and by whom.
const NEW_GENERATION: u16 = Message::kind(libc::NFNL_SUBSYS_NFTABLES, libc::NFT_MSG_NEWGEN);

/// Somebody else changed our table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// A commit of a program.
    By {
        /// Its name, as the kernel keeps it: at most 15 bytes.
        program: String,
        /// Its process id as the host counts.
        process: u32,
        /// What of the table, in words.
        what: String,
    },
    /// More was committed than could be told; our table may be among it.
    Unknown,
    /// Something is gone, and it is not known who took it away.
    Missing {
        /// What, in words.
        what: String,
    },
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By { program, process, what } => {
                // Who changes something chooses its name, as a process does its own.
                let (program, what) = (program.escape_debug(), what.escape_debug());
                write!(f, "the program {program} (process {process}) changed {what}")
            }
            Self::Missing { what } => write!(f, "{what} is missing"),
            Self::Unknown => {
                f.write_str("some program may have changed them: more was committed than could be told")
            }
        }
    }
}

/// Puts the messages of a commit together. They come before the one that names its author.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    /// Family and name of the table; the family is `inet`.
    table: &'static str,
    /// What of our table; one more than is named shows that there is more.
    touches: BTreeSet<String>,
}

/// How many things of a commit are named.
const NAMED: usize = 3;
const WHOLE: &str = "the whole table";

impl Default for Commit {
    fn default() -> Self {
        Self::of(TABLE)
    }
}

impl Commit {
    /// Of a table, by family and name.
    pub(super) fn of(table: &'static str) -> Self {
        Self { table, touches: BTreeSet::new() }
    }

    /// Takes the next message; a commit that is complete and concerns us is returned.
    pub(super) fn take(&mut self, data: &Data) -> Option<Touched> {
        if data.kind != NEW_GENERATION {
            if is_about(data, self.table) {
                self.touch(subject(data));
            }
            return None;
        }
        let touches = std::mem::take(&mut self.touches);
        (!touches.is_empty()).then(|| author(data, &touches))
    }

    fn touch(&mut self, subject: String) {
        if subject == WHOLE {
            // All else is said with it.
            self.touches = BTreeSet::from([subject]);
        } else if self.touches.len() <= NAMED && !self.touches.contains(WHOLE) {
            self.touches.insert(subject);
        }
    }
}

/// What a message is about.
fn subject(data: &Data) -> String {
    let named = |word: &str, kind| match attribute(&data.attributes, kind) {
        Some(name) => format!("{word} {}", String::from_utf8_lossy(name).trim_end_matches('\0')),
        None => word.to_owned(),
    };
    match libc::c_int::from(data.kind & 0xff) {
        libc::NFT_MSG_NEWTABLE | libc::NFT_MSG_DELTABLE => WHOLE.into(),
        libc::NFT_MSG_NEWCHAIN | libc::NFT_MSG_DELCHAIN => named("chain", CHAIN_NAME),
        libc::NFT_MSG_NEWRULE | libc::NFT_MSG_DELRULE => named("rules of chain", SECOND_NAME),
        libc::NFT_MSG_NEWSET | libc::NFT_MSG_DELSET => named("set", SECOND_NAME),
        libc::NFT_MSG_NEWSETELEM | libc::NFT_MSG_DELSETELEM => named("elements of", SECOND_NAME),
        _ => "an object".into(),
    }
}

/// Whether it is about our table.
pub(super) fn is_ours(data: &Data) -> bool {
    is_about(data, TABLE)
}

fn is_about(data: &Data, table: &str) -> bool {
    let (_, table) = table.split_once(' ').unwrap_or_default();
    let name = attribute(&data.attributes, TABLE_NAME);
    data.family == libc::NFPROTO_INET as u8
        && name.and_then(|name| name.strip_suffix(&[0])) == Some(table.as_bytes())
}

fn author(data: &Data, touches: &BTreeSet<String>) -> Touched {
    let named: Vec<&str> = touches.iter().take(NAMED).map(String::as_str).collect();
    let more = if touches.len() > NAMED { " and more" } else { "" };
    let what = named.join(", ") + more;
    let program = attribute(&data.attributes, PROGRAM).unwrap_or_default();
    let program = String::from_utf8_lossy(program).trim_end_matches('\0').to_owned();
    Touched::By { program, process: number(data, PROCESS).unwrap_or_default(), what }
}

/// The number of the last commit, from the answer to `NFT_MSG_GETGEN`.
pub(super) fn generation(data: &Data) -> Option<u32> {
    (data.kind == NEW_GENERATION).then(|| number(data, GENERATION)).flatten()
}

fn number(data: &Data, kind: u16) -> Option<u32> {
    attribute(&data.attributes, kind)?.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(message: u16, family: u8, attributes: &[u8]) -> Data {
        Data { kind: 10 << 8 | message, port: 8351, family, attributes: attributes.to_vec() }
    }

    /// As strace shows what nft receives.
    fn new_generation() -> Data {
        told(15, 0, b"\x08\0\x01\0\0\0\0\x03\x08\0\x02\0\0\0\x20\x9f\x08\0\x03\0nft\0")
    }

    const OURS: &[u8] = b"\x0d\0\x01\0penstock\0\0\0\0\x0d\0\x02\0hairpin4\0\0\0\0";

    #[test]
    fn a_commit_that_has_our_table_names_its_author() {
        let mut commit = Commit::default();
        for message in [told(12, 1, OURS), told(14, 1, b"\x0a\0\x01\0other\0\0\0")] {
            assert_eq!(commit.take(&message), None);
        }
        let by = Touched::By { program: "nft".into(), process: 8351, what: "elements of hairpin4".into() };
        assert_eq!(by.to_string(), "the program nft (process 8351) changed elements of hairpin4");
        assert_eq!(commit.take(&new_generation()), Some(by));
        assert_eq!(commit.take(&new_generation()), None);
        assert_eq!(generation(&new_generation()), Some(3));
    }

    #[test]
    fn of_a_large_commit_some_things_are_named() {
        let mut commit = Commit::default();
        let named = b"\x0d\0\x01\0penstock\0\0\0\0\x0d\0\x03\0services\0\0\0\0";
        let some = [told(5, 1, named), told(8, 1, OURS), told(11, 1, OURS), told(14, 1, OURS)];
        for message in &some {
            assert_eq!(commit.take(message), None);
        }
        let touched = commit.take(&new_generation()).unwrap().to_string();
        assert!(
            touched
                .ends_with("changed chain services, elements of hairpin4, rules of chain hairpin4 and more"),
            "{touched}"
        );
        for message in some.iter().chain([&told(2, 1, OURS)]).chain(&some) {
            assert_eq!(commit.take(message), None);
        }
        let touched = commit.take(&new_generation()).unwrap().to_string();
        assert!(touched.ends_with("changed the whole table"), "{touched}");
    }

    #[test]
    fn tables_of_the_same_name_in_other_families_and_longer_names_are_not_ours() {
        let mut commit = Commit::default();
        let longer = b"\x0e\0\x01\0penstock2\0\0\0";
        for message in [told(0, 2, OURS), told(0, 1, longer), told(0, 1, b""), told(0, 1, b"\x04\0\x01\0")] {
            assert_eq!(commit.take(&message), None);
        }
        assert_eq!(commit.take(&new_generation()), None);
    }
}
