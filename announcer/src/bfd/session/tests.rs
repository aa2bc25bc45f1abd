use penstock_crds::BFDProfileSpec;
use proptest::prelude::*;

use super::*;

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn profile(receive: u32, transmit: u32, multiplier: u8) -> Profile {
    let spec = BFDProfileSpec {
        receive_interval: receive,
        transmit_interval: transmit,
        detect_multiplier: multiplier,
        ..BFDProfileSpec::default()
    };
    Profile::new(&spec).unwrap()
}

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// A packet of a peer that knows this end, in a state.
fn from_peer(state: State) -> Packet {
    Packet {
        diagnostic: Diagnostic::NONE,
        state,
        poll: false,
        final_: false,
        control_plane_independent: false,
        demand: false,
        detect_multiplier: NonZeroU8::new(3).unwrap(),
        my_discriminator: number(7),
        your_discriminator: Some(number(1)),
        desired_min_tx: 50_000,
        required_min_rx: 50_000,
        required_min_echo_rx: 0,
    }
}

/// A session in a state, whose first packets are sent.
fn session_in(state: State, now: Instant) -> Session {
    let mut session = Session::start(profile(100, 100, 3), number(1), now);
    match state {
        State::AdminDown => session.shut(),
        State::Down => {}
        State::Init => assert_eq!(session.packet_received(&from_peer(State::Down), now), None),
        State::Up => assert_eq!(session.packet_received(&from_peer(State::Init), now), Some(Change::Up)),
    }
    while session.packet_to_send(now, 0).is_some() {}
    session
}

/// RFC 5880, sections 6.2 and 6.8.6: every state with every state heard.
#[test]
fn states_follow_the_table_of_the_rfc() {
    use State::{AdminDown, Down, Init, Up};
    let failed = Change::Down(Reason::PeerDown(Diagnostic::NONE));
    let rows = [
        (AdminDown, AdminDown, AdminDown, None),
        (AdminDown, Down, AdminDown, None),
        (AdminDown, Init, AdminDown, None),
        (AdminDown, Up, AdminDown, None),
        (Down, AdminDown, Down, None),
        (Down, Down, Init, None),
        (Down, Init, Up, Some(Change::Up)),
        (Down, Up, Down, None),
        (Init, AdminDown, Down, None),
        (Init, Down, Init, None),
        (Init, Init, Up, Some(Change::Up)),
        (Init, Up, Up, Some(Change::Up)),
        (Up, AdminDown, Down, Some(Change::Down(Reason::PeerAdminDown))),
        (Up, Down, Down, Some(failed)),
        (Up, Init, Up, None),
        (Up, Up, Up, None),
    ];
    let now = Instant::now();
    for (before, heard, after, change) in rows {
        let mut session = session_in(before, now);
        assert_eq!(session.packet_received(&from_peer(heard), now), change, "{before:?} hears {heard:?}");
        assert_eq!(session.state(), after, "{before:?} hears {heard:?}");
        // Who says something new says it at once (section 6.8.7).
        let said = session.packet_to_send(now, 0).map(|packet| packet.state);
        assert_eq!(said, (before != after).then_some(after), "{before:?} hears {heard:?}");
    }
}

#[test]
fn a_peer_is_gone_after_the_detection_time_and_not_before() {
    let now = Instant::now();
    // 3 × max(our receive interval 100 ms, its transmit interval 50 ms).
    let mut session = session_in(State::Up, now);
    assert_eq!(session.detection_time(), Some(millis(300)));
    assert_eq!(session.elapse(now + millis(299)), None);
    let silence = Some(Change::Down(Reason::Silence(millis(300))));
    assert_eq!(session.clone().elapse(now + millis(300)), silence);
    session.packet_received(&from_peer(State::Up), now + millis(299));
    assert_eq!(session.elapse(now + millis(598)), None);
    assert_eq!(session.elapse(now + millis(599)), silence);
    assert_eq!((session.state(), session.diagnostic()), (State::Down, Diagnostic::EXPIRED));
    let packet = session.packet_to_send(now + millis(599), 0).unwrap();
    assert_eq!((packet.your_discriminator, packet.state), (None, State::Down), "all of it is forgotten");
}

