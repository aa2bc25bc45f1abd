//! A node that starts while the API server is away.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt, channel::mpsc, stream};
use penstock_node::{
    Agent, Backend, Event, Metrics, Piece,
    nftables::{Nft, Nftables},
    node_state::{Fallback, Recorded, StateFile},
};
use penstock_runtime::Readiness;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::{
    agent::{lists, nodes, policies, ranges, services, slices, web, web_slice},
    lab::{index, table_config},
    namespace::Namespace,
};

const WEB: &str = "10.96.0.15 . tcp . 80";

fn nftables(node: &Namespace) -> Nftables {
    Nftables::new(Nft::in_namespace(node.name()), table_config())
}

/// Runs an agent until the events end, and its keeper of the file until it has written.
async fn run(
    backend: impl Backend,
    file: StateFile,
    fallback: Option<Fallback>,
    events: impl Stream<Item = Event> + Send,
) {
    let (backend, kept) = Recorded::start(backend, file);
    let agent = Agent::new(index(), backend, Metrics::default(), Readiness::default());
    agent.with_fallback(fallback).run(events, CancellationToken::new()).await;
    kept.await.unwrap();
}

/// A file that an agent has left.
async fn left(path: &Path) -> StateFile {
    let (node, file) = (Namespace::new("before"), StateFile::new(path, "n1"));
    let lists = stream::iter(lists());
    // In batches of their own: what comes after the first load is in the file too.
    let later = stream::iter([Event::Service(Box::new(Piece::Apply(web("10.96.0.15"))))]);
    let pause = stream::once(async {
        tokio::task::yield_now().await;
        nodes()
    });
    run(nftables(&node), file.clone(), None, lists.chain(pause).chain(later)).await;
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
        // One list comes, the others do not: the API server is about to go, or to come.
        let (later, coming) = mpsc::unbounded();
        let events = stream::iter([nodes()]).chain(coming);
        let fallback = Fallback::new(file.clone(), Duration::from_millis(1));
        let running = tokio::spawn(run(nftables(&node), file.clone(), Some(fallback), events));
        let deadline = Instant::now() + Duration::from_secs(30);
        while !node.nft("list ruleset").contains(WEB) {
            assert!(Instant::now() < deadline, "what was known is not programmed");
            tokio::task::yield_now().await;
        }

        let rest = [services(vec![web("10.96.0.20")]), slices(vec![web_slice()])].concat();
        let rest = rest.into_iter().chain([policies(&[]), ranges(&[])]);
        rest.for_each(|event| later.unbounded_send(event).unwrap());
        drop(later);
        running.await.unwrap();
        let rules = node.nft("list ruleset");
        assert!(rules.contains("10.96.0.20 . tcp . 80") && !rules.contains("10.96.0.15"));
        let (state, _) = file.read().unwrap().unwrap();
        let state = format!("{state:?}");
        assert!(state.contains("10.96.0.20") && !state.contains("10.96.0.15"), "{state}");
    });
}

#[test]
fn a_file_that_cannot_be_used_leaves_the_node_as_it_is() {
    let runtime = Runtime::new().unwrap();
    let (directory, node) = (tempfile::tempdir().unwrap(), Namespace::new("node"));
    let path = directory.path().join("node.state");
    fs::write(&path, "penstock-node state 1\nnonsense").unwrap();
    for path in [path, directory.path().join("none"), directory.path().to_owned()] {
        let file = StateFile::new(&path, "n1");
        let restored = async { Fallback::new(file, Duration::ZERO).restore(&mut nftables(&node)).await };
        runtime.block_on(restored).unwrap();
        assert_eq!(node.nft("list ruleset"), "");
    }
}
