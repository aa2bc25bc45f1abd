//! What came of each test when it was last recorded: `kube-proxy.txt` and `penstock.txt`, written by `--record`.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};

use crate::conformance::proxy::Proxy;
use crate::conformance::report::{Outcome, Verdict};
use crate::conformance::suite::Group;
use crate::flows::program::Mode;

/// The lists, as committed.
const KUBE_PROXY: &str = include_str!("kube-proxy.txt");
const PENSTOCK: &str = include_str!("penstock.txt");

/// What stands for a reason that nobody has looked for yet.
const UNEXPLAINED: &str = "not explained yet";

/// A part of the tests that is recorded at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    mode: String,
    group: String,
}

impl Part {
    /// The part of a run.
    pub fn new(mode: Mode, group: Group) -> Self {
        Self { mode: mode.to_string(), group: group.to_string() }
    }
}

/// What came of a test, and why it did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What came of it; nothing where that depends on chance, which somebody has to have written there.
    pub outcome: Option<Outcome>,
    /// Why it did not pass; empty where it did.
    pub reason: String,
}

/// What is recorded of one proxy: of each part every test by its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    /// How it was recorded: the lines at the file's top that begin with `#`.
    header: String,
    parts: BTreeMap<Part, BTreeMap<String, Entry>>,
}

/// The name of a proxy's list in this directory.
pub fn file_name(proxy: Proxy) -> &'static str {
    match proxy {
        Proxy::Penstock => "penstock.txt",
        Proxy::KubeProxy => "kube-proxy.txt",
    }
}

impl Record {
    /// The committed list.
    ///
    /// # Errors
    /// At a line that cannot be read.
    pub fn of(proxy: Proxy) -> Result<Self> {
        let text = match proxy {
            Proxy::Penstock => PENSTOCK,
            Proxy::KubeProxy => KUBE_PROXY,
        };
        Self::parse(text).with_context(|| format!("read {}", file_name(proxy)))
    }

    /// What a list says.
    ///
    /// # Errors
    /// At a line that cannot be read.
    pub fn parse(text: &str) -> Result<Self> {
        let mut record = Self::default();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            if line.starts_with('#') {
                record.header += &format!("{line}\n");
                continue;
            }
            let (part, name, entry) = parse_line(line).with_context(|| {
                format!("{line:?} is not MODE GROUP OUTCOME | TEST, and | REASON where it did not pass")
            })?;
            record.parts.entry(part).or_default().insert(name, entry);
        }
        Ok(record)
    }

    /// The list as text.
    pub fn text(&self) -> String {
        let mut text = self.header.clone();
        for (Part { mode, group }, tests) in &self.parts {
            text.push('\n');
            for (name, Entry { outcome, reason }) in tests {
                // Writing to a string cannot fail.
                let _ = write!(text, "{mode} {group} {} | {name}", word(*outcome));
                let _ = if reason.is_empty() { writeln!(text) } else { writeln!(text, " | {reason}") };
            }
        }
        text
    }

    /// The tests of a part.
    pub fn tests(&self, part: &Part) -> impl Iterator<Item = (&str, &Entry)> {
        self.parts.get(part).into_iter().flatten().map(|(name, entry)| (name.as_str(), entry))
    }

    /// A test of a part.
    pub fn test(&self, part: &Part, name: &str) -> Option<&Entry> {
        self.parts.get(part)?.get(name)
    }

    /// Replaces what is recorded of a part, or, where not the whole of it was run, of these tests. The reasons of tests
    /// that still do not pass stay.
    pub fn replace(&mut self, part: &Part, verdicts: &[Verdict], whole: bool) {
        let before = self.parts.remove(part).unwrap_or_default();
        let entry = |verdict: &Verdict| {
            let known = before.get(&verdict.name);
            if let Some(entry) = known.filter(|entry| entry.outcome.is_none()) {
                return (verdict.name.clone(), entry.clone());
            }
            let outcome = Some(verdict.outcome);
            let known = known.filter(|entry| entry.outcome == outcome);
            let reason = match (verdict.outcome, known) {
                (Outcome::Passed, _) => String::new(),
                (_, Some(entry)) => entry.reason.clone(),
                (Outcome::Skipped, None) => verdict.message.replace(" | ", " / "),
                (Outcome::Failed, None) => UNEXPLAINED.to_owned(),
            };
            (verdict.name.clone(), Entry { outcome, reason })
        };
        let mut tests = if whole { BTreeMap::new() } else { before.clone() };
        tests.extend(verdicts.iter().map(entry));
        self.parts.insert(part.clone(), tests);
    }
}

