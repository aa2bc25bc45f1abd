//! `kubectl penstock convert`: MetalLB's kinds as ours. Pure. Fields have the same names, so that the schema of our kinds says what
//! is carried over: what it does not know is left out, and said.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde_json::{Map, Value, json};

use crate::manifest::{DocumentError, objects};

/// MetalLB's API group, of all versions.
const GROUP: &str = "metallb.io/";
/// MetalLB's kinds that are ours too, and the versions of each (v0.15.2).
const KINDS: [(&str, &[&str]); 6] = [
    ("BFDProfile", &["v1beta1"]),
    ("BGPAdvertisement", &["v1beta1"]),
    ("BGPPeer", &["v1beta1", "v1beta2"]),
    ("Community", &["v1beta1"]),
    ("IPAddressPool", &["v1beta1"]),
    ("L2Advertisement", &["v1beta1"]),
];
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What became of a manifest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversion {
    /// Our objects, in the order of the manifest.
    pub objects: Vec<Value>,
    /// What was left out and what is to be done about it, a sentence each.
    pub remarks: Vec<String>,
    /// Documents that cannot be read.
    pub errors: Vec<DocumentError>,
}

impl Conversion {
    /// A class that serves Services which name none, as MetalLB does.
    #[must_use]
    pub fn with_class(mut self) -> Self {
        let class = json!({
            "apiVersion": version(),
            "kind": "LoadBalancerClass",
            "metadata": { "name": "bare-metal" },
            "spec": { "provider": "pool", "default": true },
        });
        self.objects.insert(0, class);
        self
    }

    /// As one object, for `-o json` and `-o yaml`.
    #[must_use]
    pub fn list(&self) -> Value {
        json!({ "apiVersion": "v1", "kind": "List", "items": self.objects })
    }

    /// As YAML that `kubectl apply -f -` takes.
    ///
    /// # Errors
    /// None that is known: objects came from YAML or JSON.
    pub fn yaml(&self) -> Result<String, yaml_serde::Error> {
        let documents: Result<Vec<_>, _> = self.objects.iter().map(yaml_serde::to_string).collect();
        Ok(documents?.join("---\n"))
    }
}

/// Converts manifests of YAML or JSON; lists may be among them. Objects get into `namespace`, where the operator looks.
#[must_use]
pub fn convert(text: &str, namespace: &str) -> Conversion {
    let (mut result, mut seen) = (Conversion::default(), BTreeSet::new());
    for object in objects(text) {
        match object {
            Ok(object) => add(&mut result, &mut seen, &object, namespace),
            Err(error) => result.errors.push(error),
        }
    }
    result
}

fn add(result: &mut Conversion, seen: &mut BTreeSet<String>, object: &Value, namespace: &str) {
    let title = title(object);
    let Some(definition) = definition(object) else {
        result.remarks.push(format!("{title} is left out: {}", stranger(object)));
        return;
    };
    if !seen.insert(title.clone()) {
        result.remarks.push(format!("{title} is there twice, and both are written: choose one"));
    }
    let mut notes = Vec::new();
    let spec = spec(object, &definition, &mut notes);
    result.remarks.extend(notes.into_iter().map(|note| format!("{title}: {note}")));
    let mut metadata = Map::from_iter([
        ("name".to_owned(), object["metadata"]["name"].clone()),
        ("namespace".to_owned(), namespace.into()),
    ]);
    for field in ["labels", "annotations"] {
        if let Some(kept) = kept(&object["metadata"][field]) {
            metadata.insert(field.to_owned(), kept);
        }
    }
    result.objects.push(json!({
        "apiVersion": version(),
        "kind": object["kind"],
        "metadata": metadata,
        "spec": spec,
    }));
}

fn version() -> String {
    format!("{}/v1alpha1", penstock_crds::GROUP)
}

fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    match metadata["namespace"].as_str() {
        Some(namespace) => format!("{} {namespace}/{}", text(&object["kind"]), text(&metadata["name"])),
        None => format!("{} {}", text(&object["kind"]), text(&metadata["name"])),
    }
}

