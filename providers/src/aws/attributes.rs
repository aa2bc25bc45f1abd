//! Attributes of balancers, target groups and listeners: what AWS has where nothing is said, and what differs.

use super::reading::Pairs;

pub(super) const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
pub(super) const DELETION_PROTECTION: &str = "deletion_protection.enabled";
pub(super) const ACCESS_LOGS: &str = "access_logs.s3.enabled";
pub(super) const ACCESS_LOGS_BUCKET: &str = "access_logs.s3.bucket";
pub(super) const ACCESS_LOGS_PREFIX: &str = "access_logs.s3.prefix";
pub(super) const PROXY_PROTOCOL: &str = "proxy_protocol_v2.enabled";
pub(super) const PRESERVE_CLIENT_IP: &str = "preserve_client_ip.enabled";
pub(super) const STICKINESS: &str = "stickiness.enabled";
pub(super) const STICKINESS_TYPE: &str = "stickiness.type";
/// The only kind that network load balancers have.
pub(super) const SOURCE_IP: &str = "source_ip";

/// What a fresh balancer has. An attribute that was asked for and no longer is goes back to it. Deletion protection is
/// not among them: whoever switched it on by hand wants it.
const BALANCER: [(&str, &str); 4] = [
    (CROSS_ZONE, "false"),
    (ACCESS_LOGS, "false"),
    ("dns_record.client_routing_policy", "any_availability_zone"),
    ("zonal_shift.config.enabled", "false"),
];

/// What a fresh target group has, whatever its protocol.
const GROUP: [(&str, &str); 4] = [
    (PROXY_PROTOCOL, "false"),
    (STICKINESS, "false"),
    ("deregistration_delay.timeout_seconds", "300"),
    ("load_balancing.cross_zone.enabled", "use_load_balancer_configuration"),
];

const LISTENER: [(&str, &str); 1] = [("tcp.idle_timeout.seconds", "350")];

/// Of what the attributes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    Balancer,
    /// Whether clients' addresses are kept where nothing is said.
    Group {
        keeps_client_ip: bool,
    },
    Listener,
}

impl Holder {
    /// What AWS has where nothing is said; `None` where that is not known.
    fn default_of(self, key: &str) -> Option<&'static str> {
        let table: &[(&str, &str)] = match self {
            Self::Group { keeps_client_ip } if key == PRESERVE_CLIENT_IP => {
                return Some(if keeps_client_ip { "true" } else { "false" });
            }
            Self::Balancer if key == DELETION_PROTECTION => return Some("false"),
            Self::Balancer => &BALANCER,
            Self::Group { .. } => &GROUP,
            Self::Listener => &LISTENER,
        };
        table.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// What has to be said so that all is as wanted; `has` may leave out what is as by default.
    pub(super) fn difference(self, wanted: &Pairs, has: &Pairs) -> Pairs {
        let has_now = |key: &str| has.get(key).map(String::as_str).or_else(|| self.default_of(key));
        let asked = wanted.iter().filter(|(key, value)| has_now(key) != Some(value.as_str()));
        let asked = asked.map(|(key, value)| (key.clone(), value.clone()));
        let reset = has.iter().filter(|(key, _)| !wanted.contains_key(*key) && *key != DELETION_PROTECTION);
        let reset = reset.filter_map(|(key, value)| {
            let default = self.default_of(key).filter(|default| default != value)?;
            Some((key.clone(), default.to_owned()))
        });
        asked.chain(reset).collect()
    }
}

/// `a=b, c=d`
pub(super) fn listed(pairs: &Pairs) -> String {
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Pairs {
        let items = text.split(' ').filter_map(|item| item.split_once('='));
        items.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn only_what_differs_is_said_and_what_is_no_longer_asked_for_goes_back() {
        let group = Holder::Group { keeps_client_ip: true };
        for (holder, wanted, has, said) in [
            (Holder::Balancer, "", "", ""),
            (Holder::Balancer, "load_balancing.cross_zone.enabled=false", "", ""),
            (
                Holder::Balancer,
                "load_balancing.cross_zone.enabled=true",
                "",
                "load_balancing.cross_zone.enabled=true",
            ),
            (
                Holder::Balancer,
                "",
                "load_balancing.cross_zone.enabled=true",
                "load_balancing.cross_zone.enabled=false",
            ),
            (Holder::Balancer, "", "deletion_protection.enabled=true", ""),
            (
                Holder::Balancer,
                "deletion_protection.enabled=false",
                "deletion_protection.enabled=true",
                "deletion_protection.enabled=false",
            ),
            (Holder::Balancer, "", "new.attribute=7", ""),
            (Holder::Balancer, "new.attribute=8", "new.attribute=7", "new.attribute=8"),
            (group, "preserve_client_ip.enabled=true", "", ""),
            (group, "", "preserve_client_ip.enabled=false", "preserve_client_ip.enabled=true"),
            (group, "", "stickiness.type=source_ip stickiness.enabled=true", "stickiness.enabled=false"),
            (Holder::Listener, "", "tcp.idle_timeout.seconds=60", "tcp.idle_timeout.seconds=350"),
        ] {
            assert_eq!(holder.difference(&pairs(wanted), &pairs(has)), pairs(said), "{wanted} {has}");
        }
    }
}
