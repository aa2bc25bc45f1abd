//! `kubectl penstock plan`: what the operator would do, for a Service of the cluster or for a manifest.

use std::{fmt::Debug, path::Path};

use anyhow::{Context, Result};
use k8s_openapi::{api::core::v1::Service, jiff::Timestamp};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use penstock_crds::{IPAddressPool, LoadBalancerClass};
use penstock_model::ObjectKey;
use penstock_providers::plan_text::count;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    access::{Gaps, sentence},
    cluster::Cluster,
    forecast::{Forecast, Outcome, forecast, forecasts},
    manifest::{Document, DocumentError, DocumentKind, documents},
    outside_provider::outside_provider,
    plan_text::plan_text,
    scene::{Objects, Scene},
};

/// Without classes and pools every plan would be wrong.
const DECIDES: [&str; 2] = ["loadbalancerclasses.penstock.dev", "ipaddresspools.penstock.dev"];

/// What the command prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// Of the Services that were asked about, and of those that a pool or class of the file concerns.
    pub forecasts: Vec<Forecast>,
    /// Documents that cannot be used.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// What the user may not read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What the operator would do for one Service of the cluster.
///
/// # Errors
/// When the Service, the classes or the pools cannot be read.
pub async fn plan_service(cluster: &Cluster, name: &str) -> Result<PlanReport> {
    let service = cluster.service(name).await?;
    let mut gaps = Gaps::default();
    let mut objects = cluster.objects(&mut gaps).await?;
    gaps.refuse("plan", &DECIDES)?;
    objects.put_service(service.clone());
    let forecast = forecast(&service, &Scene::of(objects), outside_provider).await;
    Ok(PlanReport { forecasts: vec![forecast], notes: gaps.sentences(), ..PlanReport::default() })
}

/// What stands in a manifest; `-` is stdin.
///
/// # Errors
/// When it cannot be read.
pub fn manifest_text(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        return std::io::read_to_string(std::io::stdin()).context("cannot read stdin");
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What the operator would do if a manifest was applied; `-` is stdin.
///
/// # Errors
/// When the file, the classes or the pools cannot be read.
pub async fn plan_file(cluster: &Cluster, path: &Path) -> Result<PlanReport> {
    let text = manifest_text(path)?;
    let mut gaps = Gaps::default();
    let before = cluster.objects(&mut gaps).await?;
    gaps.refuse("plan", &DECIDES)?;
    let mut application = Application::new(cluster, gaps, before.clone());
    for document in documents(&text) {
        if let Err(error) = application.apply(document).await {
            application.errors.push(error.to_string());
        }
    }
    let Application { gaps, after, asked, errors, concerns_all, .. } = application;
    let forecasts = compare(before, after, &asked, concerns_all).await;
    Ok(PlanReport { forecasts, errors, notes: gaps.sentences() })
}

/// The documents of a file, taken into account one after the other.
struct Application<'a> {
    cluster: &'a Cluster,
    gaps: Gaps,
    after: Objects,
    /// The Services of the file.
    asked: Vec<ObjectKey>,
    /// Whether a pool or class may concern Services that the file does not name.
    concerns_all: bool,
    errors: Vec<String>,
}

impl<'a> Application<'a> {
    fn new(cluster: &'a Cluster, gaps: Gaps, after: Objects) -> Self {
        Self { cluster, gaps, after, asked: Vec::new(), concerns_all: false, errors: Vec::new() }
    }

    async fn apply(&mut self, document: Result<Document, DocumentError>) -> Result<(), DocumentError> {
        let document = document?;
        let client = self.cluster.client.clone();
        match document.kind {
            DocumentKind::Service => self.apply_service(&document).await,
            DocumentKind::Pool => self.apply_pool(&document).await,
            DocumentKind::Class => {
                let api: Api<LoadBalancerClass> = Api::all(client);
                let class = self.dry_run(&api, &document, "loadbalancerclasses.penstock.dev").await?;
                self.after.put_class(class, Timestamp::now());
                self.concerns_all = true;
                Ok(())
            }
        }
    }