#[test]
fn the_slower_of_both_is_what_is_sent_and_expected() {
    let now = Instant::now();
    let mut session = session_in(State::Up, now);
    assert_eq!(session.transmit_interval(), Some(millis(100)));
    let slow = Packet { desired_min_tx: 400_000, required_min_rx: 250_000, ..from_peer(State::Up) };
    session.packet_received(&slow, now);
    assert_eq!(session.transmit_interval(), Some(millis(250)));
    assert_eq!(session.detection_time(), Some(millis(1200)));
    let deaf = Packet { required_min_rx: 0, ..slow };
    session.packet_received(&deaf, now);
    assert_eq!(session.transmit_interval(), None);
    assert_eq!(session.next_deadline(), Some(now + millis(1200)));
    assert_eq!(session.packet_to_send(now + millis(1100), 0), None);
}

#[test]
fn a_session_that_is_not_up_sends_once_a_second_and_tells_of_more_by_a_poll() {
    let now = Instant::now();
    let mut session = Session::start(profile(100, 100, 3), number(1), now);
    let first = session.packet_to_send(now, 0).unwrap();
    assert_eq!((first.desired_min_tx, first.required_min_rx), (1_000_000, 100_000));
    assert_eq!(session.next_deadline(), Some(now + millis(1000)));
    assert_eq!(session.packet_to_send(now + millis(999), 0), None);
    assert!(session.packet_to_send(now + millis(1000), 0).is_some());

    let now = now + millis(1010);
    session.packet_received(&from_peer(State::Init), now);
    let news = session.packet_to_send(now, 0).unwrap();
    assert_eq!((news.state, news.desired_min_tx, news.poll), (State::Up, 100_000, false));
    for round in 1..4 {
        let packet = session.packet_to_send(now + millis(100 * round), 0).unwrap();
        assert!(packet.poll && !packet.final_, "until it is answered");
    }
    session.packet_received(&Packet { final_: true, ..from_peer(State::Up) }, now + millis(400));
    assert!(!session.packet_to_send(now + millis(400), 0).unwrap().poll);
}

#[test]
fn a_poll_is_answered_at_once_and_once() {
    let now = Instant::now();
    for state in [State::Init, State::Up] {
        let mut session = session_in(state, now);
        session.packet_received(&Packet { poll: true, ..from_peer(State::Up) }, now);
        let answer = session.packet_to_send(now, 0).unwrap();
        assert!(answer.final_ && !answer.poll);
        assert_eq!(session.packet_to_send(now, 0), None);
    }
    let mut shut = session_in(State::AdminDown, now);
    shut.packet_received(&Packet { poll: true, ..from_peer(State::Up) }, now);
    assert_eq!(shut.packet_to_send(now, 0), None);
}

fn confirmed(session: &mut Session, now: Instant) {
    session.packet_received(&Packet { final_: true, ..from_peer(State::Up) }, now);
}

/// Section 6.8.3: not rarer, and not gone sooner, than the peer knows.
#[test]
fn another_profile_is_used_when_the_peer_has_confirmed_it() {
    let now = Instant::now();
    let mut session = session_in(State::Up, now);
    confirmed(&mut session, now);
    session.configure(profile(60, 400, 3));
    assert_eq!(
        (session.transmit_interval(), session.detection_time()),
        (Some(millis(100)), Some(millis(300)))
    );
    let packet = session.packet_to_send(now + millis(100), 0).unwrap();
    assert_eq!((packet.poll, packet.desired_min_tx, packet.required_min_rx), (true, 400_000, 60_000));
    confirmed(&mut session, now + millis(101));
    assert_eq!(
        (session.transmit_interval(), session.detection_time()),
        (Some(millis(400)), Some(millis(180)))
    );

    session.configure(profile(500, 100, 3));
    assert_eq!(
        (session.transmit_interval(), session.detection_time()),
        (Some(millis(100)), Some(millis(1500)))
    );
    // Once more, before that was confirmed: the answer may be to the packet before.
    session.configure(profile(500, 700, 3));
    confirmed(&mut session, now + millis(200));
    assert_eq!(session.transmit_interval(), Some(millis(100)));
    confirmed(&mut session, now + millis(300));
    assert_eq!(session.transmit_interval(), Some(millis(700)));
    session.configure(profile(500, 700, 5));
    assert!(!session.packet_to_send(now + millis(1000), 0).unwrap().poll, "a multiplier needs no poll");
}

