//! What stands in the table for one frontend, and how it differs from what stood there before.

use std::{collections::BTreeMap, net::SocketAddr};

use penstock_model::{FrontendAddress, Others, Route, Scope, Sources, Treatment};

use super::{Element, ElementKey, Transaction};
use crate::nftables::chain::{Choice, Send, Target};

const SCOPES: [Scope; 2] = [Scope::Cluster, Scope::Local];

/// The endpoints that a frontend leads to, at their indexes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Endpoints<'a> {
    pub(super) cluster: &'a [SocketAddr],
    pub(super) local: &'a [SocketAddr],
    /// With affinity: of all of them.
    pub(super) tokens: Option<&'a BTreeMap<SocketAddr, u32>>,
}

/// The elements of a frontend.
#[derive(Clone, Debug, Default)]
pub(super) struct View<'a> {
    /// Few, whatever the number of endpoints.
    heads: BTreeMap<ElementKey, Element>,
    frontend: Option<FrontendAddress>,
    endpoints: Endpoints<'a>,
}

impl<'a> View<'a> {
    /// With affinity: the upper bits of the port's tokens, and the time-out in seconds.
    pub(super) fn new(
        frontend: FrontendAddress,
        treatment: Treatment<'_>,
        endpoints: Endpoints<'a>,
        affinity: Option<(u32, u32)>,
    ) -> Self {
        let mut elements = entry(frontend, treatment.route, endpoints, affinity.map(|(_, seconds)| seconds));
        if let Some((number, _)) = affinity {
            elements.extend(chosen_by_token(frontend, endpoints, number));
        }
        if let Sources::Only(nets) = treatment.sources {
            elements.push(Element::Firewalled(frontend));
            elements.extend(nets.iter().map(|net| Element::Source(frontend, *net)));
        }
        let heads = elements.into_iter().map(|element| (element.key(), element)).collect();
        Self { heads, frontend: Some(frontend), endpoints }
    }

    /// What has to be done to come from one to the other.
    pub(super) fn diff(old: &Self, new: &Self, transaction: &mut Transaction) {
        diff_maps(&old.heads, &new.heads, transaction);
        for scope in SCOPES {
            let (mut before, mut after) = (old.indexed(scope), new.indexed(scope));
            loop {
                match (before.next(), after.next()) {
                    (None, None) => break,
                    (before, after) if before == after => {}
                    (before, after) => {
                        transaction.deletes.extend(before.map(|element| element.key()));
                        transaction.adds.extend(after);
                    }
                }
            }
            diff_maps(&old.holders(scope), &new.holders(scope), transaction);
        }
    }

    /// By index: where the endpoint listens, or with affinity its token. Equal positions have equal keys or other kinds.
    fn indexed(&self, scope: Scope) -> impl Iterator<Item = Element> {
        let tokens = self.endpoints.tokens;
        let slots = (0_u32..).zip(self.endpoints.of(scope));
        self.frontend.into_iter().flat_map(move |frontend| {
            slots.clone().filter_map(move |(index, to)| match tokens {
                None => Some(Element::Endpoint(frontend, scope, index, *to)),
                Some(tokens) => Some(Element::Token(frontend, scope, index, *tokens.get(to)?)),
            })
        })
    }

    /// By token, with affinity: where the endpoint listens.
    fn holders(&self, scope: Scope) -> BTreeMap<ElementKey, Element> {
        let (Some(frontend), Some(tokens)) = (self.frontend, self.endpoints.tokens) else {
            return BTreeMap::new();
        };
        let holders = self.endpoints.of(scope).iter().filter_map(|to| {
            let element = Element::Holder(frontend, scope, *tokens.get(to)?, *to);
            Some((element.key(), element))
        });
        holders.collect()
    }
}

impl<'a> Endpoints<'a> {
    fn of(&self, scope: Scope) -> &'a [SocketAddr] {
        match scope {
            Scope::Cluster => self.cluster,
            Scope::Local => self.local,
        }
    }

    fn count(&self, scope: Scope) -> u32 {
        // The index that a packet draws has 32 bits; no API server holds that many endpoints.
        u32::try_from(self.of(scope).len()).unwrap_or(u32::MAX)
    }
}

/// What a packet to the frontend finds first.
fn entry(
    frontend: FrontendAddress,
    route: Route,
    endpoints: Endpoints<'_>,
    affinity: Option<u32>,
) -> Vec<Element> {
    let send = |masquerade, scope| {
        let random = || Choice::Random(endpoints.count(scope));
        Target::Send(Send { masquerade, scope, choice: affinity.map_or_else(random, Choice::Sticky) })
    };
    match route {
        Route::Reject => vec![Element::Refused(frontend)],
        Route::Drop => vec![Element::Service(frontend, Target::Drop)],
        Route::To { scope, masquerade } => vec![Element::Service(frontend, send(Some(masquerade), scope))],
        Route::ShortCircuit { others } => {
            let others = match others {
                Others::ToLocal => send(None, Scope::Local),
                Others::Drop => Target::Drop,
            };
            vec![
                Element::Service(frontend, Target::ShortCircuit),
                Element::Inside(frontend, send(None, Scope::Cluster)),
                Element::Outside(frontend, others),
            ]
        }
    }
}

fn chosen_by_token(frontend: FrontendAddress, endpoints: Endpoints<'_>, number: u32) -> Vec<Element> {
    let counts = SCOPES.map(|scope| (scope, endpoints.count(scope)));
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let mut elements: Vec<_> = counts.map(|(scope, count)| Element::Choice(frontend, scope, count)).collect();
    if !elements.is_empty() {
        elements.push(Element::Affine(frontend, number));
    }
    elements
}

fn diff_maps(
    old: &BTreeMap<ElementKey, Element>,
    new: &BTreeMap<ElementKey, Element>,
    transaction: &mut Transaction,
) {
    let gone = old.iter().filter(|(key, element)| new.get(key) != Some(element));
    transaction.deletes.extend(gone.map(|(key, _)| *key));
    let come = new.iter().filter(|(key, element)| old.get(key) != Some(element));
    transaction.adds.extend(come.map(|(_, element)| *element));
}
