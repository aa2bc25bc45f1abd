//! Certificates. They cannot be changed, and nobody can read their key again.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::refusal::Reply;

/// A certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[allow(missing_docs)] // the API's own words
pub struct Certificate {
    pub id: String,
    pub name: String,
    #[serde(skip)]
    pub leaf: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateWish {
    pub(super) name: String,
    #[serde(rename = "type")]
    kind: String,
    private_key: String,
    pub(super) leaf_certificate: String,
    certificate_chain: Option<String>,
}

impl CertificateWish {
    pub(super) fn check(&self) -> Result<(), Reply> {
        let certificate = |text: &String| text.starts_with("-----BEGIN CERTIFICATE-----");
        let single = self.leaf_certificate.matches("-----BEGIN").count() == 1;
        let fits = self.kind == "custom"
            && !self.name.is_empty()
            && self.name.len() <= 255
            && self.private_key.contains("PRIVATE KEY-----")
            && certificate(&self.leaf_certificate)
            && single
            && self.certificate_chain.as_ref().is_none_or(certificate);
        if fits { Ok(()) } else { Err(Reply::unprocessable("the certificate is invalid")) }
    }
}

impl Certificate {
    pub(super) fn shown(&self) -> Value {
        json!({"id": self.id, "name": self.name, "type": "custom", "state": "verified", "dns_names": [],
            "not_after": "2030-01-01T00:00:00Z", "sha1_fingerprint": "0".repeat(40), "created_at": "2026-01-01T00:00:00Z"})
    }
}
