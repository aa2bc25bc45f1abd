//! BFD against real routers, each in a network namespace of its own: bird and frr of Debian. How long a failure takes to
//! find is the pure machine's arithmetic ([`Reason::Silence`] has the detection time that was used); here it has to be
//! found at all, and the figure is for `make bench`.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy's exception for tests leaves out their functions.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, UdpSocket},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use penstock_announcer::bfd::{Dispatcher, News, Profile, Reason, SessionKey, SocketError, State, Status};
use penstock_crds::BFDProfileSpec;
use penstock_e2e::{
    namespace::Namespace,
    router::{Bird, Frr, frr::Daemon},
};
use tokio::sync::mpsc;

/// Far more than any of this takes, on any machine.
const LIMIT: Duration = Duration::from_secs(60);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn key(peer: &str) -> SessionKey {
    SessionKey { peer: ip(peer), local: None, interface: None, multihop: false }
}

fn spec(receive: u32, transmit: u32, multiplier: u8) -> BFDProfileSpec {
    BFDProfileSpec {
        receive_interval: receive,
        transmit_interval: transmit,
        detect_multiplier: multiplier,
        ..BFDProfileSpec::default()
    }
}

fn profile(receive: u32, transmit: u32, multiplier: u8) -> Profile {
    Profile::new(&spec(receive, transmit, multiplier)).unwrap()
}

/// Our end: a namespace with a dispatcher.
struct Ours {
    namespace: Namespace,
    dispatcher: Dispatcher,
    news: mpsc::Receiver<News>,
}

impl Ours {
    fn new() -> Self {
        let (sender, news) = mpsc::channel(16);
        Self { namespace: Namespace::new().unwrap(), dispatcher: Dispatcher::start(sender), news }
    }

    fn set(&mut self, sessions: &[(SessionKey, Profile)]) -> BTreeMap<SessionKey, SocketError> {
        let sessions = sessions.iter().cloned().collect();
        let Self { namespace, dispatcher, .. } = self;
        namespace.inside(|| dispatcher.set(&sessions)).unwrap()
    }

    async fn next(&mut self) -> News {
        tokio::time::timeout(LIMIT, self.news.recv()).await.expect("no news").unwrap()
    }

    async fn come_up(&mut self, keys: &[&SessionKey]) {
        let mut missing = keys.to_vec();
        while !missing.is_empty() {
            match self.next().await {
                News::Up { key } => missing.retain(|wanted| **wanted != key),
                News::Down { key, reason } => panic!("{key:?}: {reason}"),
            }
        }
    }

    async fn goes_down(&mut self) -> (SessionKey, Reason) {
        match self.next().await {
            News::Down { key, reason } => (key, reason),
            News::Up { key } => panic!("{key:?} came up"),
        }
    }

    async fn shows(&self, what: &str, key: &SessionKey, wanted: impl Fn(&Status) -> bool) -> Status {
        let start = Instant::now();
        loop {
            let status = self.dispatcher.sessions()[key];
            if wanted(&status) {
                return status;
            }
            assert!(start.elapsed() < LIMIT, "never: {what}; it is {status:?}");
            tokio::time::sleep(millis(10)).await;
        }
    }

    async fn negotiates(&self, key: &SessionKey, transmit: Duration, detection: Duration) {
        let wanted = (Some(transmit), Some(detection));
        self.shows("the intervals", key, |s| (s.transmit_interval, s.detection_time) == wanted).await;
    }
}

/// Waits until a router shows something.
async fn until(what: &str, mut shown: impl FnMut() -> String, wanted: impl Fn(&str) -> bool) -> String {
    let start = Instant::now();
    loop {
        let text = shown();
        if wanted(&text) {
            return text;
        }
        assert!(start.elapsed() < LIMIT, "never: {what}; it shows {text}");
        tokio::time::sleep(millis(50)).await;
    }
}

