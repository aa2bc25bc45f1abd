//! What users do, on the API server itself: the faults are the operator's alone.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use penstock_crds::{FINALIZER, GROUP, IPAddressPool, LoadBalancerClass};
use penstock_e2e::wait::{Look, until};
use penstock_tests::{fault_proxy::FaultProxy, provisioning, shown};
use serde_json::{Value, json};

use crate::{appliance::Appliance, cloud::Clouds};

/// Where Penstock's own objects live.
pub(crate) const NAMESPACE: &str = "penstock-system";

/// A user with the administrator's rights.
#[derive(Clone)]
pub(crate) struct User {
    pub(crate) client: Client,
    /// The class that Services ask for.
    pub(crate) class: &'static str,
    /// How long an effect may take.
    pub(crate) limit: Duration,
    /// What it has outside the cluster.
    pub(crate) appliance: Arc<Appliance>,
    /// Its accounts of clouds.
    pub(crate) clouds: Clouds,
}

impl User {
    pub(crate) fn services(&self) -> Api<Service> {
        Api::default_namespaced(self.client.clone())
    }

    pub(crate) fn pools(&self) -> Api<IPAddressPool> {
        Api::namespaced(self.client.clone(), NAMESPACE)
    }

    pub(crate) fn classes(&self) -> Api<LoadBalancerClass> {
        Api::all(self.client.clone())
    }

    /// Creates a class of the provider `pool`.
    pub(crate) async fn create_class(&self, name: &str, default: bool) -> Result<()> {
        let class = class(name, default)?;
        self.classes().create(&PostParams::default(), &class).await.context("create a class")?;
        Ok(())
    }

    pub(crate) async fn delete_class(&self, name: &str) -> Result<()> {
        self.classes().delete(name, &DeleteParams::default()).await.context("delete a class")?;
        Ok(())
    }

    pub(crate) async fn create_pool(&self, name: &str, addresses: &[&str]) -> Result<()> {
        let pool = pool(name, &json!({"addresses": addresses}))?;
        self.pools().create(&PostParams::default(), &pool).await.context("create a pool")?;
        Ok(())
    }

    pub(crate) async fn edit_pool(&self, name: &str, addresses: &[&str]) -> Result<()> {
        let patch = Patch::Merge(json!({"spec": {"addresses": addresses}}));
        self.pools().patch(name, &PatchParams::default(), &patch).await.context("edit a pool")?;
        Ok(())
    }

    /// Creates a Service of our class; see [`service`].
    pub(crate) async fn create(&self, name: &str, spec: Value) -> Result<()> {
        let mut spec = spec;
        if spec.get("loadBalancerClass").is_none() {
            spec["loadBalancerClass"] = json!(format!("{GROUP}/{}", self.class));
        }
        self.create_object(&service(name, &json!({}), spec)?).await
    }

    pub(crate) async fn create_object(&self, service: &Service) -> Result<()> {
        self.services().create(&PostParams::default(), service).await.context("create a Service")?;
        Ok(())
    }

    /// Creates a Service again and again until the one of this name before it is gone.
    pub(crate) async fn create_once_free(&self, name: &str, spec: &Value) -> Result<()> {
        until(&format!("the name of Service {name} to be free"), self.limit, || async {
            match self.create(name, spec.clone()).await {
                Ok(()) => Ok(Look::Ready(())),
                Err(error) if is_already_there(&error) => Ok(Look::NotYet(format!("{error:#}"))),
                Err(error) => Err(error),
            }
        })
        .await
    }

    /// A merge patch.
    pub(crate) async fn change(&self, name: &str, patch: Value) -> Result<()> {
        let patch = Patch::Merge(patch);
        self.services().patch(name, &PatchParams::default(), &patch).await.context("change a Service")?;
        Ok(())
    }

