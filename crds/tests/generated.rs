//! The committed YAML and reference are what the types say.

// A test may panic.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

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
