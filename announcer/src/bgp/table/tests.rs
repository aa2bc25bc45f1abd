use proptest::prelude::*;

use super::*;
use crate::bgp::{
    Community,
    wire::{LONGEST, Remark, check_update, next_frame},
};

fn encoder() -> Encoder {
    Encoder {
        local_asn: 64512,
        external: true,
        four_octet_as: true,
        next_hop_v4: Some([192, 0, 2, 1].into()),
        next_hop_v6: Some("2001:db8::1".parse().unwrap()),
    }
}

fn session() -> Session {
    Session {
        asn: 64513,
        router_id: [10, 0, 0, 2].into(),
        hold_time: std::time::Duration::from_secs(90),
        families: Family::ALL.into(),
        four_octet_as: true,
        kept_on_restart: BTreeSet::new(),
    }
}

fn med(med: u32) -> Attributes {
    Attributes { med: Some(med), ..Attributes::default() }
}

fn routes(routes: &[(&str, u32)]) -> Routes {
    routes.iter().map(|(prefix, value)| (prefix.parse().unwrap(), med(*value))).collect()
}

fn messages(table: &mut Table) -> Vec<Vec<u8>> {
    let messages: Vec<_> = std::iter::from_fn(|| table.next_update()).collect();
    for message in &messages {
        let frame = next_frame(message).unwrap().unwrap();
        assert_eq!(check_update(frame.body), Ok(Remark::Refused));
        assert!(message.len() <= LONGEST);
    }
    assert!(table.is_settled());
    messages
}

/// A table of a session that is up, and all said.
fn settled(wanted: &[(&str, u32)]) -> Table {
    let mut table = Table::default();
    table.set(&routes(wanted));
    table.up(encoder(), &session());
    messages(&mut table);
    table
}

#[test]
fn the_first_table_ends_with_an_end_of_each_family() {
    let mut table = Table::default();
    table.set(&routes(&[("198.51.100.0/24", 1), ("198.51.101.0/24", 1), ("2001:db8::/48", 1)]));
    assert!(table.next_update().is_none(), "there is no session");
    table.up(encoder(), &session());
    let messages = messages(&mut table);
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[2..], [Encoder::end_of_rib(Family::V4), Encoder::end_of_rib(Family::V6)]);
    assert_eq!(table.told().len(), 3);
}

#[test]
fn nothing_is_said_before_it_is_known_what_is_wanted() {
    let mut table = Table::default();
    table.up(encoder(), &session());
    assert!(table.is_settled() && table.next_update().is_none());
    table.set(&Routes::new());
    assert_eq!(messages(&mut table), [Encoder::end_of_rib(Family::V4), Encoder::end_of_rib(Family::V6)]);
}

#[test]
fn only_differences_are_sent() {
    let mut table = settled(&[("198.51.100.0/24", 1), ("198.51.101.0/24", 1)]);
    table.set(&routes(&[("198.51.100.0/24", 1), ("198.51.101.0/24", 1)]));
    assert!(table.is_settled());
    table.set(&routes(&[("198.51.100.0/24", 2), ("198.51.102.0/24", 1)]));
    let said = messages(&mut table);
    assert_eq!(said.len(), 3, "one withdrawal and two announcements");
    assert_eq!(said[0], Encoder::withdraw(&mut ["198.51.101.0/24".parse().unwrap()].into()).0);
}

#[test]
fn what_changes_back_before_it_was_sent_is_not_withdrawn() {
    let mut table = settled(&[("198.51.100.0/24", 1)]);
    table.set(&Routes::new());
    table.set(&routes(&[("198.51.100.0/24", 1)]));
    let said = messages(&mut table);
    assert_eq!(said.len(), 1);
    assert_eq!(table.told().len(), 1);
    table.set(&routes(&[("198.51.100.0/24", 1), ("198.51.101.0/24", 1)]));
    table.set(&routes(&[("198.51.100.0/24", 1)]));
    assert!(table.is_settled(), "an announcement that was never sent needs no withdrawal");
}

#[test]
fn a_refresh_sends_a_family_again() {
    let mut table = settled(&[("198.51.100.0/24", 1), ("2001:db8::/48", 1)]);
    table.refresh(Family::V6);
    assert_eq!(messages(&mut table).len(), 1);
    table.refresh(Family::V4);
    table.set(&Routes::new());
    assert_eq!(messages(&mut table).len(), 2, "two withdrawals and nothing else");
    assert!(table.told().is_empty());
}

#[test]
fn a_new_session_begins_from_nothing() {
    let mut table = settled(&[("198.51.100.0/24", 1)]);
    table.down();
    assert!(table.told().is_empty() && table.next_update().is_none());
    table.set(&routes(&[("198.51.101.0/24", 1)]));
    table.up(encoder(), &session());
    assert_eq!(messages(&mut table).len(), 3);
    assert_eq!(table.told().len(), 1);
}

