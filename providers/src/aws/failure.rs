//! What an error of the API means for the operator.

use std::{error::Error, time::Duration};

use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use penstock_crds::Reason;

use crate::ProviderError;

/// When to ask again for what is still in use.
const IN_USE: Duration = Duration::from_secs(3);
/// The longest text of AWS's that is shown, in characters.
const SHOWN: usize = 400;

/// ACM's code for a certificate that is not there.
const NO_CERTIFICATE: &str = "ResourceNotFoundException";

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    call: &'static str,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// AWS's answer.
    Answer { code: String, message: String, status: u16 },
    /// There are no credentials.
    Credentials(String),
    /// No answer: it may have been carried out.
    Silence(String),
}

impl Failure {
    pub(super) fn of<E>(call: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let kind = match error {
            SdkError::ServiceError(answer) => Kind::Answer {
                code: answer.err().code().unwrap_or_default().to_owned(),
                message: shown(answer.err().message().unwrap_or("no message")),
                status: answer.raw().status().as_u16(),
            },
            other => {
                let causes = causes(other);
                // The chain of credentials has no type of error of its own here.
                let lacking = causes.contains("credentials");
                if lacking { Kind::Credentials(shown(&causes)) } else { Kind::Silence(shown(&causes)) }
            }
        };
        Self { call, kind }
    }

    pub(super) fn is_throttling(&self) -> bool {
        let codes = [
            "Throttling",
            "ThrottlingException",
            "RequestLimitExceeded",
            "TooManyRequestsException",
            "SlowDown",
        ];
        matches!(&self.kind, Kind::Answer { code, status, .. } if codes.contains(&code.as_str()) || *status == 429)
    }

    pub(super) fn is_not_found(&self) -> bool {
        matches!(&self.kind, Kind::Answer { code, .. } if code == NO_CERTIFICATE || code.ends_with("NotFound") && {
            let ours = ["LoadBalancer", "TargetGroup", "Listener"];
            ours.iter().any(|what| code.strip_suffix("NotFound") == Some(what))
        })
    }

    /// One of the targets is none at this moment.
    pub(super) fn is_invalid_target(&self) -> bool {
        matches!(&self.kind, Kind::Answer { code, .. } if code == "InvalidTarget")
    }

    /// A name that is taken.
    pub(super) fn is_duplicate(&self) -> bool {
        let codes = ["DuplicateLoadBalancerName", "DuplicateTargetGroupName"];
        matches!(&self.kind, Kind::Answer { code, .. } if codes.contains(&code.as_str()))
    }

    /// `pause` is for how long to ask nothing, if that is what AWS wants.
    pub(super) fn into_error(self, pause: Duration) -> ProviderError {
        if self.is_throttling() {
            return ProviderError::Throttled(pause);
        }
        let call = self.call;
        match self.kind {
            Kind::Answer { code, message, status } => answer(call, &code, &message, status),
            Kind::Credentials(why) => ProviderError::Auth(format!(
                "there are no credentials for AWS ({why}): give the operator a role, or name a Secret in spec.aws.credentialsSecret of the class"
            )),
            Kind::Silence(why) => ProviderError::Retryable(format!("AWS did not answer {call}: {why}")),
        }
    }
}

/// By the lists of errors in the API's reference.
fn answer(call: &str, code: &str, message: &str, status: u16) -> ProviderError {
    let says = format!("AWS answers {code} to {call}: {message}");
    match code {
        "LoadBalancerNotFound" | "TargetGroupNotFound" | "ListenerNotFound" | NO_CERTIFICATE => {
            ProviderError::NotFound(says)
        }
        "DuplicateLoadBalancerName"
        | "DuplicateTargetGroupName"
        | "DuplicateListener"
        | "DuplicateTagKeys" => ProviderError::Conflict(says),
        "ResourceInUse" | "ResourceInUseException" if call.starts_with("Delete") => {
            ProviderError::Pending(IN_USE)
        }
        "ResourceInUse" | "TargetGroupAssociationLimit" | "PriorityInUse" => ProviderError::Conflict(says),
        // An instance that is just coming or going, and is no target for this moment.
        "InvalidTarget" => ProviderError::Retryable(says),
        "OperationNotPermitted" if call == "DeleteLoadBalancer" => ProviderError::refused(format!(
            "AWS does not delete the load balancer ({message}): switch its deletion protection off if it may go"
        )),
        // Whoever names no Secret needs no rights there.
        _ if is_of_credentials(code) && ACM.contains(&call) => {
            ProviderError::refused(format!("{says} (TLS from a Secret needs rights of ACM: see docs/aws.md)"))
        }
        _ if code.starts_with("TooMany") || code == "LimitExceededException" => ProviderError::Quota {
            reason: Reason::Exhausted,
            message: format!("{says} (ask AWS for a higher quota)"),
        },
        _ if is_of_credentials(code) => ProviderError::Auth(says),
        // Internal errors, and what has no code, as from a proxy in between.
        _ if status >= 500 || code.is_empty() => ProviderError::Retryable(says),
        _ => ProviderError::refused(format!("AWS refuses {call} ({code}): {message}")),
    }
}