#[test]
fn a_passive_session_waits_for_its_peer() {
    let now = Instant::now();
    let passive = Profile { passive: true, ..profile(100, 100, 3) };
    let mut session = Session::start(passive, number(1), now);
    assert_eq!(session.next_deadline(), None);
    assert_eq!(session.packet_to_send(now + millis(5000), 0), None);
    session.packet_received(&from_peer(State::Down), now);
    assert_eq!(session.packet_to_send(now, 0).unwrap().state, State::Init);
    session.packet_received(&from_peer(State::Up), now);
    while session.packet_to_send(now, 0).is_some() {}
    assert!(matches!(session.elapse(now + millis(300)), Some(Change::Down(Reason::Silence(_)))));
    assert_eq!(session.packet_to_send(now + millis(5000), 0), None, "it is the peer's turn again");
}

#[test]
fn a_peer_in_demand_mode_is_sent_nothing_but_polls_and_answers() {
    let now = Instant::now();
    let mut session = session_in(State::Up, now);
    let demand = Packet { demand: true, final_: true, ..from_peer(State::Up) };
    session.packet_received(&demand, now);
    assert_eq!(session.packet_to_send(now + millis(250), 0), None);
    assert_eq!(session.next_deadline(), Some(now + millis(300)), "it is still expected to send");
    session.packet_received(&Packet { poll: true, final_: false, ..demand }, now);
    assert!(session.packet_to_send(now, 0).unwrap().final_);
    session.configure(profile(100, 200, 3));
    assert!(session.packet_to_send(now + millis(100), 0).unwrap().poll);
    session.packet_received(&demand, now + millis(150));
    assert_eq!(session.packet_to_send(now + millis(400), 0), None);
    session.packet_received(&Packet { demand: true, ..from_peer(State::Down) }, now + millis(400));
    assert_eq!(session.packet_to_send(now + millis(400), 0).unwrap().state, State::Down);
    assert!(session.next_deadline().is_some(), "demand holds while both are up");
}

#[test]
fn who_is_shut_says_so() {
    let now = Instant::now();
    let mut session = session_in(State::Up, now);
    session.shut();
    let packet = session.packet_to_send(now, 0).unwrap();
    assert_eq!((packet.state, packet.diagnostic), (State::AdminDown, Diagnostic::ADMINISTRATIVE));
    assert_eq!(packet.your_discriminator, Some(number(7)));
    assert!(Reason::PeerDown(Diagnostic::NONE).is_failure() && !Reason::PeerAdminDown.is_failure());
}

/// A packet on its way, and what the other end is told by a shared clock.
struct Link {
    now: Instant,
    ends: [Session; 2],
    changes: [Vec<(Instant, Change)>; 2],
    sent: [Vec<Instant>; 2],
    delay: Duration,
    on_the_way: Vec<(Instant, usize, Packet)>,
    cut: bool,
}

impl Link {
    fn new(profiles: [Profile; 2], delay: Duration) -> Self {
        let now = Instant::now();
        let mut number_of = 0;
        let ends = profiles.map(|profile| {
            number_of += 1;
            Session::start(profile, number(number_of), now)
        });
        let (changes, sent) = Default::default();
        Self { now, ends, changes, sent, delay, on_the_way: Vec::new(), cut: false }
    }

    /// Lets everything happen until a time, each at its own.
    fn run_until(&mut self, end: Instant, random: &mut impl FnMut() -> u32) {
        while self.now <= end {
            self.deliver();
            for to in 0..2 {
                let change = self.ends[to].elapse(self.now);
                self.changes[to].extend(change.map(|change| (self.now, change)));
                while let Some(packet) = self.ends[to].packet_to_send(self.now, random()) {
                    self.sent[to].push(self.now);
                    if !self.cut {
                        self.on_the_way.push((self.now + self.delay, 1 - to, packet));
                    }
                }
            }
            let arrivals = self.on_the_way.iter().map(|(at, ..)| *at);
            let next = self.ends.iter().filter_map(Session::next_deadline).chain(arrivals).min();
            self.now = next.unwrap_or(end + millis(1)).max(self.now);
        }
        self.now = end;
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later) = self.on_the_way.drain(..).partition(|(at, ..)| *at <= now);
        self.on_the_way = later;
        for (_, to, packet) in due {
            let change = self.ends[to].packet_received(&packet, now);
            self.changes[to].extend(change.map(|change| (now, change)));
        }
    }
}

