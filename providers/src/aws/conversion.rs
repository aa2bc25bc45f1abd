//! The SDK's types and ours.

use std::{collections::BTreeSet, str::FromStr};

use aws_sdk_elasticloadbalancingv2::types as sdk;

use super::{
    observed::{Balancer, Group, Listener},
    options::{CheckProtocol, IpAddressType, Scheme, TargetType},
    reading::Pairs,
    spec::{
        BalancerSpec, GroupKind, GroupSpec, GroupTarget, HealthCheck, ListenerSpec, SubnetSpec, Transport,
    },
};

impl FromStr for Transport {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::Tcp, Self::Tls, Self::Udp, Self::TcpUdp];
        all.into_iter().find(|protocol| protocol.as_str() == text).ok_or(())
    }
}

pub(super) fn protocol(protocol: Transport) -> sdk::ProtocolEnum {
    sdk::ProtocolEnum::from(protocol.as_str())
}

pub(super) fn check_protocol(protocol: CheckProtocol) -> sdk::ProtocolEnum {
    match protocol {
        CheckProtocol::Tcp => sdk::ProtocolEnum::Tcp,
        CheckProtocol::Http => sdk::ProtocolEnum::Http,
        CheckProtocol::Https => sdk::ProtocolEnum::Https,
    }
}

pub(super) fn scheme(scheme: Scheme) -> sdk::LoadBalancerSchemeEnum {
    match scheme {
        Scheme::Internal => sdk::LoadBalancerSchemeEnum::Internal,
        Scheme::InternetFacing => sdk::LoadBalancerSchemeEnum::InternetFacing,
    }
}

pub(super) fn ip_address_type(kind: IpAddressType) -> sdk::IpAddressType {
    match kind {
        IpAddressType::Ipv4 => sdk::IpAddressType::Ipv4,
        IpAddressType::Dualstack => sdk::IpAddressType::Dualstack,
    }
}

pub(super) fn group_family(kind: IpAddressType) -> sdk::TargetGroupIpAddressTypeEnum {
    match kind {
        IpAddressType::Ipv4 => sdk::TargetGroupIpAddressTypeEnum::Ipv4,
        IpAddressType::Dualstack => sdk::TargetGroupIpAddressTypeEnum::Ipv6,
    }
}

pub(super) fn target_type(kind: TargetType) -> sdk::TargetTypeEnum {
    match kind {
        TargetType::Instance => sdk::TargetTypeEnum::Instance,
        TargetType::Ip => sdk::TargetTypeEnum::Ip,
    }
}

pub(super) fn tags(tags: &Pairs) -> Vec<sdk::Tag> {
    tags.iter().map(|(key, value)| sdk::Tag::builder().key(key).value(value).build()).collect()
}

pub(super) fn targets(targets: &BTreeSet<GroupTarget>) -> Vec<sdk::TargetDescription> {
    let target =
        |t: &GroupTarget| sdk::TargetDescription::builder().id(&t.id).port(i32::from(t.port)).build();
    targets.iter().map(target).collect()
}

pub(super) fn certificates(arns: &[String]) -> Vec<sdk::Certificate> {
    arns.iter().map(|arn| sdk::Certificate::builder().certificate_arn(arn).build()).collect()
}

pub(super) fn subnets(subnets: &[SubnetSpec]) -> Vec<sdk::SubnetMapping> {
    let mapping = |subnet: &SubnetSpec| {
        sdk::SubnetMapping::builder()
            .subnet_id(&subnet.id)
            .set_allocation_id(subnet.allocation.clone())
            .set_private_ipv4_address(subnet.private_address.clone())
            .build()
    };
    subnets.iter().map(mapping).collect()
}

pub(super) fn forward(group_arn: &str) -> sdk::Action {
    sdk::Action::builder().r#type(sdk::ActionTypeEnum::Forward).target_group_arn(group_arn).build()
}

