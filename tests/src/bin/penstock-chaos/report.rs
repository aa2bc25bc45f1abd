//! What is printed.

use std::collections::BTreeMap;

/// One run in so many may miss its fault.
const MISSED: usize = 3;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Passed,
    /// Why, and the evidence.
    Failed(String),
    /// Its call or event never came, although it did in the run without faults: writes that are put off for a moment
    /// sometimes become one.
    Missed,
}

/// The counts of a story.
#[derive(Clone, Debug, Default)]
struct Row {
    calls: usize,
    events: usize,
    runs: usize,
    passed: usize,
    failed: usize,
    missed: usize,
}

impl Row {
    /// A fault that never came proves nothing. Few are chance; many mean that the faults do not happen.
    fn failures(&self) -> usize {
        let too_many = self.missed * MISSED > self.runs;
        self.failed + if too_many { self.missed } else { 0 }
    }
}

/// All counts.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: BTreeMap<String, Row>,
    order: Vec<String>,
    done: usize,
}

impl Report {
    fn row(&mut self, name: &str) -> &mut Row {
        if !self.rows.contains_key(name) {
            self.order.push(name.to_owned());
        }
        self.rows.entry(name.to_owned()).or_default()
    }

    /// The rows to come, in this order.
    pub(crate) fn expect<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        for name in names {
            self.row(name);
        }
    }

    /// What a story did without faults.
    pub(crate) fn recorded(&mut self, name: &str, calls: usize, events: usize) {
        let row = self.row(name);
        (row.calls, row.events) = (calls, events);
    }

    /// Counts a run and prints what failed, with how to do exactly that again.
    pub(crate) fn count(&mut self, name: &str, run: &str, repeat: &str, verdict: &Verdict) {
        let row = self.row(name);
        row.runs += 1;
        match verdict {
            Verdict::Passed => row.passed += 1,
            Verdict::Missed => {
                row.missed += 1;
                println!("MISSED {run}: what was to go wrong never came\n  repeat: {repeat}");
            }
            Verdict::Failed(why) => {
                row.failed += 1;
                println!("FAILED {run}\n  {why}\n  repeat: {repeat}");
            }
        }
        self.done += 1;
    }

    /// How many runs have ended, and how many of them failed.
    pub(crate) fn progress(&self) -> (usize, usize) {
        (self.done, self.sum(Row::failures))
    }

    fn sum(&self, of: impl Fn(&Row) -> usize) -> usize {
        self.rows.values().map(of).sum()
    }

    /// Prints the table and the last line. Returns whether nothing failed.
    pub(crate) fn print(&self) -> bool {
        println!(
            "\n{:<26} {:>6} {:>7} {:>6} {:>7} {:>7} {:>7}",
            "scenario", "calls", "events", "runs", "passed", "failed", "missed"
        );
        for name in &self.order {
            let row = &self.rows[name];
            println!(
                "{name:<26} {:>6} {:>7} {:>6} {:>7} {:>7} {:>7}",
                row.calls, row.events, row.runs, row.passed, row.failed, row.missed
            );
        }
        let failed = self.sum(Row::failures);
        println!("\n{} passed, {failed} failed", self.sum(|row| row.passed));
        failed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_faults_that_never_came_are_chance_and_many_are_not() {
        assert_eq!(Row { runs: 30, failed: 1, missed: 10, ..Row::default() }.failures(), 1);
        assert_eq!(Row { runs: 30, failed: 1, missed: 11, ..Row::default() }.failures(), 12);
    }
}
