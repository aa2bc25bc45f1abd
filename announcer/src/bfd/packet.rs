//! The control packet (RFC 5880, section 4.1), and which packets are discarded unseen (section 6.8.6).
//!
//! There is no authentication: packets that carry it are discarded, as the RFC wants of a session without.

use std::num::{NonZeroU8, NonZeroU32};

/// A packet without authentication, in bytes.
pub const LENGTH: usize = 24;
/// The least that a packet with authentication has.
const AUTHENTICATED_LENGTH: u8 = 26;

/// What one end says of the session (RFC 5880, section 4.1, "Sta").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Held down by its operator, which says nothing of the path.
    AdminDown,
    /// Nothing is heard, or the other end hears nothing.
    Down,
    /// The other end is heard.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }
}

/// Why an end last left a state: a number of 5 bits (RFC 5880, section 4.1, "Diag").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Diagnostic(u8);

impl Diagnostic {
    /// No diagnostic.
    pub const NONE: Self = Self(0);
    /// Control Detection Time Expired: no packet was heard for the detection time.
    pub const EXPIRED: Self = Self(1);
    /// Neighbor Signaled Session Down.
    pub const NEIGHBOR_DOWN: Self = Self(3);
    /// Administratively Down.
    pub const ADMINISTRATIVE: Self = Self(7);
}

impl std::fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self.0 {
            0 => "no diagnostic",
            1 => "control detection time expired",
            2 => "echo function failed",
            3 => "neighbor signaled session down",
            4 => "forwarding plane reset",
            5 => "path down",
            6 => "concatenated path down",
            7 => "administratively down",
            8 => "reverse concatenated path down",
            other => return write!(f, "diagnostic {other}"),
        };
        f.write_str(name)
    }
}

/// A control packet that was not discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender last left a state.
    pub diagnostic: Diagnostic,
    /// The sender's state.
    pub state: State,
    /// It wants an answer with `final_`.
    pub poll: bool,
    /// It answers a packet with `poll`.
    pub final_: bool,
    /// The sender's BFD goes on without its control plane.
    pub control_plane_independent: bool,
    /// Nothing is to be sent to it while the session is up, unless for a poll.
    pub demand: bool,
    /// After how many silent intervals of this sender it is gone.
    pub detect_multiplier: NonZeroU8,
    /// The sender's number of the session.
    pub my_discriminator: NonZeroU32,
    /// The receiver's number of the session; none while the sender does not know it.
    pub your_discriminator: Option<NonZeroU32>,
    /// The least interval at which it would send, in microseconds.
    pub desired_min_tx: u32,
    /// The least interval at which it can receive, in microseconds; with 0 it wants none.
    pub required_min_rx: u32,
    /// The same of echo packets; with 0 it wants none.
    pub required_min_echo_rx: u32,
}

/// Why a packet was discarded before its session saw it (RFC 5880, section 6.8.6, in its order).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// There are fewer bytes than the fixed part has.
    #[error("it is shorter than a control packet")]
    Truncated,
    /// Of another version.
    #[error("its version is {0} and not 1")]
    Version(u8),
    /// Its own length is less than a packet has.
    #[error("its length field says {0}")]
    Length(u8),
    /// Its own length is more than what arrived.
    #[error("its length field says {0}, which is more than has arrived")]
    LengthBeyondPayload(u8),
    /// A detection multiplier of zero.
    #[error("its detection multiplier is zero")]
    DetectMultiplier,
    /// The multipoint bit.
    #[error("it has the multipoint bit")]
    Multipoint,
    /// No discriminator of the sender.
    #[error("the sender's discriminator is zero")]
    MyDiscriminator,
    /// It knows no discriminator of ours, although it says that it heard us.
    #[error("it has no discriminator of ours in state {0:?}")]
    YourDiscriminator(State),
    /// It is authenticated, and no session here is.
    #[error("it is authenticated, and authentication is not in use")]
    Authenticated,
    /// Poll and final at once (RFC 5880, section 6.5: a packet must not have both).
    #[error("it has both the poll and the final bit")]
    PollAndFinal,
    /// There is no session that it belongs to.
    #[error("it belongs to no session")]
    NoSession,
    /// It came from further away than its session allows (RFC 5881, section 5; RFC 5883, section 5).
    #[error("its TTL is {ttl} and has to be at least {minimum}")]
    Ttl {
        /// With which it arrived.
        ttl: u8,
        /// The least.
        minimum: u8,
    },
}

