//! What has to hold at rest, whatever happened before: pure.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use penstock_crds::{ALLOCATED_FROM, ConditionKind, GROUP, IPAddressPool, LoadBalancerClass, Reason};
use penstock_tests::{doubles::doubled, provisioning, shown};

use crate::user::is_marked;

/// All objects at one moment.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) services: Vec<Service>,
    pub(crate) pools: Vec<IPAddressPool>,
    pub(crate) classes: Vec<LoadBalancerClass>,
}

/// What a Service is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Membership {
    Ours,
    /// Its class is missing: what it has stays.
    Orphan,
    Foreign,
}

impl World {
    /// Every sentence is something that must not be.
    pub(crate) fn violations(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (index, service) in self.services.iter().enumerate() {
            found.extend(self.services[..index].iter().filter_map(|other| doubled(service, other)));
            let name = service.name_any();
            found.extend(self.of_service(service).into_iter().map(|why| format!("{name} {why}")));
        }
        found
    }

    fn of_service(&self, service: &Service) -> Option<&'static str> {
        if service.metadata.deletion_timestamp.is_some() {
            return Some("is still being deleted");
        }
        match self.membership(service) {
            Membership::Ours => self.of_ours(service),
            Membership::Foreign => has_traces(service).then_some("is none of ours and has traces of us"),
            Membership::Orphan => None,
        }
    }

    fn of_ours(&self, service: &Service) -> Option<&'static str> {
        match (provisioning(service), shown(service).is_empty()) {
            (None, true) => Some("has neither an address nor a reason why not"),
            (_, false) if !is_marked(service) => Some("has an address and no finalizer"),
            (Some((reason, _)), _) if self.starves_beside_plenty(service, reason) => {
                Some("waits although an address is free")
            }
            _ => None,
        }
    }

    fn membership(&self, service: &Service) -> Membership {
        let spec = service.spec.clone().unwrap_or_default();
        if spec.type_.as_deref() != Some("LoadBalancer") {
            return Membership::Foreign;
        }
        let class =
            spec.load_balancer_class.as_deref().map(|class| class.split_once('/').unwrap_or_default());
        let exists = match class {
            Some((GROUP, name)) => self.classes.iter().any(|class| class.name_any() == name),
            Some(_) => return Membership::Foreign,
            None => self.classes.iter().any(|class| class.spec.default),
        };
        if exists { Membership::Ours } else { Membership::Orphan }
    }

    /// Judged only for those who want any IPv4 address and nothing else.
    fn starves_beside_plenty(&self, service: &Service, reason: &str) -> bool {
        let spec = service.spec.clone().unwrap_or_default();
        let is_plain = spec.ip_families == Some(vec!["IPv4".to_owned()])
            && spec.load_balancer_ip.unwrap_or_default().is_empty();
        let waits = [Reason::Exhausted, Reason::NoPool].iter().any(|r| r.to_string() == reason);
        is_plain && waits && self.has_free_address()
    }

    fn has_free_address(&self) -> bool {
        let taken: BTreeSet<IpAddr> =
            self.services.iter().flat_map(shown).filter_map(|ip| ip.parse().ok()).collect();
        let usable = self.pools.iter().filter(|pool| pool.spec.auto_assign && is_accepted(pool));
        let mut ranges = usable.flat_map(|pool| pool.spec.ranges().unwrap_or_default());
        ranges.any(|range| {
            let (IpAddr::V4(first), IpAddr::V4(last)) = (range.first(), range.last()) else { return false };
            (u32::from(first)..=u32::from(last)).any(|ip| !taken.contains(&IpAddr::V4(ip.into())))
        })
    }
}

fn is_accepted(pool: &IPAddressPool) -> bool {
    let conditions = pool.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == ConditionKind::Accepted.to_string() && c.status == "True")
}

fn has_traces(service: &Service) -> bool {
    let kind = ConditionKind::LoadBalancerProvisioning.to_string();
    let conditions = service.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    is_marked(service)
        || conditions.iter().any(|condition| condition.type_ == kind)
        || service.annotations().contains_key(ALLOCATED_FROM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn world(service: Value) -> World {
        let mut service = service;
        service["metadata"]["name"] = json!("a");
        World {
            services: vec![serde_json::from_value(service).unwrap()],
            pools: vec![
                serde_json::from_value(json!({
                    "apiVersion": "penstock.dev/v1alpha1", "kind": "IPAddressPool",
                    "metadata": {"name": "p"}, "spec": {"addresses": ["203.0.113.1/32"]},
                    "status": {"conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted",
                        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
                }))
                .unwrap(),
            ],
            classes: vec![crate::user::class("bare-metal", true).unwrap()],
        }
    }

    fn waiting(reason: &str) -> Value {
        json!({"conditions": [{"type": "LoadBalancerProvisioning", "status": "True", "reason": reason,
            "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]})
    }

    #[test]
    fn a_service_needs_an_address_or_a_reason() {
        let spec = json!({"type": "LoadBalancer", "ipFamilies": ["IPv4"]});
        let with =
            |status: Value| world(json!({"metadata": {}, "spec": spec, "status": status})).violations();
        assert_eq!(with(json!({})), ["a has neither an address nor a reason why not"]);
        assert_eq!(with(waiting("RequestRefused")), [""; 0]);
        assert_eq!(with(waiting("Exhausted")), ["a waits although an address is free"]);
        let ingress = json!({"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}});
        assert_eq!(with(ingress), ["a has an address and no finalizer"]);
    }

    #[test]
    fn what_is_not_ours_has_no_trace_of_us() {
        let metadata = json!({"finalizers": [penstock_crds::FINALIZER]});
        let found = world(json!({"metadata": metadata, "spec": {"type": "ClusterIP"}})).violations();
        assert_eq!(found, ["a is none of ours and has traces of us"]);
    }
}
