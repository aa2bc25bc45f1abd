//! Tests across crates: the operator on a real etcd and kube-apiserver, under the RBAC that the chart ships.

pub mod aws_endpoint;
pub mod aws_lab;
pub mod aws_query;
pub mod certificate;
pub mod digitalocean_endpoint;
pub mod doubles;
pub mod fault_proxy;
pub mod hetzner_endpoint;
mod loopback;
pub mod outside_lab;
pub mod provider_contract;
pub mod replica;
pub mod secret;
pub mod webhook_endpoint;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{core::v1::Service, events::v1::Event};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use penstock_crds::{IPAddressPool, L2Advertisement, LoadBalancer, LoadBalancerClass};
use penstock_e2e::{
    chart::apply_rbac,
    control_plane::ControlPlane,
    wait::{Look, until},
};
use penstock_operator::{OperatorError, Options};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Bounds how long a broken operator is waited for; a working one takes milliseconds.
const LIMIT: Duration = Duration::from_secs(60);

/// No test lasts as long.
const DRIFT_INTERVAL: Duration = Duration::from_secs(900);

/// An API server with our kinds, and an operator that can be stopped and started.
pub struct Fixture {
    control_plane: ControlPlane,
    /// The administrator.
    pub client: Client,
    /// How long operators that are started wait between two looks for drift.
    pub drift_interval: Duration,
    operator: Option<(CancellationToken, JoinHandle<Result<(), OperatorError>>)>,
    _dir: tempfile::TempDir,
}

impl Fixture {
    /// Starts the API server with our kinds and RBAC; no operator yet.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let control_plane = ControlPlane::start_on_loopback(dir.path()).await?;
        let client = control_plane.client().await?;
        let fixture =
            Self { control_plane, client, drift_interval: DRIFT_INTERVAL, operator: None, _dir: dir };
        fixture.apply(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml"))?;
        apply_rbac(&fixture.control_plane, "operator")?;
        fixture.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
        Ok(fixture)
    }

