//! Plans in named situations, and the two things that hold in all: a plan leads to what is wanted, and then there is none.

use std::collections::BTreeSet;

use penstock_crds::{DIGITALOCEAN_ADOPT, DIGITALOCEAN_PREFIX, DigitalOceanParameters};
use penstock_model::{Family, ObjectKey, Protocol};
use proptest::prelude::*;

use super::{
    action::Action,
    name,
    observed::{Balancer, Observed, State},
    planner::plan,
    spec::{Droplets, Spec},
};
use crate::{Desired, FamilyNeed, Frontend, Owner, Plan, ProviderError, Risk, Target};

fn parameters() -> DigitalOceanParameters {
    DigitalOceanParameters {
        region: "fra1".into(),
        cluster_name: "blue".into(),
        token_secret: "token".into(),
        allow_adoption: true,
        ..DigitalOceanParameters::default()
    }
}

fn owner() -> Owner {
    Owner { service: ObjectKey::new("shop", "web"), uid: "u1".into() }
}

fn node(number: u64) -> Target {
    Target {
        node: format!("n{number}"),
        provider_id: Some(format!("digitalocean://{number}")),
        addresses: vec![],
    }
}

fn port(port: u16, node_port: u16) -> Frontend {
    Frontend { protocol: Protocol::Tcp, port, node_port: Some(node_port) }
}

fn desired() -> Desired {
    Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: vec![port(80, 30080)],
        targets: vec![node(1), node(2)],
        ..Desired::default()
    }
}

fn asking(pairs: &[(&str, &str)]) -> Desired {
    let options =
        pairs.iter().map(|(key, value)| (format!("{DIGITALOCEAN_PREFIX}{key}"), (*value).to_owned()));
    let ports = vec![port(80, 30080), port(443, 30443)];
    Desired { options: options.collect(), frontends: ports, ..desired() }
}

fn balancer(id: &str, spec: Spec, droplets: Droplets) -> Balancer {
    Balancer {
        id: id.to_owned(),
        region: "fra1".to_owned(),
        vpc_uuid: None,
        state: State::Active,
        addresses: vec!["203.0.113.7".parse().unwrap()],
        droplets,
        created_at: format!("2026-01-01T00:00:00Z {id}"),
        spec,
    }
}

/// What DigitalOcean would have after a plan.
fn played(observed: &Observed, plan: &Plan<Action>) -> Observed {
    let mut after = observed.clone();
    for step in &plan.steps {
        let has = |observed: &Observed, id: &str| observed.balancer(id).cloned().unwrap();
        match step.action.clone() {
            Action::Create { mut spec, droplets } => {
                spec.size_unit = spec.size_unit.or(Some(1));
                spec.enable_backend_keepalive = spec.enable_backend_keepalive.or(Some(false));
                spec.http_idle_timeout_seconds = spec.http_idle_timeout_seconds.or(Some(60));
                after.take(balancer("new", spec, droplets));
            }
            Action::Update { id, spec, droplets } => {
                let before = has(&after, &id);
                let droplets = droplets.unwrap_or(before.droplets);
                after.take(Balancer { spec: spec.or_as_is(&before.spec), droplets, ..has(&after, &id) });
            }
            Action::Adopt { id, name } => {
                let spec = Spec { name, ..after.balancers[0].spec.clone() };
                after.take(balancer(&id, spec, Droplets::Ids(BTreeSet::new())));
            }
            Action::AddDroplets { id, droplets } => {
                let mut before = has(&after, &id);
                let Droplets::Ids(ids) = &mut before.droplets else { panic!("by tag") };
                ids.extend(droplets);
                after.take(before);
            }
            Action::RemoveDroplets { id, droplets } => {
                let mut before = has(&after, &id);
                let Droplets::Ids(ids) = &mut before.droplets else { panic!("by tag") };
                ids.retain(|id| !droplets.contains(id));
                after.take(before);
            }
            Action::Delete { id } | Action::DeleteCertificate { id } => after.forget(&id),
            Action::UploadCertificate { .. } => panic!("nobody asked for one"),
        }
    }
    after
}

fn planned(parameters: &DigitalOceanParameters, wanted: &Desired, observed: &Observed) -> Plan<Action> {
    plan(parameters, &owner(), Some(wanted), observed).unwrap()
}

fn built(wanted: &Desired) -> Observed {
    played(&Observed::default(), &planned(&parameters(), wanted, &Observed::default()))
}

/// Reason and risk of each step.
fn told(plan: &Plan<Action>) -> Vec<(&str, Risk)> {
    plan.steps.iter().map(|step| (step.reason.as_str(), step.risk)).collect()
}