/// Without what only other calls say: tags, attributes and listeners. `None`: not a network load balancer.
pub(super) fn balancer(object: &sdk::LoadBalancer) -> Option<Balancer> {
    if object.r#type != Some(sdk::LoadBalancerTypeEnum::Network) {
        return None;
    }
    let dual = object.ip_address_type == Some(sdk::IpAddressType::Dualstack);
    let public = object.scheme == Some(sdk::LoadBalancerSchemeEnum::InternetFacing);
    let mut subnets: Vec<SubnetSpec> = object.availability_zones().iter().filter_map(subnet).collect();
    subnets.sort_unstable();
    let spec = BalancerSpec {
        name: object.load_balancer_name.clone()?,
        scheme: if public { Scheme::InternetFacing } else { Scheme::Internal },
        ip_address_type: if dual { IpAddressType::Dualstack } else { IpAddressType::Ipv4 },
        subnets,
        security_groups: object.security_groups().iter().cloned().collect(),
        tags: Pairs::new(),
    };
    let state = object.state.as_ref().and_then(|state| state.code.clone());
    Some(Balancer {
        arn: object.load_balancer_arn.clone()?,
        dns_name: object.dns_name.clone().unwrap_or_default(),
        vpc_id: object.vpc_id.clone().unwrap_or_default(),
        spec,
        attributes: Pairs::new(),
        listeners: Vec::new(),
        failed: state == Some(sdk::LoadBalancerStateEnum::Failed),
    })
}

fn subnet(zone: &sdk::AvailabilityZone) -> Option<SubnetSpec> {
    let first = |of: fn(&sdk::LoadBalancerAddress) -> Option<String>| {
        zone.load_balancer_addresses().iter().find_map(of)
    };
    Some(SubnetSpec {
        id: zone.subnet_id.clone()?,
        allocation: first(|address| address.allocation_id.clone()),
        private_address: first(|address| address.private_ipv4_address.clone()),
    })
}

/// Without what only other calls say. `None`: of a protocol that network load balancers do not have.
pub(super) fn group(object: &sdk::TargetGroup) -> Option<Group> {
    let kind = GroupKind {
        protocol: object.protocol.as_ref()?.as_str().parse().ok()?,
        port: number(object.port?)?,
        target_type: match object.target_type.as_ref()? {
            sdk::TargetTypeEnum::Ip => TargetType::Ip,
            sdk::TargetTypeEnum::Instance => TargetType::Instance,
            _ => return None,
        },
        ip_address_type: match object.ip_address_type {
            Some(sdk::TargetGroupIpAddressTypeEnum::Ipv6) => IpAddressType::Dualstack,
            _ => IpAddressType::Ipv4,
        },
    };
    Some(Group {
        arn: object.target_group_arn.clone()?,
        vpc_id: object.vpc_id.clone().unwrap_or_default(),
        spec: GroupSpec {
            name: object.target_group_name.clone()?,
            kind,
            health_check: health_check(object)?,
            tags: Pairs::new(),
        },
        attributes: Pairs::new(),
        targets: BTreeSet::new(),
    })
}

fn health_check(object: &sdk::TargetGroup) -> Option<HealthCheck> {
    let protocol = match object.health_check_protocol.as_ref()? {
        sdk::ProtocolEnum::Http => CheckProtocol::Http,
        sdk::ProtocolEnum::Https => CheckProtocol::Https,
        _ => CheckProtocol::Tcp,
    };
    // Of a plain connection there is neither, whatever stands there.
    let asks = protocol != CheckProtocol::Tcp;
    let codes = object.matcher.as_ref().and_then(|matcher| matcher.http_code.clone());
    let seconds = |value: Option<i32>| value.and_then(number).unwrap_or_default();
    Some(HealthCheck {
        protocol,
        port: object.health_check_port.as_ref().and_then(|port| port.parse().ok()),
        path: object.health_check_path.clone().filter(|_| asks),
        success_codes: codes.filter(|_| asks),
        interval: seconds(object.health_check_interval_seconds),
        timeout: seconds(object.health_check_timeout_seconds),
        healthy_threshold: seconds(object.healthy_threshold_count),
        unhealthy_threshold: seconds(object.unhealthy_threshold_count),
    })
}

/// With the first certificate at most. `None`: of a protocol that network load balancers do not have.
pub(super) fn listener(object: &sdk::Listener) -> Option<Listener> {
    let protocol: Transport = object.protocol.as_ref()?.as_str().parse().ok()?;
    let tls = protocol == Transport::Tls;
    let group = object.default_actions().iter().find_map(|action| action.target_group_arn.as_deref());
    let first = object.certificates().iter().filter(|_| tls).find_map(|c| c.certificate_arn.clone());
    let alpn = object.alpn_policy().first().cloned().filter(|policy| tls && policy != "None");
    let spec = ListenerSpec {
        port: number(object.port?)?,
        protocol,
        group: group_name(group.unwrap_or_default()).to_owned(),
        certificates: first.into_iter().collect(),
        policy: object.ssl_policy.clone().filter(|_| tls),
        alpn,
    };
    Some(Listener { arn: object.listener_arn.clone()?, spec, attributes: None })
}

