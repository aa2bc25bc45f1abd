//! How a session is run: what a BFDProfile comes to.

use std::{num::NonZeroU8, time::Duration};

use penstock_crds::BFDProfileSpec;

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
    /// What a BFDProfile comes to. Its ranges are looked at again: it may be older than the API server's rules. An
    /// `echoInterval` means nothing without `echoMode`, as with MetalLB.
    ///
    /// # Errors
    /// The first field that cannot be used, and what to set it to.
    pub fn new(spec: &BFDProfileSpec) -> Result<Self, ProfileError> {
        if spec.echo_mode {
            return Err(ProfileError::Echo);
        }
        let interval = |field, value: u32| {
            within(field, value, 10, 60_000).map(|milliseconds| Duration::from_millis(milliseconds.into()))
        };
        let multiplier = within("detectMultiplier", spec.detect_multiplier.into(), 2, 255)?;
        Ok(Self {
            receive_interval: interval("receiveInterval", spec.receive_interval)?,
            transmit_interval: interval("transmitInterval", spec.transmit_interval)?,
            detect_multiplier: NonZeroU8::MIN.saturating_add(multiplier as u8 - 1),
            passive: spec.passive_mode,
            minimum_ttl: within("minimumTtl", spec.minimum_ttl.into(), 1, 254)? as u8,
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
        let profile = Profile::new(&BFDProfileSpec::default()).unwrap();
        assert_eq!(profile.receive_interval, Duration::from_millis(300));
        assert_eq!(profile.transmit_interval, Duration::from_millis(300));
        assert_eq!((profile.detect_multiplier.get(), profile.minimum_ttl, profile.passive), (3, 254, false));
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_its_name() {
        let good = BFDProfileSpec::default;
        let rows = [
            (BFDProfileSpec { receive_interval: 9, ..good() }, "receiveInterval is 9: set it to 10 to 60000"),
            (BFDProfileSpec { transmit_interval: 60_001, ..good() }, "transmitInterval is 60001"),
            (BFDProfileSpec { detect_multiplier: 1, ..good() }, "detectMultiplier is 1: set it to 2 to 255"),
            (BFDProfileSpec { minimum_ttl: 255, ..good() }, "minimumTtl is 255: set it to 1 to 254"),
            (BFDProfileSpec { minimum_ttl: 0, ..good() }, "minimumTtl is 0"),
            (BFDProfileSpec { echo_mode: true, ..good() }, "echoMode is not supported"),
        ];
        for (spec, reason) in rows {
            let error = Profile::new(&spec).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
        let without_effect = BFDProfileSpec { echo_interval: 60, ..good() };
        assert_eq!(Profile::new(&without_effect), Profile::new(&good()));
        let most = BFDProfileSpec { detect_multiplier: 255, passive_mode: true, ..good() };
        let most = Profile::new(&most).unwrap();
        assert_eq!((most.detect_multiplier.get(), most.passive), (255, true));
    }
}
