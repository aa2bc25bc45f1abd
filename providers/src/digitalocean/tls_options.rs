//! Which ports have TLS, and who ends it.

use penstock_crds::TLS_SECRET;
use penstock_model::Protocol;

use super::options::{Speech, port_of};
use crate::{
    Desired, ProviderError,
    reading::{Reading, Text},
};

/// What ports have TLS where none are named.
const HTTPS: u16 = 443;

/// What annotations ask of TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsOptions {
    /// Droplets end TLS; `None`: the balancer does.
    pub(super) passthrough: Option<Passthrough>,
    /// By its id at DigitalOcean; `None` without `passthrough`: the one of the Service's Secret.
    pub(super) certificate: Option<String>,
    https: Vec<u16>,
    http2: Vec<u16>,
}

/// What is sent on is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passthrough;

impl TlsOptions {
    /// # Errors
    /// What contradicts itself, or is half of what is needed.
    pub(super) fn read(
        reading: &mut Reading<'_>,
        desired: &Desired,
        speech: Speech,
        protocol: Option<Text<'_>>,
    ) -> Result<Option<Self>, ProviderError> {
        let (https, http2) = (reading.take("tls-ports"), reading.take("http2-ports"));
        let (passthrough, certificate) = (reading.take("tls-passthrough"), reading.take("certificate-id"));
        let passes = passthrough.map(|text| text.flag()).transpose()?.unwrap_or_default();
        let ends = certificate.is_some() || desired.certificate.is_some();
        let Some(source) = source(passes, certificate, desired)? else {
            debug_assert!(!ends && !passes, "something was asked for");
            return idle([https, http2, protocol.filter(|_| speech.is_secure())]);
        };
        let certificate = match source {
            Source::Droplets => None,
            Source::Id(text) => Some(certificate_id(text)?),
            Source::Secret => None,
        };
        let mut tls = Self {
            passthrough: passes.then_some(Passthrough),
            certificate,
            https: https.map(|text| ports(text, desired)).transpose()?.unwrap_or_default(),
            http2: http2.map(|text| ports(text, desired)).transpose()?.unwrap_or_default(),
        };
        tls.check_disjoint()?;
        tls.by_default(desired, speech)?;
        Ok(Some(tls))
    }

    /// How clients and balancer speak on this port; `None`: without TLS.
    pub(super) fn on(&self, port: u16) -> Option<&'static str> {
        if self.http2.contains(&port) {
            return Some("http2");
        }
        self.https.contains(&port).then_some("https")
    }

    fn check_disjoint(&self) -> Result<(), ProviderError> {
        match self.https.iter().find(|port| self.http2.contains(port)) {
            Some(port) => Err(ProviderError::refused(format!(
                "port {port} stands in both annotations do-loadbalancer-tls-ports and do-loadbalancer-http2-ports: remove it from one"
            ))),
            None => Ok(()),
        }
    }

    /// The protocol holds for all ports that are not named; without one, port 443 is meant.
    fn by_default(&mut self, desired: &Desired, speech: Speech) -> Result<(), ProviderError> {
        let tcp = desired.frontends.iter().filter(|f| f.protocol == Protocol::Tcp).map(|f| f.port);
        let rest: Vec<u16> = tcp.filter(|port| self.on(*port).is_none()).collect();
        match speech {
            Speech::Https => self.https.extend(rest),
            Speech::Http2 => self.http2.extend(rest),
            Speech::Tcp | Speech::Http if self.https.is_empty() && rest.contains(&HTTPS) => {
                self.https.push(HTTPS)
            }
            Speech::Tcp | Speech::Http => {}
        }
        if self.https.is_empty() && self.http2.is_empty() {
            return Err(ProviderError::refused(
                "the Service has no TCP port 443: name the ports for TLS with the annotation do-loadbalancer-tls-ports",
            ));
        }
        Ok(())
    }
}

impl Speech {
    fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Http2)
    }
}

enum Source<'a> {
    Droplets,
    Id(Text<'a>),
    Secret,
}

fn source<'a>(
    passes: bool,
    certificate: Option<Text<'a>>,
    desired: &Desired,
) -> Result<Option<Source<'a>>, ProviderError> {
    // The Service's own Secret comes before a certificate that the class has for all.
    let certificate = certificate.filter(|text| desired.certificate.is_none() || !text.is_of_class());
    match (passes, certificate, &desired.certificate) {
        (true, Some(text), _) => {
            Err(text
                .refuse("contradicts the annotation do-loadbalancer-tls-passthrough: remove one of the two"))
        }
        (true, None, Some(_)) => Err(ProviderError::refused(format!(
            "the annotations {TLS_SECRET} and do-loadbalancer-tls-passthrough contradict each other: remove one of the two"
        ))),
        (false, Some(text), Some(_)) => {
            Err(text.refuse(format!("contradicts the annotation {TLS_SECRET}: remove one of the two")))
        }
        (true, None, None) => Ok(Some(Source::Droplets)),
        (false, Some(text), None) => Ok(Some(Source::Id(text))),
        (false, None, Some(_)) => Ok(Some(Source::Secret)),
        (false, None, None) => Ok(None),
    }
}

/// The class may have defaults for those who ask for TLS.
fn idle(texts: [Option<Text<'_>>; 3]) -> Result<Option<TlsOptions>, ProviderError> {
    match texts.into_iter().flatten().find(|text| !text.is_of_class()) {
        Some(text) => Err(text.refuse(format!(
            "asks for TLS and nobody ends it: add the annotation do-loadbalancer-certificate-id, {TLS_SECRET} or do-loadbalancer-tls-passthrough"
        ))),
        None => Ok(None),
    }
}

fn certificate_id(text: Text<'_>) -> Result<String, ProviderError> {
    let id = text.text();
    let fits = !id.is_empty() && id.len() <= 64 && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if fits { Ok(id.to_owned()) } else { Err(text.wants("the id of a certificate at DigitalOcean")) }
}

fn ports(text: Text<'_>, desired: &Desired) -> Result<Vec<u16>, ProviderError> {
    let ports: Vec<u16> =
        text.list()?.into_iter().map(|item| port_of(text, item, desired)).collect::<Result<_, _>>()?;
    let tcp = |port: &u16| desired.frontends.iter().any(|f| f.port == *port && f.protocol == Protocol::Tcp);
    match ports.iter().find(|port| !tcp(port)) {
        Some(port) => Err(text.refuse(format!("names port {port}, which is not TCP and cannot have TLS"))),
        None => Ok(ports),
    }
}
