//! A busy cluster's objects, generated: the same for the same seed, and partly others from round to round. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fastrand::Rng;
use serde_json::{Value, json};

use super::object::{Object, Objects};
use super::slices;

/// Where objects lie. Two are called as the branches of a domain are.
pub const NAMESPACES: [&str; 6] = ["default", "kube-system", "shop", "team-a", "svc", "pod"];
/// Those of them that the API server makes by itself.
const ITS_OWN: [&str; 2] = ["default", "kube-system"];
/// The address of both servers, besides loopback.
pub const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(172, 31, 0, 53);
/// From this round on both are behind a Service.
const BEHIND_A_SERVICE: u64 = 1;
/// The Service that has slices with names in place of addresses, in the namespace `pod`; no alias leads to it.
pub const OF_NAMES: &str = "names";
/// Services that have names of the scheme, or what the cluster's DNS is usually called.
const SPECIAL: [&str; 6] = ["svc", "kube-dns", "dns", "ns", "pod", OF_NAMES];

/// What is known of a Service that is worth a question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hint {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its ports and those of its slices, as `name` and `protocol`.
    pub ports: Vec<(String, String)>,
    /// Hostnames and addresses of its endpoints.
    pub endpoints: Vec<String>,
}

/// The objects of a round.
#[derive(Debug, Clone, PartialEq)]
pub struct Population {
    /// What the API server is to have.
    pub objects: Objects,
    /// One for each Service.
    pub hints: Vec<Hint>,
    /// Every address that an object has.
    pub addresses: Vec<IpAddr>,
}

/// A number for some numbers (SplitMix64).
pub fn mix(parts: &[u64]) -> u64 {
    parts.iter().fold(0x9e37_79b9_7f4a_7c15, |state, part| {
        let mut z = (state ^ part).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// One of these.
pub fn one<'a, T>(rng: &mut Rng, of: &'a [T]) -> &'a T {
    &of[rng.usize(..of.len())]
}

impl Population {
    /// The objects of a round: a fifth of the Services and Pods of the one before are others, or gone.
    pub fn new(seed: u64, round: u64, services: usize) -> Self {
        let mut this = Self { objects: ground(), hints: Vec::new(), addresses: vec![OWN_ADDRESS.into()] };
        for index in 0..services {
            let (mut rng, generation) = rng_of(seed, index, round);
            if generation == 0 || rng.u8(..10) > 0 || index < SPECIAL.len() {
                this.add_service(&mut rng, index, services, round);
            }
        }
        for index in 0..services / 5 {
            let (mut rng, _) = rng_of(seed, services + index, round);
            this.add_pod(&mut rng, index);
        }
        this
    }

    fn add(&mut self, object: Object) {
        self.objects.insert(object.path(), object);
    }

    fn add_service(&mut self, rng: &mut Rng, index: usize, services: usize, round: u64) {
        let namespace = NAMESPACES[index % NAMESPACES.len()];
        let name = SPECIAL.get(index).map_or_else(|| long_or_short(rng, index), |name| (*name).to_owned());
        let mut hint = Hint { namespace: namespace.into(), name: name.clone(), ..Hint::default() };
        let headless = (rng.u8(..10) < 4 || name == OF_NAMES) && name != "kube-dns";
        let spec = match rng.u8(..10) {
            _ if name == "kube-dns" => with_addresses(rng, index),
            _ if headless => json!({ "clusterIP": "None", "publishNotReadyAddresses": rng.bool() }),
            0..=3 => json!({ "type": "ExternalName", "externalName": target(rng, services) }),
            _ => with_addresses(rng, index),
        };
        let spec = with_ports(rng, spec, headless, &mut hint);
        let ips = spec["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str);
        self.addresses.extend(ips.filter_map(|ip| ip.parse::<IpAddr>().ok()));
        let body =
            json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": name }, "spec": spec });
        self.add(Object::new(format!("/api/v1/namespaces/{namespace}/services"), body));
        let count = if headless { rng.usize(0..=3) } else { usize::from(rng.bool()) };
        let mut made: Vec<Object> =
            (0..count).map(|at| slices::slice(rng, &mut hint, &format!("s{index}-{at}"))).collect();
        if name == "kube-dns" && round >= BEHIND_A_SERVICE {
            made.push(slices::of_address(&hint, OWN_ADDRESS));
        }
        self.addresses.extend(hint.endpoints.iter().filter_map(|text| text.parse::<IpAddr>().ok()));
        made.into_iter().for_each(|object| self.add(object));
        self.hints.push(hint);
    }

    fn add_pod(&mut self, rng: &mut Rng, index: usize) {
        let namespace = *one(rng, &["shop", "team-a"]);
        let metadata = match rng.u8(..10) {
            0 => json!({ "name": format!("p{index}"), "finalizers": ["penstock.dev/oracle"] }),
            _ => json!({ "name": format!("p{index}") }),
        };
        let body = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": { "containers": [{ "name": "c", "image": "none" }] },
        });
        // So that it need not be deleted twice to be gone.
        let phase = *one(rng, &["Running", "Running", "Running", "Pending", "Succeeded", "Failed"]);
        let ips: Vec<IpAddr> = match rng.u8(..4) {
            0 => Vec::new(),
            1 => vec![endpoint_v4(rng).into(), endpoint_v6(rng).into()],
            2 => vec![endpoint_v6(rng).into()],
            _ => vec![endpoint_v4(rng).into()],
        };
        let listed: Vec<Value> = ips.iter().map(|ip| json!({ "ip": ip.to_string() })).collect();
        let mut object = Object::new(format!("/api/v1/namespaces/{namespace}/pods"), body);
        object.status = Some(json!({ "status": {
            "phase": phase, "podIP": ips.first().map(ToString::to_string), "podIPs": listed } }));
        self.addresses.extend(ips);
        self.add(object);
    }
}

