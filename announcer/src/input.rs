//! What an announcer can be told, and whether it has been told everything once.

use std::{collections::BTreeSet, net::IpAddr, time::Instant};

use k8s_openapi::api::{coordination::v1::Lease, core::v1 as core, discovery::v1 as discovery};
use penstock_crds::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use penstock_model::{ObjectKey, Standing};
use penstock_runtime::Update;

use crate::{bgp::Password, dataplane_link::Done, link::Link, mac::Mac};

/// What an announcer can be told.
#[derive(Clone, Debug)]
pub enum Input {
    /// News of Services.
    Services(Box<Update<core::Service>>),
    /// News of EndpointSlices.
    Slices(Box<Update<discovery::EndpointSlice>>),
    /// News of Nodes.
    Nodes(Box<Update<core::Node>>),
    /// News of pools.
    Pools(Box<Update<IPAddressPool>>),
    /// News of advertisements.
    Advertisements(Box<Update<L2Advertisement>>),
    /// News of what is announced by BGP.
    RouteAdvertisements(Box<Update<BGPAdvertisement>>),
    /// News of routers.
    Peers(Box<Update<BGPPeer>>),
    /// News of BFD's times.
    BfdProfiles(Box<Update<BFDProfile>>),
    /// News of names for communities.
    Communities(Box<Update<Community>>),
    /// What a Secret that a router's session needs holds.
    Password {
        /// The Secret's name.
        secret: String,
        /// The password, or why there is none.
        password: Result<Password, String>,
    },
    /// Which addresses have rules on this node.
    Standing {
        /// What the dataplane says.
        word: Standing,
        /// To be dropped when it is carried out.
        done: Done,
    },
    /// News of the announcers' Leases.
    Leases(Box<Update<Lease>>),
    /// This node's links, all of them.
    Links(Vec<Link>),
    /// A renewal of our Lease with this token is about to be sent.
    RenewalSent {
        /// The token.
        token: i64,
        /// When.
        at: Instant,
    },
    /// Another station claims an address that we answer for.
    Claim {
        /// The address.
        address: IpAddr,
        /// Who.
        by: Mac,
        /// Where it was heard.
        interface: String,
    },
}

/// Which kinds have arrived as complete lists.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    kinds: BTreeSet<&'static str>,
    /// Whether the dataplane's word is awaited too.
    coupled: bool,
}

impl Arrived {
    const ALL: usize = 11;

    /// Notes what an input brings.
    pub(crate) fn note(&mut self, input: &Input) {
        let (kind, whole) = match input {
            Input::Services(update) => ("services", is_whole(update)),
            Input::Slices(update) => ("slices", is_whole(update)),
            Input::Nodes(update) => ("nodes", is_whole(update)),
            Input::Pools(update) => ("pools", is_whole(update)),
            Input::Advertisements(update) => ("advertisements", is_whole(update)),
            Input::RouteAdvertisements(update) => ("route advertisements", is_whole(update)),
            Input::Peers(update) => ("peers", is_whole(update)),
            Input::BfdProfiles(update) => ("profiles", is_whole(update)),
            Input::Communities(update) => ("communities", is_whole(update)),
            Input::Leases(update) => ("leases", is_whole(update)),
            Input::Links(_) => ("links", true),
            Input::Standing { word, .. } => ("rules", matches!(word, Standing::All(_))),
            Input::RenewalSent { .. } | Input::Claim { .. } | Input::Password { .. } => return,
        };
        if whole {
            self.kinds.insert(kind);
        }
    }

    /// Awaits the dataplane's word too.
    pub(crate) fn couple(&mut self) {
        self.coupled = true;
    }

    /// Whether every list has.
    pub(crate) fn is_complete(&self) -> bool {
        let others = self.kinds.iter().filter(|kind| **kind != "rules").count();
        others == Self::ALL && (!self.coupled || self.kinds.contains("rules"))
    }
}

fn is_whole<K>(update: &Update<K>) -> bool {
    matches!(update, Update::Reset(_))
}

/// What objects are kept in.
pub(crate) trait Index {
    /// What tells the kinds that it keeps apart.
    type Kind;

    /// The keys of everything of a kind, for comparing with a complete list.
    fn keys(&self, kind: Self::Kind) -> Vec<ObjectKey>;
}

/// Passes an update on to an index; returns whether anything may differ.
pub(crate) fn update<I: Index, K: kube::Resource>(
    index: &mut I,
    update: Update<K>,
    kind: I::Kind,
    apply: fn(&mut I, &K) -> bool,
    delete: fn(&mut I, &ObjectKey) -> bool,
) -> bool {
    match update {
        Update::Apply(object) => apply(index, &object),
        Update::Delete(object) => delete(index, &ObjectKey::of(object.meta())),
        Update::Reset(objects) => {
            let kept: BTreeSet<_> = objects.iter().map(|object| ObjectKey::of(object.meta())).collect();
            let gone: Vec<_> = index.keys(kind).into_iter().filter(|key| !kept.contains(key)).collect();
            let deleted = gone.iter().fold(false, |changed, key| delete(index, key) | changed);
            objects.iter().fold(deleted, |changed, object| apply(index, object) | changed)
        }
    }
}
