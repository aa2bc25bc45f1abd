//! Rules that others change are put right; our own changes, and those of foreign tables, are left at that.

use std::{
    cell::Cell,
    io::Write as _,
    process::{Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc as blocking,
    },
    time::{Duration, Instant},
};

use futures::{
    StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
    stream,
};
use penstock_node::{Event, Piece};
use serde_json::json;

use crate::{
    agent::{Running, lists, nodes, ranges, web},
    lab::{service, slice},
    namespace::Namespace,
};

/// An agent that has loaded everything once, and its events.
fn watching() -> (Running, UnboundedSender<Event>) {
    let (events, later) = unbounded();
    let lists = stream::iter(lists());
    let agent = Running::start_watching(Namespace::new("node"), lists.chain(later));
    agent.wait("the first load", || agent.readiness.is_ready());
    (agent, events)
}

/// Says so when it goes, also when a test fails: a scope waits for its threads.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The words of our table in an order that does not depend on the kernel's hashes.
fn rules(agent: &Running) -> Vec<String> {
    let text = agent.node.nft("list ruleset");
    let ours = text.split("table ").find(|table| table.starts_with("inet penstock")).unwrap_or_default();
    let mut words: Vec<_> = ours.split([' ', ',', '\n', '\t']).map(str::to_owned).collect();
    words.sort();
    words
}

fn add_foreign_table(agent: &Running) {
    agent.node.nft("add table inet other; add chain inet other c; add set inet other s { type ipv4_addr; }");
}

