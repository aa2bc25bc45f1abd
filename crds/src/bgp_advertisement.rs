//! BGPAdvertisement: which pools' addresses are announced to which routers, and how. MetalLB's kind of this name.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Announces addresses to routers. Every selected node that can serve an address announces it, so that routers spread
/// connections over them (ECMP).
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "BGPAdvertisement",
    namespaced,
    shortname = "bgpadv",
    category = "penstock",
    printcolumn(name = "Pools", type_ = "string", json_path = ".spec.ipAddressPools"),
    printcolumn(name = "Peers", type_ = "string", json_path = ".spec.peers"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
// MetalLB's users leave the spec out: all pools, from all nodes, to all peers.
#[schemars(extend("default" = {}))]
pub struct BGPAdvertisementSpec {
    /// The length of the IPv4 prefix that stands for an address: 32 announces every address by itself.
    #[serde(default = "ipv4_length")]
    #[schemars(range(min = 1, max = 32))]
    pub aggregation_length: u8,

    /// The length of the IPv6 prefix that stands for an address.
    #[serde(default = "ipv6_length", rename = "aggregationLengthV6")]
    #[schemars(range(min = 1, max = 128))]
    pub aggregation_length_v6: u8,

    /// LOCAL_PREF, which only routers of our own AS are told; the highest wins. Where advertisements differ about a
    /// prefix, the highest counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,

    /// MULTI_EXIT_DISC; the lowest wins, also where advertisements differ about a prefix. Not MetalLB's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub med: Option<u32>,

    /// Communities: `65000:100`, `large:65000:1:2` (RFC 8092), a well-known name (`no-export`, `no-advertise`,
    /// `no-export-subconfed`, `no-peer`, `blackhole`, `graceful-shutdown`) or an alias of a Community.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 253)))]
    pub communities: Vec<String>,

    /// Names of IPAddressPools. Without names and selectors: all pools.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "ipAddressPools")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub ip_address_pools: Vec<String>,

    /// Pools by label; any one selector is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "ipAddressPoolSelectors")]
    pub ip_address_pool_selectors: Vec<LabelSelector>,

    /// Nodes that announce, by label; any one selector is enough. None: all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_selectors: Vec<LabelSelector>,

    /// Services whose addresses are announced, by label; any one selector is enough. None: all Services.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub service_selectors: Vec<LabelSelector>,

    /// Names of the BGPPeers that are told. None: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub peers: Vec<String>,
}

impl Default for BGPAdvertisementSpec {
    fn default() -> Self {
        Self {
            aggregation_length: ipv4_length(),
            aggregation_length_v6: ipv6_length(),
            local_pref: None,
            med: None,
            communities: Vec::new(),
            ip_address_pools: Vec::new(),
            ip_address_pool_selectors: Vec::new(),
            node_selectors: Vec::new(),
            service_selectors: Vec::new(),
            peers: Vec::new(),
        }
    }
}

fn ipv4_length() -> u8 {
    32
}

fn ipv6_length() -> u8 {
    128
}
