//! Watches of the API server that notice a silent connection and never end.

use std::{collections::BTreeSet, fmt::Debug, future::ready, time::Duration};

use backon::ExponentialBuilder;
use futures::{Stream, StreamExt, stream};
use kube::{
    Api, Resource,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        utils::ResetTimerBackoff,
        watcher::{self, ExponentialBackoff, watcher},
    },
};
use serde::de::DeserializeOwned;

/// The server ends a watch after this many seconds and we ask again: a half-open connection is noticed
/// then, not after kube's default of 295 s.
const WATCH_SECONDS: u32 = 30;

/// What a watch says.
#[derive(Clone, Debug, PartialEq)]
pub enum Update<K> {
    /// The complete list: at the start, and after the server forgot where we were.
    Reset(Vec<K>),
    /// An object is new or changed.
    Apply(K),
    /// An object is gone; this is its last state.
    Delete(K),
}

/// What a watch says without waiting for the rest of a list.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece<K, N> {
    /// An object is new or changed, or it is as it was, and in a list that is about to come.
    Apply(K),
    /// An object is gone; this is its last state.
    Delete(K),
    /// A list has come: all objects that are not in it are gone.
    Complete(BTreeSet<N>),
}

/// The first pause after a failed watch.
const SHORTEST_PAUSE: Duration = Duration::from_millis(400);
/// After an outage of the API server everybody is back within this time (kube's default is 30 s).
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// A watch that held this long had recovered: the next pause is short again.
const RECOVERED: Duration = Duration::from_secs(30);

/// The events of all objects of a kind, with a time-out and backoff as all of ours have.
pub fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let pauses = ExponentialBuilder::new()
        .with_min_delay(SHORTEST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times();
    let backoff = ResetTimerBackoff::new(ExponentialBackoff::from(pauses), RECOVERED);
    watcher(api, config.timeout(WATCH_SECONDS)).backoff(backoff)
}

/// The updates of all objects of a kind. Errors are logged and retried with backoff; what was known
/// before them stays.
pub fn updates<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Update<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let mut listed = Vec::new();
    logged(api, config).filter_map(move |event| ready(collect(&mut listed, event)))
}

/// As [`updates`], for kinds with thousands of objects, which are not held until their list is complete. `trim` takes from
/// each what nobody looks at, `key` names it.
pub fn pieces<K, N>(
    api: Api<K>,
    config: watcher::Config,
    trim: impl Fn(&mut K) + Send,
    key: impl Fn(&K) -> N + Send,
) -> impl Stream<Item = Piece<K, N>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
    N: Ord + Send,
{
    let mut listed = BTreeSet::new();
    logged(api, config).filter_map(move |event| {
        let event = event.modify(&trim);
        ready(piece(&mut listed, &key, event))
    })
}

/// Without its errors: the watch goes on after them.
fn logged<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = watcher::Event<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    watch(api, config).filter_map(move |event| {
        ready(event.inspect_err(|error| tracing::warn!(kind, %error, "watch failed, trying again")).ok())
    })
}

/// As [`updates`], for kinds of which a stored object may be one that this version cannot read (a newer version
/// wrote it): it is logged and left out, and the others go on.
pub fn readable_updates<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
) -> impl Stream<Item = Update<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    updates(api, config).map(readable).flat_map(stream::iter)
}

pub(crate) fn readable<K: Resource>(update: Update<DeserializeGuard<K>>) -> Option<Update<K>> {
    match update {
        Update::Reset(objects) => Some(Update::Reset(objects.into_iter().filter_map(decoded).collect())),
        Update::Apply(object) => decoded(object).map(Update::Apply),
        Update::Delete(object) => decoded(object).map(Update::Delete),
    }
}

fn decoded<K>(guard: DeserializeGuard<K>) -> Option<K> {
    match guard.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            let name = invalid.metadata.name.unwrap_or_default();
            tracing::warn!(
                name,
                error = invalid.error,
                "an object cannot be read by this version and is left out"
            );
            None
        }
    }
}

/// A relist arrives piece by piece; it is passed on as one value, so that nobody acts on half of it.
pub(crate) fn collect<K>(listed: &mut Vec<K>, event: watcher::Event<K>) -> Option<Update<K>> {
    match event {
        watcher::Event::Init => listed.clear(),
        watcher::Event::InitApply(object) => listed.push(object),
        watcher::Event::InitDone => return Some(Update::Reset(std::mem::take(listed))),
        watcher::Event::Apply(object) => return Some(Update::Apply(object)),
        watcher::Event::Delete(object) => return Some(Update::Delete(object)),
    }
    None
}

/// What a list lacks is known once it is complete; what it has is true at once.
fn piece<K, N: Ord>(
    listed: &mut BTreeSet<N>,
    key: impl Fn(&K) -> N,
    event: watcher::Event<K>,
) -> Option<Piece<K, N>> {
    match event {
        watcher::Event::Init => {
            listed.clear();
            None
        }
        watcher::Event::InitApply(object) => {
            listed.insert(key(&object));
            Some(Piece::Apply(object))
        }
        watcher::Event::InitDone => Some(Piece::Complete(std::mem::take(listed))),
        watcher::Event::Apply(object) => Some(Piece::Apply(object)),
        watcher::Event::Delete(object) => Some(Piece::Delete(object)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_in_pieces_names_at_its_end_what_it_had_since_it_began_last() {
        use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
        let mut listed = BTreeSet::new();
        let events = [Init, InitApply(1), Init, InitApply(2), InitApply(3), InitDone, Apply(4), Delete(2)];
        let pieces: Vec<_> = events.into_iter().filter_map(|e| piece(&mut listed, |n| n * 10, e)).collect();
        let complete = Piece::Complete(BTreeSet::from([20, 30]));
        let [one, two, three] = [1, 2, 3].map(Piece::Apply);
        assert_eq!(pieces, [one, two, three, complete, Piece::Apply(4), Piece::Delete(2)]);
    }

    #[test]
    fn a_list_is_passed_on_whole_and_an_interrupted_one_not_at_all() {
        use watcher::Event::{Apply, Init, InitApply, InitDone};
        let mut listed = Vec::new();
        let events = [Init, InitApply(1), Init, InitApply(2), InitApply(3), InitDone, Apply(4)];
        let updates: Vec<_> = events.into_iter().filter_map(|e| collect(&mut listed, e)).collect();
        assert_eq!(updates, vec![Update::Reset(vec![2, 3]), Update::Apply(4)]);
    }
}
