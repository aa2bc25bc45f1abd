//! Reads with the user's own rights: what may not be read is one sentence, and the rest goes on.

use std::fmt::Debug;

use kube::{Api, Resource, api::ListParams};
use serde::de::DeserializeOwned;

/// A read that was refused or failed, in one sentence.
#[must_use]
pub fn sentence(verb: &str, resource: &str, error: &kube::Error) -> String {
    match error {
        kube::Error::Api(answer) if answer.is_forbidden() => {
            format!("you may not {verb} {resource}: ask for the verb {verb} on the resource {resource}")
        }
        kube::Error::Api(answer) if answer.code == 404 => {
            format!("the API server does not know {resource}: Penstock's kinds are not installed")
        }
        kube::Error::Api(answer) => format!("cannot {verb} {resource}: {}", answer.message),
        other => format!("cannot {verb} {resource}: {}", with_causes(other)),
    }
}

/// An error and those of its causes that it does not repeat.
fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |text, cause| {
        if text.contains(&cause) { text } else { format!("{text}: {cause}") }
    })
}

/// What could not be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps(Vec<(String, String)>);

impl Gaps {
    /// Adds one: a resource, and what to say.
    pub fn add(&mut self, resource: &str, sentence: String) {
        self.0.push((resource.to_owned(), sentence));
    }

    /// Whether objects of this resource are not known.
    #[must_use]
    pub fn lack(&self, resource: &str) -> bool {
        self.0.iter().any(|(lacking, _)| lacking.starts_with(resource))
    }

    /// Refuses to go on where one of these resources could not be read.
    ///
    /// # Errors
    /// With `what` cannot be done, and what could not be read.
    pub fn refuse(&self, what: &str, needed: &[&str]) -> anyhow::Result<()> {
        let lacking = needed.iter().any(|resource| self.lack(resource));
        anyhow::ensure!(!lacking, "cannot {what}: {}", self.sentences().join("; "));
        Ok(())
    }

    /// Each in one sentence.
    #[must_use]
    pub fn sentences(&self) -> Vec<String> {
        self.0.iter().map(|(_, sentence)| sentence.clone()).collect()
    }

    /// All objects; where the user may not list them, nothing and a sentence.
    ///
    /// # Errors
    /// When the API server does not answer at all: nothing else will be read either.
    pub async fn list<K>(&mut self, api: &Api<K>, resource: &str) -> anyhow::Result<Vec<K>>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        match api.list(&ListParams::default()).await {
            Ok(list) => Ok(list.items),
            Err(error @ kube::Error::Api(_)) => {
                self.add(resource, sentence("list", resource, &error));
                Ok(Vec::new())
            }
            Err(error) => Err(anyhow::anyhow!(sentence("list", resource, &error))),
        }
    }

    /// One object; where the user may not get it, a sentence.
    ///
    /// # Errors
    /// As [`Gaps::list`].
    pub async fn get<K>(&mut self, api: &Api<K>, name: &str, resource: &str) -> anyhow::Result<Found<K>>
    where
        K: Resource + Clone + DeserializeOwned + Debug,
    {
        match api.get_opt(name).await {
            Ok(Some(object)) => Ok(Found::Here(object)),
            Ok(None) => Ok(Found::Missing),
            Err(error @ kube::Error::Api(_)) => {
                self.add(resource, sentence("get", resource, &error));
                Ok(Found::Unknown)
            }
            Err(error) => Err(anyhow::anyhow!(sentence("get", resource, &error))),
        }
    }
}

/// What became of a read of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<K> {
    /// It is there.
    Here(K),
    /// It is not.
    Missing,
    /// The user may not know.
    Unknown,
}
