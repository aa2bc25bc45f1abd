//! What was claimed, and what came of it. Pure.

use std::fmt;

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    /// Why it is not so.
    Failed(String),
    /// Why it cannot be seen here.
    Skipped(String),
}

/// A section of the seed.
#[derive(Debug)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) outcomes: Vec<Outcome>,
}

impl Section {
    fn count(&self, wanted: fn(&Outcome) -> bool) -> usize {
        self.outcomes.iter().filter(|outcome| wanted(outcome)).count()
    }

    fn counts(&self) -> [usize; 3] {
        [
            self.count(|outcome| matches!(outcome, Outcome::Passed)),
            self.count(|outcome| matches!(outcome, Outcome::Failed(_))),
            self.count(|outcome| matches!(outcome, Outcome::Skipped(_))),
        ]
    }
}

/// The table, and the line that suites end with.
#[derive(Debug, Default)]
pub(super) struct Report(pub(super) Vec<Section>);

impl Report {
    /// Whether nothing failed, and something was seen.
    pub(super) fn is_good(&self) -> bool {
        let [passed, failed, _] = self.totals();
        failed == 0 && passed > 0
    }

    fn totals(&self) -> [usize; 3] {
        let counts = self.0.iter().map(Section::counts);
        counts.fold([0; 3], |sum, counts| [sum[0] + counts[0], sum[1] + counts[1], sum[2] + counts[2]])
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<44} {:>6} {:>6} {:>7}", "section of the seed", "passed", "failed", "skipped")?;
        for section in &self.0 {
            let [passed, failed, skipped] = section.counts();
            writeln!(f, "{:<44} {passed:>6} {failed:>6} {skipped:>7}", section.title)?;
        }
        let [passed, failed, _] = self.totals();
        write!(f, "{passed} passed, {failed} failed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_counted_and_what_was_skipped_is_not_passed() {
        let section = |title, outcomes| Section { title, outcomes };
        let failed = Outcome::Failed("no".into());
        let mut report = Report(vec![
            section("a", vec![Outcome::Passed, Outcome::Passed]),
            section("b", vec![Outcome::Passed, Outcome::Skipped("no IPVS".into())]),
        ]);
        assert!(report.is_good());
        assert!(report.to_string().ends_with("\n3 passed, 0 failed"), "{report}");
        report.0.push(section("c", vec![failed]));
        assert!(!report.is_good());
        assert!(report.to_string().ends_with("\n3 passed, 1 failed"), "{report}");
        assert!(!Report(vec![section("d", vec![Outcome::Skipped("x".into())])]).is_good());
    }
}
