//! The cluster that is asked about, and the questions. Pure.

use fastrand::Rng;
use serde_json::json;

use crate::dns_oracle::object::Object;

/// Services lie in so many namespaces.
const NAMESPACES: usize = 20;
/// Every tenth Service is headless.
const HEADLESS: usize = 10;

/// How large the cluster is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) services: usize,
    /// Of each Service, in one slice.
    pub(super) endpoints: usize,
}

fn namespace(number: usize) -> String {
    format!("team-{}", number % NAMESPACES)
}

/// Whether it has no address without endpoints.
pub(super) fn is_headless(number: usize) -> bool {
    number.is_multiple_of(HEADLESS)
}

/// Namespaces first.
pub(super) fn namespaces() -> Vec<Object> {
    let object = |number| Object::new("/api/v1/namespaces", json!({"metadata": {"name": namespace(number)}}));
    (0..NAMESPACES).map(object).collect()
}

/// Services and their slices.
pub(super) fn objects(size: Size) -> Vec<Object> {
    (0..size.services).flat_map(|number| [service(number), slice(number, size.endpoints)]).collect()
}

/// One Service.
pub(super) fn service(number: usize) -> Object {
    let ports = json!([{"name": "http", "port": 80}]);
    let spec = match is_headless(number) {
        true => json!({"clusterIP": "None", "ports": ports}),
        false => json!({"ports": ports}),
    };
    let collection = format!("/api/v1/namespaces/{}/services", namespace(number));
    Object::new(collection, json!({"metadata": {"name": format!("service-{number}")}, "spec": spec}))
}

fn slice(number: usize, endpoints: usize) -> Object {
    let address = |n: usize| {
        let [_, a, b, c] = u32::try_from(number * endpoints + n).unwrap_or(u32::MAX).to_be_bytes();
        json!({"addresses": [format!("10.{a}.{b}.{c}")]})
    };
    let namespace = namespace(number);
    let name = format!("service-{number}");
    let body = json!({
        "metadata": {"name": format!("{name}-1"), "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": (0..endpoints).map(address).collect::<Vec<_>>(),
    });
    Object::new(format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"), body)
}

/// A Service's name.
pub(super) fn name(number: usize) -> String {
    format!("service-{number}.{}.svc.cluster.local", namespace(number))
}

/// What Pods ask, in dnsperf's words: mostly addresses of ClusterIPs, some of headless Services, a few SRV, and names that a
/// search path makes and that do not exist.
pub(super) fn questions(size: Size, count: usize, seed: u64) -> String {
    let mut rng = Rng::with_seed(seed);
    let mut text = String::new();
    for _ in 0..count {
        let number = rng.usize(..size.services);
        let line = match rng.u32(..100) {
            0..60 => format!("{} A\n", name(number)),
            60..80 => format!("{} AAAA\n", name(number)),
            80..85 => format!("_http._tcp.{} SRV\n", name(number)),
            _ => format!("www.example.test.{}.svc.cluster.local A\n", namespace(number)),
        };
        text.push_str(&line);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_given_twice_and_questions_are_the_same_for_a_seed() {
        let size = Size { services: 50, endpoints: 10 };
        let all = objects(size);
        let slices = all.iter().filter_map(|object| object.body["endpoints"].as_array());
        let addresses: Vec<String> = slices.flatten().map(|e| e["addresses"][0].to_string()).collect();
        let distinct: std::collections::BTreeSet<&String> = addresses.iter().collect();
        assert_eq!((addresses.len(), distinct.len()), (500, 500));
        assert_eq!(questions(size, 100, 1), questions(size, 100, 1));
        assert_ne!(questions(size, 100, 1), questions(size, 100, 2));
    }
}
