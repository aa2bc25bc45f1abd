//! A certificate with its key, from a Secret of type `kubernetes.io/tls`. The key is shown to nobody: it is neither
//! printed nor written as JSON, and only what carries out a step is handed it.

use std::{fmt, sync::Arc};

use k8s_openapi::{api::core::v1 as core, jiff::Timestamp};
use pem::{LineEnding, Pem};
use rustls::{
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The keys of such a Secret.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// A certificate that may be used, and its key.
#[derive(Clone)]
pub struct Certificate {
    secret: String,
    chain: Arc<[CertificateDer<'static>]>,
    key: Arc<PrivateKeyDer<'static>>,
    fingerprint: String,
    not_after: Timestamp,
}

/// Why a Secret cannot be used for TLS. Each says what to change; none says what stands in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// A key of the Secret is not there.
    #[error("Secret {secret} has nothing under {key}: put the PEM there")]
    Missing {
        /// Namespace and name.
        secret: String,
        /// `tls.crt` or `tls.key`.
        key: &'static str,
    },
    /// It holds no PEM of what it should.
    #[error("Secret {secret} has under {key} nothing that can be read as PEM of {what}: replace it")]
    Unreadable {
        /// Namespace and name.
        secret: String,
        /// `tls.crt` or `tls.key`.
        key: &'static str,
        /// What it should be.
        what: &'static str,
    },
    /// Certificate and key are not a pair.
    #[error(
        "Secret {secret} has under tls.key another key than that of the first certificate under tls.crt: replace one"
    )]
    OtherKey {
        /// Namespace and name.
        secret: String,
    },
    /// A kind of key that balancers do not have.
    #[error(
        "Secret {secret} has a key that is neither RSA of 2048 bits or more nor of the curves P-256 and P-384: use one of these"
    )]
    UnusualKey {
        /// Namespace and name.
        secret: String,
    },
    /// It is no longer valid.
    #[error("the certificate in Secret {secret} expired on {on}: renew it")]
    Expired {
        /// Namespace and name.
        secret: String,
        /// When.
        on: Timestamp,
    },
}

impl Certificate {
    /// Reads a Secret, as of `now`.
    ///
    /// # Errors
    /// What is wrong with it, in one sentence that names it.
    pub fn of(secret: &core::Secret, now: Timestamp) -> Result<Self, CertificateError> {
        let read = Reading::of(secret);
        let chain = read.certificates()?;
        let key = read.key()?;
        let not_after = read.end_of(chain.first())?;
        read.check_pair(&chain, &key)?;
        let certificate = Self {
            fingerprint: fingerprint(&chain),
            chain: chain.into(),
            key: Arc::new(key),
            secret: read.secret,
            not_after,
        };
        certificate.at(now)
    }

    /// The same if it is valid at that time still.
    ///
    /// # Errors
    /// [`CertificateError::Expired`].
    pub fn at(self, now: Timestamp) -> Result<Self, CertificateError> {
        if now > self.not_after {
            return Err(CertificateError::Expired { secret: self.secret, on: self.not_after });
        }
        Ok(self)
    }

    /// Namespace and name of the Secret.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The SHA-256 of the certificates, in hexadecimal digits. The key is no part of it: there is only one that fits,
    /// and what is compared and recorded is to say nothing of it.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The last moment at which it is valid.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The certificate itself, as PEM.
    #[must_use]
    pub fn leaf_pem(&self) -> String {
        pem_of(self.chain.iter().take(1))
    }

    /// Those between it and the authority, as PEM; `None` where there are none.
    #[must_use]
    pub fn issuers_pem(&self) -> Option<String> {
        (self.chain.len() > 1).then(|| pem_of(self.chain.iter().skip(1)))
    }

    /// The key, as PEM. It is for the provider's call alone.
    #[must_use]
    pub fn key_pem(&self) -> String {
        let tag = match self.key.as_ref() {
            PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
            PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
            _ => "PRIVATE KEY",
        };
        encoded(tag, self.key.secret_der())
    }
}

/// The fingerprint of certificates in PEM, as a provider shows them; `None` if they cannot be read.
#[must_use]
pub fn fingerprint_of_pem(pem: &str) -> Option<String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    chain.ok().filter(|chain| !chain.is_empty()).map(|chain| fingerprint(&chain))
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        (&self.secret, &self.fingerprint) == (&other.secret, &other.fingerprint)
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { secret, fingerprint, not_after, .. } = self;
        let mut shown = f.debug_struct("Certificate");
        shown.field("secret", secret).field("fingerprint", fingerprint).field("not_after", not_after);
        shown.finish_non_exhaustive()
    }
}

/// By what it is compared: the rest is nobody's business.
impl Serialize for Certificate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shown = serializer.serialize_struct("Certificate", 2)?;
        shown.serialize_field("secret", &self.secret)?;
        shown.serialize_field("fingerprint", &self.fingerprint)?;
        shown.end()
    }
}

fn fingerprint(chain: &[CertificateDer<'_>]) -> String {
    let mut digest = Sha256::new();
    for certificate in chain {
        // Each has its length in it.
        digest.update(certificate.as_ref());
    }
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn pem_of<'a>(chain: impl Iterator<Item = &'a CertificateDer<'static>>) -> String {
    chain.map(|certificate| encoded("CERTIFICATE", certificate.as_ref())).collect()
}

fn encoded(tag: &str, der: &[u8]) -> String {
    pem::encode_config(&Pem::new(tag, der), pem::EncodeConfig::new().set_line_ending(LineEnding::LF))
}

/// A Secret that is being read.
struct Reading<'a> {
    secret: String,
    object: &'a core::Secret,
}

