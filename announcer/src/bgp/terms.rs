//! What the values of a [`Peer`] come to for its session, and those that can come to none.

use std::time::Duration;

use super::{Distance, Peer, RemoteAsn};

/// The longest key that the kernel takes for TCP-MD5 (`TCP_MD5SIG_MAXKEYLEN`), in bytes.
pub(super) const LONGEST_PASSWORD: usize = 80;

/// Why no session is tried with a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// RFC 7607.
    #[error("0 is no AS; give the AS of the node and of the router")]
    AsZero,
    /// RFC 6286.
    #[error("0.0.0.0 is no router id; give one that is unique in its AS")]
    RouterId,
    /// RFC 4271 section 4.2.
    #[error("a hold time of {0:?} is not possible; use 0 s, or 3 s to 65535 s")]
    HoldTime(Duration),
    /// The field has twelve bits (RFC 4724 section 3).
    #[error("a restart time of {0:?} is not possible; use 1 s to 4095 s")]
    RestartTime(Duration),
    /// A timer that would never rest.
    #[error("the keepalive time and the connect time have to be more than 0 s")]
    ZeroTime,
    /// They could not be connected.
    #[error("the source address is of another family than the router's address; use one of the same")]
    SourceFamily,
    /// The kernel would not take it.
    #[error("the password has {0} bytes; TCP-MD5 takes 1 to 80")]
    Password(usize),
}

impl Peer {
    /// Whether a session can be had at all.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), PeerError> {
        if self.local_asn == 0 || self.remote_asn == RemoteAsn::Exactly(0) {
            return Err(PeerError::AsZero);
        }
        if self.router_id.is_unspecified() {
            return Err(PeerError::RouterId);
        }
        self.check_times()?;
        if self.source.is_some_and(|source| source.is_ipv4() != self.address.is_ipv4()) {
            return Err(PeerError::SourceFamily);
        }
        match self.password.as_ref().map(|password| password.0.len()) {
            Some(length) if !(1..=LONGEST_PASSWORD).contains(&length) => Err(PeerError::Password(length)),
            _ => Ok(()),
        }
    }

    fn check_times(&self) -> Result<(), PeerError> {
        let acceptable = (3..=u64::from(u16::MAX)).contains(&self.hold_time.as_secs());
        if !self.hold_time.is_zero() && !acceptable {
            return Err(PeerError::HoldTime(self.hold_time));
        }
        if self.connect_retry.is_zero() || self.keepalive.is_some_and(|time| time.is_zero()) {
            return Err(PeerError::ZeroTime);
        }
        match self.graceful_restart {
            Some(time) if !(1..=4095).contains(&time.as_secs()) => Err(PeerError::RestartTime(time)),
            _ => Ok(()),
        }
    }

    /// Whether an AS is one that the router may be in.
    pub(super) fn expects(&self, asn: u32) -> bool {
        asn != 0
            && match self.remote_asn {
                RemoteAsn::Exactly(wanted) => asn == wanted,
                RemoteAsn::Internal => asn == self.local_asn,
                RemoteAsn::External => asn != self.local_asn,
            }
    }

    /// Whether the session is between two ASes.
    pub(super) fn is_external(&self) -> bool {
        match self.remote_asn {
            RemoteAsn::Exactly(asn) => asn != self.local_asn,
            RemoteAsn::Internal => false,
            RemoteAsn::External => true,
        }
    }

    /// The TTL of what is sent, and the lowest that is accepted; `None` is the kernel's choice.
    pub(super) fn ttl(&self) -> (Option<u8>, Option<u8>) {
        match self.distance {
            Distance::Usual if self.is_external() => (Some(1), None),
            Distance::Usual | Distance::Anywhere => (None, None),
            // RFC 5082: a packet loses one at each router, so that the neighbour's come with 255.
            Distance::Within(hops) => (Some(u8::MAX), Some(u8::MAX - (hops.get() - 1))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::bgp::{Password, fixture::peer};

    #[test]
    fn what_cannot_be_is_refused_with_what_to_change() {
        assert_eq!(peer().check(), Ok(()));
        let refused = |change: &dyn Fn(&mut Peer)| {
            let mut peer = peer();
            change(&mut peer);
            peer.check().unwrap_err().to_string()
        };
        for seconds in [1, 2, 65536] {
            let text = refused(&|peer| peer.hold_time = Duration::from_secs(seconds));
            assert!(text.contains("use 0 s, or 3 s to 65535 s"), "{text}");
        }
        assert!(refused(&|peer| peer.hold_time = Duration::from_millis(500)).contains("500ms"));
        assert!(refused(&|peer| peer.remote_asn = RemoteAsn::Exactly(0)).contains("no AS"));
        assert!(refused(&|peer| peer.local_asn = 0).contains("no AS"));
        assert!(refused(&|peer| peer.router_id = [0; 4].into()).contains("router id"));
        assert!(refused(&|peer| peer.keepalive = Some(Duration::ZERO)).contains("more than 0 s"));
        for seconds in [0, 4096] {
            let text = refused(&|peer| peer.graceful_restart = Some(Duration::from_secs(seconds)));
            assert!(text.contains("use 1 s to 4095 s"), "{text}");
        }
        assert!(refused(&|peer| peer.source = Some(Ipv6Addr::LOCALHOST.into())).contains("family"));
        assert!(refused(&|peer| peer.password = Some(Password(vec![]))).contains("0 bytes"));
        assert!(refused(&|peer| peer.password = Some(Password(vec![b'x'; 81]))).contains("81 bytes"));
    }

    #[test]
    fn a_hold_time_of_none_and_the_longest_are_taken() {
        for seconds in [0, 3, 65535] {
            assert_eq!(Peer { hold_time: Duration::from_secs(seconds), ..peer() }.check(), Ok(()));
        }
    }

    #[test]
    fn the_remote_as_is_exact_or_said_by_its_relation() {
        let with = |remote_asn| Peer { remote_asn, ..peer() };
        assert!(with(RemoteAsn::Internal).expects(64512) && !with(RemoteAsn::Internal).expects(64513));
        assert!(with(RemoteAsn::External).expects(64513) && !with(RemoteAsn::External).expects(64512));
        assert!(!with(RemoteAsn::External).expects(0));
        let same = with(RemoteAsn::Exactly(64512));
        assert!(same.expects(64512) && !same.expects(64513) && !same.is_external());
    }

    #[test]
    fn the_distance_decides_about_ttls() {
        let ttl = |distance, remote_asn| Peer { distance, remote_asn, ..peer() }.ttl();
        assert_eq!(ttl(Distance::Usual, RemoteAsn::External), (Some(1), None));
        assert_eq!(ttl(Distance::Usual, RemoteAsn::Internal), (None, None));
        assert_eq!(ttl(Distance::Anywhere, RemoteAsn::External), (None, None));
        let within = |hops: u8| Distance::Within(hops.try_into().unwrap());
        assert_eq!(ttl(within(1), RemoteAsn::External), (Some(255), Some(255)));
        assert_eq!(ttl(within(255), RemoteAsn::Internal), (Some(255), Some(1)));
    }
}
