//! What `kubectl penstock pools` counts, and whom it names.

#![allow(clippy::unwrap_used)] // a test may panic

mod objects;

use anstream::adapter::strip_str;
use objects::{objects, pool, served, service};
use penstock_cli::{
    pools::{PoolsReport, pools_report},
    pools_text::{is_nearly_full, pools_text},
    scene::{Objects, Scene},
};
use penstock_model::Family;
use serde_json::json;

async fn report(objects: Objects) -> PoolsReport {
    pools_report(&Scene::of(objects)).await
}

fn text(report: &PoolsReport, holders: bool) -> String {
    strip_str(&pools_text(report, holders)).to_string()
}

#[tokio::test]
async fn who_has_what_and_who_goes_without() {
    let services =
        vec![served("one", "203.0.113.200"), served("two", "203.0.113.201"), service("three", json!({}))];
    let report = report(objects("Automatic", services)).await;
    let usage = report.pools[0].families[0];
    assert_eq!((usage.family, usage.size, usage.used, usage.free), (Family::IPv4, 2, 2, 0));
    let expected = "\
POOL      FAMILY   SIZE   USED   FREE   STATE   ADDRESSES
segment   IPv4     2      2      0      full    203.0.113.200-203.0.113.201

ADDRESS         POOL      SERVICES
203.0.113.200   segment   shop/one
203.0.113.201   segment   shop/two

Service shop/three gets nothing of IPAddressPool segment: it has no free IPv4 address (2 of 2 IPv4 addresses are in use)
";
    assert_eq!(text(&report, true), expected);
    assert!(!text(&report, false).contains("shop/one"), "only on request");
}

/// What is about to be given is no longer there for the next, but is not in use yet.
#[tokio::test]
async fn the_last_free_address_is_promised_once() {
    let services = vec![served("one", "203.0.113.200"), service("a", json!({})), service("b", json!({}))];
    let report = report(objects("Automatic", services)).await;
    assert_eq!(report.pools[0].families[0].free, 1);
    let waiting: Vec<String> = report.pools[0].waiting.iter().map(|w| w.service.to_string()).collect();
    assert_eq!(waiting.len(), 1, "{waiting:?}");
}

#[tokio::test]
async fn each_family_by_itself_refused_pools_and_addresses_of_no_pool() {
    let mut all = objects("Automatic", vec![served("old", "192.0.2.9")]);
    all.pools = vec![
        pool("both", json!({"addresses": ["203.0.113.0/30", "2001:db8::/64"], "autoAssign": false})),
        pool("late", json!({"addresses": ["203.0.113.2/32"]})),
    ];
    let report = report(all).await;
    let expected = "\
POOL   FAMILY   SIZE           USED   FREE           STATE                                                                      ADDRESSES
both   IPv4     4              0      4              in use, on request                                                         203.0.113.0/30, 2001:db8::/64
       IPv6     2^63 or more   0      2^63 or more   in use, on request
late   -        -              -      -              not in use: Overlaps: 203.0.113.2 overlaps 203.0.113.0-203.0.113.3 of both   203.0.113.2/32
";
    let shown = text(&report, true);
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&shown)[..16], words(expected)[..16], "{shown}");
    assert!(shown.contains("not in use: Overlaps: ") && shown.contains("2^63 or more"), "{shown}");
    assert_eq!(report.notes, ["Service shop/old holds 192.0.2.9 of IPAddressPool segment, which is gone"]);
}

#[tokio::test]
async fn without_pools_there_is_one_sentence_and_little_left_is_noticed() {
    let mut all = objects("Automatic", vec![]);
    all.pools.clear();
    assert_eq!(text(&report(all).await, true), "There is no IPAddressPool.\n");
    let usage =
        |used, free| penstock_cli::pools::FamilyUsage { family: Family::IPv4, size: used + free, used, free };
    assert!(is_nearly_full(&usage(9, 1)) && !is_nearly_full(&usage(89, 11)));
}
