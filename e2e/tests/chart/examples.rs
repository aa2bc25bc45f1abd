//! The examples: helm takes each, and what it names is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{CHART, find, pod, rendered};

const EXAMPLES: [&str; 8] = [
    "bare-metal-l2",
    "bare-metal-bgp",
    "aws",
    "hetzner",
    "digitalocean",
    "beside-kube-proxy",
    "replace-kube-proxy",
    "replace-kube-proxy-and-coredns",
];

fn folder() -> PathBuf {
    CHART.directory().join("examples")
}

fn example(name: &str) -> (String, Vec<Value>) {
    let path = folder().join(format!("values-{name}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap();
    CHART.lint(&["--values", path.to_str().unwrap()]).unwrap();
    (text, rendered(&["--values", path.to_str().unwrap()]))
}

fn workloads(objects: &[Value]) -> BTreeSet<&str> {
    let workloads = objects.iter().filter(|o| o["kind"] == "Deployment" || o["kind"] == "DaemonSet");
    workloads.map(|o| o["metadata"]["name"].as_str().unwrap()).collect()
}

/// What a file's comments send the reader to.
fn named_files(text: &str) -> Vec<PathBuf> {
    let words = text.split_whitespace().map(|word| word.trim_end_matches(['.', ',', ':']));
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    words
        .filter_map(|word| match word {
            _ if word.starts_with("docs/") => Some(repository.join(word)),
            _ if word.ends_with(".yaml") => Some(folder().join(word)),
            _ => None,
        })
        .collect()
}

fn objects_of(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap();
    let documents = yaml_serde::Deserializer::from_str(&text);
    documents.map(|document| serde::Deserialize::deserialize(document).unwrap()).collect()
}

/// The Secrets that objects name, wherever they do.
fn secrets(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, value)| match (key.as_str(), value) {
                ("tokenSecret" | "credentialsSecret", Value::String(name)) => vec![name.clone()],
                ("passwordSecret", secret) => vec![secret["name"].as_str().unwrap().to_owned()],
                (_, value) => secrets(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(secrets).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn all_are_tested() {
    let there =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<String> = there
        .filter_map(|name| Some(name.strip_prefix("values-")?.strip_suffix(".yaml")?.to_owned()))
        .collect();
    assert_eq!(there, EXAMPLES.map(str::to_owned).into());
}

#[test]
fn helm_takes_each_and_what_it_names_is_there() {
    for name in EXAMPLES {
        let (text, objects) = example(name);
        let files = named_files(&text);
        let manifests: Vec<_> = files.iter().filter(|file| file.extension().unwrap() == "yaml").collect();
        assert_eq!(manifests.len(), 1, "{name} says what to apply next");
        let line = format!("| `values-{name}.yaml`");
        let listed =
            include_str!("../../../docs/install.md").lines().find(|text| text.starts_with(&line)).unwrap();
        let manifest = manifests[0].file_name().unwrap().to_str().unwrap();
        assert!(listed.ends_with(&format!("| `{manifest}` |")), "{listed}");
        for file in &files {
            assert!(file.is_file(), "{name}: {}", file.display());
        }
        let read: BTreeSet<String> = objects
            .iter()
            .filter_map(|object| object["rules"].as_array())
            .flatten()
            .filter(|rule| rule["resources"] == serde_json::json!(["secrets"]))
            .flat_map(|rule| rule["resourceNames"].as_array().unwrap().clone())
            .map(|name| name.as_str().unwrap().to_owned())
            .collect();
        let named: BTreeSet<String> = objects_of(manifests[0]).iter().flat_map(secrets).collect();
        assert_eq!(read, named, "{name}: the Secrets that may be read, and those that its manifest names");
        assert!(
            read.iter().all(|secret| text.contains(&format!("`{secret}`"))),
            "{name} says how to make them"
        );
    }
}

#[test]
fn each_installs_the_parts_that_it_speaks_of() {
    for name in EXAMPLES {
        let (_, objects) = example(name);
        let expected: &[&str] = match name {
            "aws" | "hetzner" | "digitalocean" => &["penstock-operator"],
            "replace-kube-proxy" => &["penstock-announcer", "penstock-node", "penstock-operator"],
            "replace-kube-proxy-and-coredns" => {
                &["penstock-announcer", "penstock-dns", "penstock-node", "penstock-operator"]
            }
            _ => &["penstock-announcer", "penstock-operator"],
        };
        assert_eq!(workloads(&objects), expected.iter().copied().collect(), "{name}");
    }
    let (_, objects) = example("replace-kube-proxy");
    let agent = pod(&objects, "DaemonSet", "penstock-node")["containers"][0].to_string();
    assert!(agent.contains("KUBERNETES_SERVICE_HOST") && agent.contains("--cluster-cidr="), "{agent}");
    let (_, objects) = example("aws");
    let account = find(&objects, "ServiceAccount", "penstock-operator");
    assert!(account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"].is_string());
}
