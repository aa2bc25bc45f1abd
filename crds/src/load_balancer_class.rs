//! LoadBalancerClass: what a Service's `spec.loadBalancerClass` means.

use std::{collections::BTreeMap, fmt};

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
#[x_kube(validation = Rule::new("has(self.aws) == (self.provider == 'aws')")
    .message("the provider aws needs spec.aws, and no other provider takes it"))]
#[x_kube(validation = Rule::new("has(self.hetzner) == (self.provider == 'hetzner')")
    .message("the provider hetzner needs spec.hetzner, and no other provider takes it"))]
#[x_kube(validation = Rule::new("has(self.digitalocean) == (self.provider == 'digitalocean')")
    .message("the provider digitalocean needs spec.digitalocean, and no other provider takes it"))]
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

    /// For the provider `aws`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsParameters>,

    /// For the provider `hetzner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hetzner: Option<HetznerParameters>,

    /// For the provider `digitalocean`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digitalocean: Option<DigitalOceanParameters>,

    /// What happens where a balancer outside the cluster is no longer as it was left. Default `Repair`.
    #[serde(default, skip_serializing_if = "DriftPolicy::is_repair")]
    pub drift: DriftPolicy,
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

/// What happens where a balancer is no longer as it was left.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DriftPolicy {
    /// It is brought back to what the Service wants; what is risky asks for approval where the class says so.
    #[default]
    Repair,
    /// The Service is told by an event; nothing is changed before the Service itself changes.
    Report,
    /// Nobody looks.
    Ignore,
}

impl DriftPolicy {
    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    fn is_repair(&self) -> bool {
        *self == Self::Repair
    }
}

/// The providers.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ProviderKind {
    /// Addresses from IPAddressPools, announced by our own announcer.
    Pool,
    /// An HTTP endpoint of the user's own that builds balancers.
    Webhook,
    /// Network load balancers of AWS.
    Aws,
    /// Load balancers of Hetzner Cloud.
    Hetzner,
    /// Load balancers of DigitalOcean.
    #[serde(rename = "digitalocean")]
    DigitalOcean,
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pool => "pool",
            Self::Webhook => "webhook",
            Self::Aws => "aws",
            Self::Hetzner => "hetzner",
            Self::DigitalOcean => "digitalocean",
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

/// Parameters of the provider `aws`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AwsParameters {
    /// The region: `eu-central-1`.
    #[schemars(length(max = 64), regex(pattern = "^[a-z0-9-]+$"))]
    pub region: String,

    /// The VPC that the nodes are in. What was built in another one is not moved.
    #[schemars(length(max = 64), regex(pattern = "^vpc-[0-9a-z]+$"))]
    pub vpc_id: String,

    /// Names this cluster in the tags of everything that is built: no two clusters of an account may have the same. It
    /// cannot be changed: what carries the old name would be orphaned.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the name of the cluster cannot be changed: create another class"))]
    pub cluster_name: String,

    /// The subnets of internal balancers, one of each zone, unless a Service names others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub internal_subnets: Vec<String>,

    /// The subnets of internet-facing balancers, one of each zone, unless a Service names others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub public_subnets: Vec<String>,

    /// Where the API of Elastic Load Balancing is, if not at the region's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''")
        .message("the URL must be http:// or https:// with a host"))]
    pub endpoint_url: Option<String>,

    /// The Secret in the operator's namespace with the keys `accessKeyId`, `secretAccessKey` and, if there is one,
    /// `sessionToken`. None: the operator's own identity (environment, web identity, container or instance role).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub credentials_secret: Option<String>,

    /// Services may take balancers that exist and are nobody's, by the annotation
    /// `penstock.dev/aws-adopt-load-balancer-arn`. What a Service took is deleted with it.
    #[serde(default)]
    pub allow_adoption: bool,

    /// What annotations `service.beta.kubernetes.io/aws-load-balancer-KEY` say where a Service does not, by KEY.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 64))]
    pub defaults: BTreeMap<String, String>,

    /// Tags of everything that is built. A Service's own come before them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 30))]
    pub tags: BTreeMap<String, String>,
}

/// Parameters of the provider `hetzner`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HetznerParameters {
    /// Names this cluster in the labels of everything that is built: no two clusters of a project may have the same. It
    /// cannot be changed: what carries the old name would be orphaned.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the name of the cluster cannot be changed: create another class"))]
    pub cluster_name: String,

    /// The Secret in the operator's namespace whose key `token` is a token of the project that may write.
    #[schemars(length(min = 1, max = 253))]
    pub token_secret: String,

    /// The private network that balancers are in, by its ID. None: they have public addresses only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64))]
    pub network_id: Option<u64>,

    /// Balancers send to all servers of the project with these labels, as `role=worker,pool=front`, instead of to the
    /// nodes one by one: a node that comes or goes then costs no call. The servers' labels are yours to set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub server_selector: Option<String>,

    /// Where the API is, if not at Hetzner's own address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''")
        .message("the URL must be http:// or https:// with a host"))]
    pub endpoint_url: Option<String>,

    /// Services may take balancers that exist and are nobody's, by the annotation
    /// `penstock.dev/hetzner-adopt-load-balancer-id`. What a Service took is deleted with it.
    #[serde(default)]
    pub allow_adoption: bool,

    /// What annotations `load-balancer.hetzner.cloud/KEY` say where a Service does not, by KEY: at least `location` or
    /// `network-zone`, unless every Service says it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 64))]
    pub defaults: BTreeMap<String, String>,

    /// Labels of every balancer, besides ours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 30))]
    pub labels: BTreeMap<String, String>,
}

/// Parameters of the provider `digitalocean`.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DigitalOceanParameters {
    /// The region that the Droplets are in: `fra1`. It cannot be changed: balancers cannot move.
    #[schemars(length(max = 32), regex(pattern = "^[a-z0-9]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the region cannot be changed: create another class"))]
    pub region: String,

    /// Names this cluster in the names of everything that is built: no two clusters of an account may have the same. It
    /// cannot be changed: what carries the old name would be orphaned.
    #[schemars(length(min = 1, max = 128), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("the name of the cluster cannot be changed: create another class"))]
    pub cluster_name: String,

    /// The Secret in the operator's namespace whose key `token` is the token of the API.
    #[schemars(length(min = 1, max = 253))]
    pub token_secret: String,

    /// Balancers send to all Droplets with this tag, so that a change of nodes costs no call. None: they are told of each
    /// Droplet, by the `providerID` of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[A-Za-z0-9_:-]+$"))]
    pub droplet_tag: Option<String>,

    /// The VPC that new balancers are in; None: the region's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f-]+$"))]
    pub vpc_uuid: Option<String>,

    /// The project that new balancers are in; None: the account's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), regex(pattern = "^[0-9a-f-]+$"))]
    pub project_id: Option<String>,

    /// Where the API is, if not at `https://api.digitalocean.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("isURL(self) && url(self).getScheme() in ['http', 'https'] && url(self).getHost() != ''")
        .message("the URL must be http:// or https:// with a host"))]
    pub endpoint_url: Option<String>,

    /// Services may take balancers that exist and are nobody's, by the annotation
    /// `penstock.dev/digitalocean-adopt-load-balancer-id`. What a Service took is deleted with it.
    #[serde(default)]
    pub allow_adoption: bool,

    /// What annotations `service.beta.kubernetes.io/do-loadbalancer-KEY` say where a Service does not, by KEY.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(length(max = 64))]
    pub defaults: BTreeMap<String, String>,
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
