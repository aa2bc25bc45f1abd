//! Target groups.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    answer::Outcome,
    attributes::{self, Attributes},
    failure::Failure,
    form::Form,
    health_check::HealthCheck,
    name,
    page::{Page, take_names},
    store::Store,
    tags::{self, Tags},
    target::{Target, TargetKey},
};

/// What cannot be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `TCP`, `TLS`, `UDP` or `TCP_UDP`.
    pub protocol: String,
    /// Where targets are reached that say no other.
    pub port: u16,
    /// Where the targets are.
    pub vpc: String,
    /// `instance` or `ip`.
    pub target_type: String,
    /// `ipv4` or `ipv6`.
    pub ip_address_type: String,
}

/// A target group.
#[derive(Clone, Debug)]
pub struct TargetGroup {
    /// At most 32 characters.
    pub name: String,
    /// See there.
    pub kind: Kind,
    /// See there.
    pub check: HealthCheck,
    /// Its tags.
    pub tags: Tags,
    /// Those that were set.
    pub attributes: Attributes,
    /// Those that are registered or draining.
    pub targets: BTreeMap<TargetKey, Target>,
    /// When, by the endpoint's clock.
    pub created: Duration,
    /// Since when a listener refers to it.
    pub attached: Option<Duration>,
    /// When the last listener ceased to.
    pub(super) released: Option<Duration>,
}

impl TargetGroup {
    /// The value of an attribute, set or by default.
    #[must_use]
    pub fn attribute(&self, key: &str) -> String {
        attributes::merged(&self.known(), &self.attributes).remove(key).unwrap_or_default()
    }

    fn known(&self) -> Vec<attributes::Known> {
        attributes::of_target_group(&self.kind.protocol, &self.kind.target_type)
    }
}

impl Store {
    pub(super) fn create_target_group(&mut self, mut form: Form) -> Outcome {
        let name = form.required("Name")?;
        name::check_target_group(&name)?;
        let kind = self.take_kind(&mut form)?;
        let check = HealthCheck::take(&mut form, None)?;
        let tags = tags::take(&mut form)?;
        form.finish()?;
        tags::check_count(&tags, self.settings.limits.tags)?;
        if let Some((arn, held)) = self.target_groups.iter().find(|(_, held)| held.name == name) {
            return match held.kind == kind && held.check == check {
                true => Ok(json!({"TargetGroups": [self.shown_target_group(arn, held)]})),
                false => Err(Failure::new(
                    "DuplicateTargetGroupName",
                    format!("A target group with the same name '{name}' exists, but with different settings"),
                )),
            };
        }
        if self.target_groups.len() >= self.settings.limits.target_groups {
            return Err(Failure::new(
                "TooManyTargetGroups",
                "The maximum number of target groups has been reached",
            ));
        }
        let (arn, created) = (name::target_group_arn(&name, self.next_serial()), self.clock.now());
        let (attributes, targets) = (Attributes::new(), BTreeMap::new());
        let (attached, released) = (None, None);
        let made = TargetGroup { name, kind, check, tags, attributes, targets, created, attached, released };
        let shown = self.shown_target_group(&arn, &made);
        self.target_groups.insert(arn, made);
        Ok(json!({"TargetGroups": [shown]}))
    }

    fn take_kind(&self, form: &mut Form) -> Result<Kind, Failure> {
        let target_type = form.word("TargetType", &["instance", "ip", "lambda", "alb"])?;
        let target_type = target_type.unwrap_or("instance".to_owned());
        if target_type == "lambda" || target_type == "alb" {
            return Err(Failure::validation("This endpoint has only the target types instance and ip"));
        }
        let protocols = ["TCP", "TLS", "UDP", "TCP_UDP", "HTTP", "HTTPS", "GENEVE"];
        let protocol = form.word("Protocol", &protocols)?;
        let protocol = protocol.ok_or_else(|| Failure::validation("A protocol must be specified"))?;
        if protocols[4..].contains(&protocol.as_str()) {
            return Err(Failure::validation("This endpoint has only protocols of network load balancers"));
        }
        let port = form.number("Port", 1..=u16::MAX)?;
        let port = port.ok_or_else(|| Failure::validation("A port must be specified"))?;
        let vpc = form.take("VpcId").ok_or_else(|| Failure::validation("A VPC ID must be specified"))?;
        if !self.world.has_vpc(&vpc) {
            return Err(Failure::validation(format!("The VPC ID '{vpc}' is not found")));
        }
        let ip_address_type = form.word("IpAddressType", &["ipv4", "ipv6"])?.unwrap_or("ipv4".to_owned());
        Ok(Kind { protocol, port, vpc, target_type, ip_address_type })
    }

