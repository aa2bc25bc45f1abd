//! Makes `image: nginx` mean the image that is on the nodes.
//!
//! For an image without a tag the API server defaults the pull policy to Always, and a pull needs a registry. The
//! manifests shall stay as their users wrote them, so that something has to give way: a MutatingAdmissionPolicy turns
//! Always into IfNotPresent for the images that the harness supplies, and for no other. A registry on every node would
//! leave the Pods' policy alone, but is a server more to write, run and trust, for the same image.

use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::wait::{Look, until};

const NAME: &str = "local-images.e2e.penstock.dev";

/// The names of the supplied images, as manifests write them.
const IMAGES: &str = "['nginx', 'nginx:latest', 'docker.io/library/nginx:latest']";

/// How long the API server may take to act on the policy.
const EFFECTIVE: Duration = Duration::from_secs(60);

fn policy() -> Value {
    let concerned = format!("c.image in {IMAGES} && c.imagePullPolicy == 'Always'");
    let expression = format!(
        "Object{{spec: Object.spec{{containers: object.spec.containers.filter(c, {concerned})\
         .map(c, Object.spec.containers{{name: c.name, imagePullPolicy: 'IfNotPresent'}})}}}}"
    );
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicy",
        "metadata": { "name": NAME },
        "spec": {
            "matchConstraints": { "resourceRules": [
                { "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"] },
            ] },
            "matchConditions": [
                { "name": "local-image", "expression": format!("object.spec.containers.exists(c, {concerned})") },
            ],
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [
                { "patchType": "ApplyConfiguration", "applyConfiguration": { "expression": expression } },
            ],
        },
    })
}

fn binding() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingAdmissionPolicyBinding",
        "metadata": { "name": NAME },
        "spec": { "policyName": NAME },
    })
}

/// Installs the policy.
///
/// # Errors
/// When the API server refuses it.
pub async fn install(client: &kube::Client) -> Result<()> {
    let params = PatchParams::apply("penstock-e2e").force();
    let policies: Api<MutatingAdmissionPolicy> = Api::all(client.clone());
    policies.patch(NAME, &params, &Patch::Apply(policy())).await.context("install the image policy")?;
    let bindings: Api<MutatingAdmissionPolicyBinding> = Api::all(client.clone());
    bindings.patch(NAME, &params, &Patch::Apply(binding())).await.context("bind the image policy")?;
    Ok(())
}

/// Waits until the policy acts, and with it Pods can be created in the namespace `default` at all: the API server
/// refuses them until the controller manager has made the namespace's ServiceAccount.
///
/// # Errors
/// When that takes too long.
pub async fn wait_until_effective(client: &kube::Client) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), "default");
    let params = PostParams { dry_run: true, ..PostParams::default() };
    let probe: Pod = serde_json::from_value(json!({
        "metadata": { "name": "image-policy-probe" },
        "spec": { "containers": [{ "name": "nginx", "image": "nginx" }] },
    }))
    .context("make a probe")?;
    until("the image policy", EFFECTIVE, || async {
        Ok(match pods.create(&params, &probe).await {
            Ok(pod) if pull_policy(&pod) == Some("IfNotPresent") => Look::Ready(()),
            Ok(pod) => Look::NotYet(format!("a Pod's pull policy is {:?}", pull_policy(&pod))),
            Err(error) => Look::NotYet(error.to_string()),
        })
    })
    .await
}

fn pull_policy(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.containers.first()?.image_pull_policy.as_deref()
}
