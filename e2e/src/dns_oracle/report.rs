//! What came of all questions.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::known::{Case, explain};
use super::names::Topic;

/// Counts of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    asked: usize,
    equal: usize,
    explained: usize,
}

/// What came of all questions so far.
#[derive(Debug, Default)]
pub struct Report {
    topics: BTreeMap<Topic, Counts>,
    reasons: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Report {
    /// Counts a case. `place` says where in the run it was.
    pub fn add(&mut self, case: &Case<'_>, place: &str) {
        let counts = self.topics.entry(case.question.topic).or_default();
        counts.asked += 1;
        if case.ours.equals(case.theirs) {
            counts.equal += 1;
        } else if let Some(reason) = explain(case) {
            counts.explained += 1;
            *self.reasons.entry(reason).or_default() += 1;
        } else {
            self.unexplained.push(in_full(case, place));
        }
    }

    /// Whether both said the same, or differed as is known.
    pub fn is_good(&self) -> bool {
        self.unexplained.is_empty()
    }

    /// The first differences that nothing explains, in full.
    pub fn differences(&self, limit: usize) -> String {
        let mut text: String = self.unexplained.iter().take(limit).map(|one| format!("{one}\n\n")).collect();
        if self.unexplained.len() > limit {
            let _ = writeln!(text, "... and {} more (--show N shows more)\n", self.unexplained.len() - limit);
        }
        text
    }

    /// A table by topic, how often each known difference was seen, and the counts.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{:<14} {:>7} {:>7} {:>9} {:>11}\n",
            "topic", "asked", "equal", "explained", "unexplained"
        );
        let mut all = Counts::default();
        for (topic, counts) in &self.topics {
            line(&mut text, &format!("{topic:?}"), *counts);
            all.asked += counts.asked;
            all.equal += counts.equal;
            all.explained += counts.explained;
        }
        line(&mut text, "all", all);
        if !self.reasons.is_empty() {
            text.push_str("\nexplained:\n");
        }
        for (reason, count) in &self.reasons {
            let _ = writeln!(text, "{count:>7}  {reason}");
        }
        let failed = self.unexplained.len();
        let _ = write!(text, "\n{} passed, {failed} failed", all.asked - failed);
        text
    }
}

fn line(text: &mut String, name: &str, counts: Counts) {
    let Counts { asked, equal, explained } = counts;
    let rest = asked - equal - explained;
    let _ = writeln!(text, "{name:<14} {asked:>7} {equal:>7} {explained:>9} {rest:>11}");
}

fn in_full(case: &Case<'_>, place: &str) -> String {
    let Case { question, setting, ours, theirs } = case;
    let query = &question.query;
    format!(
        "{place}, {} pods {}: {:?} {:?} {} type {} class {} op {} flags {:#06x} {:?}{}\n  penstock-dns: {ours}\n  CoreDNS:      {theirs}",
        setting.domains.join(" "),
        setting.pods,
        question.topic,
        question.transport,
        question.name(),
        query.record_type,
        query.class,
        query.op_code,
        query.flags,
        query.edns,
        question
            .damage
            .map(|damage| format!(" damaged: {damage:?} {:02x?}", question.octets))
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns_oracle::answer::{Answer, Content};
    use crate::dns_oracle::question::Setting;
    use crate::dns_oracle::servers::plain;

    #[test]
    fn a_difference_that_nothing_explains_fails() {
        let question = plain("web.default.svc.cluster.local");
        let setting = Setting { domains: vec!["cluster.local"], pods: "disabled" };
        let answer =
            |code: &str| Answer::Message(Box::new(Content { code: code.into(), ..Content::default() }));
        let (one, two) = (answer("NoError"), answer("ServFail"));
        let mut report = Report::default();
        report.add(&Case { question: &question, setting: &setting, ours: &one, theirs: &one }, "round 0");
        assert!(report.is_good() && report.summary().ends_with("\n1 passed, 0 failed"));
        report.add(&Case { question: &question, setting: &setting, ours: &one, theirs: &two }, "round 0");
        assert!(!report.is_good() && report.summary().ends_with("\n1 passed, 1 failed"));
        assert!(report.differences(9).contains("web.default.svc.cluster.local. type 1"));
    }
}
