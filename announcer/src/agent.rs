//! The loop: what watches, Leases, links and the segment say goes into the [`Announcer`], and responders carry out
//! what it orders.
//!
//! The Lease is renewed only from when every list has arrived: a node that cannot answer yet must not be elected.
//! A watch that fails keeps what it knew (see `penstock_runtime::updates`), so that an API server that goes away
//! takes nothing from the announcer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, Stream, StreamExt};
use kube::Client;
use penstock_model::Service;
use penstock_runtime::Telemetry;
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Announcer, Input, Metrics, Orders,
    announcement::{self, SessionState},
    dataplane_link::{DataplaneLink, DataplaneLinkError, Done},
    deadline,
    event::Events,
    lease::{LeaseConfig, LeaseKeeper},
    link::{LinkError, LinkWatch},
    packet_socket::{PacketSocket, PacketSocketError},
    passwords::Passwords,
    readiness,
    reporter::Reporter,
    responder::Responders,
    routers::{self, Routers},
    succession::{Predecessor, Progress, Succession, SuccessionError, Successor},
    watches,
};

/// How long a stopping announcer keeps answering while no other node claims its addresses. Others need the time
/// of one write and one watch event; where nobody can take over, to wait longer helps nobody.
const HANDOVER: Duration = Duration::from_secs(1);
/// Of so many addresses that are taken over together the Services are told by an event. A node that dies must not cost
/// a write for each of its addresses; all of them stand in the NodeAnnouncement, and in the log.
const TAKEOVER_EVENTS: usize = 50;
/// News that may wait from tasks of this process.
const QUEUE: usize = 1024;

/// Why an announcer cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No packet sockets.
    #[error(transparent)]
    PacketSocket(#[from] PacketSocketError),
    /// No links.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// No socket for the dataplane.
    #[error(transparent)]
    Dataplane(#[from] DataplaneLinkError),
    /// No socket for the next announcer.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
}

/// What an agent must know.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The name of this node's Node object.
    pub node_name: String,
    /// The namespace of Leases, pools and advertisements. Pools elsewhere are not read: whoever may write them
    /// decides which addresses the nodes answer for.
    pub namespace: String,
    /// Interfaces used where an advertisement names none; empty: those that hold the node's InternalIPs.
    pub interfaces: Vec<String>,
    /// How long a renewal of a Lease lasts.
    pub lease_duration: Duration,
    /// The abstract Unix socket on which this node's dataplane says which addresses have rules. With it, no others are
    /// announced.
    pub dataplane_socket: Option<String>,
    /// How one announcer of this node follows another; without it each stops before the next one starts.
    pub succession: Option<SuccessionConfig>,
}

/// What one that follows another must know.
#[derive(Clone, Debug)]
pub struct SuccessionConfig {
    /// The abstract Unix socket of the one that announces.
    pub socket: String,
    /// This process's Pod, whose readiness is asked for by [`crate::readiness`].
    pub pod: Option<String>,
}

/// Announces until told to stop, then leaves it to the next announcer of this node, or to other nodes.
///
/// # Errors
/// Only at the start: sockets that this process may not open.
pub async fn run(
    client: Client,
    config: AgentConfig,
    telemetry: Telemetry,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    PacketSocket::check()?;
    let (news, heard) = mpsc::channel(QUEUE);
    tokio::spawn(LinkWatch::open()?.run(news.clone()));
    let succession =
        Succession::start(config.succession.as_ref().map(|s| s.socket.as_str()), news.clone()).await?;
    let inputs = watches::inputs(&client, &config.namespace, heard);
    let mut agent = Agent::new(client, config, telemetry, news, succession);
    agent.announce(inputs, &stop).await
}

struct Agent {
    client: Client,
    config: AgentConfig,
    telemetry: Telemetry,
    metrics: Metrics,
    news: mpsc::Sender<Input>,
    announcer: Announcer,
    responders: Responders,
    events: Events,
    passwords: Passwords,
    reporter: Reporter,
    routers: Routers,
    sessions: BTreeMap<String, SessionState>,
    carried_out: Arc<Orders>,
    /// Of words whose orders are not carried out yet.
    awaiting: Vec<Done>,
    /// Of the announcer, when it was last said what is announced.
    said: Option<(u64, u64)>,
    keeper: Option<(CancellationToken, JoinHandle<()>)>,
    succession: Succession,
    /// No other announcer is on this node any longer: what only one can have can be had.
    alone: bool,
    /// Hears the dataplane, from then on.
    dataplane: JoinSet<Result<(), DataplaneLinkError>>,
}