/// What decides about one object, and how many rounds have changed it.
fn rng_of(seed: u64, index: usize, round: u64) -> (Rng, u64) {
    let changed = |round: &u64| mix(&[seed, index as u64, *round]).is_multiple_of(5);
    let generation = (1..=round).filter(changed).count() as u64;
    (Rng::with_seed(mix(&[seed, index as u64, u64::MAX, generation])), generation)
}

/// Namespaces, and what Pods need in them.
fn ground() -> Objects {
    let named =
        |kind: &str, name: &str| json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } });
    let made = NAMESPACES.iter().filter(|name| !ITS_OWN.contains(name));
    let namespaces = made.map(|name| Object::new("/api/v1/namespaces", named("Namespace", name)));
    namespaces.map(|object| (object.path(), object)).collect()
}

/// What Pods need in their namespaces, which come first.
pub fn accounts() -> Vec<Object> {
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" } });
    let of = |name: &&str| Object::new(format!("/api/v1/namespaces/{name}/serviceaccounts"), account.clone());
    ["shop", "team-a"].iter().map(of).collect()
}

fn long_or_short(rng: &mut Rng, index: usize) -> String {
    match rng.u8(..20) {
        0 => format!("s{index:0>62}"),
        1 => format!("s{index}-0--x"),
        _ => format!("s{index}"),
    }
}

fn with_addresses(rng: &mut Rng, index: usize) -> Value {
    let (high, low) = (u8::try_from(1 + index / 200).unwrap_or(u8::MAX), (index % 200) as u8);
    let v4 = Ipv4Addr::new(10, 96, high, low + 1).to_string();
    let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0x96, 0, 0, 0, 0, 0x100 + index as u16).to_string();
    let (policy, ips, families) = match rng.u8(..4) {
        0 => ("SingleStack", vec![v6], vec!["IPv6"]),
        1 => ("RequireDualStack", vec![v4, v6], vec!["IPv4", "IPv6"]),
        2 => ("RequireDualStack", vec![v6, v4], vec!["IPv6", "IPv4"]),
        _ => ("SingleStack", vec![v4], vec!["IPv4"]),
    };
    json!({ "clusterIP": ips[0], "clusterIPs": ips, "ipFamilyPolicy": policy, "ipFamilies": families })
}

