//! The committed YAML is what the types say.

use std::{fs, path::Path};

#[test]
fn committed_definitions_are_current() {
    for (name, definition) in penstock_crds::definitions() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml").join(name);
        let committed = fs::read_to_string(path).unwrap_or_default();
        let current = yaml_serde::to_string(&definition).unwrap();
        assert_eq!(
            committed, current,
            "crds/yaml/{name} is stale: run `cargo run -p penstock-crds --example generate`"
        );
    }
}
