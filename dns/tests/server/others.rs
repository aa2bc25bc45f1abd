//! Names of others, with a second server as the upstream resolver.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record,
        RecordType::{A, PTR},
        rdata,
    },
};
use penstock_dns::forwarder::Upstreams;
use tokio::net::UdpSocket;

use super::fixture::{Running, ask_tcp, ask_udp, question, text};

/// A resolver that knows `www.example.test`, and how often it was asked.
async fn upstream() -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (socket.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((length, client)) = socket.recv_from(&mut buffer).await {
            count.fetch_add(1, Ordering::Relaxed);
            let answer = answer(&Message::from_vec(&buffer[..length]).unwrap());
            socket.send_to(&answer.to_vec().unwrap(), client).await.unwrap();
        }
    });
    (address, asked)
}

fn answer(asked: &Message) -> Message {
    let mut answer = Message::response(asked.metadata.id, asked.metadata.op_code);
    answer.metadata.recursion_available = true;
    let query = asked.queries[0].clone();
    let name = query.name().clone();
    if name.to_lowercase().to_ascii() == "www.example.test." && query.query_type() == A {
        let data = RData::A(rdata::A([192, 0, 2, 80].into()));
        answer.add_answer(Record::from_rdata(name, 300, data));
    } else {
        answer.metadata.response_code = ResponseCode::NXDomain;
        let zone = Name::from_ascii("test.").unwrap();
        let soa = rdata::SOA::new(zone.clone(), zone.clone(), 1, 2, 3, 4, 60);
        answer.add_authority(Record::from_rdata(zone, 60, RData::SOA(soa)));
    }
    answer.add_query(query);
    answer
}

async fn server() -> (Running, Arc<AtomicUsize>) {
    let (address, asked) = upstream().await;
    let upstreams = Upstreams { default: vec![address], ..Upstreams::default() };
    (Running::with_upstreams(&upstreams).await, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_are_asked_upstream_once_and_kept() {
    let (server, asked) = server().await;
    let question = question("www.example.test.", A);
    for answer in [ask_udp(&server, &question).await, ask_tcp(&server, &question).await] {
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.recursion_available && !answer.metadata.authoritative);
        assert!(text(&answer.answers)[0].ends_with(" A 192.0.2.80"));
        assert!(answer.answers[0].ttl <= 30, "kept for {} s", answer.answers[0].ttl);
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_deny_is_denied_with_their_soa() {
    let (server, _) = server().await;
    for (name, record_type) in [("nobody.example.test.", A), ("9.2.0.192.in-addr.arpa.", PTR)] {
        let answer = ask_udp(&server, &question(name, record_type)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain, "{name}");
        assert!(text(&answer.authorities)[0].starts_with("test. "), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_is_answered_with_what_others_say_of_its_target() {
    let (server, _) = server().await;
    let name = "external.testns.svc.cluster.local.";
    let answer = ask_udp(&server, &question(name, A)).await;
    assert!(answer.metadata.authoritative);
    let lines = text(&answer.answers);
    assert_eq!((lines.len(), lines[0].as_str()), (2, format!("{name} 5 CNAME www.example.test.").as_str()));
    assert!(lines[1].starts_with("www.example.test. ") && lines[1].ends_with(" A 192.0.2.80"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alias_to_another_domain_of_ours_is_followed() {
    let server = Running::start().await;
    let answer = ask_udp(&server, &question("across.testns.svc.cluster.local.", A)).await;
    let lines = text(&answer.answers);
    assert_eq!(lines[1], "svc.testns.svc.second.test. 5 A 10.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_resolver_of_a_domain_is_asked_for_its_names() {
    let (address, asked) = upstream().await;
    let domains = [(Name::from_ascii("example.test.").unwrap(), vec![address])].into();
    let server = Running::with_upstreams(&Upstreams { domains, ..Upstreams::default() }).await;
    let answer = ask_udp(&server, &question("www.example.test.", A)).await;
    assert_eq!(answer.answers.len(), 1);
    let answer = ask_udp(&server, &question("www.other.test.", A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_others_the_alias_alone_is_answered_and_foreign_addresses_are_denied() {
    let server = Running::start().await;
    let answer = ask_udp(&server, &question("external.testns.svc.cluster.local.", A)).await;
    assert_eq!(answer.answers.len(), 1);
    let answer = ask_udp(&server, &question("9.2.0.192.in-addr.arpa.", PTR)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(text(&answer.authorities)[0].starts_with("in-addr.arpa. 5 SOA "));
}
