//! The agent's loop over the real backend.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt, channel::mpsc, stream};
use ipnet::IpNet;
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery};
use penstock_crds::{ExternalIPPolicy, ExternalIPPolicySpec};
use penstock_model::{Change, Flow, ObjectKey};
use penstock_node::{
    Agent, Applied, ApplyError, Backend, Conntrack, Event, ForgetFlows, HealthChecks, Metrics,
    NetfilterError, NetworkNamespace, Piece, StaleFlowQueue,
    nftables::{Nft, Nftables, TableWatch},
};
use penstock_runtime::{Readiness, Update};
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::{Value, json};
use tokio::{
    runtime::Runtime,
    sync::{mpsc::UnboundedSender, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    lab::{index, node_object, service, slice, table_config},
    namespace::Namespace,
};

/// For what comes at once unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Running {
    pub(crate) node: Arc<Namespace>,
    pub(crate) readiness: Readiness,
    metrics: Registry,
    loads: Arc<AtomicU64>,
    stale_flows: StaleFlowQueue,
    health_checks: watch::Receiver<HealthChecks>,
    until: CancellationToken,
    runtime: Runtime,
}

impl Running {
    pub(crate) fn start(
        node: impl Into<Arc<Namespace>>,
        events: impl Stream<Item = Event> + Send + 'static,
    ) -> Self {
        let node = node.into();
        let nft = Nft::in_namespace(node.name());
        Self::start_with(node, nft, events)
    }

    /// As `start`, and it hears of what others change, as the program does.
    pub(crate) fn start_watching(
        node: Namespace,
        events: impl Stream<Item = Event> + Send + 'static,
    ) -> Self {
        let runtime = Runtime::new().unwrap();
        let inside = runtime.enter();
        let (table, own) = TableWatch::open(&NetworkNamespace::Named(node.name().into())).unwrap();
        drop(inside);
        let backend = Nftables::new(Nft::in_namespace(node.name()), table_config()).known_to(own);
        Self::run(
            node.into(),
            runtime,
            backend,
            stream::select(table.into_stream().map(Event::Touched), events),
        )
    }

    fn start_with(
        node: Arc<Namespace>,
        nft: Nft,
        events: impl Stream<Item = Event> + Send + 'static,
    ) -> Self {
        Self::run(node, Runtime::new().unwrap(), Nftables::new(nft, table_config()), events)
    }

    fn run(
        node: Arc<Namespace>,
        runtime: Runtime,
        backend: Nftables,
        events: impl Stream<Item = Event> + Send + 'static,
    ) -> Self {
        let loads = Arc::new(AtomicU64::new(0));
        let backend = Counted { backend, loads: loads.clone() };
        let (readiness, until) = (Readiness::default(), CancellationToken::new());
        let (counts, mut metrics) = (Metrics::default(), Registry::default());
        counts.register(&mut metrics);
        let agent = Agent::new(index(), backend, counts, readiness.clone());
        let (stale_flows, health_checks) = (agent.stale_flows(), agent.health_checks());
        runtime.spawn(agent.run(events, until.clone()));
        Self { node, readiness, metrics, loads, stale_flows, health_checks, until, runtime }
    }

