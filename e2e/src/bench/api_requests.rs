//! What the API server counted: its own metric `apiserver_request_total`, by verb and resource.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};
use kube::Client;

use crate::wait::{Look, until};

/// The verbs that change something.
const WRITES: [&str; 6] = ["POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"];

/// For how long nothing may have been written to call it quiet.
const QUIET: Duration = Duration::from_secs(1);

/// How long quiet is waited for; events are written long after the work.
const SETTLE: Duration = Duration::from_secs(120);

/// Writes since the API server started, or between two readings: `services/status` → how many.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writes(BTreeMap<String, u64>);

impl Writes {
    /// Asks the API server.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn read(client: &Client) -> Result<Self> {
        let request = http::Request::get("/metrics").body(Vec::new()).context("make a request")?;
        let text = client.request_text(request).await.context("read the API server's metrics")?;
        Ok(Self::parse(&text))
    }

    /// Waits until nothing but Leases was written for a second.
    ///
    /// # Errors
    /// When something is written all the time.
    pub async fn settled(client: &Client) -> Result<Self> {
        until("the end of all writes", SETTLE, || async {
            let before = Self::read(client).await?;
            tokio::time::sleep(QUIET).await;
            let after = Self::read(client).await?;
            let between = after.since(&before);
            Ok(match between.without_leases().total() {
                0 => Look::Ready(after),
                _ => Look::NotYet(format!("in the last second: {between}")),
            })
        })
        .await
    }

    fn parse(metrics: &str) -> Self {
        let mut writes = BTreeMap::new();
        let lines = metrics.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{"));
        for (labels, value) in lines.filter_map(|line| line.rsplit_once("} ")) {
            let label = |name: &str| value_of(labels, name).unwrap_or_default();
            if !WRITES.contains(&label("verb")) {
                continue;
            }
            let name = match label("subresource") {
                "" => label("resource").to_owned(),
                subresource => format!("{}/{subresource}", label("resource")),
            };
            // Counters are written as 1e+06 from a million on.
            let count: f64 = value.trim().parse().unwrap_or_default();
            *writes.entry(name).or_default() += count as u64;
        }
        Self(writes)
    }

    /// What was added since `before`.
    pub fn since(&self, before: &Self) -> Self {
        let added = self.0.iter().map(|(name, count)| (name.clone(), count.saturating_sub(before.of(name))));
        Self(added.filter(|(_, count)| *count > 0).collect())
    }

    /// How many went to a resource.
    pub fn of(&self, resource: &str) -> u64 {
        self.0.get(resource).copied().unwrap_or_default()
    }

    /// All but those of Leases: elections and the API server's own sign of life.
    pub fn without_leases(&self) -> Self {
        Self(self.0.iter().filter(|(name, _)| *name != "leases").map(|(n, c)| (n.clone(), *c)).collect())
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl fmt::Display for Writes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(|(name, count)| format!("{name} {count}")).collect();
        f.write_str(if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }.as_str())
    }
}

/// A label's value. Ours have no quotes in them.
fn value_of<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METRICS: &str = r#"
# HELP apiserver_request_total [STABLE] Counter
apiserver_request_total{code="200",component="apiserver",group="",resource="services",scope="resource",subresource="status",verb="PATCH",version="v1"} 1000
apiserver_request_total{code="409",component="apiserver",group="",resource="services",scope="resource",subresource="status",verb="PATCH",version="v1"} 2
apiserver_request_total{code="201",component="apiserver",group="",resource="services",scope="resource",subresource="",verb="POST",version="v1"} 1e+06
apiserver_request_total{code="200",component="apiserver",group="",resource="services",scope="cluster",subresource="",verb="LIST",version="v1"} 9
apiserver_request_total{code="200",component="apiserver",group="coordination.k8s.io",resource="leases",scope="resource",subresource="",verb="PUT",version="v1"} 7
apiserver_request_duration_seconds_count{verb="POST"} 5
"#;

    #[test]
    fn writes_are_counted_by_resource_whatever_their_outcome() {
        let writes = Writes::parse(METRICS);
        assert_eq!((writes.of("services/status"), writes.of("services")), (1002, 1_000_000));
        assert_eq!(writes.total() - writes.without_leases().total(), 7);
        assert_eq!(writes.since(&writes).total(), 0);
        assert_eq!(writes.since(&Writes::default()), writes);
        assert_eq!(writes.without_leases().to_string(), "services 1000000, services/status 1002");
    }
}
