//! How a session is run: the fields of MetalLB's BFDProfile, and what they come to.

use std::{num::NonZeroU8, time::Duration};

/// MetalLB's default of receiveInterval and transmitInterval, in milliseconds.
const DEFAULT_INTERVAL: u32 = 300;
/// MetalLB's default of detectMultiplier.
const DEFAULT_MULTIPLIER: u32 = 3;
/// MetalLB's default of minimumTtl.
const DEFAULT_TTL: u32 = 254;

/// The fields of a BFDProfile, as they are written; intervals in milliseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileFields {
    /// The least interval at which packets can be received: 10 to 60000, 300 by default.
    pub receive_interval: Option<u32>,
    /// The least interval at which packets are sent: 10 to 60000, 300 by default.
    pub transmit_interval: Option<u32>,
    /// After how many lost packets the path is down: 2 to 255, 3 by default.
    pub detect_multiplier: Option<u32>,
    /// Means nothing without `echo_mode`, as with MetalLB.
    pub echo_interval: Option<u32>,
    /// Refused when true.
    pub echo_mode: Option<bool>,
    /// Whether nothing is sent before the peer has.
    pub passive_mode: Option<bool>,
    /// The least TTL of received packets with multihop: 1 to 254, 254 by default.
    pub minimum_ttl: Option<u32>,
}

/// Why a profile cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Echo packets are not sent.
    #[error(
        "echoMode is not supported, since echo packets would have to be looped by the peer's forwarding: remove it, and \
         set receiveInterval and transmitInterval to the time in which a failure has to be found"
    )]
    Echo,
    /// A number that is out of its range.
    #[error("{field} is {value}: set it to {least} to {most}")]
    OutOfRange {
        /// Which.
        field: &'static str,
        /// What it is.
        value: u32,
        /// The least that it may be.
        least: u32,
        /// The most that it may be.
        most: u32,
    },
}

/// How a session is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The least interval at which packets can be received.
    pub receive_interval: Duration,
    /// The least interval at which packets are sent.
    pub transmit_interval: Duration,
    /// After how many lost packets the peer takes this end for gone.
    pub detect_multiplier: NonZeroU8,
    /// Whether nothing is sent before the peer has (RFC 5880, section 6.1).
    pub passive: bool,
    /// The least TTL of received packets with multihop. A single hop needs 255 (RFC 5881, section 5).
    pub minimum_ttl: u8,
}

impl Profile {
    /// What the fields of a BFDProfile come to.
    ///
    /// # Errors
    /// The first field that cannot be used, and what to set it to.
    pub fn new(fields: &ProfileFields) -> Result<Self, ProfileError> {
        if fields.echo_mode == Some(true) {
            return Err(ProfileError::Echo);
        }
        let interval = |field, value: Option<u32>| {
            within(field, value.unwrap_or(DEFAULT_INTERVAL), 10, 60_000)
                .map(|milliseconds| Duration::from_millis(milliseconds.into()))
        };
        let multiplier = fields.detect_multiplier.unwrap_or(DEFAULT_MULTIPLIER);
        let ttl = fields.minimum_ttl.unwrap_or(DEFAULT_TTL);
        Ok(Self {
            receive_interval: interval("receiveInterval", fields.receive_interval)?,
            transmit_interval: interval("transmitInterval", fields.transmit_interval)?,
            detect_multiplier: NonZeroU8::MIN
                .saturating_add(within("detectMultiplier", multiplier, 2, 255)? as u8 - 1),
            passive: fields.passive_mode.unwrap_or_default(),
            minimum_ttl: within("minimumTtl", ttl, 1, 254)? as u8,
        })
    }
}

fn within(field: &'static str, value: u32, least: u32, most: u32) -> Result<u32, ProfileError> {
    match (least..=most).contains(&value) {
        true => Ok(value),
        false => Err(ProfileError::OutOfRange { field, value, least, most }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_metallb() {
        let profile = Profile::new(&ProfileFields::default()).unwrap();
        assert_eq!(profile.receive_interval, Duration::from_millis(300));
        assert_eq!(profile.transmit_interval, Duration::from_millis(300));
        assert_eq!((profile.detect_multiplier.get(), profile.minimum_ttl, profile.passive), (3, 254, false));
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_its_name() {
        let none = ProfileFields::default;
        let rows = [
            (
                ProfileFields { receive_interval: Some(9), ..none() },
                "receiveInterval is 9: set it to 10 to 60000",
            ),
            (ProfileFields { transmit_interval: Some(60_001), ..none() }, "transmitInterval is 60001"),
            (
                ProfileFields { detect_multiplier: Some(1), ..none() },
                "detectMultiplier is 1: set it to 2 to 255",
            ),
            (ProfileFields { detect_multiplier: Some(256), ..none() }, "detectMultiplier is 256"),
            (ProfileFields { minimum_ttl: Some(255), ..none() }, "minimumTtl is 255: set it to 1 to 254"),
            (ProfileFields { echo_mode: Some(true), ..none() }, "echoMode is not supported"),
        ];
        for (fields, reason) in rows {
            let error = Profile::new(&fields).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
        let without_effect = ProfileFields { echo_interval: Some(50), echo_mode: Some(false), ..none() };
        assert_eq!(Profile::new(&without_effect), Profile::new(&none()));
        let most = ProfileFields { detect_multiplier: Some(255), passive_mode: Some(true), ..none() };
        let most = Profile::new(&most).unwrap();
        assert_eq!((most.detect_multiplier.get(), most.passive), (255, true));
    }
}
