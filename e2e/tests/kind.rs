//! What of `e2e/kind` can be tried without Docker.

#![allow(clippy::unwrap_used)] // a test may panic

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn text(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    yaml_serde::from_str(&text(path)).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn range(subnet: &str) -> Output {
    Command::new(file("kind/pool-range.sh")).arg(subnet).output().unwrap()
}

#[test]
fn the_pool_is_near_the_end_of_dockers_network() {
    for (subnet, expected) in [
        ("172.18.0.0/16", "172.18.255.200-172.18.255.239"),
        ("10.89.0.0/24", "10.89.0.200-10.89.0.239"),
        ("192.168.1.0/25", "192.168.1.72-192.168.1.111"),
        ("172.18.128.0/17", "172.18.255.200-172.18.255.239"),
    ] {
        assert_eq!(String::from_utf8(range(subnet).stdout).unwrap().trim(), expected);
    }
    for (subnet, expected) in [
        ("172.18.0.0/30", "has room for a pool"),
        ("fc00::/7", "is not an IPv4 subnet"),
        ("", "say a subnet"),
    ] {
        let output = range(subnet);
        assert!(!output.status.success() && said(&output).contains(expected), "{subnet}: {}", said(&output));
    }
}

#[test]
fn a_missing_program_is_one_sentence() {
    let path = tempfile::tempdir().unwrap();
    symlink("/usr/bin/dirname", path.path().join("dirname")).unwrap();
    for script in ["up.sh", "down.sh"] {
        let script = file("kind").join(script);
        let output = Command::new("/bin/bash").arg(&script).env("PATH", path.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said(&output).ends_with("is missing: install it and put it on the PATH"),
            "{}",
            said(&output)
        );
        assert_eq!(said(&output).lines().count(), 1);
    }
}

/// What up.sh replaces in the demo's pool, and the manifests that it names.
#[test]
fn the_demos_files_are_as_the_script_expects() {
    let (script, pool) = (text("kind/up.sh"), text("manifests/penstock/pool.yaml"));
    assert!(
        script.contains(r"s/203\.0\.113\.200-203\.0\.113\.239/") && script.contains("'/2001:db8:113::200/d'")
    );
    assert_eq!(pool.matches("203.0.113.200-203.0.113.239").count(), 1);
    assert_eq!(pool.lines().filter(|line| line.contains("2001:db8:113::200")).count(), 1);
    let manifests = script.split("for manifest in ").nth(1).unwrap().split(';').next().unwrap();
    for manifest in manifests.split_whitespace() {
        assert!(file("manifests/seed").join(manifest).with_extension("yaml").exists(), "{manifest}");
    }
}

/// Otherwise the node agent would take Pods for strangers.
#[test]
fn the_networks_are_those_that_the_chart_is_told() {
    let kind = yaml("kind/kind.yaml");
    let values = yaml("../charts/penstock/examples/values-replace-kube-proxy.yaml");
    assert_eq!(kind["networking"]["podSubnet"], values["clusterCIDR"]);
    assert_eq!(kind["networking"]["serviceSubnet"], values["serviceCIDR"]);
    assert_eq!(kind["networking"]["kubeProxyMode"], "none");
}