/// `…:targetgroup/NAME/ID`; one that is not like that stays whole, and is nobody's name.
fn group_name(arn: &str) -> &str {
    let name = arn.split_once(":targetgroup/").and_then(|(_, rest)| rest.split('/').next());
    name.filter(|name| !name.is_empty()).unwrap_or(arn)
}

/// `None`: on its way out.
pub(super) fn health(object: &sdk::TargetHealthDescription) -> Option<GroupTarget> {
    let state = object.target_health.as_ref().and_then(|health| health.state.clone());
    let target = object.target.as_ref().filter(|_| state != Some(sdk::TargetHealthStateEnum::Draining))?;
    Some(GroupTarget { id: target.id.clone()?, port: number(target.port?)? })
}

fn number(value: i32) -> Option<u16> {
    u16::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_balancer_is_read_with_its_addresses_and_others_kinds_are_not() {
        let address = sdk::LoadBalancerAddress::builder().allocation_id("eipalloc-1").build();
        let zone =
            sdk::AvailabilityZone::builder().subnet_id("subnet-1").load_balancer_addresses(address).build();
        let object = sdk::LoadBalancer::builder()
            .load_balancer_name("n")
            .load_balancer_arn("arn")
            .dns_name("N.example")
            .vpc_id("vpc-1")
            .scheme(sdk::LoadBalancerSchemeEnum::InternetFacing)
            .ip_address_type(sdk::IpAddressType::Dualstack)
            .availability_zones(zone);
        assert_eq!(balancer(&object.clone().r#type(sdk::LoadBalancerTypeEnum::Application).build()), None);
        let read = balancer(&object.r#type(sdk::LoadBalancerTypeEnum::Network).build()).unwrap();
        assert_eq!(read.spec.subnets[0].allocation.as_deref(), Some("eipalloc-1"));
        assert_eq!(
            (read.spec.scheme, read.spec.ip_address_type),
            (Scheme::InternetFacing, IpAddressType::Dualstack)
        );
    }

    #[test]
    fn a_plain_check_has_neither_path_nor_codes_and_traffic_port_is_none() {
        let object = |protocol| {
            sdk::TargetGroup::builder()
                .target_group_arn("arn")
                .target_group_name("g")
                .protocol(sdk::ProtocolEnum::Tcp)
                .port(30080)
                .target_type(sdk::TargetTypeEnum::Instance)
                .health_check_protocol(protocol)
                .health_check_port("traffic-port")
                .health_check_path("/")
                .matcher(sdk::Matcher::builder().http_code("200").build())
                .build()
        };
        let check = |protocol| group(&object(protocol)).unwrap().spec.health_check;
        let plain = check(sdk::ProtocolEnum::Tcp);
        assert_eq!((plain.port, plain.path, plain.success_codes), (None, None, None));
        assert_eq!(check(sdk::ProtocolEnum::Http).success_codes.as_deref(), Some("200"));
        assert_eq!(group(&object(sdk::ProtocolEnum::Tcp)).unwrap().spec.kind.port, 30080);
    }

    #[test]
    fn a_listeners_group_is_known_by_its_name() {
        assert_eq!(group_name("arn:aws:elasticloadbalancing:eu:1:targetgroup/k8s-a-b-0/0123"), "k8s-a-b-0");
        for strange in ["", "x", "arn:aws:elasticloadbalancing:eu:1:targetgroup/"] {
            assert_eq!(group_name(strange), strange);
        }
    }

    #[test]
    fn a_target_on_its_way_out_is_none() {
        let target = |state: sdk::TargetHealthStateEnum| {
            let health = sdk::TargetHealth::builder().state(state).build();
            let target = sdk::TargetDescription::builder().id("i-1").port(30080).build();
            super::health(
                &sdk::TargetHealthDescription::builder().target(target).target_health(health).build(),
            )
        };
        assert_eq!(target(sdk::TargetHealthStateEnum::Draining), None);
        assert_eq!(target(sdk::TargetHealthStateEnum::Initial).unwrap().id, "i-1");
    }
}
