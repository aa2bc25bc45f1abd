//! The objects of the table on a real API server.

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::flows::flow::Numbered;
use crate::flows::place::{pod_ranges, zone};
use crate::flows::service::NAMESPACE;
use crate::topology::Place;

/// How many cases are created at a time.
const AT_ONCE: usize = 8;

/// Creates the namespace, and the nodes as a kubelet would: their zones come later.
///
/// # Errors
/// What the API server says.
pub async fn create_ground(client: &kube::Client) -> Result<()> {
    create::<Namespace>(&Api::all(client.clone()), json!({ "metadata": { "name": NAMESPACE } })).await?;
    for place in Place::NODES {
        create::<Node>(&Api::all(client.clone()), node(place)).await?;
    }
    Ok(())
}

fn node(place: Place) -> Value {
    let name = place.name();
    let addresses = place.addresses().both();
    let ranges: Vec<String> = pod_ranges(place).iter().map(ToString::to_string).collect();
    json!({
        "metadata": {
            "name": name,
            "labels": { "kubernetes.io/hostname": name },
        },
        "spec": { "podCIDR": ranges[0], "podCIDRs": ranges },
        "status": {
            "addresses": addresses.map(|address| json!({ "type": "InternalIP", "address": address.to_string() })),
            "conditions": [{ "type": "Ready", "status": "True", "reason": "Table", "message": "" }],
        },
    })
}

/// Gives every node its zone, as a cloud's controller does with nodes that have been there for a while.
///
/// # Errors
/// What the API server says.
pub async fn label_zones(client: &kube::Client) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    for place in Place::NODES {
        let labels = json!({ "metadata": { "labels": { "topology.kubernetes.io/zone": zone(place) } } });
        let patched = nodes.patch(place.name(), &PatchParams::default(), &Patch::Merge(labels)).await;
        patched.with_context(|| format!("label node {}", place.name()))?;
    }
    Ok(())
}

/// Creates the Services of these cases with their status and their slices.
///
/// # Errors
/// What the API server says, with the name of the case.
pub async fn create_cases(client: &kube::Client, cases: &[Numbered]) -> Result<()> {
    stream::iter(cases)
        .map(|case| create_case(client, case))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}

async fn create_case(client: &kube::Client, Numbered { addresses, case }: &Numbered) -> Result<()> {
    let name = case.object_name(*addresses);
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    create(&services, case.service.object(&name, *addresses)).await?;
    let status = Patch::Merge(case.service.status(*addresses));
    let patched = services.patch_status(&name, &PatchParams::default(), &status).await;
    patched.with_context(|| format!("write the status of {name}"))?;
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), NAMESPACE);
    for slice in case.service.slice_objects(&name) {
        create(&slices, slice).await?;
    }
    Ok(())
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<()>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    let name = object["metadata"]["name"].clone();
    let object: K = serde_json::from_value(object).with_context(|| format!("read the object {name}"))?;
    api.create(&PostParams::default(), &object).await.with_context(|| format!("create {name}"))?;
    Ok(())
}
