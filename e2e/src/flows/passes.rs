//! How often kube-proxy has gone over all Services, as it counts itself. In mode ipvs it programs them one after the other, in
//! no order, and what is masqueraded or kept out only at the end of a pass (1.36.3, pkg/proxy/ipvs/proxier.go,
//! syncProxyRules): an answer says nothing about other Services. In its other modes all of it is one transaction.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::netns;
use crate::process::Process;
use crate::topology::{Place, Topology};
use crate::wait::{Look, until};

/// Where it serves its metrics.
const METRICS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10_249);
/// It counts one when a pass ends, for each family.
const ENDED: &str = "kubeproxy_sync_proxy_rules_duration_seconds_count";
/// How long it may stay silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// The passes that have ended, by node and family.
type Passes = BTreeMap<(&'static str, String), u64>;

/// Waits until on every node a pass of each family has ended that had not ended at the time of the call. All that an earlier
/// answer proves to be known is carried out then.
///
/// # Errors
/// When a process has ended, or this takes too long.
pub async fn one_more(topology: &Topology, processes: &[Process], limit: Duration) -> Result<()> {
    let before = passes(topology).await?;
    until("the end of a pass over all Services", limit, || async {
        processes.iter().try_for_each(Process::check)?;
        let now = passes(topology).await?;
        let waiting = before.iter().find(|(who, ended)| now.get(*who).is_none_or(|now| now <= *ended));
        Ok(match waiting {
            None => Look::Ready(()),
            Some((who, ended)) => Look::NotYet(format!("{who:?} has made {ended}")),
        })
    })
    .await
}

async fn passes(topology: &Topology) -> Result<Passes> {
    let topology = topology.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let of_node = |place: Place| -> Result<Vec<_>> {
            let text = netns::within(&topology.netns(place), metrics)?;
            let ended = ended(&text);
            ensure!(!ended.is_empty(), "kube-proxy on {} does not count its passes", place.name());
            Ok(ended.into_iter().map(|(family, ended)| ((place.name(), family), ended)).collect())
        };
        Place::NODES.into_iter().map(of_node).collect::<Result<Vec<_>>>()
    });
    Ok(asked.await.context("wait for kube-proxy's metrics")??.into_iter().flatten().collect())
}

/// HTTP/1.0, so that the answer is its text and nothing else.
fn metrics() -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&METRICS, PATIENCE).context("connect to kube-proxy")?;
    stream.set_read_timeout(Some(PATIENCE)).context("set a time-out")?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").context("ask kube-proxy for its metrics")?;
    let mut text = String::new();
    stream.read_to_string(&mut text).context("read kube-proxy's metrics")?;
    Ok(text)
}

fn ended(metrics: &str) -> Vec<(String, u64)> {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(ENDED)?.rsplit_once(' '));
    lines.filter_map(|(labels, ended)| Some((labels.to_owned(), ended.parse().ok()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_counted_by_family() {
        let text = "HTTP/1.0 200 OK\r\n\r\n# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram\n\
                    kubeproxy_sync_proxy_rules_duration_seconds_sum{ip_family=\"IPv4\"} 3.5\n\
                    kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 7\n\
                    kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv6\"} 6\n";
        let expected = [("{ip_family=\"IPv4\"}".to_owned(), 7), ("{ip_family=\"IPv6\"}".to_owned(), 6)];
        assert_eq!(ended(text), expected);
        assert!(ended("HTTP/1.0 404 Not Found\r\n\r\n").is_empty());
    }
}
