//! The steps of a plan as text, for people.

use std::fmt::Write;

use serde_json::Value;

use crate::Step;

/// An action longer than this, in characters, is shown by its name alone.
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

/// An action by its name and, if that is short enough, its values.
fn action(action: &Value) -> String {
    match action {
        Value::String(name) => name.clone(),
        Value::Object(tagged) => match tagged.iter().next().filter(|_| tagged.len() == 1) {
            Some((name, values)) => named(name, &inline(values)),
            None => named("change", &inline(action)),
        },
        other => inline(other),
    }
}

fn named(name: &str, values: &str) -> String {
    match values.chars().count() {
        1..=LONGEST_ACTION => format!("{name}: {values}"),
        _ => name.to_owned(),
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(inline).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| format!("{name} {}", inline(value)));
            fields.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}
