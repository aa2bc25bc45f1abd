//! Draws the committed results: `make plots`.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use penstock_e2e::bench::plot::Plot;

fn main() -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
    let results = fs::read_to_string(folder.join("results.yaml"))?;
    for plot in Plot::all(&results)? {
        let svg = plot.svg().with_context(|| format!("{}: every figure has to be above zero", plot.file))?;
        fs::write(folder.join(&plot.file), svg)?;
        println!("docs/benchmarks/{}", plot.file);
    }
    Ok(())
}
