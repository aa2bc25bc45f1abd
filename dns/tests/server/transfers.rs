//! Whole domains over TCP.

use std::collections::BTreeSet;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        RData, Record, RecordType,
        RecordType::{A, AXFR, CNAME, IXFR, SRV, TXT},
        rdata::SOA,
    },
};
use tokio::net::TcpStream;

use super::fixture::{Running, ask_tcp, ask_udp, question, read, receive_tcp, send_tcp, text};

const DOMAIN: &str = "cluster.local.";

/// The records of all messages, until the SOA comes for the second time.
async fn transfer(server: &Running, asked: &Message) -> Vec<Record> {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    send_tcp(&mut stream, &asked.to_vec().unwrap()).await;
    let mut records: Vec<Record> = Vec::new();
    while records.len() < 2 || records.last().unwrap().record_type() != RecordType::SOA {
        let message = read(&receive_tcp(&mut stream).await.expect("another message"));
        assert_eq!(message.metadata.response_code, ResponseCode::NoError);
        assert!(message.metadata.authoritative && !message.answers.is_empty());
        records.extend(message.answers);
    }
    records
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_is_what_each_question_for_it_is_answered() {
    let server = Running::with_transfers().await;
    let records = transfer(&server, &question(DOMAIN, AXFR)).await;
    let (first, rest) = records.split_first().unwrap();
    let (last, between) = rest.split_last().unwrap();
    assert_eq!((first, first.record_type()), (last, RecordType::SOA));
    let between: BTreeSet<String> = text(between).into_iter().collect();
    assert_eq!(between.len(), records.len() - 2, "no record comes twice");

    let names = [
        ("dns-version", TXT, 1),
        ("svc.testns.svc", A, 1),
        ("svc.testns.svc", SRV, 1),
        ("_http._tcp.svc.testns.svc", SRV, 1),
        ("many.testns.svc", A, 100),
        ("many.testns.svc", SRV, 100),
        ("_http._tcp.many.testns.svc", SRV, 100),
        ("172-1-0-7.many.testns.svc", A, 1),
        ("external.testns.svc", CNAME, 1),
        ("across.testns.svc", CNAME, 1),
    ];
    for (name, kind, count) in names {
        let answer = ask_tcp(&server, &question(&format!("{name}.{DOMAIN}"), kind)).await;
        let answers = text(&answer.answers);
        assert_eq!(answers.len(), count, "{name} {kind}");
        assert!(answers.iter().all(|record| between.contains(record)), "{name} {kind}");
    }
    // Those above, and one address for each of the other 99 endpoints.
    assert_eq!(between.len(), names.iter().map(|(_, _, count)| count).sum::<usize>() + 99);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_the_serial_gets_it_alone_and_others_get_everything() {
    let server = Running::with_transfers().await;
    let soa = ask_tcp(&server, &question(DOMAIN, RecordType::SOA)).await.answers.remove(0);
    let RData::SOA(data) = soa.data.clone() else { panic!("no SOA: {soa}") };
    let mut asked = question(DOMAIN, IXFR);
    asked.add_authority(soa.clone());
    assert_eq!(text(&ask_tcp(&server, &asked).await.answers), text(std::slice::from_ref(&soa)));

    let (server_name, mailbox) = (data.mname.clone(), data.rname.clone());
    let older = SOA::new(server_name, mailbox, data.serial.wrapping_sub(1), 1, 1, 1, 1);
    let mut asked = question(DOMAIN, IXFR);
    asked.add_authority(Record::from_rdata(soa.name.clone(), 5, RData::SOA(older)));
    let whole = transfer(&server, &question(DOMAIN, AXFR)).await.len();
    assert_eq!(transfer(&server, &asked).await.len(), whole);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_domain_of_the_cluster_is_not_transferred_and_nothing_over_udp() {
    let server = Running::with_transfers().await;
    for name in ["svc.cluster.local.", "in-addr.arpa.", "example.test."] {
        let answer = ask_tcp(&server, &question(name, AXFR)).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NotAuth, "{name}");
    }
    let counted = r#"rcode="NOTAUTH"} 3"#;
    assert!(server.metrics().contains(counted), "{}", server.metrics());
    let answer = ask_udp(&server, &question(DOMAIN, AXFR)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}
