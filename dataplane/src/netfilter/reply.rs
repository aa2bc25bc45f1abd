//! What the kernel answers or tells. Pure.

use netlink_packet_core::{NLM_F_ACK_TLVS, NLM_F_CAPPED, NetlinkBuffer};
use nix::errno::Errno;

use super::{
    attributes::attribute,
    message::{HEADERS, NETLINK_HEADER},
};

/// Attributes of an answer (`enum nlmsgerr_attrs`).
const ERROR_TEXT: u16 = 1;
const ERROR_OFFSET: u16 = 2;
/// The number that an error begins with.
const ERROR_CODE: usize = 4;

/// One message from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The message with this sequence number was carried out.
    Done(u32),
    /// It was not.
    Refused(Refusal),
    /// What was asked for, or something that happened.
    Data(Data),
}

/// The kernel's refusal of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The message's sequence number.
    pub sequence: u32,
    /// The error number.
    pub errno: Errno,
    /// Where in the message the attribute at fault begins, in bytes.
    pub offset: Option<usize>,
    /// What the kernel adds in words.
    pub text: Option<String>,
}

/// A message that carries attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Data {
    /// Subsystem in the upper, message in the lower byte.
    pub(crate) kind: u16,
    /// The port of the socket that asked for what happened.
    pub(crate) port: u32,
    /// The address family.
    pub(crate) family: u8,
    /// The attributes.
    pub(crate) attributes: Vec<u8>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.errno {
            Errno::ENOENT => f.write_str("it, or what it needs, does not exist (ENOENT)")?,
            Errno::EEXIST => f.write_str("it exists already, perhaps with another value (EEXIST)")?,
            Errno::EBUSY => f.write_str("it exists with another value, or is in use (EBUSY)")?,
            Errno::EPERM => f.write_str("this needs CAP_NET_ADMIN (EPERM)")?,
            errno => write!(f, "{} ({errno:?})", errno.desc())?,
        }
        self.text.iter().try_for_each(|text| write!(f, ": {text}"))
    }
}

impl Reply {
    /// The messages of one datagram; what cannot be read ends them.
    pub(crate) fn read(mut datagram: &[u8]) -> Vec<Self> {
        let mut replies = Vec::new();
        while let Ok(message) = NetlinkBuffer::new_checked(datagram) {
            let length = message.length() as usize;
            replies.extend(Self::of(&message, &datagram[NETLINK_HEADER..length]));
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        replies
    }

    fn of(message: &NetlinkBuffer<&[u8]>, payload: &[u8]) -> Option<Self> {
        let (sequence, flags) = (message.sequence_number(), message.flags());
        match libc::c_int::from(message.message_type()) {
            libc::NLMSG_ERROR => error(sequence, flags, payload),
            // The end of a list carries an error number too, if the kernel could not go on.
            libc::NLMSG_DONE => Some(verdict(sequence, payload, None)),
            _ => Some(Self::Data(Data {
                kind: message.message_type(),
                port: message.port_number(),
                family: *payload.first()?,
                attributes: payload.get(HEADERS - NETLINK_HEADER..)?.to_vec(),
            })),
        }
    }
}

/// Behind the number stands the message at fault, whole unless the flag says otherwise, then attributes.
fn error(sequence: u32, flags: u16, payload: &[u8]) -> Option<Reply> {
    let echoed = payload.get(ERROR_CODE..)?;
    let length = match flags & NLM_F_CAPPED {
        0 => u32::from_ne_bytes(echoed.get(..4)?.try_into().ok()?) as usize,
        _ => NETLINK_HEADER,
    };
    let tlvs = (flags & NLM_F_ACK_TLVS != 0).then(|| echoed.get(length.next_multiple_of(4)..)).flatten();
    Some(verdict(sequence, payload, tlvs))
}

fn verdict(sequence: u32, payload: &[u8], tlvs: Option<&[u8]>) -> Reply {
    let code = payload.get(..ERROR_CODE).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 {
        return Reply::Done(sequence);
    }
    let tlv = |kind| tlvs.and_then(|tlvs| attribute(tlvs, kind));
    let offset = tlv(ERROR_OFFSET).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
    let text = tlv(ERROR_TEXT).map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
    let errno = Errno::from_raw(code.saturating_neg());
    Reply::Refused(Refusal { sequence, errno, offset: offset.map(|offset| offset as usize), text })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refusal_says_which_message_where_and_why() {
        // As the kernel answers the removal of an element that is not there, with NETLINK_CAP_ACK and NETLINK_EXT_ACK.
        let mut bytes = vec![44, 0, 0, 0, 2, 0, 0, 3, 7, 0, 0, 0, 9, 0, 0, 0];
        bytes.extend((-2_i32).to_ne_bytes());
        bytes.extend([80, 0, 0, 0, 14, 10, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([8, 0, 2, 0, 56, 0, 0, 0]);
        let refusal = Refusal { sequence: 7, errno: Errno::ENOENT, offset: Some(56), text: None };
        assert_eq!(Reply::read(&bytes), [Reply::Refused(refusal)]);
    }

    #[test]
    fn an_acknowledgement_and_the_end_of_a_list_are_done() {
        let mut bytes = vec![36, 0, 0, 0, 2, 0, 0, 1, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
        bytes.extend([80, 0, 0, 0, 14, 10, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend([20, 0, 0, 0, 3, 0, 2, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Reply::read(&bytes), [Reply::Done(7), Reply::Done(8)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, kind in 0_u8..4, flags in 0_u8..4) {
            Reply::read(&bytes);
            let mut framed = vec![0, 0, 0, 0, kind, 0, 0, flags, 0, 0, 0, 0, 0, 0, 0, 0];
            framed.extend(&bytes);
            let length = framed.len() as u32;
            framed[..4].copy_from_slice(&length.to_ne_bytes());
            Reply::read(&framed);
        }
    }
}
