//! Attributes of load balancers, target groups and listeners: which there are, what they are by default, and what
//! they may be. Those of application and gateway load balancers are refused.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{failure::Failure, form::Form};

/// What was set; anything else is as by default.
pub type Attributes = BTreeMap<String, String>;

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Flag,
    Number(u32, u32),
    /// A number, or `off`.
    NumberOrOff(u32, u32),
    OneOf(&'static [&'static str]),
    Text,
}

impl Kind {
    fn allows(self, value: &str) -> bool {
        let within = |low, high| value.parse::<u32>().is_ok_and(|number| (low..=high).contains(&number));
        match self {
            Self::Flag => value == "true" || value == "false",
            Self::Number(low, high) => within(low, high),
            Self::NumberOrOff(low, high) => value == "off" || within(low, high),
            Self::OneOf(words) => words.contains(&value),
            Self::Text => true,
        }
    }
}

/// An attribute: its key, its default and what it may be.
pub(super) type Known = (&'static str, &'static str, Kind);

/// Of a network load balancer.
pub(super) fn of_load_balancer(internal: bool) -> Vec<Known> {
    let deny = if internal { "true" } else { "false" };
    let routing =
        &["any_availability_zone", "availability_zone_affinity", "partial_availability_zone_affinity"];
    vec![
        ("access_logs.s3.bucket", "", Kind::Text),
        ("access_logs.s3.enabled", "false", Kind::Flag),
        ("access_logs.s3.prefix", "", Kind::Text),
        ("deletion_protection.enabled", "false", Kind::Flag),
        ("dns_record.client_routing_policy", "any_availability_zone", Kind::OneOf(routing)),
        ("ipv6.deny_all_igw_traffic", deny, Kind::Flag),
        ("load_balancing.cross_zone.enabled", "false", Kind::Flag),
        ("secondary_ips.auto_assigned.per_subnet", "0", Kind::Number(0, 7)),
        ("zonal_shift.config.enabled", "false", Kind::Flag),
    ]
}

/// Of a target group of a network load balancer.
pub(super) fn of_target_group(protocol: &str, target_type: &str) -> Vec<Known> {
    let datagrams = matches!(protocol, "UDP" | "TCP_UDP");
    let flag = |yes: bool| if yes { "true" } else { "false" };
    let cross_zone = &["true", "false", "use_load_balancer_configuration"];
    vec![
        ("deregistration_delay.connection_termination.enabled", flag(datagrams), Kind::Flag),
        ("deregistration_delay.timeout_seconds", "300", Kind::Number(0, 3600)),
        ("load_balancing.cross_zone.enabled", "use_load_balancer_configuration", Kind::OneOf(cross_zone)),
        ("preserve_client_ip.enabled", flag(datagrams || target_type != "ip"), Kind::Flag),
        ("proxy_protocol_v2.enabled", "false", Kind::Flag),
        ("stickiness.enabled", "false", Kind::Flag),
        ("stickiness.type", "source_ip", Kind::OneOf(&["source_ip"])),
        ("target_group_health.dns_failover.minimum_healthy_targets.count", "1", Kind::NumberOrOff(1, 1000)),
        (
            "target_group_health.dns_failover.minimum_healthy_targets.percentage",
            "off",
            Kind::NumberOrOff(1, 100),
        ),
        (
            "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
            "1",
            Kind::Number(1, 1000),
        ),
        (
            "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
            "off",
            Kind::NumberOrOff(1, 100),
        ),
        ("target_health_state.unhealthy.connection_termination.enabled", flag(!datagrams), Kind::Flag),
        ("target_health_state.unhealthy.draining_interval_seconds", "0", Kind::Number(0, 360_000)),
    ]
}

/// Of a listener: those of UDP and TLS have none.
pub(super) fn of_listener(protocol: &str) -> Vec<Known> {
    match protocol {
        "TCP" | "TCP_UDP" => vec![("tcp.idle_timeout.seconds", "350", Kind::Number(60, 6000))],
        _ => Vec::new(),
    }
}

/// The parameter `Attributes` of a modifying call.
pub(super) fn take(form: &mut Form) -> Result<Attributes, Failure> {
    let mut attributes = Attributes::new();
    for mut member in form.structures("Attributes").unwrap_or_default() {
        let (key, value) = (member.required("Key")?, member.take("Value").unwrap_or_default());
        member.finish()?;
        if attributes.insert(key.clone(), value).is_some() {
            return Err(Failure::validation(format!("The attribute '{key}' was specified twice")));
        }
    }
    match attributes.len() {
        0 => Err(Failure::validation("At least one attribute must be specified")),
        21.. => Err(Failure::validation("At most 20 attributes can be specified in a single call")),
        _ => Ok(attributes),
    }
}

/// Refuses keys that there are not, and values that they may not have.
pub(super) fn check(kind: &str, known: &[Known], wanted: &Attributes) -> Result<(), Failure> {
    for (key, value) in wanted {
        let Some((_, _, allowed)) = known.iter().find(|(name, ..)| name == key) else {
            return Err(Failure::validation(format!("{kind} attribute key '{key}' is not recognized")));
        };
        if !allowed.allows(value) {
            return Err(Failure::validation(format!("'{key}' value '{value}' is not valid")));
        }
    }
    Ok(())
}

/// What is set and what is by default.
pub(super) fn merged(known: &[Known], set: &Attributes) -> Attributes {
    let value = |key: &str, default: &str| set.get(key).map_or(default, String::as_str).to_owned();
    known.iter().map(|(key, default, _)| ((*key).to_owned(), value(key, default))).collect()
}

/// As answers have them.
pub(super) fn shown(attributes: &Attributes) -> Value {
    let list: Value = attributes.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    json!({"Attributes": list})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_what_is_allowed() {
        let all = [of_load_balancer(true), of_target_group("UDP", "ip"), of_listener("TCP")].concat();
        for (key, default, kind) in all {
            assert!(kind.allows(default), "{key}");
        }
    }

    #[test]
    fn unknown_keys_and_wrong_values_are_refused() {
        let of = |key: &str, value: &str| {
            let wanted = Attributes::from([(key.to_owned(), value.to_owned())]);
            check("Target group", &of_target_group("TCP", "instance"), &wanted).is_ok()
        };
        assert!(of("proxy_protocol_v2.enabled", "true"));
        assert!(!of("proxy_protocol_v2.enabled", "yes"));
        assert!(!of("deregistration_delay.timeout_seconds", "3601"));
        assert!(!of("slow_start.duration_seconds", "30"));
    }
}
