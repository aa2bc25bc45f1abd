//! Messages that are none, and too many of them.

use hickory_proto::{
    op::{Edns, OpCode, ResponseCode},
    rr::{DNSClass, RecordType::A},
};
use penstock_dns::wire::{Received, receive};
use proptest::prelude::*;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket},
};

use super::{
    SVC,
    fixture::{Running, ask_udp, octets_udp, question, read, receive_tcp, send_tcp},
};

fn valid() -> Vec<u8> {
    question(SVC, A).to_vec().unwrap()
}

/// What a valid question becomes with these octets in other places.
fn with(changes: &[(usize, u8)]) -> Vec<u8> {
    let mut octets = valid();
    changes.iter().for_each(|(at, octet)| octets[*at] = *octet);
    octets
}

async fn code(server: &Running, octets: &[u8]) -> ResponseCode {
    let answer = read(&octets_udp(server, octets).await.expect("an answer"));
    assert_eq!(answer.metadata.id, 4711);
    answer.metadata.response_code
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_wrong_message_has_its_code() {
    let server = Running::start().await;
    let (none, two) = (with(&[(5, 0)]), with(&[(5, 2)]));
    // A name that points at itself.
    let looped = [&valid()[..12], &[0xc0, 12, 0, 1, 0, 1]].concat();
    let long =
        [&valid()[..12], &[&[63], [b'a'; 63].as_slice()].concat().repeat(4), &[0, 0, 1, 0, 1]].concat();
    let short = valid()[..20].to_vec();
    for octets in [none, two, looped, long, short] {
        assert_eq!(code(&server, &octets).await, ResponseCode::FormErr, "{octets:?}");
    }
    for op_code in [OpCode::Status, OpCode::Notify, OpCode::Update, OpCode::Unknown(9)] {
        assert_eq!(code(&server, &with(&[(2, u8::from(op_code) << 3)])).await, ResponseCode::NotImp);
    }
    let mut chaos = question(SVC, A);
    chaos.queries[0].set_query_class(DNSClass::CH);
    assert_eq!(ask_udp(&server, &chaos).await.metadata.response_code, ResponseCode::Refused);
    let (mut newer, mut edns) = (question(SVC, A), Edns::new());
    edns.set_version(1);
    newer.set_edns(edns);
    let answer = ask_udp(&server, &newer).await;
    // BADVERS and BADSIG are one number, which is read as the latter.
    assert_eq!(u16::from(answer.metadata.response_code), 16);
    assert_eq!(answer.edns.unwrap().version(), 0);
}

#[test]
fn what_is_no_question_gets_no_answer() {
    for octets in [Vec::new(), valid()[..11].to_vec(), with(&[(2, 0x80)])] {
        assert!(matches!(receive(&octets), Received::Drop), "{octets:?}");
    }
    assert!(matches!(receive(&valid()), Received::Query(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_rubbish_leaves_the_server_answering() {
    let server = Running::start().await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for n in 0..20_000_u32 {
        let rubbish = [n.to_be_bytes().as_slice(), &[0xff; 40]].concat();
        // What the kernel does not take is lost, as in any flood.
        let _ = socket.try_send_to(&rubbish, server.address);
    }
    let answer = ask_udp(&server, &question(SVC, A)).await;
    assert_eq!(answer.answers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_trickles_is_cut_off_and_others_are_answered() {
    let server = Running::start().await;
    let mut slow = TcpStream::connect(server.address).await.unwrap();
    slow.write_all(&[0, 200, 1]).await.unwrap();
    let mut brisk = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..3 {
        send_tcp(&mut brisk, &valid()).await;
        assert!(receive_tcp(&mut brisk).await.is_some());
    }
    assert!(receive_tcp(&mut slow).await.is_none(), "the server waits for ever");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_after_a_thousand_questions() {
    let server = Running::start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for _ in 0..1000 {
        send_tcp(&mut stream, &valid()).await;
        assert!(receive_tcp(&mut stream).await.is_some());
    }
    assert!(receive_tcp(&mut stream).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_has_a_bounded_number_of_connections() {
    let server = Running::start().await;
    let mut streams = Vec::new();
    for _ in 0..65 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        send_tcp(&mut stream, &valid()).await;
        let answered = receive_tcp(&mut stream).await.is_some();
        streams.push((stream, answered));
    }
    assert_eq!(streams.iter().filter(|(_, answered)| *answered).count(), 64);
}

proptest! {
    #[test]
    fn any_octets_are_read_without_panic(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = receive(&octets);
    }

    /// Nearly valid ones go deeper. What is rejected is answered with a readable message.
    #[test]
    fn nearly_valid_messages_are_read_without_panic(
        changes in proptest::collection::vec((0..valid().len(), any::<u8>()), 1..6),
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let octets = [with(&changes), tail].concat();
        if let Received::Reject(code, answer) = receive(&octets) {
            prop_assert!(code != ResponseCode::NoError && answer.len() <= 512 && answer[2] & 0x80 != 0);
        }
    }
}
