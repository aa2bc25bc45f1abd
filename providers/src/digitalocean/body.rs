//! The API's JSON, read and written. An update replaces the whole object, so that what is read is kept as it came: what
//! Penstock does not know is sent back as it is.

use std::{collections::BTreeSet, net::IpAddr};

use penstock_crds::DigitalOceanParameters;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    observed::{Balancer, KnownCertificate, State},
    spec::{Droplets, Firewall, HealthCheck, Rule, Spec, StickySessions},
};
use crate::ProviderError;

/// What the API tells and nobody sets, or what only the creation takes.
const NOT_SENT: [&str; 9] =
    ["id", "ip", "ipv6", "status", "created_at", "region", "droplet_ids", "tag", "tags"];

/// A balancer as the API tells it: fields may be missing or null.
#[derive(Deserialize)]
struct Said {
    id: String,
    name: String,
    ip: Option<String>,
    status: String,
    region: Option<Region>,
    tag: Option<String>,
    droplet_ids: Option<BTreeSet<u64>>,
    vpc_uuid: Option<String>,
    #[serde(default)]
    created_at: String,
    size_unit: Option<u16>,
    forwarding_rules: Option<Vec<SaidRule>>,
    health_check: Option<SaidCheck>,
    sticky_sessions: Option<SaidSticky>,
    firewall: Option<SaidFirewall>,
    redirect_http_to_https: Option<bool>,
    enable_proxy_protocol: Option<bool>,
    enable_backend_keepalive: Option<bool>,
    http_idle_timeout_seconds: Option<u16>,
}

#[derive(Deserialize)]
struct Region {
    slug: String,
}

#[derive(Deserialize)]
struct SaidRule {
    entry_protocol: String,
    entry_port: u16,
    target_protocol: String,
    target_port: u16,
    certificate_id: Option<String>,
    tls_passthrough: Option<bool>,
}

#[derive(Default, Deserialize)]
struct SaidCheck {
    protocol: Option<String>,
    port: Option<u16>,
    path: Option<String>,
    check_interval_seconds: Option<u16>,
    response_timeout_seconds: Option<u16>,
    healthy_threshold: Option<u16>,
    unhealthy_threshold: Option<u16>,
}

#[derive(Default, Deserialize)]
struct SaidSticky {
    #[serde(rename = "type")]
    kind: Option<String>,
    cookie_name: Option<String>,
    cookie_ttl_seconds: Option<u32>,
}

#[derive(Default, Deserialize)]
struct SaidFirewall {
    allow: Option<BTreeSet<String>>,
    deny: Option<BTreeSet<String>>,
}

/// # Errors
/// [`ProviderError::Retryable`], where it is not what the API promises.
pub(super) fn balancer(value: &Value) -> Result<Balancer, ProviderError> {
    let said = Said::deserialize(value).map_err(|e| unreadable("a load balancer", &e))?;
    let address = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<IpAddr>().ok());
    Ok(Balancer {
        addresses: address(&said.ip).into_iter().collect(),
        state: State::of(&said.status),
        region: said.region.map(|region| region.slug).unwrap_or_default(),
        vpc_uuid: said.vpc_uuid,
        droplets: match said.tag.filter(|tag| !tag.is_empty()) {
            Some(tag) => Droplets::Tag(tag),
            None => Droplets::Ids(said.droplet_ids.unwrap_or_default()),
        },
        created_at: said.created_at,
        id: said.id,
        spec: Spec {
            name: said.name,
            size_unit: said.size_unit.filter(|units| *units > 0),
            forwarding_rules: rules(said.forwarding_rules.unwrap_or_default()),
            health_check: check(said.health_check.unwrap_or_default()),
            sticky_sessions: sticky(said.sticky_sessions.unwrap_or_default()),
            firewall: firewall(said.firewall.unwrap_or_default()),
            redirect_http_to_https: said.redirect_http_to_https.unwrap_or_default(),
            enable_proxy_protocol: said.enable_proxy_protocol.unwrap_or_default(),
            enable_backend_keepalive: said.enable_backend_keepalive,
            http_idle_timeout_seconds: said.http_idle_timeout_seconds,
        },
    })
}

