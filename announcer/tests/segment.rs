//! Real frames on a real segment: a veth pair between two network namespaces. The namespaces have no names; they
//! and the pair in them go with the last descriptor that holds them, however the test ends.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy's exception for tests leaves out their functions.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use penstock_announcer::{
    Input, Metrics, Orders,
    arp::{ArpFrame, Operation},
    link::{Link, LinkWatch},
    mac::Mac,
    ndp::{Message, NdpFrame},
    packet_socket::{Discovery, PacketSocket},
    responder::{Responder, Responders, Sockets},
    speaker::Announced,
};
use tokio::sync::mpsc;

/// Far more than any of this takes, on any machine.
const LIMIT: Duration = Duration::from_secs(20);
const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);
const NOT_OURS: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 201);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x200);
const NOT_OURS6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x201);

/// One whose failures are the test's.
struct Namespace(penstock_e2e::namespace::Namespace);

impl Namespace {
    fn new() -> Self {
        Self(penstock_e2e::namespace::Namespace::new().unwrap())
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.0.inside(work).unwrap()
    }

    fn ip(&self, arguments: &str) {
        self.0.ip(arguments).unwrap();
    }

    async fn link(&self, name: &str) -> Link {
        let watch = self.inside(|| LinkWatch::open().unwrap());
        let deadline = Instant::now() + LIMIT;
        loop {
            let links = watch.list().await.unwrap();
            if let Some(link) = links.into_iter().find(|link| link.name == name && link.is_usable()) {
                return link;
            }
            assert!(Instant::now() < deadline, "{name} never came up");
            tokio::task::yield_now().await;
        }
    }
}

/// A node's namespace with `eth0` and a client's with `eth0`, joined.
struct Segment {
    node: Namespace,
    node_link: Link,
    client: Namespace,
    client_link: Link,
    client_socket: PacketSocket,
}

impl Segment {
    async fn new() -> Self {
        let (node, client) = (Namespace::new(), Namespace::new());
        node.0.cable("eth0", &client.0, "eth0").unwrap();
        node.ip("addr add 203.0.113.11/24 dev eth0");
        node.ip("addr add 2001:db8:113::11/64 dev eth0 nodad");
        client.ip("addr add 203.0.113.1/24 dev eth0");
        client.ip("addr add 2001:db8:113::1/64 dev eth0 nodad");
        let (node_link, client_link) = (node.link("eth0").await, client.link("eth0").await);
        let client_socket = client.inside(|| PacketSocket::open(client_link.index, Discovery::Arp).unwrap());
        Self { node, node_link, client, client_link, client_socket }
    }

    fn responder(&self) -> (Responder, mpsc::Receiver<Input>, Metrics) {
        let (news, heard) = mpsc::channel(16);
        let metrics = Metrics::default();
        let sockets = self.node.inside(|| Sockets::open(self.node_link.index).unwrap());
        (Responder::start(&self.node_link, sockets, news, metrics.clone()), heard, metrics)
    }

    /// A question of its own asker, so that each answer shows which question it belongs to.
    fn question(&self, target: Ipv4Addr) -> ArpFrame {
        static ASKERS: AtomicU32 = AtomicU32::new(0x0a00_0001);
        let asker = Ipv4Addr::from(ASKERS.fetch_add(1, Ordering::Relaxed));
        ArpFrame {
            destination: Mac::BROADCAST,
            operation: Operation::Request,
            sender: (self.client_link.mac, asker),
            target: (Mac([0; 6]), target),
        }
    }

    async fn send(&self, frame: &ArpFrame) {
        self.client_socket.send(&frame.to_bytes()).await.unwrap();
    }

    /// The next frame at the client that `wanted` accepts.
    async fn expect(&self, what: &str, wanted: impl Fn(&ArpFrame) -> bool) -> ArpFrame {
        let search = async {
            loop {
                let bytes = self.client_socket.receive().await.unwrap();
                if let Some(frame) = ArpFrame::parse(&bytes).filter(|frame| wanted(frame)) {
                    return frame;
                }
            }
        };
        tokio::time::timeout(LIMIT, search).await.unwrap_or_else(|_| panic!("no {what}"))
    }

