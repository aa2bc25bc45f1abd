//! A look at every state that ever was: no address may be two Services' at once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client, ResourceExt,
    runtime::{watcher, watcher::Event},
};
use penstock_crds::{ALLOW_SHARED_IP, ALLOW_SHARED_IP_METALLB};
use tokio::task::JoinHandle;

use crate::shown;

/// Under this key, Services may share an address.
const SHARING: [&str; 2] = [ALLOW_SHARED_IP, ALLOW_SHARED_IP_METALLB];

/// The watch, which sees the states in the order in which they were; ends when dropped.
pub struct Doubles {
    found: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Doubles {
    /// Begins.
    #[must_use]
    pub fn watch(client: Client) -> Self {
        let found = Arc::new(Mutex::new(Vec::new()));
        let noted = found.clone();
        let task = tokio::spawn(async move {
            let mut services = HashMap::new();
            let events = watcher(Api::<Service>::all(client), watcher::Config::default());
            futures::pin_mut!(events);
            while let Some(event) = events.next().await {
                let doubled = see(&mut services, event);
                noted.lock().unwrap_or_else(PoisonError::into_inner).extend(doubled);
            }
        });
        Self { found, task }
    }

    /// What was found since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Doubles {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn see(
    services: &mut HashMap<String, Service>,
    event: Result<Event<Service>, watcher::Error>,
) -> Vec<String> {
    match event {
        Ok(Event::Apply(service) | Event::InitApply(service)) => {
            let doubled = services.values().filter_map(|other| doubled(&service, other)).collect();
            services.insert(service.name_any(), service);
            doubled
        }
        Ok(Event::Delete(service)) => {
            services.remove(&service.name_any());
            Vec::new()
        }
        Ok(Event::Init) => {
            services.clear();
            Vec::new()
        }
        // The watch goes on by itself.
        Ok(Event::InitDone) | Err(_) => Vec::new(),
    }
}

/// Says so when both show the same address and may not share it.
#[must_use]
pub fn doubled(a: &Service, b: &Service) -> Option<String> {
    if a.name_any() == b.name_any() || may_share(a, b) {
        return None;
    }
    let address = shown(a).into_iter().find(|address| shown(b).contains(address))?;
    Some(format!("{address} is held by {} and {} at once", a.name_any(), b.name_any()))
}

fn may_share(a: &Service, b: &Service) -> bool {
    let key = |service: &Service| SHARING.iter().find_map(|key| service.annotations().get(*key).cloned());
    let ports = |service: &Service| -> Vec<(i32, String)> {
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        ports.map(|p| (p.port, p.protocol.clone().unwrap_or_default())).collect()
    };
    let theirs = ports(b);
    key(a).is_some_and(|k| !k.is_empty() && Some(k) == key(b)) && !ports(a).iter().any(|p| theirs.contains(p))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(name: &str, address: &str, key: Option<&str>, port: u16) -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": name, "annotations": {"metallb.io/allow-shared-ip": key.unwrap_or_default()}},
            "spec": {"ports": [{"port": port, "protocol": "TCP"}]},
            "status": {"loadBalancer": {"ingress": [{"ip": address}]}}
        }))
        .unwrap()
    }

    #[test]
    fn an_address_of_two_is_found_unless_they_share_it() {
        let a = service("a", "203.0.113.1", None, 80);
        assert!(doubled(&a, &service("b", "203.0.113.1", None, 81)).is_some());
        assert!(doubled(&a, &service("b", "203.0.113.2", None, 80)).is_none());
        let a = service("a", "203.0.113.1", Some("k"), 80);
        assert!(doubled(&a, &service("b", "203.0.113.1", Some("k"), 81)).is_none());
        assert!(doubled(&a, &service("b", "203.0.113.1", Some("k"), 80)).is_some());
    }
}