#[test]
fn each_change_says_why_and_how_risky_it_is() {
    use Risk::{Disruptive, Safe};
    let tls = [("certificate-id", "c-1"), ("protocol", "http")];
    let with = |more: (&'static str, &'static str)| asking(&[tls[0], tls[1], more]);
    let before = asking(&tls);
    let observed = built(&before);
    let other_port = Desired { frontends: vec![port(80, 30081), port(443, 30443)], ..before.clone() };
    let less = Desired { frontends: vec![port(443, 30443)], ..before.clone() };
    let ranges = Desired { source_ranges: vec!["198.51.100.0/24".parse().unwrap()], ..before.clone() };
    let nodes = Desired { targets: vec![node(2), node(3), node(4)], ..before.clone() };
    let name = "it is to be named \"front.penstock.";
    for (wanted, expected) in [
        (nodes, vec![("2 Droplets to send to", Safe), ("1 Droplet not to send to any longer", Safe)]),
        (
            other_port,
            vec![(
                "port 80 leads to NodePort 30081 instead of 30080; the health check is another",
                Disruptive,
            )],
        ),
        (less, vec![("port 80 (http) is no longer asked for; the health check is another", Disruptive)]),
        (ranges, vec![("others may connect than before", Disruptive)]),
        (asking(&[("certificate-id", "c-2"), tls[1]]), vec![("port 443 gets another certificate", Safe)]),
        (
            asking(&[("tls-passthrough", "true"), tls[1]]),
            vec![("port 443 is to speak https passed on instead of https", Disruptive)],
        ),
        (with(("name", "front")), vec![(name, Safe)]),
        (with(("size-unit", "2")), vec![("another size is asked for", Safe)]),
        (with(("healthcheck-check-interval-seconds", "9")), vec![("the health check is another", Safe)]),
        (with(("enable-proxy-protocol", "true")), vec![("the PROXY protocol is asked for", Disruptive)]),
        (
            with(("redirect-http-to-https", "true")),
            vec![("HTTP redirected to HTTPS is asked for", Disruptive)],
        ),
    ] {
        let plan = planned(&parameters(), &wanted, &observed);
        let told = told(&plan);
        let same = |(got, want): (&(&str, Risk), &(&str, Risk))| got.0.starts_with(want.0) && got.1 == want.1;
        assert!(
            told.len() == expected.len() && told.iter().zip(&expected).all(same),
            "{told:?}, not {expected:?}"
        );
    }
}

