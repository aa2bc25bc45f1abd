//! Calls of AWS' Query protocol without an SDK: tables of calls can be tried on several endpoints, also calls that no
//! SDK would send, and everything of the answers compared.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use axum::body::{Body, Bytes};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use quick_xml::{Reader, events::Event};

/// The fields of an answer by their paths. Members of lists are sorted and numbered; one with `Key` and `Value` has its
/// key in the path: `Attributes[deletion_protection.enabled]`.
pub type Fields = BTreeMap<String, String>;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Of the result, or of the error.
    pub fields: Fields,
}

impl Answer {
    /// The code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.fields.get("Error.Code").map(String::as_str)
    }
}

/// A caller of one endpoint.
pub struct AwsQuery {
    url: String,
    scope: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl AwsQuery {
    /// Calls ELBv2 at this URL. The signature has the right form and no value.
    #[must_use]
    pub fn new(url: &str, access_key: &str, region: &str) -> Self {
        let scope = format!("{access_key}/20260101/{region}/elasticloadbalancing/aws4_request");
        Self { url: url.to_owned(), scope, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Makes a call; the parameters are already encoded.
    ///
    /// # Errors
    /// When there is no answer, or it is no XML.
    pub async fn call(&self, action: &str, parameters: &str) -> Result<Answer> {
        let body = format!("Action={action}&Version=2015-12-01&{parameters}");
        let (scope, signature) = (&self.scope, "0".repeat(64));
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
        );
        let request = Request::post(format!("{}/", self.url))
            .header("authorization", authorization)
            .header("x-amz-date", "20260101T000000Z")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(body)))?;
        let answer = self.client.request(request).await.with_context(|| format!("call {action}"))?;
        let status = answer.status().as_u16();
        let text = Body::new(answer.into_body()).collect().await?.to_bytes();
        let text = std::str::from_utf8(&text).context("an answer is text")?;
        let fields = fields(text).with_context(|| format!("{action} was answered {status} {text}"))?;
        Ok(Answer { status, fields })
    }
}

#[derive(Debug, Default)]
struct Element {
    name: String,
    text: String,
    children: Vec<Self>,
}

/// The fields of a result or of an error.
fn fields(xml: &str) -> Result<Fields> {
    let mut found = Vec::new();
    let root = parse(xml)?;
    let is_result = |name: &str| name.ends_with("Result");
    let inner = root.children.iter().find(|child| is_result(&child.name)).unwrap_or(&root);
    flatten(inner, "", &mut found);
    Ok(found.into_iter().filter(|(path, _)| !path.ends_with("RequestId")).collect())
}

fn parse(xml: &str) -> Result<Element> {
    let mut reader = Reader::from_str(xml);
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event()? {
            Event::Start(start) => {
                let name = String::from_utf8(start.local_name().as_ref().to_vec())?;
                open.push(Element { name, ..Element::default() });
            }
            Event::Empty(empty) => {
                let name = String::from_utf8(empty.local_name().as_ref().to_vec())?;
                let parent = open.last_mut().context("an element is in another")?;
                parent.children.push(Element { name, ..Element::default() });
            }
            Event::Text(text) => {
                let parent = open.last_mut().context("text is in an element")?;
                parent.text += &text.decode()?;
            }
            Event::GeneralRef(reference) => {
                let parent = open.last_mut().context("text is in an element")?;
                let text = format!("&{};", reference.decode()?);
                parent.text += &quick_xml::escape::unescape(&text)?;
            }
            Event::End(_) => {
                let done = open.pop().context("what ends began")?;
                open.last_mut().context("the root stays")?.children.push(done);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    match open.pop().map(|mut top| top.children.pop()) {
        Some(Some(root)) => Ok(root),
        _ => bail!("there is no element"),
    }
}

fn flatten(element: &Element, path: &str, found: &mut Vec<(String, String)>) {
    if element.children.is_empty() {
        found.push((path.to_owned(), element.text.clone()));
        return;
    }
    let (members, others): (Vec<_>, Vec<_>) =
        element.children.iter().partition(|child| child.name == "member");
    for child in others {
        let inner = if path.is_empty() { child.name.clone() } else { format!("{path}.{}", child.name) };
        flatten(child, &inner, found);
    }
    let mut lists: Vec<Vec<(String, String)>> = members.into_iter().map(member).collect();
    lists.sort();
    for (n, list) in lists.into_iter().enumerate() {
        let of = |name: &str| list.iter().find(|(path, _)| path == name).map(|(_, text)| text.clone());
        match (of(".Key"), list.len() <= 2) {
            (Some(key), true) => found.push((format!("{path}[{key}]"), of(".Value").unwrap_or_default())),
            _ => found.extend(list.into_iter().map(|(inner, text)| (format!("{path}[{n}]{inner}"), text))),
        }
    }
}

fn member(element: &Element) -> Vec<(String, String)> {
    let mut list = Vec::new();
    flatten(element, "", &mut list);
    let dotted = |path: String| match path.is_empty() || path.starts_with('[') {
        true => path,
        false => format!(".{path}"),
    };
    // What an element's fields are sorted by must not be the order in which an endpoint writes them.
    let mut list: Vec<_> = list.into_iter().map(|(path, text)| (dotted(path), text)).collect();
    list.sort();
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_becomes_paths() {
        let xml = "<?xml version='1.0'?><AResponse xmlns='x'><AResult><L><member><N>b</N><E/></member><member><N>a</N>\
                   </member></L><T><member><Key>k</Key><Value>1 &amp; 2</Value></member></T></AResult>\
                   <ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AResponse>";
        let expected = [("L[0].E", ""), ("L[0].N", "b"), ("L[1].N", "a"), ("T[k]", "1 & 2")];
        let found = fields(xml).unwrap();
        assert_eq!(found.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_error_has_a_code() {
        let xml = "<ErrorResponse><Error><Code>C</Code></Error><RequestId>r</RequestId></ErrorResponse>";
        let answer = Answer { status: 400, fields: fields(xml).unwrap() };
        assert_eq!(answer.code(), Some("C"));
    }
}
