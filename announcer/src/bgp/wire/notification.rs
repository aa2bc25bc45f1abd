//! NOTIFICATION: why a session ends (RFC 4271 section 4.5), in words.

use std::fmt;

use super::frame::{HEADER, Kind, LONGEST, Writer};

/// An error that one side tells the other before it closes the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The error code.
    pub code: u8,
    /// The error subcode.
    pub subcode: u8,
    /// What the error is about.
    pub data: Vec<u8>,
}

/// Every error that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Their names are those of the registry; `NAMES` has them.
pub enum Cause {
    NotSynchronized,
    BadLength,
    BadType,
    OpenMalformed,
    UnsupportedVersion,
    BadPeerAs,
    BadIdentifier,
    UnsupportedParameter,
    UnacceptableHoldTime,
    UnsupportedCapability,
    MalformedAttributeList,
    UnrecognizedWellKnown,
    OptionalAttribute,
    InvalidNetwork,
    HoldTimerExpired,
    UnexpectedInOpenSent,
    UnexpectedInOpenConfirm,
    UnexpectedInEstablished,
    AdministrativeShutdown,
    PeerDeconfigured,
    ConfigurationChange,
    BfdDown,
    SendHoldTimerExpired,
}

impl Cause {
    /// Error code and subcode.
    const fn codes(self) -> (u8, u8) {
        match self {
            Self::NotSynchronized => (1, 1),
            Self::BadLength => (1, 2),
            Self::BadType => (1, 3),
            Self::OpenMalformed => (2, 0),
            Self::UnsupportedVersion => (2, 1),
            Self::BadPeerAs => (2, 2),
            Self::BadIdentifier => (2, 3),
            Self::UnsupportedParameter => (2, 4),
            Self::UnacceptableHoldTime => (2, 6),
            Self::UnsupportedCapability => (2, 7),
            Self::MalformedAttributeList => (3, 1),
            Self::UnrecognizedWellKnown => (3, 2),
            Self::OptionalAttribute => (3, 9),
            Self::InvalidNetwork => (3, 10),
            Self::HoldTimerExpired => (4, 0),
            Self::UnexpectedInOpenSent => (5, 1),
            Self::UnexpectedInOpenConfirm => (5, 2),
            Self::UnexpectedInEstablished => (5, 3),
            Self::AdministrativeShutdown => (6, 2),
            Self::PeerDeconfigured => (6, 3),
            Self::ConfigurationChange => (6, 6),
            Self::BfdDown => (6, 10),
            Self::SendHoldTimerExpired => (8, 0),
        }
    }
}

impl From<Cause> for Notification {
    fn from(cause: Cause) -> Self {
        Self::with(cause, [])
    }
}

/// Subcodes and their names.
type Names = &'static [(u8, &'static str)];

/// The names in IANA's registry "BGP Error (Notification) Codes" and its subcodes.
const NAMES: [(u8, &str, Names); 8] = [
    (
        1,
        "Message Header Error",
        &[(1, "Connection Not Synchronized"), (2, "Bad Message Length"), (3, "Bad Message Type")],
    ),
    (
        2,
        "OPEN Message Error",
        &[
            (1, "Unsupported Version Number"),
            (2, "Bad Peer AS"),
            (3, "Bad BGP Identifier"),
            (4, "Unsupported Optional Parameter"),
            (6, "Unacceptable Hold Time"),
            (7, "Unsupported Capability"),
            (11, "Role Mismatch"),
        ],
    ),
    (
        3,
        "UPDATE Message Error",
        &[
            (1, "Malformed Attribute List"),
            (2, "Unrecognized Well-known Attribute"),
            (3, "Missing Well-known Attribute"),
            (4, "Attribute Flags Error"),
            (5, "Attribute Length Error"),
            (6, "Invalid ORIGIN Attribute"),
            (8, "Invalid NEXT_HOP Attribute"),
            (9, "Optional Attribute Error"),
            (10, "Invalid Network Field"),
            (11, "Malformed AS_PATH"),
        ],
    ),
    (4, "Hold Timer Expired", &[]),
    (
        5,
        "Finite State Machine Error",
        &[
            (1, "Unexpected Message in OpenSent"),
            (2, "Unexpected Message in OpenConfirm"),
            (3, "Unexpected Message in Established"),
        ],
    ),
    (
        6,
        "Cease",
        &[
            (1, "Maximum Number of Prefixes Reached"),
            (2, "Administrative Shutdown"),
            (3, "Peer De-configured"),
            (4, "Administrative Reset"),
            (5, "Connection Rejected"),
            (6, "Other Configuration Change"),
            (7, "Connection Collision Resolution"),
            (8, "Out of Resources"),
            (9, "Hard Reset"),
            (10, "BFD Down"),
        ],
    ),
    (7, "ROUTE-REFRESH Message Error", &[(1, "Invalid Message Length")]),
    (8, "Send Hold Timer Expired", &[]),
];

