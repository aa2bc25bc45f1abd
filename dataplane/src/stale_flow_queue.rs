//! UDP flows on their way from the index to connection tracking.

use std::{
    collections::BTreeSet,
    mem::take,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use penstock_model::Flow;
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{Conntrack, NetfilterError, StaleFlows};

/// More are not kept: connection tracking has not been reached for a long time then.
const MOST: usize = 1 << 17;

/// The pause after connection tracking could not be reached.
const PAUSE: Duration = Duration::from_secs(5);

/// What can forget flows.
pub trait ForgetFlows: Send {
    /// Forgets them and returns how many there were.
    fn forget(&mut self, flows: &[Flow]) -> impl Future<Output = Result<usize, NetfilterError>> + Send;
}

impl ForgetFlows for Conntrack {
    async fn forget(&mut self, flows: &[Flow]) -> Result<usize, NetfilterError> {
        let stale = |flow: &Flow| StaleFlows { frontend: flow.frontend, endpoint: Some(flow.endpoint) };
        Self::forget(self, &flows.iter().map(stale).collect::<Vec<_>>()).await
    }
}

/// A queue with one writer, which never waits, and one reader. Clones are the same queue.
#[derive(Clone, Debug, Default)]
pub struct StaleFlowQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    flows: Mutex<Flows>,
    due: Notify,
}

#[derive(Debug, Default)]
struct Flows {
    /// The rules still lead to them.
    held: BTreeSet<Flow>,
    /// A packet would go elsewhere now.
    due: BTreeSet<Flow>,
}

impl StaleFlowQueue {
    /// Takes flows that have to go once the rules are changed.
    pub(crate) fn hold(&self, flows: Vec<Flow>) {
        let mut queue = self.lock();
        let room = MOST.saturating_sub(queue.held.len() + queue.due.len());
        if flows.len() > room {
            tracing::error!(
                "more than {MOST} stale UDP flows wait for connection tracking: some stay until they end by themselves"
            );
        }
        queue.held.extend(flows.into_iter().take(room));
    }

    /// The rules are changed.
    pub(crate) fn release(&self) {
        let mut queue = self.lock();
        let held = take(&mut queue.held);
        if !held.is_empty() {
            queue.due.extend(held);
            self.0.due.notify_one();
        }
    }

    /// Has all that is due forgotten, until the token is cancelled. What fails is tried again.
    pub async fn drain(&self, conntrack: impl ForgetFlows, until: CancellationToken) {
        self.drain_with(conntrack, until, PAUSE).await;
    }

    async fn drain_with(&self, mut conntrack: impl ForgetFlows, until: CancellationToken, pause: Duration) {
        loop {
            tokio::select! {
                () = until.cancelled() => return,
                () = self.0.due.notified() => {}
            }
            let due: Vec<Flow> = take(&mut self.lock().due).into_iter().collect();
            match conntrack.forget(&due).await {
                Ok(gone) => tracing::debug!(gone, stale = due.len(), "stale UDP flows forgotten"),
                Err(error) => {
                    let error = anyhow::Error::from(error);
                    tracing::error!(
                        "stale UDP flows are not forgotten: {error:#}; trying again in {pause:?}"
                    );
                    self.lock().due.extend(due);
                    tokio::select! {
                        () = until.cancelled() => return,
                        () = sleep(pause) => self.0.due.notify_one(),
                    }
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Flows> {
        self.0.flows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use penstock_model::{FrontendAddress, Protocol};
    use tokio::sync::mpsc;

    use super::*;

    struct Recorder(mpsc::UnboundedSender<Vec<Flow>>, usize);

    impl ForgetFlows for Recorder {
        async fn forget(&mut self, flows: &[Flow]) -> Result<usize, NetfilterError> {
            if self.1 > 0 {
                self.1 -= 1;
                return Err(NetfilterError::Unanswered);
            }
            self.0.send(flows.to_vec()).unwrap();
            Ok(flows.len())
        }
    }

    fn flow(n: u32) -> Flow {
        let ip = std::net::IpAddr::from(n.to_be_bytes());
        let frontend = FrontendAddress { ip, protocol: Protocol::Udp, port: 53 };
        Flow { frontend, endpoint: SocketAddr::new(ip, 53) }
    }

    #[tokio::test]
    async fn flows_go_once_they_are_released_and_again_after_a_failure() {
        let (sender, mut forgotten) = mpsc::unbounded_channel();
        let (queue, until) = (StaleFlowQueue::default(), CancellationToken::new());
        queue.hold(vec![flow(1), flow(2)]);
        let reader = queue.clone();
        let end = until.clone();
        let task = tokio::spawn(async move {
            reader.drain_with(Recorder(sender, 1), end, Duration::from_millis(1)).await
        });
        tokio::task::yield_now().await;
        assert!(forgotten.try_recv().is_err(), "the rules still lead there");
        queue.hold(vec![flow(2), flow(3)]);
        queue.release();
        assert_eq!(forgotten.recv().await.unwrap(), [flow(1), flow(2), flow(3)]);
        until.cancel();
        task.await.unwrap();
    }

    #[test]
    fn no_more_are_kept_than_a_bound_when_nobody_reads() {
        let queue = StaleFlowQueue::default();
        for n in 0..3 {
            queue.hold((0..MOST as u32).map(|m| flow(n * MOST as u32 + m)).collect());
            queue.release();
        }
        assert_eq!(queue.lock().due.len(), MOST);
    }
}
