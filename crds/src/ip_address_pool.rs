//! IPAddressPool: addresses that may be handed out. MetalLB's kind of this name, field by field.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{AddressRange, AddressRangeError};

/// Addresses that the operator may give to Services of type LoadBalancer.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "IPAddressPool",
    namespaced,
    status = "IPAddressPoolStatus",
    shortname = "ippool",
    category = "penstock",
    printcolumn(name = "Addresses", type_ = "string", json_path = ".spec.addresses"),
    printcolumn(name = "Auto Assign", type_ = "boolean", json_path = ".spec.autoAssign"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Accepted')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolSpec {
    /// CIDRs (`203.0.113.0/28`) or ranges (`203.0.113.10-203.0.113.20`), of either family. Pools must not
    /// overlap.
    #[schemars(length(min = 1, max = 256), inner(length(max = 96)))]
    #[x_kube(validation = Rule::new(
        "self.all(a, isCIDR(a.trim()) || (a.split('-').size() == 2 && a.split('-').all(end, isIP(end.trim()))))"
    ).message("every entry must be a CIDR (203.0.113.0/28) or a range (203.0.113.10-203.0.113.20)"))]
    #[x_kube(validation = Rule::new(
        "self.all(a, !isCIDR(a.trim()) || (cidr(a.trim()) == cidr(a.trim()).masked() && cidr(a.trim()).prefixLength() > 0))"
    ).message("a CIDR must have no host bits set and must not be /0"))]
    #[x_kube(validation = Rule::new(
        "self.all(a, a.split('-').size() != 2 || !a.split('-').all(end, isIP(end.trim())) || ip(a.split('-')[0].trim()).family() == ip(a.split('-')[1].trim()).family())"
    ).message("a range must not mix IPv4 and IPv6"))]
    pub addresses: Vec<String>,

    /// Whether Services that do not ask for this pool may get an address from it.
    #[serde(default = "yes")]
    pub auto_assign: bool,

    /// Leave out IPv4 addresses that end in .0 and .255: some old routers drop them.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
}

/// What became of a pool.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolStatus {
    /// `Accepted`, or why not.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl IPAddressPoolSpec {
    /// The addresses as ranges. Objects stored before a rule existed may still hold anything.
    ///
    /// # Errors
    /// The first entry that cannot be read.
    pub fn ranges(&self) -> Result<Vec<AddressRange>, AddressRangeError> {
        self.addresses.iter().map(|text| text.parse()).collect()
    }
}

fn yes() -> bool {
    true
}