    /// As [`Fixture::start`], with a default class and a running operator.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn with_operator() -> Result<Self> {
        let mut fixture = Self::start().await?;
        fixture.class("bare-metal", true).await?;
        fixture.start_operator().await?;
        Ok(fixture)
    }

    fn apply(&self, path: &Path) -> Result<()> {
        let path = path.to_str().context("path is not UTF-8")?;
        self.kubectl(&["apply", "--server-side", "-f", path]).map(|_| ())
    }

    /// Runs kubectl as the administrator; returns what it prints.
    ///
    /// # Errors
    /// With what it says on stderr.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut command = Command::new(self.control_plane.kubectl());
        let output = command.arg("--kubeconfig").arg(self.control_plane.kubeconfig()).args(args).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts an operator as its ServiceAccount, in this process.
    ///
    /// # Errors
    /// When its client cannot be made.
    pub async fn start_operator(&mut self) -> Result<()> {
        let client = self.operator_client().await?;
        let http_address = SocketAddr::from(([127, 0, 0, 1], 0));
        let identity = "operator".parse()?;
        let options = Options {
            namespace: "penstock-system".into(),
            cluster_domain: "cluster.local".into(),
            http_address,
            identity,
            drift_interval: self.drift_interval,
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(penstock_operator::run(client, options, stop.clone()));
        self.operator = Some((stop, task));
        Ok(())
    }

    /// The administrator's kubeconfig, for processes.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.control_plane.kubeconfig()
    }

    /// A client bound by the RBAC of the operator's ServiceAccount.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn operator_client(&self) -> Result<Client> {
        let user = "system:serviceaccount:penstock-system:penstock-operator";
        self.control_plane.client_as(user, &["system:serviceaccounts", "system:authenticated"]).await
    }

    /// Stops the operator and waits for its end.
    ///
    /// # Errors
    /// What the operator ended with, or that it did not.
    pub async fn stop_operator(&mut self) -> Result<()> {
        let (stop, task) = self.operator.take().context("no operator runs")?;
        stop.cancel();
        Ok(tokio::time::timeout(LIMIT, task).await.context("the operator does not stop")???)
    }

    /// Creates a LoadBalancerClass of the provider `pool`.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn class(&self, name: &str, default: bool) -> Result<()> {
        self.class_of(name, json!({"provider": "pool", "default": default})).await
    }

    /// Creates a LoadBalancerClass.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn class_of(&self, name: &str, spec: Value) -> Result<()> {
        let object: LoadBalancerClass = serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancerClass",
            "metadata": {"name": name}, "spec": spec
        }))?;
        Api::all(self.client.clone()).create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// The pools of our namespace.
    #[must_use]
    pub fn pools(&self) -> Api<IPAddressPool> {
        Api::namespaced(self.client.clone(), "penstock-system")
    }

    /// Creates a pool.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn pool(&self, name: &str, addresses: &[&str]) -> Result<IPAddressPool> {
        let object: IPAddressPool = serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "IPAddressPool",
            "metadata": {"name": name}, "spec": {"addresses": addresses}
        }))?;
        Ok(self.pools().create(&PostParams::default(), &object).await?)
    }

    /// Creates an L2Advertisement; without a spec where it is null.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn advertisement(&self, name: &str, spec: Value) -> Result<()> {
        let kind = ApiResource::erase::<L2Advertisement>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), "penstock-system", &kind);
        let mut object = DynamicObject::new(name, &kind);
        if !spec.is_null() {
            object.data = json!({"spec": spec});
        }
        api.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// The Services of the namespace `default`.
    #[must_use]
    pub fn services(&self) -> Api<Service> {
        Api::default_namespaced(self.client.clone())
    }

    /// Creates a Service of type LoadBalancer with one port; `spec` is merged over it.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn service(&self, name: &str, spec: Value) -> Result<Service> {
        self.service_in("default", name, json!({"spec": spec})).await
    }

    /// Creates a Service of type LoadBalancer in any namespace; `object` is merged over one with a
    /// port.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn service_in(&self, namespace: &str, name: &str, object: Value) -> Result<Service> {
        let mut service = json!({
            "metadata": {"name": name}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}
        });
        merge(&mut service, object);
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        Ok(api.create(&PostParams::default(), &serde_json::from_value(service)?).await?)
    }

    /// Patches a Service (merge patch).
    ///
    /// # Errors
    /// What the API server says.
    pub async fn change(&self, name: &str, patch: Value) -> Result<Service> {
        Ok(self.services().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?)
    }

    /// Waits until the record of a Service says that all is carried out.
    ///
    /// # Errors
    /// When it is not so within the limit; shows what the record says instead.
    pub async fn settled(&self, name: &str) -> Result<()> {
        let api: Api<LoadBalancer> = Api::default_namespaced(self.client.clone());
        until(&format!("LoadBalancer {name} is settled"), LIMIT, || async {
            let record = api.get_opt(name).await?;
            let status = record.and_then(|record| record.status).unwrap_or_default();
            Ok(match status.fingerprint {
                Some(_) => Look::Ready(()),
                None => Look::NotYet(format!("{:?}", status.conditions)),
            })
        })
        .await
    }

    /// Deletes a Service.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn delete(&self, name: &str) -> Result<()> {
        self.services().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    /// Waits until the Service is as `wanted` says.
    ///
    /// # Errors
    /// When it is not within the limit; shows how it is instead.
    pub async fn eventually(&self, name: &str, wanted: impl Fn(&Service) -> bool) -> Result<Service> {
        self.eventually_in("default", name, wanted).await
    }

    /// As [`Fixture::eventually`], in any namespace.
    ///
    /// # Errors
    /// When it is not within the limit; shows how it is instead.
    pub async fn eventually_in(
        &self,
        namespace: &str,
        name: &str,
        wanted: impl Fn(&Service) -> bool,
    ) -> Result<Service> {
        let api: Api<Service> = Api::namespaced(self.client.clone(), namespace);
        until(&format!("Service {name}"), LIMIT, || async {
            Ok(match api.get_opt(name).await? {
                Some(service) if wanted(&service) => Look::Ready(service),
                other => Look::NotYet(format!("{:?}", other.map(|s| (s.metadata.finalizers, s.status)))),
            })
        })
        .await
    }

    /// Waits until the Service has exactly these addresses.
    ///
    /// # Errors
    /// When it does not get them within the limit.
    pub async fn gets(&self, name: &str, addresses: &[&str]) -> Result<Service> {
        self.eventually(name, |service| shown(service) == addresses).await
    }

    /// Waits until the Service waits for an address with this reason and a message that contains `sentence`.
    ///
    /// # Errors
    /// When it does not say so within the limit.
    pub async fn waits(&self, name: &str, reason: &str, sentence: &str) -> Result<Service> {
        self.eventually(name, |service| {
            provisioning(service).is_some_and(|(r, message)| r == reason && message.contains(sentence))
        })
        .await
    }

    /// Waits until the Service is gone.
    ///
    /// # Errors
    /// When it is still there at the limit.
    pub async fn gone(&self, name: &str) -> Result<()> {
        let api = self.services();
        until(&format!("Service {name} to go"), LIMIT, || async {
            Ok(match api.get_opt(name).await? {
                None => Look::Ready(()),
                Some(service) => Look::NotYet(format!("{:?}", service.metadata)),
            })
        })
        .await
    }

    /// Waits until the pool's condition `Accepted` has this status and a message that contains `sentence`.
    ///
    /// # Errors
    /// When it does not say so within the limit.
    pub async fn pool_says(&self, name: &str, status: &str, sentence: &str) -> Result<()> {
        let api = self.pools();
        until(&format!("IPAddressPool {name}"), LIMIT, || async {
            let conditions = api.get(name).await?.status.unwrap_or_default().conditions;
            let said = conditions.iter().any(|c| c.status == status && c.message.contains(sentence));
            Ok(if said { Look::Ready(()) } else { Look::NotYet(format!("{conditions:?}")) })
        })
        .await
    }

    /// Waits for an event with this reason on the Service; returns its note.
    ///
    /// # Errors
    /// When there is none within the limit.
    pub async fn event(&self, service: &str, reason: &str) -> Result<String> {
        let api: Api<Event> = Api::default_namespaced(self.client.clone());
        until(&format!("event {reason} on Service {service}"), LIMIT, || async {
            let events = api.list(&ListParams::default()).await?;
            let about = |e: &&Event| e.regarding.as_ref().and_then(|r| r.name.as_deref()) == Some(service);
            Ok(match events.iter().filter(about).find(|e| e.reason.as_deref() == Some(reason)) {
                Some(event) => Look::Ready(event.note.clone().unwrap_or_default()),
                None => Look::NotYet(events.iter().map(ResourceExt::name_any).collect::<Vec<_>>().join(", ")),
            })
        })
        .await
    }
}

/// Lays objects over objects, and anything else in the place of what is there.
pub(crate) fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(fields), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(fields.entry(name).or_insert(Value::Null), value);
            }
        }
        (target, patch) => *target = patch,
    }
}

/// The addresses in a Service's status.
#[must_use]
pub fn shown(service: &Service) -> Vec<&str> {
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.and_then(|b| b.ingress.as_deref()).unwrap_or_default();
    ingress.iter().filter_map(|i| i.ip.as_deref()).collect()
}

/// Reason and message of the condition `LoadBalancerProvisioning`, where it is true.
#[must_use]
pub fn provisioning(service: &Service) -> Option<(&str, &str)> {
    let conditions = service.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let condition =
        conditions.iter().find(|c| c.type_ == "LoadBalancerProvisioning" && c.status == "True")?;
    Some((&condition.reason, &condition.message))
}
