//! Many routes, and a router that does not read.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use penstock_announcer::bgp::{
    Attributes, Routes,
    wire::{Capabilities, Family, KEEPALIVE, Kind, Open, next_frame},
};

use crate::{
    bird::bird,
    lab::{Lab, NODE, NODE_AS, ROUTER, ROUTER_AS, answers, peer},
};

fn many(count: u32, med: u32) -> Routes {
    let route = |n| (IpNet::new(Ipv4Addr::from(0x0a00_0000 + n).into(), 32).unwrap(), n % 8);
    let attributes = |kind| Attributes { med: Some(med + kind), ..Attributes::default() };
    (0..count).map(route).map(|(prefix, kind)| (prefix, attributes(kind))).collect()
}

#[test]
fn bird_learns_of_ten_thousand_prefixes() {
    let lab = Lab::new();
    let bird = bird(&lab, ROUTER, NODE, NODE_AS, "");
    let mut node = lab.node();
    node.set_peers(&[("bird", peer(ROUTER))]);
    node.wait_until_up("bird");
    let routes = many(10_000, 0);
    let start = Instant::now();
    node.set_routes(&routes);
    node.wait_until_told("bird", 10_000);
    answers("all of them", || bird.ask("show route count"), &["10000 of 10000 routes for 10000 networks"]);
    println!("10,000 prefixes, from set_routes to bird's count: {:?}", start.elapsed());
    node.set_routes(&Routes::new());
    answers(
        "none of them",
        || bird.ask("show route count"),
        &["0 of 0 routes for 0 networks in table master4"],
    );
}

/// What a router does that takes a session, and then reads nothing.
fn silent_router(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().unwrap();
    let open = Open {
        asn: ROUTER_AS,
        hold_time: 0,
        router_id: [192, 0, 2, 1].into(),
        capabilities: Capabilities {
            families: [Family::V4].into(),
            multiprotocol: true,
            four_octet_as: true,
            ..Capabilities::default()
        },
    };
    stream.write_all(&open.encode()).unwrap();
    stream.write_all(&KEEPALIVE).unwrap();
    stream
}

#[test]
fn a_router_that_does_not_read_makes_nothing_pile_up() {
    const COUNT: u32 = 20_000;
    const ROUNDS: u32 = 200;
    let lab = Lab::new();
    let listener = lab.router.inside(|| TcpListener::bind((ROUTER, 179)).unwrap()).unwrap();
    let mut node = lab.node();
    node.set_peers(&[("silent", peer(ROUTER))]);
    let mut stream = silent_router(&listener);
    node.wait_until_up("silent");
    for round in 0..ROUNDS {
        node.set_routes(&many(COUNT, round * 8));
    }
    node.set_routes(&[("198.51.100.1/32".parse().unwrap(), Attributes::default())].into());
    // All is there once it is read, and it is far less than all that was wanted for a while.
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let (mut received, mut total) = (Vec::new(), 0);
    let last = [32, 198, 51, 100, 1];
    let mut buffer = vec![0; 1 << 20];
    loop {
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "the session ended");
        total += length;
        received.extend(&buffer[..length]);
        let mut seen = false;
        while let Some(frame) = next_frame(&received).unwrap() {
            seen |= frame.kind == Kind::Update && frame.body.ends_with(&last);
            let length = frame.length();
            received.drain(..length);
        }
        if seen {
            break;
        }
    }
    let all = usize::try_from(COUNT * ROUNDS * 5).unwrap();
    println!("{total} bytes were sent; all changes would have been {all}");
    assert!(total < all / 2);
    assert_eq!(node.news("silent").sessions, 1);
}
