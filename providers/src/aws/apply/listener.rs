//! Listeners.

use aws_sdk_elasticloadbalancingv2::types as sdk;

use super::{Applier, empty};
use crate::{
    ProviderError,
    aws::{action::Action, call_class::CallClass::Change, conversion, observed::Made, spec::ListenerSpec},
};

impl Applier<'_> {
    pub(super) async fn create_listener(
        &self,
        balancer: &str,
        spec: &ListenerSpec,
    ) -> Result<Option<Made>, ProviderError> {
        let spec = &self.observed.resolved(spec);
        let first = spec.certificates.first().map(|arn| conversion::certificates(std::slice::from_ref(arn)));
        let request = self
            .api
            .client
            .create_listener()
            .load_balancer_arn(self.balancer(balancer)?)
            .protocol(conversion::protocol(spec.protocol))
            .port(i32::from(spec.port))
            .set_certificates(first)
            .set_ssl_policy(spec.policy.clone())
            .set_alpn_policy(spec.alpn.clone().map(|policy| vec![policy]))
            .default_actions(conversion::forward(self.group(&spec.group)?));
        let answer = self.api.ask("CreateListener", Change, request.send()).await?;
        let made = answer.listeners().first().and_then(|listener| listener.listener_arn.clone());
        let made = made.map(|arn| Some(Made { arn, ..Made::default() }));
        made.ok_or_else(|| empty("CreateListener"))
    }

    pub(super) async fn change_listener(&self, action: &Action) -> Result<Option<Made>, ProviderError> {
        let client = &self.api.client;
        match action {
            Action::ModifyListener { balancer, spec } => {
                let spec = &self.observed.resolved(spec);
                let first =
                    spec.certificates.first().map(|arn| conversion::certificates(std::slice::from_ref(arn)));
                // What was negotiated before goes only if it is said.
                let alpn =
                    first.is_some().then(|| vec![spec.alpn.clone().unwrap_or_else(|| "None".to_owned())]);
                let request = client
                    .modify_listener()
                    .listener_arn(self.listener(balancer, spec.port)?)
                    .protocol(conversion::protocol(spec.protocol))
                    .port(i32::from(spec.port))
                    .set_certificates(first)
                    .set_ssl_policy(spec.policy.clone())
                    .set_alpn_policy(alpn)
                    .default_actions(conversion::forward(self.group(&spec.group)?));
                self.api.ask("ModifyListener", Change, request.send()).await?;
            }
            Action::AddCertificates { balancer, port, certificates } => {
                let request = client
                    .add_listener_certificates()
                    .listener_arn(self.listener(balancer, *port)?)
                    .set_certificates(Some(conversion::certificates(certificates)));
                self.api.ask("AddListenerCertificates", Change, request.send()).await?;
            }
            Action::RemoveCertificates { balancer, port, certificates } => {
                let request = client
                    .remove_listener_certificates()
                    .listener_arn(self.listener(balancer, *port)?)
                    .set_certificates(Some(conversion::certificates(certificates)));
                self.api.ask("RemoveListenerCertificates", Change, request.send()).await?;
            }
            Action::SetListenerAttributes { balancer, port, attributes } => {
                let pair = |(key, value)| sdk::ListenerAttribute::builder().key(key).value(value).build();
                let request = client
                    .modify_listener_attributes()
                    .listener_arn(self.listener(balancer, *port)?)
                    .set_attributes(Some(attributes.iter().map(pair).collect()));
                self.api.ask("ModifyListenerAttributes", Change, request.send()).await?;
            }
            other => return Err(ProviderError::Conflict(format!("{other:?} is not about a listener"))),
        }
        Ok(None)
    }
}
