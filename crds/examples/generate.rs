//! Writes the definitions of our kinds as YAML: `cargo run -p penstock-crds --example generate`.

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (path, definition) in penstock_crds::generated() {
        fs::write(root.join(&path), yaml_serde::to_string(&definition)?)?;
        println!("wrote {path}");
    }
    Ok(())
}
