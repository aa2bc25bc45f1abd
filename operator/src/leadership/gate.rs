//! What a process that does not lead would write goes nowhere.
//!
//! The question is asked of the monotonic clock before each request and whenever one under way makes a step, not of
//! a flag that some task would have to clear: after a process was suspended (SIGSTOP, a frozen cgroup), it is this
//! clock that has gone on, and no task.

use std::{pin::pin, task::Poll, time::Instant};

use http::{Method, Request};
use kube::{
    Client,
    client::{Body, ClientBuilder},
};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use tower::BoxError;

/// This process does not lead, or not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this operator is not the leader: the change is left to the one that is")]
pub struct NotLeader;

#[derive(Clone, Copy, Debug, Default)]
struct Admission {
    /// Until when requests may be made and be under way.
    until: Option<Instant>,
    /// Those under way may end, and no new ones begin.
    closing: bool,
}

impl Admission {
    fn holds(self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

/// Lets changes pass while this process leads. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    admission: watch::Receiver<Admission>,
    passing: TaskTracker,
}

/// Opens and closes a [`Gate`]. Clones keep the same gate.
#[derive(Clone, Debug)]
pub struct GateKeeper {
    admission: watch::Sender<Admission>,
    gate: Gate,
}

impl Default for GateKeeper {
    fn default() -> Self {
        let (sender, receiver) = watch::channel(Admission::default());
        Self { admission: sender, gate: Gate { admission: receiver, passing: TaskTracker::new() } }
    }
}

impl GateKeeper {
    /// The gate.
    #[must_use]
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Open until then; `None` closes it at once, also for what is under way.
    pub fn open_until(&self, until: Option<Instant>) {
        self.admission.send_modify(|admission| admission.until = until);
    }

    /// Lets nothing new begin, and returns when what is under way has ended; at the latest when leadership has.
    pub async fn drain(&self) {
        self.admission.send_modify(|admission| admission.closing = true);
        self.gate.passing.close();
        self.gate.passing.wait().await;
    }
}

impl Gate {
    /// Whether this process leads and may begin something.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let admission = *self.admission.borrow();
        !admission.closing && admission.holds(Instant::now())
    }

    /// As [`Gate::is_open`], for use with `?` before a step.
    ///
    /// # Errors
    /// When this process does not lead.
    pub fn check(&self) -> Result<(), NotLeader> {
        self.is_open().then_some(()).ok_or(NotLeader)
    }

    /// Does `work` while the gate is open: begins only then, and goes on only while this process leads.
    ///
    /// # Errors
    /// When it does not lead (any more). What was under way may have been done or not.
    pub async fn guard<T>(&self, work: impl Future<Output = T>) -> Result<T, NotLeader> {
        // Before the check, so that `drain` sees whatever passed it.
        let _passing = self.passing.token();
        self.check()?;
        let (mut work, mut closed) = (pin!(work), pin!(self.closed()));
        std::future::poll_fn(|context| {
            let lost = closed.as_mut().poll(context).is_ready() || !self.holds();
            if lost { Poll::Ready(Err(NotLeader)) } else { work.as_mut().poll(context).map(Ok) }
        })
        .await
    }

    /// Returns once this process does not lead.
    pub async fn closed(&self) {
        let mut admission = self.admission.clone();
        loop {
            let current = *admission.borrow_and_update();
            let Some(until) = current.until.filter(|_| current.holds(Instant::now())) else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => {}
                Ok(()) = admission.changed() => {}
            }
        }
    }

    /// A client whose changes (all but GET and HEAD) pass this gate.
    #[must_use]
    pub fn client(&self, client: &Client) -> Client {
        let (gate, inner) = (self.clone(), client.clone());
        let service = tower::service_fn(move |request| pass(gate.clone(), inner.clone(), request));
        ClientBuilder::new(service, client.default_namespace())
            .with_valid_until(*client.valid_until())
            .build()
    }

    fn holds(&self) -> bool {
        self.admission.borrow().holds(Instant::now())
    }
}

