//! One programmed Service port.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
};

use penstock_model::{Family, Frontend, FrontendAddress, FrontendKind, Scope, ServicePort};

use super::{
    Element, reassign,
    view::{Endpoints, View},
};
use crate::nftables::token;

/// One programmed Service port.
#[derive(Clone, Debug, Default)]
pub(super) struct Port {
    /// Shared with the index.
    pub(super) desired: Arc<ServicePort>,
    /// The upper bits of its tokens, if it has affinity.
    pub(super) number: Option<u32>,
    v4: FamilySlots,
    v6: FamilySlots,
}

/// The endpoints of a family at their indexes.
#[derive(Clone, Debug, Default)]
struct FamilySlots {
    cluster: Vec<SocketAddr>,
    /// Only if some frontend leads to them.
    local: Vec<SocketAddr>,
    /// Of all of them, if the port has affinity.
    tokens: BTreeMap<SocketAddr, u32>,
}

impl Port {
    /// The port as desired, with as many endpoints as possible at the index they have now.
    pub(super) fn succeed(&self, desired: Arc<ServicePort>, number: Option<u32>) -> Self {
        let v4 = self.v4.succeed(&desired, Family::IPv4, number);
        let v6 = self.v6.succeed(&desired, Family::IPv6, number);
        Self { desired, number, v4, v6 }
    }

    pub(super) fn frontend(&self, address: &FrontendAddress) -> Option<&Frontend> {
        self.desired.frontends.iter().find(|f| f.address == *address)
    }

    /// Elements that it may have in common with other ports.
    pub(super) fn shared(&self) -> BTreeSet<Element> {
        let cluster_ips = self.desired.frontends.iter().filter(|f| f.kind == FrontendKind::ClusterIp);
        let cluster_ips = cluster_ips.map(|f| Element::ClusterIp(f.address.ip));
        cluster_ips.chain(self.desired.hairpins().into_iter().map(Element::Hairpin)).collect()
    }

    /// What stands in the table for a frontend; nothing if it has no such frontend.
    pub(super) fn view(&self, address: &FrontendAddress) -> View<'_> {
        let Some(frontend) = self.frontend(address) else { return View::default() };
        let slots = if address.ip.is_ipv4() { &self.v4 } else { &self.v6 };
        let treatment = self.desired.treatment(frontend);
        let of = |scope| if treatment.route.uses(scope) { slots.of(scope) } else { &[] };
        let endpoints = Endpoints {
            cluster: of(Scope::Cluster),
            local: of(Scope::Local),
            tokens: self.number.map(|_| &slots.tokens),
        };
        View::new(*address, treatment, endpoints, self.number.zip(self.desired.affinity_seconds))
    }
}

impl FamilySlots {
    fn succeed(&self, desired: &ServicePort, family: Family, number: Option<u32>) -> Self {
        let tokens = number.map(|number| {
            let all = desired.reachable().into_iter().filter(|e| Family::of(e.ip()) == family).collect();
            token::tokens(number, &all)
        });
        let uses_local = desired
            .frontends
            .iter()
            .filter(|f| Family::of(f.address.ip) == family)
            .any(|f| desired.treatment(f).route.uses(Scope::Local));
        let has_token = |e: &&SocketAddr| tokens.as_ref().is_none_or(|tokens| tokens.contains_key(*e));
        let wanted = |set: &[SocketAddr]| set.iter().filter(has_token).copied().collect();
        let local = if uses_local { desired.local.of(family) } else { &[] };
        Self {
            cluster: reassign(&self.cluster, &wanted(desired.cluster.of(family))),
            local: reassign(&self.local, &wanted(local)),
            tokens: tokens.unwrap_or_default(),
        }
    }

    fn of(&self, scope: Scope) -> &[SocketAddr] {
        match scope {
            Scope::Cluster => &self.cluster,
            Scope::Local => &self.local,
        }
    }
}