#[test]
fn what_cannot_be_told_is_withheld_and_harms_nothing_else() {
    let long =
        Attributes { communities: (0..1200).map(Community::Standard).collect(), ..Attributes::default() };
    let mut wanted = routes(&[("198.51.100.0/24", 1), ("2001:db8::/48", 1)]);
    wanted.insert("198.51.101.0/24".parse().unwrap(), long);
    let mut table = Table::default();
    table.set(&wanted);
    table.up(Encoder { next_hop_v6: None, ..encoder() }, &session());
    assert_eq!(messages(&mut table).len(), 3);
    let withheld = table.all_withheld().into_values().collect::<Vec<_>>();
    assert_eq!(withheld, [Withheld::TooLong, Withheld::NextHop]);
    table.up(encoder(), &Session { families: [Family::V6].into(), ..session() });
    assert_eq!(messages(&mut table).len(), 2);
    assert_eq!(table.told().iter().collect::<Vec<_>>(), [&"2001:db8::/48".parse::<IpNet>().unwrap()]);
}

#[test]
fn a_route_that_becomes_too_long_is_withdrawn() {
    let mut table = settled(&[("198.51.100.0/24", 1)]);
    let long =
        Attributes { communities: (0..1200).map(Community::Standard).collect(), ..Attributes::default() };
    table.set(&[("198.51.100.0/24".parse().unwrap(), long)].into());
    assert_eq!(messages(&mut table).len(), 1);
    assert!(table.told().is_empty());
}

/// What a router knows after messages of prefixes of 10.0.x.0/24 and 2001:db8:x::/48 with a MED.
fn learn(known: &mut BTreeMap<IpNet, u32>, message: &[u8]) {
    let body = next_frame(message).unwrap().unwrap().body;
    let length = |at: usize| usize::from(u16::from_be_bytes([body[at], body[at + 1]]));
    let (withdrawn, attributes) = body[2..].split_at(length(0));
    let all = length(2 + length(0));
    let (attributes, prefixes) = attributes[2..].split_at(all);
    for prefix in withdrawn.chunks(4) {
        known.remove(&v4(prefix));
    }
    let med = attributes.windows(7).find(|bytes| bytes[..3] == [0x80, 4, 4]).map(|bytes| u32::from(bytes[6]));
    for prefix in prefixes.chunks(4) {
        known.insert(v4(prefix), med.unwrap());
    }
    match attributes {
        [0x90, 14, high, low, rest @ ..] => {
            for prefix in rest[21..usize::from(u16::from_be_bytes([*high, *low]))].chunks(7) {
                known.insert(v6(prefix), med.unwrap());
            }
        }
        [0x90, 15, _, _, _, _, _, rest @ ..] => {
            for prefix in rest.chunks(7) {
                known.remove(&v6(prefix));
            }
        }
        _ => {}
    }
}

fn v4(bytes: &[u8]) -> IpNet {
    assert_eq!(bytes[0], 24);
    format!("{}.{}.{}.0/24", bytes[1], bytes[2], bytes[3]).parse().unwrap()
}

fn v6(bytes: &[u8]) -> IpNet {
    assert_eq!(bytes[0], 48);
    format!("2001:db8:{:x}::/48", u16::from_be_bytes([bytes[5], bytes[6]])).parse().unwrap()
}

#[derive(Clone, Debug)]
enum Step {
    Set(BTreeMap<u8, u8>),
    Send(usize),
    Refresh(bool),
    Reconnect,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let wanted = prop::collection::btree_map(0..12_u8, 0..3_u8, 0..12);
    let step = prop_oneof![
        4 => wanted.prop_map(Step::Set),
        4 => (0..4_usize).prop_map(Step::Send),
        1 => any::<bool>().prop_map(Step::Refresh),
        1 => Just(Step::Reconnect),
    ];
    prop::collection::vec(step, 0..20)
}

fn prefix(number: u8) -> IpNet {
    let text = if number.is_multiple_of(2) {
        format!("10.0.{number}.0/24")
    } else {
        format!("2001:db8:{number:x}::/48")
    };
    text.parse().unwrap()
}

proptest! {
    #[test]
    fn a_router_ends_up_with_what_is_wanted(steps in steps()) {
        let (mut table, mut known, mut wanted) = (Table::default(), BTreeMap::new(), BTreeMap::new());
        table.up(encoder(), &session());
        for step in steps {
            match step {
                Step::Set(next) => {
                    wanted = next.iter().map(|(number, value)| (prefix(*number), u32::from(*value))).collect();
                    table.set(&wanted.iter().map(|(prefix, value)| (*prefix, med(*value))).collect());
                }
                Step::Send(count) => (0..count).filter_map(|_| table.next_update()).for_each(|m| learn(&mut known, &m)),
                Step::Refresh(v4) => table.refresh(if v4 { Family::V4 } else { Family::V6 }),
                Step::Reconnect => {
                    known.clear();
                    table.up(encoder(), &session());
                }
            }
            prop_assert_eq!(known.keys().copied().collect::<BTreeSet<_>>(), table.told().clone());
        }
        while let Some(message) = table.next_update() {
            learn(&mut known, &message);
        }
        prop_assert_eq!(known, wanted);
        prop_assert!(table.is_settled());
    }
}