/// Joined to `ours`, at the other end of one hop.
fn neighbour(ours: &Namespace) -> Namespace {
    let peer = Namespace::new().unwrap();
    ours.cable("eth0", &peer, "eth0").unwrap();
    for (namespace, host) in [(ours, 1), (&peer, 2)] {
        namespace.ip(&format!("addr add 192.0.2.{host}/24 dev eth0")).unwrap();
        namespace.ip(&format!("addr add 2001:db8:1::{host}/64 dev eth0 nodad")).unwrap();
    }
    peer
}

const BIRD: &str = r#"
router id 192.0.2.2;
protocol device {}
protocol bfd {
  interface "eth0" { min rx interval 200 ms; min tx interval 150 ms; idle tx interval 1 s; multiplier 5; };
  neighbor 192.0.2.1;
  neighbor 2001:db8:1::1;
}
"#;

/// bird's own figures: `IP address  Interface  State  Since  Interval  Timeout`.
fn bird_shows(bird: &Bird, peer: &str) -> String {
    let answer = bird.ask("show bfd sessions").unwrap();
    answer.lines().find(|line| line.starts_with(&format!("{peer} "))).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_bird_over_both_families() {
    let mut ours = Ours::new();
    let peer = neighbour(&ours.namespace);
    let mut bird = Bird::start(&peer.path(), BIRD).unwrap();
    let (v4, v6) = (key("192.0.2.2"), key("2001:db8:1::2"));
    let on_its_interface = SessionKey { interface: Some("eth0".into()), local: Some(ip("192.0.2.1")), ..v4 };
    let v4 = on_its_interface;
    let sessions = [(v4.clone(), profile(100, 120, 3)), (v6.clone(), profile(300, 10, 4))];
    assert!(ours.set(&sessions).is_empty());
    ours.come_up(&[&v4, &v6]).await;

    // Ours: max(what we send, what it receives), and its multiplier × max(what it sends, what we receive). bird's likewise.
    ours.negotiates(&v4, millis(200), millis(5 * 150)).await;
    ours.negotiates(&v6, millis(200), millis(5 * 300)).await;
    let agreed = |interval: &'static str, timeout: &'static str| {
        move |line: &str| line.contains(" Up ") && line.contains(interval) && line.ends_with(timeout)
    };
    until("v4 on bird", || bird_shows(&bird, "192.0.2.1"), agreed(" 0.150 ", " 0.600")).await;
    until("v6 on bird", || bird_shows(&bird, "2001:db8:1::1"), agreed(" 0.300 ", " 0.800")).await;

    // Another profile for one, while both are up: it is agreed on by a poll, and the other is left alone.
    let sessions = [(v4.clone(), profile(400, 250, 6)), sessions[1].clone()];
    assert!(ours.set(&sessions).is_empty());
    ours.negotiates(&v4, millis(250), millis(5 * 400)).await;
    until("v4 on bird", || bird_shows(&bird, "192.0.2.1"), agreed(" 0.400 ", " 1.500")).await;
    assert!(ours.dispatcher.sessions().values().all(|status| (status.ups, status.downs) == (1, 0)));

    // It stands still, and goes on.
    let frozen = bird.process().freeze().unwrap();
    let mut found = BTreeMap::from([ours.goes_down().await, ours.goes_down().await]);
    assert_eq!(found.remove(&v4), Some(Reason::Silence(millis(5 * 400))));
    assert_eq!(found.remove(&v6), Some(Reason::Silence(millis(5 * 300))));
    drop(frozen);
    ours.come_up(&[&v4, &v6]).await;

    // It is killed, and started anew: with new discriminators.
    bird.process().kill().unwrap();
    for _ in 0..2 {
        assert!(matches!(ours.goes_down().await.1, Reason::Silence(_)));
    }
    bird.restart().unwrap();
    ours.come_up(&[&v4, &v6]).await;

    // One is given up, which it is told; the other is not touched.
    assert!(ours.set(&sessions[1..]).is_empty());
    until("the end on bird", || bird_shows(&bird, "192.0.2.1"), |line| line.contains(" Down ")).await;
    assert_eq!(ours.dispatcher.sessions()[&v6].downs, 2);

    // The cable is pulled.
    ours.negotiates(&v6, millis(200), millis(5 * 300)).await;
    peer.ip("link set eth0 down").unwrap();
    assert_eq!(ours.goes_down().await, (v6.clone(), Reason::Silence(millis(5 * 300))));
    peer.ip("link set eth0 up").unwrap();
    peer.ip("addr replace 2001:db8:1::2/64 dev eth0 nodad").unwrap();
    ours.come_up(&[&v6]).await;
}

fn frr_shows(frr: &Frr, peer: &str) -> serde_json::Value {
    let text = frr.ask("show bfd peers json").unwrap();
    let peers: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    peers.into_iter().find(|one| one["peer"] == peer).unwrap_or_default()
}

fn read_json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

async fn frr_until(frr: &Frr, peer: &str, field: &str, wanted: &str) -> serde_json::Value {
    let what = format!("{field} {wanted} on frr");
    let is_wanted = |text: &str| read_json(text)[field] == wanted;
    read_json(&until(&what, || frr_shows(frr, peer).to_string(), is_wanted).await)
}

const FRR: &str = "bfd\n peer 192.0.2.1\n  receive-interval 200\n  transmit-interval 150\n  detect-multiplier 4\n exit\n \
                   peer 2001:db8:1::1 local-address 2001:db8:1::2\n  receive-interval 200\n  transmit-interval 150\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_frr_over_both_families() {
    let mut ours = Ours::new();
    let peer = neighbour(&ours.namespace);
    let mut frr = Frr::start(&peer.path(), FRR).unwrap();
    let (v4, v6) = (key("192.0.2.2"), key("2001:db8:1::2"));
    let passive = BFDProfileSpec { passive_mode: true, ..spec(300, 300, 3) };
    let sessions = [(v4.clone(), profile(100, 120, 3)), (v6.clone(), Profile::new(&passive).unwrap())];
    assert!(ours.set(&sessions).is_empty());
    ours.come_up(&[&v4, &v6]).await;
    ours.negotiates(&v4, millis(200), millis(4 * 150)).await;
    ours.negotiates(&v6, millis(300), millis(3 * 300)).await;
    frr_until(&frr, "2001:db8:1::1", "status", "up").await;
    let shown = frr_until(&frr, "192.0.2.1", "status", "up").await;
    let said = ["remote-receive-interval", "remote-transmit-interval", "remote-detect-multiplier"];
    assert_eq!(said.map(|field| shown[field].as_u64()), [Some(100), Some(120), Some(3)], "{shown}");

    // It is shut by its operator: no failure, and back when he takes it back.
    frr.configure("bfd\n peer 192.0.2.1\n  shutdown\n").unwrap();
    let down = ours.goes_down().await;
    assert_eq!(down, (v4.clone(), Reason::PeerAdminDown));
    assert!(!down.1.is_failure());
    frr.configure("bfd\n peer 192.0.2.1\n  no shutdown\n").unwrap();
    ours.come_up(&[&v4]).await;

    // It does not hear us any longer, and says so.
    ours.namespace.ip("route add blackhole 192.0.2.2/32").unwrap();
    let (_, reason) = ours.goes_down().await;
    assert!(
        matches!(reason, Reason::PeerDown(_)) && reason.to_string().contains("detection time"),
        "{reason}"
    );
    ours.namespace.ip("route del blackhole 192.0.2.2/32").unwrap();
    ours.come_up(&[&v4]).await;

    // It is killed, and comes back without a configuration.
    frr.daemon(Daemon::Bfdd).signal(Signal::SIGKILL).unwrap();
    for _ in 0..2 {
        assert!(matches!(ours.goes_down().await.1, Reason::Silence(_)));
    }
    frr.daemon(Daemon::Bfdd).kill().unwrap();
    frr.restart(Daemon::Bfdd).unwrap();
    frr.configure(FRR).unwrap();
    ours.come_up(&[&v4, &v6]).await;

    // We stop, and it knows that this is meant.
    for peer in ["192.0.2.1", "2001:db8:1::1"] {
        frr_until(&frr, peer, "status", "up").await;
    }
    ours.dispatcher.stop().await;
    for peer in ["192.0.2.1", "2001:db8:1::1"] {
        let shown = frr_until(&frr, peer, "status", "down").await;
        assert_eq!(shown["remote-diagnostic"], "administratively down", "{shown}");
        assert_eq!(shown["diagnostic"], "neighbor signaled session down", "{shown}");
    }
}