impl Packet {
    /// Reads a packet by all rules that need no session.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(payload: &[u8]) -> Result<Self, Discard> {
        let bytes: &[u8; LENGTH] = payload.first_chunk().ok_or(Discard::Truncated)?;
        let [first, second, multiplier, length, ..] = *bytes;
        let bit = |bit: u8| second & bit != 0;
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let authenticated = bit(0x04);
        check_length(length, authenticated, payload.len(), first >> 5)?;
        let detect_multiplier = NonZeroU8::new(multiplier).ok_or(Discard::DetectMultiplier)?;
        if bit(0x01) {
            return Err(Discard::Multipoint);
        }
        let packet = Self {
            diagnostic: Diagnostic(first & 0x1f),
            state: State::from_bits(second >> 6),
            poll: bit(0x20),
            final_: bit(0x10),
            control_plane_independent: bit(0x08),
            demand: bit(0x02),
            detect_multiplier,
            my_discriminator: NonZeroU32::new(word(4)).ok_or(Discard::MyDiscriminator)?,
            your_discriminator: NonZeroU32::new(word(8)),
            desired_min_tx: word(12),
            required_min_rx: word(16),
            required_min_echo_rx: word(20),
        };
        packet.check(authenticated)
    }

    fn check(self, authenticated: bool) -> Result<Self, Discard> {
        if self.your_discriminator.is_none() && !matches!(self.state, State::Down | State::AdminDown) {
            return Err(Discard::YourDiscriminator(self.state));
        }
        if authenticated {
            return Err(Discard::Authenticated);
        }
        if self.poll && self.final_ {
            return Err(Discard::PollAndFinal);
        }
        Ok(self)
    }

    /// The packet as it is sent.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; LENGTH] {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = bit(self.poll, 0x20)
            | bit(self.final_, 0x10)
            | bit(self.control_plane_independent, 0x08)
            | bit(self.demand, 0x02);
        let mut bytes = [0; LENGTH];
        bytes[0] = 1 << 5 | self.diagnostic.0;
        bytes[1] = self.state.bits() << 6 | flags;
        bytes[2] = self.detect_multiplier.get();
        bytes[3] = LENGTH as u8;
        let words = [
            self.my_discriminator.get(),
            self.your_discriminator.map_or(0, NonZeroU32::get),
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ];
        for (place, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }
}

