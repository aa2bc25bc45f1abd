//! Everything that an account has, without what differs from run to run: for comparing the ends of runs.

use serde_json::{Value, json};

use super::{
    listener::Listener, load_balancer::LoadBalancer, store::Store, target::TargetKey,
    target_group::TargetGroup,
};

impl Store {
    /// By name, without ARNs, times and serial numbers; draining targets are left out.
    #[must_use]
    pub fn summary(&self) -> Value {
        let mut balancers: Vec<Value> =
            self.load_balancers.iter().map(|(arn, held)| self.of_balancer(arn, held)).collect();
        let mut groups: Vec<Value> = self.target_groups.values().map(of_group).collect();
        let mut certificates: Vec<Value> =
            self.certificates.values().map(|held| json!({"tags": held.tags})).collect();
        for list in [&mut balancers, &mut groups, &mut certificates] {
            list.sort_by_key(ToString::to_string);
        }
        json!({"loadBalancers": balancers, "targetGroups": groups, "certificates": certificates})
    }

    fn of_balancer(&self, arn: &str, held: &LoadBalancer) -> Value {
        let mut listeners: Vec<&Listener> =
            self.listeners.values().filter(|listener| listener.load_balancer == arn).collect();
        listeners.sort_by_key(|listener| listener.wish.port);
        let listeners: Value = listeners.into_iter().map(|listener| self.of_listener(listener)).collect();
        let shape = &held.shape;
        let subnets: Value = shape
            .mappings
            .iter()
            .map(|(subnet, held)| {
                json!({"subnet": subnet, "allocation": held.allocation, "private": held.private})
            })
            .collect();
        json!({
            "name": held.name, "scheme": shape.scheme, "ipAddressType": shape.ip_address_type, "subnets": subnets,
            "securityGroups": shape.security_groups, "tags": held.tags, "attributes": held.attributes,
            "listeners": listeners
        })
    }

    fn of_listener(&self, held: &Listener) -> Value {
        let wish = &held.wish;
        let group = self.target_groups.get(&wish.target_group).map(|group| &group.name);
        let tags = |arn: &String| self.certificates.get(arn).map(|certificate| &certificate.tags);
        json!({
            "port": wish.port, "protocol": wish.protocol, "targetGroup": group, "sslPolicy": wish.ssl_policy,
            "alpnPolicy": wish.alpn_policy, "certificate": wish.certificate.as_ref().and_then(tags),
            "moreCertificates": held.more_certificates.len(), "tags": held.tags,
            "attributes": held.attributes
        })
    }
}

fn of_group(held: &TargetGroup) -> Value {
    let (kind, check) = (&held.kind, &held.check);
    let registered = held.targets.iter().filter(|(_, target)| target.deregistered.is_none());
    let targets: Vec<&TargetKey> = registered.map(|(key, _)| key).collect();
    json!({
        "name": held.name, "protocol": kind.protocol, "port": kind.port, "targetType": kind.target_type,
        "ipAddressType": kind.ip_address_type, "targets": targets, "tags": held.tags,
        "attributes": held.attributes, "used": held.attached.is_some(),
        "healthCheck": {
            "protocol": check.protocol, "port": check.port, "path": check.path, "matcher": check.matcher,
            "seconds": [check.interval, check.timeout], "thresholds": [check.healthy, check.unhealthy]
        }
    })
}
