//! Watches of the API server, which keep the index as the cluster is. While the server is away, it stays as it was.

use std::{fmt::Debug, time::SystemTime};

use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{Namespace, Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, Client, Resource, ResourceExt, runtime::watcher::Config};
use penstock_model::ObjectKey;
use penstock_runtime::{Piece, Readiness, pieces, trim_metadata};
use serde::de::DeserializeOwned;

use crate::{
    index::{Kind, PodNames, RecordIndex},
    resolver::SharedIndex,
};

/// How an object of a kind goes into the index.
struct Rules<K> {
    kind: Kind,
    apply: fn(&mut RecordIndex, &K) -> bool,
    delete: fn(&mut RecordIndex, &ObjectKey) -> bool,
}

/// Watches everything that records follow from; never ends.
pub async fn follow(client: Client, index: SharedIndex, pod_names: PodNames, ready: Readiness) {
    let services =
        Rules { kind: Kind::Service, apply: RecordIndex::apply_service, delete: RecordIndex::delete_service };
    let slices =
        Rules { kind: Kind::Slice, apply: RecordIndex::apply_slice, delete: RecordIndex::delete_slice };
    let namespaces = Rules {
        kind: Kind::Namespace,
        apply: RecordIndex::apply_namespace,
        delete: |index, key| index.delete_namespace(&key.name),
    };
    tokio::join!(
        watch::<Service>(&client, Config::default(), &index, &services, &ready),
        watch::<EndpointSlice>(&client, Config::default(), &index, &slices, &ready),
        watch::<Namespace>(&client, Config::default(), &index, &namespaces, &ready),
        follow_pods(&client, pod_names, &index, &ready),
    );
}

async fn follow_pods(client: &Client, pod_names: PodNames, index: &SharedIndex, ready: &Readiness) {
    const ALIVE: &str = "status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown";
    if pod_names == PodNames::Verified {
        let pods = Rules { kind: Kind::Pod, apply: RecordIndex::apply_pod, delete: RecordIndex::delete_pod };
        watch::<Pod>(client, Config::default().fields(ALIVE), index, &pods, ready).await;
    }
}

async fn watch<K>(client: &Client, config: Config, index: &SharedIndex, rules: &Rules<K>, ready: &Readiness)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let api = Api::<K>::all(client.clone());
    let stream = pieces(api, config, |object: &mut K| trim_metadata(object.meta_mut()), key);
    let mut stream = std::pin::pin!(stream);
    while let Some(piece) = stream.next().await {
        let changed = take(&mut index.write(), rules, &piece);
        let complete = !ready.is_ready() && index.read().is_synced();
        if complete {
            ready.set_ready();
        }
        if changed || complete {
            index.note_change();
        }
    }
}

fn key<K: Resource>(object: &K) -> ObjectKey {
    ObjectKey::new(object.namespace().unwrap_or_default(), object.name_any())
}

/// Returns whether a record may differ now.
fn take<K: Resource>(index: &mut RecordIndex, rules: &Rules<K>, piece: &Piece<K, ObjectKey>) -> bool {
    let changed = match piece {
        Piece::Apply(object) => (rules.apply)(index, object),
        Piece::Delete(object) => (rules.delete)(index, &key(object)),
        Piece::Complete(kept) => index.retain(rules.kind, kept),
    };
    if changed {
        index.changed_at(now());
    }
    changed
}

/// Seconds since the epoch, as a serial.
fn now() -> u32 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}
