//! The checklist for whoever writes a provider names every case.

use penstock_tests::provider_contract::Case;

#[test]
fn the_guide_names_every_case_of_the_suite() {
    let guide = include_str!("../../../providers/README.md");
    for case in Case::ALL {
        assert!(
            guide.contains(&format!("`{case}`")),
            "providers/README.md does not say what {case} asks for"
        );
    }
}
