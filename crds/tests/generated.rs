//! The committed YAML and reference are what the types say.

// A test may panic.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn committed_definitions_are_current() {
    for (path, definition) in penstock_crds::generated() {
        let committed = fs::read_to_string(root().join(&path)).unwrap_or_default();
        let current = yaml_serde::to_string(&definition).unwrap();
        assert_eq!(committed, current, "{path} is stale: run `make crds`");
    }
}

#[test]
fn the_committed_reference_is_current() {
    for (path, page) in penstock_crds::reference::pages() {
        let committed = fs::read_to_string(root().join(path)).unwrap_or_default();
        assert!(committed == page, "{path} is stale: run `make crds`");
    }
}

#[test]
fn the_reference_has_every_message_of_a_rule() {
    let (_, page) =
        penstock_crds::reference::pages().into_iter().find(|(path, _)| path.ends_with("kinds.md")).unwrap();
    for (_, definition) in penstock_crds::definitions() {
        let messages = messages(&serde_json::to_value(&definition.spec).unwrap());
        let missing: Vec<&String> = messages.iter().filter(|message| !page.contains(*message)).collect();
        assert!(missing.is_empty(), "{}: {missing:?}", definition.spec.names.kind);
    }
}

/// Of all CEL rules, however deep they are.
fn messages(value: &Value) -> Vec<String> {
    let rules = value.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten();
    let own = rules.filter_map(|rule| Some(rule.get("message")?.as_str()?.to_owned()));
    let fields = value.as_object().into_iter().flat_map(|object| object.values());
    let entries = value.as_array().into_iter().flatten();
    own.chain(fields.chain(entries).flat_map(messages)).collect()
}

/// The one key that is not in the list: `model` reads it, and does not know this crate.
#[test]
fn the_reference_names_the_scheduler_of_ipvs() {
    let pages = penstock_crds::reference::pages();
    assert!(pages.iter().any(|(_, page)| page.contains(&format!("`{}`", penstock_model::IPVS_SCHEDULER))));
}

/// The chart takes every file of its folder.
#[test]
fn no_definition_is_left_of_a_kind_that_went() {
    let generated: BTreeSet<String> = penstock_crds::generated().into_iter().map(|(path, _)| path).collect();
    for folder in [penstock_crds::FOLDER, penstock_crds::CHART_FOLDER] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap());
            assert!(generated.contains(&path), "{path} is of no kind: delete it");
        }
    }
}
