//! AWS as a model: what a step makes of what exists, by the provider's own account of it and with identities made up.

use std::sync::OnceLock;

use penstock_crds::AwsParameters;
use penstock_model::ObjectKey;
use penstock_providers::{
    Desired, Owner, Plan, Provider, ProviderError, Step,
    aws::{Action, AwsProvider, Balancer, Made, Observed},
};

use crate::aws_wish::Wish;

pub(crate) fn owner() -> Owner {
    Owner { service: ObjectKey::new("shop", "web"), uid: "7c2f9a1e".into() }
}

pub(crate) fn plan(
    parameters: &AwsParameters,
    desired: Option<&Desired>,
    observed: &Observed,
) -> Result<Plan<Action>, ProviderError> {
    static CLIENT: OnceLock<AwsProvider> = OnceLock::new();
    let any = CLIENT.get_or_init(|| AwsProvider::for_planning(parameters));
    Provider::plan(&any.with_parameters(parameters), &owner(), desired, observed)
}

/// What AWS answers to a step.
pub(crate) fn made(action: &Action, parameters: &AwsParameters) -> Made {
    let arn = |what: &str, name: &str| format!("arn:aws:elasticloadbalancing:eu-central-1:1:{what}/{name}/0");
    let vpc_id = parameters.vpc_id.clone();
    match action {
        Action::CreateTargetGroup { spec } => {
            Made { arn: arn("targetgroup", &spec.name), vpc_id, ..Made::default() }
        }
        Action::CreateLoadBalancer { spec } => {
            let dns_name = format!("{}.elb.example", spec.name);
            Made { arn: arn("loadbalancer/net", &spec.name), dns_name, vpc_id, ..Made::default() }
        }
        Action::ImportCertificate { arn: None, .. } => {
            Made { arn: "arn:aws:acm:eu-central-1:1:certificate/imported".into(), ..Made::default() }
        }
        Action::CreateListener { balancer, spec } => {
            Made { arn: arn("listener/net", &format!("{balancer}/{}", spec.port)), ..Made::default() }
        }
        _ => Made::default(),
    }
}

/// What there is after a step. What AWS would refuse panics.
pub(crate) fn after(before: &Observed, step: &Step<Action>, parameters: &AwsParameters) -> Observed {
    let mut observed = before.clone();
    check(&observed, &step.action);
    if let Action::Adopt { arn, tags } = &step.action {
        observed.balancers.push(found(arn, tags, parameters));
    }
    observed.take(&step.action, made(&step.action, parameters));
    observed
}

/// A balancer that somebody made by hand, after it got our tags.
fn found(arn: &str, tags: &penstock_providers::aws::Pairs, parameters: &AwsParameters) -> Balancer {
    let wish = Wish::of("tcp/80 @name=by-hand @scheme=internet-facing");
    let mut balancer = built(&wish).balancers.remove(0);
    arn.clone_into(&mut balancer.arn);
    balancer.spec.tags = tags.clone();
    balancer.vpc_id.clone_from(&parameters.vpc_id);
    balancer.listeners[0].spec.group = "by-hand".into();
    balancer
}

/// The order that AWS insists on.
fn check(observed: &Observed, action: &Action) {
    let group = |name: &str| observed.groups.iter().any(|g| g.spec.name == name);
    let balancer = |name: &str| observed.balancers.iter().any(|b| b.spec.name == name);
    let used = |name: &str| {
        observed.balancers.iter().flat_map(|b| &b.listeners).any(|listener| listener.spec.group == name)
    };
    let listener = |name: &str, port: u16| {
        let of = observed.balancers.iter().filter(|b| b.spec.name == name).flat_map(|b| &b.listeners);
        of.clone().any(|l| l.spec.port == port)
    };
    let stands = |name: &String| name != "imported" || !observed.certificates.is_empty();
    let held = |arn: &str| observed.certificates.iter().any(|certificate| certificate.arn == arn);
    match action {
        Action::ImportCertificate { arn: Some(arn), tags, .. } => {
            assert!(held(arn) && tags.is_empty(), "{action:?}");
        }
        Action::DeleteCertificate { arn } => {
            let mut listeners = observed.balancers.iter().flat_map(|b| &b.listeners);
            assert!(
                held(arn) && !listeners.any(|l| l.spec.certificates.contains(arn)),
                "ResourceInUseException"
            );
        }
        Action::CreateTargetGroup { spec } => assert!(!group(&spec.name), "DuplicateTargetGroupName"),
        Action::CreateLoadBalancer { spec } => assert!(!balancer(&spec.name), "DuplicateLoadBalancerName"),
        Action::CreateListener { balancer: name, spec } => {
            assert!(balancer(name) && group(&spec.group) && !listener(name, spec.port), "{action:?}");
            assert!(!used(&spec.group), "TargetGroupAssociationLimit");
            assert!(spec.certificates.iter().all(stands), "CertificateNotFound");
        }
        Action::ModifyListener { balancer: name, spec } => {
            assert!(listener(name, spec.port) && group(&spec.group), "{action:?}");
            assert!(spec.certificates.iter().all(stands), "CertificateNotFound");
        }
        Action::DeleteTargetGroup { group: name } => assert!(group(name) && !used(name), "ResourceInUse"),
        Action::DeleteLoadBalancer { balancer: name } => assert!(balancer(name), "{action:?}"),
        Action::Register { group: name, targets } | Action::Deregister { group: name, targets } => {
            assert!(group(name) && (1..=200).contains(&targets.len()), "{action:?}");
        }
        _ => {}
    }
}

pub(crate) fn carried_out(plan: &Plan<Action>, before: &Observed, parameters: &AwsParameters) -> Observed {
    plan.steps.iter().fold(before.clone(), |observed, step| after(&observed, step, parameters))
}

/// Plans and carries out until nothing is left to do.
pub(crate) fn settled(wish: &Wish, before: &Observed) -> Result<Observed, ProviderError> {
    let mut observed = before.clone();
    for _ in 0..3 {
        let plan = plan(&wish.parameters, Some(&wish.desired), &observed)?;
        if plan.is_empty() {
            return Ok(observed);
        }
        observed = carried_out(&plan, &observed, &wish.parameters);
    }
    panic!("it does not come to an end: {:?}", plan(&wish.parameters, Some(&wish.desired), &observed));
}

pub(crate) fn built(wish: &Wish) -> Observed {
    settled(wish, &Observed::default()).unwrap()
}
