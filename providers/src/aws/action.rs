//! What a step does: one call each, but for `adopt`. Things are named by their names, which are known before they exist.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    options::IpAddressType,
    reading::Pairs,
    spec::{BalancerSpec, GroupSpec, GroupTarget, HealthCheck, ListenerSpec, SubnetSpec},
};

/// What a step does.
#[allow(missing_docs)] // the calls and fields of the API
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Action {
    /// Gives a balancer that is nobody's to the Service: looks at its tags, then adds ours.
    Adopt {
        arn: String,
        tags: Pairs,
    },
    /// Puts what a Secret holds into ACM: anew, or in the place of what a certificate of ours holds, whose ARN stays.
    /// Neither certificate nor key is part of the plan.
    ImportCertificate {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        arn: Option<String>,
        fingerprint: String,
        #[serde(default, skip_serializing_if = "Pairs::is_empty")]
        tags: Pairs,
    },
    CreateTargetGroup {
        spec: GroupSpec,
    },
    CreateLoadBalancer {
        spec: BalancerSpec,
    },
    /// With the first certificate only.
    CreateListener {
        balancer: String,
        spec: ListenerSpec,
    },
    /// All but the certificates after the first.
    ModifyListener {
        balancer: String,
        spec: ListenerSpec,
    },
    AddCertificates {
        balancer: String,
        port: u16,
        certificates: Vec<String>,
    },
    RemoveCertificates {
        balancer: String,
        port: u16,
        certificates: Vec<String>,
    },
    SetListenerAttributes {
        balancer: String,
        port: u16,
        attributes: Pairs,
    },
    SetLoadBalancerAttributes {
        balancer: String,
        attributes: Pairs,
    },
    SetSubnets {
        balancer: String,
        subnets: Vec<SubnetSpec>,
    },
    SetSecurityGroups {
        balancer: String,
        security_groups: BTreeSet<String>,
    },
    SetIpAddressType {
        balancer: String,
        ip_address_type: IpAddressType,
    },
    ModifyHealthCheck {
        group: String,
        health_check: HealthCheck,
    },
    SetTargetGroupAttributes {
        group: String,
        attributes: Pairs,
    },
    Register {
        group: String,
        targets: BTreeSet<GroupTarget>,
    },
    Deregister {
        group: String,
        targets: BTreeSet<GroupTarget>,
    },
    /// Of a balancer or target group.
    AddTags {
        resource: String,
        tags: Pairs,
    },
    DeleteListener {
        balancer: String,
        port: u16,
    },
    DeleteLoadBalancer {
        balancer: String,
    },
    DeleteTargetGroup {
        group: String,
    },
    DeleteCertificate {
        arn: String,
    },
    /// Waits until AWS shows all that was created, and asks again.
    LookAgain {},
}
