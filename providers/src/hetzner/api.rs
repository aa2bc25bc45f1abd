//! The calls of the API.

use std::{collections::BTreeMap, time::Duration};

use penstock_crds::HetznerParameters;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    error::HetznerError,
    failure::Failure,
    labels,
    observed::{Balancer, Observed, OwnCertificate},
    spec::BalancerSpec,
    wire::{self, Actions, Begun, CertificatePage, One, Page},
};
use crate::{
    Certificate, ProviderError, Timeouts,
    http::Received,
    polling::{Polling, State},
    reading::Pairs,
    rest::{Question, Rest, Terms, body},
};

/// Where the API is, unless the class says something else.
const URL: &str = "https://api.hetzner.cloud/v1";
/// What one answer holds at most.
const PAGE: &str = "50";
/// Between two questions about actions, and for how long; what one question takes.
const INTERVAL: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);
const ACTIONS: usize = 25;
/// When to look again for an action that takes longer.
const UNFINISHED: Duration = Duration::from_secs(5);

static TERMS: Terms = Terms {
    cloud: "Hetzner",
    secret: "spec.hetzner.tokenSecret",
    // 3,600 an hour, which may be used at once.
    rate: (3600.0, 1.0),
    window: 3600.0,
    burst: None,
    // Fifty balancers, each with 30 services and the health of 150 servers.
    longest: 32 * 1024 * 1024,
};

/// Where calls go.
#[derive(Debug)]
pub(super) struct Api {
    rest: Rest,
    polling: Polling<Failure>,
}

/// A call that failed, or that got no answer.
pub(super) enum Refusal {
    Said(Failure),
    Error(ProviderError),
}

impl Refusal {
    pub(super) fn into_error(self, call: &str) -> ProviderError {
        match self {
            Self::Said(failure) => failure.into_error(call),
            Self::Error(error) => error,
        }
    }
}

impl Api {
    /// `prompt` is for endpoints that have no limits and take no time.
    pub(super) fn new(
        parameters: &HetznerParameters,
        token: Option<&str>,
        prompt: bool,
    ) -> Result<Self, HetznerError> {
        let url = parameters.endpoint_url.as_deref().unwrap_or(URL);
        let rest = Rest::new(&TERMS, url, token, Timeouts::default(), !prompt)?;
        let interval = if prompt { Duration::from_millis(2) } else { INTERVAL };
        Ok(Self { rest, polling: Polling::new(interval, PATIENCE, ACTIONS) })
    }

