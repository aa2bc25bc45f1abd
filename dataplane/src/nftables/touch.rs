//! What the kernel tells about commits, as far as it concerns our table. Pure.

use std::fmt;

use super::table::TABLE;
use crate::netfilter::{Data, Message, attribute};

/// The name of the table is the first attribute of every message about it and about what is in it:
/// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE`, `NFTA_SET_TABLE`, `NFTA_SET_ELEM_LIST_TABLE`, `NFTA_OBJ_TABLE`, ….
const TABLE_NAME: u16 = 1;
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
    },
    /// More was committed than could be told; our table may be among it.
    Unknown,
}

impl fmt::Display for Touched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By { program, process } => {
                // A process chooses its name.
                write!(f, "the program {} (process {process})", program.escape_debug())
            }
            Self::Unknown => f.write_str("some program"),
        }
    }
}

/// Puts the messages of a commit together. They come before the one that names its author.
#[derive(Clone, Debug, Default)]
pub(super) struct Commit {
    touches: bool,
}

impl Commit {
    /// Takes the next message; a commit that is complete and concerns us is returned.
    pub(super) fn take(&mut self, data: &Data) -> Option<Touched> {
        if data.kind != NEW_GENERATION {
            self.touches |= is_ours(data);
            return None;
        }
        std::mem::take(&mut self.touches).then(|| author(data))
    }
}

/// Whether it is about our table.
pub(super) fn is_ours(data: &Data) -> bool {
    let (_, table) = TABLE.split_once(' ').unwrap_or_default();
    let name = attribute(&data.attributes, TABLE_NAME);
    data.family == libc::NFPROTO_INET as u8
        && name.and_then(|name| name.strip_suffix(&[0])) == Some(table.as_bytes())
}

fn author(data: &Data) -> Touched {
    let program = attribute(&data.attributes, PROGRAM).unwrap_or_default();
    let program = String::from_utf8_lossy(program).trim_end_matches('\0').to_owned();
    Touched::By { program, process: number(data, PROCESS).unwrap_or_default() }
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
        let by = Touched::By { program: "nft".into(), process: 8351 };
        assert_eq!(by.to_string(), "the program nft (process 8351)");
        assert_eq!(commit.take(&new_generation()), Some(by));
        assert_eq!(commit.take(&new_generation()), None);
        assert_eq!(generation(&new_generation()), Some(3));
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