fn check_length(length: u8, authenticated: bool, arrived: usize, version: u8) -> Result<(), Discard> {
    if version != 1 {
        return Err(Discard::Version(version));
    }
    let least = if authenticated { AUTHENTICATED_LENGTH } else { LENGTH as u8 };
    if length < least {
        return Err(Discard::Length(length));
    }
    if usize::from(length) > arrived {
        return Err(Discard::LengthBeyondPayload(length));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first packet of frr 8.4's bfdd, and bird 2.0.12's first in state up, as they arrived.
    const RECORDED: [[u8; LENGTH]; 2] = [
        [
            0x20, 0x40, 5, 24, 0x7a, 0xe5, 0xb9, 0x3f, 0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 0, 0x0f, 0x42, 0x40,
            0, 0, 0xc3, 0x50,
        ],
        [
            0x20, 0xe0, 5, 24, 0x62, 0x41, 0x83, 0x5d, 0x61, 0x62, 0x63, 0x64, 0, 1, 0x86, 0xa0, 0, 1, 0x86,
            0xa0, 0, 0, 0, 0,
        ],
    ];

    #[test]
    fn recorded_packets_are_read_and_written() {
        for bytes in RECORDED {
            assert_eq!(Packet::parse(&bytes).unwrap().to_bytes(), bytes);
        }
        let up = Packet::parse(&RECORDED[1]).unwrap();
        assert_eq!((up.state, up.poll, up.final_, up.demand), (State::Up, true, false, false));
        assert_eq!((up.detect_multiplier.get(), up.my_discriminator.get()), (5, 0x6241_835d));
        assert_eq!((up.desired_min_tx, up.required_min_rx), (100_000, 100_000));
    }

    /// What is after the packet is not looked at: Ethernet may have padded it.
    #[test]
    fn bytes_behind_the_packet_do_not_matter() {
        let padded = [RECORDED[0].as_slice(), &[0xff; 22]].concat();
        assert_eq!(Packet::parse(&padded), Packet::parse(&RECORDED[0]));
    }

    type Mutation<'a> = &'a dyn Fn(&mut Vec<u8>);

    /// A row for each rule of RFC 5880, section 6.8.6, that needs no session: what is changed in a good packet.
    #[test]
    fn each_rule_of_the_rfc_discards() {
        let rows: [(&str, Mutation<'_>, Discard); 13] = [
            ("version 0", &|b| b[0] = 0, Discard::Version(0)),
            ("version 2", &|b| b[0] = 2 << 5, Discard::Version(2)),
            ("length below 24", &|b| b[3] = 23, Discard::Length(23)),
            ("with A below 26", &|b| (b[1], b[3]) = (b[1] | 4, 24), Discard::Length(24)),
            ("length beyond the payload", &|b| b[3] = 25, Discard::LengthBeyondPayload(25)),
            ("multiplier 0", &|b| b[2] = 0, Discard::DetectMultiplier),
            ("multipoint", &|b| b[1] |= 1, Discard::Multipoint),
            ("my discriminator 0", &|b| b[4..8].fill(0), Discard::MyDiscriminator),
            ("your discriminator 0, up", &|b| b[8..12].fill(0), Discard::YourDiscriminator(State::Up)),
            (
                "your discriminator 0, init",
                &|b| {
                    b[1] = 0x80;
                    b[8..12].fill(0);
                },
                Discard::YourDiscriminator(State::Init),
            ),
            (
                "authenticated",
                &|b| {
                    (b[1], b[3]) = (b[1] | 4, 28);
                    b.extend([1, 4, 1, b'x']);
                },
                Discard::Authenticated,
            ),
            ("poll and final", &|b| b[1] |= 0x30, Discard::PollAndFinal),
            ("too short", &|b| b.truncate(23), Discard::Truncated),
        ];
        for (name, change, discard) in rows {
            let mut bytes = RECORDED[1].to_vec();
            change(&mut bytes);
            assert_eq!(Packet::parse(&bytes), Err(discard), "{name}");
        }
        for state in [0x00, 0x40] {
            let mut bytes = RECORDED[0];
            bytes[1] = state;
            Packet::parse(&bytes).expect("your discriminator 0 is right in Down and AdminDown");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(packet) = Packet::parse(&bytes) {
                prop_assert_eq!(Packet::parse(&packet.to_bytes()), Ok(packet));
            }
        }

        #[test]
        fn no_mutation_of_a_recording_makes_it_panic(
            which in 0..RECORDED.len(),
            changes in prop::collection::vec((0..LENGTH, any::<u8>()), 0..4),
            length in 0..=LENGTH,
        ) {
            let mut bytes = RECORDED[which];
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if let Ok(packet) = Packet::parse(&bytes[..length]) {
                prop_assert_eq!(Packet::parse(&packet.to_bytes()), Ok(packet));
            }
        }
    }
}
