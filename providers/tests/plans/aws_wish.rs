//! What Services want of AWS, in few words: see `aws_cases.txt`.

use k8s_openapi::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use penstock_crds::{AWS_ADOPT, AWS_PREFIX, AwsParameters};
use penstock_model::{Family, Protocol, TrafficPolicy};
use penstock_providers::{Certificate, Desired, EndpointTarget, FamilyNeed, Frontend, Request, Target};

use crate::endpoint_model::ip;

/// A class and a Service.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) parameters: AwsParameters,
    pub(crate) desired: Desired,
}

pub(crate) fn parameters() -> AwsParameters {
    AwsParameters {
        region: "eu-central-1".into(),
        vpc_id: "vpc-1".into(),
        cluster_name: "blue".into(),
        internal_subnets: vec!["subnet-a".into(), "subnet-b".into()],
        public_subnets: vec!["subnet-x".into(), "subnet-y".into()],
        ..AwsParameters::default()
    }
}

pub(crate) fn instance(number: &str) -> Target {
    Target {
        node: format!("node-{number}"),
        provider_id: Some(format!("aws:///eu-central-1a/i-{number}")),
        addresses: vec![ip("198.51.100.1")],
    }
}

/// What a Secret holds: always the same, so that plans are. Nobody trusts these certificates.
fn certificate(which: &str) -> Certificate {
    let (certificate, key) = match which {
        "first" => (include_str!("certificates/first.crt"), include_str!("certificates/first.key")),
        "second" => (include_str!("certificates/second.crt"), include_str!("certificates/second.key")),
        other => panic!("{other} is no certificate"),
    };
    let mut secret = Secret::default();
    (secret.metadata.namespace, secret.metadata.name) = (Some("shop".into()), Some("web-tls".into()));
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
    secret.data = Some([("tls.crt".into(), bytes(certificate)), ("tls.key".into(), bytes(key))].into());
    Certificate::of(&secret, Timestamp::from_second(1_800_000_000).unwrap()).unwrap()
}

impl Wish {
    /// Words apart by spaces.
    pub(crate) fn of(text: &str) -> Self {
        let families = vec![FamilyNeed { family: Family::IPv4, required: true }];
        let mut wish = Self { parameters: parameters(), desired: Desired { families, ..Desired::default() } };
        text.split_whitespace().for_each(|word| wish.add(word));
        if wish.desired.targets.is_empty() {
            wish.desired.targets = ["1", "2"].map(instance).into();
        }
        wish
    }

    fn add(&mut self, word: &str) {
        if let Some(annotation) = word.strip_prefix('@') {
            let (key, value) = annotation.split_once('=').unwrap();
            let key = if key == "adopt" { AWS_ADOPT.to_owned() } else { format!("{AWS_PREFIX}{key}") };
            self.desired.options.insert(key, value.replace('~', " "));
        } else if let Some(default) = word.strip_prefix("class:") {
            self.set_class(default);
        } else if let Some((protocol @ ("tcp" | "udp"), rest)) = word.split_once('/') {
            self.add_port(protocol, rest);
        } else {
            self.set(word);
        }
    }

    fn set_class(&mut self, default: &str) {
        let list = |value: &str| value.split(',').filter(|s| !s.is_empty()).map(ToOwned::to_owned).collect();
        match default.split_once('=').unwrap() {
            ("vpc", value) => self.parameters.vpc_id = value.to_owned(),
            ("internal", value) => self.parameters.internal_subnets = list(value),
            ("public", value) => self.parameters.public_subnets = list(value),
            ("adoption", value) => self.parameters.allow_adoption = value == "yes",
            ("tag", value) => {
                let (key, value) = value.split_once(':').unwrap();
                self.parameters.tags.insert(key.to_owned(), value.to_owned());
            }
            (key, value) => {
                self.parameters.defaults.insert(key.to_owned(), value.to_owned());
            }
        }
    }

    /// `tcp/80`, `tcp/80:30080`, `tcp/80:-`, `tcp/web=80`
    fn add_port(&mut self, protocol: &str, rest: &str) {
        let protocol = if protocol == "tcp" { Protocol::Tcp } else { Protocol::Udp };
        let (port, node_port) = rest.split_once(':').unwrap_or((rest, ""));
        let (name, port) = port.split_once('=').unwrap_or(("", port));
        let port: u16 = port.parse().unwrap();
        let node_port = match node_port {
            "-" => None,
            "" => Some(30_000 + port % 1000),
            number => Some(number.parse().unwrap()),
        };
        if !name.is_empty() {
            self.desired.port_names.insert(name.to_owned(), port);
        }
        self.desired.frontends.push(Frontend { protocol, port, node_port });
    }

    fn set(&mut self, word: &str) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        let desired = &mut self.desired;
        match key {
            "nodes" => desired.targets = value.split(',').map(instance).collect(),
            "many" => {
                desired.targets =
                    (0..value.parse::<u32>().unwrap()).map(|n| instance(&format!("{n:04}"))).collect()
            }
            "alien" => desired.targets.push(Target { provider_id: Some(value.into()), ..instance("x") }),
            "local" => {
                desired.traffic_policy = TrafficPolicy::Local;
                desired.health_check_node_port = Some(31_234);
            }
            "affinity" => desired.affinity_seconds = Some(10_800),
            "range" => desired.source_ranges.push(value.parse().unwrap()),
            "ip" => desired.request = Request { addresses: vec![ip(value)], ..Request::default() },
            "pool" => desired.request = Request { pool: Some(value.into()), ..Request::default() },
            "v6" => desired.families = vec![FamilyNeed { family: Family::IPv6, required: true }],
            "dual" => {
                desired.families.push(FamilyNeed { family: Family::IPv6, required: value == "required" })
            }
            "tls" => desired.certificate = Some(certificate(value)),
            // `ep=80>10.0.0.1>8080`
            "ep" | "udp-ep" => {
                let protocol = if key == "ep" { Protocol::Tcp } else { Protocol::Udp };
                let parts: Vec<&str> = value.split('>').collect();
                let endpoints = desired.endpoints.get_or_insert_default();
                if let [port, address, target] = parts[..] {
                    let (port, target_port) = (port.parse().unwrap(), target.parse().unwrap());
                    endpoints.push(EndpointTarget { protocol, port, address: ip(address), target_port });
                }
            }
            other => panic!("{other} means nothing"),
        }
    }
}
