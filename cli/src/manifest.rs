//! The documents of a manifest: pure.

use serde::Deserialize;
use serde_json::Value;

/// A document that counts for a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Its number in the file, from 1; empty documents do not count.
    pub number: usize,
    /// What it is.
    pub kind: DocumentKind,
    /// The object, with name.
    pub object: Value,
}

/// The kinds that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentKind {
    /// A Service.
    Service,
    /// An IPAddressPool.
    Pool,
    /// A LoadBalancerClass.
    Class,
}

/// A document that cannot be used, by its number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("document {number}{}: {why}", .name.as_ref().map(|n| format!(" ({n})")).unwrap_or_default())]
pub struct DocumentError {
    /// Its number in the file, from 1.
    pub number: usize,
    /// Kind and name, as far as they can be read.
    pub name: Option<String>,
    /// What is wrong.
    pub why: String,
}

impl Document {
    /// An error about it.
    pub fn error(&self, why: impl Into<String>) -> DocumentError {
        DocumentError { number: self.number, name: Some(title(&self.object)), why: why.into() }
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace`, else the one that is given.
    #[must_use]
    pub fn namespace<'a>(&'a self, default: &'a str) -> &'a str {
        self.object["metadata"]["namespace"].as_str().unwrap_or(default)
    }
}

/// Reads YAML or JSON. One bad document harms only itself; of other kinds than those that count nothing is said.
#[must_use]
pub fn documents(text: &str) -> Vec<Result<Document, DocumentError>> {
    let read = |(number, object)| match object {
        Ok(object) => document(number, object).transpose(),
        Err(error) => Some(Err(error)),
    };
    numbered(text).into_iter().filter_map(read).collect()
}

/// Every object of YAML or JSON, those of lists one by one. One bad document harms only itself.
pub(crate) fn objects(text: &str) -> impl Iterator<Item = Result<Value, DocumentError>> {
    numbered(text).into_iter().map(|(_, object)| object)
}

/// With the numbers of their documents.
fn numbered(text: &str) -> Vec<(usize, Result<Value, DocumentError>)> {
    let texts = split(text).into_iter().filter(|t| !is_blank(t));
    let read =
        |(number, text): (usize, String)| read(number, &text).into_iter().map(move |object| (number, object));
    (1..).zip(texts).flat_map(read).collect()
}

/// At lines that begin with `---`. The YAML reader would do it too, but ends at the first error.
fn split(text: &str) -> Vec<String> {
    let mut texts = vec![String::new()];
    for line in text.lines() {
        match line.strip_prefix("---") {
            Some(rest) if rest.is_empty() || rest.starts_with([' ', '\t', '\r']) => {
                texts.push(format!("{}\n", rest.trim_start()));
            }
            _ => {
                if let Some(last) = texts.last_mut() {
                    last.push_str(line);
                    last.push('\n');
                }
            }
        }
    }
    texts
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

fn read(number: usize, text: &str) -> Vec<Result<Value, DocumentError>> {
    let value = Value::deserialize(yaml_serde::Deserializer::from_str(text));
    match value {
        Ok(object) if object["kind"] == "List" => {
            object["items"].as_array().cloned().unwrap_or_default().into_iter().map(Ok).collect()
        }
        Ok(object) => vec![Ok(object)],
        Err(error) => {
            vec![Err(DocumentError { number, name: None, why: format!("it is not YAML: {error}") })]
        }
    }
}

fn document(number: usize, mut object: Value) -> Result<Option<Document>, DocumentError> {
    let bad = |name: Option<String>, why: &str| Err(DocumentError { number, name, why: why.to_owned() });
    let (Some(version), Some(kind)) = (object["apiVersion"].as_str(), object["kind"].as_str()) else {
        return bad(None, "apiVersion or kind is missing");
    };
    let kind = match (version, kind) {
        ("v1", "Service") => DocumentKind::Service,
        ("penstock.dev/v1alpha1", "IPAddressPool") => DocumentKind::Pool,
        ("penstock.dev/v1alpha1", "LoadBalancerClass") => DocumentKind::Class,
        _ => return Ok(None),
    };
    if object["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        return bad(Some(title(&object)), "metadata.name is missing");
    }
    // What `kubectl get -o yaml` shows and no apply takes.
    if let Some(metadata) = object["metadata"].as_object_mut() {
        ["managedFields", "resourceVersion", "uid", "creationTimestamp"].iter().for_each(|field| {
            metadata.remove(*field);
        });
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    Ok(Some(Document { number, kind, object }))
}

fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"])).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "# first\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  resourceVersion: '7'\nstatus: {}\n--- # second\nkind: [\n---\n\n---\napiVersion: penstock.dev/v1alpha1\nkind: IPAddressPool\nmetadata: {name: p, namespace: x}\n---\napiVersion: apps/v1\nkind: Deployment\n";

    #[test]
    fn one_bad_document_is_one_error_with_its_number_and_the_others_go_on() {
        let read = documents(TWO);
        let kinds: Vec<_> = read.iter().filter_map(|d| d.as_ref().ok()).map(|d| (d.number, d.kind)).collect();
        assert_eq!(kinds, [(1, DocumentKind::Service), (3, DocumentKind::Pool)]);
        let errors: Vec<String> = read.iter().filter_map(|d| Some(d.as_ref().err()?.to_string())).collect();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with("document 2: it is not YAML: "), "{errors:?}");
    }

    #[test]
    fn what_only_the_api_server_writes_is_left_out() {
        let first = documents(TWO).remove(0).unwrap();
        assert_eq!(
            first.object,
            serde_json::json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}})
        );
        assert_eq!(first.namespace("default"), "default");
    }

    #[test]
    fn a_list_is_its_items_and_a_name_must_be_there() {
        let list = r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}},
            {"apiVersion": "v1", "kind": "Service"}, {"kind": "Service"}]}"#;
        let read = documents(list);
        assert_eq!(read[0].as_ref().unwrap().name(), "a");
        let error = |i: usize| read[i].as_ref().unwrap_err().to_string();
        assert_eq!(error(1), "document 1 (Service): metadata.name is missing");
        assert_eq!(error(2), "document 1: apiVersion or kind is missing");
    }
}