impl Agent {
    fn new(
        client: Client,
        config: AgentConfig,
        telemetry: Telemetry,
        news: mpsc::Sender<Input>,
        succession: Succession,
    ) -> Self {
        let metrics = Metrics::default();
        telemetry.register(|registry| metrics.register(registry));
        let announcer = Announcer::new(&config.node_name, config.interfaces.clone(), config.lease_duration);
        Self {
            announcer: if config.dataplane_socket.is_some() { announcer.coupled() } else { announcer },
            responders: Responders::new(news.clone(), metrics.clone()),
            events: Events::start(client.clone(), &config.node_name),
            passwords: Passwords::new(client.clone(), &config.namespace, news.clone()),
            reporter: Reporter::start(client.clone(), &config.namespace, &config.node_name),
            routers: Routers::new(metrics.clone()),
            sessions: BTreeMap::new(),
            carried_out: Arc::default(),
            awaiting: Vec::new(),
            said: None,
            keeper: None,
            succession,
            alone: false,
            dataplane: JoinSet::new(),
            client,
            config,
            telemetry,
            metrics,
            news,
        }
    }

    async fn announce(
        &mut self,
        inputs: impl Stream<Item = Input>,
        stop: &CancellationToken,
    ) -> Result<(), AgentError> {
        let mut inputs = std::pin::pin!(inputs);
        while !stop.is_cancelled() {
            tokio::select! {
                () = stop.cancelled() => break,
                stepped = self.step(inputs.as_mut()) => stepped?,
            }
        }
        self.leave(inputs).await;
        Ok(())
    }

    /// Waits for anything to happen, and acts on it.
    async fn step(&mut self, mut inputs: Pin<&mut impl Stream<Item = Input>>) -> Result<(), AgentError> {
        tokio::select! {
            Some(Ok(ended)) = self.dataplane.join_next() => ended?,
            () = deadline::reached(self.announcer.next_deadline(Instant::now())) => {}
            () = self.routers.hear() => self.report_sessions(),
            Some(input) = inputs.next() => self.take_all(input, inputs.as_mut()),
        }
        self.act();
        Ok(())
    }

    /// Takes one input and all that wait behind it: one decision for all of them.
    fn take_all(&mut self, first: Input, mut inputs: Pin<&mut impl Stream<Item = Input>>) {
        self.take(first);
        for _ in 0..QUEUE {
            match inputs.next().now_or_never().flatten() {
                Some(input) => self.take(input),
                None => break,
            }
        }
    }

    fn take(&mut self, input: Input) {
        if let Input::Standing { done, .. } = &input {
            self.awaiting.push(done.clone());
        }
        if matches!(input, Input::Predecessor(Predecessor::Gone)) {
            self.begin_alone();
        }
        self.announcer.take(input, Instant::now());
    }

    /// What only one process of a node can have is ours from now on: see [`crate::succession`].
    fn begin_alone(&mut self) {
        self.alone = true;
        let Some(name) = self.config.dataplane_socket.clone() else { return };
        let news = self.news.clone();
        self.dataplane.spawn(async move {
            DataplaneLink::open(&name, news).await?.run().await;
            Ok(())
        });
    }

    fn act(&mut self) {
        let orders = self.announcer.decide(Instant::now());
        // Also without new orders: an interface may have come back, or a responder have ended.
        self.responders.carry_out(&orders, self.announcer.links());
        self.passwords.watch(&self.announcer.secrets());
        if self.alone && self.announcer.is_synced() {
            self.routers.carry_out(&orders);
        }
        if orders != self.carried_out {
            self.report(&orders);
            self.carried_out = orders;
        }
        self.awaiting.clear();
        for conflict in self.announcer.take_conflicts() {
            for service in self.services_of(conflict.address) {
                self.events.address_conflict(service, &conflict);
            }
        }
        self.say();
        self.metrics.lease_healthy.set(i64::from(self.announcer.is_healthy()));
        if self.announcer.is_synced() && self.keeper.is_none() {
            self.start_keeper();
        }
        self.report_progress();
    }

    /// Tells the announcer before us, and who asks whether we are ready.
    fn report_progress(&self) {
        let ready = self.announcer.can_follow(Instant::now()) || self.announcer.is_synced();
        if ready && !self.telemetry.readiness.is_ready() {
            self.telemetry.readiness.set_ready();
            self.say_ready();
            self.succession.reached(Progress::Ready);
        }
        if self.announcer.is_healthy() {
            self.succession.reached(Progress::Answering);
        }
    }

    /// Says in the API what is announced. Not before all lists have arrived, and not while another announcer of this node says
    /// it: what stands there from before is nearer to the truth.
    fn say(&mut self) {
        let revision = Some((self.announcer.revision(), self.routers.revision()));
        if !self.alone || !self.announcer.is_synced() || self.said == revision {
            return;
        }
        self.said = revision;
        let addresses = self.announcer.cluster().addresses();
        self.reporter.tell(announcement::status(&self.carried_out, self.routers.states(), addresses));
    }

    fn report_sessions(&mut self) {
        let states = self.routers.states();
        for (peer, is_up) in routers::turns(&self.sessions, states) {
            let reason = states[peer].reason.clone().unwrap_or_default();
            if is_up {
                tracing::info!(peer, "BGP: the session is established");
            } else {
                tracing::warn!(peer, reason, "BGP: the session is lost");
            }
            if let Some(session) = self.carried_out.sessions.get(peer) {
                self.events.session(peer, &session.uid, &self.config.namespace, is_up, &reason);
            }
        }
        self.sessions.clone_from(states);
    }

