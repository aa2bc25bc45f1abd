//! BGPPeer: a router that nodes tell where addresses live. MetalLB's kind of this name, field by field.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema, core::Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A BGP session that every selected node opens to one router.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "BGPPeer",
    namespaced,
    shortname = "bgppeer",
    category = "penstock",
    printcolumn(name = "Address", type_ = "string", json_path = ".spec.peerAddress"),
    printcolumn(name = "ASN", type_ = "integer", json_path = ".spec.peerASN"),
    printcolumn(name = "BFD Profile", type_ = "string", json_path = ".spec.bfdProfile"),
    printcolumn(name = "Multi Hop", type_ = "boolean", json_path = ".spec.ebgpMultiHop"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.peerASN) != has(self.dynamicASN)")
    .message("give either peerASN or dynamicASN"))]
#[x_kube(validation = Rule::new("!has(self.keepaliveTime) || !has(self.holdTime) || duration(self.keepaliveTime) <= duration(self.holdTime)")
    .message("keepaliveTime must not be longer than holdTime"))]
#[x_kube(validation = Rule::new("!self.ebgpMultiHop || !has(self.ttlSecurityHops)")
    .message("ttlSecurityHops says how many hops there are: leave ebgpMultiHop out"))]
pub struct BGPPeerSpec {
    /// The AS that the nodes say they are in. It may differ from peer to peer (a local AS).
    #[serde(rename = "myASN")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub my_asn: u32,

    /// The AS that the router must be in.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "peerASN")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub peer_asn: Option<u32>,

    /// Instead of `peerASN`: `internal` takes a router of `myASN`, `external` one of any other AS.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "dynamicASN")]
    pub dynamic_asn: Option<DynamicAsn>,

    /// The router's address, IPv4 or IPv6.
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = Rule::new("isIP(self)").message("must be an IP address"))]
    pub peer_address: String,

    /// The router's TCP port.
    #[serde(default = "bgp_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub peer_port: u16,

    /// The node's address that the session comes from. Without it the kernel chooses by its routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 45))]
    #[x_kube(validation = Rule::new("isIP(self)").message("must be an IP address"))]
    pub source_address: Option<String>,

    /// After how much silence the session is lost: `0s` (never) or at least `3s`; the router may offer less. Default
    /// `90s` (RFC 4271, section 10).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) == duration('0s') || (duration(self) >= duration('3s') && duration(self) <= duration('65535s'))")
        .message("must be 0s, or from 3s to 65535s (RFC 4271, section 4.2)"))]
    pub hold_time: Option<Duration>,

    /// How often a word is sent when there is nothing to say. Default: a third of the agreed hold time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('21845s')")
        .message("must be from 1s to 21845s"))]
    pub keepalive_time: Option<Duration>,

    /// How long after a failed attempt the next one begins, from `1s` to `65535s`. Default `10s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('65535s')")
        .message("must be from 1s to 65535s"))]
    pub connect_time: Option<Duration>,

    /// The nodes' BGP identifier, an IPv4 address. Only where one node is selected: two speakers of one AS must not
    /// have the same. Default: the node's own IPv4 InternalIP, or a hash of its name where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none", rename = "routerID")]
    #[schemars(length(max = 15))]
    #[x_kube(validation = Rule::new("isIP(self) && ip(self).family() == 4 && self != '0.0.0.0'")
        .message("must be an IPv4 address other than 0.0.0.0"))]
    pub router_id: Option<String>,

    /// Nodes that open the session, by label; any one selector is enough. None: all nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub node_selectors: Vec<LabelSelector>,

    /// A Secret of the type `kubernetes.io/basic-auth` whose key `password` is the session's TCP-MD5 password
    /// (RFC 2385).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<PasswordSecret>,

    /// The BFDProfile, in this namespace, by which the router's absence is noticed. Without it: no BFD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub bfd_profile: Option<String>,

    /// Whether the router keeps our routes for two minutes while an announcer restarts (RFC 4724).
    #[serde(default)]
    pub enable_graceful_restart: bool,

    /// Whether a router of another AS may be more than one hop away.
    #[serde(default)]
    pub ebgp_multi_hop: bool,

    /// Accepts packets from at most so many hops away only (GTSM, RFC 5082), 1 for a router on the node's own
    /// segment; the router must do the same. Not MetalLB's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub ttl_security_hops: Option<u8>,
}

/// How a router's AS relates to ours, where its number is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DynamicAsn {
    /// The same.
    Internal,
    /// Any other.
    External,
}

/// Where a password is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PasswordSecret {
    /// The Secret's name. It is in the BGPPeer's own namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn bgp_port() -> u16 {
    179
}
