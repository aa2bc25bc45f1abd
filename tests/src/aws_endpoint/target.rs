//! Targets and their health.

use std::{net::IpAddr, time::Duration};

use serde_json::{Value, json};

use super::{
    answer::Outcome,
    failure::Failure,
    form::Form,
    store::Store,
    target_group::TargetGroup,
    world::{World, is_private},
};

/// Instance id or address, and port: one id may be registered with several ports.
pub type TargetKey = (String, u16);

/// A target that is registered, or was until shortly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `all`, or the zone of an address.
    pub zone: Option<String>,
    /// When, by the endpoint's clock.
    pub registered: Duration,
    /// Since when it drains.
    pub deregistered: Option<Duration>,
}

/// State, reason and description.
type Health = (&'static str, Option<&'static str>, Option<&'static str>);

const NOT_REGISTERED: Health =
    ("unused", Some("Target.NotRegistered"), Some("Target is not registered to the target group"));

struct Wanted {
    key: TargetKey,
    zone: Option<String>,
}

impl Store {
    pub(super) fn register_targets(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("TargetGroupArn")?;
        self.forget_drained(&arn)?;
        let group = self.target_group(&arn)?;
        let wanted = take(&mut form, group)?;
        form.finish()?;
        if wanted.len() > self.settings.limits.targets_per_call {
            return Err(Failure::validation(format!(
                "At most {} targets can be specified in a single call",
                self.settings.limits.targets_per_call
            )));
        }
        wanted.iter().try_for_each(|wanted| check(wanted, group, &self.world))?;
        let registered = |key: &TargetKey| group.targets.get(key).is_some_and(|t| t.deregistered.is_none());
        let held = group.targets.values().filter(|target| target.deregistered.is_none()).count();
        if held + wanted.iter().filter(|wanted| !registered(&wanted.key)).count()
            > self.settings.limits.targets
        {
            let message = format!("Target group '{arn}' has reached the limit of its targets");
            return Err(Failure::new("TooManyTargets", message));
        }
        let now = self.clock.now();
        let group = self.target_group_mut(&arn)?;
        for Wanted { key, zone } in wanted {
            let fresh = Target { zone, registered: now, deregistered: None };
            let target = group.targets.entry(key).or_insert_with(|| fresh.clone());
            if target.deregistered.is_some() {
                *target = fresh;
            }
        }
        Ok(json!({}))
    }

    /// What is not registered is no error, by the documentation of the call.
    pub(super) fn deregister_targets(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("TargetGroupArn")?;
        self.forget_drained(&arn)?;
        let wanted = take(&mut form, self.target_group(&arn)?)?;
        form.finish()?;
        let now = self.clock.now();
        let group = self.target_group_mut(&arn)?;
        let used = group.attached.is_some();
        for Wanted { key, .. } in wanted {
            match group.targets.get_mut(&key) {
                Some(target) if used => {
                    target.deregistered.get_or_insert(now);
                }
                _ => {
                    group.targets.remove(&key);
                }
            }
        }
        Ok(json!({}))
    }

    pub(super) fn describe_target_health(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("TargetGroupArn")?;
        self.forget_drained(&arn)?;
        let group = self.target_group(&arn)?;
        let keys: Vec<TargetKey> = match form.parameters().keys().any(|key| key.starts_with("Targets.")) {
            true => take(&mut form, group)?.into_iter().map(|wanted| wanted.key).collect(),
            false => group.targets.keys().cloned().collect(),
        };
        form.finish()?;
        let shown: Value = keys.iter().map(|key| self.shown_target(group, key)).collect();
        Ok(json!({"TargetHealthDescriptions": shown}))
    }

    fn shown_target(&self, group: &TargetGroup, key: &TargetKey) -> Value {
        let target = group.targets.get(key);
        let (state, reason, description) =
            target.map_or(NOT_REGISTERED, |target| self.health(group, &key.0, target));
        let check = match group.check.port.as_str() {
            "traffic-port" => key.1.to_string(),
            port => port.to_owned(),
        };
        json!({
            "Target": {"Id": key.0, "Port": key.1, "AvailabilityZone": target.and_then(|t| t.zone.clone())},
            "HealthCheckPort": check,
            "TargetHealth": {"State": state, "Reason": reason, "Description": description}
        })
    }

    fn health(&self, group: &TargetGroup, id: &str, target: &Target) -> Health {
        let since = |attached: Duration| self.clock.now().saturating_sub(attached.max(target.registered));
        match (target.deregistered, group.attached) {
            (Some(_), _) => (
                "draining",
                Some("Target.DeregistrationInProgress"),
                Some("Target deregistration is in progress"),
            ),
            (None, None) => (
                "unused",
                Some("Target.NotInUse"),
                Some("Target group is not configured to receive traffic from the load balancer"),
            ),
            (None, Some(attached)) if since(attached) < self.settings.to_healthy => {
                ("initial", Some("Elb.RegistrationInProgress"), Some("Target registration is in progress"))
            }
            _ if self.settings.unhealthy.contains(id) => {
                ("unhealthy", Some("Target.FailedHealthChecks"), Some("Health checks failed"))
            }
            _ => ("healthy", None, None),
        }
    }

    fn forget_drained(&mut self, arn: &str) -> Result<(), Failure> {
        let (now, draining) = (self.clock.now(), self.settings.draining);
        let group = self.target_group_mut(arn)?;
        let seconds = group.attribute("deregistration_delay.timeout_seconds").parse().unwrap_or_default();
        let delay = draining.unwrap_or(Duration::from_secs(seconds));
        group.targets.retain(|_, target| target.deregistered.is_none_or(|since| now < since + delay));
        Ok(())
    }
}

/// The parameter `Targets`.
fn take(form: &mut Form, group: &TargetGroup) -> Result<Vec<Wanted>, Failure> {
    let mut wanted = Vec::new();
    for mut member in form.structures("Targets").unwrap_or_default() {
        let id = member.required("Id")?;
        let port = member.number("Port", 1..=u16::MAX)?.unwrap_or(group.kind.port);
        let zone = member.take("AvailabilityZone");
        member.finish()?;
        wanted.push(Wanted { key: (id, port), zone });
    }
    if wanted.is_empty() {
        return Err(Failure::validation("At least one target must be specified"));
    }
    Ok(wanted)
}

fn check(wanted: &Wanted, group: &TargetGroup, world: &World) -> Result<(), Failure> {
    match group.kind.target_type.as_str() {
        "instance" => check_instance(wanted, world),
        _ => check_address(wanted, group, world),
    }
}

fn check_instance(wanted: &Wanted, world: &World) -> Result<(), Failure> {
    let id = &wanted.key.0;
    let hexadecimal = id.strip_prefix("i-").unwrap_or_default();
    let formed = [8, 17].contains(&hexadecimal.len()) && hexadecimal.bytes().all(|b| b.is_ascii_hexdigit());
    if !formed {
        return Err(Failure::validation(format!("Instance ID '{id}' is not valid")));
    }
    if wanted.zone.is_some() {
        return Err(Failure::validation("You cannot specify an Availability Zone for an instance"));
    }
    if world.instances.as_ref().is_some_and(|running| !running.contains(id)) {
        let message =
            format!("The following targets are not in a running state and cannot be registered: '{id}'");
        return Err(Failure::new("InvalidTarget", message));
    }
    Ok(())
}

fn check_address(wanted: &Wanted, group: &TargetGroup, world: &World) -> Result<(), Failure> {
    let id = &wanted.key.0;
    let ip: IpAddr = id
        .parse()
        .map_err(|_| Failure::validation(format!("The IP address '{id}' is not a valid address")))?;
    if ip.is_ipv6() != (group.kind.ip_address_type == "ipv6") {
        let kind = &group.kind.ip_address_type;
        return Err(Failure::validation(format!("The IP address '{id}' is not a valid {kind} address")));
    }
    let vpc = &group.kind.vpc;
    let inside = world.inside(vpc, ip);
    if !inside && !is_private(ip) {
        let message = format!("The IP address '{id}' must be within a CIDR block of '{vpc}' or private");
        return Err(Failure::new("InvalidTarget", message));
    }
    if !inside && wanted.zone.as_deref() != Some("all") {
        let message = format!("You must specify an Availability Zone 'all' for '{id}' outside '{vpc}'");
        return Err(Failure::validation(message));
    }
    if let Some(zone) =
        wanted.zone.as_ref().filter(|zone| *zone != "all" && !world.zones(vpc).contains(zone.as_str()))
    {
        return Err(Failure::validation(format!("Availability Zone '{zone}' is not valid")));
    }
    Ok(())
}