fn rules(said: Vec<SaidRule>) -> Vec<Rule> {
    let read = |rule: SaidRule| Rule {
        entry_port: rule.entry_port,
        entry_protocol: rule.entry_protocol,
        target_port: rule.target_port,
        target_protocol: rule.target_protocol,
        certificate_id: rule.certificate_id.filter(|id| !id.is_empty()),
        tls_passthrough: rule.tls_passthrough.unwrap_or_default(),
    };
    let mut rules: Vec<Rule> = said.into_iter().map(read).collect();
    rules.sort_unstable();
    rules
}

/// Where nothing is said, the API's own defaults.
fn check(said: SaidCheck) -> HealthCheck {
    let protocol = said.protocol.unwrap_or_else(|| "http".to_owned());
    HealthCheck {
        path: said.path.filter(|path| protocol != "tcp" && !path.is_empty()),
        protocol,
        port: said.port.unwrap_or(80),
        check_interval_seconds: said.check_interval_seconds.unwrap_or(10),
        response_timeout_seconds: said.response_timeout_seconds.unwrap_or(5),
        healthy_threshold: said.healthy_threshold.unwrap_or(3),
        unhealthy_threshold: said.unhealthy_threshold.unwrap_or(5),
    }
}

fn sticky(said: SaidSticky) -> StickySessions {
    match said.kind.as_deref() {
        Some("cookies") => StickySessions::Cookies {
            cookie_name: said.cookie_name.unwrap_or_default(),
            cookie_ttl_seconds: said.cookie_ttl_seconds.unwrap_or_default(),
        },
        _ => StickySessions::None,
    }
}

fn firewall(said: SaidFirewall) -> Firewall {
    Firewall { allow: said.allow.unwrap_or_default(), deny: said.deny.unwrap_or_default() }
}

/// # Errors
/// As [`balancer`].
pub(super) fn certificate(value: &Value) -> Result<KnownCertificate, ProviderError> {
    KnownCertificate::deserialize(value).map_err(|e| unreadable("a certificate", &e))
}

/// # Errors
/// As [`balancer`].
pub(super) fn part<'a>(answer: &'a Value, key: &str) -> Result<&'a Value, ProviderError> {
    answer.get(key).ok_or_else(|| {
        ProviderError::Retryable(format!(
            "DigitalOcean's answer has no {key}: check spec.digitalocean.endpointUrl"
        ))
    })
}

fn unreadable(what: &str, error: &serde_json::Error) -> ProviderError {
    let error = crate::shown_text::shown(&error.to_string());
    ProviderError::Retryable(format!("DigitalOcean's answer has {what} that cannot be read: {error}"))
}

/// What creates a balancer.
///
/// # Errors
/// Something that is not JSON.
pub(super) fn creation(
    parameters: &DigitalOceanParameters,
    spec: &Spec,
    droplets: &Droplets,
) -> Result<Value, ProviderError> {
    let mut body = Map::new();
    body.insert("region".to_owned(), json!(parameters.region));
    for (key, value) in [("vpc_uuid", &parameters.vpc_uuid), ("project_id", &parameters.project_id)] {
        if let Some(value) = value {
            body.insert(key.to_owned(), json!(value));
        }
    }
    put_over(&mut body, spec, droplets)?;
    Ok(Value::Object(body))
}

/// The whole object, with a spec over it. `droplets`: if it is to send by another way than before.
///
/// # Errors
/// As [`balancer`].
pub(super) fn update(raw: &Value, spec: &Spec, droplets: Option<&Droplets>) -> Result<Value, ProviderError> {
    let has = balancer(raw)?;
    let spec = spec.clone().or_as_is(&has.spec);
    let mut body = raw.as_object().cloned().unwrap_or_default();
    body.retain(|key, value| !NOT_SENT.contains(&key.as_str()) && !value.is_null());
    body.insert("region".to_owned(), json!(has.region));
    put_over(&mut body, &spec, droplets.unwrap_or(&has.droplets))?;
    Ok(Value::Object(body))
}

