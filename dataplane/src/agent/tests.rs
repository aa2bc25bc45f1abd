//! The state between events.

use std::collections::BTreeSet;

use ipnet::IpNet;
use penstock_model::IndexConfig;

use super::*;
use crate::{Programmed, node_state::StateFile};

/// Takes everything.
struct Willing;

impl Backend for Willing {
    async fn apply(&mut self, _: &[Change]) -> Result<Applied, ApplyError> {
        Ok(Applied { operations: 0, programmed: Programmed::default(), in_doubt: false })
    }

    fn take_service_cidrs(&mut self, _: Vec<IpNet>) {}

    async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        self.apply(all).await
    }
}

#[tokio::test]
async fn what_was_known_last_is_for_the_time_before_the_lists_alone() {
    let index = ServiceIndex::new(IndexConfig::default());
    let fallback = Fallback::new(StateFile::new("none".as_ref(), "n1"), Duration::from_secs(3));
    let agent = Agent::new(index, Willing, Metrics::default(), Readiness::default());
    let mut agent = agent.with_fallback(Some(fallback));
    let empty = [
        Event::Service(Box::new(Piece::Complete(BTreeSet::new()))),
        Event::Node(Box::new(Update::Reset(Vec::new()))),
        Event::ExternalIpPolicy(Box::new(Update::Reset(Vec::new()))),
        Event::ServiceCidr(Box::new(Update::Reset(Vec::new()))),
    ];
    empty.into_iter().for_each(|event| agent.take(event));
    agent.program().await;
    assert!(agent.fallback.is_some());
    agent.take(Event::Slice(Box::new(Piece::Complete(BTreeSet::new()))));
    agent.program().await;
    assert!(agent.fallback.is_none());
}
