//! Writes the definitions of our kinds as YAML: `cargo run -p penstock-crds --example generate`.

use std::{error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("yaml");
    for (name, definition) in penstock_crds::definitions() {
        fs::write(folder.join(name), yaml_serde::to_string(&definition)?)?;
        println!("wrote crds/yaml/{name}");
    }
    Ok(())
}
