//! What the Secrets hold that Services name for TLS: pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::core::v1::{Secret, Service},
    jiff::Timestamp,
};
use penstock_crds::{ProviderKind, Reason, TLS_SECRET};
use penstock_providers::{Certificate, CertificateError};

/// What is known of the Secrets of type `kubernetes.io/tls`, by namespace. One that is not here was not asked for yet.
#[derive(Clone, Debug, Default)]
pub struct Certificates(BTreeMap<String, OfNamespace>);

/// By the Secret's name.
type Read = BTreeMap<String, Result<Certificate, CertificateError>>;

#[derive(Clone, Debug, PartialEq)]
enum OfNamespace {
    /// All of them.
    Listed(Read),
    /// The operator may not read them.
    Forbidden,
}

/// What the watch of a namespace says.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// All that there are.
    All(Vec<Secret>),
    /// One is new or another.
    Changed(Box<Secret>),
    /// One is gone.
    Gone(String),
    /// The operator may not read them.
    Forbidden,
}

/// Why a Service cannot have the certificate that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The Secrets of its namespace were not read yet.
    Unread,
    /// Somebody has to change something.
    Refused(Reason, String),
}

/// The Secret that a Service names.
pub(crate) fn named_secret(service: &Service) -> Option<&str> {
    service.metadata.annotations.as_ref()?.get(TLS_SECRET).map(|name| name.trim())
}

/// Whether its balancers can end TLS with a certificate that is handed to it.
fn takes_certificates(provider: ProviderKind) -> bool {
    match provider {
        ProviderKind::Aws | ProviderKind::Hetzner | ProviderKind::DigitalOcean => true,
        ProviderKind::Pool | ProviderKind::Webhook => false,
    }
}

impl Certificates {
    /// What the Secret holds that the Service names; `None` where it names none.
    pub(crate) fn of(
        &self,
        service: &Service,
        provider: ProviderKind,
    ) -> Result<Option<&Certificate>, Obstacle> {
        let Some(name) = named_secret(service) else { return Ok(None) };
        if !takes_certificates(provider) {
            let why = format!(
                "provider {provider} does not end TLS: remove the annotation {TLS_SECRET} or choose another class"
            );
            return Err(Obstacle::Refused(Reason::RequestRefused, why));
        }
        let refused = |why: String| Obstacle::Refused(Reason::InvalidCertificateRef, why);
        let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
        match self.0.get(namespace) {
            None => Err(Obstacle::Unread),
            Some(OfNamespace::Forbidden) => Err(refused(format!(
                "the operator may not read Secret {namespace}/{name}: add the namespace to operator.tlsSecretNamespaces of the chart"
            ))),
            Some(OfNamespace::Listed(read)) => match read.get(name) {
                None => Err(refused(format!(
                    "there is no Secret {namespace}/{name} of type kubernetes.io/tls: create it, or correct the annotation {TLS_SECRET}"
                ))),
                Some(Err(error)) => Err(refused(error.to_string())),
                Some(Ok(certificate)) => Ok(Some(certificate)),
            },
        }
    }

    /// Takes over what a watch says. Returns the names of the Secrets that differ now; `None`: all of them may.
    pub(crate) fn take(&mut self, namespace: &str, news: News, now: Timestamp) -> Option<BTreeSet<String>> {
        let before = self.0.get(namespace).cloned();
        let after = match (before.clone(), news) {
            (_, News::All(secrets)) => {
                OfNamespace::Listed(secrets.iter().map(|secret| read(secret, now)).collect())
            }
            (Some(OfNamespace::Listed(mut known)), News::Changed(secret)) => {
                known.extend([read(&secret, now)]);
                OfNamespace::Listed(known)
            }
            (Some(OfNamespace::Listed(mut known)), News::Gone(name)) => {
                known.remove(&name);
                OfNamespace::Listed(known)
            }
            // What was read before the right was lost stays.
            (Some(OfNamespace::Listed(known)), News::Forbidden) => OfNamespace::Listed(known),
            (_, News::Forbidden) => OfNamespace::Forbidden,
            // A watch lists before it says anything else.
            (None | Some(OfNamespace::Forbidden), News::Changed(_) | News::Gone(_)) => {
                return Some(BTreeSet::new());
            }
        };
        let differ = match (&before, &after) {
            (Some(OfNamespace::Listed(before)), OfNamespace::Listed(after)) => {
                Some(differences(before, after))
            }
            (before, after) if before.as_ref() == Some(after) => Some(BTreeSet::new()),
            _ => None,
        };
        self.0.insert(namespace.to_owned(), after);
        differ
    }

