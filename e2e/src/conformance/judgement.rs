//! Whether a run is as it has to be: what passes with kube-proxy passes with ours, and whatever does not pass is known.

use std::collections::BTreeMap;

use crate::conformance::proxy::Proxy;
use crate::conformance::record::{Part, Record};
use crate::conformance::report::{Outcome, Verdict};

/// What the lists say.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// Of kube-proxy, which says what can pass on such a cluster.
    pub kube_proxy: &'a Record,
    /// Of ours.
    pub penstock: &'a Record,
}

/// What is not as it has to be, one sentence each. `whole` says that the run was not restricted to some tests.
pub fn faults(
    proxy: Proxy,
    part: &Part,
    verdicts: &[Verdict],
    recorded: Recorded<'_>,
    whole: bool,
) -> Vec<String> {
    let seen: BTreeMap<&str, &Verdict> =
        verdicts.iter().map(|verdict| (verdict.name.as_str(), verdict)).collect();
    let own = match proxy {
        Proxy::Penstock => recorded.penstock,
        Proxy::KubeProxy => recorded.kube_proxy,
    };
    let mut faults: Vec<String> =
        verdicts.iter().filter_map(|verdict| fault(proxy, part, verdict, own, recorded)).collect();
    if whole {
        let absent = own.tests(part).filter(|(name, _)| !seen.contains_key(name));
        faults.extend(absent.map(|(name, _)| format!("{name}: it is recorded and did not run")));
    }
    faults
}

fn fault(
    proxy: Proxy,
    part: &Part,
    verdict: &Verdict,
    own: &Record,
    recorded: Recorded<'_>,
) -> Option<String> {
    let Verdict { name, outcome, message } = verdict;
    let passes_with =
        |record: &Record| record.test(part, name).is_some_and(|entry| entry.outcome == Some(Outcome::Passed));
    if *outcome == Outcome::Passed {
        return None;
    }
    if proxy == Proxy::Penstock && passes_with(recorded.kube_proxy) {
        return Some(format!("{name}: it passes with kube-proxy: {message}"));
    }
    match own.test(part, name) {
        Some(entry) if entry.outcome.is_none_or(|recorded| recorded == *outcome) => None,
        // A test that finds that it does not apply says so by itself.
        None if *outcome == Outcome::Skipped => None,
        Some(_) => Some(format!("{name}: it is recorded otherwise: {message}")),
        None => Some(format!("{name}: it is not known to fail: {message}")),
    }
}

/// Tests that pass although they are recorded as failing: `--record` puts the list right.
pub fn surprises(proxy: Proxy, part: &Part, verdicts: &[Verdict], recorded: Recorded<'_>) -> Vec<String> {
    let own = match proxy {
        Proxy::Penstock => recorded.penstock,
        Proxy::KubeProxy => recorded.kube_proxy,
    };
    let passed = verdicts.iter().filter(|verdict| verdict.outcome == Outcome::Passed);
    let failed_before =
        |name: &str| own.test(part, name).is_some_and(|entry| entry.outcome == Some(Outcome::Failed));
    passed.map(|verdict| verdict.name.clone()).filter(|name| failed_before(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::suite::Group;
    use crate::flows::program::Mode;

    const KUBE_PROXY: &str =
        "nftables services passed | a\nnftables services failed | b | no storage isolation\n";
    const PENSTOCK: &str =
        "nftables services passed | a\nnftables services failed | b | no storage isolation\n";

    fn judged(proxy: Proxy, penstock: &str, verdicts: &[(&str, Outcome)], whole: bool) -> Vec<String> {
        let verdict = |(name, outcome): &(&str, Outcome)| Verdict {
            name: (*name).into(),
            outcome: *outcome,
            message: "m".into(),
        };
        let verdicts: Vec<Verdict> = verdicts.iter().map(verdict).collect();
        let (kube_proxy, penstock) = (Record::parse(KUBE_PROXY).unwrap(), Record::parse(penstock).unwrap());
        let recorded = Recorded { kube_proxy: &kube_proxy, penstock: &penstock };
        faults(proxy, &Part::new(Mode::Nftables, Group::Services), &verdicts, recorded, whole)
    }

    #[test]
    fn what_is_recorded_is_good() {
        let verdicts = [("a", Outcome::Passed), ("b", Outcome::Failed)];
        assert_eq!(judged(Proxy::Penstock, PENSTOCK, &verdicts, true), [""; 0]);
        assert_eq!(judged(Proxy::KubeProxy, PENSTOCK, &verdicts, true), [""; 0]);
    }

    #[test]
    fn what_passes_with_kube_proxy_has_to_pass_even_if_it_is_known_not_to() {
        let known = "nftables services failed | a | we know\n";
        for outcome in [Outcome::Failed, Outcome::Skipped] {
            let faults = judged(Proxy::Penstock, known, &[("a", outcome)], false);
            assert_eq!(faults, ["a: it passes with kube-proxy: m"]);
        }
    }

    #[test]
    fn a_failure_that_nobody_recorded_is_a_fault() {
        let faults = judged(Proxy::Penstock, PENSTOCK, &[("c", Outcome::Failed)], false);
        assert_eq!(faults, ["c: it is not known to fail: m"]);
        assert_eq!(judged(Proxy::Penstock, PENSTOCK, &[("c", Outcome::Skipped)], false), [""; 0]);
        let faults = judged(Proxy::KubeProxy, PENSTOCK, &[("a", Outcome::Failed)], false);
        assert_eq!(faults, ["a: it is recorded otherwise: m"]);
    }

    #[test]
    fn a_recorded_test_that_did_not_run_is_a_fault_of_a_whole_run() {
        let verdicts = [("a", Outcome::Passed)];
        assert_eq!(judged(Proxy::Penstock, PENSTOCK, &verdicts, true), ["b: it is recorded and did not run"]);
        assert_eq!(judged(Proxy::Penstock, PENSTOCK, &verdicts, false), [""; 0]);
    }

    #[test]
    fn what_depends_on_chance_is_never_a_fault() {
        let varies = "nftables services varies | b | placement\n";
        for outcome in [Outcome::Passed, Outcome::Failed] {
            assert_eq!(judged(Proxy::Penstock, varies, &[("b", outcome)], false), [""; 0]);
        }
    }

    #[test]
    fn a_known_failure_that_passes_is_told() {
        let (kube_proxy, penstock) = (Record::default(), Record::parse(PENSTOCK).unwrap());
        let recorded = Recorded { kube_proxy: &kube_proxy, penstock: &penstock };
        let passed =
            |name: &str| Verdict { name: name.into(), outcome: Outcome::Passed, message: String::new() };
        let part = Part::new(Mode::Nftables, Group::Services);
        let told = surprises(Proxy::Penstock, &part, &[passed("a"), passed("b")], recorded);
        assert_eq!(told, ["b"]);
    }
}
