//! What Services want of Hetzner, in few words: see `hetzner_cases.txt`. And Hetzner as a model: what a step makes of what
//! exists, by the provider's own account of it.

use std::{collections::BTreeSet, sync::OnceLock};

use penstock_crds::{HETZNER_ADOPT, HETZNER_PREFIX, HetznerParameters};
use penstock_model::{Family, ObjectKey, Protocol, TrafficPolicy};
use penstock_providers::{
    Desired, FamilyNeed, Frontend, Owner, Plan, Provider, ProviderError, Request, Step, Target,
    hetzner::{Action, Balancer, HetznerProvider, Network, Observed, Place},
};

use crate::endpoint_model::ip;

/// A class and a Service.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) parameters: HetznerParameters,
    pub(crate) desired: Desired,
}

impl Wish {
    /// Words apart by spaces.
    pub(crate) fn of(text: &str) -> Self {
        let parameters = HetznerParameters {
            cluster_name: "blue".into(),
            token_secret: "hetzner".into(),
            network_id: Some(7),
            defaults: [("location".to_owned(), "fsn1".to_owned())].into(),
            ..HetznerParameters::default()
        };
        let families = vec![FamilyNeed { family: Family::IPv4, required: true }];
        let mut wish = Self { parameters, desired: Desired { families, ..Desired::default() } };
        text.split_whitespace().for_each(|word| wish.add(word));
        if wish.desired.targets.is_empty() {
            wish.desired.targets = ["1", "2"].map(server).into();
        }
        wish
    }

    fn add(&mut self, word: &str) {
        if let Some(annotation) = word.strip_prefix('@') {
            let (key, value) = annotation.split_once('=').unwrap();
            let key =
                if key == "adopt" { HETZNER_ADOPT.to_owned() } else { format!("{HETZNER_PREFIX}{key}") };
            self.desired.options.insert(key, value.to_owned());
        } else if let Some(default) = word.strip_prefix("class:") {
            self.set_class(default);
        } else if let Some((protocol @ ("tcp" | "udp"), rest)) = word.split_once('/') {
            let protocol = if protocol == "tcp" { Protocol::Tcp } else { Protocol::Udp };
            let (port, node_port) = rest.split_once(':').unwrap_or((rest, "30080"));
            let (port, node_port) = (port.parse().unwrap(), node_port.parse().ok());
            self.desired.frontends.push(Frontend { protocol, port, node_port });
        } else {
            self.set(word);
        }
    }

    fn set_class(&mut self, default: &str) {
        let parameters = &mut self.parameters;
        match default.split_once('=').unwrap() {
            ("network", value) => parameters.network_id = value.parse().ok(),
            ("selector", value) => parameters.server_selector = Some(value.replace(':', "=")),
            ("adoption", value) => parameters.allow_adoption = value == "yes",
            ("label", value) => {
                let (key, value) = value.split_once(':').unwrap();
                parameters.labels.insert(key.to_owned(), value.to_owned());
            }
            (key, "") => drop(parameters.defaults.remove(key)),
            (key, value) => drop(parameters.defaults.insert(key.to_owned(), value.to_owned())),
        }
    }

    fn set(&mut self, word: &str) {
        let desired = &mut self.desired;
        match word.split_once('=').unwrap() {
            ("nodes", list) => desired.targets = list.split(',').map(server).collect(),
            ("many", count) => {
                desired.targets =
                    (1..=count.parse::<u32>().unwrap()).map(|n| server(&n.to_string())).collect();
            }
            ("alien", id) => {
                desired.targets = vec![Target { provider_id: Some(id.to_owned()), ..server("9") }];
            }
            ("local", port) => {
                desired.traffic_policy = TrafficPolicy::Local;
                desired.health_check_node_port = port.parse().ok();
            }
            ("ranges", range) => desired.source_ranges = vec![range.parse().unwrap()],
            ("affinity", seconds) => desired.affinity_seconds = seconds.parse().ok(),
            ("address", address) => {
                desired.request = Request { addresses: vec![ip(address)], ..Request::default() };
            }
            (other, _) => panic!("{other} means nothing"),
        }
    }
}

