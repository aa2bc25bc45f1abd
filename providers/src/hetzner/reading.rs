//! Annotations that the provider reads.

use penstock_crds::{HETZNER_ADOPT, HETZNER_PREFIX, HetznerParameters};

pub(super) use crate::reading::{Pairs, Reading, Text};
use crate::{ProviderError, reading::Place};

static PLACE: Place =
    Place { prefix: HETZNER_PREFIX, defaults: "spec.hetzner.defaults", unsupported: &UNSUPPORTED };

/// Keys of Hetzner's own controller that mean something we do not do, or that it writes itself.
const UNSUPPORTED: [&str; 14] = [
    "certificate-type",
    "health-check-http-status-codes",
    "health-check-http-validate-certificate",
    "http-cookie-lifetime",
    "http-cookie-name",
    "http-managed-certificate-domains",
    "http-managed-certificate-name",
    "http-status-codes",
    "id",
    "ipv4-rdns",
    "ipv6-disabled",
    "ipv6-rdns",
    "private-ipv4",
    "private-subnet-ip-range",
];

/// The Service's annotations, and what the class says where it does not.
pub(super) fn read<'a>(parameters: &'a HetznerParameters, annotations: &'a Pairs) -> Reading<'a> {
    Reading::new(&PLACE, &parameters.defaults, annotations)
}

/// # Errors
/// What is not an identity.
pub(super) fn adopted(annotations: &Pairs) -> Result<Option<u64>, ProviderError> {
    let Some(text) = annotations.get(HETZNER_ADOPT).map(|text| text.trim()) else { return Ok(None) };
    let id = text.parse().ok().filter(|id| *id > 0);
    id.map(Some).ok_or_else(|| {
        ProviderError::refused(format!(
            "annotation {HETZNER_ADOPT} is {text:?}: it must be the ID of a load balancer, a number"
        ))
    })
}

/// `15` or `15s`.
pub(super) fn seconds(text: Text<'_>, range: std::ops::RangeInclusive<u16>) -> Result<u16, ProviderError> {
    let number = text.text().trim_end_matches('s').parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| text.wants(&format!("seconds from {} to {}, as 15s", range.start(), range.end())))
}

/// Identities with commas.
pub(super) fn ids(text: Text<'_>) -> Result<Vec<u64>, ProviderError> {
    let id = |item: &str| {
        let id = item.parse().ok().filter(|id| *id > 0);
        id.ok_or_else(|| text.refuse(format!("names {item:?}: only IDs can be given, which are numbers")))
    };
    text.list()?.into_iter().map(id).collect()
}