fn parse_line(line: &str) -> Option<(Part, String, Entry)> {
    let mut fields = line.split(" | ").map(str::trim);
    let mut words = fields.next()?.split(' ');
    let (mode, group, outcome) = (words.next()?, words.next()?, outcome(words.next()?)?);
    let (name, reason) = (fields.next()?, fields.next().unwrap_or_default());
    let explained = reason.is_empty() == (outcome == Some(Outcome::Passed));
    let whole = words.next().is_none() && fields.next().is_none() && !name.is_empty() && explained;
    whole.then(|| {
        let part = Part { mode: mode.to_owned(), group: group.to_owned() };
        (part, name.to_owned(), Entry { outcome, reason: reason.to_owned() })
    })
}

/// How an outcome is written.
const WORDS: [(&str, Option<Outcome>); 4] = [
    ("passed", Some(Outcome::Passed)),
    ("failed", Some(Outcome::Failed)),
    ("skipped", Some(Outcome::Skipped)),
    ("varies", None),
];

fn word(outcome: Option<Outcome>) -> &'static str {
    WORDS.iter().find(|(_, meant)| *meant == outcome).map_or("varies", |(word, _)| word)
}

fn outcome(word: &str) -> Option<Option<Outcome>> {
    WORDS.iter().find(|(known, _)| *known == word).map(|(_, meant)| *meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(name: &str, outcome: Outcome, message: &str) -> Verdict {
        Verdict { name: name.into(), outcome, message: message.into() }
    }

    #[test]
    fn a_list_reads_back_as_it_was_written() {
        let text = "# how\n\nnftables services passed | a [b]\nnftables services failed | c | because\n";
        assert_eq!(
            Record::parse(text).unwrap().text(),
            "# how\n\nnftables services passed | a [b]\nnftables services failed | c | because\n"
        );
    }

    #[test]
    fn a_line_that_cannot_be_read_is_refused() {
        let bad = [
            "nftables services passed",
            "nftables services broken | a",
            "nftables services failed | a",
            "nftables services passed | a | although it passes",
            "nftables services passed again | a",
        ];
        for line in bad {
            assert!(Record::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn recording_keeps_reasons_and_other_parts() {
        let mut record = Record::parse(
            "iptables services passed | a\nnftables services failed | a | because\n\
             nftables services failed | b | once\nnftables services passed | gone\n",
        )
        .unwrap();
        record.replace(
            &Part::new(Mode::Nftables, Group::Services),
            &[
                verdict("a", Outcome::Failed, "other words"),
                verdict("b", Outcome::Passed, ""),
                verdict("c", Outcome::Failed, "new"),
                verdict("d", Outcome::Skipped, "3 | nodes"),
            ],
            true,
        );
        assert_eq!(
            record.text(),
            "\niptables services passed | a\n\nnftables services failed | a | because\n\
             nftables services passed | b\nnftables services failed | c | not explained yet\n\
             nftables services skipped | d | 3 / nodes\n"
        );
    }

    #[test]
    fn what_depends_on_chance_stays_written_so() {
        let text = "\nnftables services varies | a | placement\n";
        let mut record = Record::parse(text).unwrap();
        let part = Part::new(Mode::Nftables, Group::Services);
        record.replace(&part, &[verdict("a", Outcome::Passed, "")], true);
        assert_eq!(record.text(), text);
        assert!(Record::parse("nftables services varies | a").is_err(), "without a reason");
    }

    #[test]
    fn recording_some_tests_leaves_the_others() {
        let mut record =
            Record::parse("nftables services passed | a\nnftables services passed | b\n").unwrap();
        let part = Part::new(Mode::Nftables, Group::Services);
        record.replace(&part, &[verdict("b", Outcome::Failed, "")], false);
        let text = "\nnftables services passed | a\nnftables services failed | b | not explained yet\n";
        assert_eq!(record.text(), text);
    }

    #[test]
    fn the_committed_lists_can_be_read() {
        for proxy in [Proxy::Penstock, Proxy::KubeProxy] {
            let record = Record::of(proxy).unwrap();
            for tests in record.parts.values() {
                for (name, entry) in tests {
                    assert_ne!(entry.reason, UNEXPLAINED, "{name} of {proxy}");
                }
            }
        }
    }
}
