//! One Lease per node: proof that its announcer lives. The task [`LeaseKeeper::run`] writes it, all read it.
//!
//! Writes are O(nodes): however many addresses there are, an announcer writes only this object.
//!
//! The Node does not own it. Once a Node object is deleted and re-created it has another UID, and the garbage
//! collector deletes what names the old one as its owner: the Lease of a living announcer, again and again. A Lease
//! that a removed node leaves behind is not renewed, so its node does not live; and without a Node object it is no
//! candidate anyway.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher,
};
use tokio::{sync::mpsc, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{Input, Metrics, liveness::Heartbeat};

/// How long a renewal lasts unless the flag says otherwise.
pub const DEFAULT_DURATION: Duration = Duration::from_secs(2);
/// Renewals per duration: three may fail before others take over; and [`crate::fence`] relies on it.
const RENEWALS_PER_DURATION: u32 = 4;
/// The label of all these Leases.
const LABEL: (&str, &str) = ("penstock.dev/lease", "announcer");
const NAME_PREFIX: &str = "penstock-announcer-";

/// A Lease could not be written.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// The API server refused or could not be reached.
    #[error("Lease {name} cannot be written")]
    Api {
        /// The Lease.
        name: String,
        /// Why.
        #[source]
        source: kube::Error,
    },
    /// No answer in time.
    #[error("Lease {name} was not written within {} ms", .limit.as_millis())]
    Timeout {
        /// The Lease.
        name: String,
        /// The time allowed.
        limit: Duration,
    },
}

/// Selects the Leases of all announcers.
#[must_use]
pub fn watch_config() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", LABEL.0, LABEL.1))
}

/// What a Lease says of its node. `None` if it is no announcer's.
#[must_use]
pub fn heartbeat(lease: &Lease) -> Option<Heartbeat> {
    let node = lease.metadata.name.as_deref()?.strip_prefix(NAME_PREFIX)?.to_owned();
    let spec = lease.spec.as_ref();
    let held = spec.and_then(|s| s.holder_identity.as_deref()).is_some_and(|holder| !holder.is_empty());
    let renewal = spec.and_then(|s| s.renew_time.as_ref()).map(|time| time.0.as_microsecond());
    let seconds = spec.and_then(|s| s.lease_duration_seconds).and_then(|s| u64::try_from(s).ok());
    let duration = seconds.map_or(DEFAULT_DURATION, Duration::from_secs);
    Some(Heartbeat { node, renewal: renewal.filter(|_| held), duration })
}

/// What a keeper must know.
#[derive(Clone, Debug)]
pub struct LeaseConfig {
    /// The namespace of the Leases.
    pub namespace: String,
    /// This node.
    pub node: String,
    /// How long a renewal lasts; whole seconds.
    pub duration: Duration,
}

/// Renews this node's Lease.
pub struct LeaseKeeper {
    api: Api<Lease>,
    config: LeaseConfig,
    news: mpsc::Sender<Input>,
    metrics: Metrics,
    last_token: i64,
    resource_version: Option<String>,
}

impl LeaseKeeper {
    /// A keeper that tells `news` of each renewal before it is sent.
    #[must_use]
    pub fn new(client: Client, config: LeaseConfig, news: mpsc::Sender<Input>, metrics: Metrics) -> Self {
        let api = Api::namespaced(client, &config.namespace);
        Self { api, config, news, metrics, last_token: 0, resource_version: None }
    }

    /// Renews until told to stop, then gives the Lease up so that others need not wait for its end.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.config.duration / RENEWALS_PER_DURATION);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = ticks.tick() => self.renew_and_report().await,
            }
        }
        if let Err(error) = self.release().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "the Lease is left to run out");
        }
    }

    async fn renew_and_report(&mut self) {
        let renewed = self.renew().await;
        self.metrics.count_renewal(renewed.is_ok());
        if let Err(error) = renewed {
            tracing::warn!(error = &error as &dyn std::error::Error, "our Lease was not renewed");
        }
    }

    async fn renew(&mut self) -> Result<(), LeaseError> {
        let time = self.next_token();
        let sent = Input::RenewalSent { token: self.last_token, at: Instant::now() };
        if self.news.send(sent).await.is_err() {
            return Ok(()); // The agent is gone, and the process with it.
        }
        let lease = self.lease(&self.config.node, self.config.duration, time, None);
        let written = self.in_time(self.write(&lease)).await?;
        self.resource_version = written.metadata.resource_version;
        Ok(())
    }

    /// Gives up the Lease as it stood after our last renewal. If the next process of this node writes it already,
    /// the version differs and it is no longer ours to give up.
    async fn release(&mut self) -> Result<(), LeaseError> {
        let Some(version) = self.resource_version.take() else { return Ok(()) };
        let time = self.next_token();
        let lease = self.lease("", Duration::from_secs(1), time, Some(version));
        self.in_time(self.patch(&lease)).await.map(drop)
    }

    async fn write(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        match self.patch(lease).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {
                self.api.create(&PostParams::default(), lease).await
            }
            other => other,
        }
    }

    async fn patch(&self, lease: &Lease) -> Result<Lease, kube::Error> {
        self.api.patch(&self.name(), &PatchParams::default(), &Patch::Merge(lease)).await
    }

    /// Half the duration is all that a renewal is worth to us; see [`crate::fence`].
    async fn in_time<T>(&self, call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, LeaseError> {
        let limit = self.config.duration / 2;
        match tokio::time::timeout(limit, call).await {
            Ok(answer) => answer.map_err(|source| LeaseError::Api { name: self.name(), source }),
            Err(_) => Err(LeaseError::Timeout { name: self.name(), limit }),
        }
    }

    /// The wall clock's microseconds; one more than the last where the clock stands still or goes back.
    fn next_token(&mut self) -> MicroTime {
        let clock = Timestamp::now().as_microsecond();
        let token = if clock == self.last_token { clock + 1 } else { clock };
        self.last_token = token;
        MicroTime(Timestamp::from_microsecond(token).unwrap_or(Timestamp::UNIX_EPOCH))
    }

    fn name(&self) -> String {
        format!("{NAME_PREFIX}{}", self.config.node)
    }

    fn lease(&self, holder: &str, duration: Duration, time: MicroTime, version: Option<String>) -> Lease {
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name()),
                namespace: Some(self.config.namespace.clone()),
                labels: Some([(LABEL.0.to_owned(), LABEL.1.to_owned())].into()),
                resource_version: version,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
                renew_time: Some(time),
                ..LeaseSpec::default()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(name: &str, spec: &Value) -> Option<Heartbeat> {
        let object = json!({"metadata": {"name": name}, "spec": spec});
        heartbeat(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn a_lease_reads_as_a_heartbeat() {
        let time = "2026-07-01T00:00:00.000001Z";
        let held = json!({"holderIdentity": "n1", "leaseDurationSeconds": 3, "renewTime": time});
        let given_up = json!({"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": time});
        let beat = read("penstock-announcer-n1", &held).unwrap();
        assert_eq!((beat.node.as_str(), beat.duration), ("n1", Duration::from_secs(3)));
        assert_eq!(beat.renewal, Some(1_782_864_000_000_001));
        assert_eq!(read("penstock-announcer-n1", &given_up).unwrap().renewal, None);
        assert_eq!(read("penstock-announcer-n1", &json!({})).unwrap().renewal, None);
        assert_eq!(
            read("penstock-announcer-n1", &json!({"leaseDurationSeconds": -1})).unwrap().duration,
            DEFAULT_DURATION
        );
        assert_eq!(read("somebody-elses", &held), None);
    }
}
