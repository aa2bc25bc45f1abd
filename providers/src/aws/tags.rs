//! Ownership: tags that are part of the call that creates, and are looked at before anything is touched.

use penstock_crds::AwsParameters;

use super::reading::{Pairs, Text};
use crate::{Owner, ProviderError};

/// The cluster's name, as the class has it.
pub(super) const CLUSTER: &str = "penstock.dev/cluster";
/// `NAMESPACE/NAME`, for people.
pub(super) const SERVICE: &str = "penstock.dev/service";
/// The Service's UID: whose it is.
pub(super) const SERVICE_UID: &str = "penstock.dev/service-uid";
/// What it is for the Service.
pub(super) const RESOURCE: &str = "penstock.dev/resource";
/// Of AWS's own controller: what carries it is that one's.
const FOREIGN: &str = "elbv2.k8s.aws/cluster";

/// AWS takes 50; ours are four.
const MOST: usize = 46;

/// The tags by which something is found again and known as ours.
pub(super) fn ownership(parameters: &AwsParameters, owner: &Owner, resource: &str) -> Pairs {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Pairs::from([
        pair(CLUSTER, &parameters.cluster_name),
        pair(SERVICE, &owner.service.to_string()),
        pair(SERVICE_UID, &owner.uid),
        pair(RESOURCE, resource),
    ])
}

/// The UID of the Service of this cluster that something was built for.
pub(super) fn owner_uid<'a>(tags: &'a Pairs, cluster: &str) -> Option<&'a str> {
    let ours = tags.get(CLUSTER).is_some_and(|name| name == cluster);
    tags.get(SERVICE_UID).filter(|_| ours).map(String::as_str)
}

/// # Errors
/// [`ProviderError::NotOwned`], unless the tags say that it was built for this very Service.
pub(super) fn check(
    tags: &Pairs,
    parameters: &AwsParameters,
    owner: &Owner,
    what: &str,
) -> Result<(), ProviderError> {
    if owner_uid(tags, &parameters.cluster_name) == Some(&owner.uid) {
        return Ok(());
    }
    Err(ProviderError::NotOwned(format!("{what} is not this Service's ({}): it is left alone", whose(tags))))
}

/// # Errors
/// [`ProviderError::NotOwned`] where somebody has it already.
pub(super) fn check_free(
    tags: &Pairs,
    parameters: &AwsParameters,
    owner: &Owner,
    what: &str,
) -> Result<(), ProviderError> {
    let free = !tags.contains_key(CLUSTER) && !tags.contains_key(SERVICE_UID) && !tags.contains_key(FOREIGN);
    if free { Ok(()) } else { check(tags, parameters, owner, what) }
}

fn whose(tags: &Pairs) -> String {
    let said =
        [CLUSTER, SERVICE, SERVICE_UID, FOREIGN].into_iter().filter_map(|key| Some((key, tags.get(key)?)));
    let said: Vec<String> = said.map(|(key, value)| format!("{key}={value:?}")).collect();
    if said.is_empty() { "it has none of our tags".to_owned() } else { said.join(", ") }
}

/// # Errors
/// Tags that AWS does not take, or that are ours.
pub(super) fn additional(text: Text<'_>) -> Result<Pairs, ProviderError> {
    let tags = text.pairs()?;
    let reserved = |key: &str| key.starts_with("aws:") || key.starts_with("penstock.dev/") || key == FOREIGN;
    if let Some(key) = tags.keys().find(|key| reserved(key)) {
        return Err(text.refuse(format!("sets the tag {key:?}, which is not free: choose another")));
    }
    let long = |(key, value): &(&String, &String)| key.chars().count() > 128 || value.chars().count() > 256;
    if tags.iter().any(|pair| long(&pair)) {
        return Err(text.refuse("has a key of more than 128 or a value of more than 256 characters"));
    }
    if tags.len() > MOST {
        return Err(text.refuse(format!("sets more than {MOST} tags")));
    }
    Ok(tags)
}
