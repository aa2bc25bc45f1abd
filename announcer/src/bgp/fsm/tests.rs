mod messages;
mod rows;

use std::iter;

use super::*;
use crate::bgp::{Reason, RemoteAsn, fixture::peer};

/// A state machine and a clock that is moved by hand.
struct Played {
    fsm: Fsm,
    moment: Moment,
}

fn router_open() -> Open {
    let families = Family::ALL.into();
    let graceful_restart = Some(GracefulRestart { restarting: false, time: 120, families });
    Open {
        asn: 64513,
        hold_time: 30,
        router_id: [10, 0, 0, 2].into(),
        capabilities: Capabilities {
            families: Family::ALL.into(),
            multiprotocol: true,
            route_refresh: true,
            four_octet_as: true,
            graceful_restart,
        },
    }
}

impl Played {
    fn new(peer: Peer) -> Self {
        Self { fsm: Fsm::new(peer), moment: Moment { now: Instant::now(), chance: 1.0 } }
    }

    fn at(state: State) -> Self {
        let mut played = Self::new(peer());
        played.walk_to(state);
        played
    }

    fn walk_to(&mut self, state: State) {
        let lost = Event::ConnectionFailed(Reason::Broken("lost".to_owned()));
        let events = [Event::Start, Event::Connected, Event::Open(router_open()), Event::Keepalive];
        match state {
            State::Active => {
                self.walk_to(State::OpenSent);
                self.handle(&lost);
            }
            _ => {
                let mut events = events.into_iter();
                while self.fsm.state() != state {
                    self.handle(&events.next().unwrap());
                }
            }
        }
        assert_eq!(self.fsm.state(), state);
    }

    fn handle(&mut self, event: &Event) -> Vec<Action> {
        self.fsm.handle(event, self.moment)
    }

    fn receive(&mut self, bytes: &[u8]) -> Vec<Action> {
        self.fsm.received(bytes, self.moment)
    }

    /// Moves the clock to the next timer and lets it expire.
    fn expire(&mut self) -> (Duration, Vec<Action>) {
        let deadline = self.fsm.deadline().unwrap();
        let passed = deadline - self.moment.now;
        self.moment.now = deadline;
        (passed, self.fsm.expired(self.moment))
    }

    /// The time to the next timer.
    fn wait(&self) -> Option<Duration> {
        self.fsm.deadline().map(|deadline| deadline - self.moment.now)
    }
}

