use super::*;
use crate::aws::{
    IpAddressType, Scheme,
    spec::{BalancerSpec, SubnetSpec},
};

fn create(name: &str) -> Action {
    Action::CreateLoadBalancer {
        spec: BalancerSpec {
            name: name.into(),
            scheme: Scheme::Internal,
            ip_address_type: IpAddressType::Ipv4,
            subnets: vec![SubnetSpec::plain("subnet-a")],
            security_groups: BTreeSet::new(),
            tags: crate::aws::Pairs::new(),
        },
    }
}

fn made(arn: &str) -> Made {
    Made { arn: arn.into(), ..Made::default() }
}

fn seen(arn: &str) -> Observed {
    let mut observed = Observed::default();
    observed.take(&create(arn), made(arn));
    observed
}

fn survey(all: &[&str]) -> BTreeMap<String, Observed> {
    all.iter().map(|uid| ((*uid).to_owned(), seen(uid))).collect()
}

#[test]
fn nothing_is_known_before_a_survey_and_all_after_it() {
    let mut ledger = Ledger::default();
    assert_eq!(ledger.known("a"), Known::Nothing);
    ledger.surveyed(survey(&["a"]), Instant::now());
    assert_eq!(ledger.known("a"), Known::Outline(seen("a")));
    assert_eq!(ledger.known("new"), Known::Whole(Observed::default()));
    ledger.learn("a", seen("a"), Instant::now());
    assert_eq!(ledger.known("a"), Known::Whole(seen("a")));
}

#[test]
fn what_our_calls_make_is_known_without_asking() {
    let mut ledger = Ledger::default();
    ledger.surveyed(BTreeMap::new(), Instant::now());
    ledger.take("a", &create("a"), made("a"), Instant::now());
    assert_eq!(ledger.known("a"), Known::Whole(seen("a")));
    ledger.take("a", &Action::DeleteLoadBalancer { balancer: "a".into() }, Made::default(), Instant::now());
    assert_eq!(ledger.known("a"), Known::Whole(Observed::default()));
}

#[test]
fn after_a_call_whose_end_nobody_knows_what_it_may_have_made_is_looked_for() {
    let mut ledger = Ledger::default();
    ledger.surveyed(survey(&["a"]), Instant::now());
    ledger.doubt("a", create("b").clues(), Instant::now());
    let clues = BTreeSet::from([Clue::BalancerArn("a".into()), Clue::BalancerName("b".into())]);
    assert_eq!(ledger.known("a"), Known::Doubtful(clues));
    ledger.learn("a", Observed::default(), Instant::now());
    assert_eq!(ledger.known("a"), Known::Whole(Observed::default()), "gone, and no doubt is left");
}