    pub(super) fn calls(&self) -> BTreeMap<&'static str, u64> {
        self.rest.calls()
    }

    async fn ask(&self, question: Question<'_>) -> Result<Received, Refusal> {
        let received = self.rest.ask(question).await.map_err(Refusal::Error)?;
        if received.status.is_success() { Ok(received) } else { Err(Refusal::Said(Failure::of(&received))) }
    }

    /// All that a query finds, page by page.
    async fn list(&self, query: (&str, String)) -> Result<Vec<Balancer>, ProviderError> {
        const CALL: &str = "GET load_balancers";
        let (mut all, mut next) = (Vec::new(), Some(1));
        while let Some(page) = next {
            let query = [query.clone(), ("page", page.to_string()), ("per_page", PAGE.to_owned())];
            let path = &["load_balancers"];
            let question = Question { name: CALL, method: Method::GET, path, query: &query, body: None };
            let answer = self.ask(question).await.map_err(|refusal| refusal.into_error(CALL))?;
            let found: Page = answer.read(TERMS.cloud, CALL)?;
            next = found.next().filter(|number| *number > page);
            all.extend(found.load_balancers.into_iter().map(Balancer::from));
        }
        Ok(all)
    }

    /// The same of certificates.
    async fn certificates(&self, query: (&str, String)) -> Result<Vec<OwnCertificate>, ProviderError> {
        const CALL: &str = "GET certificates";
        let (mut all, mut next) = (Vec::new(), Some(1));
        while let Some(page) = next {
            let query = [query.clone(), ("page", page.to_string()), ("per_page", PAGE.to_owned())];
            let path = &["certificates"];
            let question = Question { name: CALL, method: Method::GET, path, query: &query, body: None };
            let answer = self.ask(question).await.map_err(|refusal| refusal.into_error(CALL))?;
            let found: CertificatePage = answer.read(TERMS.cloud, CALL)?;
            next = found.next().filter(|number| *number > page);
            all.extend(found.certificates);
        }
        Ok(all)
    }

    pub(super) async fn certificate_named(
        &self,
        name: &str,
    ) -> Result<Option<OwnCertificate>, ProviderError> {
        Ok(self.certificates(("name", name.to_owned())).await?.pop())
    }

    pub(super) async fn upload(&self, name: &str, labels: &Pairs, of: &Certificate) -> Result<(), Refusal> {
        let chain = format!("{}{}", of.leaf_pem(), of.issuers_pem().unwrap_or_default());
        let fields = json!({"name": name, "type": "uploaded", "labels": labels, "certificate": chain,
            "private_key": of.key_pem()});
        let body = body(&fields).map_err(Refusal::Error)?;
        let path = &["certificates"];
        let question = Question { name: "POST certificates", method: Method::POST, path, query: &[], body };
        self.ask(question).await.map(|_| ())
    }

    pub(super) async fn delete_certificate(&self, id: u64) -> Result<(), Refusal> {
        let id = id.to_string();
        let path = &["certificates", &id];
        let name = "DELETE certificate";
        let question = Question { name, method: Method::DELETE, path, query: &[], body: None };
        self.ask(question).await.map(|_| ())
    }

    /// All that carries this cluster's name, by the UID of its Service.
    pub(super) async fn survey(
        &self,
        parameters: &HetznerParameters,
    ) -> Result<BTreeMap<String, Observed>, ProviderError> {
        let mut found: BTreeMap<String, Observed> = BTreeMap::new();
        for balancer in self.list(("label_selector", labels::of_cluster(parameters))).await? {
            let uid = labels::owner_uid(&balancer.labels, &parameters.cluster_name).map(ToOwned::to_owned);
            if let Some(uid) = uid {
                found.entry(uid).or_default().balancers.push(balancer);
            }
        }
        for certificate in self.certificates(("label_selector", labels::of_cluster(parameters))).await? {
            let uid = labels::owner_uid(&certificate.labels, &parameters.cluster_name).map(ToOwned::to_owned);
            if let Some(uid) = uid {
                found.entry(uid).or_default().certificates.push(certificate);
            }
        }
        Ok(found)
    }

    /// All that is one Service's.
    pub(super) async fn look(
        &self,
        parameters: &HetznerParameters,
        uid: &str,
    ) -> Result<Observed, ProviderError> {
        let selector = labels::of_service(parameters, uid);
        let balancers = self.list(("label_selector", selector.clone())).await?;
        Ok(Observed { balancers, certificates: self.certificates(("label_selector", selector)).await? })
    }

    pub(super) async fn named(&self, name: &str) -> Result<Option<Balancer>, ProviderError> {
        Ok(self.list(("name", name.to_owned())).await?.pop())
    }

    pub(super) async fn get(&self, id: u64) -> Result<Balancer, Refusal> {
        const CALL: &str = "GET load_balancer";
        let (id, query) = (id.to_string(), []);
        let path = &["load_balancers", &id];
        let question = Question { name: CALL, method: Method::GET, path, query: &query, body: None };
        let one: One = self.ask(question).await?.read(TERMS.cloud, CALL).map_err(Refusal::Error)?;
        Ok(one.load_balancer.into())
    }

    /// Returns it with the action that finishes it.
    pub(super) async fn create(&self, spec: &BalancerSpec) -> Result<(Balancer, Begun), Refusal> {
        const CALL: &str = "POST load_balancers";
        let body = body(&wire::creation(spec)).map_err(Refusal::Error)?;
        let path = &["load_balancers"];
        let question = Question { name: CALL, method: Method::POST, path, query: &[], body };
        let mut begun: Begun = self.ask(question).await?.read(TERMS.cloud, CALL).map_err(Refusal::Error)?;
        let empty =
            || Refusal::Error(ProviderError::Retryable(format!("Hetzner answers {CALL} without one")));
        let made = begun.load_balancer.take().ok_or_else(empty)?;
        Ok((made.into(), begun))
    }

    pub(super) async fn update(
        &self,
        id: u64,
        name: Option<&str>,
        labels: &Pairs,
    ) -> Result<(), ProviderError> {
        const CALL: &str = "PUT load_balancer";
        let mut fields = json!({"labels": labels});
        if let Some(name) = name {
            fields["name"] = json!(name);
        }
        let (id, body) = (id.to_string(), body(&fields)?);
        let path = &["load_balancers", &id];
        let question = Question { name: CALL, method: Method::PUT, path, query: &[], body };
        self.ask(question).await.map(|_| ()).map_err(|refusal| refusal.into_error(CALL))
    }

    pub(super) async fn delete(&self, id: u64) -> Result<(), Refusal> {
        let id = id.to_string();
        let path = &["load_balancers", &id];
        let name = "DELETE load_balancer";
        let question = Question { name, method: Method::DELETE, path, query: &[], body: None };
        self.ask(question).await.map(|_| ())
    }

    /// An action on a balancer, `call` being its name with POST before it; returns once it has ended.
    pub(super) async fn act(&self, id: u64, call: &'static str, fields: Value) -> Result<(), ProviderError> {
        let verb = call.strip_prefix("POST ").unwrap_or(call);
        let (id, body) = (id.to_string(), body(&fields)?);
        let path = &["load_balancers", &id, "actions", verb];
        let question = Question { name: call, method: Method::POST, path, query: &[], body };
        let answer = self.ask(question).await.map_err(|refusal| refusal.into_error(call))?;
        self.end(call, answer.read(TERMS.cloud, call)?).await
    }

    /// Waits for the end of what a call has begun.
    pub(super) async fn end(&self, call: &str, begun: Begun) -> Result<(), ProviderError> {
        let Some(action) = begun.action else { return Ok(()) };
        let id = action.id;
        let state = match action.state() {
            State::Running => self.polling.end_of(id, |ids| self.states(ids)).await?,
            ended => ended,
        };
        match state {
            State::Done => Ok(()),
            State::Running => Err(ProviderError::Pending(UNFINISHED)),
            State::Failed(failure) => Err(failure.into_error(call)),
        }
    }

    async fn states(&self, ids: Vec<u64>) -> Result<Vec<(u64, State<Failure>)>, ProviderError> {
        const CALL: &str = "GET actions";
        let mut query: Vec<(&str, String)> = ids.iter().map(|id| ("id", id.to_string())).collect();
        query.push(("per_page", PAGE.to_owned()));
        let path = &["actions"];
        let question = Question { name: CALL, method: Method::GET, path, query: &query, body: None };
        let answer = self.ask(question).await.map_err(|refusal| refusal.into_error(CALL))?;
        let found: Actions = answer.read(TERMS.cloud, CALL)?;
        Ok(found.actions.into_iter().map(|action| (action.id, action.state())).collect())
    }
}
