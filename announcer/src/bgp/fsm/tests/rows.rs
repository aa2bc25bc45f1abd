use std::collections::BTreeMap;

use super::*;

fn events() -> Vec<(&'static str, Event)> {
    vec![
        ("start", Event::Start),
        ("stop", Event::Stop(Cause::AdministrativeShutdown.into())),
        ("reset", Event::Reset(Cause::BfdDown.into())),
        ("abandon", Event::Abandon),
        ("retry timer", Event::RetryExpired),
        ("hold timer", Event::HoldExpired),
        ("keepalive timer", Event::KeepaliveExpired),
        ("send hold timer", Event::SendHoldExpired),
        ("connected", Event::Connected),
        ("connection failed", Event::ConnectionFailed(Reason::Broken("lost".to_owned()))),
        ("open", Event::Open(router_open())),
        ("wrong", Event::Wrong(Cause::BadType.into())),
        ("notified", Event::Notified(Cause::AdministrativeShutdown.into())),
        ("keepalive", Event::Keepalive),
        ("update", Event::Update),
        ("route refresh", Event::RouteRefresh(Some(Family::V6))),
    ]
}

/// An event, the next state, and what is done.
type Row = (&'static str, State, &'static str);

/// RFC 4271 section 8.2.2, with 9384 and 9687: every event in every state. Where nothing stands, nothing happens.
const ROWS: [(State, &[Row]); 6] = [
    (
        State::Idle,
        &[
            ("start", State::Connect, "connect"),
            ("stop", State::Idle, "drop"),
            ("abandon", State::Idle, "drop"),
        ],
    ),
    (
        State::Connect,
        &[
            ("stop", State::Idle, "drop down"),
            ("reset", State::Idle, "drop down"),
            ("abandon", State::Idle, "drop down"),
            ("retry timer", State::Connect, "drop down connect"),
            ("hold timer", State::Idle, "drop down"),
            ("keepalive timer", State::Idle, "drop down"),
            ("send hold timer", State::Idle, "drop down"),
            ("connected", State::OpenSent, "open"),
            ("connection failed", State::Idle, "drop down"),
            ("open", State::Idle, "drop down"),
            ("wrong", State::Idle, "drop down"),
            ("notified", State::Idle, "drop down"),
            ("keepalive", State::Idle, "drop down"),
            ("update", State::Idle, "drop down"),
            ("route refresh", State::Idle, "drop down"),
        ],
    ),
    (
        State::Active,
        &[
            ("stop", State::Idle, "drop down"),
            ("reset", State::Idle, "drop down"),
            ("abandon", State::Idle, "drop down"),
            ("retry timer", State::Connect, "connect"),
            ("hold timer", State::Idle, "drop down"),
            ("keepalive timer", State::Idle, "drop down"),
            ("send hold timer", State::Idle, "drop down"),
            // Nothing listens: there is no connection that was not asked for.
            ("connected", State::Idle, "drop down"),
            ("connection failed", State::Idle, "drop down"),
            ("open", State::Idle, "drop down"),
            ("wrong", State::Idle, "drop down"),
            ("notified", State::Idle, "drop down"),
            ("keepalive", State::Idle, "drop down"),
            ("update", State::Idle, "drop down"),
            ("route refresh", State::Idle, "drop down"),
        ],
    ),
    (
        State::OpenSent,
        &[
            ("stop", State::Idle, "6/2 down close"),
            ("reset", State::Idle, "6/10 down close"),
            ("abandon", State::Idle, "drop down"),
            ("retry timer", State::Idle, "5/1 down close"),
            ("hold timer", State::Idle, "4/0 down close"),
            ("keepalive timer", State::Idle, "5/1 down close"),
            ("send hold timer", State::Idle, "drop down"),
            ("connected", State::Idle, "5/1 down close"),
            ("connection failed", State::Active, "drop down"),
            ("open", State::OpenConfirm, "keepalive"),
            ("wrong", State::Idle, "1/3 down close"),
            ("notified", State::Idle, "drop down"),
            ("keepalive", State::Idle, "5/1 down close"),
            ("update", State::Idle, "5/1 down close"),
            ("route refresh", State::Idle, "5/1 down close"),
        ],
    ),
    (
        State::OpenConfirm,
        &[
            ("stop", State::Idle, "6/2 down close"),
            ("reset", State::Idle, "6/10 down close"),
            ("abandon", State::Idle, "drop down"),
            ("retry timer", State::Idle, "5/2 down close"),
            ("hold timer", State::Idle, "4/0 down close"),
            ("keepalive timer", State::OpenConfirm, "keepalive"),
            ("send hold timer", State::Idle, "drop down"),
            ("connected", State::Idle, "5/2 down close"),
            ("connection failed", State::Idle, "drop down"),
            ("open", State::Idle, "5/2 down close"),
            ("wrong", State::Idle, "1/3 down close"),
            ("notified", State::Idle, "drop down"),
            ("keepalive", State::Established, "up"),
            ("update", State::Idle, "5/2 down close"),
            ("route refresh", State::Idle, "5/2 down close"),
        ],
    ),
    (
        State::Established,
        &[
            ("stop", State::Idle, "6/2 down close"),
            ("reset", State::Idle, "6/10 down close"),
            ("abandon", State::Idle, "drop down"),
            ("retry timer", State::Idle, "5/3 down close"),
            ("hold timer", State::Idle, "4/0 down close"),
            ("keepalive timer", State::Established, "keepalive"),
            ("send hold timer", State::Idle, "drop down"),
            ("connected", State::Idle, "5/3 down close"),
            ("connection failed", State::Idle, "drop down"),
            ("open", State::Idle, "5/3 down close"),
            ("wrong", State::Idle, "1/3 down close"),
            ("notified", State::Idle, "drop down"),
            ("keepalive", State::Established, ""),
            ("update", State::Established, ""),
            ("route refresh", State::Established, "refresh"),
        ],
    ),
];

#[test]
fn every_event_in_every_state_does_what_the_rfc_says() {
    for (state, rows) in ROWS {
        let rows: BTreeMap<_, _> = rows.iter().map(|(name, next, done)| (*name, (*next, *done))).collect();
        for (name, event) in events() {
            let mut played = Played::at(state);
            let done = words(&played.handle(&event));
            let expected = rows.get(name).copied().unwrap_or((state, ""));
            assert_eq!((played.fsm.state(), done.as_str()), expected, "{name} in {state:?}");
        }
    }
}

#[test]
fn after_an_error_there_is_a_rest_and_after_a_stop_there_is_none() {
    for state in [State::Connect, State::Active, State::OpenSent, State::OpenConfirm, State::Established] {
        for (name, event) in events() {
            let mut played = Played::at(state);
            played.handle(&event);
            if played.fsm.state() == State::Idle {
                let rests = !matches!(name, "stop" | "abandon");
                assert_eq!(played.wait().is_some(), rests, "{name} in {state:?}");
            }
        }
    }
}
