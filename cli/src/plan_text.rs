//! A forecast as text.

use std::fmt::Write;

use serde_json::Value;

use crate::forecast::{Agreement, Forecast, Outcome, Proposal};

/// An action longer than this is shown by its name alone.
const LONGEST_ACTION: usize = 120;

/// Several lines, the last one ended too.
#[must_use]
pub fn plan_text(forecast: &Forecast) -> String {
    let mut text = format!("Service {}\n", forecast.service);
    if let Some(class) = &forecast.class {
        let provider = forecast.provider.as_ref().map(|p| format!(" (provider {p})")).unwrap_or_default();
        line(&mut text, "class", &format!("{class}{provider}"));
    }
    if !forecast.has.is_empty() {
        line(&mut text, "has", &forecast.has.join(", "));
    }
    match &forecast.outcome {
        Outcome::NotOurs { why } => line(&mut text, "not ours", why),
        Outcome::Refused { reason, message } => line(&mut text, "waits", &format!("{reason}: {message}")),
        Outcome::Served | Outcome::CleanedUp if forecast.plans.is_empty() => {
            line(&mut text, "plan", "nothing to do");
        }
        Outcome::Served | Outcome::CleanedUp => {}
    }
    forecast.plans.iter().for_each(|proposal| add(&mut text, forecast, proposal));
    text
}

fn line(text: &mut String, name: &str, value: &str) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "  {name:<10}{value}");
}

fn add(text: &mut String, forecast: &Forecast, proposal: &Proposal) {
    let (steps, calls) = (count(proposal.steps.len(), "step"), count(proposal.calls as usize, "call"));
    let other = !proposal.class.is_empty() && forecast.class.as_ref() != Some(&proposal.class);
    let who = if other { format!(" of class {}", proposal.class) } else { String::new() };
    line(text, "plan", &format!("{steps}{who}, {calls} of the provider, hash {}", proposal.hash));
    for (number, step) in (1..).zip(&proposal.steps) {
        let calls = count(step.calls as usize, "call");
        let _ = writeln!(text, "    {number}. {}", action(&step.action));
        let _ = writeln!(text, "       because {}", step.reason);
        let _ = writeln!(text, "       risk: {}; {calls}", step.risk);
    }
    match &proposal.approval {
        Agreement::NotNeeded => line(text, "approval", "not needed"),
        Agreement::Given => line(text, "approval", "given for exactly this plan"),
        Agreement::Needed { command } => {
            line(text, "approval", &format!("needed from the first risky step on: {command}"));
        }
    }
}

pub(crate) fn count(number: usize, noun: &str) -> String {
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
