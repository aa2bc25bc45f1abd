//! The number that the kernel gave the family `IPVS` when it was loaded.

use crate::netfilter::{Attributes, Data, Message, attribute};

/// `GENL_ID_CTRL`.
const CONTROLLER: u16 = 16;
/// `CTRL_CMD_GETFAMILY`, and the controller's version that libnl says.
const GET_FAMILY: u8 = 3;
const CONTROLLER_VERSION: u8 = 1;
/// `CTRL_ATTR_FAMILY_ID` and `CTRL_ATTR_FAMILY_NAME`.
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// Asks for it.
pub(in crate::ipvs) fn family_question(sequence: u32) -> Message {
    Message {
        kind: CONTROLLER,
        flags: netlink_packet_core::NLM_F_ACK,
        sequence,
        family: GET_FAMILY,
        version: CONTROLLER_VERSION,
        resource: 0,
        attributes: Attributes::default().with_text(FAMILY_NAME, "IPVS"),
    }
}

/// Reads the answer.
pub(in crate::ipvs) fn family_number(data: &Data) -> Option<u16> {
    Some(u16::from_ne_bytes(attribute(&data.attributes, FAMILY_ID)?.try_into().ok()?))
}
