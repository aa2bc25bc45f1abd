//! The LoadBalancer object of a Service: what was built outside the cluster for it.

use k8s_openapi::{api::core::v1::Service, jiff::Timestamp};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use penstock_crds::{
    ConditionKind, FINALIZER, LoadBalancer, LoadBalancerSpec, LoadBalancerStatus, Reason, condition,
    set_condition,
};
use penstock_model::{ObjectKey, parse_ip};
use penstock_providers::{Built, IpMode};
use serde_json::json;

/// What became of the balancer, for the record's condition `Programmed`.
pub(crate) type Verdict = Result<(), (Reason, String)>;

/// A fresh record for a Service that is already marked as ours. It has our finalizer: also when somebody forces the
/// Service out of our hands, what was built is found and taken down before the record goes.
#[must_use]
pub(crate) fn new(service: &Service, spec: LoadBalancerSpec) -> LoadBalancer {
    let mut record = LoadBalancer::new(&service.name_any(), spec);
    record.metadata.namespace.clone_from(&service.metadata.namespace);
    record.metadata.owner_references = service.owner_ref(&()).map(|owner| vec![owner]);
    record.metadata.finalizers = Some(vec![FINALIZER.to_owned()]);
    record
}

/// The status of a record that shows what exists.
#[must_use]
pub(crate) fn status(
    record: &LoadBalancer,
    built: &Built,
    mut status: LoadBalancerStatus,
    verdict: Verdict,
    now: Timestamp,
) -> LoadBalancerStatus {
    let (programmed, reason, message) = match verdict {
        Ok(()) => (true, Reason::Provisioned, String::new()),
        Err((reason, message)) => (false, reason, message),
    };
    let generation = record.metadata.generation;
    let new = condition(ConditionKind::Programmed, programmed, reason, &message, generation, now);
    status.conditions = record.status.clone().unwrap_or_default().conditions;
    set_condition(&mut status.conditions, new);
    status.addresses = built.addresses.iter().map(ToString::to_string).collect();
    status.hostname.clone_from(&built.hostname);
    status.ip_mode = Some(if built.ip_mode == IpMode::Proxy { "Proxy" } else { "VIP" }.to_owned());
    status.resources.clone_from(&built.resources);
    status
}

/// What the record says that exists.
#[must_use]
pub fn built(record: &LoadBalancer) -> Built {
    let status = record.status.clone().unwrap_or_default();
    let proxy = status.ip_mode.as_deref() == Some("Proxy");
    Built {
        addresses: status.addresses.iter().filter_map(|text| parse_ip(text)).collect(),
        hostname: status.hostname,
        ip_mode: if proxy { IpMode::Proxy } else { IpMode::Vip },
        pool: None,
        resources: status.resources,
    }
}

/// What the provider said when it refused exactly this; it is not asked again for the same.
#[must_use]
pub(crate) fn refusal(record: &LoadBalancer, wish: &str) -> Option<String> {
    let status = record.status.as_ref().filter(|s| s.refused.as_deref() == Some(wish))?;
    let programmed = ConditionKind::Programmed.to_string();
    status.conditions.iter().find(|c| c.type_ == programmed).map(|c| c.message.clone())
}

/// Reads and writes records. Each is read from the API server when it is needed, not from a cache: a balancer must
/// not be built twice because a watch is late.
#[derive(Clone)]
pub(crate) struct Records(Client);

impl Records {
    pub(crate) fn new(client: Client) -> Self {
        Self(client)
    }

    fn api(&self, namespace: &str) -> Api<LoadBalancer> {
        Api::namespaced(self.0.clone(), namespace)
    }

    pub(crate) async fn get(&self, key: &ObjectKey) -> kube::Result<Option<LoadBalancer>> {
        self.api(&key.namespace).get_opt(&key.name).await
    }

    pub(crate) async fn create(&self, record: &LoadBalancer) -> kube::Result<LoadBalancer> {
        let namespace = record.namespace().unwrap_or_default();
        self.api(&namespace).create(&PostParams::default(), record).await
    }

