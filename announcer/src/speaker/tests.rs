use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OURS_TOO: Mac = Mac([2, 0, 0, 0, 0, 2]);
const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 200);
const HOST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 0x200);
const HOST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x113, 0, 0, 0, 0, 1);

fn announced(claiming: bool) -> Announced {
    Announced { addresses: [VIP.into(), VIP6.into()].into(), claiming, own_macs: [OURS_TOO].into() }
}

fn speaker(claiming: bool, now: Instant) -> Speaker {
    let mut speaker = Speaker::new(OURS);
    speaker.set(announced(claiming), now);
    speaker
}

fn question(destination: Mac, target: Ipv4Addr) -> ArpFrame {
    ArpFrame {
        destination,
        operation: Operation::Request,
        sender: (OTHER, HOST),
        target: (Mac([0; 6]), target),
    }
}

fn question6(target: Ipv6Addr) -> NdpFrame {
    let receiver = ndp::solicited_node(target);
    let destination = Mac::of_group(receiver);
    NdpFrame { destination, sender: (OTHER, HOST6), receiver, target, message: Message::Solicitation }
}

#[test]
fn what_frames_of_arp_mean() {
    let asked = question(Mac::BROADCAST, VIP);
    let answer = Some(Heard::Question(Frame::Arp(asked.reply_from(OURS))));
    let claim = Some(Heard::Claim { address: VIP.into(), by: OTHER });
    let from = |mac| ArpFrame::gratuitous(mac, VIP);
    let probe = ArpFrame { sender: (OTHER, Ipv4Addr::UNSPECIFIED), ..asked };
    let cases = [
        ("question", asked, answer),
        ("question to us alone", question(OURS, VIP), answer),
        ("question to another station", question(OTHER, VIP), None),
        ("question for another address", question(Mac::BROADCAST, HOST), None),
        ("answer of somebody", ArpFrame { operation: Operation::Reply, ..asked }, None),
        ("probe (RFC 5227)", probe, Some(Heard::Question(Frame::Arp(probe.reply_from(OURS))))),
        ("foreign announcement", from(OTHER)[0], claim),
        ("foreign gratuitous reply", from(OTHER)[1], claim),
        ("our own announcement", from(OURS)[0], None),
        ("that of our other interface", from(OURS_TOO)[0], None),
    ];
    let speaker = speaker(true, Instant::now());
    for (what, frame, expected) in cases {
        assert_eq!(speaker.receive(&frame.to_bytes()), expected, "{what}");
    }
}

#[test]
fn what_frames_of_ndp_mean() {
    let asked = question6(VIP6);
    let answer = Some(Heard::Question(Frame::Ndp(asked.reply_from(OURS))));
    let claim = Some(Heard::Claim { address: VIP6.into(), by: OTHER });
    let probe = NdpFrame { sender: (OTHER, Ipv6Addr::UNSPECIFIED), ..asked };
    let says = |mac| NdpFrame::unsolicited(mac, VIP6);
    let cases = [
        ("question", asked, answer),
        // Unreachability is detected by such (RFC 4861 section 7.3).
        ("question to us alone", NdpFrame { destination: OURS, receiver: VIP6, ..asked }, answer),
        ("question to another station", NdpFrame { destination: OTHER, ..asked }, None),
        ("question for another address", question6(HOST6), None),
        ("probe (RFC 4862)", probe, Some(Heard::Question(Frame::Ndp(NdpFrame::unsolicited(OURS, VIP6))))),
        ("answer of somebody for another address", NdpFrame::unsolicited(OTHER, HOST6), None),
        ("foreign advertisement", says(OTHER), claim),
        ("foreign answer", NdpFrame { destination: OURS, ..asked.reply_from(OTHER) }, claim),
        ("question of who has our address", NdpFrame { sender: (OTHER, VIP6), ..question6(HOST6) }, claim),
        ("our own advertisement", says(OURS), None),
        ("that of our other interface", says(OURS_TOO), None),
    ];
    let speaker = speaker(true, Instant::now());
    for (what, frame, expected) in cases {
        assert_eq!(speaker.receive(&frame.to_bytes()), expected, "{what}");
    }
}

#[test]
fn questions_come_in_the_groups_of_ipv6_addresses() {
    assert_eq!(announced(false).groups(), [ndp::solicited_node(VIP6)].into());
}

#[test]
fn after_giving_up_it_is_silent() {
    let now = Instant::now();
    let mut speaker = speaker(true, now);
    speaker.set(Announced { addresses: BTreeSet::new(), ..announced(true) }, now);
    assert_eq!(speaker.receive(&question(Mac::BROADCAST, VIP).to_bytes()), None);
    assert_eq!(speaker.receive(&question6(VIP6).to_bytes()), None);
    assert_eq!(speaker.next_due(), None);
    assert!(speaker.due(now).is_empty());
}

fn claims(v4: Ipv4Addr) -> Vec<Frame> {
    ArpFrame::gratuitous(OURS, v4).map(Frame::Arp).to_vec()
}

fn times(speaker: &mut Speaker, start: Instant, count: usize) -> Vec<u128> {
    let both = [claims(VIP), vec![Frame::Ndp(NdpFrame::unsolicited(OURS, VIP6))]].concat();
    let next = |_| {
        let at = speaker.next_due().unwrap();
        assert_eq!(speaker.due(at), both);
        (at - start).as_millis()
    };
    (0..count).map(next).collect()
}

