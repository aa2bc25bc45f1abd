use proptest::prelude::*;

use super::*;
use crate::bgp::wire::Encoder;

#[test]
fn messages_come_in_any_pieces() {
    let encoder = Encoder {
        local_asn: 64513,
        external: true,
        four_octet_as: true,
        next_hop_v4: Some([192, 0, 2, 1].into()),
        next_hop_v6: None,
    };
    let mut prefixes = ["198.51.100.0/24".parse().unwrap()].into();
    let (update, _) = encoder.announce(&Default::default(), &mut prefixes);
    let refresh = [&KEEPALIVE[..17], &[23, 5, 0, 2, 0, 1]].concat();
    let stream = [&router_open().encode()[..], &KEEPALIVE, &update, &refresh, &KEEPALIVE].concat();
    for size in 1..stream.len() {
        let mut played = Played::at(State::OpenSent);
        let done: Vec<Action> = stream.chunks(size).flat_map(|piece| played.receive(piece)).collect();
        assert_eq!(words(&done), "keepalive up refresh", "in pieces of {size}");
        assert_eq!(played.fsm.state(), State::Established);
    }
}

/// Messages with an error, as a router would send them, and the answers of RFC 4271 section 6.
#[test]
fn wrong_messages_get_the_answer_of_the_rfc() {
    let frame = |kind: u8, body: &[u8]| {
        let length = u16::try_from(19 + body.len()).unwrap().to_be_bytes();
        [&[0xff; 16][..], &length, &[kind], body].concat()
    };
    let cases: [(&str, Vec<u8>, &str); 10] = [
        ("a marker with a zero", [&[0; 16][..], &[0, 19, 4]].concat(), "1/1 down close"),
        ("a KEEPALIVE of 20 bytes", frame(4, &[0]), "1/2 down close"),
        ("a message of 5000 bytes", frame(2, &[0; 4981]), "1/2 down close"),
        ("type 9", frame(9, &[]), "1/3 down close"),
        ("withdrawn routes beyond the end", frame(2, &[0, 9, 0, 0]), "3/1 down close"),
        ("a prefix of 33 bits", frame(2, &[0, 2, 33, 0, 0, 0]), "3/10 down close"),
        ("a well-known attribute that nobody knows", frame(2, &[0, 0, 0, 3, 0x40, 99, 0]), "3/2 down close"),
        (
            "MP_UNREACH_NLRI with half a prefix",
            frame(2, &[0, 0, 0, 8, 0x80, 15, 5, 0, 2, 1, 64, 1]),
            "3/9 down close",
        ),
        ("routes with a wrong MULTI_EXIT_DISC", frame(2, &[0, 0, 0, 4, 0x80, 4, 1, 0]), ""),
        ("a second OPEN", router_open().encode(), "5/3 down close"),
    ];
    for (name, bytes, expected) in cases {
        let done = Played::at(State::Established).receive(&bytes);
        assert_eq!(words(&done), expected, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_do_harm(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..8)) {
        for state in [State::OpenSent, State::OpenConfirm, State::Established] {
            let mut played = Played::at(state);
            for piece in &pieces {
                played.receive(piece);
            }
            prop_assert!(played.fsm.received.len() <= 4096);
        }
    }

    /// Recorded messages, changed at some places but for the marker.
    #[test]
    fn no_mutated_message_does_harm(
        which in 0..4_usize,
        changes in prop::collection::vec((16..120_usize, any::<u8>()), 0..6),
        cut in 0..120_usize,
    ) {
        let encoder = Encoder {
            local_asn: 64513,
            external: false,
            four_octet_as: true,
            next_hop_v4: Some([192, 0, 2, 1].into()),
            next_hop_v6: Some("2001:db8::1".parse().unwrap()),
        };
        let announce = |prefix: &str| encoder.announce(&Default::default(), &mut [prefix.parse().unwrap()].into()).0;
        let mut bytes = match which {
            0 => router_open().encode(),
            1 => announce("198.51.100.0/24"),
            2 => announce("2001:db8::/48"),
            _ => Notification::with(Cause::AdministrativeShutdown, *b"\x03abc").encode(),
        };
        for (at, value) in changes {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        bytes.truncate(bytes.len().max(cut + 1) - cut);
        for state in [State::OpenSent, State::OpenConfirm, State::Established] {
            for action in Played::at(state).receive(&[&bytes[..], &KEEPALIVE].concat()) {
                if let Action::Down(reason) = action {
                    prop_assert!(!reason.to_string().is_empty());
                }
            }
        }
    }
}
