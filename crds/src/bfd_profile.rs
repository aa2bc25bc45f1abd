//! BFDProfile: how fast the loss of a BGP peer is noticed. MetalLB's kind of this name.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Times and manner of BFD (RFC 5880) sessions. A BGPPeer names the profile.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "BFDProfile",
    namespaced,
    category = "penstock",
    printcolumn(name = "Receive (ms)", type_ = "integer", json_path = ".spec.receiveInterval"),
    printcolumn(name = "Transmit (ms)", type_ = "integer", json_path = ".spec.transmitInterval"),
    printcolumn(name = "Multiplier", type_ = "integer", json_path = ".spec.detectMultiplier"),
    printcolumn(name = "Passive", type_ = "boolean", json_path = ".spec.passiveMode"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("default" = {}))]
pub struct BFDProfileSpec {
    /// The shortest time between two packets that a node wants to receive, in milliseconds.
    #[serde(default = "interval")]
    #[schemars(range(min = 10, max = 60_000))]
    pub receive_interval: u32,

    /// The shortest time between two packets that a node wants to send, in milliseconds.
    #[serde(default = "interval")]
    #[schemars(range(min = 10, max = 60_000))]
    pub transmit_interval: u32,

    /// After how many missing packets the router takes the node for gone.
    #[serde(default = "multiplier")]
    #[schemars(range(min = 2, max = 255))]
    pub detect_multiplier: u8,

    /// The time between two echo packets, in milliseconds. Nothing echoes: see `echoMode`.
    #[serde(default = "echo_interval")]
    #[schemars(range(min = 10, max = 60_000))]
    pub echo_interval: u32,

    /// The echo function (RFC 5880, section 6.4). Not supported: must be `false`.
    #[serde(default)]
    #[x_kube(validation = Rule::new("!self").message("the echo function is not supported: leave echoMode out"))]
    pub echo_mode: bool,

    /// Whether the router must begin.
    #[serde(default)]
    pub passive_mode: bool,

    /// Over several hops: the lowest TTL that a packet may arrive with.
    #[serde(default = "minimum_ttl")]
    #[schemars(range(min = 1, max = 254))]
    pub minimum_ttl: u8,
}

impl Default for BFDProfileSpec {
    fn default() -> Self {
        Self {
            receive_interval: interval(),
            transmit_interval: interval(),
            detect_multiplier: multiplier(),
            echo_interval: echo_interval(),
            echo_mode: false,
            passive_mode: false,
            minimum_ttl: minimum_ttl(),
        }
    }
}

fn interval() -> u32 {
    300
}

fn multiplier() -> u8 {
    3
}

fn echo_interval() -> u32 {
    50
}

fn minimum_ttl() -> u8 {
    254
}
