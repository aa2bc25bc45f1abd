//! What passes through the proxy, by name: a call or an event is the same one in every run of a scenario, even where
//! concurrent calls swap places.

use std::fmt;

use http::{Method, Uri};
use serde_json::Value;

/// What stands in a path for a UID.
pub(super) const UID: &str = "{uid}";

/// A call: method, path, and how many calls of this method and path came before it (from 1).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call {
    /// The HTTP method.
    pub method: String,
    /// The path, without the query, and with `{uid}` in place of every UID and number: objects have others in every run.
    pub path: String,
    /// Counts from 1.
    pub occurrence: usize,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} #{}", self.method, short(&self.path), self.occurrence)
    }
}

/// An event of a watch, named as a [`Call`] is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WatchEvent {
    /// The collection that is watched: `services`.
    pub collection: String,
    /// The object's name.
    pub name: String,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub kind: String,
    /// Counts from 1.
    pub occurrence: usize,
}

impl fmt::Display for WatchEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{} #{}", self.kind, self.collection, self.name, self.occurrence)
    }
}

/// What the proxy does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// A read: passed through.
    Read,
    /// A watch of the API server: its events pass one by one.
    Watch,
    /// The renewal of a Lease: passed through, and not a write that somebody has to explain.
    Lease,
    /// A call that changes something.
    Mutation,
}

impl Class {
    pub(super) fn of(method: &Method, uri: &Uri) -> Self {
        let mut query = uri.query().unwrap_or_default().split('&');
        match *method {
            Method::GET if query.any(|q| matches!(q, "watch=true" | "watch=1" | "watch")) => Self::Watch,
            Method::GET | Method::HEAD | Method::OPTIONS => Self::Read,
            _ if uri.path().contains("/apis/coordination.k8s.io/") => Self::Lease,
            _ => Self::Mutation,
        }
    }
}

/// The path with [`UID`] in place of every UID.
pub(super) fn without_uids(path: &str) -> String {
    let is_id = |segment: &str| is_uid(segment) || is_number(segment);
    let name = |segment: &str| if is_id(segment) { UID.to_owned() } else { segment.to_owned() };
    path.split('/').map(name).collect::<Vec<_>>().join("/")
}

/// RFC 9562, section 4: the API server's UIDs are UUIDs in text.
fn is_uid(segment: &str) -> bool {
    let groups: Vec<&str> = segment.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
}

/// What clouds count their objects by, as in `load_balancers/12` and `load_balancers/lb-00000012`.
fn is_number(segment: &str) -> bool {
    let number = segment.rsplit('-').next().unwrap_or(segment);
    let counted =
        number == segment || (number.len() == 8 && ["lb", "cert"].iter().any(|k| segment.starts_with(k)));
    counted && !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
}

/// The path without what is the same in all of them.
pub(super) fn short(path: &str) -> &str {
    path.split_once("/namespaces/").map_or(path, |(_, rest)| rest)
}

/// The collection that a watch is about.
pub(super) fn collection(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Type and object name of an event that carries an object; bookmarks and errors have none.
pub(super) fn event_identity(line: &[u8]) -> Option<(String, String)> {
    let event: Value = serde_json::from_slice(line).ok()?;
    let kind = event["type"].as_str().filter(|kind| matches!(*kind, "ADDED" | "MODIFIED" | "DELETED"))?;
    Some((kind.to_owned(), event["object"]["metadata"]["name"].as_str()?.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let class = |method: Method, uri: &str| Class::of(&method, &uri.parse().unwrap());
        assert_eq!(class(Method::GET, "/api/v1/services?&limit=500"), Class::Read);
        assert_eq!(class(Method::GET, "/api/v1/services?&watch=true&timeoutSeconds=30"), Class::Watch);
        assert_eq!(class(Method::POST, "/apis/events.k8s.io/v1/namespaces/a/events"), Class::Mutation);
        assert_eq!(class(Method::DELETE, "/v1/balancers/a"), Class::Mutation);
        let lease = "/apis/coordination.k8s.io/v1/namespaces/a/leases/b";
        assert_eq!(class(Method::PUT, lease), Class::Lease);
    }

    #[test]
    fn an_event_is_named_by_its_object_and_a_bookmark_is_none() {
        let line = br#"{"type":"ADDED","object":{"metadata":{"name":"a"}}}"#;
        assert_eq!(event_identity(line), Some(("ADDED".into(), "a".into())));
        assert_eq!(event_identity(br#"{"type":"BOOKMARK","object":{"metadata":{"name":"a"}}}"#), None);
        assert_eq!(event_identity(b"{"), None);
    }

    #[test]
    fn a_path_has_the_same_name_whatever_the_uid() {
        let path = "/v1/load-balancers/7c2f9a1e-52f4-4f0e-9c5b-0d6b1b7f2a11/targets";
        assert_eq!(without_uids(path), "/v1/load-balancers/{uid}/targets");
        let numbered = ["/v1/load_balancers/17/actions/add_target", "/v2/certificates/cert-00000017"];
        assert_eq!(without_uids(numbered[0]), "/v1/load_balancers/{uid}/actions/add_target");
        assert_eq!(without_uids(numbered[1]), "/v2/certificates/{uid}");
        for path in ["/api/v1/namespaces/default/services/a", "/a/7c2f9a1e-52f4-4f0e-9c5b-0d6b1b7f2a1"] {
            assert_eq!(without_uids(path), path);
        }
    }

    #[test]
    fn names_are_short() {
        let call = Call {
            method: "PATCH".into(),
            path: "/api/v1/namespaces/default/services/a/status".into(),
            occurrence: 2,
        };
        assert_eq!(call.to_string(), "PATCH default/services/a/status #2");
    }
}