    pub(super) fn describe_target_groups(&self, mut form: Form) -> Outcome {
        let balancer = form.take("LoadBalancerArn");
        let names = take_names(&mut form, "Names")?;
        let arns = take_names(&mut form, "TargetGroupArns")?;
        let page = Page::take(&mut form, self.settings.limits.page)?;
        form.finish()?;
        let filters = [balancer.is_some(), !names.is_empty(), !arns.is_empty()];
        if filters.into_iter().filter(|given| *given).count() > 1 {
            let message = "Only one of load balancer ARN, target group names and ARNs can be specified";
            return Err(Failure::validation(message));
        }
        if let Some(arn) = &balancer {
            self.load_balancer(arn)?;
        }
        let visible = || self.target_groups.iter().filter(|(_, held)| self.is_visible(held.created));
        if let Some(name) = names.iter().find(|name| !visible().any(|(_, held)| held.name == **name)) {
            return Err(absent(name));
        }
        if let Some(arn) = arns.iter().find(|wanted| !visible().any(|(arn, _)| arn == *wanted)) {
            name::check_arn("targetgroup", arn)?;
            return Err(absent(arn));
        }
        let users = self.users();
        let wanted = visible().filter(|(arn, held)| match &balancer {
            Some(balancer) => users.get(arn.as_str()).is_some_and(|users| users.contains(balancer.as_str())),
            None if names.is_empty() && arns.is_empty() => true,
            None => names.contains(&held.name) || arns.contains(arn),
        });
        let (page, next) = page.of(wanted.map(|(arn, held)| (arn.as_str(), (arn, held))));
        let shown = page.into_iter().map(|(arn, held)| shown(arn, held, users.get(arn.as_str())));
        Ok(json!({"TargetGroups": shown.collect::<Value>(), "NextMarker": next}))
    }

    pub(super) fn modify_target_group(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("TargetGroupArn")?;
        let check = HealthCheck::take(&mut form, Some(&self.target_group(&arn)?.check))?;
        form.finish()?;
        self.target_group_mut(&arn)?.check = check;
        Ok(json!({"TargetGroups": [self.shown_target_group(&arn, self.target_group(&arn)?)]}))
    }

    pub(super) fn delete_target_group(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("TargetGroupArn")?;
        form.finish()?;
        name::check_arn("targetgroup", &arn)?;
        let (now, lag) = (self.clock.now(), self.settings.in_use_lag);
        let in_use = |held: &TargetGroup| {
            held.attached.is_some() || held.released.is_some_and(|released| now < released + lag)
        };
        if self.target_groups.get(&arn).is_some_and(in_use) {
            let message = format!("Target group '{arn}' is currently in use by a listener or a rule");
            return Err(Failure::new("ResourceInUse", message));
        }
        // The call's documentation has no error for one that is not there.
        self.target_groups.remove(&arn);
        Ok(json!({}))
    }

    pub(super) fn describe_target_group_attributes(&self, mut form: Form) -> Outcome {
        let arn = form.required("TargetGroupArn")?;
        form.finish()?;
        let held = self.target_group(&arn)?;
        Ok(attributes::shown(&attributes::merged(&held.known(), &held.attributes)))
    }

    pub(super) fn modify_target_group_attributes(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("TargetGroupArn")?;
        let wanted = attributes::take(&mut form)?;
        form.finish()?;
        let held = self.target_group_mut(&arn)?;
        let known = held.known();
        attributes::check("Target group", &known, &wanted)?;
        let mut set = held.attributes.clone();
        set.extend(wanted);
        let merged = attributes::merged(&known, &set);
        check_attributes(&held.kind.protocol, &merged)?;
        held.attributes = set;
        Ok(attributes::shown(&merged))
    }

    pub(super) fn target_group(&self, arn: &str) -> Result<&TargetGroup, Failure> {
        name::check_arn("targetgroup", arn)?;
        self.target_groups.get(arn).ok_or_else(|| absent(arn))
    }

    pub(super) fn target_group_mut(&mut self, arn: &str) -> Result<&mut TargetGroup, Failure> {
        name::check_arn("targetgroup", arn)?;
        self.target_groups.get_mut(arn).ok_or_else(|| absent(arn))
    }

    fn shown_target_group(&self, arn: &str, held: &TargetGroup) -> Value {
        shown(arn, held, self.users().get(arn))
    }
}

fn check_attributes(protocol: &str, merged: &Attributes) -> Result<(), Failure> {
    let on = |key: &str| merged.get(key).is_some_and(|value| value == "true");
    let datagrams = matches!(protocol, "UDP" | "TCP_UDP");
    let fault = if datagrams && !on("preserve_client_ip.enabled") {
        "Client IP preservation cannot be disabled"
    } else if datagrams && on("target_health_state.unhealthy.connection_termination.enabled") {
        "Termination of connections to unhealthy targets cannot be enabled"
    } else if protocol == "TLS" && on("stickiness.enabled") {
        "You cannot enable stickiness"
    } else {
        return Ok(());
    };
    Err(Failure::configuration(format!("{fault} on target groups with the {protocol} protocol")))
}

fn shown(arn: &str, held: &TargetGroup, users: Option<&std::collections::BTreeSet<&str>>) -> Value {
    let (kind, check) = (&held.kind, &held.check);
    json!({
        "TargetGroupArn": arn, "TargetGroupName": held.name, "Protocol": kind.protocol, "Port": kind.port,
        "VpcId": kind.vpc, "TargetType": kind.target_type, "IpAddressType": kind.ip_address_type,
        "HealthCheckProtocol": check.protocol, "HealthCheckPort": check.port, "HealthCheckEnabled": true,
        "HealthCheckIntervalSeconds": check.interval, "HealthCheckTimeoutSeconds": check.timeout,
        "HealthyThresholdCount": check.healthy, "UnhealthyThresholdCount": check.unhealthy,
        "HealthCheckPath": check.path, "Matcher": check.matcher.as_ref().map(|codes| json!({"HttpCode": codes})),
        "LoadBalancerArns": users.cloned().unwrap_or_default()
    })
}

fn absent(which: &str) -> Failure {
    Failure::new("TargetGroupNotFound", format!("Target groups '{which}' not found"))
}
