//! Where a balancer sends to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::Error;

/// A server, or all that have labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the fields of the API
pub struct Target {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Id>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<Selector>,
    #[serde(default)]
    pub use_private_ip: bool,
}

/// The identity of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the fields of the API
pub struct Id {
    pub id: u64,
}

/// Labels of servers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)] // the fields of the API
pub struct Selector {
    pub selector: String,
}

/// Whether labels are as a selector says.
pub(super) fn selects(selector: &str, labels: &BTreeMap<String, String>) -> bool {
    selector.split(',').all(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        labels.get(key).is_some_and(|said| said == value)
    })
}

impl Target {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.server, &self.label_selector) == (&other.server, &other.label_selector)
    }

    /// How many servers it is.
    pub(super) fn size(&self, servers: &BTreeMap<u64, BTreeMap<String, String>>) -> usize {
        match &self.label_selector {
            Some(Selector { selector }) => {
                servers.values().filter(|labels| selects(selector, labels)).count()
            }
            None => 1,
        }
    }

    pub(super) fn check(
        &self,
        servers: &BTreeMap<u64, BTreeMap<String, String>>,
        in_network: bool,
    ) -> Result<(), Error> {
        match (self.kind.as_str(), &self.server, &self.label_selector) {
            ("server", Some(Id { id }), None) if servers.contains_key(id) => {}
            ("server", Some(_), None) => {
                return Err(Error::invalid("targets.server", "there is no such server"));
            }
            ("label_selector", None, Some(_)) => {}
            _ => {
                return Err(Error::invalid(
                    "targets.type",
                    "must be server or label_selector, with its field",
                ));
            }
        }
        if self.use_private_ip && !in_network {
            let message = "load balancer is not attached to a network";
            return Err(Error::new(422, "load_balancer_not_attached_to_network", message));
        }
        Ok(())
    }

    pub(super) fn shown(&self, servers: &BTreeMap<u64, BTreeMap<String, String>>) -> Value {
        let mut shown = json!(self);
        if let Some(Selector { selector }) = &self.label_selector {
            let found = servers.iter().filter(|(_, labels)| selects(selector, labels));
            let found: Vec<Value> = found
                .map(|(id, _)| {
                    json!({"type": "server", "server": {"id": id}, "use_private_ip": self.use_private_ip})
                })
                .collect();
            shown["targets"] = json!(found);
        }
        shown
    }
}