/// Our kind of that name, of an object of MetalLB.
fn definition(object: &Value) -> Option<CustomResourceDefinition> {
    let version = object["apiVersion"].as_str()?.strip_prefix(GROUP)?;
    let kind = object["kind"].as_str()?;
    KINDS.iter().find(|(name, versions)| *name == kind && versions.contains(&version))?;
    let mut definitions = penstock_crds::definitions().into_iter().map(|(_, definition)| definition);
    definitions.find(|definition| definition.spec.names.kind == kind)
}

fn stranger(object: &Value) -> String {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    match (text("apiVersion"), text("kind")) {
        ("v1", "ConfigMap") if object["data"]["config"].is_string() => {
            "the configuration of MetalLB before v0.13 is no kind: write IPAddressPools and advertisements"
                .to_owned()
        }
        ("v1", "Service") => {
            "Services stay as they are, MetalLB's annotations mean what they meant".to_owned()
        }
        (version, "AddressPool") if version.starts_with(GROUP) => {
            "write an IPAddressPool and an advertisement, into which MetalLB has split it".to_owned()
        }
        (version, kind) if version.starts_with(GROUP) && kind.ends_with("Status") => {
            "it is MetalLB's own record".to_owned()
        }
        (version, _) if version.starts_with(GROUP) => "Penstock has no such kind or version".to_owned(),
        _ => "it is not MetalLB's".to_owned(),
    }
}

/// What users wrote, without kubectl's own copy of it.
fn kept(texts: &Value) -> Option<Value> {
    let kept: Map<_, _> = texts
        .as_object()?
        .iter()
        .filter(|(key, _)| *key != LAST_APPLIED)
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    (!kept.is_empty()).then(|| kept.into())
}

fn spec(object: &Value, definition: &CustomResourceDefinition, notes: &mut Vec<String>) -> Value {
    let versions = definition.spec.versions.first();
    let schema = versions
        .and_then(|v| v.schema.as_ref()?.open_api_v3_schema.as_ref()?.properties.as_ref()?.get("spec"));
    let mut spec = schema.map_or(Value::Null, |schema| known(&object["spec"], schema, "spec", notes));
    // Known, and refused by our schema's rule.
    if spec["echoMode"] == true {
        spec["echoMode"] = false.into();
        notes.push("spec.echoMode is false now: nothing echoes here".to_owned());
    }
    if let Some(name) = spec["passwordSecret"]["name"].as_str() {
        let note = "the announcer reads the Secret in its own namespace, and only if the chart's announcer.passwordSecrets names it";
        notes.push(format!("spec.passwordSecret {name}: {note}"));
    }
    if spec.is_null() { json!({}) } else { spec }
}

/// What the schema knows of a value.
fn known(value: &Value, schema: &JSONSchemaProps, path: &str, notes: &mut Vec<String>) -> Value {
    match (value, &schema.properties, &schema.items) {
        (Value::Object(fields), Some(properties), _) => {
            let mut kept = Map::new();
            for (name, field) in fields {
                let path = format!("{path}.{name}");
                match properties.get(name) {
                    Some(schema) => drop(kept.insert(name.clone(), known(field, schema, &path, notes))),
                    None => notes.push(format!("{path} is left out: {}", why(name))),
                }
            }
            kept.into()
        }
        (Value::Array(values), _, Some(JSONSchemaPropsOrArray::Schema(schema))) => {
            let each =
                (0..).zip(values).map(|(n, value)| known(value, schema, &format!("{path}[{n}]"), notes));
            each.collect::<Vec<_>>().into()
        }
        _ => value.clone(),
    }
}

/// And what to do.
fn why(field: &str) -> &'static str {
    match field {
        "password" => {
            "put it into a Secret of type kubernetes.io/basic-auth, and name that in passwordSecret"
        }
        "vrf" => "Penstock's announcers speak in the node's main routing table only",
        "interface" => "Penstock has no unnumbered peers: give the router's peerAddress",
        "disableMP" | "dualStackAddressFamily" => {
            "every session carries prefixes of both families, as far as the router takes them"
        }
        _ => "Penstock has no such field",
    }
}

#[cfg(test)]
mod tests;
