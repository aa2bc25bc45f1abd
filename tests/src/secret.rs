//! Secrets for the operator, and the right to read them.

use anyhow::Result;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::Fixture;

const OPERATOR: &str = "--serviceaccount=penstock-system:penstock-operator";

/// Creates a Secret that a class may name, with these keys, and lets the operator read it.
///
/// # Errors
/// What kubectl says.
pub fn grant(kubectl: impl Fn(&[&str]) -> Result<()>, name: &str, keys: &[(&str, &str)]) -> Result<()> {
    let place = "--namespace=penstock-system";
    let literals: Vec<String> =
        keys.iter().map(|(key, value)| format!("--from-literal={key}={value}")).collect();
    let literals: Vec<&str> = literals.iter().map(String::as_str).collect();
    kubectl(&[&["create", "secret", "generic", name, place], &literals[..]].concat())?;
    let (role, only) = (format!("{name}-secret"), format!("--resource-name={name}"));
    kubectl(&["create", "role", &role, "--verb=get", "--resource=secrets", &only, place])?;
    let of = format!("--role={role}");
    kubectl(&["create", "rolebinding", &role, &of, OPERATOR, place])
}

/// Lets the operator read those of namespace `default`, as the chart's `operator.tlsSecretNamespaces` does.
///
/// # Errors
/// What kubectl says.
pub fn allow_tls(kubectl: impl Fn(&[&str]) -> Result<()>) -> Result<()> {
    kubectl(&["create", "role", "tls-secrets", "--verb=list,watch", "--resource=secrets"])?;
    kubectl(&["create", "rolebinding", "tls-secrets", "--role=tls-secrets", OPERATOR])
}

impl Fixture {
    /// As [`grant`], as the administrator.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn credentials(&self, name: &str, keys: &[(&str, &str)]) -> Result<()> {
        grant(|args| self.kubectl(args).map(drop), name, keys)
    }

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

    /// As [`allow_tls`], as the administrator.
    ///
    /// # Errors
    /// What kubectl says.
    pub fn allow_tls_secrets(&self) -> Result<()> {
        allow_tls(|args| self.kubectl(args).map(drop))
    }
}
