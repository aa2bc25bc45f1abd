//! Objects of the API server, and what has to be done to get from some to others.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

/// How many requests are under way at a time.
const AT_ONCE: usize = 16;

/// An object, by where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The path of its collection, such as `/api/v1/namespaces/default/services`.
    pub collection: String,
    /// Its name.
    pub name: String,
    /// All of it but its status.
    pub body: Value,
    /// What is written to its status once it is there.
    pub status: Option<Value>,
}

impl Object {
    /// An object without a status.
    pub fn new(collection: impl Into<String>, body: Value) -> Self {
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Self { collection: collection.into(), name, body, status: None }
    }

    /// Where it lies, with its name.
    pub fn path(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }

    fn has_finalizer(&self) -> bool {
        self.body["metadata"].get("finalizers").is_some()
    }
}

/// Objects by their paths.
pub type Objects = BTreeMap<String, Object>;

/// What turns some objects into others: those that go, and those that come. One that differs goes and comes.
pub fn changes<'a>(before: &'a Objects, after: &'a Objects) -> (Vec<&'a Object>, Vec<&'a Object>) {
    let differs = |there: &Objects, object: &Object| there.get(&object.path()) != Some(object);
    let gone = before.values().filter(|object| differs(after, object)).collect();
    let new = after.values().filter(|object| differs(before, object)).collect();
    (gone, new)
}

/// Carries changes out. Addresses may move from one Service to another, so that deletions go first.
///
/// # Errors
/// What the API server says, with the path of the object.
pub async fn carry_out(client: &kube::Client, gone: &[&Object], new: &[&Object]) -> Result<()> {
    all(gone.iter().map(|object| delete(client, object))).await?;
    all(new.iter().map(|object| create(client, object))).await
}

async fn all(work: impl Iterator<Item = impl Future<Output = Result<()>>>) -> Result<()> {
    stream::iter(work).buffer_unordered(AT_ONCE).try_collect().await
}

async fn create(client: &kube::Client, object: &Object) -> Result<()> {
    send(client, "POST", object.collection.clone(), Some(&object.body)).await?;
    match &object.status {
        None => Ok(()),
        Some(status) => {
            send(client, "PATCH", format!("{}/status", object.path()), Some(status)).await?;
            finish(client, object).await
        }
    }
}

/// One that has a finalizer is there to be seen on its way out.
async fn finish(client: &kube::Client, object: &Object) -> Result<()> {
    if object.has_finalizer() { send(client, "DELETE", object.path(), None).await } else { Ok(()) }
}

async fn delete(client: &kube::Client, object: &Object) -> Result<()> {
    if object.has_finalizer() {
        let none = json!({ "metadata": { "finalizers": null } });
        return send(client, "PATCH", object.path(), Some(&none)).await;
    }
    send(client, "DELETE", object.path(), None).await
}

async fn send(client: &kube::Client, method: &str, path: String, body: Option<&Value>) -> Result<()> {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
    let request = http::Request::builder().method(method).uri(&path).header("content-type", kind).body(body);
    let reply = client.request::<Value>(request.context("make a request")?).await;
    let reply = reply.with_context(|| format!("{method} {path}"))?;
    ensure!(reply.is_object(), "{method} {path}: {reply}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_goes_and_comes() {
        let object = |name: &str, value: u32| {
            let object = Object::new("/c", json!({ "metadata": { "name": name }, "value": value }));
            (object.path(), object)
        };
        let before = Objects::from([object("same", 1), object("gone", 1), object("other", 1)]);
        let after = Objects::from([object("same", 1), object("new", 1), object("other", 2)]);
        let (gone, new) = changes(&before, &after);
        let names = |objects: &[&Object]| objects.iter().map(|o| o.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&gone), ["gone", "other"]);
        assert_eq!(names(&new), ["new", "other"]);
    }
}
