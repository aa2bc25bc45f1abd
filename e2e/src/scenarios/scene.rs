//! What a section does on the cluster: objects in a namespace, commands in Pods, requests, and claims about them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};

use super::report::Outcome;
use crate::cluster::Cluster;
use crate::install;
use crate::seed;
use crate::topology::Place;
use crate::wait::{Look, until};

/// How long something may take to become true; it bounds the wait for what never does.
const SETTLE: Duration = Duration::from_secs(90);

/// The label of the seed's nginx.
pub(super) const MYNGINX: &str = "run=mynginx";

/// How many requests are made between two looks at who has answered.
const REQUESTS: usize = 8;

/// Who sends a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sender<'a> {
    /// A machine of the cluster, or the client outside it.
    Machine(Place),
    /// A Pod of the scene's namespace.
    Pod(&'a str),
}

/// A namespace of a section, and what was claimed.
pub(super) struct Scene<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) namespace: &'a str,
    outcomes: RefCell<Vec<Outcome>>,
}

impl<'a> Scene<'a> {
    /// In a namespace, which is made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) async fn set(cluster: &'a Cluster, namespace: &'a str) -> Result<Self> {
        if cluster.kubectl(&["get", "namespace", namespace]).await.is_err() {
            cluster.kubectl(&["create", "namespace", namespace]).await?;
        }
        Ok(Self { cluster, namespace, outcomes: RefCell::default() })
    }

    /// What came of all claims.
    pub(super) fn outcomes(self) -> Vec<Outcome> {
        self.outcomes.into_inner()
    }

    /// Says what is so and what is not; a claim that fails ends nothing.
    pub(super) async fn claim(&self, what: &str, check: impl Future<Output = Result<()>>) {
        let outcome = match check.await {
            Ok(()) => Outcome::Passed,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        self.note(what, outcome);
    }

    /// Says why something cannot be seen here.
    pub(super) fn skip(&self, what: &str, why: &str) {
        self.note(what, Outcome::Skipped(why.to_owned()));
    }

    pub(super) fn note(&self, what: &str, outcome: Outcome) {
        match &outcome {
            Outcome::Passed => println!("  passed   {what}"),
            Outcome::Failed(why) => println!("  FAILED   {what}: {why}"),
            Outcome::Skipped(why) => println!("  skipped  {what}: {why}"),
        }
        self.outcomes.borrow_mut().push(outcome);
    }

    /// kubectl in the namespace.
    pub(super) async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let all: Vec<&str> = ["--namespace", self.namespace].iter().chain(args).copied().collect();
        self.cluster.kubectl(&all).await
    }

    /// Applies a manifest of the scenarios.
    pub(super) async fn apply(&self, file: &str) -> Result<()> {
        let path = install::manifest(&format!("manifests/scenarios/{file}"))?;
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &path]).await.map(|_| ())
    }

    /// Applies a manifest and waits until the Pods of its Deployment are ready.
    pub(super) async fn deploy(&self, file: &str, deployment: &str) -> Result<()> {
        self.apply(file).await?;
        self.rolled_out(deployment).await
    }

    pub(super) async fn rolled_out(&self, deployment: &str) -> Result<()> {
        let name = format!("deployment/{deployment}");
        self.kubectl(&["rollout", "status", &name, "--timeout=120s"]).await.map(|_| ())
    }

    /// That the API server refuses a manifest, in words that have `reason` in them.
    pub(super) async fn is_refused(&self, file: &str, reason: &str) -> Result<()> {
        let Err(error) = self.apply(file).await else { return Err(anyhow!("{file} was accepted")) };
        let said = format!("{error:#}");
        ensure!(said.contains(reason), "{file} was refused otherwise: {said}");
        Ok(())
    }

    /// A field of an object, in kubectl's JSONPath.
    pub(super) async fn field(&self, object: &str, path: &str) -> Result<String> {
        let output = format!("jsonpath={path}");
        self.kubectl(&["get", object, "-o", &output]).await.map(|said| said.trim().to_owned())
    }

    /// The Pods with a label that are ready.
    async fn ready(&self, label: &str) -> Result<Vec<Pod>> {
        let api: Api<Pod> = Api::namespaced(self.cluster.client().await?, self.namespace);
        let listed = api.list(&ListParams::default().labels(label)).await.context("list the Pods")?;
        Ok(listed.into_iter().filter(seed::is_ready).collect())
    }

    /// The names of the Pods with a label.
    pub(super) async fn pods(&self, label: &str) -> Result<BTreeSet<String>> {
        Ok(self.ready(label).await?.into_iter().filter_map(|pod| pod.metadata.name).collect())
    }

    /// Their addresses.
    pub(super) async fn pod_ips(&self, label: &str) -> Result<BTreeSet<String>> {
        Ok(self.ready(label).await?.into_iter().filter_map(|pod| pod.status?.pod_ip).collect())
    }

    /// The first Pod with a label, to ask from.
    pub(super) async fn pod(&self, label: &str) -> Result<String> {
        let pods = self.pods(label).await?;
        pods.into_iter().next().with_context(|| format!("there is no Pod with {label}"))
    }

    /// Runs a command in a Pod.
    pub(super) async fn exec(&self, pod: &str, command: &[&str]) -> Result<String> {
        let args: Vec<&str> = ["exec", pod, "--"].iter().chain(command).copied().collect();
        self.kubectl(&args).await
    }

    /// What curl says.
    pub(super) async fn curl(&self, from: Sender<'_>, args: &[&str]) -> Result<String> {
        let base = ["curl", "-gsS", "--connect-timeout", "2", "--max-time", "4"];
        let command: Vec<&str> = base.iter().chain(args).copied().collect();
        let place = match from {
            Sender::Pod(pod) => return self.exec(pod, &command).await,
            Sender::Machine(place) => place,
        };
        let output = self.cluster.run_in(place, &command).await?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// That exactly these answer: a line each, of many.
    pub(super) async fn answered_by(
        &self,
        from: Sender<'_>,
        url: &str,
        expected: &BTreeSet<String>,
    ) -> Result<()> {
        ensure!(!expected.is_empty(), "nobody is there who could answer {url}");
        let (seen, urls) = (RefCell::new(BTreeSet::new()), vec![url; REQUESTS]);
        until(&format!("an answer of everybody at {url}"), SETTLE, || async {
            let said = match self.curl(from, &urls).await {
                Ok(said) => said,
                Err(error) => return Ok(Look::NotYet(format!("{error:#}"))),
            };
            let mut seen = seen.borrow_mut();
            seen.extend(said.lines().map(|line| line.trim().to_owned()));
            ensure!(seen.is_subset(expected), "{seen:?} answered, not only {expected:?}");
            Ok(match *seen == *expected {
                true => Look::Ready(()),
                false => Look::NotYet(format!("only {seen:?} answered of {expected:?}")),
            })
        })
        .await
    }

    /// That every Pod of the seed's nginx answers one of them.
    pub(super) async fn nginx_answers(&self, url: &str) -> Result<()> {
        let (pod, pods) = (self.pod(MYNGINX).await?, self.pods(MYNGINX).await?);
        self.answered_by(Sender::Pod(&pod), url, &pods).await
    }

    /// That a value becomes what it should be.
    pub(super) async fn becomes<T, F>(&self, what: &str, expected: &T, look: impl Fn() -> F) -> Result<()>
    where
        T: PartialEq + std::fmt::Debug,
        F: Future<Output = Result<T>>,
    {
        until(what, SETTLE, || async {
            Ok(match look().await {
                Ok(value) if value == *expected => Look::Ready(()),
                Ok(value) => Look::NotYet(format!("it is {value:?}, not {expected:?}")),
                Err(error) => Look::NotYet(format!("{error:#}")),
            })
        })
        .await
    }

    /// What the cluster's DNS says to a Pod: the addresses, or the alias.
    pub(super) async fn lookup(&self, pod: &str, kind: &str, name: &str) -> Result<BTreeSet<String>> {
        let said = self.exec(pod, &["busybox", "nslookup", &format!("-type={kind}"), name]).await?;
        // The first paragraph names the server.
        let (_, answer) = said.split_once("\n\n").unwrap_or(("", &said));
        let value = |line: &str| {
            let address = line.strip_prefix("Address:").map(str::trim);
            address
                .or_else(|| line.split_once("canonical name = ").map(|(_, to)| to.trim()))
                .map(str::to_owned)
        };
        Ok(answer.lines().filter_map(value).collect())
    }
}
