//! Who owns a frontend when two Services claim the same address, protocol and port.
//!
//! One key can stand only once in the node's maps. The ClusterIP's owner wins, then node ports, then the
//! older Service (CVE-2020-8554: a newcomer must not take another's traffic), then the smaller UID.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use crate::{FrontendAddress, FrontendKind, ObjectKey, Protocol};

/// A claim, in the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) kind: FrontendKind,
    /// Shared by all claims of the Service.
    pub(crate) holder: Arc<Holder>,
    pub(crate) port: u16,
    pub(crate) protocol: Protocol,
}

/// The Service that claims, in the order of precedence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder {
    pub(crate) created: i64,
    pub(crate) uid: Box<str>,
    pub(crate) service: Arc<ObjectKey>,
}

/// All claims, by what is claimed.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// In order; nearly always there is one.
    by_address: BTreeMap<FrontendAddress, Vec<Claim>>,
    /// How many claims make an address a Service's own. A node's address is not: its pods may have it too.
    vips: HashMap<IpAddr, u32>,
}

/// Whom a change of the claims concerns besides the claiming Service.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Concern {
    /// Who lost or gained the address.
    pub(crate) other: Option<Arc<ObjectKey>>,
    /// Whether the address became a Service's own, or ceased to be.
    pub(crate) vip: bool,
}

impl Claims {
    /// Who owns the address now.
    pub(crate) fn owner(&self, address: &FrontendAddress) -> Option<&Claim> {
        self.by_address.get(address).and_then(|claims| claims.first())
    }

    /// Whether a Service claims the address for itself.
    pub(crate) fn is_vip(&self, ip: IpAddr) -> bool {
        self.vips.contains_key(&ip)
    }

    /// Adds a claim that is not there.
    pub(crate) fn add(&mut self, address: FrontendAddress, claim: Claim) -> Concern {
        let mut vip = false;
        if claim.kind != FrontendKind::NodePort {
            let count = self.vips.entry(address.ip).or_default();
            *count += 1;
            vip = *count == 1;
        }
        let claims = self.by_address.entry(address).or_insert_with(|| Vec::with_capacity(1));
        let place = claims.partition_point(|known| *known < claim);
        let loser = claims.first().filter(|_| place == 0).map(|owner| Arc::clone(&owner.holder.service));
        claims.insert(place, claim);
        Concern { other: loser, vip }
    }

    /// Removes a claim.
    pub(crate) fn remove(&mut self, address: &FrontendAddress, claim: &Claim) -> Concern {
        let Some(claims) = self.by_address.get_mut(address) else { return Concern::default() };
        let Ok(place) = claims.binary_search(claim) else { return Concern::default() };
        claims.remove(place);
        let heir = claims.first().filter(|_| place == 0).map(|heir| Arc::clone(&heir.holder.service));
        if claims.is_empty() {
            self.by_address.remove(address);
        }
        Concern { other: heir, vip: claim.kind != FrontendKind::NodePort && self.forget_vip(address.ip) }
    }

    /// Whether that was the last claim to it.
    fn forget_vip(&mut self, ip: IpAddr) -> bool {
        let Some(count) = self.vips.get_mut(&ip) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            self.vips.remove(&ip);
        }
        last
    }
}
