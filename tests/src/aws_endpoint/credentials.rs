//! Whether a call is signed, and by whom. The signature itself is not computed: the endpoint knows no secret.

use axum::http::{HeaderMap, header};

use super::failure::Failure;

/// The access key id that the endpoint lets in until it is told otherwise.
pub const ACCESS_KEY: &str = "AKIAPENSTOCKTEST0001";

/// The region that signatures are for.
pub const REGION: &str = "eu-central-1";

/// The names of two refusals differ between the Query protocol and JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Query,
    Json,
}

/// Looks at the headers of Signature Version 4 of a call to `service` (`elasticloadbalancing`, `acm`, `tagging`).
pub(super) fn check(
    headers: &HeaderMap,
    protocol: Protocol,
    service: &str,
    access_key: &str,
) -> Result<(), Failure> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(authorization) = text(header::AUTHORIZATION.as_str()) else {
        let code = "MissingAuthenticationToken";
        return Err(Failure::with_status(403, code, "Request is missing Authentication Token"));
    };
    let incomplete = |what: &str| Failure::new("IncompleteSignature", format!("The request has no {what}"));
    let parts =
        authorization.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| incomplete("SigV4 signature"))?;
    let part = |name: &str| {
        let found = parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        found.ok_or_else(|| incomplete(name))
    };
    let signature = part("Signature")?;
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(incomplete("Signature of 64 hexadecimal digits"));
    }
    if !part("SignedHeaders")?.split(';').any(|name| name == "host") || text("x-amz-date").is_none() {
        return Err(incomplete("signed host and X-Amz-Date"));
    }
    scope(part("Credential")?, protocol, service, access_key)
}

/// `KEY/20260101/eu-central-1/acm/aws4_request`.
fn scope(credential: &str, protocol: Protocol, service: &str, access_key: &str) -> Result<(), Failure> {
    let fields: Vec<&str> = credential.split('/').collect();
    let [key, date, region, of, "aws4_request"] = fields.as_slice() else {
        return Err(Failure::new(
            "IncompleteSignature",
            "Credential must be KEY/DATE/REGION/SERVICE/aws4_request",
        ));
    };
    if *key != access_key {
        let code = match protocol {
            Protocol::Query => "InvalidClientTokenId",
            Protocol::Json => "UnrecognizedClientException",
        };
        let message = "The security token included in the request is invalid.";
        return Err(Failure::with_status(403, code, message));
    }
    if *region != REGION || *of != service || date.len() != 8 {
        let code = match protocol {
            Protocol::Query => "SignatureDoesNotMatch",
            Protocol::Json => "InvalidSignatureException",
        };
        let message = format!("Credential should be scoped to {REGION} and service '{service}'.");
        return Err(Failure::with_status(403, code, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(authorization: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-date", "20260101T000000Z".parse().unwrap());
        if let Some(authorization) = authorization {
            headers.insert("authorization", authorization.parse().unwrap());
        }
        check(&headers, Protocol::Query, "acm", "K").err().map_or(String::new(), |failure| failure.code)
    }

    #[test]
    fn each_part_of_a_signature_is_looked_at() {
        let signature = "a".repeat(64);
        let of = |scope: &str, headers: &str| {
            let text = format!(
                "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={headers}, Signature={signature}"
            );
            code(Some(&text))
        };
        assert_eq!(code(None), "MissingAuthenticationToken");
        assert_eq!(code(Some("Bearer x")), "IncompleteSignature");
        assert_eq!(of("K/20260101/eu-central-1/acm/aws4_request", "host;x-amz-date"), "");
        assert_eq!(of("K/20260101/eu-central-1/acm/aws4_request", "accept"), "IncompleteSignature");
        assert_eq!(of("L/20260101/eu-central-1/acm/aws4_request", "host"), "InvalidClientTokenId");
        assert_eq!(of("K/20260101/us-east-1/acm/aws4_request", "host"), "SignatureDoesNotMatch");
        assert_eq!(of("K/20260101/eu-central-1/ec2/aws4_request", "host"), "SignatureDoesNotMatch");
    }
}
