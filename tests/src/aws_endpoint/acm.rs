//! The part of ACM that importing a certificate needs. A private key is looked at and forgotten.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{
    SignatureAlgorithm,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    answer::Outcome,
    failure::Failure,
    name,
    store::Store,
    tags::{self, Tags},
};

/// An imported certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// As it was sent.
    pub pem: String,
    /// The chain, as it was sent.
    pub chain: Option<String>,
    /// `EC_prime256v1` or `RSA_2048`: the size of a key is not looked at.
    pub key_algorithm: &'static str,
    /// Its tags.
    pub tags: Tags,
    /// How often it was imported under its ARN.
    pub imports: usize,
    /// When last, by the endpoint's clock.
    pub imported: Duration,
    /// When first.
    pub created: Duration,
    /// Whether a listener has it.
    pub(super) attached: bool,
    /// Since when none has it any longer.
    pub(super) released: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Import {
    certificate_arn: Option<String>,
    certificate: String,
    private_key: String,
    certificate_chain: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Named {
    certificate_arn: String,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tag {
    key: String,
    value: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct List {
    includes: Option<Includes>,
    certificate_statuses: Option<Vec<String>>,
    next_token: Option<String>,
    max_items: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Includes {
    key_types: Option<Vec<String>>,
}

impl Store {
    pub(super) fn import_certificate(&mut self, body: &[u8]) -> Outcome {
        let wanted: Import = read(body)?;
        let (pem, key) = (decode(&wanted.certificate)?, decode(&wanted.private_key)?);
        let chain = wanted.certificate_chain.as_deref().map(decode).transpose()?;
        let key_algorithm = check_pair(&pem, &key)?;
        if let Some(chain) = &chain {
            certificates(chain)?;
        }
        let tags = take_tags(wanted.tags)?;
        let imported = self.clock.now();
        let arn = match wanted.certificate_arn {
            None => {
                let arn = name::certificate_arn(self.next_serial());
                let (created, attached, released) = (imported, false, None);
                let made = Certificate {
                    pem,
                    chain,
                    key_algorithm,
                    tags,
                    imports: 1,
                    imported,
                    created,
                    attached,
                    released,
                };
                self.certificates.insert(arn.clone(), made);
                arn
            }
            Some(_) if !tags.is_empty() => {
                return Err(Failure::new("ValidationException", "Tagging is not permitted on re-import."));
            }
            Some(arn) => {
                let held = self.certificate_mut(&arn)?;
                let imports = held.imports + 1;
                *held = Certificate { pem, chain, key_algorithm, imports, imported, ..held.clone() };
                arn
            }
        };
        Ok(json!({"CertificateArn": arn}))
    }

    pub(super) fn describe_certificate(&mut self, body: &[u8]) -> Outcome {
        let arn = read::<Named>(body)?.certificate_arn;
        let used = self.users_of_certificate(&arn);
        let held = self.certificate_mut(&arn)?;
        let at = Self::seconds(held.imported);
        let algorithm = held.key_algorithm;
        Ok(json!({"Certificate": {
            "CertificateArn": arn, "Status": "ISSUED", "Type": "IMPORTED", "InUseBy": used,
            "KeyAlgorithm": algorithm, "CreatedAt": at, "ImportedAt": at, "RenewalEligibility": "INELIGIBLE"
        }}))
    }

    pub(super) fn get_certificate(&mut self, body: &[u8]) -> Outcome {
        let held = self.certificate_mut(&read::<Named>(body)?.certificate_arn)?;
        Ok(json!({"Certificate": held.pem, "CertificateChain": held.chain}))
    }

    /// One that no listener has is in use for a while still.
    pub(super) fn delete_certificate(&mut self, body: &[u8]) -> Outcome {
        let arn = read::<Named>(body)?.certificate_arn;
        let (now, lag) = (self.clock.now(), self.settings.in_use_lag);
        let lags = self.certificate_mut(&arn)?.released.is_some_and(|released| now < released + lag);
        if lags || !self.users_of_certificate(&arn).is_empty() {
            return Err(Failure::new("ResourceInUseException", format!("Certificate {arn} is in use.")));
        }
        self.certificates.remove(&arn);
        Ok(json!({}))
    }

    /// Only RSA certificates of up to 2048 bits, unless the call asks for other key types, as ACM does.
    pub(super) fn list_certificates(&self, body: &[u8]) -> Outcome {
        let wanted: List = read(body)?;
        let kinds = wanted.includes.and_then(|includes| includes.key_types);
        let kinds = kinds.unwrap_or_else(|| vec!["RSA_1024".to_owned(), "RSA_2048".to_owned()]);
        let issued =
            wanted.certificate_statuses.is_none_or(|kinds| kinds.iter().any(|kind| kind == "ISSUED"));
        let after = wanted.next_token.unwrap_or_default();
        let fits = |held: &Certificate| {
            self.is_visible(held.created) && issued && kinds.iter().any(|kind| kind == held.key_algorithm)
        };
        let mut rest = self.certificates.iter().filter(|(arn, held)| **arn > after && fits(held)).peekable();
        let mut shown = Vec::new();
        while let Some((arn, held)) = rest.next_if(|_| shown.len() < wanted.max_items.unwrap_or(1000)) {
            shown.push(json!({
                "CertificateArn": arn, "Status": "ISSUED", "Type": "IMPORTED",
                "KeyAlgorithm": held.key_algorithm, "InUse": !self.users_of_certificate(arn).is_empty()
            }));
        }
        let next = rest.peek().and_then(|_| shown.last().map(|last: &Value| last["CertificateArn"].clone()));
        let mut answer = json!({"CertificateSummaryList": shown});
        if let Some(next) = next {
            answer["NextToken"] = next;
        }
        Ok(answer)
    }

    pub(super) fn add_tags_to_certificate(&mut self, body: &[u8]) -> Outcome {
        let wanted: Named = read(body)?;
        let tags = take_tags(wanted.tags)?;
        self.certificate_mut(&wanted.certificate_arn)?.tags.extend(tags);
        Ok(json!({}))
    }

    pub(super) fn list_tags_for_certificate(&mut self, body: &[u8]) -> Outcome {
        let arn = read::<Named>(body)?.certificate_arn;
        Ok(json!({"Tags": tags::shown(&self.certificate_mut(&arn)?.tags)}))
    }

    fn certificate_mut(&mut self, arn: &str) -> Result<&mut Certificate, Failure> {
        let absent =
            || Failure::new("ResourceNotFoundException", format!("Could not find certificate {arn}."));
        self.certificates.get_mut(arn).ok_or_else(absent)
    }

    /// The load balancers with listeners that use it.
    fn users_of_certificate(&self, arn: &str) -> Vec<String> {
        let uses = |held: &&super::Listener| {
            held.wish.certificate.as_deref() == Some(arn) || held.more_certificates.contains(arn)
        };
        let mut users: Vec<String> =
            self.listeners.values().filter(uses).map(|held| held.load_balancer.clone()).collect();
        users.sort();
        users.dedup();
        users
    }

    /// Whether listeners may use it.
    pub(super) fn check_certificate(&self, arn: &str) -> Result<(), Failure> {
        if self.certificates.contains_key(arn) {
            return Ok(());
        }
        Err(Failure::new("CertificateNotFound", format!("Certificate '{arn}' not found")))
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::new("ValidationException", error.to_string()))
}

fn decode(text: &str) -> Result<String, Failure> {
    let invalid = || Failure::new("ValidationException", "The blob is not text in base64.");
    String::from_utf8(STANDARD.decode(text).map_err(|_| invalid())?).map_err(|_| invalid())
}

fn take_tags(wanted: Vec<Tag>) -> Result<Tags, Failure> {
    let mut tags = Tags::new();
    for Tag { key, value } in wanted {
        let value = value.unwrap_or_default();
        tags::check(&key, &value).map_err(|failure| Failure::new("InvalidTagException", failure.message))?;
        tags.insert(key, value);
    }
    tags::check_count(&tags, 50).map_err(|failure| Failure::new("TooManyTagsException", failure.message))?;
    Ok(tags)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let invalid = || Failure::new("ValidationException", "The certificate is not a valid PEM certificate.");
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    read.ok().filter(|found| !found.is_empty()).ok_or_else(invalid)
}

/// Whether the key is that of the certificate; returns the key's algorithm.
fn check_pair(pem: &str, key: &str) -> Result<&'static str, Failure> {
    let invalid = |message: &str| Failure::new("ValidationException", message);
    let certificates = certificates(pem)?;
    if certificates.len() > 1 {
        return Err(invalid("The certificate field contains more than one certificate."));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| invalid("The private key is not a valid PEM private key."))?;
    let pair = CertifiedKey::from_der(certificates, key, &default_provider())
        .map_err(|_| invalid("The private key does not match the certificate."))?;
    match pair.key.algorithm() {
        SignatureAlgorithm::ECDSA => Ok("EC_prime256v1"),
        SignatureAlgorithm::RSA => Ok("RSA_2048"),
        _ => Err(invalid("The key algorithm of the certificate is not supported.")),
    }
}
