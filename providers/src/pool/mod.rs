//! Addresses on bare metal: from IPAddressPools, announced by the announcer.
//!
//! Nothing is created outside the cluster and the Service's own status is the record, so a plan is at most
//! one step and costs no call.

mod allocation_error;
mod allocator;
mod free;
mod numbering;
mod occupants;
mod pinning;
mod pools;
mod rejection;
mod search;
mod shared;
mod stock;
mod terms;

use std::{
    net::IpAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use penstock_model::{ObjectKey, Protocol};
use serde::{Deserialize, Serialize};

pub use allocation_error::AllocationError;
pub use allocator::{Allocator, Assignment};
pub use pinning::Pinning;
pub use pools::{Pool, Refused, Verdicts, judge};
pub use rejection::Rejection;
pub use stock::PoolUsage;
pub use terms::{Clash, ClashCause, Terms, UsedPort};

use crate::{Built, Capabilities, Certificate, Desired, Owner, Plan, Provider, ProviderError, Risk, Step};

/// What a step of this provider does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Give the Service these addresses instead of what it holds.
    Assign(Assignment),
    /// Take its addresses back.
    Release,
}

/// What a Service holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Observed {
    held: Option<Built>,
    /// On what terms it shares that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terms: Option<Terms>,
}

/// The provider `pool`.
#[derive(Debug, Default)]
pub struct PoolProvider {
    allocator: Mutex<Allocator>,
}

impl PoolProvider {
    /// Takes a new set of pools, as [`judge`] found them.
    pub fn configure(&self, verdicts: &Verdicts) {
        let usable = verdicts.iter().filter_map(|(name, v)| Some((name.clone(), v.as_ref().ok()?.clone())));
        self.lock().set_pools(usable.collect());
    }

    /// Whether nothing but a request of the Service itself speaks against what it holds; `desired` where that can be
    /// read.
    pub fn may_keep(&self, service: &ObjectKey, desired: Option<&Desired>) -> bool {
        self.lock().may_keep(service, desired)
    }

    /// Takes over what a status says, before the first allocation after a start; `origin` is the pool that the
    /// addresses came from, as far as that is written down, `terms` are the Service's ([`Terms::of_object`], also of one
    /// on its way out). Of Services that clash the first stays, so the oldest is to be adopted first. Returns the
    /// clashes.
    pub fn adopt(
        &self,
        service: &ObjectKey,
        addresses: &[IpAddr],
        origin: Option<&str>,
        terms: Option<&Terms>,
    ) -> Vec<Clash> {
        self.lock().adopt(service, addresses, origin, terms)
    }

    /// Whether the Service holds anything.
    pub fn holds(&self, service: &ObjectKey) -> bool {
        self.lock().holding(service).is_some()
    }

    /// All Services that hold anything.
    pub fn holders(&self) -> Vec<ObjectKey> {
        self.lock().holders()
    }

    /// What each Service holds.
    pub fn holdings(&self) -> Vec<(ObjectKey, Built)> {
        let allocator = self.lock();
        let holdings = allocator.holders().into_iter().filter_map(|service| {
            let built = allocator.holding(&service)?.clone();
            Some((service, built))
        });
        holdings.collect()
    }

    /// What each pool would give the Service if it had nothing, or why not, in the order in which they are looked into.
    pub fn consider(
        &self,
        service: &ObjectKey,
        desired: &Desired,
    ) -> Vec<(String, Result<Vec<IpAddr>, Rejection>)> {
        self.lock().consider(service, desired)
    }

    /// The Service's status shows what it holds and nothing older: whatever was kept back until then may be given
    /// to others. Returns whether there was anything.
    pub fn reported(&self, service: &ObjectKey) -> bool {
        self.lock().reported(service)
    }

    /// Takes back what a Service holds, and what was kept back for it. `None` if there was nothing.
    pub fn release(&self, service: &ObjectKey) -> Option<Vec<IpAddr>> {
        let mut allocator = self.lock();
        let held = allocator.holding(service).map(|built| built.addresses.clone()).unwrap_or_default();
        allocator.release(service).then_some(held)
    }

    /// How many addresses of each pool are assigned and free, by name.
    pub fn usage(&self) -> Vec<(String, PoolUsage)> {
        self.lock().usage()
    }

