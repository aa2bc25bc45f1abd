//! One mode follows another on a live node: the old rules go only when the new ones stand, so that each connection finds
//! the one or the other. While both stand, the first that translates a connection has it; both mean the same Services.

use ipnet::IpNet;
use penstock_model::Change;

use super::RuleSet;
use crate::{Applied, ApplyError, Backend, NetworkNamespace};

/// Another backend, and what other modes left.
#[derive(Debug)]
pub struct HandOver<B> {
    backend: B,
    left: Vec<RuleSet>,
    namespace: NetworkNamespace,
    said: bool,
}

impl<B: Backend> HandOver<B> {
    /// What is `left` in the namespace goes after the first load.
    pub fn new(backend: B, left: Vec<RuleSet>, namespace: NetworkNamespace) -> Self {
        Self { backend, left, namespace, said: false }
    }

    /// What cannot be removed is tried again with the next change, and said once.
    async fn remove_left(&mut self) {
        let mut still = Vec::new();
        for set in std::mem::take(&mut self.left) {
            match set.remove(&self.namespace).await {
                Ok(()) => tracing::info!("removed the rules of ours of mode {}", set.mode()),
                Err(error) => {
                    still.push(set);
                    if !std::mem::replace(&mut self.said, true) {
                        let error = anyhow::Error::from(error);
                        tracing::warn!(
                            "{error:#}; trying again with each change: `penstock-node cleanup` and a restart do too"
                        );
                    }
                }
            }
        }
        self.left = still;
    }
}

impl<B: Backend> Backend for HandOver<B> {
    async fn apply(&mut self, changes: &[Change]) -> Result<Applied, ApplyError> {
        let applied = self.backend.apply(changes).await?;
        self.remove_left().await;
        Ok(applied)
    }

    fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>) {
        self.backend.take_service_cidrs(cidrs);
    }

    async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        let applied = self.backend.reload(all).await?;
        self.remove_left().await;
        Ok(applied)
    }
}
