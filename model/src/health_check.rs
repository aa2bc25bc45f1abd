//! What balancers ask at `healthCheckNodePort`: whether this node has an endpoint for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use crate::{ObjectKey, Service, ServiceType};

/// What a node has to say at the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// `healthCheckNodePort`.
    pub port: u16,
    /// How many IPv4 addresses of ready endpoints are on this node.
    pub ready_v4: u32,
    /// How many IPv6 addresses of ready endpoints are on this node.
    pub ready_v6: u32,
}

/// One Service whose check differs from what was said of it before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// The Service.
    pub service: Arc<ObjectKey>,
    /// What there is to say now; `None` when nobody is to answer any more.
    pub desired: Option<HealthCheck>,
}

impl HealthCheck {
    /// With the distinct addresses of the Service's ready endpoints on this node, whatever their port. `None` where
    /// balancers do not ask: other types, and policy Cluster.
    pub(crate) fn of(service: &Service, ready: impl FnOnce() -> BTreeSet<IpAddr>) -> Option<Self> {
        let port = service.health_check_node_port?;
        if service.service_type != ServiceType::LoadBalancer || !service.is_forwarded() {
            return None;
        }
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = ready().into_iter().partition(IpAddr::is_ipv4);
        let count = |ips: Vec<IpAddr>| u32::try_from(ips.len()).unwrap_or(u32::MAX);
        Some(Self { port, ready_v4: count(v4), ready_v6: count(v6) })
    }
}

/// What is to be said, and of whom it differs since somebody asked.
#[derive(Debug, Default)]
pub(crate) struct HealthChecks {
    now: BTreeMap<Arc<ObjectKey>, HealthCheck>,
    /// What was said of those that may differ.
    before: BTreeMap<Arc<ObjectKey>, Option<HealthCheck>>,
}

impl HealthChecks {
    pub(crate) fn set(&mut self, service: &Arc<ObjectKey>, desired: Option<HealthCheck>) {
        let before = match desired {
            Some(check) => self.now.insert(Arc::clone(service), check),
            None => self.now.remove(service),
        };
        if before != desired {
            self.before.entry(Arc::clone(service)).or_insert(before);
        }
    }

    pub(crate) fn take_changes(&mut self) -> Vec<HealthChange> {
        let touched = std::mem::take(&mut self.before).into_iter();
        let changes = touched.map(|(service, before)| (self.now.get(&service).copied(), before, service));
        let real = changes.filter(|(desired, before, _)| desired != before);
        real.map(|(desired, _, service)| HealthChange { service, desired }).collect()
    }
}
