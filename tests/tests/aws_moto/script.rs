//! The calls. Names that begin with `$` are what earlier answers, or the network, have called so.

/// A call.
pub(crate) struct Step {
    /// What [`crate::known`] calls it.
    pub(crate) name: &'static str,
    pub(crate) action: &'static str,
    pub(crate) parameters: &'static str,
    /// A name for a field of the answer.
    pub(crate) capture: Option<(&'static str, &'static str)>,
}

const fn step(name: &'static str, action: &'static str, parameters: &'static str) -> Step {
    Step { name, action, parameters, capture: None }
}

impl Step {
    const fn named(self, name: &'static str, path: &'static str) -> Self {
        Self { capture: Some((name, path)), ..self }
    }
}

const LB: &str = "LoadBalancers[0].LoadBalancerArn";
const TG: &str = "TargetGroups[0].TargetGroupArn";
const LISTENER: &str = "Listeners[0].ListenerArn";

#[rustfmt::skip] // one call a line
pub(crate) const SCRIPT: &[Step] = &[
    step("create a balancer", "CreateLoadBalancer", "Name=web&Type=network&Scheme=internet-facing&Subnets.member.1=$subnet1&Subnets.member.2=$subnet2&Tags.member.1.Key=owner&Tags.member.1.Value=shop/web").named("$lb", LB),
    step("create an internal balancer", "CreateLoadBalancer", "Name=inside&Type=network&Scheme=internal&Subnets.member.1=$subnet1&SecurityGroups.member.1=$sg").named("$lbin", LB),
    step("create a balancer with addresses", "CreateLoadBalancer", "Name=fixed&Type=network&Scheme=internet-facing&SubnetMappings.member.1.SubnetId=$subnet1&SubnetMappings.member.1.AllocationId=$eip").named("$lbfix", LB),
    step("create a balancer without subnets", "CreateLoadBalancer", "Name=none&Type=network"),
    step("create a balancer in an unknown subnet", "CreateLoadBalancer", "Name=none&Type=network&Subnets.member.1=subnet-z"),
    step("create a balancer of no IP type", "CreateLoadBalancer", "Name=none&Type=network&Subnets.member.1=$subnet1&IpAddressType=ipv6"),
    step("create a balancer with a bad name", "CreateLoadBalancer", "Name=a_b&Type=network&Subnets.member.1=$subnet1&Scheme=internal").named("$lbbad", LB),
    step("create a balancer again", "CreateLoadBalancer", "Name=web&Type=network&Scheme=internet-facing&Subnets.member.1=$subnet1&Subnets.member.2=$subnet2"),
    step("describe a balancer", "DescribeLoadBalancers", "LoadBalancerArns.member.1=$lb"),
    step("describe an internal balancer", "DescribeLoadBalancers", "Names.member.1=inside"),
    step("describe a balancer by an unknown name", "DescribeLoadBalancers", "Names.member.1=nobody"),
    step("describe a balancer by an unknown ARN", "DescribeLoadBalancers", "LoadBalancerArns.member.1=arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/x/1"),
    step("describe its attributes", "DescribeLoadBalancerAttributes", "LoadBalancerArn=$lb"),
    step("modify its attributes", "ModifyLoadBalancerAttributes", "LoadBalancerArn=$lb&Attributes.member.1.Key=load_balancing.cross_zone.enabled&Attributes.member.1.Value=true"),
    step("modify an unknown attribute", "ModifyLoadBalancerAttributes", "LoadBalancerArn=$lb&Attributes.member.1.Key=x&Attributes.member.1.Value=true"),

    step("create a TCP group", "CreateTargetGroup", "Name=web-80&Protocol=TCP&Port=30080&VpcId=$vpc&TargetType=instance&Tags.member.1.Key=owner&Tags.member.1.Value=shop/web").named("$tg", TG),
    step("create a UDP group", "CreateTargetGroup", "Name=dns-53&Protocol=UDP&Port=30053&VpcId=$vpc&TargetType=instance&HealthCheckProtocol=TCP&HealthCheckPort=30080").named("$udp", TG),
    step("create a TCP_UDP group", "CreateTargetGroup", "Name=both-53&Protocol=TCP_UDP&Port=30054&VpcId=$vpc&TargetType=ip").named("$tcpudp", TG),
    step("create a TLS group", "CreateTargetGroup", "Name=web-443&Protocol=TLS&Port=30443&VpcId=$vpc&TargetType=ip").named("$tls", TG),
    step("create an HTTP-checked group", "CreateTargetGroup", "Name=local-80&Protocol=TCP&Port=30081&VpcId=$vpc&TargetType=instance&HealthCheckProtocol=HTTP&HealthCheckPort=31000&HealthCheckPath=%2Fhealthz&HealthCheckIntervalSeconds=10&HealthCheckTimeoutSeconds=6&HealthyThresholdCount=2&UnhealthyThresholdCount=2&Matcher.HttpCode=200-399").named("$http", TG),
    step("create a group with a bad name", "CreateTargetGroup", "Name=-a&Protocol=TCP&Port=1&VpcId=$vpc"),
    step("create a group of another's name", "CreateTargetGroup", "Name=web-80&Protocol=TCP&Port=1&VpcId=$vpc"),
    step("create a group again", "CreateTargetGroup", "Name=web-80&Protocol=TCP&Port=30080&VpcId=$vpc&TargetType=instance"),
    step("create a group without a port", "CreateTargetGroup", "Name=none&Protocol=TCP&VpcId=$vpc&TargetType=ip"),
    step("create a group without a VPC", "CreateTargetGroup", "Name=none&Protocol=TCP&Port=1&TargetType=ip"),
    step("create a group in an unknown VPC", "CreateTargetGroup", "Name=none&Protocol=TCP&Port=1&VpcId=vpc-z&TargetType=ip"),
    step("create a group that checks too slowly", "CreateTargetGroup", "Name=none&Protocol=TCP&Port=1&VpcId=$vpc&HealthCheckIntervalSeconds=5&HealthCheckTimeoutSeconds=6"),
    step("describe a group", "DescribeTargetGroups", "TargetGroupArns.member.1=$tg"),
    step("describe a group by an unknown name", "DescribeTargetGroups", "Names.member.1=nobody"),
    step("describe a TCP group's attributes", "DescribeTargetGroupAttributes", "TargetGroupArn=$tg"),
    step("describe a UDP group's attributes", "DescribeTargetGroupAttributes", "TargetGroupArn=$udp"),
    step("modify a group's attributes", "ModifyTargetGroupAttributes", "TargetGroupArn=$tg&Attributes.member.1.Key=deregistration_delay.timeout_seconds&Attributes.member.1.Value=10&Attributes.member.2.Key=proxy_protocol_v2.enabled&Attributes.member.2.Value=true"),
    step("modify a group's delay too far", "ModifyTargetGroupAttributes", "TargetGroupArn=$tg&Attributes.member.1.Key=deregistration_delay.timeout_seconds&Attributes.member.1.Value=4000"),
    step("modify an unknown group attribute", "ModifyTargetGroupAttributes", "TargetGroupArn=$tg&Attributes.member.1.Key=x&Attributes.member.1.Value=true"),
    step("modify a group's check", "ModifyTargetGroup", "TargetGroupArn=$http&HealthCheckPath=%2Flive&HealthCheckPort=31001&HealthCheckIntervalSeconds=20"),
    step("modify a group's codes", "ModifyTargetGroup", "TargetGroupArn=$http&Matcher.HttpCode=204"),
    step("modify an unknown group", "ModifyTargetGroup", "TargetGroupArn=arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/x/1&HealthCheckPort=1"),

    step("create a TCP listener", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP&Port=80&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tg").named("$tcpl", LISTENER),
    step("create a UDP listener", "CreateListener", "LoadBalancerArn=$lb&Protocol=UDP&Port=53&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$udp").named("$udpl", LISTENER),
    step("create a TCP_UDP listener", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP_UDP&Port=54&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tcpudp").named("$bothl", LISTENER),
    step("create a TLS listener", "CreateListener", "LoadBalancerArn=$lb&Protocol=TLS&Port=443&Certificates.member.1.CertificateArn=$cert&SslPolicy=ELBSecurityPolicy-TLS13-1-2-2021-06&AlpnPolicy.member.1=HTTP2Preferred&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tls").named("$tlsl", LISTENER),
    step("create a listener on a port with one", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP&Port=80&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$http").named("$dupl", LISTENER),
    step("create a listener without a port", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tg"),
    step("create a listener of HTTP", "CreateListener", "LoadBalancerArn=$lb&Protocol=HTTP&Port=90&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tg"),
    step("create a listener of nobody", "CreateListener", "LoadBalancerArn=arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/net/x/1&Protocol=TCP&Port=90&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tg"),
    step("create a listener to no group", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP&Port=90&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/x/1"),
    step("create a listener to a group of another protocol", "CreateListener", "LoadBalancerArn=$lb&Protocol=UDP&Port=91&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$http").named("$mixl", LISTENER),
    step("create a listener to another's group", "CreateListener", "LoadBalancerArn=$lbin&Protocol=TCP&Port=80&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tg").named("$stolen", LISTENER),
    step("describe a listener", "DescribeListeners", "ListenerArns.member.1=$tcpl"),
    step("describe an unknown listener", "DescribeListeners", "ListenerArns.member.1=arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/net/x/1/1"),
    step("describe groups of a balancer's fellow", "DescribeTargetGroups", "TargetGroupArns.member.1=$udp"),
    step("move a TCP listener", "ModifyListener", "ListenerArn=$tcpl&Port=81&Protocol=TCP&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tg"),
    step("move a UDP listener", "ModifyListener", "ListenerArn=$udpl&Port=55&Protocol=UDP"),
    step("modify an unknown listener", "ModifyListener", "ListenerArn=arn:aws:elasticloadbalancing:eu-central-1:123456789012:listener/net/x/1/1&Port=82"),
    step("describe a TCP listener's attributes", "DescribeListenerAttributes", "ListenerArn=$tcpl"),
    step("modify a listener's attributes", "ModifyListenerAttributes", "ListenerArn=$tcpl&Attributes.member.1.Key=tcp.idle_timeout.seconds&Attributes.member.1.Value=400"),

    step("register targets", "RegisterTargets", "TargetGroupArn=$udp&Targets.member.1.Id=i-00000001&Targets.member.2.Id=i-00000002&Targets.member.2.Port=30055"),
    step("register addresses", "RegisterTargets", "TargetGroupArn=$tls&Targets.member.1.Id=172.31.0.9"),
    step("describe targets", "DescribeTargetHealth", "TargetGroupArn=$udp"),
    step("describe addresses", "DescribeTargetHealth", "TargetGroupArn=$tls"),
    step("register one id with two ports", "RegisterTargets", "TargetGroupArn=$tls&Targets.member.1.Id=172.31.0.9&Targets.member.1.Port=1"),
    step("describe one id with two ports", "DescribeTargetHealth", "TargetGroupArn=$tls"),
    step("deregister a target", "DeregisterTargets", "TargetGroupArn=$udp&Targets.member.1.Id=i-00000001"),
    step("describe targets without it", "DescribeTargetHealth", "TargetGroupArn=$udp"),
    step("describe a target that is none", "DescribeTargetHealth", "TargetGroupArn=$udp&Targets.member.1.Id=i-00000001"),
    step("deregister a target that is none", "DeregisterTargets", "TargetGroupArn=$udp&Targets.member.1.Id=i-00000009"),
    step("register with an unknown group", "RegisterTargets", "TargetGroupArn=arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/x/1&Targets.member.1.Id=i-00000001"),

    step("describe tags", "DescribeTags", "ResourceArns.member.1=$lb&ResourceArns.member.2=$tg"),
    step("add tags", "AddTags", "ResourceArns.member.1=$lb&Tags.member.1.Key=a&Tags.member.1.Value=b&Tags.member.2.Key=owner&Tags.member.2.Value=other"),
    step("remove a tag", "RemoveTags", "ResourceArns.member.1=$lb&TagKeys.member.1=owner"),
    step("describe changed tags", "DescribeTags", "ResourceArns.member.1=$lb"),
    step("describe a listener's tags", "DescribeTags", "ResourceArns.member.1=$tcpl"),
    step("describe tags of nobody", "DescribeTags", "ResourceArns.member.1=arn:aws:elasticloadbalancing:eu-central-1:123456789012:targetgroup/x/1"),

    step("set subnets of two zones", "SetSubnets", "LoadBalancerArn=$lb&Subnets.member.1=$subnet2&Subnets.member.2=$subnet3"),
    step("set one subnet", "SetSubnets", "LoadBalancerArn=$lb&Subnets.member.1=$subnet1"),
    step("set security groups", "SetSecurityGroups", "LoadBalancerArn=$lbin&SecurityGroups.member.1=$sg"),
    step("set unknown security groups", "SetSecurityGroups", "LoadBalancerArn=$lbin&SecurityGroups.member.1=sg-9"),
    step("set security groups where there were none", "SetSecurityGroups", "LoadBalancerArn=$lbfix&SecurityGroups.member.1=$sg"),
    step("set the IP type", "SetIpAddressType", "LoadBalancerArn=$lbin&IpAddressType=dualstack"),
    step("set no IP type", "SetIpAddressType", "LoadBalancerArn=$lbin&IpAddressType=ipv6"),

    step("delete a group in use", "DeleteTargetGroup", "TargetGroupArn=$udp"),
    step("protect a balancer", "ModifyLoadBalancerAttributes", "LoadBalancerArn=$lbfix&Attributes.member.1.Key=deletion_protection.enabled&Attributes.member.1.Value=true"),
    step("delete a protected balancer", "DeleteLoadBalancer", "LoadBalancerArn=$lbfix"),
    step("delete a listener", "DeleteListener", "ListenerArn=$udpl"),
    step("delete a listener twice", "DeleteListener", "ListenerArn=$udpl"),
    step("delete a free group", "DeleteTargetGroup", "TargetGroupArn=$udp"),
    step("delete a group twice", "DeleteTargetGroup", "TargetGroupArn=$udp"),
    step("delete a balancer", "DeleteLoadBalancer", "LoadBalancerArn=$lb"),
    step("delete a balancer twice", "DeleteLoadBalancer", "LoadBalancerArn=$lb"),
    step("describe listeners of a deleted balancer", "DescribeListeners", "ListenerArns.member.1=$bothl"),
    step("delete a group of a deleted balancer", "DeleteTargetGroup", "TargetGroupArn=$tcpudp"),
];
