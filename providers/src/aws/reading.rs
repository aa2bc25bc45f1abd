//! Annotations that the provider reads.

use penstock_crds::{AWS_ADOPT, AWS_PREFIX, AwsParameters};

pub use crate::reading::Pairs;
pub(super) use crate::reading::{Reading, Text};
use crate::{ProviderError, reading::Place};

static PLACE: Place = Place { prefix: AWS_PREFIX, defaults: "spec.aws.defaults", unsupported: &UNSUPPORTED };

/// Keys of AWS's own controller, or of the in-tree one, that mean something we do not do.
const UNSUPPORTED: [&str; 9] = [
    "access-log-emit-interval",
    "connection-draining-enabled",
    "connection-idle-timeout",
    "enable-prefix-for-ipv6-source-nat",
    "extra-security-groups",
    "inbound-sg-rules-on-private-link-traffic",
    "ipv6-addresses",
    "manage-backend-security-group-rules",
    "multi-cluster-target-group",
];

/// The Service's annotations, and what the class says where it does not.
pub(super) fn read<'a>(parameters: &'a AwsParameters, annotations: &'a Pairs) -> Reading<'a> {
    Reading::new(&PLACE, &parameters.defaults, annotations)
}

/// # Errors
/// An ARN that is not one of a network load balancer.
pub(super) fn adopted_arn(annotations: &Pairs) -> Result<Option<String>, ProviderError> {
    let Some(arn) = annotations.get(AWS_ADOPT).map(|arn| arn.trim()) else { return Ok(None) };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let fits = matches!(parts[..], ["arn", _, "elasticloadbalancing", _, _, rest]
        // The emulator moto writes /app/ for every balancer.
        if rest.starts_with("loadbalancer/net/") || rest.starts_with("loadbalancer/app/"));
    if !fits {
        return Err(ProviderError::refused(format!(
            "annotation {AWS_ADOPT} is {arn:?}: it must be the ARN of a network load balancer"
        )));
    }
    Ok(Some(arn.to_owned()))
}
