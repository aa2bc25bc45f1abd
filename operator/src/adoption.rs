//! The start: what the statuses say is taken over before anybody gets a new address.

use std::net::IpAddr;

use k8s_openapi::{api::core::v1::Service, jiff::Timestamp};
use kube::{Api, Client, api::ListParams};
use penstock_crds::{ALLOCATED_FROM, ALLOCATED_FROM_METALLB, ALLOCATED_FROM_METALLB_OLD, ProviderKind};
use penstock_model::ObjectKey;
use penstock_providers::pool::{PoolProvider, Terms};

use crate::{
    class::{Membership, names_foreign_class, served_by},
    intent::{Intent, World, intent},
    status::shown_addresses,
};

/// Lists all Services (a consistent read, not a cache) and adopts them.
pub(crate) async fn adopt_all(
    client: &Client,
    provider: &PoolProvider,
    world: &World,
) -> Result<(), kube::Error> {
    adopt_oldest_first(provider, list(client, world).await?);
    Ok(())
}

/// Adopts the addresses of those Services that are ours, the oldest first; also of those on their way out, until
/// their status is cleared. An address that two of them show and do not share stays with the older; the other gets a
/// new one. The provider knows its pools already.
pub fn adopt(provider: &PoolProvider, services: &[Service], world: &World) {
    let ours = services.iter().filter(|service| holds_pool_addresses(service, world));
    adopt_oldest_first(provider, ours.map(Showing::of).collect());
}

fn adopt_oldest_first(provider: &PoolProvider, mut all: Vec<Showing>) {
    all.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
    let adopted: usize = all.iter().map(|showing| showing.adopt(provider)).sum();
    tracing::info!(services = all.len(), addresses = adopted, "adopted what the statuses say");
}

/// Adopts what one Service shows.
pub(crate) fn adopt_one(provider: &PoolProvider, service: &Service) {
    Showing::of(service).adopt(provider);
}

/// What counts of a Service for its adoption. The Services themselves would be most of what this process ever needs.
struct Showing {
    created: Option<Timestamp>,
    uid: Option<String>,
    key: ObjectKey,
    addresses: Vec<IpAddr>,
    origin: Option<String>,
    terms: Option<Terms>,
}

impl Showing {
    fn of(service: &Service) -> Self {
        Self {
            created: service.metadata.creation_timestamp.as_ref().map(|t| t.0),
            uid: service.metadata.uid.clone(),
            key: ObjectKey::of(&service.metadata),
            addresses: shown_addresses(service),
            origin: origin(service).map(ToOwned::to_owned),
            terms: Terms::of_object(service),
        }
    }

    /// Returns how many addresses are its own now.
    fn adopt(&self, provider: &PoolProvider) -> usize {
        let taken = provider.adopt(&self.key, &self.addresses, self.origin.as_deref(), self.terms.as_ref());
        if !taken.is_empty() {
            tracing::warn!(service = %self.key, ?taken, "addresses are an older Service's: new ones will be given");
        }
        self.addresses.len() - taken.len()
    }
}

/// The pool that its addresses came from, also where MetalLB gave them: they stay until that pool, too, has moved here.
fn origin(service: &Service) -> Option<&str> {
    let annotations = service.metadata.annotations.as_ref()?;
    let keys = [ALLOCATED_FROM, ALLOCATED_FROM_METALLB, ALLOCATED_FROM_METALLB_OLD];
    keys.iter().find_map(|key| annotations.get(*key)).map(String::as_str)
}

/// What the Services show that may hold addresses, page by page.
async fn list(client: &Client, world: &World) -> Result<Vec<Showing>, kube::Error> {
    const PAGE: u32 = 100;
    let (api, mut params) = (Api::<Service>::all(client.clone()), ListParams::default().limit(PAGE));
    let mut all = Vec::new();
    loop {
        let page = api.list(&params).await?;
        all.extend(page.items.iter().filter(|s| holds_pool_addresses(s, world)).map(Showing::of));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

fn holds_pool_addresses(service: &Service, world: &World) -> bool {
    intent(service, world) != Intent::Ignore && from_pools(service, world)
}

/// Whether the addresses that the Service shows are a pool's. Those of a balancer outside are none of ours to give;
/// and those that somebody else's controller gave are kept where the Service's class takes from pools now.
fn from_pools(service: &Service, world: &World) -> bool {
    if names_foreign_class(service) {
        return false;
    }
    if service.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(ALLOCATED_FROM)) {
        return true;
    }
    let serving = served_by(service).and_then(|name| world.classes.get(name));
    match (serving, world.classes.membership(service)) {
        (Some(class), _) => class.provider == ProviderKind::Pool,
        (None, Membership::Ours(_, class)) => class.provider == ProviderKind::Pool,
        (None, Membership::Missing(_) | Membership::Foreign) => false,
    }
}