    /// The certificates that have expired by now can no longer be used. Returns namespace and name of each.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<(String, String)> {
        let mut expired = Vec::new();
        for (namespace, known) in &mut self.0 {
            let OfNamespace::Listed(read) = known else { continue };
            for (name, result) in read {
                let Ok(certificate) = result else { continue };
                if let Err(error) = certificate.clone().at(now) {
                    *result = Err(error);
                    expired.push((namespace.clone(), name.clone()));
                }
            }
        }
        expired
    }

    /// When the next of them expires.
    pub(crate) fn next_end(&self) -> Option<Timestamp> {
        let listed = self.0.values().filter_map(|known| match known {
            OfNamespace::Listed(read) => Some(read.values()),
            OfNamespace::Forbidden => None,
        });
        listed.flatten().filter_map(|result| Some(result.as_ref().ok()?.not_after())).min()
    }
}

fn read(secret: &Secret, now: Timestamp) -> (String, Result<Certificate, CertificateError>) {
    (secret.metadata.name.clone().unwrap_or_default(), Certificate::of(secret, now))
}

fn differences(before: &Read, after: &Read) -> BTreeSet<String> {
    let names = before.keys().chain(after.keys());
    names.filter(|name| before.get(*name) != after.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn secret(name: &str) -> Secret {
        serde_json::from_value(json!({"metadata": {"namespace": "d", "name": name}})).unwrap()
    }

    fn refusal(known: &Certificates, provider: ProviderKind, name: &str) -> String {
        let service = json!({"metadata": {"namespace": "d", "annotations": {TLS_SECRET: name}}});
        match known.of(&serde_json::from_value(service).unwrap(), provider) {
            Err(Obstacle::Refused(reason, why)) => format!("{reason}: {why}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_service_hears_what_is_wrong_with_the_secret_that_it_names() {
        let mut known = Certificates::default();
        let says = |known: &Certificates, name| refusal(known, ProviderKind::Aws, name);
        assert_eq!(says(&known, "web"), "Err(Unread)");
        assert_eq!(known.take("d", News::Forbidden, now()), None);
        assert!(says(&known, "web").contains("may not read Secret d/web: add the namespace"));
        assert_eq!(known.take("d", News::Forbidden, now()), Some(BTreeSet::new()), "no news");
        assert_eq!(known.take("d", News::All(vec![secret("other")]), now()), None);
        assert!(says(&known, "web").starts_with("InvalidCertificateRef: there is no Secret d/web of type"));
        assert!(says(&known, "other").contains("Secret d/other has nothing under tls.crt"));
        assert!(refusal(&known, ProviderKind::Pool, "web").contains("provider pool does not end TLS"));
    }

    #[test]
    fn only_secrets_that_differ_are_named_and_lost_rights_take_nothing_back() {
        let mut known = Certificates::default();
        known.take("d", News::All(vec![secret("a"), secret("b")]), now());
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        let changed = |name| News::Changed(Box::new(secret(name)));
        assert_eq!(known.take("d", changed("a"), now()), names(&[]));
        assert_eq!(known.take("d", changed("c"), now()), names(&["c"]));
        assert_eq!(known.take("d", News::Gone("a".into()), now()), names(&["a"]));
        assert_eq!(known.take("d", News::Forbidden, now()), names(&[]));
        assert_eq!(known.take("d", News::All(vec![secret("b")]), now()), names(&["c"]));
        assert_eq!(known.take("other", changed("x"), now()), names(&[]), "before its list");
    }
}
