//! L2Advertisement: which pools' addresses are answered for by ARP, from which nodes and interfaces.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Announces addresses on the nodes' own layer-2 segment. MetalLB's kind of this name.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "L2Advertisement",
    namespaced,
    shortname = "l2adv",
    category = "penstock",
    printcolumn(name = "Pools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(name = "Interfaces", type_ = "string", json_path = ".spec.interfaces"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
// MetalLB's users leave the spec out: all pools, from all nodes.
#[schemars(extend("default" = {}))]
pub struct L2AdvertisementSpec {
    /// Names of IPAddressPools. Without names and selectors: all pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "ipAddressPools")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub ip_address_pools: Vec<String>,

    /// Pools by label; any one selector is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "ipAddressPoolSelectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,

    /// Nodes that may announce, by label; any one selector is enough. None: all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<LabelSelector>,

    /// Services whose addresses are announced, by label; any one selector is enough. None: all Services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_selectors: Vec<LabelSelector>,

    /// Interfaces to answer on. None: those that hold the node's own InternalIP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 15)))]
    #[x_kube(validation = Rule::new("self.all(name, name.matches('^[^/\\\\s]+$'))")
        .message("an interface's name has neither slashes nor spaces"))]
    pub interfaces: Vec<String>,
}
