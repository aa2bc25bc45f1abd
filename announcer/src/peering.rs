//! The routers that this node talks to: BGPPeers, what they name, and what follows for this node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU8,
    time::Duration,
};

use kube::core::Duration as Text;
use penstock_crds::{
    BFDProfile, BFDProfileSpec, BGPPeer, BGPPeerSpec, DynamicAsn, LabelSelectorError, LabelSelectors,
};
use penstock_model::{Node, ObjectKey};

use crate::{
    bfd::Profile,
    bgp::{Distance, NextHops, Password, Peer, RemoteAsn},
    input::Index,
};

/// Without `holdTime` (RFC 4271, section 10).
const HOLD_TIME: Duration = Duration::from_secs(90);
/// Without `connectTime`. The RFC's 120 s are long for a router that has only been rebooted.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// For how long a router is asked to keep our routes while we restart.
const RESTART_TIME: Duration = Duration::from_secs(120);
/// RFC 4271, section 4.2: less is refused, but for 0.
const LEAST_HOLD_TIME: Duration = Duration::from_secs(3);

/// A session that this node should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The session itself.
    pub peer: Peer,
    /// How the router's absence is noticed, beside the hold time.
    pub bfd: Option<Profile>,
    /// The UID of its BGPPeer.
    pub uid: String,
}

/// Why a node opens no session to a router.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeeringError {
    /// A selector cannot be read.
    #[error(transparent)]
    Selector(#[from] LabelSelectorError),
    /// No address.
    #[error("spec.{field}: {text:?} is not an IP address of the family wanted")]
    Address {
        /// The field.
        field: &'static str,
        /// What stands there.
        text: String,
    },
    /// No time.
    #[error("spec.{field}: {text} is not from {least} to {most} seconds")]
    Time {
        /// The field.
        field: &'static str,
        /// What stands there.
        text: String,
        /// In seconds.
        least: u64,
        /// In seconds.
        most: u64,
    },
    /// RFC 4271, section 4.2.
    #[error("spec.holdTime: must be 0s or at least 3s")]
    HoldTime,
    /// Both or neither.
    #[error("spec: give either peerASN or dynamicASN")]
    Asn,
    /// The Secret is not there, not ours to read, or has no password.
    #[error("spec.passwordSecret: {0}")]
    Password(String),
}

#[derive(Debug)]
struct Router {
    uid: String,
    spec: BGPPeerSpec,
    nodes: Result<LabelSelectors, LabelSelectorError>,
}

/// The index.
#[derive(Debug, Default)]
pub struct Peering {
    routers: BTreeMap<ObjectKey, Router>,
    profiles: BTreeMap<ObjectKey, BFDProfileSpec>,
    passwords: BTreeMap<String, Result<Password, String>>,
}

impl Peering {
    /// Takes a new or changed router.
    pub fn apply_peer(&mut self, object: &BGPPeer) -> bool {
        let nodes = LabelSelectors::read("spec.nodeSelectors", &object.spec.node_selectors);
        let uid = object.metadata.uid.clone().unwrap_or_default();
        let router = Router { uid, spec: object.spec.clone(), nodes };
        let before = self.routers.insert(ObjectKey::of(&object.metadata), router);
        before.is_none_or(|before| before.spec != object.spec)
    }

    /// Forgets a router.
    pub fn delete_peer(&mut self, key: &ObjectKey) -> bool {
        self.routers.remove(key).is_some()
    }

    /// Takes a new or changed profile.
    pub fn apply_profile(&mut self, object: &BFDProfile) -> bool {
        let before = self.profiles.insert(ObjectKey::of(&object.metadata), object.spec.clone());
        before.is_none_or(|before| before != object.spec)
    }

    /// Forgets a profile.
    pub fn delete_profile(&mut self, key: &ObjectKey) -> bool {
        self.profiles.remove(key).is_some()
    }

    /// Takes what a Secret holds. A password that is known stays when its Secret goes: the session stands, and the router
    /// still asks for it.
    pub fn take_password(&mut self, secret: String, password: Result<Password, String>) -> bool {
        if password.is_err() && matches!(self.passwords.get(&secret), Some(Ok(_))) {
            return false;
        }
        let before = self.passwords.insert(secret, password.clone());
        before != Some(password)
    }

    /// The Secrets that routers name.
    #[must_use]
    pub fn secrets(&self) -> BTreeSet<&str> {
        let named = self.routers.values().filter_map(|router| router.spec.password_secret.as_ref());
        named.map(|secret| secret.name.as_str()).collect()
    }

    /// The sessions of a node, and what cannot be carried out, one sentence a router.
    #[must_use]
    pub fn sessions(&self, node: &Node) -> (BTreeMap<String, Session>, BTreeSet<String>) {
        let (mut sessions, mut problems) = (BTreeMap::new(), BTreeSet::new());
        for (key, router) in &self.routers {
            match self.session(router, node) {
                Ok(None) => {}
                Ok(Some(peer)) => {
                    let bfd = self.profile(key, &router.spec, &mut problems);
                    sessions.insert(key.name.clone(), Session { peer, bfd, uid: router.uid.clone() });
                }
                Err(error) => {
                    problems.insert(format!("BGPPeer {}: no session: {error}", key.name));
                }
            }
        }
        (sessions, problems)
    }

