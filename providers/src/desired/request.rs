//! Which addresses a Service asks for.

use std::net::IpAddr;

use k8s_openapi::api::core::v1 as core;
use penstock_crds::{
    ADDRESS_POOL, ADDRESS_POOL_METALLB, ADDRESS_POOL_METALLB_OLD, LOAD_BALANCER_IPS,
    LOAD_BALANCER_IPS_METALLB, LOAD_BALANCER_IPS_METALLB_OLD,
};
use penstock_model::{Family, parse_ip};
use serde::Serialize;

use super::{DesiredError, annotation};

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

impl Request {
    pub(super) fn of(object: &core::Service, class_pools: &[String]) -> Result<Self, DesiredError> {
        let addresses = requested_addresses(object)?;
        let pool = annotation(object, &[ADDRESS_POOL, ADDRESS_POOL_METALLB, ADDRESS_POOL_METALLB_OLD])
            .map(|(_, text)| text.to_owned());
        if let (Some(pool), false) = (&pool, addresses.is_empty()) {
            return Err(DesiredError::PoolAndAddress { pool: pool.clone() });
        }
        Ok(Self { addresses, pool, class_pools: class_pools.to_vec() })
    }
}

fn requested_addresses(object: &core::Service) -> Result<Vec<IpAddr>, DesiredError> {
    const FIELD: &str = "spec.loadBalancerIP";
    let field = object.spec.as_ref().and_then(|s| s.load_balancer_ip.as_deref()).filter(|ip| !ip.is_empty());
    let field = field.map(|ip| read_addresses(FIELD, ip)).transpose()?;
    let listed =
        annotation(object, &[LOAD_BALANCER_IPS, LOAD_BALANCER_IPS_METALLB, LOAD_BALANCER_IPS_METALLB_OLD]);
    let listed = listed.map(|(key, text)| Ok((key, read_addresses(key, text)?))).transpose()?;
    match (field, listed) {
        (Some(field), Some((second, list))) if field != list => {
            Err(DesiredError::TwoRequests { first: FIELD, second })
        }
        (Some(addresses), _) | (None, Some((_, addresses))) => Ok(addresses),
        (None, None) => Ok(Vec::new()),
    }
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

    fn request(annotations: &Value, spec: &Value) -> Result<Request, DesiredError> {
        let object = json!({"metadata": {"annotations": annotations}, "spec": spec});
        Request::of(&serde_json::from_value(object).unwrap(), &[])
    }

    #[test]
    fn an_address_may_be_asked_for_by_field_or_annotation() {
        let ip: IpAddr = "203.0.113.205".parse().unwrap();
        let field = request(&json!({}), &json!({"loadBalancerIP": "203.0.113.205"})).unwrap();
        let metallb =
            request(&json!({LOAD_BALANCER_IPS_METALLB_OLD: " 203.0.113.205 "}), &json!({})).unwrap();
        assert_eq!(field.addresses, [ip]);
        assert_eq!(metallb.addresses, [ip]);
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
            let error = request(&annotations, &spec).unwrap_err().to_string();
            assert!(error.contains(sentence), "{error}");
        }
    }
}