    fn lock(&self) -> MutexGuard<'_, Allocator> {
        self.allocator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<AllocationError> for ProviderError {
    fn from(error: AllocationError) -> Self {
        let (reason, message) = (error.reason(), error.to_string());
        match error {
            AllocationError::NoPool | AllocationError::NoPoolForIt(_) | AllocationError::Exhausted { .. } => {
                Self::Quota { reason, message }
            }
            _ => Self::User { reason, message },
        }
    }
}

impl Provider for PoolProvider {
    type Action = Action;
    type Observed = Observed;

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            provider: "pool",
            protocols: vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp],
            mixed_protocols: true,
            max_ports: None,
            creates_outside: false,
            sends_to_nodes: false,
        }
    }

    async fn observe(&self, owner: &Owner) -> Result<Observed, ProviderError> {
        let allocator = self.lock();
        let (held, terms) = (allocator.holding(&owner.service), allocator.terms(&owner.service));
        Ok(Observed { held: held.cloned(), terms: terms.cloned() })
    }

    fn plan(
        &self,
        owner: &Owner,
        desired: Option<&Desired>,
        observed: &Observed,
    ) -> Result<Plan<Action>, ProviderError> {
        let Some(desired) = desired else { return Ok(release(observed)) };
        let wanted = self.lock().choose(&owner.service, desired)?;
        Ok(assign(wanted, observed))
    }

    async fn apply(
        &self,
        owner: &Owner,
        step: &Step<Action>,
        _: Option<&Certificate>,
    ) -> Result<(), ProviderError> {
        match &step.action {
            Action::Assign(assignment) => {
                let committed = self.lock().commit(&owner.service, assignment);
                committed.map_err(|taken| ProviderError::Conflict(taken.to_string()))
            }
            Action::Release => {
                self.lock().release(&owner.service);
                Ok(())
            }
        }
    }

    fn built(&self, observed: &Observed) -> Built {
        observed.held.clone().unwrap_or_default()
    }
}

fn release(observed: &Observed) -> Plan<Action> {
    let Some(held) = &observed.held else { return Plan::empty() };
    // The addresses are named, so that an approval is of this release and of no other.
    let reason = format!("the Service no longer wants {:?}", held.addresses);
    Plan { steps: vec![Step { action: Action::Release, reason, risk: Risk::Destructive, calls: 0 }] }
}

fn assign(wanted: Assignment, observed: &Observed) -> Plan<Action> {
    let (reason, risk) = match &observed.held {
        Some(held) if held.addresses == wanted.addresses => match held.pool.as_deref().unwrap_or_default() {
            pool if pool == wanted.pool && observed.terms == wanted.terms => return Plan::empty(),
            pool if pool == wanted.pool => {
                ("the sharing key, ports or policy changed, and the address can stay".to_owned(), Risk::Safe)
            }
            pool => {
                (format!("the addresses of IPAddressPool {pool:?} are {:?}'s now", wanted.pool), Risk::Safe)
            }
        },
        Some(held) if held.addresses.iter().all(|ip| wanted.addresses.contains(ip)) => {
            ("there is an address of another family now".to_owned(), Risk::Safe)
        }
        Some(held) => (format!("{:?} may not be held any longer", held.addresses), Risk::ReplacesAddress),
        None => ("the Service has no address yet".to_owned(), Risk::Safe),
    };
    Plan { steps: vec![Step { action: Action::Assign(wanted), reason, risk, calls: 0 }] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_terms_are_a_safe_step_although_the_address_stays() {
        let terms = |port| Terms {
            sharing: crate::Sharing {
                key: "k".into(),
                traffic_policy: penstock_model::TrafficPolicy::Cluster,
                selector: std::collections::BTreeMap::new(),
            },
            ports: [UsedPort { port, protocol: Protocol::Tcp }].into(),
        };
        let addresses = vec![IpAddr::from([10, 0, 0, 1])];
        let held = Built { addresses: addresses.clone(), pool: Some("a".into()), ..Built::default() };
        let observed = Observed { held: Some(held), terms: Some(terms(80)) };
        let wanted =
            |port| Assignment { pool: "a".into(), addresses: addresses.clone(), terms: Some(terms(port)) };
        assert!(assign(wanted(80), &observed).is_empty());
        assert_eq!(assign(wanted(81), &observed).steps[0].risk, Risk::Safe);
    }
}
