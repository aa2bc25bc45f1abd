//! A node with a speaker, and the cable to its router.

use std::{collections::BTreeMap, fs::File, net::IpAddr, time::Duration};

use anyhow::Result;
use nix::sched::{CloneFlags, setns};
use penstock_announcer::bgp::{
    Attributes, Distance, News, NextHops, Peer, PeerNews, RemoteAsn, Routes, Speaker, Stop,
};
use penstock_e2e::{
    namespace::Namespace,
    wait::{Look, until_blocking},
};
use tokio::{runtime::Runtime, sync::watch};

/// Far more than any of this takes, on any machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) const NODE: &str = "192.0.2.2";
pub(crate) const NODE6: &str = "2001:db8::2";
pub(crate) const ROUTER: &str = "192.0.2.1";
pub(crate) const ROUTER6: &str = "2001:db8::1";

/// The AS of nodes.
pub(crate) const NODE_AS: u32 = 4_200_000_001;
/// The AS of routers.
pub(crate) const ROUTER_AS: u32 = 64513;

/// A node's namespace and a router's, joined.
pub(crate) struct Lab {
    pub(crate) node: Namespace,
    pub(crate) router: Namespace,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let (node, router) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        node.cable("eth0", &router, "eth0").unwrap();
        for (namespace, addresses) in [(&node, [NODE, NODE6]), (&router, [ROUTER, ROUTER6])] {
            namespace.ip(&format!("addr add {}/24 dev eth0", addresses[0])).unwrap();
            namespace.ip(&format!("addr add {}/64 dev eth0 nodad", addresses[1])).unwrap();
        }
        Self { node, router }
    }

    pub(crate) fn node(&self) -> Node {
        Node::new(&self.node)
    }
}

/// A speaker whose threads are in a node's namespace.
pub(crate) struct Node {
    runtime: Runtime,
    speaker: Speaker,
    news: watch::Receiver<News>,
}

impl Node {
    pub(crate) fn new(namespace: &Namespace) -> Self {
        let path = namespace.path();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .on_thread_start(move || setns(File::open(&path).unwrap(), CloneFlags::CLONE_NEWNET).unwrap())
            .build()
            .unwrap();
        let speaker = Speaker::new();
        Self { news: speaker.news(), speaker, runtime }
    }

    pub(crate) fn set_peers(&mut self, peers: &[(&str, Peer)]) {
        let _entered = self.runtime.enter();
        self.speaker
            .set_peers(&peers.iter().map(|(name, peer)| ((*name).to_owned(), peer.clone())).collect());
    }

    /// Sets the same routes for all peers.
    pub(crate) fn set_routes(&mut self, routes: &Routes) {
        let names: Vec<String> = self.news.borrow().keys().cloned().collect();
        self.speaker.set_routes(names.into_iter().map(|name| (name, routes.clone())).collect());
    }

    pub(crate) fn peer_down(&self, name: &str) {
        self.speaker.peer_down(name);
    }

    pub(crate) fn stop(self, how: Stop) {
        self.runtime.block_on(self.speaker.stop(how));
    }

    /// Ends as a program that is killed: the kernel closes its connections.
    pub(crate) fn kill(self) {
        self.runtime.shutdown_background();
    }

    pub(crate) fn news(&self, name: &str) -> PeerNews {
        self.news.borrow()[name].clone()
    }

    /// Waits until a peer's news are as they should be.
    pub(crate) fn wait(&mut self, name: &str, what: &str, wanted: impl Fn(&PeerNews) -> bool) -> PeerNews {
        let search = async {
            let found = self.news.wait_for(|news| news.get(name).is_some_and(&wanted));
            let found = tokio::time::timeout(LIMIT, found).await.ok()?;
            Some(found.unwrap()[name].clone())
        };
        let found = self.runtime.block_on(search);
        found.unwrap_or_else(|| panic!("{name}: {what} did not come; {:?}", self.news.borrow().get(name)))
    }

    pub(crate) fn wait_until_up(&mut self, name: &str) -> PeerNews {
        self.wait(name, "a session", PeerNews::is_up)
    }

    /// Waits until a peer was told of so many prefixes.
    pub(crate) fn wait_until_told(&mut self, name: &str, count: usize) {
        self.wait(name, "what is to be told", |news| news.is_up() && news.told.len() == count);
    }
}

/// A router in another AS, at the other end of the cable.
pub(crate) fn peer(address: &str) -> Peer {
    let v4 = address.parse::<IpAddr>().unwrap().is_ipv4();
    Peer {
        address: address.parse().unwrap(),
        port: 179,
        local_asn: NODE_AS,
        remote_asn: RemoteAsn::Exactly(ROUTER_AS),
        router_id: [192, 0, 2, 2].into(),
        source: None,
        hold_time: Duration::from_secs(90),
        keepalive: None,
        connect_retry: Duration::from_secs(2),
        password: None,
        distance: Distance::Usual,
        graceful_restart: None,
        next_hops: if v4 {
            NextHops { v4: None, v6: Some(NODE6.parse().unwrap()) }
        } else {
            NextHops { v4: Some(NODE.parse().unwrap()), v6: None }
        },
    }
}

/// A router in the node's AS.
pub(crate) fn inner(address: &str) -> Peer {
    Peer { local_asn: ROUTER_AS, remote_asn: RemoteAsn::Internal, ..peer(address) }
}

/// All that can be said of a route.
pub(crate) fn full() -> Attributes {
    Attributes {
        local_pref: Some(217),
        med: Some(33),
        communities: ["64512:100", "64512:200", "large:64512:3:4"].map(|text| text.parse().unwrap()).into(),
    }
}

/// Routes with nothing said of them.
pub(crate) fn plain(prefixes: &[&str]) -> Routes {
    prefixes.iter().map(|prefix| (prefix.parse().unwrap(), Attributes::default())).collect()
}

/// One prefix of each family with all that can be said, and one of each with nothing.
pub(crate) fn routes() -> Routes {
    let mut routes: BTreeMap<_, _> = plain(&["198.51.100.8/32", "2001:db8:5::8/128"]);
    routes.insert("198.51.100.0/29".parse().unwrap(), full());
    routes.insert("2001:db8:5::/64".parse().unwrap(), full());
    routes
}

/// Asks until an answer has, or has not, what it should.
pub(crate) fn asked(what: &str, ask: impl Fn() -> Result<String>, wanted: impl Fn(&str) -> bool) -> String {
    until_blocking(what, LIMIT, || {
        let answer = ask()?;
        Ok(if wanted(&answer) { Look::Ready(answer) } else { Look::NotYet(answer) })
    })
    .unwrap()
}

/// Asks until an answer has all of some texts.
pub(crate) fn answers(what: &str, ask: impl Fn() -> Result<String>, texts: &[&str]) -> String {
    asked(what, ask, |answer| texts.iter().all(|text| answer.contains(text)))
}
