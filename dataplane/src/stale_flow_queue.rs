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

    /// All UDP flows that there are, at most so many.
    fn udp_flows(
        &mut self,
        most: usize,
    ) -> impl Future<Output = Result<BTreeSet<Flow>, NetfilterError>> + Send;
}

impl ForgetFlows for Conntrack {
    async fn forget(&mut self, flows: &[Flow]) -> Result<usize, NetfilterError> {
        let stale = |flow: &Flow| StaleFlows { frontend: flow.frontend, endpoint: Some(flow.endpoint) };
        Self::forget(self, &flows.iter().map(stale).collect::<Vec<_>>()).await
    }

    async fn udp_flows(&mut self, most: usize) -> Result<BTreeSet<Flow>, NetfilterError> {
        Self::udp_flows(self, most).await
    }
}

/// A queue with one writer, which never waits, and one reader. Clones are the same queue.
#[derive(Clone, Debug, Default)]
pub struct StaleFlowQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    flows: Mutex<Flows>,
    due: Notify,
    found: Notify,
}

#[derive(Debug, Default)]
struct Flows {
    /// The rules still lead to them.
    held: BTreeSet<Flow>,
    /// A packet would go elsewhere now.
    due: BTreeSet<Flow>,
    /// Whether all flows that there are have to be looked at.
    look: bool,
    /// Those that there are: what is stale among them is the writer's to say.
    found: BTreeSet<Flow>,
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

    /// Has all flows looked up that there are, once; [`Self::found`] returns them.
    pub(crate) fn look(&self) {
        self.lock().look = true;
        self.0.due.notify_one();
    }

    /// The flows that were looked up, as soon as they are. What ends by itself or is forgotten meanwhile is among them.
    pub(crate) async fn found(&self) -> BTreeSet<Flow> {
        self.0.found.notified().await;
        take(&mut self.lock().found)
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
            if let Err(error) = self.work(&mut conntrack).await {
                let error = anyhow::Error::from(error);
                tracing::error!("stale UDP flows are not forgotten: {error:#}; trying again in {pause:?}");
                tokio::select! {
                    () = until.cancelled() => return,
                    () = sleep(pause) => self.0.due.notify_one(),
                }
            }
        }
    }

    /// What cannot be done stays to be done.
    async fn work(&self, conntrack: &mut impl ForgetFlows) -> Result<(), NetfilterError> {
        if self.lock().look {
            let found = conntrack.udp_flows(MOST).await?;
            if found.len() == MOST {
                tracing::error!(
                    "there are more than {MOST} UDP flows: those of the others that are stale stay until they end by \
                     themselves"
                );
            }
            let mut queue = self.lock();
            (queue.look, queue.found) = (false, found);
            self.0.found.notify_one();
        }
        let due: Vec<Flow> = take(&mut self.lock().due).into_iter().collect();
        let gone = conntrack.forget(&due).await.inspect_err(|_| self.lock().due.extend(&due))?;
        tracing::debug!(gone, stale = due.len(), "stale UDP flows forgotten");
        Ok(())
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

    impl Recorder {
        fn fail(&mut self) -> Result<(), NetfilterError> {
            let fails = self.1 > 0;
            self.1 = self.1.saturating_sub(1);
            if fails { Err(NetfilterError::Unanswered) } else { Ok(()) }
        }
    }

    impl ForgetFlows for Recorder {
        async fn forget(&mut self, flows: &[Flow]) -> Result<usize, NetfilterError> {
            self.fail()?;
            self.0.send(flows.to_vec()).unwrap();
            Ok(flows.len())
        }

        async fn udp_flows(&mut self, most: usize) -> Result<BTreeSet<Flow>, NetfilterError> {
            self.fail()?;
            Ok((0..3).map(flow).take(most).collect())
        }
    }

    fn flow(n: u32) -> Flow {
        let ip = std::net::IpAddr::from(n.to_be_bytes());
        let frontend = FrontendAddress { ip, protocol: Protocol::Udp, port: 53 };
        Flow { frontend, endpoint: SocketAddr::new(ip, 53) }
    }

    #[tokio::test]
    async fn flows_go_once_they_are_released_and_again_after_a_failure() {
        for failures in [0, 1] {
            let (sender, mut forgotten) = mpsc::unbounded_channel();
            let (queue, until) = (StaleFlowQueue::default(), CancellationToken::new());
            queue.hold(vec![flow(1), flow(2)]);
            let (reader, end) = (queue.clone(), until.clone());
            let task = tokio::spawn(async move {
                reader.drain_with(Recorder(sender, failures), end, Duration::from_millis(1)).await
            });
            // On this one thread the reader runs whenever the test yields, and does at once what is due.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(forgotten.try_recv().is_err(), "the rules still lead there");
            queue.hold(vec![flow(2), flow(3)]);
            queue.release();
            assert_eq!(forgotten.recv().await.unwrap(), [flow(1), flow(2), flow(3)]);
            until.cancel();
            task.await.unwrap();
        }
    }

    #[tokio::test]
    async fn flows_are_looked_up_once_also_after_a_failure() {
        let (sender, mut forgotten) = mpsc::unbounded_channel();
        let (queue, until) = (StaleFlowQueue::default(), CancellationToken::new());
        queue.look();
        queue.hold(vec![flow(7)]);
        queue.release();
        let (reader, end) = (queue.clone(), until.clone());
        let task = tokio::spawn(async move {
            reader.drain_with(Recorder(sender, 1), end, Duration::from_millis(1)).await
        });
        assert_eq!(queue.found().await, BTreeSet::from([flow(0), flow(1), flow(2)]));
        assert_eq!(forgotten.recv().await.unwrap(), [flow(7)]);
        queue.hold(vec![flow(8)]);
        queue.release();
        assert_eq!(forgotten.recv().await.unwrap(), [flow(8)]);
        assert!(queue.lock().found.is_empty() && !queue.lock().look);
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
