//! All that an announcer hears, as one stream: watches of the API server, and what tasks of this process say.

use std::fmt::Debug;

use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use kube::{Api, Client, Resource, runtime::watcher};
use penstock_runtime::{Update, updates};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use crate::{Input, lease};

/// Pools, advertisements and routers count in one namespace: whoever may write them decides which addresses the nodes
/// answer for.
pub(crate) fn inputs(
    client: &Client,
    namespace: &str,
    heard: mpsc::Receiver<Input>,
) -> impl Stream<Item = Input> + use<> {
    let all = watcher::Config::default;
    let heard = stream::unfold(heard, |mut heard| async { heard.recv().await.map(|input| (input, heard)) });
    stream::select_all([
        watch(Api::all(client.clone()), all(), Input::Services),
        watch(Api::all(client.clone()), all(), Input::Slices),
        watch(Api::all(client.clone()), all(), Input::Nodes),
        watch(Api::namespaced(client.clone(), namespace), all(), Input::Pools),
        watch(Api::namespaced(client.clone(), namespace), all(), Input::Advertisements),
        watch(Api::namespaced(client.clone(), namespace), all(), Input::RouteAdvertisements),
        watch(Api::namespaced(client.clone(), namespace), all(), Input::Peers),
        watch(Api::namespaced(client.clone(), namespace), all(), Input::BfdProfiles),
        watch(Api::namespaced(client.clone(), namespace), all(), Input::Communities),
        watch(Api::namespaced(client.clone(), namespace), lease::watch_config(), Input::Leases),
        heard.boxed(),
    ])
}

fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    input: fn(Box<Update<K>>) -> Input,
) -> BoxStream<'static, Input>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    updates(api, config).map(move |update| input(Box::new(update))).boxed()
}
