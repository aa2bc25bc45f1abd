//! A message to the kernel. Pure.

use netlink_packet_core::{Emitable, NLM_F_REQUEST, NetlinkHeader};

use super::Attributes;

/// `struct nlmsghdr`, and `struct nfgenmsg` behind it.
pub(crate) const NETLINK_HEADER: usize = 16;
/// Where the attributes of a message begin.
pub(crate) const HEADERS: usize = NETLINK_HEADER + 4;

/// A request of nfnetlink or of generic netlink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// Subsystem in the upper, message in the lower byte.
    pub(crate) kind: u16,
    /// Besides `NLM_F_REQUEST`.
    pub(crate) flags: u16,
    /// What the answers carry too.
    pub(crate) sequence: u32,
    /// An address family; in generic netlink the command.
    pub(crate) family: u8,
    /// Of the interface: nfnetlink has no other than 0 (`NFNETLINK_V0`).
    pub(crate) version: u8,
    /// The subsystem at the borders of a batch.
    pub(crate) resource: u16,
    /// What it says.
    pub(crate) attributes: Attributes,
}

impl Message {
    /// The type of a message of a subsystem.
    pub(crate) const fn kind(subsystem: libc::c_int, message: libc::c_int) -> u16 {
        (subsystem << 8 | message) as u16
    }

    /// Where the attributes begin in its bytes.
    pub(crate) const ATTRIBUTES: usize = HEADERS;

    /// Appends it to what goes over the wire.
    pub(crate) fn emit(&self, out: &mut Vec<u8>) {
        let attributes = self.attributes.bytes();
        let mut header = NetlinkHeader::default();
        // Attributes are at most some hundred KiB: see the callers.
        header.length = u32::try_from(HEADERS + attributes.len()).unwrap_or(u32::MAX);
        header.message_type = self.kind;
        header.flags = NLM_F_REQUEST | self.flags;
        header.sequence_number = self.sequence;
        let start = out.len();
        out.resize(start + NETLINK_HEADER, 0);
        header.emit(&mut out[start..]);
        // `struct nfgenmsg`; `struct genlmsghdr` is the same with other names.
        out.extend_from_slice(&[self.family, self.version]);
        out.extend_from_slice(&self.resource.to_be_bytes());
        out.extend_from_slice(attributes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_nft_program() {
        // NFNL_MSG_BATCH_BEGIN, as `nft --debug=mnl` of version 1.0.6 prints it.
        let mut out = Vec::new();
        Message { kind: 16, resource: 10, ..Message::default() }.emit(&mut out);
        assert_eq!(out, [20, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10]);
    }
}
