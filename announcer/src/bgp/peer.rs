//! What is to be known of a router to talk to it.

use std::{fmt, net::IpAddr, net::Ipv4Addr, num::NonZeroU8, time::Duration};

/// A session that should be: a pure value. Sessions whose value changes are opened anew, others are left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The router's address.
    pub address: IpAddr,
    /// Its TCP port.
    pub port: u16,
    /// The AS that we say we are in.
    pub local_asn: u32,
    /// The AS that the router may be in.
    pub remote_asn: RemoteAsn,
    /// Our BGP identifier.
    pub router_id: Ipv4Addr,
    /// Where the session comes from; without it the kernel chooses.
    pub source: Option<IpAddr>,
    /// Proposed hold time: zero, or at least 3 s (RFC 4271, section 4.2).
    pub hold_time: Duration,
    /// Time between KEEPALIVEs; without it a third of the agreed hold time.
    pub keepalive: Option<Duration>,
    /// How long an attempt may take. After one that failed the next begins at most so long after: from 1 s on the rest
    /// doubles with each failure.
    pub connect_retry: Duration,
    /// TCP-MD5 (RFC 2385).
    pub password: Option<Password>,
    /// How far away the router may be.
    pub distance: Distance,
    /// Whether the router is asked to keep our routes for so long while we restart (RFC 4724).
    pub graceful_restart: Option<Duration>,
    /// Next hops for the family that the session itself does not have an address of.
    pub next_hops: NextHops,
}

/// Which AS a router may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteAsn {
    /// This one.
    Exactly(u32),
    /// Ours.
    Internal,
    /// Any but ours.
    External,
}

/// How far away a router may be. It decides the TTL of what is sent, and the lowest TTL that is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Distance {
    /// Another AS's router must be on our segment; a router of ours may be anywhere.
    #[default]
    Usual,
    /// Anywhere (`ebgpMultiHop`).
    Anywhere,
    /// At most so many hops, and packets prove it (GTSM, RFC 5082).
    Within(NonZeroU8),
}

/// This node's addresses, for next hops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextHops {
    /// Of IPv4 prefixes, where the session runs over IPv6.
    pub v4: Option<Ipv4Addr>,
    /// Of IPv6 prefixes, where the session runs over IPv4.
    pub v6: Option<std::net::Ipv6Addr>,
}

/// A password that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub Vec<u8>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}