fn server(number: &str) -> Target {
    Target { node: format!("n{number}"), provider_id: Some(format!("hcloud://{number}")), addresses: vec![] }
}

pub(crate) fn plan(wish: &Wish, wants: bool, observed: &Observed) -> Result<Plan<Action>, ProviderError> {
    static CLIENT: OnceLock<HetznerProvider> = OnceLock::new();
    let any = CLIENT.get_or_init(|| HetznerProvider::for_planning(&Wish::of("").parameters).unwrap());
    let owner = Owner { service: ObjectKey::new("shop", "web"), uid: "7c2f9a1e".into() };
    Provider::plan(
        &any.with_parameters(&wish.parameters),
        &owner,
        Some(&wish.desired).filter(|_| wants),
        observed,
    )
}

/// What there is after a step. What Hetzner would refuse panics.
pub(crate) fn after(before: &Observed, step: &Step<Action>) -> Observed {
    let mut observed = before.clone();
    let made = match &step.action {
        Action::Create { spec } => {
            assert!(before.balancers.is_empty(), "uniqueness_error");
            let (location, network_zone) = match &spec.place {
                Place::Location(name) => (name.clone(), "eu-central".to_owned()),
                Place::NetworkZone(name) => ("fsn1".to_owned(), name.clone()),
            };
            Some(Balancer {
                id: 1,
                name: spec.name.clone(),
                labels: spec.labels.clone(),
                load_balancer_type: spec.load_balancer_type.clone(),
                location,
                network_zone,
                algorithm: spec.algorithm,
                public_interface: spec.public_interface,
                addresses: vec![ip("203.0.113.1"), ip("2001:db8::1")],
                networks: spec
                    .network
                    .map(|id| Network { id, ip: Some(ip("10.0.0.2")) })
                    .into_iter()
                    .collect(),
                protected: false,
                services: spec.services.clone(),
                targets: spec.targets.clone(),
            })
        }
        Action::Adopt { labels, .. } => {
            let mut found = built(&Wish::of("tcp/22 tcp/80 @name=by-hand")).balancers.remove(0);
            found.labels = labels.clone();
            found.id = 5;
            observed.balancers.push(found);
            None
        }
        _ => None,
    };
    observed.take(&step.action, made);
    for network in observed.balancers.iter_mut().flat_map(|balancer| &mut balancer.networks) {
        network.ip = network.ip.or(Some(ip("10.0.0.2")));
    }
    observed.balancers.iter().for_each(check);
    observed
}

/// What must hold at any time.
fn check(balancer: &Balancer) {
    let (services, targets) = match balancer.load_balancer_type.as_str() {
        "lb11" => (5, 25),
        "lb21" => (15, 75),
        _ => (30, 150),
    };
    assert!(
        balancer.services.len() <= services && balancer.targets.len() <= targets,
        "resource_limit_exceeded"
    );
    let ports: BTreeSet<u16> = balancer.services.iter().map(|service| service.listen_port).collect();
    assert_eq!(ports.len(), balancer.services.len(), "source_port_already_used");
    let redirects = balancer.services.iter().any(|s| s.http.as_ref().is_some_and(|http| http.redirect_http));
    assert!(!redirects || !ports.contains(&80), "source_port_already_used");
    assert!(balancer.networks.len() < 2, "load_balancer_already_attached");
}

pub(crate) fn carried_out(plan: &Plan<Action>, before: &Observed) -> Observed {
    plan.steps.iter().fold(before.clone(), |observed, step| after(&observed, step))
}

/// Plans and carries out until nothing is left to do.
pub(crate) fn settled(wish: &Wish, before: &Observed) -> Result<Observed, ProviderError> {
    let mut observed = before.clone();
    for _ in 0..3 {
        let plan = plan(wish, true, &observed)?;
        if plan.is_empty() {
            return Ok(observed);
        }
        observed = carried_out(&plan, &observed);
    }
    panic!("it does not come to an end: {:?}", plan(wish, true, &observed));
}

pub(crate) fn built(wish: &Wish) -> Observed {
    settled(wish, &Observed::default()).unwrap()
}
