//! Every refusal once, by the calls as they are on the wire: an SDK would not send some of them.

use penstock_tests::{
    aws_endpoint::{ACCESS_KEY, REGION},
    aws_query::AwsQuery,
};

use crate::account::Account;

/// Code, action and parameters. `$lb` and `$other` are load balancers, the second in the other VPC; `$tcp`, `$udp`, `$tls`
/// and `$free` are target groups, of which `$tcp` is used by the listener `$listener` on port 80.
#[rustfmt::skip] // one refusal a line
const REFUSALS: &[(&str, &str, &str)] = &[
    ("InvalidAction", "DescribeRules", ""),
    ("ValidationError", "CreateLoadBalancer", "Type=network&Subnets.member.1=subnet-a"),
    ("ValidationError", "CreateLoadBalancer", "Name=internal-a&Type=network&Subnets.member.1=subnet-a"),
    ("ValidationError", "CreateLoadBalancer", "Name=a_b&Type=network&Subnets.member.1=subnet-a"),
    ("ValidationError", "CreateLoadBalancer", "Name=a&Subnets.member.1=subnet-a"),
    ("ValidationError", "CreateLoadBalancer", "Name=a&Type=network"),
    ("ValidationError", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-a&Colour=red"),
    ("ValidationError", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-a&Scheme=public"),
    ("ValidationError", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-a&SubnetMappings.member.1.SubnetId=subnet-b"),
    ("SubnetNotFound", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-z"),
    ("InvalidSubnet", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-a&Subnets.member.2=subnet-x"),
    ("InvalidConfigurationRequest", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-a&Subnets.member.2=subnet-a2"),
    ("InvalidConfigurationRequest", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-a2&IpAddressType=dualstack"),
    ("InvalidConfigurationRequest", "CreateLoadBalancer", "Name=a&Type=network&SubnetMappings.member.1.SubnetId=subnet-a&SubnetMappings.member.1.AllocationId=eipalloc-1&SubnetMappings.member.2.SubnetId=subnet-b"),
    ("InvalidConfigurationRequest", "CreateLoadBalancer", "Name=a&Type=network&Scheme=internal&SubnetMappings.member.1.SubnetId=subnet-a&SubnetMappings.member.1.AllocationId=eipalloc-1"),
    ("InvalidConfigurationRequest", "CreateLoadBalancer", "Name=a&Type=network&SubnetMappings.member.1.SubnetId=subnet-a&SubnetMappings.member.1.PrivateIPv4Address=10.0.0.9"),
    ("InvalidConfigurationRequest", "CreateLoadBalancer", "Name=a&Type=network&Scheme=internal&SubnetMappings.member.1.SubnetId=subnet-a&SubnetMappings.member.1.PrivateIPv4Address=10.0.1.9"),
    ("AllocationIdNotFound", "CreateLoadBalancer", "Name=a&Type=network&SubnetMappings.member.1.SubnetId=subnet-a&SubnetMappings.member.1.AllocationId=eipalloc-9"),
    ("InvalidSecurityGroup", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-a&SecurityGroups.member.1=sg-9"),
    ("DuplicateTagKeys", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-a&Tags.member.1.Key=k&Tags.member.2.Key=k"),
    ("ValidationError", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-a&Tags.member.1.Key=aws:k"),
    ("DuplicateLoadBalancerName", "CreateLoadBalancer", "Name=lb&Type=network&Subnets.member.1=subnet-b"),
    ("TooManyLoadBalancers", "CreateLoadBalancer", "Name=a&Type=network&Subnets.member.1=subnet-a"),
    ("LoadBalancerNotFound", "DescribeLoadBalancers", "Names.member.1=lbb"),
    ("ValidationError", "DescribeLoadBalancers", "Names.member.1=lb&LoadBalancerArns.member.1=$lb"),
    ("ValidationError", "DescribeLoadBalancers", "PageSize=401"),
    ("ValidationError", "DeleteLoadBalancer", "LoadBalancerArn=lb"),
    ("ValidationError", "ModifyLoadBalancerAttributes", "LoadBalancerArn=$lb&Attributes.member.1.Key=idle_timeout.timeout_seconds&Attributes.member.1.Value=60"),
    ("ValidationError", "ModifyLoadBalancerAttributes", "LoadBalancerArn=$lb&Attributes.member.1.Key=deletion_protection.enabled&Attributes.member.1.Value=yes"),
    ("InvalidConfigurationRequest", "ModifyLoadBalancerAttributes", "LoadBalancerArn=$lb&Attributes.member.1.Key=access_logs.s3.enabled&Attributes.member.1.Value=true"),
    ("LoadBalancerNotFound", "DescribeLoadBalancerAttributes", "LoadBalancerArn=$lb0"),
    ("InvalidConfigurationRequest", "SetSecurityGroups", "LoadBalancerArn=$lb&SecurityGroups.member.1=sg-1"),
    ("InvalidSubnet", "SetSubnets", "LoadBalancerArn=$lb&Subnets.member.1=subnet-x"),
    ("ValidationError", "SetIpAddressType", "LoadBalancerArn=$lb&IpAddressType=ipv6"),
    ("ValidationError", "CreateTargetGroup", "Name=-a&Protocol=TCP&Port=1&VpcId=vpc-0a"),
    ("ValidationError", "CreateTargetGroup", "Name=a&Port=1&VpcId=vpc-0a"),
    ("ValidationError", "CreateTargetGroup", "Name=a&Protocol=TCP&VpcId=vpc-0a"),
    ("ValidationError", "CreateTargetGroup", "Name=a&Protocol=TCP&Port=65536&VpcId=vpc-0a"),
    ("ValidationError", "CreateTargetGroup", "Name=a&Protocol=TCP&Port=1"),
    ("ValidationError", "CreateTargetGroup", "Name=a&Protocol=TCP&Port=1&VpcId=vpc-9"),
    ("ValidationError", "CreateTargetGroup", "Name=a&Protocol=TCP&Port=1&VpcId=vpc-0a&HealthCheckIntervalSeconds=5&HealthCheckTimeoutSeconds=6"),
    ("InvalidConfigurationRequest", "CreateTargetGroup", "Name=a&Protocol=TCP&Port=1&VpcId=vpc-0a&Matcher.HttpCode=200"),
    ("InvalidConfigurationRequest", "CreateTargetGroup", "Name=a&Protocol=TCP&Port=1&VpcId=vpc-0a&HealthCheckEnabled=false"),
    ("DuplicateTargetGroupName", "CreateTargetGroup", "Name=free&Protocol=UDP&Port=80&VpcId=vpc-0a"),
    ("TooManyTargetGroups", "CreateTargetGroup", "Name=a&Protocol=TCP&Port=1&VpcId=vpc-0a"),
    ("TargetGroupNotFound", "DescribeTargetGroups", "Names.member.1=nobody"),
    ("ValidationError", "DescribeTargetGroups", "Names.member.1=free&LoadBalancerArn=$lb"),
    ("TargetGroupNotFound", "ModifyTargetGroup", "TargetGroupArn=$tcp0&HealthCheckPort=80"),
    ("ResourceInUse", "DeleteTargetGroup", "TargetGroupArn=$tcp"),
    ("InvalidConfigurationRequest", "ModifyTargetGroupAttributes", "TargetGroupArn=$udp&Attributes.member.1.Key=preserve_client_ip.enabled&Attributes.member.1.Value=false"),
    ("InvalidConfigurationRequest", "ModifyTargetGroupAttributes", "TargetGroupArn=$tls&Attributes.member.1.Key=stickiness.enabled&Attributes.member.1.Value=true"),
    ("ValidationError", "ModifyTargetGroupAttributes", "TargetGroupArn=$tcp&Attributes.member.1.Key=deregistration_delay.timeout_seconds&Attributes.member.1.Value=3601"),
    ("ValidationError", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$free"),
    ("ValidationError", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP&Port=81"),
    ("ValidationError", "CreateListener", "LoadBalancerArn=$lb&Protocol=HTTP&Port=81&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$free"),
    ("InvalidLoadBalancerAction", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP&Port=81&DefaultActions.member.1.Type=redirect"),
    ("LoadBalancerNotFound", "CreateListener", "LoadBalancerArn=$lb0&Protocol=TCP&Port=81&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$free"),
    ("TargetGroupNotFound", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP&Port=81&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$free0"),
    ("DuplicateListener", "CreateListener", "LoadBalancerArn=$lb&Protocol=UDP&Port=80&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$udp"),
    ("IncompatibleProtocols", "CreateListener", "LoadBalancerArn=$lb&Protocol=UDP&Port=81&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$free"),
    ("TargetGroupAssociationLimit", "CreateListener", "LoadBalancerArn=$second&Protocol=TCP&Port=81&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tcp"),
    ("InvalidConfigurationRequest", "CreateListener", "LoadBalancerArn=$other&Protocol=TCP&Port=81&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$free"),
    ("InvalidConfigurationRequest", "CreateListener", "LoadBalancerArn=$dual&Protocol=UDP&Port=81&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$udp"),
    ("ValidationError", "CreateListener", "LoadBalancerArn=$lb&Protocol=TLS&Port=81&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tls"),
    ("CertificateNotFound", "CreateListener", "LoadBalancerArn=$lb&Protocol=TLS&Port=81&Certificates.member.1.CertificateArn=arn:x&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tls"),
    ("SSLPolicyNotFound", "CreateListener", "LoadBalancerArn=$lb&Protocol=TLS&Port=81&SslPolicy=x&Certificates.member.1.CertificateArn=arn:x&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tls"),
    ("ALPNPolicyNotFound", "CreateListener", "LoadBalancerArn=$lb&Protocol=TLS&Port=81&AlpnPolicy.member.1=x&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tls"),
    ("InvalidConfigurationRequest", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP&Port=81&AlpnPolicy.member.1=None&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$free"),
    ("TooManyListeners", "CreateListener", "LoadBalancerArn=$lb&Protocol=TCP&Port=81&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$free"),
    ("UnsupportedProtocol", "AddListenerCertificates", "ListenerArn=$listener&Certificates.member.1.CertificateArn=arn:x"),
    ("ListenerNotFound", "ModifyListener", "ListenerArn=$listener0&Port=81"),
    ("IncompatibleProtocols", "ModifyListener", "ListenerArn=$listener&DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$udp"),
    ("ListenerNotFound", "DeleteListener", "ListenerArn=$listener0"),
    ("ValidationError", "DescribeListeners", ""),
    ("ValidationError", "ModifyListenerAttributes", "ListenerArn=$listener&Attributes.member.1.Key=tcp.idle_timeout.seconds&Attributes.member.1.Value=59"),
    ("ValidationError", "RegisterTargets", "TargetGroupArn=$tcp"),
    ("ValidationError", "RegisterTargets", "TargetGroupArn=$tcp&Targets.member.1.Id=10.0.0.1"),
    ("ValidationError", "RegisterTargets", "TargetGroupArn=$tcp&Targets.member.1.Id=i-00000001&Targets.member.1.Port=0"),
    ("InvalidTarget", "RegisterTargets", "TargetGroupArn=$tcp&Targets.member.1.Id=i-00000009"),
    ("InvalidTarget", "RegisterTargets", "TargetGroupArn=$tls&Targets.member.1.Id=198.51.100.1"),
    ("ValidationError", "RegisterTargets", "TargetGroupArn=$tls&Targets.member.1.Id=10.9.0.1"),
    ("ValidationError", "RegisterTargets", "TargetGroupArn=$tls&Targets.member.1.Id=2001:db8::1"),
    ("TooManyTargets", "RegisterTargets", "TargetGroupArn=$tcp&Targets.member.1.Id=i-00000001&Targets.member.2.Id=i-00000002"),
    ("TargetGroupNotFound", "RegisterTargets", "TargetGroupArn=$tcp0&Targets.member.1.Id=i-00000001"),
    ("TargetGroupNotFound", "DescribeTargetHealth", "TargetGroupArn=$tcp0"),
    ("TooManyTags", "AddTags", "ResourceArns.member.1=$lb&Tags.member.1.Key=a&Tags.member.2.Key=b&Tags.member.3.Key=c"),
    ("LoadBalancerNotFound", "AddTags", "ResourceArns.member.1=$lb0&Tags.member.1.Key=a"),
    ("TargetGroupNotFound", "DescribeTags", "ResourceArns.member.1=$tcp0"),
    ("ListenerNotFound", "DescribeTags", "ResourceArns.member.1=$listener0"),
];

async fn prepared() -> (Account, AwsQuery, Vec<(String, String)>) {
    let account = Account::open().await;
    let query = AwsQuery::new(&account.aws.url(), ACCESS_KEY, REGION);
    let mut arns: Vec<(String, String)> = Vec::new();
    let mut make = async |name: &str, action: &str, parameters: &str| {
        let parameters = fill(parameters, &arns);
        let answer = query.call(action, &parameters).await.unwrap();
        let arn = answer.fields.iter().find(|(path, _)| {
            let ends = ["[0].LoadBalancerArn", "[0].TargetGroupArn", "[0].ListenerArn"];
            ends.iter().any(|end| path.ends_with(end)) && !path.contains("DefaultActions")
        });
        let own = answer.fields.get("Listeners[0].ListenerArn").or(arn.map(|(_, arn)| arn)).unwrap();
        arns.push((name.to_owned(), own.clone()));
    };
    make("lb", "CreateLoadBalancer", "Name=lb&Type=network&Subnets.member.1=subnet-a").await;
    make("second", "CreateLoadBalancer", "Name=second&Type=network&Subnets.member.1=subnet-a").await;
    make("other", "CreateLoadBalancer", "Name=other&Type=network&Subnets.member.1=subnet-x").await;
    let dual = "Name=dual&Type=network&Subnets.member.1=subnet-a&IpAddressType=dualstack";
    make("dual", "CreateLoadBalancer", dual).await;
    for (name, protocol, kind) in [
        ("tcp", "TCP", "instance"),
        ("udp", "UDP", "instance"),
        ("tls", "TLS", "ip"),
        ("free", "TCP", "instance"),
    ] {
        let parameters = format!("Name={name}&Protocol={protocol}&Port=80&VpcId=vpc-0a&TargetType={kind}");
        make(name, "CreateTargetGroup", &parameters).await;
    }
    let forward = "DefaultActions.member.1.Type=forward&DefaultActions.member.1.TargetGroupArn=$tcp";
    make("listener", "CreateListener", &format!("LoadBalancerArn=$lb&Protocol=TCP&Port=80&{forward}")).await;
    let known = ["i-00000001", "i-00000002"].map(ToOwned::to_owned);
    account.aws.store().world.instances = Some(known.into());
    (account, query, arns)
}

/// `$name0` is an ARN of the same kind that nothing has.
fn fill(parameters: &str, arns: &[(String, String)]) -> String {
    let mut filled = parameters.to_owned();
    for (name, arn) in arns {
        let nobody = format!("{}z", &arn[..arn.len() - 1]);
        filled = filled.replace(&format!("${name}0"), &nobody).replace(&format!("${name}"), arn);
    }
    filled
}

#[tokio::test]
async fn each_refusal_has_its_code_and_changes_nothing() {
    let (account, query, arns) = prepared().await;
    let state = || {
        let store = account.aws.store();
        format!("{:?}{:?}{:?}", store.load_balancers, store.target_groups, store.listeners)
    };
    let before = state();
    let mut wrong = Vec::new();
    for (code, action, parameters) in REFUSALS {
        let limits = if code.starts_with("TooMany") { [4, 4, 1, 1, 2] } else { [50, 50, 50, 50, 50] };
        {
            let mut store = account.aws.store();
            let held = &mut store.settings.limits;
            let [balancers, groups, listeners, targets, tags] = limits;
            (held.load_balancers, held.target_groups, held.listeners) = (balancers, groups, listeners);
            (held.targets, held.tags) = (targets, tags);
        }
        let answer = query.call(action, &fill(parameters, &arns)).await.unwrap();
        if answer.code() != Some(code) || answer.status != 400 {
            wrong.push(format!("{action} {parameters}: wanted {code}, got {:?}", answer.fields));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(state(), before);
}

#[tokio::test]
async fn every_code_of_the_endpoint_is_in_the_table() {
    let codes = ["OperationNotPermitted", "ResourceInUse", "TooManyCertificates"];
    let covered = |code: &str| codes.contains(&code) || REFUSALS.iter().any(|(known, ..)| *known == code);
    let source = [
        include_str!("../../src/aws_endpoint/listener.rs"),
        include_str!("../../src/aws_endpoint/listener_wish.rs"),
        include_str!("../../src/aws_endpoint/listener_certificate.rs"),
        include_str!("../../src/aws_endpoint/load_balancer.rs"),
        include_str!("../../src/aws_endpoint/mapping.rs"),
        include_str!("../../src/aws_endpoint/tags.rs"),
        include_str!("../../src/aws_endpoint/target.rs"),
        include_str!("../../src/aws_endpoint/target_group.rs"),
    ]
    .concat();
    for rest in source.split("Failure::new(").skip(1) {
        let code = rest.trim_start().trim_start_matches('"').split('"').next().unwrap();
        assert!(covered(code), "{code} is refused with and not in the table");
    }
}
