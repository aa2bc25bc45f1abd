//! The pictures of docs/benchmarks.md are those of the committed results.

use std::{fs, path::Path};

use penstock_e2e::bench::plot::Plot;

#[test]
fn each_picture_is_drawn_from_the_results_and_shown() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let read = |file: &str| fs::read_to_string(docs.join(file)).unwrap_or_default();
    let page = read("benchmarks.md");
    for plot in Plot::all(&read("benchmarks/results.yaml")).unwrap() {
        let file = format!("benchmarks/{}", plot.file);
        assert_eq!(plot.svg(), Some(read(&file)), "docs/{file} is stale: run `make plots`");
        assert!(page.contains(&format!("]({file})")), "docs/benchmarks.md does not show {file}");
    }
}