fn any_profile() -> impl Strategy<Value = Profile> {
    (10u32..2000, 10u32..2000, 2u8..10)
        .prop_map(|(receive, transmit, multiplier)| profile(receive, transmit, multiplier))
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let states = prop::sample::select(vec![State::AdminDown, State::Down, State::Init, State::Up]);
    (states, any::<(bool, bool, bool)>(), 1u8.., 1u32.., any::<(u32, u32, u32)>()).prop_map(
        |(state, (poll, final_, demand), multiplier, my, (tx, rx, echo))| Packet {
            poll,
            final_,
            demand,
            detect_multiplier: NonZeroU8::new(multiplier).unwrap(),
            my_discriminator: number(my),
            desired_min_tx: tx,
            required_min_rx: rx,
            required_min_echo_rx: echo,
            ..from_peer(state)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Two ends come up, agree on intervals, stay up as long as packets arrive, and both find a cut in their detection time.
    #[test]
    fn two_ends_come_up_stay_up_and_find_a_cut(
        profiles in [any_profile(), any_profile()],
        delay in 0u64..9,
        seed in any::<u64>(),
    ) {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut random = || random.u32(..);
        let mut link = Link::new(profiles, millis(delay));
        let start = link.now;
        // A slow second or two, and a poll at the slower interval.
        link.run_until(start + millis(8000), &mut random);
        let agreed = |a: Profile, b: Profile| a.transmit_interval.max(b.receive_interval);
        for (this, other) in [(0, 1), (1, 0)] {
            let (mine, others) = (profiles[this], profiles[other]);
            prop_assert_eq!(link.changes[this].iter().map(|(_, c)| *c).collect::<Vec<_>>(), [Change::Up]);
            prop_assert_eq!(link.ends[this].transmit_interval(), Some(agreed(mine, others)));
            let detection = agreed(others, mine) * u32::from(others.detect_multiplier.get());
            prop_assert_eq!(link.ends[this].detection_time(), Some(detection));
        }
        link.run_until(start + millis(30_000), &mut random);
        prop_assert!(link.changes.iter().all(|changes| changes.len() == 1), "{:?}", link.changes);
        check_spacing(&link)?;

        let cut = link.now;
        link.cut = true;
        link.on_the_way.clear();
        link.run_until(cut + millis(60_000), &mut random);
        for end in 0..2 {
            let (at, change) = link.changes[end][1];
            let Change::Down(Reason::Silence(detection)) = change else { panic!("{change:?}") };
            // Measured from the last packet that arrived, which is at most an interval before the cut.
            prop_assert!(at <= cut + detection, "{:?} after {detection:?}", at - cut);
            prop_assert_eq!(link.changes[end].len(), 2);
        }
    }

    /// Whatever a peer sends, whenever: no panic, no stand-still, and the next packet is never due before the last.
    #[test]
    fn nothing_that_a_peer_sends_makes_it_panic(
        packets in prop::collection::vec((any_packet(), 0u64..5000), 0..40),
        passive in any::<bool>(),
    ) {
        let mut now = Instant::now();
        let mut session = Session::start(Profile { passive, ..profile(10, 10, 2) }, number(1), now);
        for (packet, later) in packets {
            now += millis(later);
            session.elapse(now);
            session.packet_received(&packet, now);
            let mut sent = 0;
            while let Some(packet) = session.packet_to_send(now, later as u32) {
                prop_assert_eq!(Packet::parse(&packet.to_bytes()), Ok(packet));
                sent += 1;
                prop_assert!(sent <= 2, "an answer and a periodic one");
            }
            prop_assert!(session.next_deadline().is_none_or(|at| at > now));
        }
    }
}

/// Once up and agreed, packets keep to three quarters of the interval and more (section 6.8.7).
fn check_spacing(link: &Link) -> Result<(), TestCaseError> {
    for (end, sent) in link.ends.iter().zip(&link.sent) {
        let settled: Vec<_> = sent.iter().filter(|at| **at + millis(20_000) > link.now).collect();
        let interval = end.transmit_interval().unwrap();
        for pair in settled.windows(2) {
            let gap = *pair[1] - *pair[0];
            prop_assert!(gap >= interval.mul_f64(0.7499) && gap <= interval, "{gap:?} of {interval:?}");
        }
    }
    Ok(())
}
