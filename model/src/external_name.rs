//! Whether `spec.externalName` can be the target of a CNAME record.
//!
//! kube-apiserver (`ValidateService`, 1.36) requires a lower-case RFC 1123 subdomain of at most 253 octets, with or
//! without a final dot. It lets through what has the form of an IPv4 address, labels over 63 octets, and the
//! Service's own name; objects stored by older releases may hold anything.

use std::net::IpAddr;

use crate::ObjectKey;

/// RFC 1035 §2.3.4, in octets.
const LONGEST_LABEL: usize = 63;
/// 255 octets on the wire are 253 in text (RFC 1035 §2.3.4).
const LONGEST_NAME: usize = 253;

/// Why DNS cannot answer with an `externalName`, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExternalNameError {
    /// There is none.
    #[error("spec.externalName is empty: write the DNS name that the Service stands for")]
    Empty,
    /// A CNAME to it leads nowhere.
    #[error(
        "spec.externalName {0:?} looks like an IP address, which a CNAME record cannot lead to: write a DNS name, \
         or use a Service without selector and an EndpointSlice"
    )]
    Address(String),
    /// The whole is too long.
    #[error(
        "spec.externalName has {0} characters and a DNS name at most {LONGEST_NAME}: write a shorter one"
    )]
    Long(usize),
    /// Two dots in a row, or one at the start.
    #[error("spec.externalName {0:?} has an empty part between its dots: remove a dot")]
    EmptyLabel(String),
    /// A part is too long.
    #[error(
        "spec.externalName {0:?} has a part of {1} characters and DNS allows {LONGEST_LABEL} between two dots: \
         write a shorter one"
    )]
    LongLabel(String, usize),
    /// Not what host names are made of.
    #[error("spec.externalName {0:?} contains {1:?}: use letters, digits, hyphens and dots only")]
    Character(String, char),
    /// A loop.
    #[error("spec.externalName {0:?} is this Service's own name, which leads to itself: write another name")]
    Itself(String),
}

/// Checks the `externalName` of a Service in a cluster of this domain (`cluster.local`).
///
/// # Errors
/// The first rule that it breaks.
pub fn check_external_name(
    service: &ObjectKey,
    external_name: &str,
    cluster_domain: &str,
) -> Result<(), ExternalNameError> {
    let name = external_name.strip_suffix('.').unwrap_or(external_name);
    if name.is_empty() {
        return Err(ExternalNameError::Empty);
    }
    if name.len() > LONGEST_NAME {
        return Err(ExternalNameError::Long(name.len()));
    }
    if looks_like_address(name) {
        return Err(ExternalNameError::Address(name.to_owned()));
    }
    name.split('.').try_for_each(|label| check_label(name, label))?;
    if own_names(service, cluster_domain).iter().any(|own| own.eq_ignore_ascii_case(name)) {
        return Err(ExternalNameError::Itself(name.to_owned()));
    }
    Ok(())
}

/// Resolvers read digits and dots as an IPv4 address, in fewer than four parts and with leading zeros too
/// (`inet_aton`), before they ask DNS.
fn looks_like_address(name: &str) -> bool {
    let numeric = |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || name.split('.').all(numeric)
}

fn check_label(name: &str, label: &str) -> Result<(), ExternalNameError> {
    let name = || name.to_owned();
    // The underscore is no letter of host names, yet names of records have it (RFC 2782).
    let foreign = |c: &char| !(c.is_ascii_alphanumeric() || ['-', '_'].contains(c));
    match (label.len(), label.chars().find(foreign)) {
        (0, _) => Err(ExternalNameError::EmptyLabel(name())),
        (_, Some(character)) => Err(ExternalNameError::Character(name(), character)),
        (length, None) if length > LONGEST_LABEL => Err(ExternalNameError::LongLabel(name(), length)),
        (_, None) => Ok(()),
    }
}

/// As Pods may write it, and in full. The first is a name of the root zone to a resolver that follows the CNAME, but
/// whoever writes it means the second.
fn own_names(service: &ObjectKey, cluster_domain: &str) -> [String; 2] {
    let short = format!("{}.{}.svc", service.name, service.namespace);
    let full = format!("{short}.{}", cluster_domain.trim_matches('.'));
    [short, full]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(name: &str) -> Result<(), ExternalNameError> {
        check_external_name(&ObjectKey::new("d", "s"), name, "cluster.local")
    }

    #[test]
    fn names_that_dns_can_answer_with_are_accepted() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
        assert_eq!(longest.len(), 253);
        for name in [
            "my.database.example.com",
            "my.database.example.com.",
            "localhost",
            "1.2.3.example",
            "_sip._tcp.example",
            "s.other.svc.cluster.local",
            "s.d.svc.other.domain",
            "s.d",
            &longest,
            &format!("{longest}."),
        ] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn each_other_is_refused_for_its_own_reason() {
        use ExternalNameError as E;
        let (label, name) = ("a".repeat(64), format!("{}aa", "a.".repeat(126)));
        let given = |text: &str| text.to_owned();
        let cases = [
            ("", E::Empty),
            (".", E::Empty),
            ("10.0.0.1", E::Address(given("10.0.0.1"))),
            ("10.0.0.1.", E::Address(given("10.0.0.1"))),
            ("010.1", E::Address(given("010.1"))),
            ("2001:db8::1", E::Address(given("2001:db8::1"))),
            ("[::1]", E::Address(given("[::1]"))),
            (&name, E::Long(254)),
            ("a..example", E::EmptyLabel(given("a..example"))),
            (".example", E::EmptyLabel(given(".example"))),
            ("a.example..", E::EmptyLabel(given("a.example."))),
            (&label, E::LongLabel(label.clone(), 64)),
            ("http://a.example", E::Character(given("http://a.example"), ':')),
            ("é.example", E::Character(given("é.example"), 'é')),
            ("s.d.svc", E::Itself(given("s.d.svc"))),
            ("s.d.svc.cluster.local.", E::Itself(given("s.d.svc.cluster.local"))),
            ("S.d.SVC.cluster.local", E::Itself(given("S.d.SVC.cluster.local"))),
        ];
        for (name, error) in cases {
            assert_eq!(check(name), Err(error), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer_and_what_passes_fits_into_a_dns_message(name in "\\PC{0,300}|[a-z0-9.-]{0,300}") {
            if check(&name).is_ok() {
                let name = name.strip_suffix('.').unwrap_or(&name);
                let wire: usize = name.split('.').map(|label| label.len() + 1).sum::<usize>() + 1;
                prop_assert!(wire <= 255 && name.split('.').all(|label| (1..=63).contains(&label.len())));
            }
        }
    }
}
