//! Secrets of type `kubernetes.io/tls`, and the right to read them.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::Fixture;

impl Fixture {
    /// Creates or replaces one of namespace `default` that holds a certificate and a key, as PEM.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn put_tls_secret(&self, name: &str, certificate: &str, key: &str) -> Result<()> {
        let api: Api<Secret> = Api::default_namespaced(self.client.clone());
        let object = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"name": name}, "stringData": {"tls.crt": certificate, "tls.key": key}});
        api.patch(name, &PatchParams::apply("tests"), &Patch::Apply(object)).await?;
        Ok(())
    }

    /// Lets the operator read those of namespace `default`, as the chart's `operator.tlsSecretNamespaces` does.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn allow_tls_secrets(&self) -> Result<()> {
        self.kubectl(&["create", "role", "tls-secrets", "--verb=list,watch", "--resource=secrets"])?;
        let account = "--serviceaccount=penstock-system:penstock-operator";
        self.kubectl(&["create", "rolebinding", "tls-secrets", "--role=tls-secrets", account]).map(drop)
    }
}
