//! Whether the API server is away when the node agent starts, and what then.

use std::time::Duration;

use futures::{Stream, StreamExt};
use penstock_runtime::Update;
use tokio::time::timeout;

use super::StateFile;
use crate::{ApplyError, Backend, Event};

/// An API server from which the lists have not come within this time is away, to a node without rules.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Which lists have come.
#[derive(Clone, Copy, Debug, Default)]
struct Lists([bool; 5]);

impl Lists {
    fn hear(&mut self, event: &Event) {
        fn is_list<K>(update: &Update<K>) -> bool {
            matches!(update, Update::Reset(_))
        }
        let (kind, is_list) = match event {
            Event::Service(update) => (0, is_list(update)),
            Event::Slice(update) => (1, is_list(update)),
            Event::Node(update) => (2, is_list(update)),
            Event::ExternalIpPolicy(update) => (3, is_list(update)),
            Event::ServiceCidr(update) => (4, is_list(update)),
            Event::Touched(_) => return,
        };
        self.0[kind] |= is_list;
    }

    fn are_complete(self) -> bool {
        self.0 == [true; 5]
    }
}

/// Hears until all lists are there, for so long at most. Returns what was heard, which the agent has to hear too, and
/// whether it is all lists.
pub async fn heard_at_start(
    events: &mut (impl Stream<Item = Event> + Unpin),
    patience: Duration,
) -> (Vec<Event>, bool) {
    let (mut heard, mut lists) = (Vec::new(), Lists::default());
    let all = async {
        while !lists.are_complete() {
            let Some(event) = events.next().await else { return };
            lists.hear(&event);
            heard.push(event);
        }
    };
    // Either way what was heard is kept.
    drop(timeout(patience, all).await);
    (heard, lists.are_complete())
}

/// Programs what the node knew last. That there is none, or that it cannot be used, is said.
///
/// # Errors
/// When the kernel refuses.
pub async fn restore(backend: &mut impl Backend, file: &StateFile) -> Result<(), ApplyError> {
    match file.read() {
        Ok(Some((state, written))) => {
            let all = state.into_changes();
            backend.reload(&all).await?;
            tracing::warn!(%written, ports = all.len(), "the API server is away: programmed what was known last");
        }
        Ok(None) => tracing::warn!("the API server is away and nothing is known from before: waiting for it"),
        Err(error) => {
            tracing::warn!("the API server is away: {:#}", anyhow::Error::from(error));
        }
    }
    Ok(())
}
