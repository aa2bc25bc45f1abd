//! In what moto and our endpoint do not agree.

/// A disagreement.
#[derive(Debug)]
pub(crate) struct Known {
    /// The name of the step; a `*` is for anything.
    step: &'static str,
    /// The path of the field; a `*` is for anything.
    field: &'static str,
    /// Who is right, and by what.
    #[allow(dead_code)] // it is for readers, and for the message of a stale one
    reason: &'static str,
}

impl Known {
    pub(crate) fn is_about(&self, step: &str, field: &str) -> bool {
        fits(self.step, step) && fits(self.field, field)
    }
}

fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|begin| text.strip_prefix(begin)) else { return false };
    for part in parts {
        match rest.find(part) {
            // The last part is the end of the text.
            _ if pattern.ends_with(part) && !part.is_empty() => return rest.ends_with(part),
            Some(place) => rest = &rest[place + part.len()..],
            None => return false,
        }
    }
    rest.is_empty() || pattern.ends_with('*')
}

const fn known(step: &'static str, field: &'static str, reason: &'static str) -> Known {
    Known { step, field, reason }
}

/// "By the API reference" means that of version 2015-12-01.
#[rustfmt::skip] // one disagreement a line
pub(crate) const KNOWN: &[Known] = &[
    // What moto does wrong.
    known("create a*", "kind of $lb*", "moto says /app/ in the ARN of every load balancer; AWS says /net/"),
    known("create a*", "kind of $*l", "the same, in the ARNs of listeners"),
    known("create a balancer again", "LoadBalancers[0].LoadBalancerArn", "moto makes a second one; by the API reference the call is idempotent, and names are unique"),
    known("create a balancer with a bad name", "*", "moto does not look at names of load balancers"),
    known("create a balancer in an unknown subnet", "Error.Code", "moto lets an error of EC2 through; by the API reference it is SubnetNotFound"),
    known("create a balancer with addresses", "LoadBalancers[0].AvailabilityZones[0].LoadBalancerAddresses*", "moto forgets elastic addresses"),
    known("create a group again", "*", "moto refuses it; by the API reference the call is idempotent"),
    known("create a*listener*", "Listeners[0].SslPolicy", "moto gives every listener a security policy; only TLS has one"),
    known("describe a listener", "Listeners[0].SslPolicy", "the same"),
    known("move a TCP listener", "Listeners[0].SslPolicy", "the same"),
    known("create a listener on a port with one", "*", "moto makes a second listener on the port; by the API reference it is DuplicateListener"),
    known("create a listener to a group of another protocol", "*", "moto does not compare protocols; AWS answers IncompatibleProtocols (hashicorp/terraform-provider-aws#4955)"),
    known("create a listener to another's group", "*", "moto has no limit of load balancers per target group; AWS has one"),
    known("move a UDP listener", "*", "moto cannot modify listeners of UDP, TCP_UDP and TLS"),
    known("modify a group's codes", "TargetGroups[0].Matcher.HttpCode", "moto ignores the codes of a TCP group that is checked by HTTP"),
    known("modify a group's attributes", "Attributes[*", "moto answers with what was changed only; AWS with all of them"),
    known("modify an unknown group attribute", "*", "moto takes every key"),
    known("describe a TCP group's attributes", "Attributes[*", "moto has attributes of application load balancers here, and few of network load balancers"),
    known("describe a UDP group's attributes", "Attributes[*", "the same"),
    known("describe its attributes", "Attributes[*", "moto leaves out defaults"),
    known("modify its attributes", "Attributes[*", "the same"),
    known("protect a balancer", "Attributes[*", "the same"),
    known("describe addresses", "TargetHealthDescriptions[0].HealthCheckPort", "moto does not resolve traffic-port for addresses"),
    known("describe one id with two ports", "TargetHealthDescriptions[*", "moto keys targets by their ids; by the API reference an id may be registered with several ports"),
    known("deregister a target that is none", "*", "by the API reference that is no error"),
    known("describe tags of nobody", "*", "moto gives resources that there are not empty tags; by the API reference it is an error"),
    known("set one subnet", "*", "moto wants two zones, as application load balancers do; a network load balancer has one or more"),
    known("set security groups where there were none", "*", "moto allows it; AWS does not for network load balancers that were created without"),
    known("delete a protected balancer", "*", "moto deletes it; by the API reference it is OperationNotPermitted"),
    // What moto does not have.
    known("*", "LoadBalancers[0].EnablePrefixForIpv6SourceNat", "newer than moto's answers"),
    known("*", "*EnforceSecurityGroupInboundRulesOnPrivateLinkTraffic", "the same"),
    known("set subnets of two zones", "IpAddressType", "moto does not answer with it"),
    known("*", "Listeners[0].DefaultActions[0].ForwardConfig*", "moto shows the short form of an action only; AWS shows both"),
    // Where neither the API reference nor moto's own tests against AWS say who is right; all of them are refusals of what
    // no call may contain.
    known("create a balancer without subnets", "Error.Code", "ValidationError or SubnetNotFound"),
    known("modify an unknown attribute", "Error.Code", "ValidationError or InvalidConfigurationRequest"),
    known("delete a group twice", "*", "the API reference has no error of this call for it; moto answers TargetGroupNotFound"),
];
