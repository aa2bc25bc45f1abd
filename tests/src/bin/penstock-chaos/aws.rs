//! An account of AWS. As there, only for a shorter time, what was just made is not shown.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use penstock_tests::{
    aws_endpoint::{ACCESS_KEY, AwsEndpoint, Clock, Listener, REGION, Settings, Store, Tags, VPC},
    aws_lab::instance,
};
use serde_json::{Value, json};

use crate::cloud::Account;

/// So long what was just made is not shown.
const LAG: Duration = Duration::from_millis(400);

/// What the operator's process finds its credentials in; every secret is right.
pub(crate) const CREDENTIALS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
    ("AWS_SECRET_ACCESS_KEY", "s3cret"),
    // What has no credentials here must not ask for those of a machine.
    ("AWS_EC2_METADATA_DISABLED", "true"),
];

/// See the module.
pub(crate) struct Aws(AwsEndpoint);

impl Aws {
    pub(crate) async fn start() -> Result<Self> {
        Ok(Self(AwsEndpoint::start().await?))
    }
}

impl Account for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn url(&self) -> String {
        self.0.url()
    }

    fn clear(&self) {
        let settings = Settings { describe_lag: LAG, ..Settings::default() };
        *self.0.store() = Store::new(settings, Clock::running());
    }

    fn class(&self, url: &str) -> Value {
        let parameters = json!({"region": REGION, "vpcId": VPC, "clusterName": "chaos", "endpointUrl": url,
            "internalSubnets": ["subnet-a", "subnet-b"]});
        json!({"provider": "aws", "aws": parameters})
    }

    fn machine(&self, number: u8) -> String {
        instance(number)
    }

    fn provider_id(&self, machine: &str) -> String {
        format!("aws:///{REGION}a/{machine}")
    }

    fn balancers(&self) -> Vec<Value> {
        balancers(&self.0.store())
    }

    fn parts(&self) -> usize {
        self.0.store().target_groups.len()
    }

    fn strays(&self, live: &BTreeSet<&str>) -> Vec<String> {
        strays(&self.0.store(), live)
    }

    fn is_empty(&self) -> bool {
        self.0.store().is_empty()
    }
}

fn balancers(store: &Store) -> Vec<Value> {
    let each = store.load_balancers.iter().map(|(arn, held)| {
        let mut listeners: Vec<&Listener> =
            store.listeners.values().filter(|listener| listener.load_balancer == *arn).collect();
        listeners.sort_by_key(|listener| listener.wish.port);
        let listeners: Vec<Value> = listeners.into_iter().map(|held| of_listener(store, held)).collect();
        json!({"service": held.tags.get(SERVICE), "scheme": held.shape.scheme, "attributes": held.attributes,
            "listeners": listeners})
    });
    let mut all: Vec<Value> = each.collect();
    all.sort_by_key(ToString::to_string);
    all
}

fn of_listener(store: &Store, held: &Listener) -> Value {
    let group = store.target_groups.get(&held.wish.target_group);
    let registered = group.into_iter().flat_map(|group| &group.targets);
    let live = registered.filter(|(_, target)| target.deregistered.is_none());
    let targets: Vec<String> = live.map(|((id, port), _)| format!("{id}:{port}")).collect();
    json!({"port": held.wish.port, "protocol": held.wish.protocol, "targets": targets})
}

/// The tags that say whose something is.
const SERVICE: &str = "penstock.dev/service";
const SERVICE_UID: &str = "penstock.dev/service-uid";

/// What belongs to no Service that is there, is there twice for one, or serves nobody: every sentence is something that
/// must not be at rest.
fn strays(store: &Store, live: &BTreeSet<&str>) -> Vec<String> {
    let dead = |tags: &Tags| tags.get(SERVICE_UID).is_none_or(|uid| !live.contains(uid.as_str()));
    let mut found = Vec::new();
    for held in store.load_balancers.values() {
        if dead(&held.tags) {
            found.push("a balancer belongs to no Service".to_owned());
        }
        let owner = held.tags.get(SERVICE_UID);
        let same = store.load_balancers.values().filter(|other| other.tags.get(SERVICE_UID) == owner);
        if same.count() > 1 {
            found.push("a Service has two balancers".to_owned());
        }
    }
    for held in store.target_groups.values() {
        match () {
            () if dead(&held.tags) => found.push("a target group belongs to no Service".to_owned()),
            () if held.attached.is_none() => found.push("no listener uses a target group".to_owned()),
            () => {}
        }
    }
    for held in store.listeners.values() {
        let (balancer, group) =
            (store.load_balancers.get(&held.load_balancer), store.target_groups.get(&held.wish.target_group));
        let owners = (
            balancer.map(|balancer| balancer.tags.get(SERVICE_UID)),
            group.map(|group| group.tags.get(SERVICE_UID)),
        );
        if owners.0 != owners.1 || owners.0.is_none() {
            found.push("a listener sends from one Service's balancer to another's targets".to_owned());
        }
    }
    found
}
