//! What came of the tests, out of ginkgo's JSON report.

use anyhow::{Context, Result};
use serde::Deserialize;

/// What came of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It holds.
    Passed,
    /// It does not, or did not come to an end.
    Failed,
    /// It found by itself that it does not apply to this cluster.
    Skipped,
}

/// A test that was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Its name, as the expressions of the suite see it.
    pub name: String,
    /// What came of it.
    pub outcome: Outcome,
    /// What it said, on one line, when it did not pass.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    spec_reports: Option<Vec<Spec>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    leaf_node_text: String,
    state: String,
    #[serde(default)]
    failure: Failure,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Failure {
    message: String,
}

/// Every test that was run, sorted by name. Those that the expressions left out, and what prepares the tests, are not
/// among them; a preparation that failed is.
///
/// # Errors
/// When this is not such a report.
pub fn parse(text: &str) -> Result<Vec<Verdict>> {
    let reports: Vec<Report> = serde_json::from_str(text).context("read ginkgo's report")?;
    let specs = reports.into_iter().flat_map(|report| report.spec_reports.unwrap_or_default());
    let mut verdicts: Vec<Verdict> = specs.filter_map(verdict).collect();
    verdicts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(verdicts)
}

fn verdict(spec: Spec) -> Option<Verdict> {
    let outcome = match spec.state.as_str() {
        "passed" => Outcome::Passed,
        // Left out by an expression: nothing is said of it.
        "skipped" | "pending" if spec.failure.message.is_empty() => return None,
        "skipped" => Outcome::Skipped,
        "pending" => return None,
        // failed, panicked, timedout, interrupted, aborted
        _ => Outcome::Failed,
    };
    if spec.leaf_node_type != "It" && outcome != Outcome::Failed {
        return None;
    }
    let mut words = spec.container_hierarchy_texts.unwrap_or_default();
    words.push(if spec.leaf_node_text.is_empty() { spec.leaf_node_type } else { spec.leaf_node_text });
    let message = match outcome {
        Outcome::Passed => String::new(),
        _ => one_line(&spec.failure.message),
    };
    Some(Verdict { name: words.join(" "), outcome, message })
}

/// Messages have dumps of objects in them: the beginning says what it is.
fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn spec(leaf: &str, state: &str, message: &str) -> Value {
        json!({
            "ContainerHierarchyTexts": ["[sig-network] Services"], "LeafNodeType": "It", "LeafNodeText": leaf,
            "State": state, "RunTime": 5, "Failure": { "Message": message, "Location": {} },
        })
    }

    fn parsed(specs: &[Value]) -> Vec<Verdict> {
        parse(&json!([{ "SuitePath": "/x", "SpecReports": specs }]).to_string()).unwrap()
    }

    #[test]
    fn every_test_that_was_run_is_found_by_its_whole_name() {
        let verdicts = parsed(&[
            spec("should b [Conformance]", "failed", "no\n  answer"),
            spec("should a", "passed", ""),
            spec("should c", "timedout", ""),
            spec("should d", "skipped", "needs 3 nodes"),
        ]);
        let seen: Vec<_> =
            verdicts.iter().map(|v| (v.name.as_str(), v.outcome, v.message.as_str())).collect();
        assert_eq!(
            seen,
            [
                ("[sig-network] Services should a", Outcome::Passed, ""),
                ("[sig-network] Services should b [Conformance]", Outcome::Failed, "no answer"),
                ("[sig-network] Services should c", Outcome::Failed, ""),
                ("[sig-network] Services should d", Outcome::Skipped, "needs 3 nodes"),
            ]
        );
    }

    #[test]
    fn tests_that_an_expression_left_out_are_not_there() {
        assert_eq!(parsed(&[spec("should a", "skipped", ""), spec("should b", "pending", "")]), []);
        assert_eq!(parse("[]").unwrap(), []);
        assert_eq!(parse(r#"[{"SpecReports":null}]"#).unwrap(), []);
    }

    #[test]
    fn a_preparation_counts_only_when_it_failed() {
        let setup = |state: &str| {
            json!({
                "ContainerHierarchyTexts": null, "LeafNodeType": "SynchronizedBeforeSuite", "LeafNodeText": "",
                "State": state, "Failure": { "Message": "no nodes" },
            })
        };
        assert_eq!(parsed(&[setup("passed")]), []);
        let failed = parsed(&[setup("failed")]);
        assert_eq!(failed[0].name, "SynchronizedBeforeSuite");
        assert_eq!(failed[0].outcome, Outcome::Failed);
    }

    #[test]
    fn a_long_message_is_cut_between_letters() {
        let long = parsed(&[spec("should a", "failed", &"ü".repeat(1000))]).remove(0).message;
        assert_eq!(long.chars().count(), 301);
        assert!(parse("{}").is_err());
    }
}