impl<'a> Reading<'a> {
    fn of(object: &'a core::Secret) -> Self {
        let (namespace, name) = (&object.metadata.namespace, &object.metadata.name);
        let part = |text: &'a Option<String>| text.as_deref().unwrap_or_default();
        Self { secret: format!("{}/{}", part(namespace), part(name)), object }
    }

    fn bytes(&self, key: &'static str) -> Result<&'a [u8], CertificateError> {
        let found = self.object.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice());
        let absent = || CertificateError::Missing { secret: self.secret.clone(), key };
        found.filter(|bytes| !bytes.is_empty()).ok_or_else(absent)
    }

    fn unreadable(&self, key: &'static str) -> CertificateError {
        let what = if key == KEY { "a private key" } else { "certificates" };
        CertificateError::Unreadable { secret: self.secret.clone(), key, what }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.bytes(CERTIFICATE)?).collect();
        chain.ok().filter(|chain| !chain.is_empty()).ok_or_else(|| self.unreadable(CERTIFICATE))
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, CertificateError> {
        PrivateKeyDer::from_pem_slice(self.bytes(KEY)?).map_err(|_| self.unreadable(KEY))
    }

    fn end_of(&self, leaf: Option<&CertificateDer<'_>>) -> Result<Timestamp, CertificateError> {
        let unreadable = || self.unreadable(CERTIFICATE);
        let leaf = leaf.ok_or_else(unreadable)?;
        let (_, read) = X509Certificate::from_der(leaf.as_ref()).map_err(|_| unreadable())?;
        Timestamp::from_second(read.validity().not_after.timestamp()).map_err(|_| unreadable())
    }

    /// rustls would not serve what does not fit either.
    fn check_pair(
        &self,
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
    ) -> Result<(), CertificateError> {
        let secret = || self.secret.clone();
        match CertifiedKey::from_der(chain.to_vec(), key.clone_key(), &default_provider()) {
            Ok(_) => Ok(()),
            Err(rustls::Error::InconsistentKeys(_)) => Err(CertificateError::OtherKey { secret: secret() }),
            Err(_) => Err(CertificateError::UnusualKey { secret: secret() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    const NOW: i64 = 1_800_000_000;

    fn made(days: i64) -> (String, String) {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut wish = rcgen::CertificateParams::new(vec!["web.example".to_owned()]).unwrap();
        wish.not_after = (std::time::UNIX_EPOCH
            + std::time::Duration::from_secs(u64::try_from(NOW + days * 86_400).unwrap()))
        .into();
        (wish.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn read(parts: &[(&str, &str)]) -> Result<Certificate, CertificateError> {
        let data = parts.iter().map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec())));
        let mut secret = core::Secret { data: Some(data.collect()), ..core::Secret::default() };
        (secret.metadata.namespace, secret.metadata.name) = (Some("shop".into()), Some("web-tls".into()));
        Certificate::of(&secret, Timestamp::from_second(NOW).unwrap())
    }

    #[test]
    fn a_pair_is_read_with_the_certificates_between_and_shows_no_key() {
        let ((leaf, key), (issuer, _)) = (made(1), made(1));
        let text = format!("a comment\n{leaf}\n{issuer}");
        let certificate = read(&[("tls.crt", &text), ("tls.key", &key)]).unwrap();
        assert_eq!(certificate.leaf_pem().lines().collect::<Vec<_>>(), leaf.lines().collect::<Vec<_>>());
        assert_eq!(
            certificate.issuers_pem().unwrap().lines().collect::<Vec<_>>(),
            issuer.lines().collect::<Vec<_>>()
        );
        assert_eq!(certificate.key_pem().lines().collect::<Vec<_>>(), key.lines().collect::<Vec<_>>());
        assert_eq!(fingerprint_of_pem(&text).as_deref(), Some(certificate.fingerprint()));
        let secret = key.lines().nth(1).unwrap();
        for shown in [format!("{certificate:?}"), serde_json::to_string(&certificate).unwrap()] {
            assert!(shown.contains("shop/web-tls") && !shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn another_certificate_is_another() {
        let ((first, key), (second, other)) = (made(1), made(1));
        let first = read(&[("tls.crt", &first), ("tls.key", &key)]).unwrap();
        let second = read(&[("tls.crt", &second), ("tls.key", &other)]).unwrap();
        assert_ne!(first, second);
        assert_ne!(serde_json::to_value(&first).unwrap(), serde_json::to_value(&second).unwrap());
    }

    #[test]
    fn what_cannot_be_used_is_refused_in_one_sentence_that_names_the_secret() {
        let ((leaf, key), (_, other), (expired, expired_key)) = (made(1), made(1), made(-1));
        let cases: [(&[(&str, &str)], &str); 7] = [
            (&[("tls.key", &key)], "has nothing under tls.crt"),
            (&[("tls.crt", &leaf)], "has nothing under tls.key"),
            (
                &[("tls.crt", "x"), ("tls.key", &key)],
                "tls.crt nothing that can be read as PEM of certificates",
            ),
            (
                &[("tls.crt", &leaf), ("tls.key", "x")],
                "tls.key nothing that can be read as PEM of a private key",
            ),
            (&[("tls.crt", &leaf), ("tls.key", &leaf)], "tls.key nothing that can be read"),
            (&[("tls.crt", &leaf), ("tls.key", &other)], "another key than that of the first certificate"),
            (&[("tls.crt", &expired), ("tls.key", &expired_key)], "expired on 2027-01-14T"),
        ];
        for (parts, sentence) in cases {
            let error = read(parts).unwrap_err().to_string();
            assert!(error.contains("Secret shop/web-tls") && error.contains(sentence), "{error}");
        }
    }
}
