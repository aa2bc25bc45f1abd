//! What is left when everything has come to rest, without what differs from run to run.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::{Context, Result};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use penstock_crds::GROUP;
use serde_json::{Map, Value, json};

/// How addresses are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    /// Every object has the same.
    Exact,
    /// All together have the same.
    AsSet,
    /// Every object has as many of each family.
    Shape,
}

/// The kinds whose end is compared. One that this version of the API server does not have is left out.
const KINDS: [(&str, &str, &str); 4] = [
    ("", "Service", "services"),
    (GROUP, "IPAddressPool", "ipaddresspools"),
    (GROUP, "LoadBalancerClass", "loadbalancerclasses"),
    (GROUP, "LoadBalancer", "loadbalancers"),
];

/// Reads the end state.
pub(crate) async fn read(client: &Client, addresses: Addresses) -> Result<Value> {
    let mut state = Map::new();
    let mut seen = Vec::new();
    for (group, kind, plural) in KINDS {
        let mut objects = BTreeMap::new();
        for object in list(client, group, kind, plural).await? {
            let name = object.metadata.name.clone().unwrap_or_default();
            if (kind, name.as_str()) != ("Service", "kubernetes") {
                let mut value = of_object(kind, &object);
                if addresses != Addresses::Exact {
                    veil(&mut value, &mut seen);
                }
                objects.insert(name, value);
            }
        }
        state.insert(plural.to_owned(), json!(objects));
    }
    if addresses == Addresses::AsSet {
        seen.sort();
        seen.dedup();
        state.insert("addresses".to_owned(), json!(seen));
    }
    Ok(Value::Object(state))
}

/// All records of what was built outside.
pub(crate) async fn records(client: &Client) -> Result<Vec<DynamicObject>> {
    list(client, GROUP, "LoadBalancer", "loadbalancers").await
}

/// All objects of a kind.
pub(crate) async fn list(
    client: &Client,
    group: &str,
    kind: &str,
    plural: &str,
) -> Result<Vec<DynamicObject>> {
    let version = if group.is_empty() { "v1" } else { "v1alpha1" };
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    match api.list(&ListParams::default()).await {
        Ok(list) => Ok(list.items),
        // An unknown kind is a page that is not found, and no object of it.
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        Err(error) => Err(error).with_context(|| format!("list {plural}")),
    }
}

fn of_object(kind: &str, object: &DynamicObject) -> Value {
    let metadata = &object.metadata;
    let mut value = json!({
        "finalizers": metadata.finalizers.clone().unwrap_or_default(),
        "annotations": metadata.annotations.clone().unwrap_or_default(),
        "deleted": metadata.deletion_timestamp.is_some(),
        "status": scrubbed(&object.data["status"], metadata.generation),
    });
    let spec = &object.data["spec"];
    if kind == "LoadBalancer" {
        value["status"] = of_record(&object.data["status"], metadata.generation);
    }
    value["spec"] = match kind {
        "Service" => json!({"type": spec["type"], "class": spec["loadBalancerClass"]}),
        "LoadBalancer" => json!({"class": spec["className"]}),
        _ => scrubbed(spec, None),
    };
    value
}

/// The fingerprint and what was observed have node ports in them, and UIDs.
fn of_record(status: &Value, generation: Option<i64>) -> Value {
    json!({
        "addresses": status["addresses"],
        "fingerprint": status["fingerprint"].is_string(),
        "plan": status["pendingPlan"].is_object(),
        "conditions": scrubbed(&status["conditions"], generation),
    })
}

/// Without identities, times and words; a condition's generation is only compared with the object's.
fn scrubbed(value: &Value, generation: Option<i64>) -> Value {
    match value {
        Value::Object(fields) => {
            let counts = |key: &str, value: &Value| !is_volatile(key) && !is_empty(value);
            let kept = fields.iter().filter(|(key, value)| counts(key, value)).map(|(key, value)| {
                let value = match key.as_str() {
                    "observedGeneration" => json!(value.as_i64() == generation),
                    _ => scrubbed(value, generation),
                };
                (key.clone(), value)
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| scrubbed(item, generation)).collect()),
        other => other.clone(),
    }
}

/// Absent and empty say the same.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

fn is_volatile(key: &str) -> bool {
    ["uid", "UID", "Uid", "resourceVersion", "Time", "Timestamp"].iter().any(|end| key.ends_with(end))
        || key == "message"
        // Every laboratory has an endpoint of its own.
        || key == "url"
        || key == "endpointUrl"
        // Names of AWS have a hash of the UID in them.
        || key == "hostname"
}

/// Puts the family in place of every address, and notes the address.
fn veil(value: &mut Value, seen: &mut Vec<IpAddr>) {
    match value {
        Value::String(text) => {
            if let Ok(address) = text.parse::<IpAddr>() {
                seen.push(address);
                *text = if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| veil(item, seen)),
        Value::Object(fields) => fields.values_mut().for_each(|field| veil(field, seen)),
        _ => {}
    }
}

/// Where two states differ, one line each.
pub(crate) fn difference(wanted: &Value, found: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    compare("", wanted, found, &mut lines);
    lines
}

fn compare(path: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                compare(&format!("{path}.{key}"), &wanted[key], &found[key], lines);
            }
        }
        _ if wanted == found => {}
        _ => lines.push(format!("{} should be {wanted} and is {found}", path.trim_start_matches('.'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_identities_and_words_do_not_count() {
        let status = |time: &str, message: &str| {
            json!({"conditions": [{
                "type": "A", "status": "True", "reason": "R", "message": message, "lastTransitionTime": time,
                "observedGeneration": 2
            }]})
        };
        let (a, b) = (scrubbed(&status("1", "x"), Some(2)), scrubbed(&status("2", "y"), Some(2)));
        assert_eq!(a, b);
        assert_ne!(a, scrubbed(&status("1", "x"), Some(3)), "a stale generation counts");
    }

    #[test]
    fn a_difference_names_the_place() {
        let lines = difference(&json!({"a": {"b": 1}, "c": 2}), &json!({"a": {"b": 3}, "c": 2}));
        assert_eq!(lines, ["a.b should be 1 and is 3"]);
    }

    #[test]
    fn addresses_are_veiled() {
        let (mut value, mut seen) = (json!({"a": ["203.0.113.1", "2001:db8::1", "x"]}), Vec::new());
        veil(&mut value, &mut seen);
        assert_eq!(value, json!({"a": ["IPv4", "IPv6", "x"]}));
        assert_eq!(seen.len(), 2);
    }
}
