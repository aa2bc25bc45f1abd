//! What users write: our kinds, annotation keys, finalizers, conditions and reasons.

// kube's derives repeat our structs inside a function, which the lint takes for unreachable items.
#![allow(unreachable_pub)]

mod address_range;
mod annotation;
mod bfd_profile;
mod bgp_advertisement;
mod bgp_peer;
mod community;
mod condition;
mod external_ip_policy;
mod ip_address_pool;
mod l2_advertisement;
mod label_selectors;
mod load_balancer;
mod load_balancer_class;
mod node_announcement;
pub mod reference;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

pub use address_range::{AddressRange, AddressRangeError};
pub use annotation::{
    ADDRESS_POOL, ADDRESS_POOL_METALLB, ADDRESS_POOL_METALLB_OLD, ALLOCATED_FROM, ALLOCATED_FROM_METALLB,
    ALLOCATED_FROM_METALLB_OLD, ALLOW_SHARED_IP, ALLOW_SHARED_IP_METALLB, ALLOW_SHARED_IP_METALLB_OLD,
    ANNOTATIONS, APPROVED_PLAN, AWS_ADOPT, AWS_PREFIX, DIGITALOCEAN_ADOPT, DIGITALOCEAN_PREFIX,
    HETZNER_ADOPT, HETZNER_PREFIX, LOAD_BALANCER_IPS, LOAD_BALANCER_IPS_METALLB,
    LOAD_BALANCER_IPS_METALLB_OLD, SERVED_BY, TLS_SECRET,
};
pub use bfd_profile::{BFDProfile, BFDProfileSpec};
pub use bgp_advertisement::{BGPAdvertisement, BGPAdvertisementSpec};
pub use bgp_peer::{BGPPeer, BGPPeerSpec, DynamicAsn, PasswordSecret};
pub use community::{Community, CommunityAlias, CommunitySpec};
pub use condition::{ConditionKind, Reason, condition, set_condition};
pub use external_ip_policy::{
    ExternalIPPolicy, ExternalIPPolicyError, ExternalIPPolicySpec, ExternalIPPolicyStatus,
};
pub use ip_address_pool::{IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus, ServiceAllocation};
pub use l2_advertisement::{L2Advertisement, L2AdvertisementSpec};
pub use label_selectors::{LabelSelectorError, LabelSelectors};
pub use load_balancer::{
    LoadBalancer, LoadBalancerSpec, LoadBalancerStatus, PendingPlan, PendingStep, PlanOutcome, PlanVerdict,
    ProviderResource,
};
pub use load_balancer_class::{
    Approval, AwsParameters, DigitalOceanParameters, DriftPolicy, HetznerParameters, LoadBalancerClass,
    LoadBalancerClassSpec, LoadBalancerClassStatus, PoolParameters, ProviderKind, WebhookParameters,
};
pub use node_announcement::{
    AnnouncedAddress, NodeAnnouncement, NodeAnnouncementSpec, NodeAnnouncementStatus, PeerSession,
};

/// Our API group.
pub const GROUP: &str = "penstock.dev";

/// Set before anything is created for a Service, dropped when nothing is left of it. It is our own and not
/// upstream's `service.kubernetes.io/load-balancer-cleanup`, which every cloud controller sets: after a change of
/// type the API server drops the class, and the finalizer is all that tells whose Service it was.
pub const FINALIZER: &str = "penstock.dev/load-balancer-cleanup";

/// The file name and definition of each of our kinds.
#[must_use]
pub fn definitions() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("bfdprofiles.yaml", BFDProfile::crd()),
        ("bgpadvertisements.yaml", BGPAdvertisement::crd()),
        ("bgppeers.yaml", BGPPeer::crd()),
        ("communities.yaml", Community::crd()),
        ("externalippolicies.yaml", ExternalIPPolicy::crd()),
        ("ipaddresspools.yaml", IPAddressPool::crd()),
        ("l2advertisements.yaml", L2Advertisement::crd()),
        ("loadbalancerclasses.yaml", LoadBalancerClass::crd()),
        ("loadbalancers.yaml", LoadBalancer::crd()),
        ("nodeannouncements.yaml", NodeAnnouncement::crd()),
    ]
}

/// Where the definitions are, from the checkout's root: for `kubectl apply`.
pub const FOLDER: &str = "crds/yaml";

/// Where the chart has them.
pub const CHART_FOLDER: &str = "charts/penstock/files/crds";

/// Every generated file, by its path from the checkout's root, and the definition that it holds.
#[must_use]
pub fn generated() -> Vec<(String, CustomResourceDefinition)> {
    let plain = definitions().into_iter().map(|(name, crd)| (format!("{FOLDER}/{name}"), crd));
    let kept = definitions().into_iter().map(|(name, crd)| (format!("{CHART_FOLDER}/{name}"), kept(crd)));
    plain.chain(kept).collect()
}

/// Deleting a kind deletes every object of it: Helm leaves what has this annotation when the chart is uninstalled.
fn kept(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    let annotations = definition.metadata.annotations.get_or_insert_default();
    annotations.insert("helm.sh/resource-policy".to_owned(), "keep".to_owned());
    definition
}
