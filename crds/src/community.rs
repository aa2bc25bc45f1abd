//! Community: names for BGP communities. MetalLB's kind of this name.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// Names for communities, for the BGPAdvertisements of the same namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "Community",
    plural = "communities",
    namespaced,
    category = "penstock",
    printcolumn(name = "Names", type_ = "string", json_path = ".spec.communities[*].name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct CommunitySpec {
    /// The names. One that several objects give must mean the same in all of them.
    #[serde(default)]
    #[schemars(length(max = 256))]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub communities: Vec<CommunityAlias>,
}

/// A name for a community.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommunityAlias {
    /// The name.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,

    /// `65000:100`, or `large:65000:1:2`.
    #[schemars(length(min = 3, max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}:[0-9]{1,5}|large:[0-9]{1,10}:[0-9]{1,10}:[0-9]{1,10})$')")
        .message("must be like 65000:100 or large:65000:1:2"))]
    pub value: String,
}
