//! Certificates in ACM.

use aws_sdk_acm::{primitives::Blob, types as acm};

use super::{Applier, empty};
use crate::{
    ProviderError,
    aws::{call_class::CallClass::Certificates, observed::Made, reading::Pairs},
};

impl Applier<'_> {
    /// Anew with tags, or in the place of what the certificate holds.
    pub(super) async fn import_certificate(
        &self,
        arn: Option<&str>,
        fingerprint: &str,
        tags: &Pairs,
    ) -> Result<Option<Made>, ProviderError> {
        let certificate = self.certificate.filter(|held| held.fingerprint() == fingerprint);
        let certificate = certificate.ok_or_else(|| {
            ProviderError::Conflict("the Secret holds another certificate than was planned with".to_owned())
        })?;
        let request = self
            .api
            .acm
            .import_certificate()
            .set_certificate_arn(arn.map(ToOwned::to_owned))
            .certificate(Blob::new(certificate.leaf_pem()))
            .set_certificate_chain(certificate.issuers_pem().map(Blob::new))
            .private_key(Blob::new(certificate.key_pem()))
            .set_tags(arn.is_none().then(|| tags.iter().filter_map(tag).collect()));
        let answer = self.api.ask("ImportCertificate", Certificates, request.send()).await?;
        let made = answer.certificate_arn.map(|arn| Some(Made { arn, ..Made::default() }));
        made.ok_or_else(|| empty("ImportCertificate"))
    }

    /// What is gone already is as wanted. For a while after its last listener it is in use still.
    pub(super) async fn delete_certificate(&self, arn: &str) -> Result<Option<Made>, ProviderError> {
        let request = self.api.acm.delete_certificate().certificate_arn(arn);
        match self.api.call("DeleteCertificate", Certificates, request.send()).await {
            Err(failure) if failure.is_not_found() => Ok(None),
            answer => answer.map(|_| None).map_err(|failure| self.api.error(Certificates, failure)),
        }
    }
}

/// Only a tag without a key cannot be made, and there is none.
fn tag((key, value): (&String, &String)) -> Option<acm::Tag> {
    acm::Tag::builder().key(key).value(value).build().ok()
}
