//! IPAddressPool: addresses that may be handed out. MetalLB's kind of this name, field by field.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
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
    printcolumn(name = "Assigned IPv4", type_ = "integer", json_path = ".status.assignedIPv4"),
    printcolumn(name = "Available IPv4", type_ = "integer", json_path = ".status.availableIPv4"),
    printcolumn(name = "Assigned IPv6", type_ = "integer", json_path = ".status.assignedIPv6", priority = 1),
    printcolumn(
        name = "Available IPv6",
        type_ = "integer",
        json_path = ".status.availableIPv6",
        priority = 1
    ),
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

    /// Leave out IPv4 addresses that end in .0 and .255: some old routers drop them. They are not given on request
    /// either.
    #[serde(default, rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,

    /// Pins the pool to some namespaces and Services: nobody else gets an address of it, also not on request, and
    /// those whom it admits find it before pools without this field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_allocation: Option<ServiceAllocation>,
}

/// Whom a pool serves, and in which order it is looked into. A Service must be in one of the namespaces (named or
/// selected, if either is given) and match one of the Service selectors (if any is given).
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Of several pinned pools that would do, the one with the lowest number comes first; 0 comes last. Pools of the
    /// same priority are looked into by name.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub priority: i32,

    /// Namespaces by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024), inner(length(min = 1, max = 63)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub namespaces: Vec<String>,

    /// Namespaces by label, beside those that are named; any one selector is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub namespace_selectors: Vec<LabelSelector>,

    /// Services by label; any one selector is enough.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub service_selectors: Vec<LabelSelector>,
}

/// What became of a pool.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IPAddressPoolStatus {
    /// `Accepted`, or why not.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,

    /// IPv4 addresses that Services hold; one that several share counts once.
    #[serde(default, rename = "assignedIPv4")]
    pub assigned_ipv4: i64,

    /// IPv6 addresses that Services hold; one that several share counts once.
    #[serde(default, rename = "assignedIPv6")]
    pub assigned_ipv6: i64,

    /// Free IPv4 addresses.
    #[serde(default, rename = "availableIPv4")]
    pub available_ipv4: i64,

    /// Free IPv6 addresses; 9223372036854775807 where there are as many or more, as in a /64.
    #[serde(default, rename = "availableIPv6")]
    pub available_ipv6: i64,
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
