//! Who owns a frontend when two Services claim the same address, protocol and port.
//!
//! One key can stand only once in the node's maps. The ClusterIP's owner wins, then node ports, then the
//! older Service (CVE-2020-8554: a newcomer must not take another's traffic), then the smaller UID.

use std::collections::{BTreeMap, BTreeSet};

use crate::{FrontendAddress, FrontendKind, PortKey};

/// A claim, in the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) kind: FrontendKind,
    pub(crate) created: i64,
    pub(crate) uid: String,
    pub(crate) port: PortKey,
}

/// All claims, by what is claimed.
#[derive(Debug, Default)]
pub(crate) struct Claims(BTreeMap<FrontendAddress, BTreeSet<Claim>>);

impl Claims {
    /// Who owns the address now.
    pub(crate) fn owner(&self, address: &FrontendAddress) -> Option<&Claim> {
        self.0.get(address).and_then(BTreeSet::first)
    }

    /// Adds a claim; returns who loses the address by it.
    pub(crate) fn add(&mut self, address: FrontendAddress, claim: Claim) -> Option<PortKey> {
        let before = self.owner(&address).cloned();
        self.0.entry(address).or_default().insert(claim);
        let after = self.owner(&address);
        before.filter(|b| after != Some(b)).map(|b| b.port)
    }

    /// Removes a claim; returns who gains the address by it.
    pub(crate) fn remove(&mut self, address: &FrontendAddress, claim: &Claim) -> Option<PortKey> {
        let claims = self.0.get_mut(address)?;
        let owned = claims.first() == Some(claim);
        claims.remove(claim);
        let heir = claims.first().filter(|_| owned).map(|c| c.port.clone());
        if claims.is_empty() {
            self.0.remove(address);
        }
        heir
    }
}
