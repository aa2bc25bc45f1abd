//! What a step does: one call each, and the wait for its end; but for `adopt`, which looks first.

use serde::{Deserialize, Serialize};

use super::spec::{Algorithm, BalancerSpec, ServiceSpec, TargetSpec};
use crate::reading::Pairs;

/// What a step does. `balancer` is the identity.
#[allow(missing_docs)] // the calls and fields of the API
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Gives a balancer that is nobody's to the Service: looks at its labels, then adds ours.
    Adopt {
        balancer: u64,
        labels: Pairs,
    },
    /// All of it.
    Create {
        spec: BalancerSpec,
    },
    /// Name and labels; the labels are all that it will have.
    Update {
        balancer: u64,
        name: String,
        labels: Pairs,
    },
    ChangeType {
        balancer: u64,
        load_balancer_type: String,
    },
    ChangeAlgorithm {
        balancer: u64,
        algorithm: Algorithm,
    },
    AttachToNetwork {
        balancer: u64,
        network: u64,
    },
    DetachFromNetwork {
        balancer: u64,
        network: u64,
    },
    EnablePublicInterface {
        balancer: u64,
    },
    DisablePublicInterface {
        balancer: u64,
    },
    AddService {
        balancer: u64,
        service: ServiceSpec,
    },
    UpdateService {
        balancer: u64,
        service: ServiceSpec,
    },
    DeleteService {
        balancer: u64,
        listen_port: u16,
    },
    AddTarget {
        balancer: u64,
        target: TargetSpec,
    },
    RemoveTarget {
        balancer: u64,
        target: TargetSpec,
    },
    Delete {
        balancer: u64,
    },
    /// The certificate itself, and its key, are handed to who carries it out.
    UploadCertificate {
        name: String,
        labels: Pairs,
        fingerprint: String,
    },
    DeleteCertificate {
        certificate: u64,
    },
}