    /// Writes another address into the status.
    pub(crate) async fn overwrite_status(&self, name: &str, address: &str) -> Result<()> {
        let patch = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}));
        let api = self.services();
        api.patch_status(name, &PatchParams::default(), &patch).await.context("overwrite a status")?;
        Ok(())
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<()> {
        self.services().delete(name, &DeleteParams::default()).await.context("delete a Service")?;
        Ok(())
    }

    pub(crate) async fn eventually(&self, name: &str, wanted: impl Fn(&Service) -> bool) -> Result<()> {
        let api = self.services();
        until(&format!("Service {name}"), self.limit, || async {
            Ok(match api.get_opt(name).await? {
                Some(service) if wanted(&service) => Look::Ready(()),
                Some(service) => Look::NotYet(sketch(&service)),
                None => Look::NotYet("it does not exist".to_owned()),
            })
        })
        .await
    }

    /// Waits until exactly these addresses are shown.
    pub(crate) async fn has(&self, name: &str, addresses: &[&str]) -> Result<()> {
        self.eventually(name, |service| shown(service) == addresses && provisioning(service).is_none()).await
    }

    /// Waits until this many addresses are shown.
    pub(crate) async fn has_some(&self, name: &str, count: usize) -> Result<()> {
        self.eventually(name, |service| shown(service).len() == count && provisioning(service).is_none())
            .await
    }

    /// Waits until it says why it has no address.
    pub(crate) async fn waits(&self, name: &str, reason: &str) -> Result<()> {
        self.eventually(name, |service| provisioning(service).is_some_and(|(r, _)| r == reason)).await
    }

    /// The proxies before what is outside.
    pub(crate) fn outside(&self) -> Vec<&FaultProxy> {
        let clouds = self.clouds.all().iter().map(|cloud| &cloud.proxy);
        std::iter::once(&self.appliance.proxy).chain(clouds).collect()
    }

    /// Waits until nothing of ours is left on a Service that stays.
    pub(crate) async fn clean(&self, name: &str) -> Result<()> {
        self.eventually(name, |service| !is_marked(service) && shown(service).is_empty()).await
    }

    pub(crate) async fn gone(&self, name: &str) -> Result<()> {
        let api = self.services();
        until(&format!("the end of Service {name}"), self.limit, || async {
            Ok(api.get_opt(name).await?.map_or(Look::Ready(()), |service| Look::NotYet(sketch(&service))))
        })
        .await
    }
}

/// A class of the provider `pool`.
pub(crate) fn class(name: &str, default: bool) -> Result<LoadBalancerClass> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancerClass",
        "metadata": {"name": name}, "spec": {"provider": "pool", "default": default}
    }))?)
}

/// A pool.
pub(crate) fn pool(name: &str, spec: &Value) -> Result<IPAddressPool> {
    Ok(serde_json::from_value(json!({
        "apiVersion": "penstock.dev/v1alpha1", "kind": "IPAddressPool",
        "metadata": {"name": name}, "spec": spec
    }))?)
}

/// A Service of type LoadBalancer with one port; `spec` is merged over it.
pub(crate) fn service(name: &str, annotations: &Value, spec: Value) -> Result<Service> {
    let mut object = json!({
        "metadata": {"name": name, "annotations": annotations},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}
    });
    if let (Some(base), Value::Object(more)) = (object["spec"].as_object_mut(), spec) {
        base.extend(more);
    }
    Ok(serde_json::from_value(object)?)
}

/// Whether it carries our finalizer.
pub(crate) fn is_marked(service: &Service) -> bool {
    service.metadata.finalizers.as_deref().unwrap_or_default().iter().any(|f| f == FINALIZER)
}

fn is_already_there(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<kube::Error>(), Some(kube::Error::Api(status)) if status.is_already_exists())
}

fn sketch(service: &Service) -> String {
    let metadata = &service.metadata;
    format!(
        "finalizers {:?}, deleted {}, addresses {:?}, waits {:?}",
        metadata.finalizers.as_deref().unwrap_or_default(),
        metadata.deletion_timestamp.is_some(),
        shown(service),
        provisioning(service)
    )
}
