//! `kubectl penstock env`: the variables by which Pods of a namespace find Services, for a process that runs elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, anyhow};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::ListParams};
use penstock_model::{ServiceEnvironment, service_environment};
use serde::Serialize;

use crate::{
    access::{Found, Gaps, sentence},
    cluster::Cluster,
};

/// What the command prints.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnvReport {
    /// Whose Pods are told so.
    pub namespace: String,
    /// Values by name.
    pub variables: BTreeMap<String, String>,
    /// What is not known for certain.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Reads the Services that Pods of the namespace are told of; without `service_links` as `enableServiceLinks: false` has it.
///
/// # Errors
/// When the Services of the namespace cannot be read, or the API server does not answer.
pub async fn env(cluster: &Cluster, service_links: bool) -> Result<EnvReport> {
    let mut gaps = Gaps::default();
    let mut services = if service_links { services(cluster).await? } else { Vec::new() };
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), "default");
    match gaps.get(&api, "kubernetes", "services in namespace default").await? {
        Found::Here(kubernetes) => services.push(kubernetes),
        Found::Missing => gaps.add("kubernetes", "there is no Service default/kubernetes".to_owned()),
        Found::Unknown => {}
    }
    let environment = service_environment(&services, &cluster.namespace, service_links);
    Ok(report(&cluster.namespace, environment, gaps.sentences()))
}

async fn services(cluster: &Cluster) -> Result<Vec<Service>> {
    let api: Api<Service> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let resource = format!("services in namespace {}", cluster.namespace);
    let list = api.list(&ListParams::default()).await;
    Ok(list.map_err(|error| anyhow!(sentence("list", &resource, &error)))?.items)
}

fn report(namespace: &str, environment: ServiceEnvironment, mut notes: Vec<String>) -> EnvReport {
    notes.extend(environment.contested.iter().map(|name| {
        format!("two Services give {name} a value, and a kubelet takes either: rename one of them")
    }));
    let unexportable = environment.variables.keys().filter(|name| !is_exportable(name));
    let prefixes: BTreeSet<&str> =
        unexportable.filter_map(|name| name.strip_suffix("_SERVICE_HOST")).collect();
    notes.extend(prefixes.into_iter().map(|prefix| {
        format!("no shell takes names that begin with a digit: the variables {prefix}_... are not exported, -o json has them")
    }));
    EnvReport { namespace: namespace.to_owned(), variables: environment.variables, notes }
}

/// A name as POSIX has it (XBD 3.216).
fn is_exportable(name: &str) -> bool {
    name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// What a POSIX shell can read: `eval "$(kubectl penstock env)"`.
#[must_use]
pub fn env_text(report: &EnvReport) -> String {
    let exported = report.variables.iter().filter(|(name, _)| is_exportable(name));
    // What cannot be quoted is a NUL, which no address, number or protocol holds.
    let quoted = exported.filter_map(|(name, value)| Some((name, shlex::try_quote(value).ok()?)));
    quoted.map(|(name, value)| format!("export {name}={value}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)], contested: &[&str]) -> ServiceEnvironment {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let contested = contested.iter().map(|name| (*name).to_owned()).collect();
        ServiceEnvironment { variables: variables.iter().map(owned).collect(), contested }
    }

    #[test]
    fn a_shell_reads_back_what_was_meant() {
        let variables = [
            ("A_PORT", "tcp://[2001:db8::7]:80"),
            ("A_SERVICE_HOST", "2001:db8::7"),
            ("ODD", "a b'c$(d)\"e"),
        ];
        let report = report("shop", environment(&variables, &[]), vec![]);
        let script = env_text(&report) + "printf '%s|' \"$A_PORT\" \"$A_SERVICE_HOST\" \"$ODD\"";
        let output = std::process::Command::new("sh").arg("-euc").arg(script).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&output.stdout),
            "tcp://[2001:db8::7]:80|2001:db8::7|a b'c$(d)\"e|"
        );
    }

    #[test]
    fn what_is_not_certain_or_not_possible_is_said() {
        let variables =
            [("1A_SERVICE_HOST", "10.0.0.1"), ("1A_SERVICE_PORT", "80"), ("A_SERVICE_PORT", "80")];
        let report = report("shop", environment(&variables, &["A_SERVICE_PORT"]), vec![]);
        assert_eq!(env_text(&report), "export A_SERVICE_PORT=80\n");
        assert!(
            report.notes[0].starts_with("two Services give A_SERVICE_PORT a value"),
            "{:?}",
            report.notes
        );
        assert!(report.notes[1].contains("the variables 1A_... are not exported"), "{:?}", report.notes);
        assert_eq!(report.variables.len(), 3, "programs get them all");
    }
}
