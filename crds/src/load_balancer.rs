//! LoadBalancer: the record of what a provider built outside the cluster for a Service. The operator writes it; after a
//! restart it reads it instead of asking the provider.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::LoadBalancerClassSpec;

/// What was built for the Service of the same name. Providers that build nothing outside the cluster (`pool`) need no
/// record: the Service's status is theirs.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "penstock.dev",
    version = "v1alpha1",
    kind = "LoadBalancer",
    namespaced,
    status = "LoadBalancerStatus",
    shortname = "plb",
    category = "penstock",
    printcolumn(name = "Class", type_ = "string", json_path = ".spec.className"),
    printcolumn(name = "Address", type_ = "string", json_path = ".status.addresses[*]"),
    printcolumn(name = "Hostname", type_ = "string", json_path = ".status.hostname", priority = 1),
    printcolumn(
        name = "Programmed",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Programmed')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Programmed')].reason"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerSpec {
    /// The UID of the Service that it was built for.
    pub service_uid: String,
    /// The LoadBalancerClass that it was built by.
    pub class_name: String,
    /// That class as it was then: what was built can be taken down after the class is gone.
    pub class: LoadBalancerClassSpec,
}

/// What exists.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerStatus {
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Its name in the DNS, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// `VIP` or `Proxy`, as the Service's status says it (KEP-1860).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_mode: Option<String>,
    /// The provider's objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ProviderResource>,
    /// Of what was wanted when it was last carried out in full. While it still holds, the provider is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Of what the provider refused: it is not asked again for the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// What the provider said that exists, in its own terms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub observed: Option<Value>,
    /// What waits for approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_plan: Option<PendingPlan>,
    /// `Programmed`: it is as the Service wants it.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// The provider's own terms have no schema here.
fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// An object of the provider's.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderResource {
    /// What it is, in the provider's words.
    pub kind: String,
    /// Its identity there.
    pub id: String,
}

/// A plan that waits for approval.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingPlan {
    /// What the approving annotation has to say.
    pub hash: String,
    /// Its steps, for people.
    pub steps: Vec<PendingStep>,
    /// What the provider's own API says about it, asked without carrying anything out. Absent where it has no such
    /// question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<PlanVerdict>,
}

/// What a provider's API says about a plan that was not carried out.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanVerdict {
    /// In one word.
    pub outcome: PlanOutcome,
    /// For people.
    pub message: String,
}

/// Whether a provider's API would carry out a plan.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlanOutcome {
    /// It would, as far as it can tell.
    Accepted,
    /// It would not.
    Refused,
    /// It could not be asked, and is asked again later.
    Unknown,
}

/// A step of a pending plan.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingStep {
    /// Why.
    pub reason: String,
    /// `safe`, `disruptive`, `replacesAddress` or `destructive`.
    pub risk: String,
    /// Calls of the provider's API.
    pub calls: u32,
}
