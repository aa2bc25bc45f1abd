//! The API server's own floor: the least that any operator has to do. A controller without a decision watches Services
//! and patches the status of each once, with as many patches under way as the operator has reconciliations.

use std::net::IpAddr;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::task::JoinHandle;

use super::load::Load;
use super::sightings::Sightings;

/// The operator's own figure (`CONCURRENCY` in `operator/src/run.rs`).
const CONCURRENCY: usize = 32;

/// The controller without a decision. Ends when dropped.
#[derive(Debug)]
pub struct Floor {
    task: JoinHandle<Result<()>>,
}

impl Floor {
    /// Starts it with connections of its own.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn start(load: &Load) -> Result<Self> {
        let sightings = Sightings::start(load.api()).await?;
        let task = tokio::spawn(serve(sightings, load.api(), load.pool));
        Ok(Self { task })
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(sightings: Sightings, api: Api<Service>, pool: IpNet) -> Result<()> {
    let addresses = stream::iter(pool.hosts());
    sightings
        .into_stream()
        .try_filter(|seen| std::future::ready(seen.addresses.is_empty() && !seen.deleted))
        .zip(addresses)
        .map(|(seen, ip)| seen.map(|seen| (seen.name, ip)))
        .try_for_each_concurrent(CONCURRENCY, |(name, ip)| assign(&api, name, ip))
        .await
}

async fn assign(api: &Api<Service>, name: String, ip: IpAddr) -> Result<()> {
    let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": ip, "ipMode": "VIP"}]}}});
    let written = api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(status)).await;
    written.with_context(|| format!("write the status of Service {name}"))?;
    Ok(())
}
