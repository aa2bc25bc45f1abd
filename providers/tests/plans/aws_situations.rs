//! The plans of the provider `aws` in the situations of `aws_cases.txt`. To accept a change: `INSTA_UPDATE=always cargo
//! test -p penstock-providers --test plans`, and read the difference.

use std::fmt::Write;

use penstock_providers::{
    Plan, ProviderError,
    aws::{Action, Imported, Observed},
};
use serde_json::Value;

use crate::{
    aws_model::{built, plan, settled},
    aws_wish::Wish,
};

const CASES: &str = include_str!("aws_cases.txt");

/// What happened behind our back, after the sign `+`.
fn tamper(observed: &mut Observed, words: &str) {
    for word in words.split_whitespace() {
        match word {
            "protected" => {
                let attributes = &mut observed.balancers[0].attributes;
                attributes.insert("deletion_protection.enabled".into(), "true".into());
            }
            "foreign-balancer" => {
                observed.balancers[0].spec.tags.insert("penstock.dev/service-uid".into(), "another".into());
            }
            "foreign-group" => drop(observed.groups[0].spec.tags.remove("penstock.dev/cluster")),
            "other-vpc" => observed.balancers[0].vpc_id = "vpc-2".into(),
            "failed" => observed.balancers[0].failed = true,
            "no-listener" => observed.balancers[0].listeners.clear(),
            "no-group" => drop(observed.groups.pop()),
            "no-target" => observed.groups[0].targets.clear(),
            "no-balancer" => observed.balancers.clear(),
            "check" => observed.groups[0].spec.health_check.interval = 30,
            "tag" => drop(observed.balancers[0].spec.tags.insert("cost".into(), "1".into())),
            "unsettled" => observed.unsettled = true,
            "no-certificate" => observed.certificates.clear(),
            "certificate-unread" => observed.certificates[0].fingerprint = None,
            "foreign-certificate" => drop(observed.certificates[0].tags.remove("penstock.dev/cluster")),
            "certificate-twice" => {
                let twin = Imported {
                    arn: "arn:aws:acm:eu-central-1:1:certificate/a".into(),
                    ..observed.certificates[0].clone()
                };
                observed.certificates.insert(0, twin);
            }
            "service-tag" => drop(observed.balancers[0].spec.tags.remove("penstock.dev/service")),
            other => panic!("{other} means nothing"),
        }
    }
}

/// `BEFORE + TAMPERED => AFTER`; `-` is nothing.
fn outcome(case: &str) -> Result<Plan<Action>, ProviderError> {
    let (before, after) = case.split_once("=>").unwrap();
    let (before, tampered) = before.split_once(" + ").unwrap_or((before, ""));
    let mut observed = match before.trim() {
        "-" => Observed::default(),
        wish => built(&Wish::of(wish)),
    };
    tamper(&mut observed, tampered);
    let wish = Wish::of(after.trim().trim_start_matches('-'));
    let desired = Some(&wish.desired).filter(|_| after.trim() != "-");
    let plan = plan(&wish.parameters, desired, &observed)?;
    if desired.is_some() {
        settled(&wish, &observed)?;
    }
    Ok(plan)
}

/// Ownership stands in every creating step; once is enough.
fn without_tags(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| key != "tags");
            fields.values_mut().for_each(without_tags);
        }
        Value::Array(items) => items.iter_mut().for_each(without_tags),
        _ => {}
    }
}

fn shown(name: &str, outcome: Result<Plan<Action>, ProviderError>) -> String {
    let mut text = String::new();
    let plan = match outcome {
        Ok(plan) if plan.is_empty() => return "  nothing to do\n".to_owned(),
        Ok(plan) => plan,
        Err(error) => return format!("  {}: {error}\n", error.reason()),
    };
    for step in &plan.steps {
        let mut action = serde_json::to_value(&step.action).unwrap();
        if !name.starts_with("tags") {
            without_tags(&mut action);
        }
        let calls = if step.calls == 1 { String::new() } else { format!(", {} calls", step.calls) };
        writeln!(text, "  {} [{}{calls}]\n      {action}", step.reason, step.risk).unwrap();
    }
    text
}

#[test]
fn every_situation_has_the_plan_that_was_reviewed() {
    let cases = CASES.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let cases: Vec<(&str, &str)> = cases.map(|line| line.split_once("::").unwrap()).collect();
    assert!(cases.len() >= 120, "{}", cases.len());
    let text = cases.iter().map(|(name, case)| {
        format!("== {}\n   {}\n{}", name.trim(), case.trim(), shown(name, outcome(case)))
    });
    insta::assert_snapshot!("aws", text.collect::<Vec<_>>().join("\n"));
}
