//! Values that this module's tests begin with.

use std::time::Duration;

use super::{Distance, NextHops, Peer, RemoteAsn};

/// A router in AS 64513, of a node in AS 64512.
pub(super) fn peer() -> Peer {
    Peer {
        address: [192, 0, 2, 1].into(),
        port: 179,
        local_asn: 64512,
        remote_asn: RemoteAsn::Exactly(64513),
        router_id: [10, 0, 0, 1].into(),
        source: None,
        hold_time: Duration::from_secs(90),
        keepalive: None,
        connect_retry: Duration::from_secs(10),
        password: None,
        distance: Distance::Usual,
        graceful_restart: None,
        next_hops: NextHops::default(),
    }
}