#[test]
fn it_claims_at_once_then_for_five_seconds_then_slowly() {
    let start = Instant::now();
    let expected = [0, 1100, 2200, 3300, 4400, 64_400, 124_400];
    assert_eq!(times(&mut speaker(true, start), start, 7), expected);
}

#[test]
fn other_addresses_do_not_disturb_a_schedule() {
    let start = Instant::now();
    let mut speaker = speaker(true, start);
    times(&mut speaker, start, 7);
    let mut more = announced(true);
    more.addresses.insert(HOST.into());
    speaker.set(more, start + Duration::from_secs(125));
    assert_eq!(speaker.due(start + Duration::from_secs(125)), claims(HOST));
}

#[test]
fn without_health_it_answers_and_claims_nothing_and_with_it_claims_anew() {
    let start = Instant::now();
    let mut speaker = speaker(true, start);
    times(&mut speaker, start, 6);
    speaker.set(announced(false), start);
    assert!(speaker.receive(&question(Mac::BROADCAST, VIP).to_bytes()).is_some());
    assert!(speaker.receive(&question6(VIP6).to_bytes()).is_some());
    let asked = speaker.due(start + Duration::from_secs(60));
    assert!(
        !asked.is_empty() && asked.iter().all(Frame::is_anonymous),
        "it asks, and says nothing: {asked:?}"
    );
    let back = start + Duration::from_secs(70);
    speaker.set(announced(true), back);
    assert_eq!(times(&mut speaker, back, 2), [0, 1100]);
}

proptest! {
    #[test]
    fn no_bytes_panic_or_get_an_answer_for_an_address_that_is_not_ours(
        bytes in proptest::collection::vec(any::<u8>(), 0..128),
        change in proptest::collection::vec((0usize..86, any::<u8>()), 0..6),
    ) {
        let speaker = speaker(true, Instant::now());
        let mut near = [question(Mac::BROADCAST, VIP).to_bytes(), question6(VIP6).to_bytes()];
        for near in &mut near {
            let length = near.len();
            change.iter().for_each(|(at, byte)| near[at % length] = *byte);
        }
        let [arp, ndp] = near.map(|near| speaker.receive(&near));
        for heard in [speaker.receive(&bytes), arp, ndp].into_iter().flatten() {
            match heard {
                Heard::Question(Frame::Arp(answer)) => prop_assert_eq!(answer.sender, (OURS, VIP)),
                Heard::Question(Frame::Ndp(answer)) => prop_assert_eq!(answer.sender, (OURS, VIP6)),
                Heard::Claim { .. } => {}
            }
        }
    }
}

#[test]
fn a_node_that_may_not_claim_asks_for_one_address_after_the_other() {
    let start = Instant::now();
    let mut speaker = speaker(false, start);
    let probe4 = Frame::Arp(ArpFrame::probe(OURS, VIP));
    let probe6 = Frame::Ndp(NdpFrame::probe(OURS, VIP6));
    for (millis, expected) in [(0, vec![probe4]), (100, vec![]), (250, vec![probe6]), (500, vec![probe4])] {
        assert_eq!(speaker.due(start + Duration::from_millis(millis)), expected, "after {millis} ms");
    }
    assert_eq!(speaker.next_due(), Some(start + Duration::from_millis(750)));
    // Once one was given up, all others are asked for.
    let now = start + Duration::from_millis(600);
    let third: IpAddr = Ipv4Addr::new(203, 0, 113, 201).into();
    let more = Announced { addresses: [VIP.into(), third, VIP6.into()].into(), ..announced(false) };
    speaker.set(more, now);
    speaker.set(announced(false), now);
    assert_eq!(speaker.due(start + Duration::from_millis(750)), [probe4, probe6]);
    speaker.set(announced(true), now);
    assert!(speaker.due(now + Duration::from_secs(1)).iter().all(|frame| ![probe4, probe6].contains(frame)));
}

#[test]
fn only_who_may_claim_answers_a_probe() {
    for (claiming, answers) in [(true, true), (false, false)] {
        let speaker = speaker(claiming, Instant::now());
        for probe in [Frame::Arp(ArpFrame::probe(OTHER, VIP)), Frame::Ndp(NdpFrame::probe(OTHER, VIP6))] {
            let heard = speaker.receive(&probe.to_bytes());
            assert_eq!(matches!(heard, Some(Heard::Question(_))), answers, "{probe:?}");
        }
    }
}

#[test]
fn the_answer_to_a_probe_is_a_claim() {
    let now = Instant::now();
    let mut asking = speaker(false, now);
    let mut owner = Speaker::new(OTHER);
    owner.set(announced(true), now);
    let mut asked = Vec::new();
    for tick in 0..2 {
        for probe in asking.due(now + PROBE_INTERVAL * tick) {
            let Some(Heard::Question(answer)) = owner.receive(&probe.to_bytes()) else { panic!("{probe:?}") };
            asked.push(asking.receive(&answer.to_bytes()));
        }
    }
    let claim = |address: IpAddr| Some(Heard::Claim { address, by: OTHER });
    assert_eq!(asked, [claim(VIP.into()), claim(VIP6.into())]);
}