/// The whole object under another name.
///
/// # Errors
/// As [`balancer`].
pub(super) fn renamed(raw: &Value, name: &str) -> Result<Value, ProviderError> {
    let mut spec = balancer(raw)?.spec;
    name.clone_into(&mut spec.name);
    update(raw, &spec, None)
}

fn put_over(body: &mut Map<String, Value>, spec: &Spec, droplets: &Droplets) -> Result<(), ProviderError> {
    let value = serde_json::to_value(spec)
        .map_err(|e| ProviderError::Retryable(format!("the request is not JSON: {e}")))?;
    body.extend(value.as_object().cloned().unwrap_or_default());
    // The older word for the same; both at once would contradict each other.
    if body.contains_key("size_unit") {
        body.remove("size");
    }
    match droplets {
        Droplets::Tag(tag) => body.insert("tag".to_owned(), json!(tag)),
        Droplets::Ids(ids) => body.insert("droplet_ids".to_owned(), json!(ids)),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> Value {
        json!({
            "id": "lb-1", "name": "web.penstock.c.u", "ip": "203.0.113.7", "status": "active",
            "created_at": "2026-01-01T00:00:00Z", "algorithm": "least_connections", "size": "lb-small", "size_unit": 2,
            "region": {"slug": "fra1", "name": "Frankfurt"}, "tag": "", "droplet_ids": [2, 1], "vpc_uuid": "v-1",
            "project_id": "p-1", "disable_lets_encrypt_dns_records": true, "domains": null,
            "forwarding_rules": [{"entry_protocol": "tcp", "entry_port": 80, "target_protocol": "tcp",
                "target_port": 30080, "certificate_id": "", "tls_passthrough": false}],
            "health_check": {"protocol": "tcp", "port": 30080, "path": "", "check_interval_seconds": 3,
                "response_timeout_seconds": 5, "healthy_threshold": 5, "unhealthy_threshold": 3},
            "sticky_sessions": {"type": "none"}, "firewall": null, "redirect_http_to_https": false,
            "enable_proxy_protocol": false, "enable_backend_keepalive": true, "http_idle_timeout_seconds": 90,
        })
    }

    #[test]
    fn an_update_sends_back_all_that_penstock_does_not_know() {
        let has = balancer(&raw()).unwrap();
        assert_eq!(has.droplets, Droplets::Ids([1, 2].into()));
        let wish = Spec {
            name: "other.penstock.c.u".into(),
            size_unit: None,
            enable_backend_keepalive: None,
            http_idle_timeout_seconds: None,
            ..has.spec
        };
        let body = update(&raw(), &wish, None).unwrap();
        for (key, value) in [
            ("name", json!("other.penstock.c.u")),
            ("region", json!("fra1")),
            ("droplet_ids", json!([1, 2])),
            ("algorithm", json!("least_connections")),
            ("size_unit", json!(2)),
            ("vpc_uuid", json!("v-1")),
            ("project_id", json!("p-1")),
            ("disable_lets_encrypt_dns_records", json!(true)),
            ("enable_backend_keepalive", json!(true)),
            ("http_idle_timeout_seconds", json!(90)),
        ] {
            assert_eq!(body[key], value, "{key}");
        }
        for key in ["id", "ip", "status", "created_at", "tag", "size", "domains"] {
            assert!(body.get(key).is_none(), "{key}");
        }
        let tagged = update(&raw(), &wish, Some(&Droplets::Tag("k8s".into()))).unwrap();
        assert_eq!((&tagged["tag"], tagged.get("droplet_ids")), (&json!("k8s"), None));
    }

    #[test]
    fn what_is_no_balancer_is_not_taken_for_one() {
        let error = balancer(&json!({"name": "\u{1b}[31m"})).unwrap_err().to_string();
        assert!(error.contains("a load balancer that cannot be read"), "{error}");
        assert!(part(&json!([]), "load_balancers").is_err());
    }
}
