//! Ownership. Nothing of DigitalOcean's carries labels that can be set, so that names end with a mark: the cluster, and the
//! Service by its UID. It follows from class and Service alone and is part of the creating call: a crash at any moment is
//! found again, and a name without our mark is never touched.

use penstock_crds::DigitalOceanParameters;
use sha2::{Digest, Sha256};

use crate::{Owner, ProviderError};

const MARK: &str = "penstock";
/// DigitalOcean takes 255; the mark has at most 60.
pub(super) const LONGEST: usize = 180;

/// `penstock.CLUSTER.UID`.
///
/// # Errors
/// A UID that the API server would not make.
pub(super) fn mark(parameters: &DigitalOceanParameters, owner: &Owner) -> Result<String, ProviderError> {
    let uid = &owner.uid;
    if uid.is_empty() || uid.len() > 36 || !uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(ProviderError::refused(format!("{uid:?} is no UID of a Service")));
    }
    Ok(format!("{MARK}.{}.{uid}", cluster(parameters)))
}

/// The balancer's name: `readable` is what the user asks for.
pub(super) fn balancer(readable: Option<&str>, owner: &Owner, mark: &str) -> String {
    let default = || format!("{}-{}", owner.service.namespace, owner.service.name);
    format!("{}.{mark}", readable.map_or_else(default, ToOwned::to_owned))
}

/// The name of a certificate: another one has another.
pub(super) fn certificate(mark: &str, fingerprint: &str) -> String {
    let short = fingerprint.get(..16).unwrap_or(fingerprint);
    format!("{short}.{mark}")
}

/// The cluster in twelve digits.
pub(super) fn cluster(parameters: &DigitalOceanParameters) -> String {
    let digest = Sha256::digest(parameters.cluster_name.as_bytes());
    digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Cluster and UID of a name that has a mark.
pub(super) fn owner_of(name: &str) -> Option<(&str, &str)> {
    let mut parts = name.rsplitn(4, '.');
    let (uid, cluster, mark, rest) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    (mark == MARK && !uid.is_empty() && !rest.is_empty()).then_some((cluster, uid))
}

/// The UID, if the mark is this cluster's.
pub(super) fn uid_of<'a>(name: &'a str, of_cluster: &str) -> Option<&'a str> {
    owner_of(name).filter(|(cluster, _)| *cluster == of_cluster).map(|(_, uid)| uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use penstock_model::ObjectKey;
    use proptest::prelude::*;

    fn of(cluster_name: &str) -> DigitalOceanParameters {
        DigitalOceanParameters { cluster_name: cluster_name.into(), ..DigitalOceanParameters::default() }
    }

    fn owner(uid: &str) -> Owner {
        Owner { service: ObjectKey::new("shop", "web"), uid: uid.into() }
    }

    #[test]
    fn a_mark_tells_cluster_and_service_whatever_stands_before_it() {
        let uid = "0b1c8a40-5d6e-4f70-8123-456789abcdef";
        let mark = mark(&of("blue"), &owner(uid)).unwrap();
        let name = balancer(None, &owner(uid), &mark);
        assert_eq!(name, format!("shop-web.penstock.{}.{uid}", cluster(&of("blue"))));
        assert_eq!(uid_of(&name, &cluster(&of("blue"))), Some(uid));
        assert_eq!(uid_of(&name, &cluster(&of("green"))), None);
        assert_eq!(uid_of(&certificate(&mark, &"ab".repeat(32)), &cluster(&of("blue"))), Some(uid));
        for foreign in
            ["web", "a0b1c8a405d6e4f708123456789abcdef", "penstock.x.y", ".penstock.x.y", "a.penstock.x."]
        {
            assert_eq!(owner_of(foreign), None, "{foreign}");
        }
        for uid in ["", "..", "a.b", "a/b", &"a".repeat(37)] {
            assert!(super::mark(&of("blue"), &owner(uid)).is_err(), "{uid}");
        }
    }

    proptest! {
        #[test]
        fn no_two_services_of_no_two_clusters_have_the_same_mark(
            names in ("[a-c.]{1,6}", "[a-c.]{1,6}"), uids in ("[0-9a-f-]{1,8}", "[0-9a-f-]{1,8}"),
            readable in "[a-z][a-z0-9.-]{0,20}",
        ) {
            let marks = (mark(&of(&names.0), &owner(&uids.0)).unwrap(), mark(&of(&names.1), &owner(&uids.1)).unwrap());
            prop_assert_eq!(marks.0 == marks.1, names.0 == names.1 && uids.0 == uids.1);
            let name = balancer(Some(&readable), &owner(&uids.0), &marks.0);
            prop_assert_eq!(uid_of(&name, &cluster(&of(&names.0))), Some(uids.0.as_str()));
        }
    }
}
