//! The cluster's DNS, whoever answers it, asked for a name.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::topology::{CLUSTER_DNS, Place};
use crate::wait::{Look, until};

/// How long it may take to have read the cluster's Services; it bounds the wait for a broken one.
const READY: Duration = Duration::from_secs(60);

/// The name of its own Service: it has an address wherever there is a DNS.
const PROBE: &str = "kube-dns.kube-system.svc.cluster.local";

/// Waits until `server` says the address of the DNS' own Service to who asks from `place`.
///
/// # Errors
/// When it does not; with what it says instead.
pub async fn wait_for_an_answer(cluster: &Cluster, place: Place, server: Ipv4Addr) -> Result<()> {
    until("an answer of the cluster's DNS", READY, || async {
        let asked = cluster.run_in(place, &["busybox", "nslookup", PROBE, &server.to_string()]).await?;
        let said = String::from_utf8_lossy(&asked.stdout).into_owned();
        Ok(if has_address(&said, CLUSTER_DNS) {
            Look::Ready(())
        } else {
            Look::NotYet(said.trim().to_owned())
        })
    })
    .await
}

/// Whether busybox' nslookup found this address. Of the server it says the address too, with a port.
fn has_address(said: &str, address: Ipv4Addr) -> bool {
    let found = said.lines().filter_map(|line| line.strip_prefix("Address:")).map(str::trim);
    found.into_iter().any(|found| found == address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_own_address_is_no_answer() {
        let nothing = "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\n** server can't find it: NXDOMAIN\n";
        assert!(!has_address(nothing, CLUSTER_DNS));
        let found =
            "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\nName:\tkube-dns\nAddress: 10.96.0.10\n\n";
        assert!(has_address(found, CLUSTER_DNS));
    }
}
