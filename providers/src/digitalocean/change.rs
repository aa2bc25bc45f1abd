//! What differs between a balancer and what is wanted of it, in words.

use std::collections::BTreeMap;

use super::spec::{Rule, Spec};
use crate::Risk;

/// A difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) reason: String,
    pub(super) risk: Risk,
}

fn change(reason: impl Into<String>, risk: Risk) -> Change {
    Change { reason: reason.into(), risk }
}

/// `wanted` leaves nothing open.
pub(super) fn changes(has: &Spec, wanted: &Spec) -> Vec<Change> {
    let mut changes = rule_changes(&has.forwarding_rules, &wanted.forwarding_rules);
    let mut differ = |differs: bool, reason: &str, risk| {
        if differs {
            changes.push(change(reason, risk));
        }
    };
    differ(has.name != wanted.name, &format!("it is to be named {:?}", wanted.name), Risk::Safe);
    differ(has.size_unit != wanted.size_unit, "another size is asked for", Risk::Safe);
    differ(has.health_check != wanted.health_check, "the health check is another", Risk::Safe);
    let sticky = has.sticky_sessions != wanted.sticky_sessions;
    differ(sticky, "other sticky sessions are asked for", Risk::Disruptive);
    differ(has.firewall != wanted.firewall, "others may connect than before", Risk::Disruptive);
    let redirect = has.redirect_http_to_https != wanted.redirect_http_to_https;
    differ(
        redirect,
        on_off(wanted.redirect_http_to_https, "HTTP redirected to HTTPS").as_str(),
        Risk::Disruptive,
    );
    // Endpoints must learn to read what comes before the first byte, or to do without it.
    let proxy = has.enable_proxy_protocol != wanted.enable_proxy_protocol;
    differ(proxy, on_off(wanted.enable_proxy_protocol, "the PROXY protocol").as_str(), Risk::Disruptive);
    let keepalive = has.enable_backend_keepalive != wanted.enable_backend_keepalive;
    differ(keepalive, "connections to Droplets are to be kept otherwise", Risk::Safe);
    let idle = has.http_idle_timeout_seconds != wanted.http_idle_timeout_seconds;
    differ(idle, "another idle time-out is asked for", Risk::Safe);
    changes
}

fn on_off(on: bool, what: &str) -> String {
    if on { format!("{what} is asked for") } else { format!("{what} is not asked for any longer") }
}

/// By port; the number may be there for TCP and for UDP.
fn rule_changes(has: &[Rule], wanted: &[Rule]) -> Vec<Change> {
    let by_port = |rules: &[Rule]| -> BTreeMap<(u16, bool), Rule> {
        rules.iter().map(|rule| ((rule.entry_port, rule.entry_protocol == "udp"), rule.clone())).collect()
    };
    let (has, wanted) = (by_port(has), by_port(wanted));
    let mut changes = Vec::new();
    for (key, rule) in &wanted {
        let Rule { entry_port, entry_protocol, .. } = rule;
        match has.get(key) {
            None => changes.push(change(format!("port {entry_port} ({entry_protocol}) is new"), Risk::Safe)),
            Some(before) if before != rule => changes.push(differs(before, rule)),
            Some(_) => {}
        }
    }
    for rule in has.iter().filter(|(key, _)| !wanted.contains_key(key)).map(|(_, rule)| rule) {
        let reason = format!("port {} ({}) is no longer asked for", rule.entry_port, rule.entry_protocol);
        changes.push(change(reason, Risk::Disruptive));
    }
    changes
}

fn differs(before: &Rule, rule: &Rule) -> Change {
    let port = rule.entry_port;
    let renewed = Rule { certificate_id: rule.certificate_id.clone(), ..before.clone() };
    if renewed == *rule && before.certificate_id.is_some() && rule.certificate_id.is_some() {
        return change(format!("port {port} gets another certificate"), Risk::Safe);
    }
    let reason = if before.target_port == rule.target_port {
        format!("port {port} is to speak {} instead of {}", spoken(rule), spoken(before))
    } else {
        format!("port {port} leads to NodePort {} instead of {}", rule.target_port, before.target_port)
    };
    change(reason, Risk::Disruptive)
}

fn spoken(rule: &Rule) -> String {
    let by = if rule.tls_passthrough { " passed on" } else { "" };
    format!("{}{by}", rule.entry_protocol)
}