    /// How often others were seen to change the rules, and how often they may have.
    pub(crate) fn foreign_changes(&self) -> [u64; 2] {
        let mut text = String::new();
        encode(&mut text, &self.metrics).unwrap();
        ["seen", "possible"].map(|certainty| {
            let start = format!("dataplane_foreign_changes_total{{certainty=\"{certainty}\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).map_or(0, |count| count.parse().unwrap())
        })
    }

    /// Has the node's connection tracking forget what is stale, as the program does.
    pub(crate) fn forget_flows(&self) {
        let conntrack = Conntrack::new(NetworkNamespace::Named(self.node.name().into()));
        let (queue, until) = (self.stale_flows.clone(), self.until.clone());
        self.runtime.spawn(async move { queue.drain(conntrack, until).await });
    }

    /// Ends it. The rules stay.
    pub(crate) fn stop(self) {
        self.until.cancel();
        self.wait("the agent to end", || self.health_checks.has_changed().is_err());
    }

    /// How often everything was loaded.
    pub(crate) fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    /// With all lists; what is sent later follows.
    fn listed() -> (Self, mpsc::UnboundedSender<Event>) {
        let (events, later) = mpsc::unbounded();
        let lists = stream::iter(lists());
        let agent = Self::start(Namespace::new("node"), lists.chain(later));
        agent.wait("the first load", || agent.readiness.is_ready());
        (agent, events)
    }

    pub(crate) fn wait(&self, what: &str, condition: impl Fn() -> bool) {
        self.wait_within(PATIENCE, what, condition);
    }

    /// For what the agent asks about seldom.
    pub(crate) fn wait_long(&self, what: &str, condition: impl Fn() -> bool) {
        self.wait_within(Duration::from_secs(120), what, condition);
    }

    fn wait_within(&self, limit: Duration, what: &str, condition: impl Fn() -> bool) {
        self.runtime.block_on(async {
            let deadline = Instant::now() + limit;
            while !condition() {
                assert!(Instant::now() < deadline, "still waiting: {what}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }

    /// Whether a frontend is rejected for want of endpoints.
    pub(crate) fn refuses(&self, frontend: &str) -> bool {
        self.node.nft("list set inet penstock refused4").contains(frontend)
    }

    pub(crate) fn has(&self, element: &str) -> bool {
        self.node.nft("list ruleset").contains(element)
    }
}

/// A backend whose loads are counted.
struct Counted {
    backend: Nftables,
    loads: Arc<AtomicU64>,
}

impl Backend for Counted {
    async fn apply(&mut self, changes: &[Change]) -> Result<Applied, ApplyError> {
        self.backend.apply(changes).await
    }

    fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>) {
        self.backend.take_service_cidrs(cidrs);
    }

    async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        let applied = self.backend.reload(all).await?;
        self.loads.fetch_add(1, Ordering::SeqCst);
        Ok(applied)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.until.cancel();
    }
}

pub(crate) fn web(ip: &str) -> core::Service {
    service("web", "u1", &json!({"clusterIPs": [ip], "ports": [{"port": 80}]}), &[])
}

/// All Services, as a watch says them.
pub(crate) fn services(all: Vec<core::Service>) -> Vec<Event> {
    let complete = Piece::Complete(all.iter().map(|service| ObjectKey::of(&service.metadata)).collect());
    let pieces = all.into_iter().map(Piece::Apply).chain([complete]);
    pieces.map(|piece| Event::Service(Box::new(piece))).collect()
}

/// All slices, likewise.
pub(crate) fn slices(all: Vec<discovery::EndpointSlice>) -> Vec<Event> {
    let complete = Piece::Complete(all.iter().map(|slice| ObjectKey::of(&slice.metadata)).collect());
    let pieces = all.into_iter().map(Piece::Apply).chain([complete]);
    pieces.map(|piece| Event::Slice(Box::new(piece))).collect()
}

/// The endpoint of [`web`].
pub(crate) fn web_slice() -> discovery::EndpointSlice {
    slice("web", &json!([{"port": 8080}]), &["10.244.0.2"])
}

/// All lists: of the Services, of the slices, and what goes with them.
pub(crate) fn lists_of(all: Vec<core::Service>, endpoints: Vec<discovery::EndpointSlice>) -> Vec<Event> {
    [services(all), slices(endpoints), vec![nodes(), policies(&[]), ranges(&[])]].concat()
}

/// The lists with [`web`] alone.
pub(crate) fn lists() -> Vec<Event> {
    lists_of(vec![web("10.96.0.10")], vec![web_slice()])
}

pub(crate) fn nodes() -> Event {
    Event::Node(Box::new(Update::Reset(vec![node_object()])))
}

pub(crate) fn ranges(cidrs: &[&str]) -> Event {
    let object = json!({"metadata": {"name": "more"}, "spec": {"cidrs": cidrs}});
    Event::ServiceCidr(Box::new(Update::Reset(vec![serde_json::from_value(object).unwrap()])))
}

/// Policies that allow the addresses to the namespace of [`web`].
pub(crate) fn policies(allowed: &[&str]) -> Event {
    let policy = |cidr: &&str| {
        let spec = ExternalIPPolicySpec { namespaces: vec!["d".into()], cidrs: vec![(*cidr).into()] };
        ExternalIPPolicy::new(&cidr.replace('/', "-"), spec)
    };
    Event::ExternalIpPolicy(Box::new(Update::Reset(allowed.iter().map(policy).collect())))
}

#[test]
fn nothing_is_touched_before_all_lists_have_arrived() {
    let (reached, checkpoint) = oneshot::channel();
    let (go, go_on) = oneshot::channel();
    let last = async move {
        // The first poll ends the batch; the second comes after the agent has acted on it.
        tokio::task::yield_now().await;
        reached.send(()).unwrap();
        go_on.await.unwrap();
        stream::iter(slices(vec![web_slice()]))
    };
    let services = services(vec![web("10.96.0.10")]);
    let events = stream::iter([services, vec![nodes(), policies(&[]), ranges(&[])]].concat())
        .chain(stream::once(last).flatten())
        .chain(stream::pending());
    let node = Namespace::new("node");
    node.nft("add table inet penstock; add chain inet penstock predecessor");
    let agent = Running::start(node, events);
    agent.runtime.block_on(checkpoint).unwrap();
    assert!(agent.has("chain predecessor") && !agent.readiness.is_ready());
    go.send(()).unwrap();
    agent.wait("the first load", || agent.readiness.is_ready());
    assert!(agent.has("10.96.0.10 . tcp . 80 : 8800:1") && !agent.has("chain predecessor"));
}

#[test]
fn rules_removed_from_outside_come_back_with_the_next_change() {
    let (agent, events) = Running::listed();
    agent.node.nft("delete table inet penstock");
    let piece = Piece::Apply(web("10.96.0.20"));
    events.unbounded_send(Event::Service(Box::new(piece))).unwrap();
    agent.wait("all rules", || agent.has("10.96.0.20 . tcp . 80 : 8800:1"));
    assert!(agent.has("hairpin4") && !agent.has("10.96.0.10"));
}

#[test]
fn not_ready_while_the_kernel_is_in_doubt() {
    let (events, later) = mpsc::unbounded();
    let all = stream::iter(lists());
    let node = Namespace::new("node");
    let alias = node.alias();
    let agent = Running::start_with(node.into(), Nft::in_namespace(alias.name()), all.chain(later));
    agent.wait("the first load", || agent.readiness.is_ready());
    alias.remove();
    // No Service has affinity yet: its chain takes the program, which finds no namespace.
    let spec = json!({"clusterIPs": ["10.96.0.20"], "ports": [{"port": 80}], "sessionAffinity": "ClientIP"});
    let sticky = service("web", "u1", &spec, &[]);
    events.unbounded_send(Event::Service(Box::new(Piece::Apply(sticky)))).unwrap();
    agent.wait("not ready", || !agent.readiness.is_ready());
    alias.restore();
    agent.wait("ready again", || agent.readiness.is_ready());
    assert!(agent.has("10.96.0.20 . tcp . 80"));
}

#[test]
fn external_ips_come_and_go_with_the_policies() {
    let (agent, events) = Running::listed();
    let spec = json!({"clusterIPs": ["10.96.0.10"], "externalIPs": ["80.11.12.10"], "ports": [{"port": 80}]});
    let web = service("web", "u1", &spec, &[]);
    let elsewhere = json!({"clusterIPs": ["10.96.0.20"], "ports": [{"port": 80}]});
    let other = service("other", "u2", &elsewhere, &[]);
    events.unbounded_send(Event::Service(Box::new(Piece::Apply(web)))).unwrap();
    events.unbounded_send(Event::Service(Box::new(Piece::Apply(other)))).unwrap();
    agent.wait("the Services", || agent.has("10.96.0.20 . tcp . 80"));
    assert!(!agent.has("80.11.12.10"), "no policy allows it");
    events.unbounded_send(policies(&["80.11.12.10/33", "80.11.12.0/28"])).unwrap();
    agent.wait("the externalIP", || agent.has("80.11.12.10 . tcp . 80"));
    events.unbounded_send(policies(&["80.11.12.11/32"])).unwrap();
    agent.wait("no externalIP", || !agent.has("80.11.12.10"));
    assert!(agent.has("10.96.0.10 . tcp . 80 : 8800:1"));
}

#[test]
fn service_ranges_come_and_go_with_the_api_servers_and_those_of_the_flag_stay() {
    let (agent, events) = Running::listed();
    assert!(agent.has("10.96.0.0/16") && !agent.has("10.97.0.0/24"));
    for cidr in ["10.97.0.0/24", "2001:db8:97::/112"] {
        events.unbounded_send(ranges(&[cidr])).unwrap();
        agent.wait("the range", || agent.has(cidr));
        assert!(agent.has("10.96.0.0/16"));
    }
    assert!(!agent.has("10.97.0.0/24"));
    agent.node.nft("delete table inet penstock");
    events.unbounded_send(Event::Service(Box::new(Piece::Apply(web("10.96.0.20"))))).unwrap();
    agent.wait("all rules", || agent.has("10.96.0.20 . tcp . 80 : 8800:1"));
    assert!(agent.has("10.96.0.0/16") && agent.has("2001:db8:97::/112"));
}

#[test]
fn addresses_of_a_service_range_that_comes_later_are_not_served() {
    let (agent, events) = Running::listed();
    let spec = json!({
        "type": "LoadBalancer", "clusterIPs": ["10.96.0.10"], "externalIPs": ["80.11.12.10", "80.11.12.2"],
        "ports": [{"port": 80}]});
    let web = service("web", "u1", &spec, &["203.0.113.200"]);
    events.unbounded_send(policies(&["80.11.12.0/28"])).unwrap();
    events.unbounded_send(Event::Service(Box::new(Piece::Apply(web)))).unwrap();
    let served = || ["80.11.12.10 . tcp", "80.11.12.2 . tcp", "203.0.113.200 . tcp"].map(|ip| agent.has(ip));
    agent.wait("all addresses", || served() == [true; 3]);
    events.unbounded_send(ranges(&["80.11.12.8/29", "203.0.113.192/26"])).unwrap();
    agent.wait("what is outside the ranges", || served() == [false, true, false]);
    events.unbounded_send(ranges(&["203.0.113.192/26"])).unwrap();
    agent.wait("one is back", || served() == [true, true, false]);
    events.unbounded_send(ranges(&[])).unwrap();
    agent.wait("all are back", || served() == [true; 3]);
}

/// Remembers what it is to forget.
struct Recorder(UnboundedSender<String>, Arc<AtomicU64>);

impl ForgetFlows for Recorder {
    async fn forget(&mut self, flows: &[Flow]) -> Result<usize, NetfilterError> {
        let texts = flows.iter().map(|flow| format!("{} at {}", flow.frontend, flow.endpoint));
        texts.for_each(|text| self.0.send(text).unwrap());
        Ok(flows.len())
    }

    async fn udp_flows(&mut self, _most: usize) -> Result<BTreeSet<Flow>, NetfilterError> {
        self.1.fetch_add(1, Ordering::SeqCst);
        Ok(BTreeSet::new())
    }
}

#[test]
fn flows_to_what_is_gone_are_passed_on_also_when_no_rule_changes() {
    let (agent, events) = Running::listed();
    let (sender, mut forgotten) = tokio::sync::mpsc::unbounded_channel();
    let (queue, looks) = (agent.stale_flows.clone(), Arc::new(AtomicU64::new(0)));
    let recorder = Recorder(sender, looks.clone());
    agent.runtime.spawn(async move { queue.drain(recorder, CancellationToken::new()).await });
    let mut next =
        || agent.runtime.block_on(async { timeout(PATIENCE, forgotten.recv()).await.unwrap().unwrap() });
    let dns = json!({"clusterIPs": ["10.96.0.53"], "ports": [{"port": 53, "protocol": "UDP"}]});
    let send = |event| events.unbounded_send(event).unwrap();
    let endpoints = |conditions: [Value; 2]| {
        let mut slice =
            slice("dns", &json!([{"port": 53, "protocol": "UDP"}]), &["10.244.0.2", "10.244.0.3"]);
        for (endpoint, conditions) in slice.endpoints.iter_mut().flatten().zip(conditions) {
            endpoint.conditions = serde_json::from_value(conditions).unwrap();
        }
        slice
    };
    let ready = json!({"ready": true});
    let leaving = json!({"ready": false, "serving": true, "terminating": true});
    send(Event::Slice(Box::new(Piece::Apply(endpoints([ready.clone(), leaving])))));
    send(Event::Service(Box::new(Piece::Apply(service("dns", "u3", &dns, &[])))));
    assert_eq!(next(), "10.96.0.53:53/UDP at 10.96.0.53:53", "those from before there was a rule");
    // Which fails, so that everything is loaded again.
    agent.node.nft("delete table inet penstock");
    // It served those who had it, and nobody new.
    let gone = json!({"ready": false, "serving": false, "terminating": true});
    send(Event::Slice(Box::new(Piece::Apply(endpoints([ready, gone])))));
    send(Event::Service(Box::new(Piece::Apply(web("10.96.0.20")))));
    assert_eq!(next(), "10.96.0.53:53/UDP at 10.244.0.3:53");
    agent.wait("the second load", || agent.loads() == 2);
    // After that it is passed on: whatever a load asks for has been asked for.
    send(Event::Service(Box::new(Piece::Delete(service("dns", "u3", &dns, &[])))));
    assert_eq!(next(), "10.96.0.53:53/UDP at 10.244.0.2:53");
    assert_eq!(looks.load(Ordering::SeqCst), 1, "all flows are looked up at the start alone");
}

#[test]
fn health_checks_are_passed_on_as_they_are() {
    let (agent, events) = Running::listed();
    let checks = || agent.health_checks.borrow().values().map(|check| (check.port, check.ready_v4)).collect();
    let now: Vec<(u16, u32)> = checks();
    assert_eq!(now, []);
    let spec = |policy: &str| {
        let mut spec = json!({
            "type": "LoadBalancer", "clusterIPs": ["10.96.0.10"], "externalTrafficPolicy": policy,
            "ports": [{"port": 80}]});
        if policy == "Local" {
            spec["healthCheckNodePort"] = 32_000.into();
        }
        service("web", "u1", &spec, &[])
    };
    let send = |service| events.unbounded_send(Event::Service(Box::new(Piece::Apply(service)))).unwrap();
    send(spec("Local"));
    agent.wait("a check", || checks() == [(32_000, 1)]);
    slices(vec![]).into_iter().for_each(|event| events.unbounded_send(event).unwrap());
    agent.wait("no endpoint", || checks() == [(32_000, 0)]);
    send(spec("Cluster"));
    agent.wait("no check", || checks().is_empty());
}

#[test]
fn rules_stay_when_the_agent_ends() {
    let (agent, events) = Running::listed();
    agent.until.cancel();
    agent.wait("the agent to end", || events.is_closed());
    assert!(agent.has("10.96.0.10 . tcp . 80 : 8800:1"));
}
