//! The operator beside an endpoint of the provider `webhook`.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use penstock_crds::{APPROVED_PLAN, LoadBalancer};
use penstock_e2e::wait::{Look, until};
use serde_json::{Value, json};

use crate::{
    Fixture, provisioning,
    webhook_endpoint::{Balancer, WebhookEndpoint},
};

/// Bounds how long a broken operator is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// An API server with one node, a running operator, an endpoint, and the class `outside` that names it.
pub struct OutsideLab {
    /// API server and operator.
    pub fixture: Fixture,
    /// What the class names.
    pub endpoint: WebhookEndpoint,
}

impl OutsideLab {
    /// Starts all; `approval` is the class's.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn new(approval: &str) -> Result<Self> {
        let (fixture, endpoint) = (Fixture::start().await?, WebhookEndpoint::start().await?);
        let webhook =
            json!({"provider": "webhook", "approval": approval, "webhook": {"url": endpoint.url()}});
        fixture.class_of("outside", webhook).await?;
        let mut lab = Self { fixture, endpoint };
        lab.node("n1", "192.0.2.11").await?;
        lab.fixture.start_operator().await?;
        Ok(lab)
    }

    /// Creates a Service of the class; `spec` is merged over it.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn service(&self, name: &str, spec: Value) -> Result<Service> {
        let mut object = json!({"spec": {"loadBalancerClass": "penstock.dev/outside"}});
        crate::merge(&mut object, json!({"spec": spec}));
        self.fixture.service_in("default", name, object).await
    }

    /// Creates a Node with an InternalIP.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn node(&self, name: &str, address: &str) -> Result<()> {
        let api: Api<Node> = Api::all(self.fixture.client.clone());
        let object = serde_json::from_value(json!({"metadata": {"name": name}}))?;
        api.create(&PostParams::default(), &object).await?;
        let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": address}]}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
        Ok(())
    }

    /// The records of the namespace `default`.
    #[must_use]
    pub fn records(&self) -> Api<LoadBalancer> {
        Api::default_namespaced(self.fixture.client.clone())
    }

    /// Waits until the Service's record is as `wanted` says.
    ///
    /// # Errors
    /// When it is not within the limit; shows how it is instead.
    pub async fn record(&self, name: &str, wanted: impl Fn(&LoadBalancer) -> bool) -> Result<LoadBalancer> {
        until(&format!("LoadBalancer {name}"), LIMIT, || async {
            Ok(match self.records().get_opt(name).await? {
                Some(record) if wanted(&record) => Look::Ready(record),
                other => Look::NotYet(format!("{other:?}")),
            })
        })
        .await
    }

    /// Waits until the endpoint has balancers as `wanted` says: ports and names of nodes.
    ///
    /// # Errors
    /// When it has not within the limit; shows what it has instead.
    pub async fn endpoint(
        &self,
        what: &str,
        wanted: impl Fn(&[(Vec<u16>, Vec<String>)]) -> bool,
    ) -> Result<()> {
        until(what, LIMIT, || async {
            let balancers: Vec<(Vec<u16>, Vec<String>)> = self
                .endpoint
                .store()
                .balancers
                .values()
                .map(|b| {
                    let ports = b.spec.frontends.iter().map(|f| f.port).collect();
                    (ports, b.targets.iter().map(|t| t.node.clone()).collect())
                })
                .collect();
            Ok(if wanted(&balancers) { Look::Ready(()) } else { Look::NotYet(format!("{balancers:?}")) })
        })
        .await
    }

    /// Waits until the endpoint's balancer of a Service is as `wanted` says.
    ///
    /// # Errors
    /// When it is not within the limit; shows how it is instead.
    pub async fn balancer(&self, name: &str, wanted: impl Fn(&Balancer) -> bool) -> Result<Balancer> {
        until(&format!("the balancer of Service {name}"), LIMIT, || async {
            let store = self.endpoint.store();
            Ok(match store.balancers.values().find(|balancer| balancer.owner.name == name) {
                Some(balancer) if wanted(balancer) => Look::Ready(balancer.clone()),
                other => Look::NotYet(format!("{other:?}")),
            })
        })
        .await
    }

    /// How often the endpoint was called.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.endpoint.store().calls.len()
    }

    /// Agrees to the plan for which the Service waits.
    ///
    /// # Errors
    /// When it waits for none within the limit.
    pub async fn approve(&self, name: &str) -> Result<()> {
        let service = self
            .fixture
            .eventually(name, |s| provisioning(s).is_some_and(|(reason, _)| reason == "ApprovalRequired"))
            .await?;
        let (_, message) = provisioning(&service).context("it waits no longer")?;
        let hash = message.rsplit('=').next().context("the message names no hash")?;
        self.fixture.change(name, json!({"metadata": {"annotations": {APPROVED_PLAN: hash}}})).await?;
        Ok(())
    }
}
