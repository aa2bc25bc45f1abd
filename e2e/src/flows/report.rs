//! What a run has shown: rows that fail, rows that hold although the list says otherwise, and in what two programs differ.

use std::fmt::Write;

use crate::flows::flow::Row;
use crate::flows::judgement::Verdict;
use crate::flows::known::Known;
use crate::flows::program::{Mode, Program};
use crate::flows::schedulers::Check;

/// One program's verdicts, in the order of the rows.
#[derive(Debug)]
pub struct Run {
    /// The program.
    pub program: Program,
    /// Its verdicts.
    pub verdicts: Vec<Verdict>,
    /// What was looked at besides.
    pub checks: Vec<Check>,
}

/// What a verdict means once the list of known rows was looked at.
#[derive(Debug, PartialEq, Eq)]
enum Standing<'a> {
    Passed,
    Known(&'a str, &'a str),
    Failed(&'a str),
    /// It holds, and the list says that it does not.
    Surprise(&'a str),
}

/// All runs of the table.
#[derive(Debug)]
pub struct Report<'a> {
    /// With what the programs forward.
    pub mode: Mode,
    /// The rows.
    pub rows: &'a [Row],
    /// What came of them.
    pub runs: &'a [Run],
    /// The list.
    pub known: &'a [Known],
}

/// How many rows there are of each standing.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
pub struct Counts {
    /// Rows that hold.
    pub passed: usize,
    /// Rows that do not hold, as the list says.
    pub known: usize,
    /// All others.
    pub failed: usize,
}

impl Report<'_> {
    fn standing<'a>(&'a self, run: &'a Run, place: usize) -> Standing<'a> {
        let known =
            self.known.iter().find(|known| known.is_about(run.program, self.mode, &self.rows[place].name));
        match (&run.verdicts[place], known) {
            (Verdict::Holds, None | Some(Known { sometimes: true, .. })) => Standing::Passed,
            (Verdict::Holds, Some(known)) => Standing::Surprise(&known.reason),
            (Verdict::Fails(seen), Some(known)) => Standing::Known(seen, &known.reason),
            (Verdict::Fails(seen), None) => Standing::Failed(seen),
        }
    }

    /// How one program's rows stand.
    pub fn counts(&self, run: &Run) -> Counts {
        let failed = run.checks.iter().filter(|check| check.failure.is_some()).count();
        let begin = Counts { passed: run.checks.len() - failed, known: 0, failed };
        (0..self.rows.len()).fold(begin, |mut counts, place| {
            match self.standing(run, place) {
                Standing::Passed => counts.passed += 1,
                Standing::Known(..) => counts.known += 1,
                Standing::Failed(_) | Standing::Surprise(_) => counts.failed += 1,
            }
            counts
        })
    }

    /// The rows of one program that are not as they have to be; the known ones too when `known` is set.
    pub fn failures(&self, run: &Run, known: bool) -> String {
        let (mut text, program) = (String::new(), run.program);
        for (place, row) in self.rows.iter().enumerate() {
            let name = &row.name;
            // Writing to a string cannot fail.
            let _ = match self.standing(run, place) {
                Standing::Failed(seen) => {
                    writeln!(
                        text,
                        "FAILED  {program}: {name}\n        expected {}\n        seen     {seen}",
                        row.flow.expect
                    )
                }
                Standing::Surprise(reason) => {
                    writeln!(
                        text,
                        "FAILED  {program}: {name}\n        holds, but known.txt says: {reason}; remove it there"
                    )
                }
                Standing::Known(seen, reason) if known => {
                    writeln!(
                        text,
                        "known   {program}: {name}\n        seen     {seen}\n        because  {reason}"
                    )
                }
                Standing::Known(..) | Standing::Passed => Ok(()),
            };
        }
        for Check { name, failure } in &run.checks {
            if let Some(failure) = failure {
                let _ = writeln!(text, "FAILED  {program}: {name}\n        {failure}");
            }
        }
        text
    }

    /// The rows in which the first two programs differ, with what each showed.
    pub fn differences(&self) -> String {
        let [first, second, ..] = self.runs else { return String::new() };
        let mut text = String::new();
        for (place, row) in self.rows.iter().enumerate() {
            if holds(first, place) == holds(second, place) {
                continue;
            }
            let shown = [first, second].map(|run| format!("{}: {}", run.program, self.phrase(run, place)));
            let _ = writeln!(text, "differs {}\n        {}", row.name, shown.join("; "));
        }
        text
    }

    fn phrase(&self, run: &Run, place: usize) -> String {
        match self.standing(run, place) {
            Standing::Passed => "as expected".to_owned(),
            Standing::Known(seen, reason) => format!("{seen} ({reason})"),
            Standing::Failed(seen) => seen.to_owned(),
            Standing::Surprise(reason) => format!("as expected, unlike the list says ({reason})"),
        }
    }

    /// One line for each program, and the last line of the run.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        let (mut passed, mut failed) = (0, 0);
        for run in self.runs {
            let counts = self.counts(run);
            passed += counts.passed;
            failed += counts.failed;
            let _ = writeln!(
                text,
                "{}, {}: {} flows hold, {} do not as known.txt says, {} failed",
                run.program, self.mode, counts.passed, counts.known, counts.failed
            );
        }
        let _ = write!(text, "{passed} passed, {failed} failed");
        text
    }

    /// Whether nothing failed that is not known to.
    pub fn is_good(&self) -> bool {
        self.runs.iter().all(|run| self.counts(run).failed == 0)
    }
}

