//! The arrows between our crates point one way, and the pure ones stay free of IO.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{collections::BTreeSet, process::Command};

/// The crates that `name` pulls in, with its normal dependencies' own.
fn dependencies(name: &str) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--locked", "--prefix=none", "--edges=normal", "--format={lib}", "--package", name]);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}

#[test]
fn model_and_crds_know_neither_a_runtime_nor_a_client() {
    for name in ["penstock-model", "penstock-crds"] {
        free_of(name, &["tokio", "kube_client", "kube_runtime", "hyper"]);
    }
}

/// A provider calls what is outside and so has an HTTP client. What it may not know is the API server: all that it
/// learns of the cluster are its arguments. And ring is the only provider of cryptography that we ship.
#[test]
fn providers_know_no_kube_client() {
    free_of("penstock-providers", &["kube_client", "kube_runtime", "aws_lc_rs", "openssl", "native_tls"]);
}

fn free_of(name: &str, forbidden: &[&str]) {
    let found = dependencies(name);
    assert!(found.contains("k8s_openapi"), "{name}: {found:?}");
    for library in forbidden {
        assert!(!found.contains(*library), "{name} depends on {library}");
    }
}

#[test]
fn arrows_point_from_the_processes_down() {
    let ours = |name: &str| -> BTreeSet<String> {
        dependencies(name).into_iter().filter(|lib| lib.starts_with("penstock_")).collect()
    };
    let set = |names: &[&str]| names.iter().map(|name| format!("penstock_{name}")).collect::<BTreeSet<_>>();
    assert_eq!(ours("penstock-model"), set(&["model"]));
    assert_eq!(ours("penstock-crds"), set(&["crds"]));
    assert_eq!(ours("penstock-runtime"), set(&["runtime"]));
    assert_eq!(ours("penstock-providers"), set(&["providers", "model", "crds"]));
    assert_eq!(ours("penstock-operator"), set(&["operator", "providers", "model", "crds", "runtime"]));
    assert_eq!(ours("penstock-cli"), set(&["cli", "operator", "providers", "model", "crds", "runtime"]));
    assert_eq!(ours("penstock-announcer"), set(&["announcer", "model", "crds", "runtime"]));
    assert_eq!(ours("penstock-node"), set(&["node", "model", "crds", "runtime"]));
}
