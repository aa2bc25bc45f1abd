//! What Prometheus and Grafana are given.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::{WITH_DNS, find, rendered};

#[test]
fn what_listens_on_loopback_has_no_pod_monitor() {
    let monitors = |arguments: &[&str]| -> Vec<String> {
        let objects = rendered(&[&["--set=monitoring.podMonitor.enabled=true"], arguments].concat());
        let found = objects.iter().filter(|object| object["kind"] == "PodMonitor");
        found.map(|object| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(monitors(&[]), ["penstock-operator"]);
    let open = ["--set=announcer.httpHost=::", "--set=node.httpHost=0.0.0.0", "--set=operator.enabled=false"];
    assert_eq!(monitors(&open), ["penstock-announcer", "penstock-node"]);
    assert_eq!(monitors(&["--set=announcer.httpHost=::1"]), ["penstock-operator"]);
    assert_eq!(monitors(&WITH_DNS), ["penstock-operator", "penstock-dns"]);
}

/// The names of all metrics of ours, as the programs' sources register them.
fn metrics() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let quoted =
        |text: &str| text.trim_start().strip_prefix('"')?.split_once('"').map(|(name, _)| name.to_owned());
    let mut names = BTreeSet::new();
    for program in ["operator", "announcer", "dataplane", "dns"] {
        let mut grep = Command::new("grep");
        let sources = root.join(program).join("src");
        let found = grep.args(["-rl", "sub_registry_with_prefix"]).arg(sources).output().unwrap();
        let files = String::from_utf8(found.stdout).unwrap();
        for file in files.lines() {
            let text = std::fs::read_to_string(file).unwrap();
            for group in text.split("sub_registry_with_prefix(").skip(1) {
                let prefix = quoted(group).unwrap();
                let registered = group.split("register(").skip(1).filter_map(quoted);
                // The DNS gives whole names, some of them CoreDNS' own.
                let whole = ["penstock_", "coredns_"].iter().any(|start| prefix.starts_with(start));
                let prefix = if whole { prefix } else { format!("penstock_{prefix}") };
                names.extend(registered.map(|name| format!("{prefix}_{name}")));
            }
        }
    }
    assert!(
        names.contains("penstock_operator_leader") && names.contains("coredns_dns_requests"),
        "{names:?}"
    );
    assert!(names.len() > 25, "{names:?}");
    names
}

fn is_metric(word: &str) -> bool {
    word.starts_with("penstock_") || word.starts_with("coredns_")
}

/// Fails where an expression names a metric that no program has.
fn names_only_metrics_that_are_there(expression: &str, metrics: &BTreeSet<String>) {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let named: Vec<&str> = words.filter(|word| is_metric(word)).collect();
    assert!(!named.is_empty(), "{expression}");
    for name in named {
        let stem = ["_total", "_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end));
        assert!(metrics.contains(stem.unwrap_or(name)), "{name} in {expression}");
    }
}

#[test]
fn every_alert_says_what_it_means_and_what_to_do_about_a_metric_that_is_there() {
    let (on, metrics) = ("--set=monitoring.prometheusRule.enabled=true", metrics());
    let labelled = "--set=monitoring.prometheusRule.labels.release=prometheus";
    let objects = rendered(&[on, labelled, WITH_DNS[0], WITH_DNS[1]]);
    let rules = find(&objects, "PrometheusRule", "penstock");
    assert_eq!(rules["metadata"]["labels"]["release"], "prometheus");
    let groups = rules["spec"]["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 4);
    let mut names = BTreeSet::new();
    for alert in groups.iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        names_only_metrics_that_are_there(alert["expr"].as_str().unwrap(), &metrics);
        let name = alert["alert"].as_str().unwrap();
        for annotation in ["summary", "runbook"] {
            let text = alert["annotations"][annotation].as_str().unwrap();
            assert!(text.ends_with('.') && !text.contains('\n'), "{name}: {text}");
        }
        assert!(["warning", "critical"].contains(&alert["labels"]["severity"].as_str().unwrap()), "{name}");
        assert!(names.insert(name), "{name} is there twice");
    }
    let document = include_str!("../../../docs/install.md");
    let listed = document.lines().filter_map(|line| line.strip_prefix("| `Penstock")?.split_once('`'));
    let listed: BTreeSet<String> = listed.map(|(name, _)| format!("Penstock{name}")).collect();
    assert_eq!(listed, names.into_iter().map(str::to_owned).collect(), "docs/install.md");
    let objects = rendered(&[on, "--set=announcer.enabled=false", "--set=node.enabled=false"]);
    let groups = &find(&objects, "PrometheusRule", "penstock")["spec"]["groups"];
    assert_eq!(groups.as_array().unwrap().len(), 1, "alerts of what is not installed");
}

#[test]
fn the_dashboard_is_json_and_shows_metrics_that_are_there() {
    let objects = rendered(&["--set=monitoring.dashboard.enabled=true"]);
    let map = find(&objects, "ConfigMap", "penstock-dashboard");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let dashboard: Value = serde_json::from_str(map["data"]["penstock.json"].as_str().unwrap()).unwrap();
    let metrics = metrics();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            names_only_metrics_that_are_there(target["expr"].as_str().unwrap(), &metrics);
        }
    }
}
