//! Ownership: labels that are part of the call that creates, and are looked at before anything is touched.

use penstock_crds::HetznerParameters;

use crate::{Owner, ProviderError, reading::Pairs};

/// The cluster's name, as the class has it.
pub(super) const CLUSTER: &str = "penstock.dev/cluster";
/// For people.
const NAMESPACE: &str = "penstock.dev/namespace";
/// For people.
const SERVICE: &str = "penstock.dev/service";
/// The Service's UID: whose it is.
pub(super) const SERVICE_UID: &str = "penstock.dev/service-uid";
/// The name that the Service's status shows instead of addresses. It stands here so that what exists says all that the
/// status needs.
pub(super) const HOSTNAME: &str = "penstock.dev/hostname";
/// The beginning of the fingerprint of a certificate: a value has at most 63 characters.
pub(super) const FINGERPRINT: &str = "penstock.dev/certificate";
/// Of Hetzner's own controller: what carries it is that one's.
const FOREIGN: &str = "hcloud-ccm/service-uid";

/// The labels by which a balancer is found again and known as ours.
pub(super) fn ownership(parameters: &HetznerParameters, owner: &Owner) -> Pairs {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Pairs::from([
        pair(CLUSTER, &parameters.cluster_name),
        pair(NAMESPACE, &owner.service.namespace),
        pair(SERVICE, &owner.service.name),
        pair(SERVICE_UID, &owner.uid),
    ])
}

/// As much of a fingerprint as a label has room for, and more than enough.
pub(super) fn short(fingerprint: &str) -> &str {
    fingerprint.get(..40).unwrap_or(fingerprint)
}

/// All that is this cluster's.
pub(super) fn of_cluster(parameters: &HetznerParameters) -> String {
    format!("{CLUSTER}={}", parameters.cluster_name)
}

/// All that is one Service's.
pub(super) fn of_service(parameters: &HetznerParameters, uid: &str) -> String {
    format!("{},{SERVICE_UID}={uid}", of_cluster(parameters))
}

/// The UID of the Service of this cluster that something was built for.
pub(super) fn owner_uid<'a>(labels: &'a Pairs, cluster: &str) -> Option<&'a str> {
    let ours = labels.get(CLUSTER).is_some_and(|name| name == cluster);
    labels.get(SERVICE_UID).filter(|_| ours).map(String::as_str)
}

/// # Errors
/// [`ProviderError::NotOwned`], unless the labels say that it was built for this very Service.
pub(super) fn check(
    labels: &Pairs,
    parameters: &HetznerParameters,
    owner: &Owner,
    what: &str,
) -> Result<(), ProviderError> {
    if owner_uid(labels, &parameters.cluster_name) == Some(&owner.uid) {
        return Ok(());
    }
    Err(ProviderError::NotOwned(format!(
        "{what} is not this Service's ({}): it is left alone",
        whose(labels)
    )))
}

/// # Errors
/// [`ProviderError::NotOwned`] where somebody has it already.
pub(super) fn check_free(
    labels: &Pairs,
    parameters: &HetznerParameters,
    owner: &Owner,
    what: &str,
) -> Result<(), ProviderError> {
    let taken = [CLUSTER, SERVICE_UID, FOREIGN].iter().any(|key| labels.contains_key(*key));
    if taken { check(labels, parameters, owner, what) } else { Ok(()) }
}

fn whose(labels: &Pairs) -> String {
    let keys = [CLUSTER, NAMESPACE, SERVICE, SERVICE_UID, FOREIGN];
    let said: Vec<String> =
        keys.iter().filter_map(|key| Some(format!("{key}={:?}", labels.get(*key)?))).collect();
    if said.is_empty() { "it has none of our labels".to_owned() } else { said.join(", ") }
}

/// As the API takes values of labels: at most 63 letters, digits, dashes, dots and underscores, none of the signs at an
/// end.
pub(super) fn is_value(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63 && text.chars().all(plain) && end(text.chars().next()) && end(text.chars().last())
}
