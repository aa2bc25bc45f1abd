//! LoadBalancerClass: what a Service's `spec.loadBalancerClass` means.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who provisions for the Services of a class, and how. A Service names it as `penstock.dev/NAME`.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "LoadBalancerClass",
    plural = "loadbalancerclasses",
    status = "LoadBalancerClassStatus",
    shortname = "lbclass",
    category = "penstock",
    printcolumn(name = "Provider", type_ = "string", json_path = ".spec.provider"),
    printcolumn(name = "Default", type_ = "boolean", json_path = ".spec.default"),
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
#[x_kube(validation = Rule::new("!has(self.pool) || self.provider == 'pool'")
    .message("spec.pool is for the provider pool only"))]
#[x_kube(validation = Rule::new("has(self.webhook) == (self.provider == 'webhook')")
    .message("the provider webhook needs spec.webhook, and no other provider takes it"))]
pub struct LoadBalancerClassSpec {
    /// Where balancers come from. It cannot be changed: what the old provider built would be orphaned.
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("the provider of a class cannot be changed: create another class"))]
    pub provider: ProviderKind,

    /// Serve Services without a `loadBalancerClass` too. Only one class may.
    #[serde(default)]
    pub default: bool,

    /// Who agrees to steps that disturb connections, change an address or destroy something.
    #[serde(default)]
    pub approval: Approval,

    /// For the provider `pool`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolParameters>,

    /// For the provider `webhook`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookParameters>,
}

/// Who agrees to risky steps.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Approval {
    /// Every step is carried out at once.
    #[default]
    Automatic,
    /// Disruptive and destructive steps wait until the Service carries the annotation
    /// `penstock.dev/approved-plan` with the hash of exactly that plan.
    Manual,
}

/// The providers.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProviderKind {
    /// Addresses from IPAddressPools, announced by our own announcer.
    Pool,
    /// An HTTP endpoint of the user's own that builds balancers.
    Webhook,
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pool => "pool",
            Self::Webhook => "webhook",
        })
    }
}

/// Parameters of the provider `webhook`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookParameters {
    /// Where the endpoint is: `https://balancer.example/penstock`. Paths of the protocol are added to it.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''")
        .message("the URL must be http:// or https:// with a host"))]
    pub url: String,

    /// The Secret in the operator's namespace whose key `token` is sent as bearer token. None: no token is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub token_secret: Option<String>,
}

/// Parameters of the provider `pool`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolParameters {
    /// Take addresses only from these IPAddressPools. None: from all.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "ipAddressPools")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 253)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub ip_address_pools: Vec<String>,
}

/// What became of a class.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerClassStatus {
    /// `Accepted`, or why not.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