/// Ours, two routers, and a peer.
fn far_away(ours: &Namespace) -> [Namespace; 3] {
    let [first, second, peer] = [(); 3].map(|()| Namespace::new().unwrap());
    let cables =
        [(ours, "eth0", &first, "west"), (&first, "east", &second, "west"), (&second, "east", &peer, "eth0")];
    for (number, (left, left_name, right, right_name)) in cables.into_iter().enumerate() {
        left.cable(left_name, right, right_name).unwrap();
        for (namespace, name, host) in [(left, left_name, 1), (right, right_name, 2)] {
            namespace.ip(&format!("addr add 10.0.{number}.{host}/24 dev {name}")).unwrap();
            namespace.ip(&format!("addr add 2001:db8:{number}::{host}/64 dev {name} nodad")).unwrap();
        }
    }
    for router in [&first, &second] {
        let forward = |path: &str| std::fs::write(format!("/proc/sys/net/{path}"), "1").unwrap();
        router.inside(|| ["ipv4/ip_forward", "ipv6/conf/all/forwarding"].map(forward)).unwrap();
    }
    let routes = [(ours, 0, 2), (&first, 1, 2), (&second, 1, 1), (&peer, 2, 1)];
    for (namespace, number, host) in routes {
        namespace.ip(&format!("route add default via 10.0.{number}.{host}")).unwrap();
        namespace.ip(&format!("route add default via 2001:db8:{number}::{host}")).unwrap();
    }
    [first, second, peer]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_several_hops_with_a_least_ttl() {
    let mut ours = Ours::new();
    let [first, _second, peer] = far_away(&ours.namespace);
    let bird = "router id 10.0.2.2;\nprotocol device {}\nprotocol bfd {\n  multihop { interval 100 ms; };\n  \
                neighbor 10.0.0.1 local 10.0.2.2 multihop;\n}\n";
    let _bird = Bird::start(&peer.path(), bird).unwrap();
    let key = |peer, local| SessionKey { local: Some(ip(local)), multihop: true, ..key(peer) };
    let v4 = key("10.0.2.2", "10.0.0.1");
    let with_ttl = |ttl| Profile::new(&BFDProfileSpec { minimum_ttl: ttl, ..spec(100, 100, 3) }).unwrap();

    // They pass two routers, and bird begins with the kernel's 64 where frr begins with 255.
    assert!(ours.set(&[(v4.clone(), with_ttl(63))]).is_empty());
    let start = Instant::now();
    while ours.dispatcher.discarded() < 3 {
        assert!(start.elapsed() < LIMIT, "nothing is refused");
        tokio::time::sleep(millis(10)).await;
    }
    assert_eq!(ours.dispatcher.sessions()[&v4].state, State::Down);
    assert!(ours.set(&[(v4.clone(), with_ttl(62))]).is_empty());
    ours.come_up(&[&v4]).await;

    first.ip("link set east down").unwrap();
    assert_eq!(ours.goes_down().await.0, v4);
    first.ip("link set east up").unwrap();
    first.ip("route replace default via 10.0.1.2").unwrap();
    ours.come_up(&[&v4]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frr_over_several_hops_of_ipv6() {
    let mut ours = Ours::new();
    let [_first, _second, peer] = far_away(&ours.namespace);
    let frr = "bfd\n peer 2001:db8:0::1 multihop local-address 2001:db8:2::2\n  minimum-ttl 253\n  receive-interval 100\n";
    let frr = Frr::start(&peer.path(), frr).unwrap();
    let v6 = SessionKey { local: Some(ip("2001:db8::1")), multihop: true, ..key("2001:db8:2::2") };
    let profile = Profile::new(&BFDProfileSpec { minimum_ttl: 253, ..spec(100, 100, 3) }).unwrap();
    assert!(ours.set(&[(v6.clone(), profile)]).is_empty());
    ours.come_up(&[&v6]).await;
    frr_until(&frr, "2001:db8::1", "status", "up").await;
    frr.daemon(Daemon::Bfdd).kill().unwrap();
    assert!(matches!(ours.goes_down().await, (key, Reason::Silence(_)) if key == v6));
}

/// Down, without a discriminator of ours.
const FIRST: [u8; 24] = [0x20, 0x40, 3, 24, 0, 0, 0, 9, 0, 0, 0, 0, 0, 15, 66, 64, 0, 15, 66, 64, 0, 0, 0, 0];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passed_a_router_is_not_from_a_neighbour() {
    let mut ours = Ours::new();
    let peer = neighbour(&ours.namespace);
    assert!(ours.set(&[(key("192.0.2.2"), profile(100, 100, 3))]).is_empty());
    let socket = peer.inside(|| UdpSocket::bind("192.0.2.2:50000").unwrap()).unwrap();
    let send = |ttl, bytes: &[u8]| {
        socket.set_ttl(ttl).unwrap();
        socket.send_to(bytes, "192.0.2.1:3784").unwrap();
    };
    send(254, &FIRST);
    send(255, &FIRST[..23]);
    let start = Instant::now();
    while ours.dispatcher.discarded() < 2 {
        assert!(start.elapsed() < LIMIT, "not refused");
        tokio::time::sleep(millis(10)).await;
    }
    assert_eq!(ours.dispatcher.sessions()[&key("192.0.2.2")].state, State::Down);
    send(255, &FIRST);
    ours.shows("its session", &key("192.0.2.2"), |status| status.state == State::Init).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_watched_is_said_and_harms_no_other() {
    let mut ours = Ours::new();
    let peer = neighbour(&ours.namespace);
    let _bird = Bird::start(&peer.path(), BIRD).unwrap();
    let good = key("192.0.2.2");
    let bad = [
        (key("fe80::1"), "fe80::1 is a link-local address: name the interface that it is on"),
        (
            SessionKey { interface: Some("eth7".into()), ..key("192.0.2.3") },
            "there is no interface eth7 on this node",
        ),
        (
            SessionKey { local: Some(ip("::1")), ..key("192.0.2.4") },
            "::1 and 192.0.2.4 are of different families",
        ),
        (
            SessionKey { multihop: true, ..key("192.0.2.5") },
            "UDP port 4784 is in use: stop the other BFD daemon",
        ),
    ];
    let _daemon = ours.namespace.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 4784)).unwrap()).unwrap();
    let mut sessions: Vec<_> = bad.iter().map(|(key, _)| (key.clone(), profile(100, 100, 3))).collect();
    sessions.push((good.clone(), profile(100, 100, 3)));
    let failed = ours.set(&sessions);
    for (key, reason) in &bad {
        assert!(failed[key].to_string().starts_with(reason), "{}", failed[key]);
    }
    assert_eq!(failed.len(), bad.len());
    ours.come_up(&[&good]).await;
    // Without sessions there is no socket in anybody's way.
    assert!(ours.set(&[]).is_empty());
    let start = Instant::now();
    while ours.namespace.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 3784))).unwrap().is_err() {
        assert!(start.elapsed() < LIMIT, "the port is not given back");
        tokio::time::sleep(millis(10)).await;
    }
}
