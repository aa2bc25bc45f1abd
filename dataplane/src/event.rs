//! What the node agent hears.

use futures::{Stream, StreamExt, stream::select_all};
use k8s_openapi::api::{core::v1 as core, discovery::v1 as discovery, networking::v1::ServiceCIDR};
use kube::{Api, Client, Resource, runtime::watcher};
use penstock_crds::ExternalIPPolicy;
use penstock_model::ObjectKey;
use penstock_runtime::{Update, optional_updates, pieces, updates};

use crate::{nftables::Touched, trim};

/// What a watch says of a kind with thousands of objects: waiting for all of them, the agent would hold them twice.
pub type Piece<K> = penstock_runtime::Piece<K, ObjectKey>;

/// What one of the watches says.
#[derive(Clone, Debug)]
pub enum Event {
    /// Of Services.
    Service(Box<Piece<core::Service>>),
    /// Of EndpointSlices.
    Slice(Box<Piece<discovery::EndpointSlice>>),
    /// Of Nodes.
    Node(Box<Update<core::Node>>),
    /// Of ExternalIPPolicies.
    ExternalIpPolicy(Box<Update<ExternalIPPolicy>>),
    /// Of ServiceCIDRs.
    ServiceCidr(Box<Update<ServiceCIDR>>),
    /// Of what others change in the kernel.
    Touched(Touched),
}

/// Watches what the dataplane needs, and no more: Services of other proxies and slices of headless
/// Services never cross the wire. ExternalIPPolicies need not be installed: without them no externalIP is served.
/// Nor need the API server have ServiceCIDRs (from 1.33 on): the flag names the ranges too.
pub fn events(client: &Client) -> impl Stream<Item = Event> + Send + use<> {
    let all = watcher::Config::default;
    let services = all().labels("!service.kubernetes.io/service-proxy-name");
    let services = pieces(Api::all(client.clone()), services, trim::service, key);
    let slices = all().labels("!service.kubernetes.io/headless");
    let slices = pieces(Api::all(client.clone()), slices, trim::slice, key);
    let nodes = updates(Api::all(client.clone()), all());
    let policies = optional_updates(Api::all(client.clone()), all());
    let ranges = optional_updates(Api::all(client.clone()), all());
    select_all([
        services.map(|piece| Event::Service(Box::new(piece))).boxed(),
        slices.map(|piece| Event::Slice(Box::new(piece))).boxed(),
        nodes.map(|update| Event::Node(Box::new(update))).boxed(),
        policies.map(|update| Event::ExternalIpPolicy(Box::new(update))).boxed(),
        ranges.map(|update| Event::ServiceCidr(Box::new(update))).boxed(),
    ])
}

fn key(object: &impl Resource) -> ObjectKey {
    ObjectKey::of(object.meta())
}
