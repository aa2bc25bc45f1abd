//! A plan as `kubectl penstock plan` prints it, and besides all that it will send.

use std::fmt::Write;

use penstock_providers::{Plan, ProviderError, plan_text};
use serde_json::Value;

/// A headline and what follows from it.
pub(crate) fn situation(name: &str, plan: Result<Plan<Value>, ProviderError>) -> String {
    let mut text = format!("== {name}\n");
    match plan {
        Ok(plan) if plan.is_empty() => text.push_str("nothing to do\n"),
        Ok(plan) => write(&mut text, &plan),
        Err(error) => writeln!(text, "waits ({}): {error}", error.reason()).unwrap(),
    }
    text
}

fn write(text: &mut String, plan: &Plan<Value>) {
    // The hash is what people approve: a snapshot that differs in nothing else asks everybody anew.
    let (steps, calls) =
        (plan_text::count(plan.steps.len(), "step"), plan_text::count(plan.calls() as usize, "call"));
    writeln!(text, "{steps}, {calls} of the provider, hash {}", plan.hash().unwrap()).unwrap();
    text.push_str(&plan_text::steps(&plan.steps));
    for (number, step) in (1..).zip(&plan.steps).filter(|(_, step)| step.calls > 0) {
        writeln!(text, "    {number} sends {}", step.action).unwrap();
    }
}
