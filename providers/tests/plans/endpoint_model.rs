//! A model of an endpoint that keeps the contract, and wishes in few words.

use std::net::IpAddr;

use penstock_crds::WebhookParameters;
use penstock_model::{Family, ObjectKey, Protocol};
use penstock_providers::{
    Desired, FamilyNeed, Frontend, IpMode, Owner, Plan, Provider, ProviderError, Target,
    webhook::{Action, Balancer, BalancerOwner, BalancerStatus, Observed, State, WebhookProvider},
};

pub(crate) fn provider() -> WebhookProvider {
    let parameters = WebhookParameters { url: "http://lb.example".into(), token_secret: None };
    WebhookProvider::new(&parameters, None).unwrap()
}

pub(crate) fn owner() -> Owner {
    Owner { service: ObjectKey::new("shop", "web"), uid: "u-1".into() }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn port(protocol: Protocol, port: u16, node_port: u16) -> Frontend {
    Frontend { protocol, port, node_port: Some(node_port) }
}

pub(crate) fn node(name: &str) -> Target {
    Target { node: name.into(), provider_id: None, addresses: vec![ip("198.51.100.1")] }
}

pub(crate) fn desired() -> Desired {
    Desired {
        families: vec![FamilyNeed { family: Family::IPv4, required: true }],
        frontends: vec![port(Protocol::Tcp, 80, 30080), port(Protocol::Tcp, 443, 30443)],
        targets: vec![node("a"), node("b")],
        ..Desired::default()
    }
}

/// What an endpoint that keeps the contract has after the step: a model of it.
pub(crate) fn after(before: &Observed, action: &Action) -> Observed {
    let (spec, targets) = match (action, &before.balancer) {
        (Action::Delete, _) => return Observed::default(),
        (Action::Create { spec, targets }, _) => (spec.clone(), targets.clone()),
        (Action::Update { spec }, Some(held)) => (spec.clone(), held.targets.clone()),
        (Action::SetTargets { targets }, Some(held)) => (held.spec.clone(), targets.clone()),
        (_, None) => panic!("{action:?} of nothing"),
    };
    let held = before.balancer.as_ref().map(|b| b.status.addresses.clone()).unwrap_or_default();
    let address = |family: Family| {
        let of = |list: &[IpAddr]| list.iter().copied().find(|ip| Family::of(*ip) == family);
        let fresh = if family == Family::IPv4 { ip("203.0.113.1") } else { ip("2001:db8::1") };
        of(&spec.requested_addresses).or_else(|| of(&held)).unwrap_or(fresh)
    };
    let status = BalancerStatus {
        state: State::Active,
        message: String::new(),
        addresses: spec.families.iter().map(|need| address(need.family)).collect(),
        hostname: None,
        ip_mode: IpMode::Vip,
        resources: Vec::new(),
        retry_after_seconds: None,
    };
    Observed { balancer: Some(Balancer { owner: BalancerOwner::from(&owner()), spec, targets, status }) }
}

pub(crate) fn plan(wanted: Option<&Desired>, observed: &Observed) -> Result<Plan<Action>, ProviderError> {
    Provider::plan(&provider(), &owner(), wanted, observed)
}

pub(crate) fn carried_out(plan: &Plan<Action>, before: &Observed) -> Observed {
    plan.steps.iter().fold(before.clone(), |observed, step| after(&observed, &step.action))
}

pub(crate) fn built(wanted: &Desired) -> Observed {
    carried_out(&plan(Some(wanted), &Observed::default()).unwrap(), &Observed::default())
}
