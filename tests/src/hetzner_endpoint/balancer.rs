//! Balancers, and what the actions do to them.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    error::Error,
    service::Service,
    store::Store,
    target::Target,
    wish::{Algorithm, Attachment, Nothing, Port, Type},
};

/// Of a type: its name, services, targets.
pub(super) const TYPES: [(&str, usize, usize); 3] = [("lb11", 5, 25), ("lb21", 15, 75), ("lb31", 30, 150)];
/// Locations with their zones.
pub(super) const LOCATIONS: [(&str, &str); 3] =
    [("fsn1", "eu-central"), ("nbg1", "eu-central"), ("ash", "us-east")];

/// A balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields of the API
pub struct Balancer {
    pub id: u64,
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub load_balancer_type: String,
    pub location: String,
    pub algorithm: String,
    pub public: bool,
    pub networks: Vec<u64>,
    pub protected: bool,
    pub services: Vec<Service>,
    pub targets: Vec<Target>,
}

/// Which parts of the store a balancer is judged by.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|e| Error::new(400, "json_error", e.to_string()))
}

impl Balancer {
    pub(super) fn limits(&self) -> (usize, usize) {
        let found = TYPES.iter().find(|(name, ..)| *name == self.load_balancer_type);
        found.map_or((0, 0), |(_, services, targets)| (*services, *targets))
    }

    /// Everything that must hold together.
    pub(super) fn check(&self, store: &Store) -> Result<(), Error> {
        if !TYPES.iter().any(|(name, ..)| *name == self.load_balancer_type) {
            return Err(Error::invalid("load_balancer_type", "there is no such type"));
        }
        if !matches!(self.algorithm.as_str(), "round_robin" | "least_connections") {
            return Err(Error::invalid("algorithm.type", "must be round_robin or least_connections"));
        }
        if let Some(network) = self.networks.iter().find(|id| !store.networks.contains(id)) {
            return Err(Error::not_found(&format!("network {network}")));
        }
        let mut ports: Vec<u16> = self.services.iter().flat_map(Service::ports).collect();
        ports.sort_unstable();
        if ports.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::new(409, "source_port_already_used", "source port is already used"));
        }
        self.services.iter().try_for_each(|service| service.check(&store.certificates))?;
        for (at, target) in self.targets.iter().enumerate() {
            target.check(&store.servers, !self.networks.is_empty())?;
            if self.targets[..at].iter().any(|other| other.is_same(target)) {
                return Err(Error::new(409, "target_already_defined", "target is already defined"));
            }
        }
        let (services, targets) = self.limits();
        let sent_to: usize = self.targets.iter().map(|target| target.size(&store.servers)).sum();
        if self.services.len() > services || sent_to > targets {
            return Err(Error::new(403, "resource_limit_exceeded", "the type has not so many"));
        }
        Ok(())
    }

    /// What an action makes of it.
    pub(super) fn after(&self, verb: &str, body: &[u8]) -> Result<Self, Error> {
        let mut next = self.clone();
        match verb {
            "change_type" => next.load_balancer_type = read::<Type>(body)?.load_balancer_type,
            "change_algorithm" => next.algorithm = read::<Algorithm>(body)?.kind,
            "enable_public_interface" => {
                read::<Nothing>(body)?;
                next.public = true;
            }
            "disable_public_interface" => {
                read::<Nothing>(body)?;
                next.public = false;
            }
            "attach_to_network" => {
                let network = read::<Attachment>(body)?.network;
                if !next.networks.is_empty() {
                    return Err(Error::new(
                        422,
                        "load_balancer_already_attached",
                        "it is attached to a network",
                    ));
                }
                next.networks.push(network);
            }
            "detach_from_network" => {
                let network = read::<Attachment>(body)?.network;
                next.networks.retain(|id| *id != network);
                if next.networks == self.networks {
                    return Err(Error::not_found("network of the load balancer"));
                }
            }
            "add_service" => next.services.push(read(body)?),
            "update_service" => next.update_service(body)?,
            "delete_service" => {
                let port = read::<Port>(body)?.listen_port;
                next.services.retain(|service| service.listen_port != port);
                if next.services.len() == self.services.len() {
                    return Err(Error::not_found("service"));
                }
            }
            "add_target" => next.targets.push(read(body)?),
            "remove_target" => {
                let target: Target = read(body)?;
                next.targets.retain(|held| !held.is_same(&target));
                if next.targets.len() == self.targets.len() {
                    return Err(Error::not_found("target"));
                }
            }
            _ => return Err(Error::not_found("action")),
        }
        Ok(next)
    }

    /// Fields that are not named stay.
    fn update_service(&mut self, body: &[u8]) -> Result<(), Error> {
        let change: Value = read(body)?;
        let port = change["listen_port"].as_u64();
        let found = self.services.iter_mut().find(|held| Some(u64::from(held.listen_port)) == port);
        let service = found.ok_or_else(|| Error::not_found("service"))?;
        let mut merged = json!(service);
        for (key, value) in change.as_object().into_iter().flatten() {
            merged[key] = value.clone();
        }
        if merged["protocol"] == "tcp" {
            merged["http"] = Value::Null;
        }
        *service =
            serde_json::from_value(merged).map_err(|e| Error::new(400, "json_error", e.to_string()))?;
        Ok(())
    }

    pub(super) fn shown(&self, store: &Store) -> Value {
        let zone = LOCATIONS.iter().find(|(name, _)| *name == self.location).map(|(_, zone)| *zone);
        let number = self.id % 250 + 1;
        let private = |id: &u64| json!({"network": id, "ip": format!("10.0.0.{number}")});
        json!({
            "id": self.id, "name": self.name, "labels": self.labels,
            "load_balancer_type": {"name": self.load_balancer_type},
            "location": {"name": self.location, "network_zone": zone},
            "algorithm": {"type": self.algorithm},
            "public_net": {
                "enabled": self.public,
                "ipv4": {"ip": format!("203.0.113.{number}"), "dns_ptr": null},
                "ipv6": {"ip": format!("2001:db8::{number:x}"), "dns_ptr": null}
            },
            "private_net": self.networks.iter().map(private).collect::<Vec<_>>(),
            "protection": {"delete": self.protected},
            "services": self.services,
            "targets": self.targets.iter().map(|t| t.shown(&store.servers)).collect::<Vec<_>>(),
            "included_traffic": 1, "ingoing_traffic": null, "outgoing_traffic": null,
            "created": "2026-01-01T00:00:00+00:00"
        })
    }
}