fn holds(run: &Run, place: usize) -> bool {
    run.verdicts[place] == Verdict::Holds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::flow::numbered;
    use crate::flows::table::canary;

    /// Two rows; what two programs made of them.
    fn report<T>(known: &str, verdicts: [[bool; 2]; 2], look: impl FnOnce(&Report) -> T) -> T {
        let case = canary_with_two_flows();
        let rows = numbered(vec![case]).unwrap()[0].case.rows(crate::flows::frontend::Addresses(1));
        let verdict = |holds: bool| if holds { Verdict::Holds } else { Verdict::Fails("3 x nothing".into()) };
        let programs = [Program::PenstockNode, Program::KubeProxy].into_iter();
        let runs: Vec<Run> = programs
            .zip(verdicts)
            .map(|(program, verdicts)| Run {
                program,
                verdicts: verdicts.map(verdict).to_vec(),
                checks: vec![],
            })
            .collect();
        let known = crate::flows::known::parse(known).unwrap();
        look(&Report { mode: Mode::Nftables, rows: &rows, runs: &runs, known: &known })
    }

    fn canary_with_two_flows() -> crate::flows::flow::Case {
        let mut case = canary();
        case.flows.truncate(2);
        case
    }

    #[test]
    fn a_known_row_that_holds_is_a_failure_as_is_an_unknown_one_that_does_not() {
        let known = "penstock-node nftables | canary*TCP IPv4 | not written yet\n";
        report(known, [[false, true], [true, true]], |report| {
            assert_eq!(report.counts(&report.runs[0]), Counts { passed: 1, known: 1, failed: 0 });
            assert!(report.is_good());
            assert!(report.summary().ends_with("\n3 passed, 0 failed"), "{}", report.summary());
            assert!(
                report.differences().contains("3 x nothing (not written yet)"),
                "{}",
                report.differences()
            );
        });
        report(known, [[true, true], [true, true]], |report| {
            assert!(!report.is_good());
            assert!(report.failures(&report.runs[0], false).contains("remove it there"));
            assert!(report.summary().ends_with("\n3 passed, 1 failed"), "{}", report.summary());
        });
        // By chance it may hold.
        let sometimes = "penstock-node nftables sometimes | canary*TCP IPv4 | not written yet\n";
        report(sometimes, [[true, true], [true, true]], |report| {
            assert_eq!(report.counts(&report.runs[0]), Counts { passed: 2, known: 0, failed: 0 });
        });
        report(sometimes, [[false, true], [true, true]], |report| {
            assert_eq!(report.counts(&report.runs[0]), Counts { passed: 1, known: 1, failed: 0 });
        });
        report("", [[true, true], [true, false]], |report| {
            assert!(!report.is_good());
            let failures = report.failures(&report.runs[1], false);
            assert!(
                failures.contains("expected each of a1") && failures.contains("3 x nothing"),
                "{failures}"
            );
        });
    }
}
