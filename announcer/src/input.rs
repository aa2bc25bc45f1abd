//! What an announcer can be told, and whether it has been told everything once.

use std::{collections::BTreeSet, net::IpAddr, time::Instant};

use k8s_openapi::api::{coordination::v1::Lease, core::v1 as core, discovery::v1 as discovery};
use penstock_crds::{BFDProfile, BGPAdvertisement, BGPPeer, Community, IPAddressPool, L2Advertisement};
use penstock_model::{ObjectKey, Standing};
use penstock_runtime::Update;

use crate::{bgp::Password, dataplane_link::Done, link::Link, mac::Mac, succession::Predecessor};

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
    /// News of the announcer that was on this node before this one.
    Predecessor(Predecessor),
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

/// What has arrived of that which must be known before anything is announced.
#[derive(Debug, Default)]
pub(crate) struct Arrived {
    /// The kinds that did as complete lists.
    kinds: BTreeSet<&'static str>,
    /// Whether the dataplane's word did; `None` where it is not awaited.
    rules: Option<bool>,
    /// Whether another announcer of this node left us the turn.
    turn: bool,
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
            Input::Standing { word: Standing::All(_), .. } => return self.note_rules(),
            Input::Predecessor(Predecessor::Gone) => return self.turn = true,
            Input::Predecessor(Predecessor::Yields(standing)) => {
                self.turn = true;
                return standing.iter().for_each(|_| self.note_rules());
            }
            Input::Standing { .. }
            | Input::RenewalSent { .. }
            | Input::Claim { .. }
            | Input::Password { .. } => return,
        };
        if whole {
            self.kinds.insert(kind);
        }
    }

    fn note_rules(&mut self) {
        self.rules.iter_mut().for_each(|arrived| *arrived = true);
    }

    /// Awaits the dataplane's word too.
    pub(crate) fn couple(&mut self) {
        self.rules = Some(false);
    }

    /// Whether every list has.
    pub(crate) fn all_lists(&self) -> bool {
        self.kinds.len() == Self::ALL
    }

    /// Whether another announcer still has its turn.
    pub(crate) fn stands_by(&self) -> bool {
        !self.turn
    }

    /// Whether nothing is awaited any longer.
    pub(crate) fn is_complete(&self) -> bool {
        self.all_lists() && self.turn && self.rules != Some(false)
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