#[test]
fn annotations_that_contradict_each_other_are_refused_in_one_sentence() {
    let cert = ("certificate-id", "c-1");
    for (pairs, sentence) in [
        (
            vec![cert, ("tls-passthrough", "true")],
            "contradicts the annotation do-loadbalancer-tls-passthrough",
        ),
        (vec![("tls-ports", "443")], "asks for TLS and nobody ends it"),
        (vec![("protocol", "http2")], "asks for TLS and nobody ends it"),
        (vec![cert, ("tls-ports", "443"), ("http2-ports", "443")], "stands in both annotations"),
        (vec![cert, ("tls-ports", "8443")], "names the port \"8443\", which the Service does not have"),
        (vec![("healthcheck-protocol", "tcp"), ("healthcheck-path", "/x")], "says nothing where"),
        (vec![("sticky-sessions-cookie-name", "c")], "says nothing unless"),
        (vec![("name", "-web")], "with a letter or digit at both ends"),
        (vec![("hostname", "203.0.113.1")], "must be a name in the DNS"),
        (vec![("deny-rules", "cidr:198.51.100.7/24")], "write ip:198.51.100.7 or cidr:198.51.100.0/24"),
        (vec![("type", "REGIONAL_NETWORK")], "is not supported by Penstock"),
        (vec![("sizeunit", "2")], "is not known"),
    ] {
        let error = plan(&parameters(), &owner(), Some(&asking(&pairs)), &Observed::default()).unwrap_err();
        assert!(matches!(error, ProviderError::User { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(sentence) && !text.contains('\n'), "{text}");
    }
    let both = Desired {
        source_ranges: vec!["198.51.100.0/24".parse().unwrap()],
        ..asking(&[("allow-rules", "ip:198.51.100.7")])
    };
    let error = plan(&parameters(), &owner(), Some(&both), &Observed::default()).unwrap_err().to_string();
    assert!(error.contains("remove one of the two"), "{error}");
}

#[test]
fn what_is_not_ours_is_left_alone_and_the_younger_of_two_goes() {
    let mut observed = built(&desired());
    let other = name::mark(&parameters(), &Owner { uid: "u2".into(), ..owner() }).unwrap();
    let mut stolen = observed.clone();
    stolen.balancers[0].spec.name = format!("web.{other}");
    let mut elsewhere = observed.clone();
    elsewhere.balancers[0].region = "nyc1".into();
    for foreign in [stolen, elsewhere] {
        for wanted in [Some(&desired()), None] {
            let refused = plan(&parameters(), &owner(), wanted, &foreign);
            assert!(matches!(refused, Err(ProviderError::NotOwned(_))), "{refused:?}");
        }
    }
    let twin = balancer("younger", observed.balancers[0].spec.clone(), Droplets::Ids([1, 2].into()));
    observed.take(twin);
    let plan = planned(&parameters(), &desired(), &observed);
    let younger = Action::Delete { id: "younger".into() };
    assert_eq!(
        (plan.steps.len(), &plan.steps[0].action, plan.steps[0].risk),
        (1, &younger, Risk::Destructive)
    );
}

#[test]
fn what_is_taken_comes_alone_and_needs_the_classs_leave() {
    let mut wanted = desired();
    wanted.options.insert(DIGITALOCEAN_ADOPT.to_owned(), "by-hand".into());
    let plan_of =
        |parameters: &DigitalOceanParameters| plan(parameters, &owner(), Some(&wanted), &Observed::default());
    let steps = plan_of(&parameters()).unwrap().steps;
    assert!(matches!(steps.as_slice(), [step] if matches!(step.action, Action::Adopt { .. })), "{steps:?}");
    let refused = plan_of(&DigitalOceanParameters { allow_adoption: false, ..parameters() });
    assert!(matches!(refused, Err(ProviderError::User { .. })), "{refused:?}");
}

#[test]
fn a_tag_takes_the_place_of_named_droplets_and_back() {
    let tagged = DigitalOceanParameters { droplet_tag: Some("k8s".into()), ..parameters() };
    let observed = built(&desired());
    let plan = planned(&tagged, &desired(), &observed);
    assert_eq!(told(&plan), [("it is to send to the Droplets with the tag k8s", Risk::Disruptive)]);
    let after = played(&observed, &plan);
    let more = Desired { targets: vec![node(7)], ..desired() };
    assert!(planned(&tagged, &more, &after).is_empty(), "a node is no change");
    let back = played(&after, &planned(&parameters(), &desired(), &after));
    assert_eq!(back, observed);
}

prop_compose! {
    fn any_desired()(
        ports in prop::collection::btree_map(1_u16..6, 30_000_u16..30_004, 1..4),
        nodes in prop::collection::btree_set(1_u64..6, 0..4),
        ranges in prop::collection::btree_set(0_u8..4, 0..3),
        flags in (any::<bool>(), any::<bool>(), any::<bool>()),
        seconds in 3_u16..8,
    ) -> Desired {
        let option = |on: bool, key: &str, value: &str| on.then(|| (format!("{DIGITALOCEAN_PREFIX}{key}"), value.to_owned()));
        let options = [
            option(flags.0, "enable-proxy-protocol", "true"),
            option(flags.1, "protocol", "http"),
            option(flags.2, "name", "front"),
            option(true, "healthcheck-check-interval-seconds", &seconds.to_string()),
        ];
        Desired {
            frontends: ports.into_iter().map(|(number, node_port)| port(number, node_port)).collect(),
            targets: nodes.into_iter().map(node).collect(),
            source_ranges: ranges.iter().map(|n| format!("198.51.{n}.0/24").parse().unwrap()).collect(),
            options: options.into_iter().flatten().collect(),
            ..desired()
        }
    }
}

proptest! {
    #[test]
    fn a_plan_leads_to_what_would_have_been_built_at_once_and_then_there_is_none(
        first in any_desired(), second in any_desired(),
    ) {
        let observed = built(&first);
        let way = planned(&parameters(), &second, &observed);
        let after = played(&observed, &way);
        prop_assert_eq!(&after, &built(&second));
        prop_assert!(planned(&parameters(), &second, &after).is_empty());
        prop_assert_eq!(&way, &planned(&parameters(), &second, &observed), "the same again");
        let nothing = played(&after, &plan(&parameters(), &owner(), None, &after).unwrap());
        prop_assert_eq!(nothing, Observed::default());
    }

    #[test]
    fn no_order_of_ports_and_nodes_is_a_change(wanted in any_desired()) {
        let mut turned = wanted.clone();
        turned.targets.reverse();
        turned.source_ranges.reverse();
        let plan = planned(&parameters(), &turned, &built(&wanted));
        prop_assert!(plan.is_empty(), "{:?}", plan);
    }
}
