//! The start: what the statuses say is taken over before anybody gets a new address.

use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client, api::ListParams};
use penstock_crds::ALLOCATED_FROM;
use penstock_model::ObjectKey;
use penstock_providers::pool::PoolProvider;

use crate::{
    class::Classes,
    intent::{Intent, intent},
    status::shown_addresses,
};

/// Lists all Services (a consistent read, not a cache) and adopts the addresses of those that are ours, the
/// oldest first; also of those on their way out, until their status is cleared. An address that two of them show
/// stays with the older; the other gets a new one.
pub(crate) async fn adopt_all(
    client: &Client,
    provider: &PoolProvider,
    classes: &Classes,
) -> Result<(), kube::Error> {
    let mut services = Api::<Service>::all(client.clone()).list(&ListParams::default()).await?.items;
    services.retain(|service| intent(service, classes) != Intent::Ignore);
    services.sort_by_cached_key(|s| {
        (s.metadata.creation_timestamp.as_ref().map(|t| t.0), s.metadata.uid.clone())
    });
    let mut adopted = 0;
    for service in &services {
        let (key, addresses) = (ObjectKey::of(&service.metadata), shown_addresses(service));
        let origin = service.metadata.annotations.as_ref().and_then(|a| a.get(ALLOCATED_FROM));
        let taken = provider.adopt(&key, &addresses, origin.map(String::as_str));
        adopted += addresses.len() - taken.len();
        if !taken.is_empty() {
            tracing::warn!(service = %key, ?taken, "addresses are an older Service's: new ones will be given");
        }
    }
    tracing::info!(services = services.len(), addresses = adopted, "adopted what the statuses say");
    Ok(())
}
