//! Plans of the provider `aws`: what they cost, and that carrying one out, whole or in part, leads where it should.

use penstock_providers::{
    ProviderError, Risk,
    aws::{Action, Observed, Scheme},
};
use proptest::prelude::*;

use crate::{
    aws_model::{after, built, carried_out, owner, plan, settled},
    aws_wish::{Wish, instance},
};

fn first(text: &str) -> Vec<String> {
    let wish = Wish::of(text);
    let plan = plan(&wish.parameters, Some(&wish.desired), &Observed::default()).unwrap();
    plan.steps.iter().map(|step| name(&step.action)).collect()
}

fn name(action: &Action) -> String {
    match serde_json::to_value(action).unwrap() {
        serde_json::Value::Object(fields) => fields.keys().next().unwrap().clone(),
        other => other.to_string(),
    }
}

#[test]
fn a_balancer_of_one_port_is_five_calls_and_each_that_sets_attributes_one_more() {
    let least = ["createTargetGroup", "createLoadBalancer", "createListener", "register"];
    assert_eq!(first("tcp/80"), least);
    let wish = Wish::of(
        "tcp/80 @cross-zone-load-balancing-enabled=true @attributes=deletion_protection.enabled=true",
    );
    let plan = plan(&wish.parameters, Some(&wish.desired), &Observed::default()).unwrap();
    assert_eq!(plan.calls(), 6);
}

#[test]
fn a_node_more_is_one_call_for_each_target_group() {
    let before = built(&Wish::of("tcp/80 tcp/443 nodes=1,2"));
    let wish = Wish::of("tcp/80 tcp/443 nodes=1,2,3");
    let plan = plan(&wish.parameters, Some(&wish.desired), &before).unwrap();
    assert_eq!((plan.calls(), plan.harmless().len()), (2, 2));
}

#[test]
fn many_targets_are_registered_200_at_a_time() {
    let wish = Wish::of("tcp/80 many=450");
    let plan = plan(&wish.parameters, Some(&wish.desired), &Observed::default()).unwrap();
    let sizes: Vec<usize> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Register { targets, .. } => Some(targets.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes, [200, 200, 50]);
}

#[test]
fn names_fit_and_say_whose_they_are() {
    let wish = Wish::of("tcp/80 tcp/443");
    let observed = built(&wish);
    let names =
        observed.balancers.iter().map(|b| &b.spec.name).chain(observed.groups.iter().map(|g| &g.spec.name));
    for name in names {
        assert!(name.starts_with("k8s-shop-web-") && name.len() <= 32, "{name}");
    }
}

#[test]
fn nodes_come_and_go_while_a_risky_change_waits_for_approval() {
    let before = built(&Wish::of("tcp/80:30080 nodes=1"));
    let wish = |nodes: &str| Wish::of(&format!("tcp/80:30090 nodes={nodes}"));
    let held = |nodes: &str, observed: &Observed| {
        let wish = wish(nodes);
        let plan = plan(&wish.parameters, Some(&wish.desired), observed).unwrap();
        let harmless = penstock_providers::Plan { steps: plan.harmless().to_vec() };
        carried_out(&harmless, observed, &wish.parameters)
    };
    let waiting = held("1", &before);
    let hash = |nodes: &str, observed: &Observed| {
        plan(&wish(nodes).parameters, Some(&wish(nodes).desired), observed).unwrap().hash().unwrap()
    };
    let joined = held("1,2", &waiting);
    assert_eq!(joined.groups.len(), 2);
    assert!(joined.groups.iter().all(|group| group.targets.len() == 2), "{:?}", joined.groups);
    assert_eq!(hash("1", &waiting), hash("1,2", &joined), "the approval holds");
}

#[test]
fn a_scheme_that_changes_builds_nothing_before_somebody_agrees() {
    let before = built(&Wish::of("tcp/80"));
    let wish = Wish::of("tcp/80 @scheme=internet-facing");
    let plan = plan(&wish.parameters, Some(&wish.desired), &before).unwrap();
    assert!(plan.harmless().is_empty());
    assert_eq!(plan.steps.iter().map(|step| step.risk).max(), Some(Risk::Destructive));
}

#[test]
fn the_name_that_the_service_shows_moves_only_once_the_new_balancer_listens() {
    use penstock_providers::Provider;
    let wish = Wish::of("tcp/80 @scheme=internet-facing");
    let mut observed = built(&Wish::of("tcp/80"));
    let provider = penstock_providers::aws::AwsProvider::for_planning(&wish.parameters);
    let old = provider.built(&observed).hostname;
    let steps = plan(&wish.parameters, Some(&wish.desired), &observed).unwrap().steps;
    for step in &steps {
        observed = after(&observed, step, &wish.parameters);
        let new = observed.balancers.iter().find(|b| b.spec.scheme == Scheme::InternetFacing);
        let listens = new.is_some_and(|balancer| !balancer.listeners.is_empty());
        let shown = provider.built(&observed).hostname;
        assert!(shown.is_some() && (listens || shown == old), "{shown:?} after {step:?}");
    }
    assert_ne!(provider.built(&observed).hostname, old);
}

fn port() -> impl Strategy<Value = String> {
    let number = prop_oneof![Just(53), Just(80), Just(443)];
    (prop_oneof![Just("tcp"), Just("udp")], number, 30_000..30_003_u16)
        .prop_map(|(protocol, port, node)| format!("{protocol}/{port}:{node}"))
}