/// Runs a script that is too long for an argument.
fn script(agent: &Running, text: &str) {
    let mut child = Command::new("ip");
    child.args(["netns", "exec", agent.node.name(), "nft", "-f", "-"]).stdin(Stdio::piped());
    let mut child = child.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn whatever_is_changed_from_outside_is_put_right() {
    let changes = [
        "delete table inet penstock",
        "flush ruleset",
        "flush table inet penstock",
        "flush chain inet penstock services",
        "insert rule inet penstock prerouting drop",
        "add rule inet penstock postrouting counter",
        "delete element inet penstock services4 { 10.96.0.10 . tcp . 80 }",
        "delete element inet penstock tcp-endpoints4 { 10.96.0.10 . 80 . 0 }",
        "flush map inet penstock tcp-endpoints4",
        "add element inet penstock refused4 { 10.96.0.10 . tcp . 80 }",
        "add chain inet penstock intruder { type filter hook input priority 0; policy drop; }",
        "add set inet penstock intruder { type ipv4_addr; }",
    ];
    for change in changes {
        let (agent, _events) = watching();
        let before = rules(&agent);
        agent.node.nft(change);
        agent.wait(change, || agent.loads() == 2 && rules(&agent) == before);
        assert_eq!(agent.foreign_changes(), [1, 0], "{change}");
    }
}

#[test]
fn our_own_changes_are_no_drift_whichever_way_they_go() {
    let (agent, events) = watching();
    let apply = |addresses: &[String]| {
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let piece = Piece::Apply(slice("web", &json!([{"port": 8080}]), &addresses));
        events.unbounded_send(Event::Slice(Box::new(piece))).unwrap();
    };
    let addresses = |count: usize, first: usize| -> Vec<String> {
        (first..first + count).map(|n| format!("10.244.{}.{}", n / 250, n % 250 + 1)).collect()
    };
    let last = |all: &[String]| format!(": {} . 8080", all.last().unwrap());
    // By netlink alone, one after the other.
    for n in 0..100 {
        let endpoints = addresses(1 + n % 5, n);
        apply(&endpoints);
        agent.wait("an endpoint", || agent.has(&last(&endpoints)));
    }
    // With new chains, and more elements than the watch is to hear of.
    for count in [65, 1_500, 3] {
        let endpoints = addresses(count, 300);
        apply(&endpoints);
        agent.wait("more endpoints", || agent.has(&last(&endpoints)));
    }
    // Another Service range, and another kind of chain.
    events.unbounded_send(ranges(&["10.97.0.0/24"])).unwrap();
    agent.wait("the range", || agent.has("10.97.0.0/24"));
    let sticky =
        json!({"clusterIPs": ["10.96.0.10"], "sessionAffinity": "ClientIP", "ports": [{"port": 80}]});
    let sticky = Piece::Apply(service("web", "u1", &sticky, &[]));
    events.unbounded_send(Event::Service(Box::new(sticky))).unwrap();
    agent.wait("affinity", || agent.has("sticky-10800s"));
    assert_eq!((agent.foreign_changes(), agent.loads()), ([0, 0], 1));
    // That nothing was noticed is not because nobody listens.
    agent.node.nft("delete table inet penstock");
    agent.wait("all rules", || agent.loads() == 2 && agent.has("sticky-10800s"));
}

#[test]
fn a_foreign_table_is_nothing_to_us() {
    let (agent, _events) = watching();
    add_foreign_table(&agent);
    for change in [
        "add table ip penstock; add chain ip penstock services",
        "add table inet penstock2; add set inet penstock2 services4 { type ipv4_addr; }",
        "add element inet other s { 10.0.0.1, 10.0.0.2 }",
        "add rule inet other c drop",
        "flush chain inet other c",
        "delete table inet other",
        "delete table ip penstock",
    ] {
        agent.node.nft(change);
    }
    // What is told comes in the order in which it happened: once this one was noticed, those before were not.
    agent.node.nft("delete element inet penstock services4 { 10.96.0.10 . tcp . 80 }");
    agent.wait("the second load", || agent.loads() == 2);
    assert_eq!(agent.foreign_changes(), [1, 0]);
}

#[test]
fn a_fight_with_another_program_is_no_loop() {
    let (agent, _events) = watching();
    let mut loads = vec![Instant::now()];
    for round in 2..6 {
        agent.node.nft("delete table inet penstock");
        agent.wait("all rules", || agent.loads() == round && agent.has("10.96.0.10 . tcp . 80"));
        loads.push(Instant::now());
    }
    // The first one is put right at once; the others wait for 0.5, 1 and 2 seconds.
    assert!(loads[4] - loads[1] >= Duration::from_millis(3_500), "{loads:?}");
}

#[test]
fn endpoints_change_while_a_fight_goes_on() {
    let (agent, events) = watching();
    for round in 2..6 {
        agent.node.nft("add chain inet penstock intruder");
        agent.wait("the load", || agent.loads() == round);
    }
    // Four seconds would pass before the next load.
    agent.node.nft("add chain inet penstock intruder");
    let noticed = Instant::now();
    agent.wait("it is noticed", || agent.foreign_changes() == [5, 0]);
    events.unbounded_send(Event::Service(Box::new(Piece::Apply(web("10.96.0.20"))))).unwrap();
    let loads = Cell::new(0);
    agent.wait("the change", || {
        loads.set(agent.loads());
        agent.has("10.96.0.20 . tcp . 80")
    });
    // On a machine that stood still for these seconds nothing would be shown.
    assert!(loads.get() == 5 || noticed.elapsed() > Duration::from_secs(3), "it waited for the load");
}

#[test]
fn more_than_the_listener_can_hold_is_one_load_and_it_goes_on_listening() {
    let (hold, held) = blocking::channel::<()>();
    let (reached, is_held) = blocking::channel();
    let (events, later) = unbounded();
    let lists = stream::iter(lists());
    let later = later.map(move |event| {
        // Nothing else of the agent goes on meanwhile.
        reached.send(()).unwrap();
        held.recv().unwrap();
        event
    });
    let agent = Running::start_watching(Namespace::new("node"), lists.chain(later));
    agent.wait("the first load", || agent.readiness.is_ready());
    add_foreign_table(&agent);
    let before = rules(&agent);
    events.unbounded_send(nodes()).unwrap();
    is_held.recv().unwrap();

    let list: Vec<_> = (0..60_000_u32).map(|n| format!("10.96.{}.{}", n >> 8, n & 0xff)).collect();
    for verb in ["add", "delete", "add", "delete"] {
        script(&agent, &format!("{verb} element inet other s {{ {} }}\n", list.join(", ")));
    }
    agent.node.nft("delete element inet penstock services4 { 10.96.0.10 . tcp . 80 }");
    assert_ne!(rules(&agent), before);
    hold.send(()).unwrap();
    agent.wait("all rules", || agent.loads() == 2 && rules(&agent) == before);
    assert_eq!(agent.foreign_changes(), [0, 1]);
    agent.node.nft("delete table inet penstock");
    agent.wait("all rules again", || agent.loads() == 3 && rules(&agent) == before);
}

#[test]
fn a_load_in_which_others_commit_is_repeated_until_one_is_without_doubt() {
    let (agent, _events) = watching();
    add_foreign_table(&agent);
    let (done, loads) = (AtomicBool::new(false), Cell::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                agent.node.nft("add rule inet other c counter; flush chain inet other c");
            }
        });
        let _done = Done(&done);
        // Each that is noticed starts a load; sooner or later one falls together with a foreign commit.
        agent.wait_long("a doubt", || {
            loads.set(agent.loads());
            let [seen, possible] = agent.foreign_changes();
            if loads.get() > seen {
                agent.node.nft("add chain inet penstock intruder");
            }
            possible > 0
        });
    });
    agent.wait_long("a load without doubt", || agent.loads() > loads.get() && !agent.has("intruder"));
}
