//! The examples of `docs/webhook.md` are what the code reads and writes.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Balancer, Spec, answer::Answer};

/// The example with this name, as it stands there.
fn example(name: &str) -> &'static str {
    let text = include_str!("../../../docs/webhook.md");
    let (_, rest) = text.split_once(&format!("```json {name}\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// Nothing of the example is ignored or added.
fn survives<T: DeserializeOwned + Serialize>(name: &str) -> T {
    let read: T = serde_json::from_str(example(name)).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), serde_json::from_str::<Value>(example(name)).unwrap());
    read
}

#[test]
fn the_examples_are_read_and_written_as_they_stand_there() {
    let balancer: Balancer = survives("balancer");
    assert_eq!(balancer.contradiction(), None);
    assert_eq!(balancer.clone().sorted(), balancer);
    survives::<Spec>("spec");
    let status = reqwest::StatusCode::NOT_FOUND;
    assert!(Answer { status, retry_after: None, body: example("refusal").into() }.is_absent());
}
