//! Which foreign claims deserve a line in the log: a host may send thousands, each as if from another station.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::mac::Mac;

/// Between two lines about the same address and station.
const INTERVAL: Duration = Duration::from_secs(60);
/// Address and station pairs that are remembered. While all of them are recent, new ones are not logged; the
/// metric counts every claim.
const CAPACITY: usize = 256;

/// When each claim was logged last.
#[derive(Debug, Default)]
pub(crate) struct ClaimLog {
    logged: BTreeMap<(IpAddr, Mac), Instant>,
}

impl ClaimLog {
    /// Whether a claim heard now is to be logged.
    pub(crate) fn admits(&mut self, address: IpAddr, by: Mac, now: Instant) -> bool {
        let recent = |at: &Instant| now.saturating_duration_since(*at) < INTERVAL;
        if self.logged.get(&(address, by)).is_some_and(recent) {
            return false;
        }
        if self.logged.len() >= CAPACITY {
            self.logged.retain(|_, at| recent(at));
        }
        let room = self.logged.len() < CAPACITY;
        if room {
            self.logged.insert((address, by), now);
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 200));

    fn mac(n: usize) -> Mac {
        let n = n.to_be_bytes();
        Mac([2, 0, 0, 0, n[6], n[7]])
    }

    #[test]
    fn each_station_and_address_is_logged_once_a_minute() {
        let (mut log, start) = (ClaimLog::default(), Instant::now());
        assert!(log.admits(VIP, mac(1), start));
        assert!(!log.admits(VIP, mac(1), start + INTERVAL - Duration::from_millis(1)));
        assert!(log.admits(VIP, mac(2), start), "another station");
        assert!(log.admits(Ipv4Addr::new(203, 0, 113, 201).into(), mac(1), start), "another address");
        assert!(log.admits(VIP, mac(1), start + INTERVAL));
    }

    #[test]
    fn invented_stations_take_neither_memory_nor_the_log_for_longer_than_a_minute() {
        let (mut log, start) = (ClaimLog::default(), Instant::now());
        let admitted = (0..10 * CAPACITY).filter(|n| log.admits(VIP, mac(*n), start)).count();
        assert_eq!((admitted, log.logged.len()), (CAPACITY, CAPACITY));
        assert!(log.admits(VIP, mac(60_000), start + INTERVAL));
        assert_eq!(log.logged.len(), 1);
    }
}
