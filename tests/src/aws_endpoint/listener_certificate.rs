//! Certificates of a TLS listener besides its default one.

use serde_json::{Value, json};

use super::{answer::Outcome, failure::Failure, form::Form, page::Page, store::Store};

impl Store {
    pub(super) fn add_listener_certificates(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("ListenerArn")?;
        let wanted = take(&mut form)?;
        form.finish()?;
        let held = self.listener(&arn)?;
        if held.wish.protocol != "TLS" {
            return Err(Failure::new("UnsupportedProtocol", "Certificates are for TLS listeners"));
        }
        wanted.iter().try_for_each(|certificate| self.check_certificate(certificate))?;
        let mut more = held.more_certificates.clone();
        more.extend(wanted.iter().cloned());
        if more.len() > self.settings.limits.certificates {
            return Err(Failure::new("TooManyCertificates", "The listener has too many certificates"));
        }
        self.listener_mut(&arn)?.more_certificates = more;
        let shown: Value =
            wanted.iter().map(|arn| json!({"CertificateArn": arn, "IsDefault": false})).collect();
        Ok(json!({"Certificates": shown}))
    }

    pub(super) fn remove_listener_certificates(&mut self, mut form: Form) -> Outcome {
        let arn = form.required("ListenerArn")?;
        let wanted = take(&mut form)?;
        form.finish()?;
        let held = self.listener_mut(&arn)?;
        if held.wish.certificate.as_ref().is_some_and(|default| wanted.contains(default)) {
            return Err(Failure::new("OperationNotPermitted", "The default certificate cannot be removed"));
        }
        held.more_certificates.retain(|certificate| !wanted.contains(certificate));
        Ok(json!({}))
    }

    pub(super) fn describe_listener_certificates(&self, mut form: Form) -> Outcome {
        let arn = form.required("ListenerArn")?;
        let page = Page::take(&mut form, self.settings.limits.page)?;
        form.finish()?;
        let held = self.listener(&arn)?;
        let default = held.wish.certificate.iter().map(|arn| (arn, true));
        let mut all: Vec<_> = default.chain(held.more_certificates.iter().map(|arn| (arn, false))).collect();
        all.sort();
        let (page, next) = page.of(all.iter().map(|pair| (pair.0.as_str(), pair)));
        let shown: Value = page
            .into_iter()
            .map(|(arn, default)| json!({"CertificateArn": arn, "IsDefault": default}))
            .collect();
        Ok(json!({"Certificates": shown, "NextMarker": next}))
    }
}

fn take(form: &mut Form) -> Result<Vec<String>, Failure> {
    let mut arns = Vec::new();
    for mut member in form.structures("Certificates").unwrap_or_default() {
        arns.push(member.required("CertificateArn")?);
        member.finish()?;
    }
    if arns.is_empty() {
        return Err(Failure::validation("At least one certificate must be specified"));
    }
    Ok(arns)
}
