//! The start: what the statuses say is taken over before anybody gets a new address.

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, api::ListParams};
use penstock_crds::{ALLOCATED_FROM, ALLOCATED_FROM_METALLB, ALLOCATED_FROM_METALLB_OLD, ProviderKind};
use penstock_model::ObjectKey;
use penstock_providers::pool::{PoolProvider, Terms};

use crate::{
    class::{Membership, names_foreign_class, served_by},
    intent::{Intent, World, intent},
    status::shown_addresses,
    trim::trim,
};

/// Lists all Services (a consistent read, not a cache) and adopts them.
pub(crate) async fn adopt_all(
    client: &Client,
    provider: &PoolProvider,
    world: &World,
) -> Result<(), kube::Error> {
    adopt(provider, list(client, world).await?, world);
    Ok(())
}

/// Adopts the addresses of those Services that are ours, the oldest first; also of those on their way out, until
/// their status is cleared. An address that two of them show and do not share stays with the older; the other gets a
/// new one. The provider knows its pools already.
pub fn adopt(provider: &PoolProvider, mut services: Vec<Service>, world: &World) {
    services.retain(|service| holds_pool_addresses(service, world));
    services.sort_by_cached_key(|s| {
        (s.metadata.creation_timestamp.as_ref().map(|t| t.0), s.metadata.uid.clone())
    });
    let mut adopted = 0;
    for service in &services {
        adopted += adopt_one(provider, service);
    }
    tracing::info!(services = services.len(), addresses = adopted, "adopted what the statuses say");
}

/// Adopts what one Service shows; returns how many addresses that is.
pub(crate) fn adopt_one(provider: &PoolProvider, service: &Service) -> usize {
    let (key, addresses) = (ObjectKey::of(&service.metadata), shown_addresses(service));
    let terms = Terms::of_object(service);
    let taken = provider.adopt(&key, &addresses, origin(service), terms.as_ref());
    if !taken.is_empty() {
        tracing::warn!(service = %key, ?taken, "addresses are an older Service's: new ones will be given");
    }
    addresses.len() - taken.len()
}

/// The pool that its addresses came from, also where MetalLB gave them: they stay until that pool, too, has moved here.
fn origin(service: &Service) -> Option<&str> {
    let annotations = service.metadata.annotations.as_ref()?;
    let keys = [ALLOCATED_FROM, ALLOCATED_FROM_METALLB, ALLOCATED_FROM_METALLB_OLD];
    keys.iter().find_map(|key| annotations.get(*key)).map(String::as_str)
}

/// The Services that may hold addresses, page by page: all of them at once would be most of the memory that this process
/// ever needs.
async fn list(client: &Client, world: &World) -> Result<Vec<Service>, kube::Error> {
    const PAGE: u32 = 500;
    let (api, mut params) = (Api::<Service>::all(client.clone()), ListParams::default().limit(PAGE));
    let mut services = Vec::new();
    loop {
        let page = api.list(&params).await?;
        let trimmed = |mut service: Service| {
            trim(&mut service);
            service
        };
        services.extend(page.items.into_iter().filter(|s| holds_pool_addresses(s, world)).map(trimmed));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(services),
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
