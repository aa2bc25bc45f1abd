//! Kubeconfig files: who, towards which server, trusting which CA. Everything is embedded, so that a file can be copied
//! or handed to a process in another mount namespace.

use std::path::Path;

use anyhow::{Context, Result};
use k8s_openapi::ByteString;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::pki::{Identity, write_private};

/// How the API server gets to know its client.
#[derive(Debug, Clone)]
pub enum Credential {
    /// A client certificate.
    Certificate(Identity),
    /// A bearer token, as the TokenRequest API hands out.
    Token(String),
}

/// The text of a kubeconfig with one cluster, one user, one context.
///
/// # Errors
/// Only when it cannot be serialised, which would be a defect.
pub fn render(server: &str, authority: &str, credential: &Credential) -> Result<String> {
    let user = match credential {
        Credential::Certificate(identity) => json!({
            "client-certificate-data": base64(&identity.certificate)?,
            "client-key-data": base64(&identity.key)?,
        }),
        Credential::Token(token) => json!({ "token": token }),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "penstock",
            "cluster": { "server": server, "certificate-authority-data": base64(authority)? },
        }],
        "users": [{ "name": "penstock", "user": user }],
        "contexts": [{ "name": "penstock", "context": { "cluster": "penstock", "user": "penstock" } }],
        "current-context": "penstock",
    });
    yaml_serde::to_string(&config).context("render a kubeconfig")
}

/// Renders and writes a kubeconfig that only its owner may read.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, server: &str, authority: &str, credential: &Credential) -> Result<()> {
    write_private(path, &render(server, authority, credential)?)
}

/// A client from the text of a kubeconfig. Its connections belong to the runtime of the caller: make one per test.
///
/// # Errors
/// When the text is not a usable kubeconfig.
pub async fn client(text: &str) -> Result<kube::Client> {
    let parsed = Kubeconfig::from_yaml(text).context("parse a kubeconfig")?;
    let config = kube::Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .context("use a kubeconfig")?;
    kube::Client::try_from(config).context("make a client from a kubeconfig")
}

/// A token of a ServiceAccount, valid for `seconds`. The API server gives what is asked for, unless
/// `--service-account-max-token-expiration` caps it, which is not set here.
///
/// # Errors
/// When the ServiceAccount does not exist.
pub async fn service_account_token(
    client: &kube::Client,
    namespace: &str,
    name: &str,
    seconds: i64,
) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    let spec = TokenRequestSpec { expiration_seconds: Some(seconds), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec: Some(spec), ..TokenRequest::default() };
    let answer = accounts.create_token_request(name, &PostParams::default(), &request).await;
    let answer = answer.with_context(|| format!("request a token for {namespace}/{name}"))?;
    answer.status.and_then(|status| status.token).context("the API server sent no token")
}

fn base64(text: &str) -> Result<Value> {
    serde_json::to_value(ByteString(text.as_bytes().to_vec())).context("encode a kubeconfig's data")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_kubeconfig_carries_its_data_in_base64() {
        let identity = Identity { certificate: "CERT".into(), key: "KEY".into() };
        let text = render("https://127.0.0.1:6443", "CA", &Credential::Certificate(identity)).unwrap();
        let parsed: Value = yaml_serde::from_str(&text).unwrap();
        assert_eq!(parsed["clusters"][0]["cluster"]["server"], "https://127.0.0.1:6443");
        assert_eq!(parsed["clusters"][0]["cluster"]["certificate-authority-data"], "Q0E=");
        assert_eq!(parsed["users"][0]["user"]["client-certificate-data"], "Q0VSVA==");
        assert_eq!(parsed["users"][0]["user"]["client-key-data"], "S0VZ");
        Kubeconfig::from_yaml(&text).unwrap();
    }

    #[test]
    fn a_token_kubeconfig_has_no_certificate() {
        let text = render("https://203.0.113.10:6443", "CA", &Credential::Token("abc".into())).unwrap();
        let parsed: Value = yaml_serde::from_str(&text).unwrap();
        assert_eq!(parsed["users"][0]["user"], json!({ "token": "abc" }));
    }
}
