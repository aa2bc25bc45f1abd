//! Answers on the wire: XML of the Query protocol, and JSON of the others.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::Response,
};
use quick_xml::escape::escape;
use serde_json::{Value, json};

use super::failure::Failure;

const NAMESPACE: &str = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/";

/// What a call comes to: the members of its result, or a refusal.
pub(super) type Outcome = Result<Value, Failure>;

/// An answer of ELBv2.
pub(super) fn xml(action: &str, outcome: &Outcome, request_id: &str) -> Response {
    let (status, text) = match outcome {
        Ok(result) => (200, success(action, result, request_id)),
        Err(failure) => (failure.status, refusal(failure, request_id)),
    };
    response(status, "text/xml", text, request_id)
}

/// The result comes before the rest: clients read in this order.
fn success(action: &str, result: &Value, request_id: &str) -> String {
    let (result, metadata) = (members(result), members(&json!({"RequestId": request_id})));
    format!(
        "<{action}Response xmlns=\"{NAMESPACE}\"><{action}Result>{result}</{action}Result>\
         <ResponseMetadata>{metadata}</ResponseMetadata></{action}Response>"
    )
}

fn refusal(failure: &Failure, request_id: &str) -> String {
    let kind = if failure.status < 500 { "Sender" } else { "Receiver" };
    let body = json!({
        "Error": {"Type": kind, "Code": failure.code, "Message": failure.message}, "RequestId": request_id
    });
    format!("<ErrorResponse xmlns=\"{NAMESPACE}\">{}</ErrorResponse>", members(&body))
}

/// What is null is left out, as AWS does.
fn members(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let shown = fields.iter().filter(|(_, value)| !value.is_null());
            shown.map(|(name, value)| format!("<{name}>{}</{name}>", members(value))).collect()
        }
        Value::Array(values) => {
            values.iter().map(|value| format!("<member>{}</member>", members(value))).collect()
        }
        Value::String(text) => escape(text).into_owned(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// An answer of ACM or of the tagging API.
pub(super) fn json(outcome: &Outcome, request_id: &str) -> Response {
    let (status, body) = match outcome {
        Ok(result) => (200, result.clone()),
        Err(failure) => (failure.status, json!({"__type": failure.code, "message": failure.message})),
    };
    response(status, "application/x-amz-json-1.1", body.to_string(), request_id)
}

fn response(status: u16, kind: &str, text: String, request_id: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let builder = Response::builder().status(status).header(header::CONTENT_TYPE, kind);
    builder.header("x-amzn-requestid", request_id).body(Body::from(text)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_members_and_text_is_escaped() {
        let shown = members(&json!({"A": [{"B": "<&>"}, {"B": 1}], "C": null, "D": []}));
        assert_eq!(shown, "<A><member><B>&lt;&amp;&gt;</B></member><member><B>1</B></member></A><D></D>");
    }
}
