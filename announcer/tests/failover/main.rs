//! Two announcer processes on one segment with a real API server, under the RBAC that they are shipped with, for
//! addresses of both families. All of it lives in one network namespace without a name and without a way out: a bridge
//! with a port for each announcer and one for the client. Each announcer has a way of its own to the API server.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy's exception for tests leaves out their functions.

mod questions;
mod segment;

use std::{
    net::IpAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use k8s_openapi::api::{coordination::v1::Lease, core::v1 as core, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use nix::{
    sched::{CloneFlags, unshare},
    sys::signal::Signal,
};
use penstock_announcer::election;

use crate::segment::{Process, Segment, addresses, of_service, run};

/// Far more than any of this takes, on any machine.
const LIMIT: Duration = Duration::from_secs(60);
const NODES: [&str; 2] = ["n1", "n2"];

fn elected(address: IpAddr) -> Option<&'static str> {
    election::owner(address, NODES)
}

async fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Threads and processes made by the thread of the test stay in its namespace.
fn in_a_namespace<F: Future<Output = ()>>(test: impl FnOnce(PathBuf) -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces need root: run the tests as root");
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(dir.path().to_owned()));
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn addresses_move_when_they_must_and_stay_when_the_api_server_is_away() {
    in_a_namespace(|dir| async move {
        let mut segment = Segment::new(&dir).await;
        let mut n1 = Process::start("n1", &dir);
        let mut n2 = Process::start("n2", &dir);
        segment.settles("both started", elected).await;
        assert!(n1.is_ready());
        let owned = n1.metric("owned_addresses").unwrap() + n2.metric("owned_addresses").unwrap();
        assert!((owned - 8.0).abs() < 0.5, "{owned} owners of 8 addresses");
        assigned(&segment, "s200").await;
        no_lease_is_owned(&segment).await;

        drop(n1); // SIGKILL
        segment.settles("n1 killed", |_| Some("n2")).await;
        n1 = Process::start("n1", &dir);
        segment.settles("n1 back", elected).await;

        n2.signal(Signal::SIGTERM);
        segment.settles("n2 stopped", |_| Some("n1")).await;
        assert!(n2.child.wait().unwrap().success(), "{}", segment.logs());
        n2 = Process::start("n2", &dir);
        segment.settles("n2 back", elected).await;

        let services: Api<core::Service> = Api::default_namespaced(segment.client.clone());
        services.delete("s200", &DeleteParams::default()).await.unwrap();
        let left = |address| elected(address).filter(|_| !of_service(200).contains(&address));
        segment.settles("a Service deleted", left).await;

        segment.control_plane.take();
        for process in [&n1, &n2] {
            wait_for("failed renewals", || {
                process.metric("lease_renewals_total{outcome=\"error\"}").is_some_and(|failed| failed > 5.0)
            })
            .await;
            assert_eq!(process.metric("lease_healthy"), Some(0.0));
        }
        segment.settles("API server away", left).await;
    });
}

#[test]
fn a_node_that_was_cut_off_gives_up_and_comes_back() {
    in_a_namespace(|dir| async move {
        let mut segment = Segment::new(&dir).await;
        let (_n1, _n2) = (Process::start("n1", &dir), Process::start("n2", &dir));
        segment.settles("both started", elected).await;
        let both_families =
            |ip: fn(&IpAddr) -> bool| addresses().into_iter().filter(ip).any(|a| elected(a) == Some("n1"));
        assert!(both_families(IpAddr::is_ipv4) && both_families(IpAddr::is_ipv6), "n1 has something to lose");

        // The switch has lost its uplink: the carrier stays, and so does what the node believes.
        run("ip", "link set n1-br nomaster");
        segment.relays["n1"].set_open(false);
        segment.settles("n1 cut off", |_| Some("n2")).await;
        // It still answers, and hears only now that another one does.
        run("ip", "link set n1-br master br0");
        segment.settles("the segment is back", |_| Some("n2")).await;
        segment.relays["n1"].set_open(true);
        segment.settles("the API server is back", elected).await;

        // Its Lease goes on, so that nobody takes over.
        run("ip", "link set n1 down");
        segment
            .settles("n1's interface is down", |address| elected(address).filter(|node| *node != "n1"))
            .await;
        run("ip", "link set n1 up");
        segment.settles("n1's interface is up", elected).await;
    });
}

/// As when a DaemonSet replaces its Pods with maxSurge: two announcers of one node, of which the second stands by.
#[test]
fn the_next_announcer_of_a_node_follows_without_a_move() {
    in_a_namespace(|dir| async move {
        let mut segment = Segment::new(&dir).await;
        let start = |pod: &str| {
            let flags = ["--succession-socket", "penstock-test-succession", "--pod-name", pod];
            Process::start_with("n1", &dir, &flags)
        };
        let (mut old, n2) = (start("old"), Process::start("n2", &dir));
        segment.settles("both started", elected).await;
        let others = n2.metric("takeovers_total");
        let mut next = start("next");
        wait_for("the next one stands by", || next.is_ready()).await;
        ready("next");
        assert_eq!(next.metric("owned_addresses"), Some(0.0), "{}", segment.logs());

        old.signal(Signal::SIGTERM);
        segment.settles("n1's announcer replaced", elected).await;
        assert!(old.child.wait().unwrap().success(), "{}", segment.logs());
        assert_eq!(n2.metric("takeovers_total"), others, "n2 took over: {}", segment.logs());

        // Killed without a word: the one that stands by is there before the Lease runs out, or soon after.
        let last = start("last");
        wait_for("the last one stands by", || last.is_ready()).await;
        next.signal(Signal::SIGKILL);
        next.child.wait().unwrap();
        segment.settles("n1's announcer killed", elected).await;

        // Nobody stands by: the addresses are handed over as ever.
        last.signal(Signal::SIGTERM);
        segment.settles("n1 stopped", |_| Some("n2")).await;
    });
}

/// `penstock-announcer ready` says of which Pod it is true.
fn ready(pod: &str) {
    let asked = |pod: &str| {
        let flags = ["ready", "--succession-socket", "penstock-test-succession", "--pod-name", pod];
        std::process::Command::new(env!("CARGO_BIN_EXE_penstock-announcer")).args(flags).output().unwrap()
    };
    assert!(asked(pod).status.success(), "{:?}", asked(pod));
    let none = asked("another");
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(!none.status.success() && said.contains("another is not ready"), "{said}");
}

/// The garbage collector deletes what a Node owned, and a re-created Node has another UID.
async fn no_lease_is_owned(segment: &Segment) {
    let leases: Api<Lease> = Api::namespaced(segment.client.clone(), "penstock-system");
    let leases = leases.list(&ListParams::default()).await.unwrap().items;
    assert_eq!(leases.len(), NODES.len());
    assert!(leases.iter().all(|lease| lease.metadata.owner_references.is_none()), "{leases:?}");
}

async fn assigned(segment: &Segment, service: &str) {
    let events: Api<Event> = Api::default_namespaced(segment.client.clone());
    let start = Instant::now();
    loop {
        let all = events.list(&ListParams::default()).await.unwrap();
        let about = |e: &&Event| e.regarding.as_ref().is_some_and(|r| r.name.as_deref() == Some(service));
        if all.iter().filter(about).any(|e| e.reason.as_deref() == Some("nodeAssigned")) {
            return;
        }
        assert!(start.elapsed() < LIMIT, "no event nodeAssigned on Service {service}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
