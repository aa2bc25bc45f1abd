//! What a Service wants from a provider, read once from its object.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use penstock_crds::{ADDRESS_POOL, ADDRESS_POOL_METALLB, LOAD_BALANCER_IPS, LOAD_BALANCER_IPS_METALLB};
use penstock_model::{Family, Protocol, Service, parse_ip};
use serde::Serialize;

/// A port of the balancer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Frontend {
    /// The protocol.
    pub protocol: Protocol,
    /// The number that clients use.
    pub port: u16,
    /// Where nodes receive it, if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_port: Option<u16>,
}

/// A family that the Service has, and whether it can do without an address of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct FamilyNeed {
    /// The family.
    pub family: Family,
    /// No address at all is better than none of this family.
    pub required: bool,
}

/// Which addresses are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// Exactly these.
    pub addresses: Vec<IpAddr>,
    /// Any of this pool.
    pub pool: Option<String>,
    /// The class's pools; empty: all.
    pub class_pools: Vec<String>,
}

/// What a Service wants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Desired {
    /// The families, in the Service's order.
    pub families: Vec<FamilyNeed>,
    /// The ports.
    pub frontends: Vec<Frontend>,
    /// The addresses asked for.
    pub request: Request,
}

/// A wish that contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DesiredError {
    /// A requested address cannot be read.
    #[error("{field} holds {text:?}, which is not an IP address")]
    Address {
        /// The field or annotation.
        field: &'static str,
        /// What stands there.
        text: String,
    },
    /// Both an address and a pool are asked for.
    #[error("the Service asks for the pool {pool:?} and for an address: remove one of the two")]
    PoolAndAddress {
        /// The pool.
        pool: String,
    },
    /// The address is asked for in two ways that differ.
    #[error("{first} and {second} ask for different addresses: remove one of the two")]
    TwoRequests {
        /// One field or annotation.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Two addresses of one family.
    #[error("the Service asks for two {0:?} addresses: it can have one of each family")]
    OneFamilyTwice(Family),
}

impl Desired {
    /// Reads what a Service wants; `class_pools` are the pools that its class allows, empty for all.
    ///
    /// # Errors
    /// A wish that contradicts itself.
    pub fn of(object: &core::Service, class_pools: &[String]) -> Result<Self, DesiredError> {
        let service = Service::from_object(object);
        let addresses = requested_addresses(object)?;
        let pool = annotation(object, &[ADDRESS_POOL, ADDRESS_POOL_METALLB]).map(|(_, text)| text.to_owned());
        if let (Some(pool), false) = (&pool, addresses.is_empty()) {
            return Err(DesiredError::PoolAndAddress { pool: pool.clone() });
        }
        let frontend = |p: &penstock_model::Port| Frontend {
            protocol: p.protocol,
            port: p.port,
            node_port: p.node_port,
        };
        Ok(Self {
            families: families(object, &service),
            frontends: service.ports.iter().map(frontend).collect(),
            request: Request { addresses, pool, class_pools: class_pools.to_vec() },
        })
    }
}

/// The families follow the ClusterIPs. With `RequireDualStack` both are needed; with `PreferDualStack` the
/// second may be missing; an only family is always needed.
fn families(object: &core::Service, service: &Service) -> Vec<FamilyNeed> {
    let policy = object.spec.as_ref().and_then(|s| s.ip_family_policy.as_deref());
    let single = service.cluster_ips.len() < 2;
    let required = single || policy == Some("RequireDualStack");
    service.cluster_ips.iter().map(|ip| FamilyNeed { family: Family::of(*ip), required }).collect()
}

