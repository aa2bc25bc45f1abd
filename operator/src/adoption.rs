//! The start: what the statuses say is taken over before anybody gets a new address.

use k8s_openapi::api::core::v1::Service as Object;
use kube::{Api, Client, api::ListParams};
use penstock_crds::ALLOCATED_FROM;
use penstock_model::Service;
use penstock_providers::pool::PoolProvider;

use crate::{
    class::Classes,
    intent::{Intent, intent},
};

/// Lists all Services (a consistent read, not a cache) and adopts the addresses of those that are ours, the
/// oldest first. An address that two of them show stays with the older; the other gets a new one.
pub(crate) async fn adopt_all(
    client: &Client,
    provider: &PoolProvider,
    classes: &Classes,
) -> Result<(), kube::Error> {
    let listed = Api::<Object>::all(client.clone()).list(&ListParams::default()).await?;
    let ours = |object: &&Object| matches!(intent(object, classes), Intent::Provision(_) | Intent::Hold(..));
    let mut services: Vec<Service> = listed.items.iter().filter(ours).map(Service::from_object).collect();
    services.sort_by(|a, b| (a.created, &a.uid).cmp(&(b.created, &b.uid)));
    let mut adopted = 0;
    for service in services.iter().filter(|s| !s.load_balancer_ips.is_empty()) {
        let origin = service.annotations.get(ALLOCATED_FROM).map(String::as_str);
        let taken = provider.adopt(&service.key, &service.load_balancer_ips, origin);
        adopted += service.load_balancer_ips.len() - taken.len();
        if !taken.is_empty() {
            tracing::warn!(service = %service.key, ?taken, "addresses are an older Service's: new ones will be given");
        }
    }
    tracing::info!(services = services.len(), addresses = adopted, "adopted what the statuses say");
    Ok(())
}
