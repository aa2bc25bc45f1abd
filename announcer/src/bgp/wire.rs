//! The messages of BGP-4 as bytes (RFC 4271 section 4): only what a speaker that announces needs.
//!
//! Every error of a received message is the NOTIFICATION that answers it (section 6).

mod frame;
mod notification;
mod open;
mod received;
mod update;

use ipnet::IpNet;

pub use frame::{Frame, HEADER, KEEPALIVE, Kind, LONGEST, next_frame};
pub use notification::{Cause, Notification};
pub use open::{Capabilities, GracefulRestart, Open};
pub use received::{Remark, check_update};
pub use update::Encoder;

/// An address family of unicast prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 (AFI 1).
    V4,
    /// IPv6 (AFI 2).
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// A prefix's.
    #[must_use]
    pub const fn of(prefix: &IpNet) -> Self {
        match prefix {
            IpNet::V4(_) => Self::V4,
            IpNet::V6(_) => Self::V6,
        }
    }

    const fn afi(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }

    /// That of an AFI and SAFI, if it is one of ours.
    pub(super) fn from_afi_safi(afi: u16, safi: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.afi() == afi && safi == UNICAST)
    }

    /// The longest prefix, in bits.
    const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

/// The SAFI of unicast.
const UNICAST: u8 = 1;

/// What a 2-byte field has for an AS that does not fit (RFC 6793).
const AS_TRANS: u16 = 23456;

/// Bytes that are read from the front; `None` where there are too few.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
