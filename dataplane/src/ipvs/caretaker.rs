//! Puts back what somebody else took away, and removes endpoints that have drained.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt};
use tokio::{sync::Mutex, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    device::{Changes, Lost},
    workshop::{Audit, ProgramError, Workshop},
};

/// How often `/proc/net/ip_vs` is read: the kernel tells nobody when virtual servers change. As often as kube-proxy
/// programs everything anew.
const AUDIT: Duration = Duration::from_secs(30);

/// The task. What it hears at once: addresses that are taken from the device, and the device itself.
#[derive(Debug)]
pub(super) struct Caretaker {
    workshop: Arc<Mutex<Workshop>>,
    changes: Changes,
}

impl Caretaker {
    pub(super) fn new(workshop: Arc<Mutex<Workshop>>, changes: Changes) -> Self {
        Self { workshop, changes }
    }

    /// Works until the token is cancelled.
    pub(super) async fn run(mut self, until: CancellationToken) {
        let mut audits = tokio::time::interval(AUDIT);
        audits.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut hears = true;
        loop {
            tokio::select! {
                () = until.cancelled() => return,
                _ = audits.tick() => self.look().await,
                change = self.changes.next(), if hears => {
                    if change.is_none() {
                        tracing::error!("the netlink socket closed: addresses that are taken away are not noticed");
                        hears = false;
                    }
                    self.hear(change.into_iter().collect()).await;
                }
            }
        }
    }

    async fn look(&self) {
        let mut workshop = self.workshop.lock().await;
        let connections = match workshop.audit().await {
            Ok(Audit::Idle) => return,
            Ok(Audit::Agrees(connections)) => Ok(connections),
            Ok(Audit::Unseen) => workshop.connections().await,
            Ok(Audit::Mended(requests)) => {
                return tracing::warn!(requests, "somebody else changed IPVS: it is as it was before");
            }
            Err(error) => return complain("IPVS could not be looked at", error),
        };
        let drained = match connections {
            Ok(connections) => workshop.drain(&connections).await,
            Err(error) => Err(error),
        };
        if let Err(error) = drained {
            complain("endpoints that are gone stay without weight", error);
        }
    }

    /// Takes all that has come: whoever flushes a device says so once for each address.
    async fn hear(&mut self, mut messages: Vec<super::device::Message>) {
        while let Some(Some(more)) = self.changes.next().now_or_never() {
            messages.push(more);
        }
        let mut workshop = self.workshop.lock().await;
        let lost: Vec<Lost> =
            messages.iter().filter_map(|(message, _)| workshop.device().lost(message)).collect();
        match workshop.restore(&lost).await {
            Ok(0) => {}
            Ok(restored) => {
                tracing::warn!(restored, "somebody else took addresses of Services: they are back");
            }
            Err(error) => complain("an address of a Service is missing on this node", error),
        }
    }
}

fn complain(what: &str, error: ProgramError) {
    tracing::error!("{what}: {:#}", anyhow::Error::from(error));
}
