//! Writes the definitions of our kinds as YAML, and the reference: `cargo run -p penstock-crds --example generate`.

use std::{error::Error, fs, path::Path};

use penstock_crds::{generated, reference};

fn main() -> Result<(), Box<dyn Error>> {
    for (path, definition) in generated() {
        write(&path, &yaml_serde::to_string(&definition)?)?;
    }
    for (path, page) in reference::pages() {
        write(path, &page)?;
    }
    Ok(())
}

fn write(path: &str, text: &str) -> Result<(), Box<dyn Error>> {
    fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path), text)?;
    println!("wrote {path}");
    Ok(())
}