/// What the actions come to, in one word each; a NOTIFICATION by its codes.
fn words(actions: &[Action]) -> String {
    let word = |action: &Action| match action {
        Action::Connect => "connect".to_owned(),
        Action::Send(bytes) => match next_frame(bytes).unwrap().unwrap() {
            Frame { kind: Kind::Open, .. } => "open".to_owned(),
            Frame { kind: Kind::Keepalive, .. } => "keepalive".to_owned(),
            Frame { kind: Kind::Notification, body } => format!("{}/{}", body[0], body[1]),
            frame => panic!("{frame:?}"),
        },
        Action::Close => "close".to_owned(),
        Action::Drop => "drop".to_owned(),
        Action::Up(_) => "up".to_owned(),
        Action::Refresh(_) => "refresh".to_owned(),
        Action::Down(_) => "down".to_owned(),
    };
    actions.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn rests_double_up_to_the_retry_time_and_begin_anew_after_a_session_that_stood() {
    let mut played = Played::new(peer());
    played.handle(&Event::Start);
    let mut rests = Vec::new();
    for _ in 0..6 {
        played.handle(&Event::ConnectionFailed(Reason::Connect("refused".to_owned())));
        let (rest, actions) = played.expire();
        assert_eq!(words(&actions), "connect");
        rests.push(rest.as_secs());
    }
    assert_eq!(rests, [1, 2, 4, 8, 10, 10]);
    played.handle(&Event::Connected);
    played.handle(&Event::Open(router_open()));
    played.handle(&Event::Keepalive);
    played.moment.now += peer().connect_retry;
    played.handle(&Event::Notified(Cause::AdministrativeShutdown.into()));
    assert_eq!(played.wait(), Some(Duration::from_secs(1)));
}

#[test]
fn a_session_that_falls_at_once_is_damped() {
    let mut played = Played::new(peer());
    let mut rests = Vec::new();
    for _ in 0..3 {
        played.walk_to(State::Established);
        played.handle(&Event::Notified(Cause::AdministrativeShutdown.into()));
        rests.push(played.wait().unwrap().as_secs());
        played.fsm.timers.clear();
    }
    assert_eq!(rests, [1, 2, 4]);
}

#[test]
fn chance_shortens_what_all_nodes_would_do_at_once() {
    let mut played = Played::at(State::Connect);
    played.moment.chance = 0.0;
    played.handle(&Event::ConnectionFailed(Reason::Connect("refused".to_owned())));
    assert_eq!(played.wait(), Some(Duration::from_millis(750)));
    let mut played = Played::at(State::OpenSent);
    played.moment.chance = 0.0;
    played.handle(&Event::Open(router_open()));
    assert_eq!(played.wait(), Some(Duration::from_millis(7500)));
}

#[test]
fn a_connection_that_nobody_answers_is_given_up_with_a_hint_at_the_password() {
    let mut played = Played::at(State::Connect);
    let (passed, actions) = played.expire();
    assert_eq!(passed, peer().connect_retry);
    assert_eq!(words(&actions), "drop down connect");
    assert_eq!(actions[1], Action::Down(Reason::NoAnswer { within: passed, password: false }));
}

#[test]
fn an_open_is_waited_for_as_long_as_the_hold_time_and_not_for_ever() {
    for (hold_time, wait) in [(0, 240), (3, 3), (90, 90), (65535, 240)] {
        let mut played = Played::new(Peer { hold_time: Duration::from_secs(hold_time), ..peer() });
        played.walk_to(State::OpenSent);
        let (passed, actions) = played.expire();
        assert_eq!((passed.as_secs(), words(&actions).as_str()), (wait, "4/0 down close"));
    }
}

#[test]
fn the_smaller_hold_time_counts_and_a_third_of_it_is_the_keepalive_time() {
    let mut played = Played::at(State::Established);
    assert_eq!(played.fsm.session.as_ref().unwrap().hold_time, Duration::from_secs(30));
    let sent =
        iter::repeat_with(|| played.expire()).take(3).map(|(time, done)| (time.as_secs(), words(&done)));
    let sent: Vec<_> = sent.collect();
    // The third would be at the end of the hold time, which comes first and ends it all.
    assert_eq!(
        sent,
        [(10, "keepalive".to_owned()), (10, "keepalive".to_owned()), (10, "4/0 down close".to_owned())]
    );
}

#[test]
fn what_is_heard_begins_the_hold_time_anew() {
    let mut played = Played::at(State::Established);
    for _ in 0..20 {
        played.expire();
        played.receive(&KEEPALIVE);
    }
    assert_eq!(played.fsm.state(), State::Established);
    let mut keepalive = Played::new(Peer { keepalive: Some(Duration::from_secs(2)), ..peer() });
    keepalive.walk_to(State::Established);
    assert_eq!(keepalive.wait(), Some(Duration::from_secs(2)));
}

#[test]
fn without_a_hold_time_there_are_no_timers() {
    let mut played = Played::new(Peer { hold_time: Duration::ZERO, ..peer() });
    played.walk_to(State::Established);
    assert_eq!(played.wait(), None);
}

#[test]
fn a_router_that_takes_nothing_is_given_up() {
    let mut played = Played::at(State::Established);
    let start = played.moment.now;
    while played.fsm.state() == State::Established {
        played.receive(&KEEPALIVE);
        played.expire();
    }
    assert_eq!(played.moment.now - start, SEND_HOLD_TIME);
    let mut played = Played::at(State::Established);
    played.moment.now += Duration::from_secs(20);
    played.fsm.sent(played.moment.now);
    assert_eq!(played.fsm.timers.next().map(|at| at <= played.moment.now), Some(true), "a KEEPALIVE is due");
}

#[test]
fn an_open_from_somebody_else_is_refused() {
    let answer = |change: &dyn Fn(&mut Open), peer: Peer| {
        let mut played = Played::new(peer);
        played.walk_to(State::OpenSent);
        let mut open = router_open();
        change(&mut open);
        words(&played.receive(&open.encode()))
    };
    assert_eq!(answer(&|_| {}, peer()), "keepalive");
    assert_eq!(answer(&|open| open.asn = 64514, peer()), "2/2 down close");
    assert_eq!(answer(&|open| open.hold_time = 2, peer()), "2/6 down close");
    assert_eq!(answer(&|open| open.router_id = [0; 4].into(), peer()), "2/3 down close");
    let internal = || Peer { remote_asn: RemoteAsn::Internal, ..peer() };
    let inside = |open: &mut Open| open.asn = 64512;
    assert_eq!(answer(&inside, internal()), "keepalive");
    let twin = |open: &mut Open| (open.asn, open.router_id) = (64512, peer().router_id);
    assert_eq!(answer(&twin, internal()), "2/3 down close");
    assert_eq!(answer(&inside, Peer { remote_asn: RemoteAsn::External, ..peer() }), "2/2 down close");
}

#[test]
fn a_router_without_a_family_of_ours_is_refused() {
    let mut played = Played::at(State::OpenSent);
    let mut open = router_open().encode();
    // AFI 25 in both multiprotocol capabilities.
    for at in 0..open.len() - 5 {
        if matches!(open[at..at + 6], [1, 4, 0, 1 | 2, 0, 1]) {
            open[at + 3] = 25;
        }
    }
    assert_eq!(words(&played.receive(&open)), "2/7 down close");
}

#[test]
fn graceful_restart_is_offered_as_it_is_configured() {
    let open = |fsm: &Fsm| fsm.open().capabilities.graceful_restart;
    let mut played = Played::new(Peer { graceful_restart: Some(Duration::from_secs(120)), ..peer() });
    let expected = GracefulRestart { restarting: true, time: 120, families: Family::ALL.into() };
    assert_eq!(open(&played.fsm), Some(expected.clone()));
    played.walk_to(State::Established);
    assert_eq!(
        open(&played.fsm),
        Some(GracefulRestart { restarting: false, ..expected }),
        "only the first time"
    );
    assert_eq!(played.fsm.session.unwrap().kept_on_restart, Family::ALL.into());
    let played = Played::at(State::Established);
    assert_eq!(open(&played.fsm), None);
    assert_eq!(played.fsm.session.unwrap().kept_on_restart, [].into());
}
