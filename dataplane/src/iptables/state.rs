//! What stands in the kernel for one family, and how a change changes it. Pure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ipnet::IpNet;
use penstock_model::{Change, Family, PortKey, ServicePort};

use super::{
    chains::{Chains, Patch, Table},
    fixed,
    name::{HAIRPINS, REFUSALS, SERVICES},
    port::{Port, Share},
    tree::{Key, Tree},
};
use crate::{Programmed, nftables::TableConfig};

/// The rules of a family.
#[derive(Clone, Debug)]
pub(super) struct State {
    family: Family,
    fixed: Chains,
    cluster_cidrs: Vec<IpNet>,
    ports: HashMap<PortKey, Arc<ServicePort>>,
    services: Tree,
    refusals: Tree,
    hairpins: Tree,
    programmed: Programmed,
}

impl State {
    /// Without Services.
    pub(super) fn new(family: Family, config: &TableConfig) -> Self {
        Self {
            family,
            fixed: fixed::chains(config, family),
            cluster_cidrs: fixed::of_family(&config.cluster_cidrs, family),
            ports: HashMap::new(),
            services: Tree::new(Table::Nat, SERVICES, "-d", family),
            refusals: Tree::new(Table::Filter, REFUSALS, "-d", family),
            hairpins: Tree::new(Table::Nat, HAIRPINS, "-s", family),
            programmed: Programmed::default(),
        }
    }

    /// Takes changes as done and returns what has to be done for them.
    pub(super) fn apply(&mut self, changes: &[Change]) -> Patch {
        // Of several changes of a port the last one counts.
        let last: BTreeMap<&PortKey, &Change> = changes.iter().map(|change| (&change.key, change)).collect();
        let differences: Vec<(Share, Share)> =
            last.into_values().map(|change| self.succeed(change)).collect();
        let mut patch = Patch::default();
        for (old, new) in &differences {
            patch.extend(Patch::between(&old.chains, new.chains.clone()));
        }
        // Deletions go before additions: an address may move from one Service to another within a batch.
        patch.extend(update(&mut self.services, &differences, |share| &share.services));
        patch.extend(update(&mut self.refusals, &differences, |share| &share.refusals));
        patch.extend(update(&mut self.hairpins, &differences, |share| &share.hairpins));
        patch
    }

    /// Takes other Service ranges.
    pub(super) fn set_config(&mut self, config: &TableConfig) -> Patch {
        let before = std::mem::replace(&mut self.fixed, fixed::chains(config, self.family));
        Patch::between(&before, self.fixed.clone())
    }

    /// All that stands.
    pub(super) fn chains(&self) -> Chains {
        let shares = self.ports.iter().flat_map(|(key, desired)| self.share(key, desired).chains);
        let trees = [&self.services, &self.refusals, &self.hairpins].map(Tree::chains);
        self.fixed.clone().into_iter().chain(shares).chain(trees.into_iter().flatten()).collect()
    }

    pub(super) fn programmed(&self) -> Programmed {
        self.programmed
    }

    fn port<'a>(&'a self, key: &'a PortKey, desired: &'a ServicePort) -> Port<'a> {
        Port { key, desired, family: self.family, cluster_cidrs: &self.cluster_cidrs }
    }

    fn share(&self, key: &PortKey, desired: &ServicePort) -> Share {
        self.port(key, desired).share()
    }

    /// What a port added and what it adds.
    fn succeed(&mut self, change: &Change) -> (Share, Share) {
        let old = self.ports.remove(&change.key).unwrap_or_default();
        let new = change.desired.clone().unwrap_or_default();
        let (gone, come) = (self.port(&change.key, &old), self.port(&change.key, &new));
        let (counts, shares) = ((gone.count(), come.count()), (gone.share(), come.share()));
        self.programmed.frontends = self.programmed.frontends - counts.0.0 + counts.1.0;
        self.programmed.endpoints = self.programmed.endpoints - counts.0.1 + counts.1.1;
        if change.desired.is_some() {
            self.ports.insert(change.key.clone(), new);
        }
        shares
    }
}

type Keyed = Vec<(Key, Vec<String>)>;

/// The keys of all ports whose rules differ.
fn update(tree: &mut Tree, differences: &[(Share, Share)], part: impl Fn(&Share) -> &Keyed) -> Patch {
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    for (old, now) in differences {
        let (old, now) = (part(old), part(now));
        gone.extend(old.iter().filter(|entry| !now.contains(entry)).map(|(key, _)| *key));
        new.extend(now.iter().filter(|entry| !old.contains(entry)).cloned());
    }
    tree.update(&gone, &new)
}

#[cfg(test)]
mod tests;
