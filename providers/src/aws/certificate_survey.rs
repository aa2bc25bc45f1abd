//! What is asked of ACM: which certificates there are, whose they are, and what they hold.

use std::{collections::BTreeMap, sync::PoisonError};

use aws_sdk_acm::types::{CertificateType, Filters, KeyAlgorithm};

use super::{
    api::Api,
    call_class::CallClass::Certificates,
    failure::Failure,
    observed::{Imported, Observed},
    reading::Pairs,
};
use crate::{ProviderError, fingerprint_of_pem};

/// What one answer holds at most.
const PAGE: i32 = 1000;

/// ACM lists certificates with other keys than RSA of 1024 and 2048 bits only to those who ask for them.
const KEYS: [KeyAlgorithm; 7] = [
    KeyAlgorithm::EcPrime256v1,
    KeyAlgorithm::EcSecp384r1,
    KeyAlgorithm::EcSecp521r1,
    KeyAlgorithm::Rsa1024,
    KeyAlgorithm::Rsa2048,
    KeyAlgorithm::Rsa3072,
    KeyAlgorithm::Rsa4096,
];

impl Api {
    /// All that were imported into the account; what they hold is not looked at.
    pub(super) async fn all_certificates(&self) -> Result<Vec<Imported>, ProviderError> {
        let mut all = Vec::new();
        for arn in self.imported_arns().await? {
            if let Some(tags) = self.tags_of_certificate(&arn).await? {
                all.push(Imported { arn, tags, fingerprint: None });
            }
        }
        Ok(all)
    }

    /// One of them; `None` where it is gone.
    pub(super) async fn certificate(&self, arn: String) -> Result<Option<Imported>, ProviderError> {
        let tags = self.tags_of_certificate(&arn).await?;
        Ok(tags.map(|tags| Imported { arn, tags, fingerprint: None }))
    }

    /// Adds what they hold; leaves out those that are gone.
    pub(super) async fn look_into_certificates(&self, observed: &mut Observed) -> Result<(), ProviderError> {
        for mut known in std::mem::take(&mut observed.certificates) {
            let request = self.acm.get_certificate().certificate_arn(&known.arn);
            match self.call("GetCertificate", Certificates, request.send()).await {
                Ok(held) => {
                    let parts = [held.certificate, held.certificate_chain];
                    let text: Vec<String> = parts.into_iter().flatten().collect();
                    known.fingerprint = fingerprint_of_pem(&text.join("\n"));
                    observed.certificates.push(known);
                }
                Err(failure) if failure.is_not_found() => {}
                Err(failure) => return Err(self.error(Certificates, failure)),
            }
        }
        Ok(())
    }

    async fn imported_arns(&self) -> Result<Vec<String>, ProviderError> {
        let filter = Filters::builder().set_key_types(Some(KEYS.to_vec())).build();
        let (mut all, mut token) = (Vec::new(), None);
        loop {
            let request = self.acm.list_certificates().includes(filter.clone()).max_items(PAGE);
            let request = request.set_next_token(token);
            let answer = self.ask("ListCertificates", Certificates, request.send()).await?;
            let imported = answer.certificate_summary_list().iter();
            // One whose type is not told may be.
            let imported =
                imported.filter(|c| c.r#type.as_ref().is_none_or(|t| *t == CertificateType::Imported));
            all.extend(imported.filter_map(|certificate| certificate.certificate_arn.clone()));
            token = answer.next_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(all);
            }
        }
    }

    async fn tags_of_certificate(&self, arn: &str) -> Result<Option<Pairs>, ProviderError> {
        let known = self.certificate_tags.lock().unwrap_or_else(PoisonError::into_inner).get(arn).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let request = self.acm.list_tags_for_certificate().certificate_arn(arn);
        let answer = self.call("ListTagsForCertificate", Certificates, request.send()).await;
        let answer = match answer {
            Err(failure) if Failure::is_not_found(&failure) => return Ok(None),
            answer => answer.map_err(|failure| self.error(Certificates, failure))?,
        };
        let pair = |tag: &aws_sdk_acm::types::Tag| (tag.key.clone(), tag.value.clone().unwrap_or_default());
        let tags: BTreeMap<String, String> = answer.tags().iter().map(pair).collect();
        let mut all = self.certificate_tags.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(arn.to_owned(), tags.clone());
        Ok(Some(tags))
    }
}
