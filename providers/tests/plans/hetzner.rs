//! Plans of the provider `hetzner`: what they cost, and that carrying one out, whole or in part, leads where it should; and
//! the plans in the situations of `hetzner_cases.txt`. To accept a change: `INSTA_UPDATE=always cargo test -p
//! penstock-providers --test plans`, and read the difference.

use std::fmt::Write;

use penstock_providers::{
    Plan, ProviderError, Risk,
    hetzner::{Action, Observed},
};
use proptest::prelude::*;

use crate::hetzner_wish::{Wish, after, built, carried_out, plan, settled};

const CASES: &str = include_str!("hetzner_cases.txt");

/// What happened behind our back, after the sign `+`.
fn tamper(observed: &mut Observed, words: &str) {
    let balancer = &mut observed.balancers[0];
    for word in words.split_whitespace() {
        match word {
            "protected" => balancer.protected = true,
            "foreign" => drop(balancer.labels.insert("penstock.dev/service-uid".into(), "another".into())),
            "label" => drop(balancer.labels.insert("cost".into(), "1".into())),
            "no-service" => balancer.services.clear(),
            "no-target" => balancer.targets.clear(),
            "no-network" => balancer.networks.clear(),
            "other-network" => balancer.networks[0].id = 8,
            "address-target" => {
                let ip = "198.51.100.1".parse().unwrap();
                balancer.targets.insert(penstock_providers::hetzner::TargetSpec::Ip { ip });
            }
            "unaddressed" => balancer.addresses.clear(),
            other => panic!("{other} means nothing"),
        }
    }
}

/// `BEFORE + TAMPERED => AFTER`; `-` is nothing.
fn outcome(case: &str) -> Result<Plan<Action>, ProviderError> {
    let (before, wanted) = case.split_once("=>").unwrap();
    let (before, tampered) = before.split_once(" + ").unwrap_or((before, ""));
    let mut observed = match before.trim() {
        "-" => Observed::default(),
        wish => built(&Wish::of(wish)),
    };
    if !tampered.is_empty() {
        tamper(&mut observed, tampered);
    }
    let wish = Wish::of(wanted.trim().trim_start_matches('-'));
    let wants = wanted.trim() != "-";
    let plan = plan(&wish, wants, &observed)?;
    if wants {
        settled(&wish, &observed)?;
    }
    Ok(plan)
}

fn shown(outcome: Result<Plan<Action>, ProviderError>) -> String {
    let mut text = String::new();
    let plan = match outcome {
        Ok(plan) if plan.is_empty() => return "  nothing to do\n".to_owned(),
        Ok(plan) => plan,
        Err(error) => return format!("  {}: {error}\n", error.reason()),
    };
    for step in &plan.steps {
        let action = serde_json::to_value(&step.action).unwrap();
        let calls = if step.calls == 1 { String::new() } else { format!(", {} calls", step.calls) };
        writeln!(text, "  {} [{}{calls}]\n      {action}", step.reason, step.risk).unwrap();
    }
    text
}

#[test]
fn every_situation_has_the_plan_that_was_reviewed() {
    let cases = CASES.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let cases: Vec<(&str, &str)> = cases.map(|line| line.split_once("::").unwrap()).collect();
    assert!(cases.len() >= 60, "{}", cases.len());
    let text = cases
        .iter()
        .map(|(name, case)| format!("== {}\n   {}\n{}", name.trim(), case.trim(), shown(outcome(case))));
    insta::assert_snapshot!("hetzner", text.collect::<String>());
}

#[test]
fn all_of_a_balancer_is_one_call() {
    let plan = plan(&Wish::of("tcp/80 tcp/443 many=20"), true, &Observed::default()).unwrap();
    assert_eq!((plan.steps.len(), plan.calls()), (1, 1));
}

#[test]
fn there_is_room_for_nodes_whichever_come_and_go() {
    let nodes = |from: u32, to: u32| (from..=to).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let before = built(&Wish::of(&format!("tcp/80 nodes={}", nodes(1, 25))));
    for wanted in
        [format!("tcp/80 nodes={}", nodes(11, 35)), format!("tcp/80 @type=lb21 nodes={}", nodes(1, 40))]
    {
        settled(&Wish::of(&wanted), &before).unwrap();
    }
}

