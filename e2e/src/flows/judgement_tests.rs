use super::*;
use crate::flows::place::Pod;

const AT_ONCE: Duration = Duration::ZERO;
const SENDER: Sender = Sender::Pod(Pod::C1);

fn kept(pods: &[Pod]) -> Vec<Answerer> {
    pods.iter().map(|pod| Answerer { host: (*pod).into(), port: TARGET, seen: Seen::Kept }).collect()
}

fn answer(by: &str) -> Outcome {
    let source = SENDER.sources(Family::V4)[0];
    Outcome::Answered(Answer { by: by.into(), port: TARGET, source })
}

/// What comes of these outcomes, repeated for ever.
fn judge(expect: &Expect, outcomes: &[Outcome], gap: Duration) -> Verdict {
    let mut trial = Trial::new(expect, SENDER, Family::V4);
    let verdict = outcomes.iter().cycle().take(400).find_map(|outcome| match trial.next(outcome, gap) {
        Next::Done(verdict) => Some(verdict),
        _ => None,
    });
    verdict.expect("an end")
}

fn fails(expect: &Expect, outcomes: &[Outcome], why: &str) {
    match judge(expect, outcomes, AT_ONCE) {
        Verdict::Fails(seen) => assert!(seen.contains(why), "{seen}"),
        Verdict::Holds => panic!("{outcomes:?} is not {expect}"),
    }
}

#[test]
fn every_endpoint_has_to_answer_and_nobody_else() {
    let both = Expect::Answers(kept(&[Pod::A1, Pod::B1]));
    assert_eq!(judge(&both, &[answer("a1"), answer("b1")], AT_ONCE), Verdict::Holds);
    fails(&both, &[answer("a1")], "never b1");
    fails(&both, &[answer("a1"), answer("b1"), answer("a2")], "1 x a2:8080");
    fails(&both, &[Outcome::Refused], "refused");
    fails(&both, &[Outcome::Silent], "3 x nothing");
    assert_eq!(
        judge(&both, &[Outcome::Silent, answer("b1"), answer("a1")], AT_ONCE),
        Verdict::Fails("2 x a1:8080 saw 10.244.1.21, 2 x b1:8080 saw 10.244.1.21, 3 x nothing".into())
    );
}

#[test]
fn the_source_and_the_port_count() {
    let mut expected = kept(&[Pod::A1]);
    expected[0].seen = Seen::Node(Place::Node1);
    fails(&Expect::Answers(expected.clone()), &[answer("a1")], "saw 10.244.1.21");
    expected[0] = Answerer { port: 8081, ..kept(&[Pod::A1])[0] };
    fails(&Expect::Answers(expected), &[answer("a1")], "a1:8080");
}

#[test]
fn a_drop_is_silence_and_a_refusal_is_none() {
    assert_eq!(judge(&Expect::Dropped, &[Outcome::Silent], AT_ONCE), Verdict::Holds);
    assert_eq!(judge(&Expect::Refused, &[Outcome::Refused], AT_ONCE), Verdict::Holds);
    fails(&Expect::Dropped, &[Outcome::Refused], "refused");
    fails(&Expect::Dropped, &[Outcome::Silent, answer("a1")], "a1");
    fails(&Expect::Refused, &[Outcome::Silent], "nothing");
    fails(&Expect::Refused, &[answer("a1")], "a1");
}

#[test]
fn affinity_holds_until_it_has_run_out() {
    let three = kept(&[Pod::A1, Pod::A2, Pod::B1]);
    let sticky = Expect::Sticky(three.clone());
    assert_eq!(judge(&sticky, &[answer("b1")], AT_ONCE), Verdict::Holds);
    fails(&sticky, &[answer("b1"), answer("a1")], "1 x a1");
    let after = Duration::from_secs(4);
    let forgets = Expect::Forgets(three, after);
    fails(&forgets, &[answer("a1")], "a1");
    fails(&forgets, &[answer("a1"), answer("b1")], "b1");
    assert_eq!(judge(&forgets, &[answer("a1"), answer("b1")], after), Verdict::Holds);
}
