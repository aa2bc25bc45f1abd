//! Where a message begins and ends (RFC 4271 section 4.1).

use super::{Cause, Notification};

/// The length of a message's header.
pub const HEADER: usize = 19;
/// The longest message; extended ones (RFC 8654) are not offered.
pub const LONGEST: usize = 4096;

const MARKER: [u8; 16] = [0xff; 16];

/// A message's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The first message of each side.
    Open = 1,
    /// Routes.
    Update = 2,
    /// An error, which ends the session.
    Notification = 3,
    /// Still there.
    Keepalive = 4,
    /// Asks for all routes again (RFC 2918).
    RouteRefresh = 5,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Open, Self::Update, Self::Notification, Self::Keepalive, Self::RouteRefresh]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// Whether a message of this type may have this length (RFC 4271 section 6.1, RFC 2918 section 3).
    const fn allows(self, length: usize) -> bool {
        match self {
            Self::Open => length >= 29,
            Self::Update => length >= 23,
            Self::Notification => length >= 21,
            Self::Keepalive => length == HEADER,
            Self::RouteRefresh => length == 23,
        }
    }
}

/// A whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its type.
    pub kind: Kind,
    /// What follows the header.
    pub body: &'a [u8],
}

impl Frame<'_> {
    /// Its length with the header.
    #[must_use]
    pub const fn length(&self) -> usize {
        HEADER + self.body.len()
    }
}

/// The first message of what was received, once all of it is there.
///
/// # Errors
/// The NOTIFICATION for a wrong header (RFC 4271 section 6.1). It needs no more than the header to be there, so that
/// no more than [`LONGEST`] bytes ever have to be kept.
pub fn next_frame(received: &[u8]) -> Result<Option<Frame<'_>>, Notification> {
    let Some((header, _)) = received.split_first_chunk::<HEADER>() else { return Ok(None) };
    let (marker, [high, low, kind]) = (&header[..16], [header[16], header[17], header[18]]);
    if marker != MARKER {
        return Err(Cause::NotSynchronized.into());
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    let bad_length = || Notification::with(Cause::BadLength, [high, low]);
    if !(HEADER..=LONGEST).contains(&length) {
        return Err(bad_length());
    }
    let kind = Kind::from_byte(kind).ok_or_else(|| Notification::with(Cause::BadType, [kind]))?;
    if !kind.allows(length) {
        return Err(bad_length());
    }
    Ok(received.get(HEADER..length).map(|body| Frame { kind, body }))
}

/// A message that is written front to back, whose length is set at its end.
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn new(kind: Kind) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(MARKER);
        bytes.extend([0, 0, kind as u8]);
        Self(bytes)
    }

    /// Whoever writes keeps to [`LONGEST`].
    pub(super) fn finish(mut self) -> Vec<u8> {
        debug_assert!(self.0.len() <= LONGEST, "a message of {} bytes", self.0.len());
        let length = u16::try_from(self.0.len()).unwrap_or(u16::MAX);
        self.0[16..18].copy_from_slice(&length.to_be_bytes());
        self.0
    }
}

/// A KEEPALIVE.
pub const KEEPALIVE: [u8; HEADER] = {
    let mut bytes = [0xff; HEADER];
    bytes[16] = 0;
    bytes[17] = HEADER as u8;
    bytes[18] = Kind::Keepalive as u8;
    bytes
};

#[cfg(test)]
mod tests {
    use super::*;

    fn header(length: u16, kind: u8) -> Vec<u8> {
        let [high, low] = length.to_be_bytes();
        [&MARKER[..], &[high, low, kind]].concat()
    }

    #[test]
    fn a_message_is_there_when_all_of_it_is() {
        let mut bytes = header(23, 2);
        bytes.extend([1, 2, 3]);
        for length in 0..bytes.len() {
            assert_eq!(next_frame(&bytes[..length]), Ok(None));
        }
        bytes.extend([4, 0xff]);
        assert_eq!(next_frame(&bytes), Ok(Some(Frame { kind: Kind::Update, body: &[1, 2, 3, 4] })));
        assert_eq!(next_frame(&KEEPALIVE), Ok(Some(Frame { kind: Kind::Keepalive, body: &[] })));
    }

    #[test]
    fn wrong_headers_are_answered_as_rfc_4271_section_6_1_says() {
        let mut unsynchronized = header(19, 4);
        unsynchronized[3] = 0;
        let answer = |bytes: &[u8]| {
            let Notification { code, subcode, data } = next_frame(bytes).unwrap_err();
            (code, subcode, data)
        };
        assert_eq!(answer(&unsynchronized), (1, 1, vec![]));
        for (length, kind) in
            [(0, 4), (18, 4), (4097, 2), (65535, 2), (20, 4), (28, 1), (22, 2), (20, 3), (24, 5), (22, 5)]
        {
            let [high, low] = u16::to_be_bytes(length);
            assert_eq!(answer(&header(length, kind)), (1, 2, vec![high, low]), "{length} of type {kind}");
        }
        for kind in [0, 6, 255] {
            assert_eq!(answer(&header(19, kind)), (1, 3, vec![kind]));
        }
    }
}