    /// The class as it is now, so that what was built can be taken down after it is gone.
    pub(crate) async fn set_spec(
        &self,
        record: &LoadBalancer,
        spec: &LoadBalancerSpec,
    ) -> kube::Result<LoadBalancer> {
        let patch = json!({"metadata": preconditions(record), "spec": spec});
        let namespace = record.namespace().unwrap_or_default();
        let params = PatchParams::default();
        self.api(&namespace).patch(&record.name_any(), &params, &Patch::Merge(patch)).await
    }

    /// Writes the status unless the record says so already. What the new one leaves out is removed.
    pub(crate) async fn set_status(
        &self,
        record: &LoadBalancer,
        status: &LoadBalancerStatus,
    ) -> kube::Result<LoadBalancer> {
        if record.status.as_ref() == Some(status) {
            return Ok(record.clone());
        }
        let record = LoadBalancer { status: Some(status.clone()), ..record.clone() };
        let namespace = record.namespace().unwrap_or_default();
        self.api(&namespace).replace_status(&record.name_any(), &PostParams::default(), &record).await
    }

    /// Nothing is left of what it records: the finalizer is dropped, and the record with it.
    pub(crate) async fn remove(&self, record: &LoadBalancer) -> kube::Result<()> {
        let api = self.api(&record.namespace().unwrap_or_default());
        let name = record.name_any();
        let patch = json!({"metadata": {"uid": record.metadata.uid, "finalizers": null}});
        let freed = api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(|_| ());
        self.gone(record, freed).await?;
        let uid = record.metadata.uid.clone();
        let preconditions = Some(Preconditions { uid, resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        self.gone(record, api.delete(&name, &params).await.map(|_| ())).await
    }

    /// Gone already, or another of the same name by now: both are what was wanted. The API server answers the latter
    /// with 409, and with the same a write that lost a race, after which the record is still there.
    async fn gone(&self, record: &LoadBalancer, removed: kube::Result<()>) -> kube::Result<()> {
        match removed {
            Err(kube::Error::Api(answer)) if answer.is_not_found() => Ok(()),
            Err(kube::Error::Api(answer)) if answer.is_conflict() => {
                let present = self.get(&ObjectKey::of(&record.metadata)).await?;
                let same = present.is_some_and(|present| present.metadata.uid == record.metadata.uid);
                if same { Err(kube::Error::Api(answer)) } else { Ok(()) }
            }
            other => other,
        }
    }
}

fn preconditions(record: &LoadBalancer) -> serde_json::Value {
    json!({"uid": record.metadata.uid, "resourceVersion": record.metadata.resource_version})
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Method, Request, Response};
    use kube::client::Body;

    fn record(uid: &str) -> LoadBalancer {
        serde_json::from_value(json!({
            "apiVersion": "penstock.dev/v1alpha1", "kind": "LoadBalancer",
            "metadata": {"name": "a", "namespace": "d", "uid": uid},
            "spec": {"serviceUid": "1", "className": "c", "class": {"provider": "pool"}}
        }))
        .unwrap()
    }

    /// Of a server that has this record and answers every change with 409.
    fn records(present: &LoadBalancer) -> Records {
        let present = serde_json::to_value(present).unwrap();
        let conflict = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict",
            "message": "", "code": 409});
        let service = tower::service_fn(move |request: Request<Body>| {
            let (code, body) = match *request.method() {
                Method::GET => (200, &present),
                _ => (409, &conflict),
            };
            let answer = Response::builder().status(code).body(Body::from(body.to_string().into_bytes()));
            std::future::ready(answer)
        });
        Records::new(Client::new(service, "d"))
    }

    #[tokio::test]
    async fn a_record_is_removed_when_another_has_its_name_and_not_when_a_write_lost_a_race() {
        let record_of_ours = record("ours");
        assert!(records(&record("another")).remove(&record_of_ours).await.is_ok());
        let error = records(&record_of_ours).remove(&record_of_ours).await.unwrap_err();
        assert!(matches!(error, kube::Error::Api(answer) if answer.is_conflict()));
    }
}
