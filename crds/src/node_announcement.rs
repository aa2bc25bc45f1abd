//! NodeAnnouncement: what one node tells the network, as it says itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one node announces. It has the Node's name; the node's announcer writes the status, users only read.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "NodeAnnouncement",
    namespaced,
    status = "NodeAnnouncementStatus",
    shortname = "nodeann",
    category = "penstock",
    printcolumn(name = "Addresses", type_ = "integer", json_path = ".status.addressCount"),
    printcolumn(name = "Sessions", type_ = "string", json_path = ".status.sessions"),
    printcolumn(name = "Problems", type_ = "string", json_path = ".status.problems"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {}))]
pub struct NodeAnnouncementSpec {}

/// What the node said last. While its announcer is away, it stands as it was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeAnnouncementStatus {
    /// How many addresses the node announces.
    #[serde(default)]
    pub address_count: u32,

    /// The addresses, at most 5,000 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["address"]))]
    pub addresses: Vec<AnnouncedAddress>,

    /// How many BGP sessions are established, of how many that should be: `2/2`.
    #[serde(default)]
    pub sessions: String,

    /// The BGP sessions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["peer"]))]
    pub peers: Vec<PeerSession>,

    /// What cannot be carried out, and what to change: one sentence an object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// An address that the node announces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AnnouncedAddress {
    /// The address.
    pub address: String,

    /// Its Services, as `namespace/name`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,

    /// The interfaces on which the node answers for it by ARP or NDP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub interfaces: Vec<String>,

    /// The BGPPeers that have been told a prefix that holds it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
}

/// A BGP session of the node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeerSession {
    /// The BGPPeer.
    pub peer: String,

    /// `Idle`, `Connect`, `Active`, `OpenSent`, `OpenConfirm` or `Established` (RFC 4271, section 8.2.2).
    pub state: String,

    /// Since when.
    pub since: Time,

    /// How many prefixes the router has been told.
    #[serde(default)]
    pub prefixes: u32,

    /// Why the session is not established, or ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,

    /// What BFD says of the router, where it is asked: `Up`, or why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<String>,
}
