//! The sweep: every call of every story meets every fault, and every event of a watch.

use penstock_tests::fault_proxy::{CallFault, EventFault};

use crate::run::{Recording, Trouble};

/// All that can go wrong in a story.
pub(crate) fn troubles(recording: &Recording) -> Vec<Trouble> {
    let calls = recording
        .calls
        .iter()
        .flat_map(|call| CallFault::ALL.into_iter().map(|fault| Trouble::Call(call.clone(), fault)));
    let events = recording
        .events
        .iter()
        .flat_map(|event| EventFault::PROMPT.into_iter().map(|fault| Trouble::Event(event.clone(), fault)));
    // The client's time-out takes most of a minute: one per story, where the operator learns of the first Service.
    let first = recording.events.iter().find(|event| event.collection == "services");
    let silence = first.map(|event| Trouble::Event(event.clone(), EventFault::Silence));
    calls.chain(events).chain(silence).collect()
}
