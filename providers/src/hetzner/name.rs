//! Names of balancers: they follow from the Service alone, so that a crash at any call is found again.

use penstock_crds::HetznerParameters;
use sha2::{Digest, Sha256};

use crate::Owner;

/// `k8s-NAMESPACE-NAME-HASH`. Names are unique within a project of Hetzner.
pub(super) fn balancer(parameters: &HetznerParameters, owner: &Owner) -> String {
    let digest = Sha256::digest([parameters.cluster_name.as_str(), &owner.uid].join("\n").as_bytes());
    let hash: String = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("k8s-{}-{}-{hash}", short(&owner.service.namespace), short(&owner.service.name))
}

/// `k8s-NAMESPACE-NAME-HASH-FINGERPRINT`.
pub(super) fn certificate(parameters: &HetznerParameters, owner: &Owner, fingerprint: &str) -> String {
    format!("{}-{}", balancer(parameters, owner), fingerprint.get(..8).unwrap_or(fingerprint))
}

fn short(text: &str) -> String {
    let plain: String = text.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    if plain.is_empty() { "x".to_owned() } else { plain }
}