#[test]
fn nodes_come_and_go_while_a_risky_change_waits_for_approval() {
    let before = built(&Wish::of("tcp/80:30080 nodes=1"));
    let held = |nodes: &str, observed: &Observed| {
        let plan = plan(&Wish::of(&format!("tcp/80:30090 nodes={nodes}")), true, observed).unwrap();
        let harmless = Plan { steps: plan.harmless().to_vec() };
        (carried_out(&harmless, observed), Plan { steps: plan.steps[harmless.steps.len()..].to_vec() })
    };
    let (waiting, first) = held("1", &before);
    let (joined, second) = held("1,2", &waiting);
    assert_eq!(joined.balancers[0].targets.len(), 2);
    assert_eq!(first.hash().unwrap(), second.hash().unwrap(), "the approval holds");
}

fn wish() -> impl Strategy<Value = String> {
    const ALL: [&str; 18] = [
        "@name=front-door",
        "@type=lb21",
        "@type=lb31",
        "@hostname=shop.example.com",
        "@algorithm-type=least_connections",
        "@uses-proxyprotocol=true",
        "@use-private-ip=true",
        "@use-private-ip=true @disable-public-network=true",
        "@protocol=http",
        "@protocol=http @http-sticky-sessions=true",
        "@protocol=https @http-certificates=2,1",
        "@protocol=https @http-certificates=3 @http-redirect-http=true",
        "@health-check-protocol=http @health-check-http-path=/up",
        "@health-check-interval=5s",
        "class:label=team:shop",
        "class:network=8",
        "class:selector=node:yes",
        "local=31000",
    ];
    let number = prop_oneof![Just(80_u16), Just(443), Just(22), 1000..1008_u16];
    let port = (number, 30_000..30_003_u16).prop_map(|(port, node)| (port, format!("tcp/{port}:{node}")));
    let ports = prop::collection::vec(port, 1..8).prop_map(|ports| {
        let ports: std::collections::BTreeMap<u16, String> = ports.into_iter().collect();
        ports.into_values().collect::<Vec<_>>().join(" ")
    });
    let nodes = prop::collection::btree_set(1..5_u8, 1..4);
    let nodes = nodes.prop_map(|nodes| nodes.iter().map(u8::to_string).collect::<Vec<_>>().join(","));
    let options = prop::sample::subsequence(ALL.to_vec(), 0..5);
    (ports, nodes, options)
        .prop_map(|(ports, nodes, options)| format!("{ports} nodes={nodes} {}", options.join(" ")))
}

/// But for a label of the class that is no longer asked for, which stays.
fn same(a: &Observed, b: &Observed) {
    let shown = |observed: &Observed| {
        let mut observed = observed.clone();
        observed.balancers.iter_mut().for_each(|balancer| drop(balancer.labels.remove("team")));
        serde_json::to_value(observed).unwrap()
    };
    assert_eq!(shown(a), shown(b));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_way_leads_to_what_would_have_been_built_at_once(before in wish(), wanted in wish()) {
        let (before, wanted) = (Wish::of(&before), Wish::of(&wanted));
        if let (Ok(begun), Ok(expected)) =
            (settled(&before, &Observed::default()), settled(&wanted, &Observed::default()))
        {
            let plan = plan(&wanted, true, &begun).unwrap();
            let mut half = begun.clone();
            for step in &plan.steps {
                same(&settled(&wanted, &half).unwrap(), &expected);
                half = after(&half, step);
            }
            same(&half, &expected);
            let gone = crate::hetzner_wish::plan(&wanted, false, &half).unwrap();
            assert_eq!(carried_out(&gone, &half), Observed::default());
            assert!(gone.steps.iter().all(|step| step.risk == Risk::Destructive));
        }
    }

    #[test]
    fn the_same_world_has_the_same_plan_and_labels_of_others_stay(before in wish(), wanted in wish()) {
        let (before, wanted) = (Wish::of(&before), Wish::of(&wanted));
        if let Ok(mut begun) = settled(&before, &Observed::default())
            && let Ok(first) = plan(&wanted, true, &begun)
        {
            assert_eq!(first, plan(&wanted, true, &begun).unwrap());
            begun.balancers[0].labels.insert("cost".into(), "1".into());
            let after = settled(&wanted, &begun).unwrap();
            assert_eq!(after.balancers[0].labels.get("cost").map(String::as_str), Some("1"));
        }
    }
}