    fn start_keeper(&mut self) {
        tracing::info!("all lists have arrived");
        let config = LeaseConfig {
            namespace: self.config.namespace.clone(),
            node: self.config.node_name.clone(),
            duration: self.config.lease_duration,
        };
        let keeper = LeaseKeeper::new(self.client.clone(), config, self.news.clone(), self.metrics.clone());
        let stop = CancellationToken::new();
        self.keeper = Some((stop.clone(), tokio::spawn(keeper.run(stop))));
    }

    fn report(&self, orders: &Orders) {
        for problem in orders.problems.difference(&self.carried_out.problems) {
            tracing::warn!("{problem}");
        }
        for address in self.carried_out.beyond(orders) {
            tracing::info!(%address, "giving an address up");
            self.metrics.give_ups.inc();
        }
        for (count, address) in orders.beyond(&self.carried_out).into_iter().enumerate() {
            self.report_takeover(address, &orders.owned[&address], count < TAKEOVER_EVENTS);
        }
        self.metrics.owned_addresses.set(i64::try_from(orders.owned.len()).unwrap_or(i64::MAX));
    }

    fn report_takeover(&self, address: IpAddr, interfaces: &BTreeSet<String>, with_events: bool) {
        self.metrics.takeovers.inc();
        if interfaces.is_empty() {
            tracing::warn!(%address, "taking an address over, but no interface to answer on is there and up");
        } else {
            tracing::info!(%address, ?interfaces, "taking an address over");
        }
        for service in self.services_of(address).filter(|_| with_events) {
            self.events.node_assigned(service, address);
        }
    }

    fn services_of(&self, address: IpAddr) -> impl Iterator<Item = &Service> {
        let cluster = self.announcer.cluster();
        self.announcer.services_of(address).filter_map(|key| cluster.service(key))
    }

    /// The next announcer of this node goes on where this one ends; without one, other nodes do.
    async fn leave(&mut self, mut inputs: Pin<&mut impl Stream<Item = Input>>) {
        if let Some(successor) = self.successor().await {
            let answers = self.answer_until(successor.answers(), inputs.as_mut()).await;
            if let Some(_until_the_end) = answers {
                return self.fall_silent().await;
            }
            tracing::warn!("the next announcer of this node does not answer: other nodes shall take over");
        }
        self.hand_over(inputs).await;
    }

    fn say_ready(&self) {
        let Some(SuccessionConfig { socket, pod: Some(pod) }) = &self.config.succession else { return };
        if let Err(error) = readiness::say(socket, pod) {
            tracing::error!(%error, pod, "nobody hears that this Pod is ready: is another process in its name here?");
        }
    }

    async fn successor(&mut self) -> Option<Successor> {
        let standing = self.announcer.cluster().standing();
        if self.announcer.is_synced() { self.succession.yield_to_next(standing.as_ref()).await } else { None }
    }

    /// Goes on as before until the next one answers, for as long as a renewal of the Lease lasts.
    async fn answer_until(
        &mut self,
        answers: impl Future<Output = Option<Successor>>,
        mut inputs: Pin<&mut impl Stream<Item = Input>>,
    ) -> Option<Successor> {
        let mut answers = std::pin::pin!(answers);
        let limit = Instant::now() + self.config.lease_duration;
        loop {
            tokio::select! {
                answers = &mut answers => return answers,
                () = deadline::reached(Some(limit)) => return None,
                // The dataplane's socket is of no use to one that ends.
                _ = self.step(inputs.as_mut()) => {}
            }
        }
    }

    /// Ends without a word: the Lease is the next one's, and routers keep what they know until it speaks to them.
    async fn fall_silent(&mut self) {
        if let Some((_, keeper)) = self.keeper.take() {
            keeper.abort();
        }
        std::mem::replace(&mut self.routers, Routers::new(self.metrics.clone())).stop().await;
        tracing::info!("the next announcer of this node answers");
    }

    /// Gives the Lease up first and keeps answering until the next owners are heard: see [`crate::fence`].
    async fn hand_over(&mut self, mut inputs: Pin<&mut impl Stream<Item = Input>>) {
        self.announcer.begin_stop();
        self.act();
        let farewell =
            tokio::spawn(std::mem::replace(&mut self.routers, Routers::new(self.metrics.clone())).stop());
        let released = self.keeper.take();
        if let Some((stop, _)) = &released {
            stop.cancel();
        }
        let limit = Instant::now() + HANDOVER;
        while !self.carried_out.owned.is_empty() && Instant::now() < limit {
            tokio::select! {
                () = deadline::reached(Some(limit)) => {}
                Some(input) = inputs.next() => self.take_all(input, inputs.as_mut()),
            }
            self.act();
        }
        if let Some((_, keeper)) = released {
            // It needs half a duration at most, unless it waits for a renewal before.
            let _ = tokio::time::timeout(self.config.lease_duration, keeper).await;
        }
        // It has a limit of its own.
        let _ = farewell.await;
        tracing::info!("stopped answering");
    }
}