impl Notification {
    /// One with data.
    #[must_use]
    pub fn with(cause: Cause, data: impl Into<Vec<u8>>) -> Self {
        let (code, subcode) = cause.codes();
        Self { code, subcode, data: data.into() }
    }

    /// Reads what follows the header; there is no answer to a wrong one (RFC 4271 section 6.4).
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        let [code, subcode, data @ ..] = body else { return None };
        Some(Self { code: *code, subcode: *subcode, data: data.to_vec() })
    }

    /// The message. Data that would not fit is cut.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut message = Writer::new(Kind::Notification);
        message.0.extend([self.code, self.subcode]);
        message.0.extend(self.data.iter().take(LONGEST - HEADER - 2));
        message.finish()
    }

    /// What an administrator wrote (RFC 9003), for a Cease that may have it.
    #[must_use]
    pub fn shutdown_communication(&self) -> Option<String> {
        let [length, text @ ..] = self.data.as_slice() else { return None };
        let text = text.get(..usize::from(*length)).filter(|text| !text.is_empty())?;
        let line = |c: char| if c.is_control() { ' ' } else { c };
        let says = self.code == 6 && matches!(self.subcode, 2 | 4);
        says.then(|| String::from_utf8_lossy(text).chars().map(line).collect())
    }

    /// What a reader may do about it, for those errors that have one likely cause.
    pub(in super::super) const fn advice(&self) -> Option<&'static str> {
        match (self.code, self.subcode) {
            (2, 2) => Some("compare the AS numbers of both sides"),
            (2, 3) => Some("both sides may have the same router id"),
            (2, 7) => Some("no address family is common to both sides"),
            (4, _) => Some("nothing was heard within the hold time"),
            (6, 1) => Some("the router takes fewer prefixes than are announced"),
            (6, 3 | 5) => Some("the router may not have this node's address as a neighbour"),
            _ => None,
        }
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, subcode, .. } = self;
        let Some((_, name, subcodes)) = NAMES.iter().find(|(known, ..)| known == code) else {
            return write!(f, "error {code}/{subcode}");
        };
        f.write_str(name)?;
        match subcodes.iter().find(|(known, _)| known == subcode) {
            Some((_, subname)) => write!(f, ", {subname}")?,
            None if *subcode == 0 => {}
            None => write!(f, ", subcode {subcode}")?,
        }
        match self.shutdown_communication() {
            Some(text) => write!(f, " ({text:?})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(code: u8, subcode: u8, data: &[u8]) -> String {
        Notification { code, subcode, data: data.to_vec() }.to_string()
    }

    #[test]
    fn errors_are_shown_by_their_names() {
        assert_eq!(shown(2, 2, &[]), "OPEN Message Error, Bad Peer AS");
        assert_eq!(shown(4, 0, &[]), "Hold Timer Expired");
        assert_eq!(shown(6, 10, &[]), "Cease, BFD Down");
        assert_eq!(shown(6, 77, &[]), "Cease, subcode 77");
        assert_eq!(shown(99, 1, &[]), "error 99/1");
    }

    #[test]
    fn an_administrator_is_quoted_and_cannot_write_lines_of_his_own() {
        assert_eq!(shown(6, 2, b"\x05a\nb c"), "Cease, Administrative Shutdown (\"a b c\")");
        assert_eq!(shown(6, 2, &[0]), "Cease, Administrative Shutdown");
        assert_eq!(shown(6, 2, &[200, b'a']), "Cease, Administrative Shutdown");
        assert_eq!(shown(6, 3, b"\x01a"), "Cease, Peer De-configured");
    }

    #[test]
    fn it_is_read_as_it_is_written() {
        let sent = Notification::with(Cause::UnsupportedVersion, [0, 4]);
        assert_eq!(Notification::decode(&sent.encode()[HEADER..]), Some(sent));
        assert_eq!(Notification::decode(&[6]), None);
        assert_eq!(Notification::with(Cause::BadType, vec![0; 9000]).encode().len(), LONGEST);
    }
}