fn with_ports(rng: &mut Rng, mut spec: Value, headless: bool, hint: &mut Hint) -> Value {
    let optional = headless || spec["type"] == "ExternalName";
    let ports = match rng.u8(..6) {
        0 if optional => Vec::new(),
        0 | 1 => vec![("", "TCP", 80)],
        2 => vec![("http", "TCP", 80)],
        3 => vec![("dns", "UDP", 53), ("dns-tcp", "TCP", 53)],
        4 => vec![("http", "TCP", 80), ("http2", "TCP", 8080), ("signal", "SCTP", 36412)],
        _ => vec![("sip", "UDP", 5060)],
    };
    hint.ports.extend(ports.iter().map(|(name, protocol, _)| ((*name).to_owned(), (*protocol).to_owned())));
    let listed = ports.iter().map(|(name, protocol, port)| match name.is_empty() {
        true => json!({ "protocol": protocol, "port": port }),
        false => json!({ "name": name, "protocol": protocol, "port": port }),
    });
    let listed: Vec<Value> = listed.collect();
    if !listed.is_empty() {
        spec["ports"] = listed.into();
    }
    spec
}

/// Where an alias leads: to other Services, itself among them, and so in chains and loops; and outside.
fn target(rng: &mut Rng, services: usize) -> String {
    const OUTSIDE: [&str; 12] = [
        "www.example.test",
        "alias.example.test",
        "v6.example.test",
        "gone.example.test",
        "big.example.test",
        "far.example.test",
        "nowhere.invalid",
        "192.0.2.7",
        "www.example.test.",
        "cluster.local",
        "1.1.96.10.in-addr.arpa",
        "back.example.test",
    ];
    let domain = *one(rng, &["cluster.local", "cluster.local", "alt.example", "k8s.corp.test"]);
    let index = SPECIAL.len() + rng.usize(..services - SPECIAL.len());
    let (namespace, name) = (NAMESPACES[index % NAMESPACES.len()], format!("s{index}"));
    match rng.u8(..10) {
        0..=4 => format!("{name}.{namespace}.svc.{domain}"),
        5 => format!("nobody.{namespace}.svc.{domain}"),
        _ => (*one(rng, &OUTSIDE)).to_owned(),
    }
}

/// Few, so that one endpoint is in several Services.
pub fn endpoint_v4(rng: &mut Rng) -> Ipv4Addr {
    match rng.u8(..40) {
        0 => Ipv4Addr::new(10, 96, 1, rng.u8(1..200)), // also a Service's
        1 => Ipv4Addr::new(203, 0, 113, 9),            // others have a name for it
        _ => Ipv4Addr::new(10, 244, rng.u8(..2), rng.u8(1..250)),
    }
}

/// As [`endpoint_v4`], of the other family.
pub fn endpoint_v6(rng: &mut Rng) -> Ipv6Addr {
    match rng.u8(..10) {
        0 => Ipv6Addr::new(0xfd00, 0x244, 0, u16::from(rng.u8(1..9)), 0, 0, 0, 0),
        1 => Ipv6Addr::new(0xfd00, 0x244, 0, 0, 1, 0, 0, u16::from(rng.u8(..))),
        _ => Ipv6Addr::new(0xfd00, 0x244, 0, 0, 0, 0, 0, u16::from(rng.u8(1..))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns_oracle::object::changes;

    #[test]
    fn the_same_seed_makes_the_same_objects_and_another_round_makes_some_others() {
        let first = Population::new(7, 0, 60);
        assert_eq!(first, Population::new(7, 0, 60));
        assert_ne!(first.objects, Population::new(8, 0, 60).objects);
        let next = Population::new(7, 1, 60);
        let (gone, new) = changes(&first.objects, &next.objects);
        assert!(!gone.is_empty() && !new.is_empty(), "nothing changes");
        assert!(new.len() < next.objects.len() / 2, "{} of {} change", new.len(), next.objects.len());
    }

    #[test]
    fn all_kinds_of_services_are_there() {
        let all = Population::new(1, 0, 300);
        let specs: Vec<&Value> = all.objects.values().map(|object| &object.body["spec"]).collect();
        let count = |is: &dyn Fn(&Value) -> bool| specs.iter().filter(|spec| is(spec)).count();
        assert!(count(&|spec| spec["type"] == "ExternalName") > 20);
        assert!(count(&|spec| spec["clusterIP"] == "None") > 50);
        assert!(count(&|spec| spec["ipFamilyPolicy"] == "RequireDualStack") > 20);
        assert!(count(&|spec| spec["ports"].as_array().is_some_and(|ports| ports.len() == 3)) > 10);
    }
}
