//! Names and the ARNs made from them.

use super::{credentials::REGION, failure::Failure};

/// The account of everything.
pub const ACCOUNT: &str = "123456789012";

const LONGEST: usize = 32;

/// Whether a load balancer may be called so.
pub(super) fn check_load_balancer(name: &str) -> Result<(), Failure> {
    check("Load balancer", name)?;
    if name.starts_with("internal-") {
        let message = format!("The load balancer name '{name}' cannot begin with 'internal-'");
        return Err(Failure::validation(message));
    }
    Ok(())
}

/// Whether a target group may be called so.
pub(super) fn check_target_group(name: &str) -> Result<(), Failure> {
    check("Target group", name)
}

fn check(kind: &str, name: &str) -> Result<(), Failure> {
    let fault = if name.len() > LONGEST {
        format!("cannot be longer than '{LONGEST}' characters")
    } else if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        "can only contain characters that are alphanumeric characters or hyphens(-)".to_owned()
    } else if name.starts_with('-') || name.ends_with('-') {
        "cannot begin or end with '-'".to_owned()
    } else {
        return Ok(());
    };
    Err(Failure::validation(format!("{kind} name '{name}' {fault}")))
}

fn elb(rest: &str) -> String {
    format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:{rest}")
}

pub(super) fn load_balancer_arn(name: &str, serial: u64) -> String {
    elb(&format!("loadbalancer/net/{name}/{serial:016x}"))
}

pub(super) fn target_group_arn(name: &str, serial: u64) -> String {
    elb(&format!("targetgroup/{name}/{serial:016x}"))
}

pub(super) fn listener_arn(load_balancer: &str, serial: u64) -> String {
    format!("{}/{serial:016x}", load_balancer.replacen(":loadbalancer/", ":listener/", 1))
}

pub(super) fn certificate_arn(serial: u64) -> String {
    format!("arn:aws:acm:{REGION}:{ACCOUNT}:certificate/00000000-0000-4000-8000-{serial:012x}")
}

pub(super) fn subnet_arn(id: &str) -> String {
    format!("arn:aws:ec2:{REGION}:{ACCOUNT}:subnet/{id}")
}

/// Refuses what is not an ARN of this kind (`loadbalancer/net`, `targetgroup`, `listener/net`).
pub(super) fn check_arn(kind: &str, arn: &str) -> Result<(), Failure> {
    if arn.starts_with(&elb(&format!("{kind}/"))) {
        return Ok(());
    }
    Err(Failure::validation(format!("'{arn}' is not a valid {} ARN", kind.trim_end_matches("/net"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_aws_wants_them() {
        let longest = "a".repeat(32);
        for good in ["a", "k8s-Web-1", longest.as_str()] {
            check_load_balancer(good).unwrap();
        }
        let long = "a".repeat(33);
        for bad in [long.as_str(), "a_b", "-a", "a-", "internal-a", "a.b"] {
            assert_eq!(check_load_balancer(bad).unwrap_err().code, "ValidationError", "{bad}");
        }
        check_target_group("internal-a").unwrap();
    }

    #[test]
    fn arns_tell_their_kind() {
        let arn = load_balancer_arn("a", 1);
        check_arn("loadbalancer/net", &arn).unwrap();
        check_arn("listener/net", &listener_arn(&arn, 2)).unwrap();
        assert!(check_arn("targetgroup", &arn).is_err());
    }
}
