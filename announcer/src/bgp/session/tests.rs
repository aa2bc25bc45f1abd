use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::IpNet;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::bgp::{Attributes, Community, News, PeerNews, connection::ROOM, fixture::peer, wire::LONGEST};

/// A task with a connection to a router that reads nothing, and a session as far as the table knows.
async fn stuck() -> (Running, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    SockRef::from(&listener).set_recv_buffer_size(4096).unwrap();
    let address = listener.local_addr().unwrap();
    let mut connection = Connection::opening(async move { Ok(TcpStream::connect(address).await.unwrap()) });
    let Happening::Connected { local } = connection.next(false).await else { panic!("no connection") };
    let (router, _) = listener.accept().await.unwrap();
    let news = News::from([("router".to_owned(), PeerNews::set(None, Reason::NotTried))]);
    let publisher = Publisher { name: "router".to_owned(), news: watch::Sender::new(news), generation: 0 };
    let (commands, routes) = (mpsc::unbounded_channel().1, watch::channel(None).1);
    let task = Task { peer: peer(), publisher, commands, routes, predecessor: None };
    let (fsm, table) = (Fsm::new(peer()), Table::default());
    let mut running = Running { task, fsm, table, connection, local: Some(local) };
    running.up(Session {
        asn: 64513,
        router_id: [10, 0, 0, 2].into(),
        hold_time: std::time::Duration::ZERO,
        families: [crate::bgp::wire::Family::V4].into(),
        four_octet_as: true,
        kept_on_restart: [].into(),
    });
    (running, router)
}

#[tokio::test]
async fn a_router_that_does_not_read_costs_no_more_than_its_room() {
    let (mut running, _router) = stuck().await;
    // Each prefix in a message of its own, and all of them changed in each round.
    let communities: BTreeSet<_> = (0..100).map(Community::Standard).collect();
    for round in 0..20 {
        let attributes = |n| Attributes {
            med: Some(round * 1000 + n),
            local_pref: None,
            communities: communities.clone(),
        };
        let prefix = |n: u32| IpNet::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 32).unwrap();
        running.table.set(&(0..1000).map(|n| (prefix(n), attributes(n))).collect());
        running.write().await;
    }
    assert!(!running.table.is_settled(), "the router got it all; give it more");
    assert!(running.connection.kept() <= 2 * (ROOM + LONGEST), "{} bytes", running.connection.kept());
}