    async fn apply_pool(&mut self, document: &Document) -> Result<(), DocumentError> {
        let namespace = document.namespace(&self.cluster.namespace);
        let operators = &self.cluster.operator_namespace;
        if namespace != operators {
            return Err(document.error(format!(
                "it is in namespace {namespace}: set metadata.namespace to {operators}, where the operator reads pools"
            )));
        }
        let api: Api<IPAddressPool> = Api::namespaced(self.cluster.client.clone(), operators);
        let pool = self.dry_run(&api, document, "ipaddresspools.penstock.dev").await?;
        self.after.put_pool(pool, Timestamp::now());
        self.concerns_all = true;
        Ok(())
    }

    /// Only the API server knows a new Service's ClusterIPs, and so its families.
    async fn apply_service(&mut self, document: &Document) -> Result<(), DocumentError> {
        let namespace = document.namespace(&self.cluster.namespace);
        let api: Api<Service> = Api::namespaced(self.cluster.client.clone(), namespace);
        let answer = dry_run(&api, document).await;
        let service = answer.map_err(|error| document.error(refusal(&error, "services")))?;
        self.asked.push(ObjectKey::of(&service.metadata));
        self.after.put_service(service);
        Ok(())
    }

    /// A pool or class that the user may not change is taken as it is written.
    async fn dry_run<K>(
        &mut self,
        api: &Api<K>,
        document: &Document,
        resource: &str,
    ) -> Result<K, DocumentError>
    where
        K: kube::Resource + Clone + DeserializeOwned + Debug,
    {
        match dry_run(api, document).await {
            Err(kube::Error::Api(answer)) if answer.is_forbidden() => {
                let note =
                    format!("you may not patch {resource}: {} is taken as it is written", document.name());
                self.gaps.add("dry-run", note);
                serde_json::from_value(document.object.clone()).map_err(|e| document.error(e.to_string()))
            }
            answer => answer.map_err(|error| document.error(refusal(&error, resource))),
        }
    }
}

fn refusal(error: &kube::Error, resource: &str) -> String {
    match error {
        kube::Error::Api(answer) if !answer.is_forbidden() => answer.message.clone(),
        other => sentence("patch", resource, other),
    }
}

/// As `kubectl apply --server-side --dry-run=server`: defaults, ClusterIPs, validation and admission are real.
async fn dry_run<K>(api: &Api<K>, document: &Document) -> kube::Result<K>
where
    K: kube::Resource + Clone + DeserializeOwned + Debug,
{
    let params = PatchParams::apply("kubectl-penstock").force().dry_run();
    api.patch(document.name(), &params, &Patch::Apply(&document.object)).await
}

/// The forecasts of the Services that were asked about, and, if a pool or class changes, of all others for which
/// something else would happen than without it.
async fn compare(before: Objects, after: Objects, asked: &[ObjectKey], concerns_all: bool) -> Vec<Forecast> {
    let mut after = forecasts(&Scene::of(after), outside_provider).await;
    let before =
        if concerns_all { forecasts(&Scene::of(before), outside_provider).await } else { Vec::new() };
    after.retain(|forecast| {
        let noteworthy = forecast.changes() || matches!(forecast.outcome, Outcome::Refused { .. });
        let new = concerns_all && noteworthy && !before.contains(forecast);
        new || asked.contains(&forecast.service)
    });
    after.sort_by(|a, b| a.service.cmp(&b.service));
    after
}

/// The report as text; errors and notes go to stderr.
#[must_use]
pub fn report_text(report: &PlanReport) -> String {
    match report.forecasts.as_slice() {
        [] if report.errors.is_empty() => "no Service changes\n".to_owned(),
        [] => String::new(),
        [one] => plan_text(one),
        many => {
            let changing = many.iter().filter(|f| f.changes()).count();
            let texts: Vec<String> = many.iter().map(plan_text).collect();
            format!("{}\n{} with something to do\n", texts.join("\n"), count(changing, "Service"))
        }
    }
}

/// The name in `web`, `service/web` or `svc/web`.
#[must_use]
pub fn service_name(given: &str) -> &str {
    let prefixes = ["service/", "services/", "svc/"];
    prefixes.iter().find_map(|prefix| given.strip_prefix(prefix)).unwrap_or(given)
}
