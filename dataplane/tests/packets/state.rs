//! A node that starts while the API server is away.

use std::{fs, path::Path, time::Duration};

use futures::{Stream, StreamExt, stream};
use penstock_node::{
    Agent, Backend, Event, Metrics,
    nftables::{Nft, Nftables},
    node_state::{Recorded, StateFile, heard_at_start, restore},
};
use penstock_runtime::{Readiness, Update};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{nodes, policies, ranges, services, slices, web},
    lab::{index, table_config},
    namespace::Namespace,
};

const WEB: &str = "10.96.0.15 . tcp . 80";

fn nftables(node: &Namespace) -> Nftables {
    Nftables::new(Nft::in_namespace(node.name()), table_config())
}

/// Runs an agent until the events end, and its keeper of the file until it has written.
async fn run(backend: impl Backend, file: StateFile, events: impl Stream<Item = Event> + Send) {
    let (backend, kept) = Recorded::start(backend, file);
    let agent = Agent::new(index(), backend, Metrics::default(), Readiness::default());
    agent.run(events, CancellationToken::new()).await;
    kept.await.unwrap();
}

/// A file that an agent has left.
async fn left(path: &Path) -> StateFile {
    let (node, file) = (Namespace::new("before"), StateFile::new(path, "n1"));
    let lists = stream::iter([services(), slices(), nodes(), policies(&[]), ranges(&[])]);
    // In batches of their own: what comes after the first load is in the file too.
    let later = stream::iter([Event::Service(Box::new(Update::Apply(web("10.96.0.15"))))]);
    let pause = stream::once(async {
        tokio::task::yield_now().await;
        nodes()
    });
    run(nftables(&node), file.clone(), lists.chain(pause).chain(later)).await;
    assert!(node.nft("list ruleset").contains(WEB));
    file
}

#[test]
fn a_node_without_rules_gets_those_that_it_had_and_then_what_the_api_server_says() {
    let runtime = Runtime::new().unwrap();
    let directory = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let file = left(&directory.path().join("node.state")).await;
        let node = Namespace::new("after");
        let mut backend = nftables(&node);
        // One list comes, the others do not: the API server is about to go, or to come.
        let mut events = stream::iter([nodes()]).chain(stream::pending());
        let (heard, complete) = heard_at_start(&mut events, Duration::from_millis(1)).await;
        assert!(!complete);
        restore(&mut backend, &file).await.unwrap();
        assert!(node.nft("list ruleset").contains(WEB));

        let other = Event::Service(Box::new(Update::Reset(vec![web("10.96.0.20")])));
        let lists = stream::iter([other, slices(), policies(&[]), ranges(&[])]);
        run(backend, file.clone(), stream::iter(heard).chain(lists)).await;
        let rules = node.nft("list ruleset");
        assert!(rules.contains("10.96.0.20 . tcp . 80") && !rules.contains("10.96.0.15"));
        let (state, _) = file.read().unwrap().unwrap();
        let state = format!("{state:?}");
        assert!(state.contains("10.96.0.20") && !state.contains("10.96.0.15"), "{state}");
    });
}

#[test]
fn lists_that_come_in_time_need_no_file() {
    let runtime = Runtime::new().unwrap();
    let lists = [services(), slices(), nodes(), policies(&[]), ranges(&[])];
    let mut events = stream::iter(lists).chain(stream::pending());
    let (heard, complete) = runtime.block_on(heard_at_start(&mut events, Duration::from_secs(600)));
    assert!(complete && heard.len() == 5);
}

#[test]
fn a_file_that_cannot_be_used_leaves_the_node_as_it_is() {
    let runtime = Runtime::new().unwrap();
    let (directory, node) = (tempfile::tempdir().unwrap(), Namespace::new("node"));
    let path = directory.path().join("node.state");
    fs::write(&path, "penstock-node state 1\nnonsense").unwrap();
    for path in [path, directory.path().join("none"), directory.path().to_owned()] {
        let file = StateFile::new(&path, "n1");
        runtime.block_on(restore(&mut nftables(&node), &file)).unwrap();
        assert_eq!(node.nft("list ruleset"), "");
    }
}
