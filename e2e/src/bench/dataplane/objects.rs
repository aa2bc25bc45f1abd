//! The objects on a real API server: many created at once, and endpoints changed.

use std::net::Ipv4Addr;
use std::ops::Range;
use std::time::Instant;

use anyhow::{Context, Result};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Service as ServiceObject};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio::time::timeout_at;

use super::population::{NAMESPACE, Service, endpoints_patch};
use super::size::Size;

/// What all Services of this benchmark are seen through.
#[derive(Clone)]
pub struct Objects {
    client: Client,
}

/// A change of endpoints that the API server has taken.
#[derive(Debug, Clone)]
pub struct Written {
    /// By this the watch shows it.
    version: String,
    /// When the API server's answer was there.
    pub acknowledged: Instant,
}

impl Objects {
    /// For the administrator with this kubeconfig.
    ///
    /// # Errors
    /// When it cannot be used.
    pub async fn connect(kubeconfig: &str) -> Result<Self> {
        Ok(Self { client: crate::kubeconfig::client(kubeconfig).await? })
    }

    fn slices(&self) -> Api<EndpointSlice> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    /// Creates the namespace.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn create_namespace(&self) -> Result<()> {
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } }))
            .context("make a namespace")?;
        let created = Api::all(self.client.clone()).create(&PostParams::default(), &object).await;
        created.with_context(|| format!("create the namespace {NAMESPACE}")).map(|_: Namespace| ())
    }

    /// Creates the Services of these numbers with their slices, `at_once` of them at a time.
    ///
    /// # Errors
    /// What the API server says, with the Service's name.
    pub async fn create(&self, numbers: Range<usize>, size: Size, at_once: usize) -> Result<()> {
        stream::iter(numbers)
            .map(|number| self.create_one(Service(number), size))
            .buffer_unordered(at_once)
            .try_collect::<()>()
            .await
    }

    async fn create_one(&self, service: Service, size: Size) -> Result<()> {
        let context = || format!("create Service {}", service.name());
        let object: ServiceObject = serde_json::from_value(service.object()).with_context(context)?;
        let services: Api<ServiceObject> = Api::namespaced(self.client.clone(), NAMESPACE);
        services.create(&PostParams::default(), &object).await.with_context(context)?;
        let slice: EndpointSlice = serde_json::from_value(service.slice(size)).with_context(context)?;
        self.slices().create(&PostParams::default(), &slice).await.with_context(context)?;
        Ok(())
    }

    /// Gives a Service these endpoints and no others.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn set_endpoints(&self, service: Service, endpoints: &[Ipv4Addr]) -> Result<Written> {
        let patch = Patch::Merge(endpoints_patch(endpoints));
        let patched = self.slices().patch(&service.name(), &PatchParams::default(), &patch).await;
        let acknowledged = Instant::now();
        let slice = patched.with_context(|| format!("change the endpoints of {}", service.name()))?;
        let version = slice.metadata.resource_version.context("an object without a resourceVersion")?;
        Ok(Written { version, acknowledged })
    }
}

/// The harness's own watch of all slices. Ends when dropped.
#[derive(Debug)]
pub struct SliceWatch {
    events: UnboundedReceiver<(String, Instant)>,
    task: JoinHandle<Result<()>>,
}

impl SliceWatch {
    /// Watches from now on.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn start(objects: &Objects) -> Result<Self> {
        let slices = objects.slices();
        let first = slices.list(&ListParams::default().limit(1)).await.context("list EndpointSlices")?;
        let version = first.metadata.resource_version.context("a list without a resourceVersion")?;
        let (sender, events) = unbounded();
        let task = tokio::spawn(async move { watch(&slices, version, &sender).await });
        Ok(Self { events, task })
    }

    /// When the watch showed this change.
    ///
    /// # Errors
    /// When it did not until `deadline`.
    pub async fn saw(&mut self, written: &Written, deadline: Instant) -> Result<Instant> {
        loop {
            let event = timeout_at(deadline.into(), self.events.next()).await;
            let event = event.context("the harness's own watch does not show a change")?;
            let (version, at) = event.context("the harness's own watch has ended")?;
            if version == written.version {
                return Ok(at);
            }
        }
    }
}

impl Drop for SliceWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches until nobody listens any more. A watch that the server ends after its time is continued where it was.
async fn watch(
    slices: &Api<EndpointSlice>,
    mut version: String,
    to: &UnboundedSender<(String, Instant)>,
) -> Result<()> {
    loop {
        let events = slices.watch(&WatchParams::default(), &version).await.context("watch EndpointSlices")?;
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.try_next().await.context("read a watch")? {
            let at = Instant::now();
            match event {
                WatchEvent::Added(slice) | WatchEvent::Modified(slice) | WatchEvent::Deleted(slice) => {
                    version = slice.metadata.resource_version.unwrap_or(version);
                    if to.unbounded_send((version.clone(), at)).is_err() {
                        return Ok(());
                    }
                }
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => anyhow::bail!("the watch failed: {}", status.message),
            }
        }
    }
}
