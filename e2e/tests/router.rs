//! The harness's routers run, answer and end. Needs root.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy's exception for tests leaves out their functions.

use penstock_e2e::namespace::Namespace;
use penstock_e2e::process::{Ledger, Sandbox, Spec};
use penstock_e2e::router::frr::Daemon;
use penstock_e2e::router::{Bird, Frr, Gobgp};

const BIRD: &str = "router id 192.0.2.1;\nprotocol device {}\n";
const FRR: &str = "router bgp 64512\n bgp router-id 192.0.2.1\n";

#[test]
fn bird_answers_and_is_configured_and_restarted() {
    let namespace = Namespace::new().unwrap();
    let mut bird = Bird::start(&namespace.path(), BIRD).unwrap();
    assert!(bird.ask("show protocols").unwrap().contains("device1"));
    bird.configure("nonsense").unwrap_err();
    bird.configure(&format!("{BIRD}protocol bfd {{}}\n")).unwrap();
    assert!(bird.ask("show protocols").unwrap().contains("bfd1"));
    bird.restart().unwrap_err();
    bird.process().kill().unwrap();
    bird.restart().unwrap();
    assert!(bird.ask("show protocols").unwrap().contains("bfd1"));
    let process = bird.process().clone();
    drop(bird);
    assert!(!process.is_alive());
}

#[test]
fn a_wrong_configuration_of_bird_is_an_error_with_its_log() {
    let namespace = Namespace::new().unwrap();
    let error = Bird::start(&namespace.path(), "nonsense").unwrap_err();
    assert!(format!("{error:#}").contains("bird.conf:1"), "{error:#}");
}

#[test]
fn two_of_frr_run_side_by_side() {
    let namespaces = [(); 2].map(|()| Namespace::new().unwrap());
    let mut frr = namespaces.each_ref().map(|n| Frr::start(&n.path(), FRR).unwrap());
    for one in &frr {
        assert!(one.ask("show running-config").unwrap().contains("router bgp 64512"));
    }
    let has_peer = |frr: &Frr| frr.ask("show bfd peers").unwrap().contains("192.0.2.2");
    frr[0].configure("nonsense\n").unwrap_err();
    frr[0].configure("bfd\n peer 192.0.2.2\n").unwrap();
    assert!(has_peer(&frr[0]) && !has_peer(&frr[1]));
    frr[0].daemon(Daemon::Bfdd).kill().unwrap();
    frr[0].restart(Daemon::Bfdd).unwrap();
    assert!(!has_peer(&frr[0]));
}

/// The kernel ends a child with the thread that started it, so that one thread starts them all; it is in one namespace only.
#[test]
fn a_process_runs_in_the_namespace_of_the_thread_that_starts_it() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(directory.path()).unwrap();
    for name in ["first", "second"] {
        let namespace = Namespace::new().unwrap();
        let sandbox = Sandbox { die_with_parent: true, ..Sandbox::default() };
        let (program, args) = ("/bin/sleep".into(), vec!["1000".to_owned()]);
        let spec = Spec { name: name.to_owned(), program, args, env: Vec::new(), sandbox };
        let process = namespace.inside(|| ledger.spawn(&spec)).unwrap().unwrap();
        let its = std::fs::read_link(format!("/proc/{}/ns/net", process.pid())).unwrap();
        let wanted = namespace.inside(|| std::fs::read_link("/proc/thread-self/ns/net")).unwrap().unwrap();
        process.kill().unwrap();
        assert_eq!(its, wanted, "{name}");
    }
}

#[test]
fn gobgp_answers_and_ends_with_its_value() {
    let namespace = Namespace::new().unwrap();
    let configuration = "[global.config]\nas = 64512\nrouter-id = \"192.0.2.1\"\n";
    let gobgp = Gobgp::start(&namespace.path(), configuration).unwrap();
    assert!(gobgp.ask("global").unwrap().contains("64512"));
    gobgp.ask("nonsense").unwrap_err();
}

#[test]
fn a_wrong_configuration_of_gobgp_is_an_error_with_its_log() {
    let namespace = Namespace::new().unwrap();
    let error = Gobgp::start(&namespace.path(), "nonsense").unwrap_err();
    assert!(format!("{error:#}").contains("gobgpd has ended"), "{error:#}");
}