async fn pass(gate: Gate, client: Client, request: Request<Body>) -> Result<http::Response<Body>, BoxError> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let answer = client.send(request);
    let answer = if reads { answer.await } else { gate.guard(answer).await? };
    answer.map_err(BoxError::from)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::{
        Api,
        api::{DeleteParams, Patch, PatchParams, PostParams},
    };
    use serde_json::json;
    use tokio::sync::oneshot;

    use super::*;

    fn ahead(seconds: u64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(seconds))
    }

    /// A client of a server that answers everything, and how often it was asked.
    fn server() -> (Client, Arc<AtomicUsize>) {
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let service = tower::service_fn(move |_request: Request<Body>| {
            counter.fetch_add(1, Ordering::Relaxed);
            let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
            std::future::ready(Ok::<_, BoxError>(http::Response::new(Body::from(
                object.to_string().into_bytes(),
            ))))
        });
        (Client::new(service, "default"), asked)
    }

    /// How many of a read and four changes reach the server.
    async fn reached(keeper: &GateKeeper) -> (bool, usize) {
        let (client, asked) = server();
        let api: Api<ConfigMap> = Api::default_namespaced(keeper.gate().client(&client));
        let read = api.get("a").await.is_ok();
        let before = asked.load(Ordering::Relaxed);
        let patch = Patch::Merge(json!({}));
        let changes = [
            api.create(&PostParams::default(), &ConfigMap::default()).await.err(),
            api.replace("a", &PostParams::default(), &ConfigMap::default()).await.err(),
            api.patch("a", &PatchParams::default(), &patch).await.err(),
            api.delete("a", &DeleteParams::default()).await.err(),
        ];
        for error in changes.into_iter().flatten() {
            let kube::Error::Service(source) = &error else { panic!("{error}") };
            assert!(source.is::<NotLeader>(), "{error}");
            assert!(error.to_string().contains("not the leader"), "{error}");
        }
        (read, asked.load(Ordering::Relaxed) - before)
    }

    #[tokio::test]
    async fn changes_pass_only_before_the_deadline_and_reads_always() {
        let keeper = GateKeeper::default();
        assert_eq!(reached(&keeper).await, (true, 0), "never led");
        keeper.open_until(ahead(3600));
        assert_eq!(reached(&keeper).await, (true, 4));
        // As after SIGSTOP and SIGCONT: nobody closed the gate, but the clock has gone on.
        keeper.open_until(Some(Instant::now()));
        assert_eq!(reached(&keeper).await, (true, 0));
        keeper.open_until(None);
        assert_eq!(reached(&keeper).await, (true, 0));
    }

    #[tokio::test]
    async fn what_is_under_way_ends_with_the_leadership_that_it_began_under() {
        let keeper = GateKeeper::default();
        keeper.open_until(ahead(3600));
        let gate = keeper.gate();
        let work = gate.guard(std::future::pending::<()>());
        let close = async { keeper.open_until(None) };
        let both = async { tokio::join!(work, close).0 };
        assert_eq!(tokio::time::timeout(Duration::from_secs(60), both).await, Ok(Err(NotLeader)));

        keeper.open_until(Some(Instant::now() + Duration::from_millis(1)));
        gate.closed().await;
        assert!(!gate.is_open(), "a deadline that passes needs nobody to close the gate");
    }

    #[tokio::test]
    async fn a_renewal_keeps_what_is_under_way() {
        let keeper = GateKeeper::default();
        keeper.open_until(ahead(3600));
        let (gate, (end, ended)) = (keeper.gate(), oneshot::channel());
        let work = gate.guard(ended);
        let renew = async {
            keeper.open_until(ahead(7200));
            end.send(5).unwrap();
        };
        assert_eq!(tokio::join!(work, renew).0, Ok(Ok(5)));
    }

    #[tokio::test]
    async fn a_closing_gate_lets_what_is_under_way_end_and_nothing_begin() {
        let keeper = GateKeeper::default();
        keeper.open_until(ahead(3600));
        let (gate, (end, ended)) = (keeper.gate(), oneshot::channel());
        let work = gate.guard(ended);
        let rest = async {
            let finish = async {
                assert_eq!(gate.guard(async {}).await, Err(NotLeader));
                end.send(5).unwrap();
            };
            tokio::join!(keeper.drain(), finish)
        };
        assert_eq!(tokio::join!(work, rest).0, Ok(Ok(5)));
    }
}
