//! What a watch shows, with the moment at which it did.

use std::net::IpAddr;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use tokio::task::JoinHandle;

use super::census::addresses;

/// One event of the watch.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The Service.
    pub name: String,
    /// The addresses in its status.
    pub addresses: Vec<IpAddr>,
    /// Whether it is gone.
    pub deleted: bool,
    /// When the event was decoded.
    pub at: Instant,
}

/// The events of all Services of a namespace from now on. Ends when dropped.
#[derive(Debug)]
pub struct Sightings {
    events: UnboundedReceiver<Result<Sighting>>,
    task: JoinHandle<()>,
}

impl Sightings {
    /// Starts to watch; what happens after this has returned is seen.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn start(api: Api<Service>) -> Result<Self> {
        let first = api.list(&ListParams::default().limit(1)).await.context("list Services")?;
        let version = first.metadata.resource_version.context("a list without a resourceVersion")?;
        let (sender, events) = unbounded();
        let task = tokio::spawn(async move {
            if let Err(error) = watch(&api, version, &sender).await {
                // Nobody is there to be told when the receiver is gone.
                let _ = sender.unbounded_send(Err(error));
            }
        });
        Ok(Self { events, task })
    }

    /// The next event.
    ///
    /// # Errors
    /// When there is none until `deadline`, or the watch failed.
    pub async fn next(&mut self, deadline: Instant) -> Result<Sighting> {
        match tokio::time::timeout_at(deadline.into(), self.events.next()).await {
            Ok(Some(sighting)) => sighting,
            Ok(None) => Err(anyhow!("the watch has ended")),
            Err(_) => Err(anyhow!("the watch showed nothing more until the deadline")),
        }
    }

    /// All events, one after the other.
    pub fn into_stream(self) -> impl Stream<Item = Result<Sighting>> {
        stream::unfold(self, |mut this| async move { Some((this.events.next().await?, this)) })
    }

    /// Waits until the Service shows an address; returns when it did.
    ///
    /// # Errors
    /// When it does not until `deadline`.
    pub async fn assigned(&mut self, name: &str, deadline: Instant) -> Result<Instant> {
        loop {
            let seen = self.next(deadline).await.with_context(|| format!("Service {name} has no address"))?;
            if seen.name == name && !seen.addresses.is_empty() {
                return Ok(seen.at);
            }
        }
    }
}

impl Drop for Sightings {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches until nobody listens any more. A watch that the server ends after its time is continued where it was.
async fn watch(
    api: &Api<Service>,
    mut version: String,
    to: &UnboundedSender<Result<Sighting>>,
) -> Result<()> {
    loop {
        let events = api.watch(&WatchParams::default(), &version).await.context("watch Services")?;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.try_next().await.context("read a watch")? {
            let (service, deleted) = match event {
                WatchEvent::Added(service) | WatchEvent::Modified(service) => (service, false),
                WatchEvent::Deleted(service) => (service, true),
                WatchEvent::Bookmark(bookmark) => {
                    version = bookmark.metadata.resource_version;
                    continue;
                }
                WatchEvent::Error(status) => bail!("the watch failed: {}", status.message),
            };
            let at = Instant::now();
            version = service.metadata.resource_version.clone().unwrap_or(version);
            let addresses = addresses(&service);
            let name = service.metadata.name.unwrap_or_default();
            if to.unbounded_send(Ok(Sighting { name, addresses, deleted, at })).is_err() {
                return Ok(());
            }
        }
    }
}
