//! Questions over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)] // Clippy's exception for tests leaves out their functions.

#[path = "server/fixture.rs"]
mod fixture;
#[path = "server/malformed.rs"]
mod malformed;
#[path = "server/others.rs"]
mod others;
#[path = "server/transfers.rs"]
mod transfers;

use fixture::{Running, ask_tcp, ask_udp, question, text};
use hickory_proto::{
    op::{Edns, ResponseCode},
    rr::RecordType::{A, ANY, AXFR, SRV},
};

const SVC: &str = "svc.testns.svc.cluster.local.";

#[tokio::test(flavor = "multi_thread")]
async fn names_are_answered_over_both_transports_in_the_case_of_the_question() {
    let server = Running::start().await;
    let name = "SVC.testns.svc.Cluster.LOCAL.";
    for answer in [ask_udp(&server, &question(name, A)).await, ask_tcp(&server, &question(name, A)).await] {
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.authoritative && !answer.metadata.truncation);
        assert!(answer.metadata.recursion_desired && !answer.metadata.recursion_available);
        assert_eq!(answer.queries[0].name().to_ascii(), name);
        assert_eq!(text(&answer.answers), [format!("{name} 5 A 10.0.0.1")]);
        assert!(answer.edns.is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_unknown_is_denied_with_the_domains_soa() {
    let server = Running::start().await;
    let answer = ask_udp(&server, &question("nobody.testns.svc.cluster.local.", A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert!(answer.answers.is_empty());
    assert!(text(&answer.authorities)[0].starts_with("cluster.local. 5 SOA ns.dns.cluster.local. "));
}

#[tokio::test(flavor = "multi_thread")]
async fn before_all_was_seen_an_unknown_name_is_a_failure() {
    let server = Running::unsynced().await;
    let answer = ask_udp(&server, &question("nobody.testns.svc.cluster.local.", A)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_for_the_client_is_marked_and_complete_over_tcp() {
    let server = Running::start().await;
    let plain = question("_http._tcp.many.testns.svc.cluster.local.", SRV);
    let mut roomy = plain.clone();
    roomy.set_edns(edns(4096));
    let sizes = [(&plain, 512), (&roomy, 1232)];
    for (asked, limit) in sizes {
        let octets = fixture::octets_udp(&server, &asked.to_vec().unwrap()).await.unwrap();
        let answer = fixture::read(&octets);
        assert!(answer.metadata.truncation && octets.len() <= limit, "{} of {limit} octets", octets.len());
        assert!(!answer.answers.is_empty() && answer.answers.len() < 100);
        assert_eq!(answer.edns.is_some(), asked.edns.is_some());
    }
    let whole = ask_tcp(&server, &plain).await;
    assert_eq!((whole.answers.len(), whole.additionals.len()), (100, 100));
    assert!(!whole.metadata.truncation);
}

#[tokio::test(flavor = "multi_thread")]
async fn edns_is_answered_with_our_own_size_and_the_clients_flag() {
    let server = Running::start().await;
    let mut asked = question(SVC, A);
    let mut wanted = edns(4096);
    wanted.set_dnssec_ok(true);
    asked.set_edns(wanted);
    let edns = ask_udp(&server, &asked).await.edns.unwrap();
    assert_eq!((edns.max_payload(), edns.version(), edns.flags().dnssec_ok), (1232, 0, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_is_one_record_and_transfers_are_refused() {
    let server = Running::start().await;
    let answer = ask_udp(&server, &question(SVC, ANY)).await;
    assert_eq!(answer.answers.len(), 1);
    assert!(text(&answer.answers)[0].contains("HINFO"));
    let answer = ask_tcp(&server, &question("cluster.local.", AXFR)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_answer_starts_with_another_address() {
    let server = Running::start().await;
    let mut first = std::collections::BTreeSet::new();
    for _ in 0..10 {
        let answer = ask_udp(&server, &question("many.testns.svc.cluster.local.", A)).await;
        first.insert(text(&answer.answers)[0].clone());
    }
    assert_eq!(first.len(), 10);
}

fn edns(payload: u16) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(payload);
    edns
}