/// The calls of ACM.
const ACM: [&str; 5] = [
    "DeleteCertificate",
    "GetCertificate",
    "ImportCertificate",
    "ListCertificates",
    "ListTagsForCertificate",
];

fn is_of_credentials(code: &str) -> bool {
    const CODES: [&str; 12] = [
        "AccessDenied",
        "AccessDeniedException",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "MissingAuthenticationToken",
        "NotAuthorized",
        "OptInRequired",
        "SignatureDoesNotMatch",
        "UnauthorizedOperation",
        "UnrecognizedClientException",
    ];
    CODES.contains(&code)
}

fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// One line that is not too long.
fn shown(text: &str) -> String {
    let plain: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match plain.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &plain[..end]),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(call: &'static str, code: &str, status: u16) -> &'static str {
        let kind = Kind::Answer { code: code.into(), message: "why".into(), status };
        Failure { call, kind }.into_error(Duration::from_secs(1)).kind()
    }

    #[test]
    fn each_code_says_what_the_operator_has_to_do() {
        for (call, code, status, expected) in [
            ("DescribeLoadBalancers", "Throttling", 400, "throttled"),
            ("DescribeLoadBalancers", "", 429, "throttled"),
            ("DescribeTags", "LoadBalancerNotFound", 400, "not_found"),
            ("ModifyListener", "ListenerNotFound", 400, "not_found"),
            ("CreateLoadBalancer", "DuplicateLoadBalancerName", 400, "conflict"),
            ("CreateListener", "DuplicateListener", 400, "conflict"),
            ("DeleteTargetGroup", "ResourceInUse", 400, "pending"),
            ("CreateLoadBalancer", "ResourceInUse", 400, "conflict"),
            ("RegisterTargets", "InvalidTarget", 400, "retryable"),
            ("DeleteLoadBalancer", "OperationNotPermitted", 400, "user"),
            ("CreateLoadBalancer", "TooManyLoadBalancers", 400, "quota"),
            ("CreateLoadBalancer", "AccessDenied", 403, "auth"),
            ("CreateLoadBalancer", "InvalidClientTokenId", 403, "auth"),
            ("CreateLoadBalancer", "InternalFailure", 500, "retryable"),
            ("CreateLoadBalancer", "", 502, "retryable"),
            ("CreateLoadBalancer", "", 400, "retryable"),
            ("CreateLoadBalancer", "SubnetNotFound", 400, "user"),
            ("CreateListener", "CertificateNotFound", 400, "user"),
            ("DeleteCertificate", "ResourceInUseException", 400, "pending"),
            ("ImportCertificate", "ResourceNotFoundException", 400, "not_found"),
            ("ImportCertificate", "LimitExceededException", 400, "quota"),
            ("ImportCertificate", "ThrottlingException", 400, "throttled"),
            ("ListCertificates", "AccessDeniedException", 400, "user"),
            ("CreateListener", "ValidationError", 400, "user"),
            ("CreateLoadBalancer", "InvalidConfigurationRequest", 400, "user"),
        ] {
            assert_eq!(kind(call, code, status), expected, "{call} {code} {status}");
        }
    }

    #[test]
    fn what_aws_says_is_one_short_line() {
        assert_eq!(shown(" a\nb\u{1b}c "), "a b c");
        assert_eq!(shown(&"ä".repeat(10_000)).chars().count(), SHOWN + 1);
    }
}
