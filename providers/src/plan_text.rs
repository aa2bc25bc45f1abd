//! The steps of a plan as text, for people.

use std::fmt::Write;

use serde_json::Value;

use crate::Step;

/// The longest text of an action's values, in characters.
const LONGEST_ACTION: usize = 120;

/// Numbered lines, three for each step, all of them ended.
#[must_use]
pub fn steps(steps: &[Step<Value>]) -> String {
    let mut text = String::new();
    for (number, step) in (1..).zip(steps) {
        let calls = count(step.calls as usize, "call");
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {number}. {}", action(&step.action));
        let _ = writeln!(text, "       because {}", step.reason);
        let _ = writeln!(text, "       risk: {}; {calls}", step.risk);
    }
    text
}

/// `1 step`, `2 steps`, and so on.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// An action by its name and as much of its values as is short enough.
fn action(action: &Value) -> String {
    match action {
        Value::String(name) => name.clone(),
        Value::Object(tagged) => match tagged.iter().next().filter(|_| tagged.len() == 1) {
            Some((name, values)) => named(name, values),
            None => named("change", action),
        },
        other => inline(other),
    }
}

/// The first fields that fit together: which address a Service gets stands there also if it shares it with others.
fn named(name: &str, values: &Value) -> String {
    let fields = match values {
        Value::Object(fields) => fields.iter().map(field).collect(),
        other => vec![inline(other)],
    };
    let fits = |count: &usize| fields[..*count].join("; ").chars().count() <= LONGEST_ACTION;
    let shown = (0..=fields.len()).rev().find(fits).unwrap_or_default();
    let more = if shown < fields.len() { "; …" } else { "" };
    match shown {
        0 => name.to_owned(),
        _ => format!("{name}: {}{more}", fields[..shown].join("; ")),
    }
}

fn field((name, value): (&String, &Value)) -> String {
    format!("{name} {}", inline(value))
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(inline).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields.iter().map(field).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_action_shows_what_fits_and_says_that_there_is_more() {
        let long = "x".repeat(LONGEST_ACTION);
        assert_eq!(action(&json!("release")), "release");
        assert_eq!(
            action(&json!({"assign": {"addresses": ["a", "b"], "pool": "p"}})),
            "assign: addresses a, b; pool p"
        );
        assert_eq!(action(&json!({"assign": {"addresses": ["a"], "terms": long}})), "assign: addresses a; …");
        assert_eq!(action(&json!({"create": {"spec": long, "targets": []}})), "create");
        assert_eq!(action(&json!({"setTargets": {"targets": []}})), "setTargets: targets none");
    }
}
