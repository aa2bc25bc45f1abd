//! The reference of what users write, as Markdown: from the definitions, so that it says what the API server holds to.

use std::fmt::Display;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionVersion,
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

use crate::{ANNOTATIONS, definitions};

/// The path of every page from the checkout's root, and its text.
#[must_use]
pub fn pages() -> Vec<(&'static str, String)> {
    vec![("docs/reference/kinds.md", kinds()), ("docs/reference/annotations.md", annotations())]
}

const KINDS: &str = "# Reference: kinds

Every kind of the group `penstock.dev`, field by field. Written by `make crds` from the types in `crds/src/`: change those, not this
page. `kubectl explain KIND.spec` says the same on a cluster. `[]` stands for every entry of a list. A `LabelSelector` and a `Condition` are
[Kubernetes' own](https://kubernetes.io/docs/reference/kubernetes-api/). What is _refused_ is refused by the API server, in these words.
";

const ANNOTATION_KEYS: &str = "# Reference: annotations

The annotations of Services that Penstock reads or writes; MetalLB's stand below the one of ours that means the same.
Written by `make crds` from `crds/src/annotation.rs`: change that, not this page.

| Key | Meaning |
|---|---|
";

const OTHER_ANNOTATIONS: &str = "
A key that ends in `-…` or `/…` stands for all that begin so: which of them are read is in the pages about [AWS](../aws.md),
[Hetzner Cloud](../hetzner.md) and [DigitalOcean](../digitalocean.md). `penstock.dev/ipvs-scheduler` is read by the node agent in
[mode ipvs](../../README.md#mode-ipvs) alone: the Service's scheduler of IPVS in place of the node's.
";

fn annotations() -> String {
    let row = |(key, meaning): &(&str, &str)| {
        let rest = if key.ends_with(['-', '/']) { "…" } else { "" };
        format!("| `{key}{rest}` | {} |\n", cell(meaning))
    };
    let rows: String = ANNOTATIONS.iter().map(row).collect();
    format!("{ANNOTATION_KEYS}{rows}{OTHER_ANNOTATIONS}")
}

fn kinds() -> String {
    let sections: String = definitions().iter().map(|(_, definition)| kind(definition)).collect();
    format!("{KINDS}{sections}")
}

fn kind(definition: &CustomResourceDefinition) -> String {
    definition.spec.versions.iter().map(|version| kind_in(definition, version)).collect()
}

fn kind_in(definition: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> String {
    let name = &definition.spec.names.kind;
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let part = |part: &str| schema.and_then(|schema| schema.properties.as_ref()?.get(part));
    let about = part("spec").and_then(|spec| spec.description.as_deref()).unwrap_or_default();
    let columns = columns(version.additional_printer_columns.as_deref().unwrap_or_default());
    let sections =
        ["spec", "status"].map(|at| part(at).map(|part| section(name, at, part)).unwrap_or_default());
    let address = address(definition, version);
    format!("\n## {name}\n{about}\n\n{address} {columns}\n{}", sections.concat())
}

/// Where objects of a kind are, and its names for kubectl.
fn address(definition: &CustomResourceDefinition, version: &CustomResourceDefinitionVersion) -> String {
    let (group, names) = (&definition.spec.group, &definition.spec.names);
    let namespaced = definition.spec.scope == "Namespaced";
    let scope = if namespaced { "in a namespace" } else { "of the whole cluster" };
    let short_names = names.short_names.clone().unwrap_or_default();
    let commands = code_list(&[vec![names.plural.clone()], short_names].concat());
    format!("`{group}/{}`, {scope}: for kubectl {commands}.", version.name)
}

fn columns(columns: &[CustomResourceColumnDefinition]) -> String {
    let named = |wide: bool| -> Vec<&str> {
        let chosen = columns.iter().filter(|column| (column.priority.unwrap_or(0) > 0) == wide);
        chosen.map(|column| column.name.as_str()).collect()
    };
    match (named(false).join(", "), named(true).join(", ")) {
        (narrow, wide) if wide.is_empty() => format!("Columns: {narrow}."),
        (narrow, wide) => format!("Columns: {narrow}; with `-o wide` also {wide}."),
    }
}

fn section(kind: &str, name: &str, schema: &JSONSchemaProps) -> String {
    let mut rows = String::new();
    append_rows(&mut rows, "", schema);
    if rows.is_empty() {
        return String::new();
    }
    let refused: String =
        messages(schema).iter().map(|message| format!("- _Refused:_ {message}\n")).collect();
    let gap = if refused.is_empty() { "" } else { "\n" };
    format!(
        "\n### {kind}: {name}\n\n| Field | Type | Default | Meaning |\n|---|---|---|---|\n{rows}{gap}{refused}"
    )
}

/// The fields below `path`, each with those below it.
fn append_rows(rows: &mut String, path: &str, schema: &JSONSchemaProps) {
    for (name, field) in schema.properties.iter().flatten() {
        let path = format!("{path}{name}");
        let required = schema.required.iter().flatten().any(|required| required == name);
        *rows += &format!(
            "| `{path}` | {} | {} | {} |\n",
            type_of(field),
            default(field, required),
            meaning(field)
        );
        match entries(field) {
            Some(entry) if upstream(entry).is_none() => append_rows(rows, &format!("{path}[]."), entry),
            None if upstream(field).is_none() => append_rows(rows, &format!("{path}."), field),
            _ => {}
        }
    }
}

fn entries(schema: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match schema.items.as_ref()? {
        JSONSchemaPropsOrArray::Schema(entry) => Some(entry),
        JSONSchemaPropsOrArray::Schemas(_) => None,
    }
}

/// The name of a type of Kubernetes itself, known by its fields: a schema does not name it.
fn upstream(schema: &JSONSchemaProps) -> Option<&'static str> {
    let properties = schema.properties.as_ref()?;
    let has = |names: &[&str]| names.iter().all(|name| properties.contains_key(*name));
    match () {
        () if has(&["matchLabels", "matchExpressions"]) => Some("LabelSelector"),
        () if has(&["type", "status", "reason", "lastTransitionTime"]) => Some("Condition"),
        () => None,
    }
}

fn type_of(schema: &JSONSchemaProps) -> String {
    if let Some(name) = upstream(schema) {
        return name.to_owned();
    }
    if let Some(entry) = entries(schema) {
        let bounds = bounds(schema.min_items, schema.max_items, "entries");
        return format!("list{bounds}{} of {}", if bounds.is_empty() { "" } else { "," }, type_of(entry));
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = &schema.additional_properties {
        return format!("map to {}", type_of(value));
    }
    if let Some(values) = &schema.enum_ {
        let values: Vec<String> = values.iter().map(|value| plain(&value.0)).collect();
        return code_list(&values);
    }
    format!("{}{}", schema.type_.as_deref().unwrap_or("anything"), limits(schema))
}

/// What a text or number is held to.
fn limits(schema: &JSONSchemaProps) -> String {
    let format = schema.format.as_deref().filter(|format| *format == "date-time");
    let format = format.map(|_| ", RFC 3339").unwrap_or_default();
    let length = bounds(schema.min_length, schema.max_length, "characters");
    let range = bounds(schema.minimum, schema.maximum, "");
    let pattern =
        schema.pattern.as_deref().map(|pattern| format!(", `{}`", cell(pattern))).unwrap_or_default();
    format!("{format}{length}{range}{pattern}")
}

fn bounds(least: Option<impl Display>, most: Option<impl Display>, unit: &str) -> String {
    let range = match (least, most) {
        (Some(least), Some(most)) => format!(", {least} to {most} {unit}"),
        (Some(least), None) => format!(", at least {least} {unit}"),
        (None, Some(most)) => format!(", at most {most} {unit}"),
        (None, None) => String::new(),
    };
    range.trim_end().to_owned()
}

fn default(schema: &JSONSchemaProps, required: bool) -> String {
    match &schema.default {
        Some(value) if value.0 == "" => "`\"\"`".to_owned(),
        Some(value) => format!("`{}`", plain(&value.0)),
        None if required => "required".to_owned(),
        None => String::new(),
    }
}

fn meaning(schema: &JSONSchemaProps) -> String {
    let entries = entries(schema).filter(|entry| upstream(entry).is_none());
    let refused = messages(schema).into_iter().chain(entries.map(messages).unwrap_or_default());
    let refused: String = refused.map(|message| format!(" _Refused:_ {message}.")).collect();
    format!("{}{refused}", cell(schema.description.as_deref().unwrap_or_default()))
}

/// What the API server says where a CEL rule does not hold.
fn messages(schema: &JSONSchemaProps) -> Vec<String> {
    let rules = schema.x_kubernetes_validations.iter().flatten();
    rules.map(|rule| cell(rule.message.as_deref().unwrap_or(&rule.rule))).collect()
}

/// A text as it is written in YAML, other values as JSON.
fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn code_list(words: &[String]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// One line, in which no bar ends the cell (GitHub Flavored Markdown, section 4.10).
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