fn requested_addresses(object: &core::Service) -> Result<Vec<IpAddr>, DesiredError> {
    const FIELD: &str = "spec.loadBalancerIP";
    let field = object.spec.as_ref().and_then(|s| s.load_balancer_ip.as_deref()).filter(|ip| !ip.is_empty());
    let field = field.map(|ip| read_addresses(FIELD, ip)).transpose()?;
    let listed = annotation(object, &[LOAD_BALANCER_IPS, LOAD_BALANCER_IPS_METALLB]);
    let listed = listed.map(|(key, text)| Ok((key, read_addresses(key, text)?))).transpose()?;
    match (field, listed) {
        (Some(field), Some((second, list))) if field != list => {
            Err(DesiredError::TwoRequests { first: FIELD, second })
        }
        (Some(addresses), _) | (None, Some((_, addresses))) => Ok(addresses),
        (None, None) => Ok(Vec::new()),
    }
}

fn annotation<'a>(object: &'a core::Service, keys: &[&'static str]) -> Option<(&'static str, &'a str)> {
    let annotations = object.metadata.annotations.as_ref()?;
    keys.iter().find_map(|key| annotations.get(*key).map(|text| (*key, text.as_str())))
}

fn read_addresses(field: &'static str, text: &str) -> Result<Vec<IpAddr>, DesiredError> {
    let mut addresses: Vec<IpAddr> = Vec::new();
    for part in text.split(',').map(str::trim) {
        let ip = parse_ip(part).ok_or_else(|| DesiredError::Address { field, text: part.to_owned() })?;
        if addresses.iter().any(|other| Family::of(*other) == Family::of(ip)) {
            return Err(DesiredError::OneFamilyTwice(Family::of(ip)));
        }
        addresses.push(ip);
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn desired(annotations: &Value, spec: &Value) -> Result<Desired, DesiredError> {
        let object =
            json!({"metadata": {"name": "s", "namespace": "d", "annotations": annotations}, "spec": spec});
        Desired::of(&serde_json::from_value(object).unwrap(), &[])
    }

    #[test]
    fn families_follow_the_cluster_ips_and_the_policy() {
        let dual = |policy: &str| {
            let spec = json!({"clusterIPs": ["10.96.0.7", "2001:db8:96::7"], "ipFamilyPolicy": policy});
            desired(&json!({}), &spec).unwrap().families
        };
        let need = |family, required| FamilyNeed { family, required };
        assert_eq!(dual("RequireDualStack"), [need(Family::IPv4, true), need(Family::IPv6, true)]);
        assert_eq!(dual("PreferDualStack"), [need(Family::IPv4, false), need(Family::IPv6, false)]);
        let single = desired(&json!({}), &json!({"clusterIPs": ["2001:db8:96::7"]})).unwrap();
        assert_eq!(single.families, [need(Family::IPv6, true)]);
    }

    #[test]
    fn an_address_may_be_asked_for_by_field_or_annotation() {
        let ip: IpAddr = "203.0.113.205".parse().unwrap();
        let field = desired(&json!({}), &json!({"loadBalancerIP": "203.0.113.205"})).unwrap();
        let metallb = desired(&json!({LOAD_BALANCER_IPS_METALLB: " 203.0.113.205 "}), &json!({})).unwrap();
        assert_eq!(field.request.addresses, [ip]);
        assert_eq!(metallb.request.addresses, [ip]);
    }

    #[test]
    fn contradicting_wishes_are_refused_in_one_sentence() {
        let cases = [
            (
                json!({LOAD_BALANCER_IPS: "203.0.113.256"}),
                json!({}),
                "\"203.0.113.256\", which is not an IP address",
            ),
            (
                json!({LOAD_BALANCER_IPS: "203.0.113.1"}),
                json!({"loadBalancerIP": "203.0.113.2"}),
                "different addresses",
            ),
            (
                json!({LOAD_BALANCER_IPS: "203.0.113.1", ADDRESS_POOL: "a"}),
                json!({}),
                "remove one of the two",
            ),
            (json!({LOAD_BALANCER_IPS: "203.0.113.1,203.0.113.2"}), json!({}), "two IPv4 addresses"),
        ];
        for (annotations, spec, sentence) in cases {
            let error = desired(&annotations, &spec).unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
    }
}
