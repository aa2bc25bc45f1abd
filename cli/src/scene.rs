//! What the operator knows, made from the same objects by the same functions: pure.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, RwLock},
};

use k8s_openapi::{
    api::{
        core::v1::{Node, Service},
        discovery::v1::EndpointSlice,
    },
    jiff::Timestamp,
};
use kube::ResourceExt;
use penstock_crds::{IPAddressPool, LoadBalancer, LoadBalancerClass};
use penstock_model::{EndpointIndex, ObjectKey};
use penstock_operator::{ClassVerdict, Classes, World, adopt};
use penstock_providers::{
    Target,
    pool::{PoolProvider, Verdicts, judge},
};

/// The objects that the operator decides by.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    /// All LoadBalancerClasses.
    pub classes: Vec<LoadBalancerClass>,
    /// The IPAddressPools of the operator's namespace.
    pub pools: Vec<IPAddressPool>,
    /// The labels of each namespace.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// All nodes.
    pub nodes: Vec<Node>,
    /// All Services.
    pub services: Vec<Service>,
    /// The endpoints of all Services, where some class may send to them.
    pub slices: Vec<EndpointSlice>,
    /// The records of what was built outside.
    pub records: Vec<LoadBalancer>,
}

/// The operator's view of them, right after it has adopted what the statuses say.
#[derive(Debug)]
pub struct Scene {
    /// The objects.
    pub objects: Objects,
    /// What counts for every decision.
    pub world: World,
    /// What became of each class.
    pub class_verdicts: BTreeMap<String, ClassVerdict>,
    /// What became of each pool.
    pub pool_verdicts: Verdicts,
    /// Who holds which address.
    pub pool: PoolProvider,
}

impl Scene {
    /// Judges classes and pools, then takes over what the Services' statuses say.
    #[must_use]
    pub fn of(objects: Objects) -> Self {
        let (classes, class_verdicts) = Classes::judge(&objects.classes);
        let mut targets: Vec<Target> = objects.nodes.iter().filter_map(Target::of).collect();
        targets.sort_by(|a, b| a.node.cmp(&b.node));
        // What externalIPs are examined against counts for no plan.
        let mut endpoints = EndpointIndex::default();
        objects.slices.iter().for_each(|slice| drop(endpoints.apply(slice)));
        let labels = |node: &Node| (node.name_any(), node.labels().clone());
        let world = World {
            classes,
            namespaces: objects.namespaces.clone(),
            targets,
            node_labels: objects.nodes.iter().map(labels).collect(),
            endpoints: Some(Arc::new(RwLock::new(endpoints))),
            ..World::default()
        };
        let pool_verdicts = judge(&objects.pools);
        let pool = PoolProvider::default();
        pool.configure(&pool_verdicts);
        adopt(&pool, &objects.services, &world);
        Self { objects, world, class_verdicts, pool_verdicts, pool }
    }

    /// The record of this very Service.
    #[must_use]
    pub fn record(&self, service: &Service) -> Option<&LoadBalancer> {
        let key = ObjectKey::of(&service.metadata);
        self.objects.records.iter().find(|record| ObjectKey::of(&record.metadata) == key)
    }

    /// The Services, those that hold something first and then the older first: whoever holds an address keeps it
    /// before others are served. Of the same age one that is only planned comes last.
    #[must_use]
    pub fn in_turn(&self) -> Vec<&Service> {
        let mut services: Vec<&Service> = self.objects.services.iter().collect();
        services.sort_by_cached_key(|s| {
            let created = s.metadata.creation_timestamp.as_ref().map(|t| t.0);
            (Reverse(!shown(s).is_empty()), created)
        });
        services
    }
}

impl Objects {
    /// Puts a Service in the place of the one of its name.
    pub fn put_service(&mut self, service: Service) {
        let key = ObjectKey::of(&service.metadata);
        self.services.retain(|s| ObjectKey::of(&s.metadata) != key);
        self.services.push(service);
    }

    /// Puts a pool in the place of the one of its name, with its age; a new one is the youngest.
    pub fn put_pool(&mut self, mut pool: IPAddressPool, now: Timestamp) {
        let (mine, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.pools).into_iter().partition(|p| p.name_any() == pool.name_any());
        inherit_age(&mut pool.metadata, mine.first().map(|p| &p.metadata), now);
        self.pools = others;
        self.pools.push(pool);
    }

    /// Puts a class in the place of the one of its name, with its age; a new one is the youngest.
    pub fn put_class(&mut self, mut class: LoadBalancerClass, now: Timestamp) {
        let (mine, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.classes).into_iter().partition(|c| c.name_any() == class.name_any());
        inherit_age(&mut class.metadata, mine.first().map(|c| &c.metadata), now);
        self.classes = others;
        self.classes.push(class);
    }
}

type Meta = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Of two that clash the older counts, so that the age of one that is only planned matters.
fn inherit_age(meta: &mut Meta, before: Option<&Meta>, now: Timestamp) {
    let created = before.and_then(|b| b.creation_timestamp.clone());
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now);
    meta.creation_timestamp = Some(created.unwrap_or(now));
}

/// The addresses and names that a Service's status shows.
#[must_use]
pub fn shown(service: &Service) -> Vec<String> {
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = balancer.and_then(|b| b.ingress.as_deref()).unwrap_or_default();
    ingress.iter().filter_map(|i| i.ip.clone().or_else(|| i.hostname.clone())).collect()
}
