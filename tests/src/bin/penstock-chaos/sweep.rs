//! The sweep: every call of every story meets every fault, and every event of a watch. Of the stories with balancers
//! outside only the events of nodes and records do: the others have met Services' events often enough.

use penstock_tests::fault_proxy::{Call, CallFault, EventFault, WatchEvent};

use crate::run::{Recording, Trouble};

/// Collections whose events only stories with balancers outside have.
const NEWS: [&str; 2] = ["nodes", "loadbalancers"];

/// All that can go wrong in a story; `outside`: one with balancers outside.
pub(crate) fn troubles(recording: &Recording, outside: bool) -> Vec<Trouble> {
    let each = |calls: &[Call], trouble: fn(Call, CallFault) -> Trouble| {
        let each = |call: &Call| CallFault::ALL.map(|fault| trouble(call.clone(), fault));
        calls.iter().flat_map(each).collect::<Vec<_>>()
    };
    let calls = each(&recording.calls, Trouble::Call).into_iter();
    let provider = each(&recording.provider_calls, Trouble::Provider);
    let news = |event: &&WatchEvent| !outside || NEWS.contains(&event.collection.as_str());
    let events =
        recording.events.iter().filter(news).flat_map(|event| {
            EventFault::PROMPT.into_iter().map(|fault| Trouble::Event(event.clone(), fault))
        });
    // The client's time-out takes most of a minute: one per story, where the operator learns of the first Service.
    let first = recording.events.iter().find(|event| event.collection == "services");
    let silence = first.filter(|_| !outside).map(|event| Trouble::Event(event.clone(), EventFault::Silence));
    calls.chain(provider).chain(events).chain(silence).collect()
}