    /// Asks until answered: whoever was told to answer may still be about to begin.
    async fn ask_until_answered(&self, target: Ipv4Addr) -> ArpFrame {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            let question = self.question(target);
            self.send(&question).await;
            let answer = self.expect("answer", |frame| is_answer(frame, &question));
            if let Ok(frame) = tokio::time::timeout(Duration::from_millis(200), answer).await {
                return frame;
            }
        }
        panic!("nobody answers for {target}");
    }

    /// Waits until what `ip` shows in a namespace is as it should be.
    async fn shows(&self, of: &Namespace, arguments: &str, wanted: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let shown = of.inside(|| Command::new("ip").args(arguments.split_whitespace()).output());
            let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
            if wanted(&shown) {
                return;
            }
            assert!(Instant::now() < deadline, "ip {arguments} still shows {shown}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until the client's kernel has the address at a station.
    async fn client_learns(&self, address: impl Into<IpAddr>, mac: Mac) {
        let address = address.into();
        self.shows(&self.client, &format!("neigh show to {address}"), |shown| {
            shown.contains(&mac.to_string())
        })
        .await;
    }

    /// Has the client's kernel send something to an address, for which it has to ask where that is.
    fn client_sends_to(&self, address: Ipv6Addr) {
        self.client.inside(|| {
            let socket = UdpSocket::bind("[::]:0").unwrap();
            // Fails where an earlier packet found nobody.
            let _ = socket.send_to(b"?", SocketAddr::from((address, 9)));
        });
    }

    /// Silence is proved by order, not by waiting: questions are answered one after the other, so when the one for
    /// `owned` has its answer, any earlier one would have had its own before.
    async fn assert_silent(&self, what: &str, earlier: &ArpFrame, bytes: &[u8], owned: Ipv4Addr) {
        let later = self.question(owned);
        self.client_socket.send(bytes).await.unwrap();
        self.send(&later).await;
        let answer = self.expect("answer", |f| is_answer(f, earlier) || is_answer(f, &later)).await;
        assert!(is_answer(&answer, &later), "{what} was answered");
    }
}

fn is_answer(frame: &ArpFrame, question: &ArpFrame) -> bool {
    frame.operation == Operation::Reply
        && frame.target == question.sender
        && frame.sender.1 == question.target.1
}

fn announced(addresses: &[impl Into<IpAddr> + Copy], claiming: bool) -> Announced {
    let addresses = addresses.iter().map(|address| (*address).into()).collect();
    Announced { addresses, claiming, own_macs: BTreeSet::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_answers_for_what_it_owns_and_for_nothing_else() {
    let segment = Segment::new().await;
    let (responder, _news, metrics) = segment.responder();
    responder.set(announced(&[VIP], false));
    let answer = segment.ask_until_answered(VIP).await;
    assert_eq!(answer.sender, (segment.node_link.mac, VIP));
    assert_eq!(answer.destination, segment.client_link.mac);
    // It is counted once it is sent, which is after it can be here.
    let deadline = Instant::now() + LIMIT;
    while metrics.arp_requests_answered.get() == 0 {
        assert!(Instant::now() < deadline, "the answer was not counted");
        tokio::task::yield_now().await;
    }

    let foreign = segment.question(NOT_OURS);
    segment.assert_silent("another address", &foreign, &foreign.to_bytes(), VIP).await;
    let elsewhere = ArpFrame { destination: Mac([2, 0, 0, 0, 0, 9]), ..segment.question(VIP) };
    segment.assert_silent("another station's question", &elsewhere, &elsewhere.to_bytes(), VIP).await;
    let plain = segment.question(VIP);
    let bytes = plain.to_bytes();
    let tagged = [&bytes[..12], &[0x81, 0, 0, 5], &bytes[12..]].concat();
    segment.assert_silent("a question in a VLAN", &plain, &tagged, VIP).await;
    segment.assert_silent("a short frame", &plain, &bytes[..41], VIP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_giving_up_it_is_silent() {
    let segment = Segment::new().await;
    let (responder, _news, _) = segment.responder();
    responder.set(announced(&[VIP, NOT_OURS], false));
    segment.ask_until_answered(VIP).await;
    responder.set(announced(&[NOT_OURS], true));
    // Its claim of the other address shows that it has taken the new orders.
    segment.expect("claim", |f| f.sender.1 == NOT_OURS && f.sender == f.target).await;
    let question = segment.question(VIP);
    segment.assert_silent("an address given up", &question, &question.to_bytes(), NOT_OURS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_over_moves_the_neighbour_entries_of_a_real_kernel() {
    let segment = Segment::new().await;
    segment.client.ip(&format!("neigh replace {VIP} lladdr 02:00:00:00:00:09 dev eth0 nud reachable"));
    let (responder, _news, _) = segment.responder();
    responder.set(announced(&[VIP], true));
    let is_claim = |f: &ArpFrame| f.sender == (segment.node_link.mac, VIP) && f.destination == Mac::BROADCAST;
    let request = segment.expect("announcement", |f| is_claim(f) && f.operation == Operation::Request).await;
    assert_eq!(request.target.1, VIP);
    let reply = segment.expect("gratuitous reply", |f| is_claim(f) && f.operation == Operation::Reply).await;
    assert_eq!(reply.target, reply.sender);
    segment.client_learns(VIP, segment.node_link.mac).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debians_arping_gets_an_answer() {
    let segment = Segment::new().await;
    let (responder, _news, _) = segment.responder();
    responder.set(announced(&[VIP], false));
    segment.ask_until_answered(VIP).await;
    let arping = segment.client.inside(|| {
        Command::new("arping").args(["-i", "eth0", "-c", "1", "-w", "10", &VIP.to_string()]).output()
    });
    let arping = arping.expect("arping must be installed");
    let output = String::from_utf8_lossy(&arping.stdout);
    assert!(output.contains(&segment.node_link.mac.to_string()), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_hears_a_foreign_claim() {
    let segment = Segment::new().await;
    let (responder, mut news, metrics) = segment.responder();
    responder.set(announced(&[VIP], false));
    segment.ask_until_answered(VIP).await;
    for claim in ArpFrame::gratuitous(segment.client_link.mac, VIP) {
        segment.send(&claim).await;
        let heard = tokio::time::timeout(LIMIT, news.recv()).await.expect("nothing heard").unwrap();
        let Input::Claim { address, by, interface } = heard else { panic!("{heard:?}") };
        assert_eq!((address, by, interface.as_str()), (VIP.into(), segment.client_link.mac, "eth0"));
    }
    assert_eq!(metrics.foreign_claims.get(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interface_that_goes_down_and_comes_back_is_answered_on_again() {
    let segment = Segment::new().await;
    let (sender, mut news) = mpsc::channel(16);
    let watch = segment.node.inside(|| LinkWatch::open().unwrap());
    tokio::spawn(watch.run(sender.clone()));
    let mut responders = Responders::new(sender, Metrics::default());
    let orders = Orders {
        owned: [(VIP.into(), ["eth0".to_owned()].into())].into(),
        claiming: true,
        ..Orders::default()
    };
    let usable = |links: &[Link]| links.iter().any(|l| l.name == "eth0" && l.is_usable());

    let links = links_that(&mut news, usable).await;
    assert!(links.iter().any(|l| l.addresses.contains(&"203.0.113.11".parse().unwrap())), "{links:?}");
    segment.node.inside(|| responders.carry_out(&orders, &links));
    segment.ask_until_answered(VIP).await;

    segment.node.ip("link set eth0 down");
    let links = links_that(&mut news, |links| !usable(links)).await;
    segment.node.inside(|| responders.carry_out(&orders, &links));
    segment.node.ip("link set eth0 up");
    let links = links_that(&mut news, usable).await;
    segment.node.inside(|| responders.carry_out(&orders, &links));
    segment.client.link("eth0").await;
    segment.ask_until_answered(VIP).await;
}

async fn links_that(news: &mut mpsc::Receiver<Input>, wanted: impl Fn(&[Link]) -> bool) -> Vec<Link> {
    let search = async {
        loop {
            match news.recv().await {
                Some(Input::Links(links)) if wanted(&links) => return links,
                Some(_) => {}
                None => panic!("the watch ended"),
            }
        }
    };
    tokio::time::timeout(LIMIT, search).await.expect("no such links")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_kernel_finds_our_ipv6_address_and_no_other() {
    let segment = Segment::new().await;
    let (responder, _news, metrics) = segment.responder();
    responder.set(announced(&[VIP6], false));
    let groups = "maddress show dev eth0";
    segment.shows(&segment.node, groups, |shown| shown.contains("ff02::1:ff00:200\n")).await;
    segment.client_sends_to(NOT_OURS6);
    segment.client_sends_to(VIP6);
    segment.client_learns(VIP6, segment.node_link.mac).await;
    // It has asked for the other one first, and thrice by now.
    let other = format!("neigh show to {NOT_OURS6}");
    segment.shows(&segment.client, &other, |shown| shown.contains("FAILED")).await;
    assert!(metrics.ndp_solicitations_answered.get() > 0);
    // As no router: the kernel would take it for a way to elsewhere.
    segment.shows(&segment.client, &format!("neigh show to {VIP6}"), |shown| !shown.contains("router")).await;

    responder.set(announced(&[] as &[Ipv6Addr], false));
    segment.shows(&segment.node, groups, |shown| !shown.contains("ff02::1:ff00:200\n")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_over_moves_the_ipv6_neighbour_entries_of_a_real_kernel() {
    let segment = Segment::new().await;
    segment.client.ip(&format!("neigh replace {VIP6} lladdr 02:00:00:00:00:09 dev eth0 nud reachable"));
    let (responder, _news, _) = segment.responder();
    responder.set(announced(&[VIP6], true));
    segment.client_learns(VIP6, segment.node_link.mac).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_wants_our_ipv6_address_for_itself_is_told() {
    let segment = Segment::new().await;
    let (responder, _news, metrics) = segment.responder();
    responder.set(announced(&[VIP6], true));
    segment
        .shows(&segment.node, "maddress show dev eth0", |shown| shown.contains("ff02::1:ff00:200\n"))
        .await;
    segment.client.ip(&format!("address add {VIP6}/64 dev eth0"));
    segment.shows(&segment.client, "-6 address show dev eth0", |shown| shown.contains("dadfailed")).await;
    assert!(metrics.ndp_solicitations_answered.get() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_hears_a_foreign_claim_of_an_ipv6_address() {
    let segment = Segment::new().await;
    let (responder, mut news, metrics) = segment.responder();
    responder.set(announced(&[VIP6], false));
    segment
        .shows(&segment.node, "maddress show dev eth0", |shown| shown.contains("ff02::1:ff00:200\n"))
        .await;
    let socket =
        segment.client.inside(|| PacketSocket::open(segment.client_link.index, Discovery::Ndp).unwrap());
    let claim = NdpFrame::unsolicited(segment.client_link.mac, VIP6);
    assert_eq!(claim.message, Message::Advertisement { solicited: false, overrides: true });
    socket.send(&claim.to_bytes()).await.unwrap();
    let heard = tokio::time::timeout(LIMIT, news.recv()).await.expect("nothing heard").unwrap();
    let Input::Claim { address, by, interface } = heard else { panic!("{heard:?}") };
    assert_eq!((address, by, interface.as_str()), (VIP6.into(), segment.client_link.mac, "eth0"));
    assert_eq!(metrics.foreign_claims.get(), 1);
}