#[test]
fn a_sweep_names_who_has_something_else_and_what_changed_meanwhile_counts_more() {
    let mut ledger = Ledger::default();
    ledger.surveyed(survey(&["gone", "same"]), Instant::now());
    let mark = ledger.mark();
    ledger.take("new", &create("new"), made("new"), Instant::now());
    let differ = ledger.compared(mark, &survey(&["same", "stranger"]));
    assert_eq!(differ, BTreeSet::from(["gone".to_owned(), "stranger".to_owned()]));
    assert_eq!(ledger.known("new"), Known::Whole(seen("new")), "the survey began before it");
    assert!(matches!(ledger.known("gone"), Known::Doubtful(_)));
    let again = ledger.compared(ledger.mark(), &survey(&["same", "stranger", "new"]));
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn a_sweep_that_is_the_first_survey_names_nobody() {
    let mut ledger = Ledger::default();
    assert!(ledger.compared(ledger.mark(), &survey(&["a"])).is_empty());
    ledger.surveyed(survey(&["a"]), Instant::now());
    assert_eq!(ledger.known("a"), Known::Outline(seen("a")));
}

#[test]
fn what_a_creation_found_is_nobodys_until_its_tags_are_seen() {
    let mut ledger = Ledger::default();
    ledger.surveyed(BTreeMap::new(), Instant::now());
    ledger.take("a", &create("mine"), made("mine"), Instant::now());
    ledger.take("a", &create("theirs"), made("theirs"), Instant::now());
    assert_eq!(ledger.unconfirmed("a"), ["mine", "theirs"].map(ToOwned::to_owned).into());
    ledger.confirm("a", &BTreeSet::from(["mine".to_owned()]));
    ledger.disown("a", &BTreeSet::from(["theirs".to_owned()]));
    assert_eq!(ledger.unconfirmed("a"), BTreeSet::new());
    assert_eq!(ledger.known("a"), Known::Whole(seen("mine")));
}

#[test]
fn everybody_has_a_turn() {
    let mut ledger = Ledger::default();
    ledger.surveyed(survey(&["a", "b", "c"]), Instant::now());
    ledger.learn("c", seen("c"), Instant::now());
    let turns = |ledger: &mut Ledger| ledger.take_turns(2).into_iter().collect::<Vec<_>>();
    assert_eq!(turns(&mut ledger), ["a", "b"]);
    assert_eq!(turns(&mut ledger), ["a", "c"]);
    assert!(matches!(ledger.known("c"), Known::Doubtful(_)));
    assert_eq!(turns(&mut ledger), ["b", "c"]);
}

#[test]
fn what_a_call_may_have_made_is_looked_for_until_aws_would_show_it() {
    let (now, lag) = (Instant::now(), Duration::from_secs(10));
    let mut ledger = Ledger { lag, ..Ledger::default() };
    ledger.surveyed(BTreeMap::new(), now);
    assert_eq!(ledger.unsettled("a", now), None);
    ledger.doubt("a", create("b").clues(), now);
    assert_eq!(ledger.unsettled("a", now + lag / 2), Some(lag / 2));
    // Too early to know.
    ledger.learn("a", Observed::default(), now + lag / 2);
    assert_eq!(ledger.known("a"), Known::Whole(Observed::default()));
    assert_eq!(ledger.unsettled("a", now + lag), Some(Duration::ZERO));
    ledger.look_again("a");
    assert_eq!(ledger.known("a"), Known::Doubtful(create("b").clues()));
    ledger.learn("a", seen("b"), now + lag);
    assert_eq!((ledger.unsettled("a", now + lag), ledger.known("a")), (None, Known::Whole(seen("b"))));
}

#[test]
fn after_a_start_what_another_process_may_have_made_is_looked_for_once_more() {
    let (now, lag) = (Instant::now(), Duration::from_secs(10));
    let mut ledger = Ledger::new(lag, now);
    ledger.surveyed(BTreeMap::new(), now + lag / 2);
    assert_eq!(ledger.unsettled("a", now + lag / 2), Some(lag / 2));
    ledger.look_again("a");
    assert_eq!(ledger.known("a"), Known::Nothing);
    ledger.surveyed(survey(&["a"]), now + lag);
    assert_eq!((ledger.unsettled("a", now + lag), ledger.known("a")), (None, Known::Outline(seen("a"))));
}

#[test]
fn what_was_created_just_now_is_not_gone_because_it_is_not_shown() {
    let (now, lag) = (Instant::now(), Duration::from_secs(10));
    let mut ledger = Ledger { lag, ..Ledger::default() };
    ledger.surveyed(BTreeMap::new(), now);
    ledger.take("a", &create("a"), made("a"), now);
    ledger.learn("a", Observed::default(), now + lag / 2);
    assert_eq!(ledger.unsettled("a", now + lag / 2), Some(lag / 2));
    ledger.look_again("a");
    assert_eq!(ledger.known("a"), Known::Doubtful(seen("a").clues()));
    ledger.learn("a", Observed::default(), now + lag);
    assert_eq!(ledger.unsettled("a", now + lag), None, "somebody has deleted it");
}
