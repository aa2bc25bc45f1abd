//! The servers at healthCheckNodePort, in a namespace: they listen on all addresses.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use jiff::SignedDuration;
use penstock_model::{HealthCheck, ObjectKey};
use penstock_node::{
    Agent, HealthChecks, Metrics, Progress, ProxyHealth, ServiceEvents,
    health_check::Servers,
    nftables::{Nft, Nftables},
    proxy_health::{Now, PATIENCE},
};
use penstock_runtime::Readiness;
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{lists_of, web_slice},
    lab::{index, service, table_config},
    namespace::Namespace,
};

const V4: Ipv4Addr = Ipv4Addr::LOCALHOST;
const V6: Ipv6Addr = Ipv6Addr::LOCALHOST;
const PORT: u16 = 31234;

struct Lab {
    health: ProxyHealth,
    checks: watch::Sender<HealthChecks>,
    events: tokio::sync::mpsc::Receiver<(
        kube::runtime::events::Event,
        k8s_openapi::api::core::v1::ObjectReference,
    )>,
    _runtime: tokio::runtime::Runtime,
}

impl Lab {
    fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (checks, said) = watch::channel(HealthChecks::new());
        let (recorder, events) = ServiceEvents::new("n1");
        let health = ProxyHealth::default();
        runtime.spawn(Servers::new(health.clone(), recorder).run(said, CancellationToken::new()));
        Self { health, checks, events, _runtime: runtime }
    }

    fn set(&self, name: &str, desired: Option<HealthCheck>) {
        let service = Arc::new(ObjectKey::new("d", name));
        self.checks.send_modify(|checks| match desired {
            Some(check) => drop(checks.insert(service, check)),
            None => drop(checks.remove(&service)),
        });
    }
}

/// What is answered, in lower case; `None` if nobody listens.
fn ask(address: impl Into<std::net::IpAddr>, port: u16, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(SocketAddr::new(address.into(), port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // A listener that closes resets who still waits in its queue.
    write!(stream, "{request} HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer.to_lowercase())
}

fn wait(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn check(port: u16, ready_v4: u32, ready_v6: u32) -> HealthCheck {
    HealthCheck { port, ready_v4, ready_v6 }
}

fn says(address: impl Into<std::net::IpAddr>, port: u16, status: &str) -> bool {
    ask(address, port, "GET /").is_some_and(|answer| answer.starts_with(&format!("http/1.1 {status} ")))
}

#[test]
fn any_path_and_method_is_answered_with_the_endpoints_of_the_family() {
    Namespace::new("node").enter(|| {
        let (lab, port) = (Lab::new(), PORT);
        lab.set("web", Some(check(port, 2, 0)));
        wait("an answer", || says(V4, port, "200"));
        let answer = ask(V4, port, "POST /any/path?x").unwrap();
        assert!(
            answer.contains("\"localendpoints\": 2") && answer.contains("endpoint-weight: 2\r\n"),
            "{answer}"
        );
        assert!(says(V6, port, "503"));
        lab.set("web", Some(check(port, 0, 1)));
        wait("other counts", || says(V6, port, "200") && says(V4, port, "503"));
        lab.set("web", None);
        wait("nobody", || ask(V4, port, "GET /").is_none() && ask(V6, port, "GET /").is_none());
    });
}

#[test]
fn a_proxy_that_is_behind_wants_no_connections() {
    Namespace::new("node").enter(|| {
        let (lab, port) = (Lab::new(), PORT);
        lab.set("web", Some(check(port, 1, 1)));
        wait("an answer", || says(V4, port, "200"));
        let now = Now::read();
        // As if the update had waited since long ago.
        let wall = now.wall - SignedDuration::try_from(PATIENCE).unwrap();
        let Some(monotonic) = now.monotonic.checked_sub(PATIENCE) else { return };
        lab.health.failed(Now { monotonic, wall });
        let answer = ask(V4, port, "GET /").unwrap();
        assert!(
            answer.starts_with("http/1.1 503") && answer.contains("\"serviceproxyhealthy\": false"),
            "{answer}"
        );
    });
}

#[test]
fn a_port_that_is_taken_is_said_once_and_harms_only_its_service() {
    Namespace::new("node").enter(|| {
        let mut lab = Lab::new();
        let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).unwrap();
        let (port, other) = (PORT, PORT + 1);
        lab.set("web", Some(check(port, 1, 0)));
        lab.set("other", Some(check(other, 1, 0)));
        wait("the other one", || says(V4, other, "200"));
        let (event, service) = lab.events.blocking_recv().unwrap();
        assert_eq!(
            (event.reason.as_str(), service.name.as_deref()),
            ("FailedToStartServiceHealthcheck", Some("web"))
        );
        assert!(
            event
                .note
                .unwrap()
                .starts_with(&format!("node n1 failed to start healthcheck \"d/web\" on port {port}: "))
        );
        drop(taken);
        wait("another attempt", || says(V4, port, "200"));
        assert!(lab.events.try_recv().is_err());
    });
}

#[test]
fn a_port_passes_from_one_service_to_another() {
    Namespace::new("node").enter(|| {
        let (mut lab, port) = (Lab::new(), PORT);
        lab.set("a", Some(check(port, 1, 1)));
        wait("an answer", || says(V6, port, "200"));
        let to = Arc::new(ObjectKey::new("d", "b"));
        lab.checks.send_modify(|checks| *checks = [(to, check(port, 1, 1))].into());
        wait("the other name", || {
            ask(V4, port, "GET /").is_some_and(|answer| answer.contains("\"name\": \"b\""))
        });
        assert!(lab.events.try_recv().is_err(), "it was free in time");
    });
}

#[test]
fn the_agent_says_what_balancers_and_dashboards_are_to_hear() {
    let (node, runtime) = (Namespace::new("node"), tokio::runtime::Runtime::new().unwrap());
    let spec = json!({
        "type": "LoadBalancer", "clusterIPs": ["10.96.0.10"], "externalTrafficPolicy": "Local",
        "healthCheckNodePort": PORT, "ports": [{"port": 80, "nodePort": 30080}]});
    let web = service("web", "u1", &spec, &[]);
    let progress = Progress::new("n1", Now::read().wall);
    let lists = stream::iter(lists_of(vec![web], vec![web_slice()]));
    let heard = {
        let progress = progress.clone();
        lists.inspect(move |event| progress.heard(event, Now::read()))
    };
    let backend = Nftables::new(Nft::in_namespace(node.name()), table_config());
    let agent = Agent::new(index(), backend, Metrics::new(progress.clone()), Readiness::default());
    let checks = agent.health_checks();
    runtime.block_on(agent.run(heard, CancellationToken::new()));

    let service = Arc::new(ObjectKey::new("d", "web"));
    assert_eq!(*checks.borrow(), HealthChecks::from([(service, check(PORT, 1, 0))]));
    let (mut registry, mut text) = (Registry::default(), String::new());
    progress.metrics.register(&mut registry);
    encode(&mut text, &registry).unwrap();
    for line in [
        "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
        "kubeproxy_sync_proxy_rules_service_changes_total 1",
        "kubeproxy_sync_proxy_rules_service_changes_pending 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