    /// A session without BFD is better than none: hold time still finds out about a router that is gone.
    fn profile(
        &self,
        key: &ObjectKey,
        spec: &BGPPeerSpec,
        problems: &mut BTreeSet<String>,
    ) -> Option<Profile> {
        let name = spec.bfd_profile.as_ref()?;
        let profile = self.profiles.get(&ObjectKey::new(&key.namespace, name));
        let missing = || "there is no such BFDProfile in this namespace".to_owned();
        let read = profile.ok_or_else(missing).and_then(|spec| Profile::new(spec).map_err(|e| e.to_string()));
        let tell = |refusal: &String| {
            let peer = &key.name;
            problems.insert(format!(
                "BGPPeer {peer}: a session without BFD: spec.bfdProfile: {name:?}: {refusal}"
            ));
        };
        read.inspect_err(tell).ok()
    }

    fn session(&self, router: &Router, node: &Node) -> Result<Option<Peer>, PeeringError> {
        let nodes = router.nodes.as_ref().map_err(Clone::clone)?;
        if !nodes.is_empty() && !nodes.any_matches(&node.labels) {
            return Ok(None);
        }
        let spec = &router.spec;
        Ok(Some(Peer {
            address: address("peerAddress", &spec.peer_address)?,
            port: spec.peer_port,
            local_asn: spec.my_asn,
            remote_asn: remote_asn(spec)?,
            router_id: router_id(spec, node)?,
            source: spec.source_address.as_deref().map(|text| address("sourceAddress", text)).transpose()?,
            hold_time: hold_time(spec)?,
            keepalive: spec
                .keepalive_time
                .map(|text| seconds("keepaliveTime", text, 1, 21_845))
                .transpose()?,
            connect_retry: spec
                .connect_time
                .map_or(Ok(CONNECT_TIME), |text| seconds("connectTime", text, 1, 65_535))?,
            password: self.password(spec)?,
            distance: distance(spec),
            graceful_restart: spec.enable_graceful_restart.then_some(RESTART_TIME),
            next_hops: next_hops(node),
        }))
    }

    fn password(&self, spec: &BGPPeerSpec) -> Result<Option<Password>, PeeringError> {
        let Some(secret) = &spec.password_secret else { return Ok(None) };
        match self.passwords.get(&secret.name) {
            Some(Ok(password)) => Ok(Some(password.clone())),
            Some(Err(reason)) => Err(PeeringError::Password(reason.clone())),
            None => Err(PeeringError::Password(waiting(&secret.name))),
        }
    }
}

/// Whoever may not read a Secret waits for it: the API server says so to the log only.
fn waiting(secret: &str) -> String {
    format!("waiting for the Secret {secret:?}; the chart's announcer.passwordSecrets must name it")
}

fn remote_asn(spec: &BGPPeerSpec) -> Result<RemoteAsn, PeeringError> {
    match (spec.peer_asn, spec.dynamic_asn) {
        (Some(asn), None) => Ok(RemoteAsn::Exactly(asn)),
        (None, Some(DynamicAsn::Internal)) => Ok(RemoteAsn::Internal),
        (None, Some(DynamicAsn::External)) => Ok(RemoteAsn::External),
        _ => Err(PeeringError::Asn),
    }
}

fn distance(spec: &BGPPeerSpec) -> Distance {
    match spec.ttl_security_hops.and_then(NonZeroU8::new) {
        Some(hops) => Distance::Within(hops),
        None if spec.ebgp_multi_hop => Distance::Anywhere,
        None => Distance::Usual,
    }
}

fn hold_time(spec: &BGPPeerSpec) -> Result<Duration, PeeringError> {
    let Some(text) = spec.hold_time else { return Ok(HOLD_TIME) };
    let time = seconds("holdTime", text, 0, 65_535)?;
    if time.is_zero() || time >= LEAST_HOLD_TIME { Ok(time) } else { Err(PeeringError::HoldTime) }
}

/// Objects stored before a rule of the kind existed may still hold anything.
fn seconds(field: &'static str, text: Text, least: u64, most: u64) -> Result<Duration, PeeringError> {
    let limits = Duration::from_secs(least)..=Duration::from_secs(most);
    let refused = || PeeringError::Time { field, text: text.to_string(), least, most };
    let negative = text < Duration::ZERO;
    let time = Duration::from(text);
    if negative || !limits.contains(&time) { Err(refused()) } else { Ok(time) }
}

fn address(field: &'static str, text: &str) -> Result<IpAddr, PeeringError> {
    text.parse().map_err(|_| PeeringError::Address { field, text: text.to_owned() })
}

/// Unique among the nodes, and the same after a restart: routers tell a node that comes back by it (RFC 4724).
fn router_id(spec: &BGPPeerSpec, node: &Node) -> Result<Ipv4Addr, PeeringError> {
    if let Some(text) = &spec.router_id {
        let id = text.parse().ok().filter(|id: &Ipv4Addr| !id.is_unspecified());
        return id.ok_or_else(|| PeeringError::Address { field: "routerID", text: text.clone() });
    }
    Ok(next_hops(node).v4.unwrap_or_else(|| id_of_name(&node.name)))
}

/// RFC 6286: any number but zero that nobody else in the AS has. FNV-1a, 32 bits.
fn id_of_name(name: &str) -> Ipv4Addr {
    let hash =
        name.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    Ipv4Addr::from(hash.max(1))
}

fn next_hops(node: &Node) -> NextHops {
    let v4 = node.internal_ips.iter().find_map(|ip| if let IpAddr::V4(v4) = ip { Some(*v4) } else { None });
    let v6 = node.internal_ips.iter().find_map(|ip| if let IpAddr::V6(v6) = ip { Some(*v6) } else { None });
    NextHops { v4, v6 }
}

/// The kinds of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// BGPPeers.
    Peers,
    /// BFDProfiles.
    Profiles,
}

impl Index for Peering {
    type Kind = Kind;

    fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        match kind {
            Kind::Peers => self.routers.keys().cloned().collect(),
            Kind::Profiles => self.profiles.keys().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests;
