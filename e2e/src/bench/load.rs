//! What is asked of an operator, whoever it is: many Services at once, one after the other, and none any more.

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;

use super::census::Census;
use super::sightings::Sightings;
use super::spread::Spread;

/// The namespace of all Services.
pub const NAMESPACE: &str = "penstock-bench";

/// How many Services one list returns at once.
const PAGE: u32 = 500;

/// Many Services at once: how long it took.
#[derive(Debug, Clone, Copy)]
pub struct Bulk {
    /// From the first creation to the last one's reply.
    pub creation: Duration,
    /// From the last creation's reply to the last status seen on a watch.
    pub tail: Duration,
}

/// The Services of one control plane.
#[derive(Clone)]
pub struct Load {
    /// The administrator.
    pub client: Client,
    /// The range that all addresses come from.
    pub pool: IpNet,
    /// How many creations (or deletions) are under way at the same time.
    pub creators: usize,
    /// How long may be waited for one address; for many it is more.
    pub patience: Duration,
}

impl Load {
    /// All Services.
    pub fn api(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    fn deadline(&self, services: usize) -> Instant {
        let per_service = self.patience / 60 * u32::try_from(services).unwrap_or(u32::MAX);
        Instant::now() + self.patience + per_service
    }

    /// Creates the Services numbered by `range` and waits until all show an address.
    ///
    /// # Errors
    /// When one cannot be created or gets no address.
    pub async fn bulk(&self, range: Range<usize>) -> Result<Bulk> {
        let deadline = self.deadline(range.len());
        let mut sightings = Sightings::start(self.api()).await?;
        let mut missing: BTreeSet<String> = range.clone().map(name).collect();
        let begin = Instant::now();
        self.each(range, |index| self.create(index)).await?;
        let created = Instant::now();
        let mut last = created;
        while !missing.is_empty() {
            let seen = sightings.next(deadline).await;
            let seen = seen.with_context(|| format!("{} Services have no address", missing.len()))?;
            if !seen.addresses.is_empty() && missing.remove(&seen.name) {
                last = seen.at;
            }
        }
        Ok(Bulk { creation: created - begin, tail: last.saturating_duration_since(created) })
    }

    /// Creates one Service after the other; returns the milliseconds from each call to the status on a watch.
    ///
    /// # Errors
    /// When one cannot be created or gets no address.
    pub async fn one_by_one(&self, range: Range<usize>) -> Result<Spread> {
        let mut sightings = Sightings::start(self.api()).await?;
        let mut times = Vec::new();
        for index in range {
            let begin = Instant::now();
            self.create(index).await?;
            let seen = sightings.assigned(&name(index), self.deadline(1)).await?;
            times.push((seen - begin).as_secs_f64() * 1e3);
        }
        Ok(times.into_iter().collect())
    }

    /// Deletes all Services and waits until they are gone; returns how long that took.
    ///
    /// # Errors
    /// When one stays.
    pub async fn delete_all(&self) -> Result<Duration> {
        let services = self.list().await?;
        let mut missing: BTreeSet<String> =
            services.into_iter().filter_map(|service| service.metadata.name).collect();
        let deadline = self.deadline(missing.len());
        let mut sightings = Sightings::start(self.api()).await?;
        let begin = Instant::now();
        let api = self.api();
        self.each(missing.iter().cloned(), |name| {
            let api = api.clone();
            async move {
                api.delete(&name, &DeleteParams::default()).await.context("delete a Service").map(|_| ())
            }
        })
        .await?;
        while !missing.is_empty() {
            let seen = sightings.next(deadline).await;
            let seen = seen.with_context(|| format!("{} Services are not gone", missing.len()))?;
            if seen.deleted {
                missing.remove(&seen.name);
            }
        }
        Ok(begin.elapsed())
    }

    /// Creates one Service.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn create(&self, index: usize) -> Result<()> {
        let service = service(index)?;
        let created = self.api().create(&PostParams::default(), &service).await;
        created.with_context(|| format!("create Service {}", name(index)))?;
        Ok(())
    }

    /// What the API server says of all Services, after a check that each of `services` has an address of its own.
    ///
    /// # Errors
    /// When one has none, or one that another has too.
    pub async fn census(&self, services: usize) -> Result<Census> {
        let census = Census::of(&self.list().await?);
        census.check(services, self.pool)?;
        Ok(census)
    }

    async fn list(&self) -> Result<Vec<Service>> {
        let mut services = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        loop {
            let page = self.api().list(&params).await.context("list Services")?;
            services.extend(page.items);
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => return Ok(services),
            }
        }
    }

    async fn each<T, F>(&self, items: impl IntoIterator<Item = T>, work: impl Fn(T) -> F) -> Result<()>
    where
        F: Future<Output = Result<()>>,
    {
        stream::iter(items).map(work).buffer_unordered(self.creators).try_collect().await
    }
}

/// The name of the Service of this number.
pub fn name(index: usize) -> String {
    format!("service-{index:05}")
}

/// Without node ports, of which an API server has 2,768: more Services than that could not be created.
fn service(index: usize) -> Result<Service> {
    let object = json!({
        "metadata": {"name": name(index), "namespace": NAMESPACE},
        "spec": {
            "type": "LoadBalancer", "allocateLoadBalancerNodePorts": false,
            "selector": {"app": name(index)}, "ports": [{"port": 80, "protocol": "TCP"}]
        }
    });
    serde_json::from_value(object).context("make a Service")
}