fn annotation() -> impl Strategy<Value = String> {
    const ALL: [&str; 30] = [
        "tls=first",
        "tls=second @ssl-ports=443",
        "tls=second",
        "@scheme=internal",
        "@scheme=internet-facing",
        "@name=front-door",
        "@nlb-target-type=ip ep=80>10.0.0.1>8080 ep=443>10.0.0.1>8443 udp-ep=53>10.0.0.1>53",
        "@subnets=subnet-a,subnet-b",
        "@subnets=subnet-x,subnet-y,subnet-z",
        "@ip-address-type=dualstack",
        "@security-groups=sg-1",
        "@security-groups=sg-2,sg-1",
        "@cross-zone-load-balancing-enabled=true",
        "@attributes=deletion_protection.enabled=true",
        "@attributes=deletion_protection.enabled=false",
        "@proxy-protocol=*",
        "@target-group-attributes=preserve_client_ip.enabled=false",
        "@target-group-attributes=deregistration_delay.timeout_seconds=30,stickiness.enabled=true",
        "@healthcheck-protocol=http @healthcheck-path=/up",
        "@healthcheck-interval=30 @healthcheck-unhealthy-threshold=5",
        "@ssl-cert=arn:aws:acm:eu:1:certificate/a @ssl-ports=443",
        "@ssl-cert=arn:aws:acm:eu:1:certificate/b,arn:aws:acm:eu:1:certificate/a",
        "@alpn-policy=HTTP2Preferred",
        "@backend-protocol=ssl",
        "@ssl-negotiation-policy=new",
        "@additional-resource-tags=team=shop",
        "@listener-attributes.TCP-80=tcp.idle_timeout.seconds=60",
        "local",
        "affinity",
        "@eip-allocations=eipalloc-1,eipalloc-2",
    ];
    prop::sample::select(ALL.to_vec()).prop_map(ToOwned::to_owned)
}

fn wish() -> impl Strategy<Value = Wish> {
    let nodes = prop::collection::btree_set(0..6_u8, 1..4);
    let ports = prop::collection::btree_map(prop_oneof![Just(1), Just(2), Just(3)], port(), 1..4);
    (ports, prop::collection::vec(annotation(), 0..5), nodes).prop_map(|(ports, annotations, nodes)| {
        let words: Vec<String> = ports.into_values().chain(annotations).collect();
        let mut wish = Wish::of(&words.join(" "));
        // One of a protocol and number.
        let mut known = std::collections::BTreeSet::new();
        wish.desired.frontends.retain(|f| known.insert((f.protocol, f.port)));
        wish.desired.targets = nodes.iter().map(|n| instance(&n.to_string())).collect();
        wish
    })
}

/// Whether what exists is what is wanted, or why it cannot be.
fn reached(wish: &Wish, observed: &Observed) -> Result<(), ProviderError> {
    settled(wish, observed).map(|_| ())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn carrying_out_a_plan_leaves_nothing_to_do(wishes in prop::collection::vec(wish(), 1..5)) {
        let mut observed = Observed::default();
        for wish in wishes {
            let Ok(plan) = plan(&wish.parameters, Some(&wish.desired), &observed) else { continue };
            observed = carried_out(&plan, &observed, &wish.parameters);
            let left = super::aws_model::plan(&wish.parameters, Some(&wish.desired), &observed).unwrap();
            prop_assert!(left.is_empty(), "{left:?}");
        }
    }

    #[test]
    fn whichever_step_was_the_last_one_the_next_plan_finishes_the_work(
        before in wish(), wanted in wish(), cut in 0..40_usize
    ) {
        let Ok(first) = settled(&before, &Observed::default()) else { return Ok(()) };
        let Ok(plan) = plan(&wanted.parameters, Some(&wanted.desired), &first) else { return Ok(()) };
        let cut = cut % (plan.steps.len() + 1);
        let part = plan.steps[..cut].iter().fold(first, |seen, step| after(&seen, step, &wanted.parameters));
        prop_assert_eq!(reached(&wanted, &part), Ok(()));
    }

    #[test]
    fn whatever_was_begun_can_be_taken_down_without_a_rest(before in wish(), wanted in wish(), cut in 0..40_usize) {
        let Ok(first) = settled(&before, &Observed::default()) else { return Ok(()) };
        let steps = plan(&wanted.parameters, Some(&wanted.desired), &first).map(|p| p.steps).unwrap_or_default();
        let cut = cut % (steps.len() + 1);
        let mut part = steps[..cut].iter().fold(first, |seen, step| after(&seen, step, &wanted.parameters));
        for balancer in &mut part.balancers {
            balancer.attributes.remove("deletion_protection.enabled");
        }
        let removal = plan(&wanted.parameters, None, &part).unwrap();
        prop_assert_eq!(carried_out(&removal, &part, &wanted.parameters), Observed::default());
    }

    #[test]
    fn what_is_not_ours_is_never_touched(before in wish(), wanted in wish(), gone in any::<bool>(), which in 0..8_usize) {
        let Ok(mut observed) = settled(&before, &Observed::default()) else { return Ok(()) };
        let count = observed.groups.len();
        let tags = match which % (count + 1) {
            0 => &mut observed.balancers[0].spec.tags,
            at => &mut observed.groups[at - 1].spec.tags,
        };
        tags.insert("penstock.dev/service-uid".into(), "another".into());
        let desired = Some(&wanted.desired).filter(|_| !gone);
        let refused = plan(&wanted.parameters, desired, &observed);
        prop_assert!(matches!(refused, Err(ProviderError::NotOwned(_))), "{refused:?}");
        prop_assert_eq!(owner().uid, "7c2f9a1e");
    }
}
