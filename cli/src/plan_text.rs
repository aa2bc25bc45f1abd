//! A forecast as text.

use std::fmt::Write;

use penstock_operator::judgement;
use penstock_providers::plan_text::{count, steps};

use crate::forecast::{Agreement, Forecast, Outcome, Proposal};

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
    let (number, calls) = (count(proposal.steps.len(), "step"), count(proposal.calls as usize, "call"));
    let other = !proposal.class.is_empty() && forecast.class.as_ref() != Some(&proposal.class);
    let who = if other { format!(" of class {}", proposal.class) } else { String::new() };
    line(text, "plan", &format!("{number}{who}, {calls} of the provider, hash {}", proposal.hash));
    text.push_str(&steps(&proposal.steps));
    if let Some(verdict) = &proposal.verdict {
        line(text, "asked", &judgement(verdict));
    }
    match &proposal.approval {
        Agreement::NotNeeded => line(text, "approval", "not needed"),
        Agreement::Given => line(text, "approval", "given for exactly this plan"),
        Agreement::Needed { command } => {
            line(text, "approval", &format!("needed from the first risky step on: {command}"));
        }
    }
}
