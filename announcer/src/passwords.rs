//! Secrets with passwords of BGP sessions. Only those that a BGPPeer names are watched, each by its name: so the announcer
//! needs leave to read these and no others.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, runtime::watcher};
use penstock_runtime::{Update, updates};
use tokio::{sync::mpsc, task::AbortHandle};

use crate::{Input, bgp::Password};

/// The key of a Secret of the type `kubernetes.io/basic-auth`.
const KEY: &str = "password";
/// The kernel takes no more (`TCP_MD5SIG_MAXKEYLEN`).
const LONGEST: usize = 80;

/// One task for each Secret, which tells of it.
pub(crate) struct Passwords {
    secrets: Api<Secret>,
    news: mpsc::Sender<Input>,
    watches: BTreeMap<String, AbortHandle>,
}

impl Passwords {
    pub(crate) fn new(client: Client, namespace: &str, news: mpsc::Sender<Input>) -> Self {
        Self { secrets: Api::namespaced(client, namespace), news, watches: BTreeMap::new() }
    }

    /// Watches these Secrets and no others.
    pub(crate) fn watch(&mut self, names: &BTreeSet<&str>) {
        self.watches.retain(|name, watch| {
            let wanted = names.contains(name.as_str());
            if !wanted {
                watch.abort();
            }
            wanted
        });
        for name in names {
            if !self.watches.contains_key(*name) {
                let task = tell(self.secrets.clone(), (*name).to_owned(), self.news.clone());
                self.watches.insert((*name).to_owned(), tokio::spawn(task).abort_handle());
            }
        }
    }
}

impl Drop for Passwords {
    fn drop(&mut self) {
        self.watches.values().for_each(AbortHandle::abort);
    }
}

async fn tell(secrets: Api<Secret>, name: String, news: mpsc::Sender<Input>) {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut updates = std::pin::pin!(updates(secrets, config));
    while let Some(update) = updates.next().await {
        let secret = match &update {
            Update::Reset(list) => list.first(),
            Update::Apply(secret) => Some(secret),
            Update::Delete(_) => None,
        };
        let password = secret.map_or_else(|| Err(format!("there is no Secret {name:?}")), read);
        if news.send(Input::Password { secret: name.clone(), password }).await.is_err() {
            return;
        }
    }
}

fn read(secret: &Secret) -> Result<Password, String> {
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let password = secret.data.as_ref().and_then(|data| data.get(KEY)).map(|bytes| bytes.0.clone());
    match password {
        None => Err(format!("the Secret {name:?} has no key {KEY:?}")),
        Some(password) if (1..=LONGEST).contains(&password.len()) => Ok(Password(password)),
        Some(_) => Err(format!("the Secret {name:?}: {KEY:?} must have from 1 to {LONGEST} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;

    use super::*;

    fn secret(data: &[(&str, &[u8])]) -> Secret {
        let data = data.iter().map(|(key, value)| ((*key).to_owned(), ByteString(value.to_vec())));
        let mut secret = Secret { data: Some(data.collect()), ..Secret::default() };
        secret.metadata.name = Some("md5".into());
        secret
    }

    #[test]
    fn a_password_is_what_the_kernel_takes() {
        assert_eq!(read(&secret(&[("password", b"s3cret")])), Ok(Password(b"s3cret".to_vec())));
        assert!(read(&secret(&[("password", &[b'x'; 80])])).is_ok());
        for (data, reason) in [
            (vec![], "the Secret \"md5\" has no key \"password\""),
            (vec![("password", &b""[..])], "the Secret \"md5\": \"password\" must have from 1 to 80 bytes"),
            (
                vec![("password", &[b'x'; 81][..])],
                "the Secret \"md5\": \"password\" must have from 1 to 80 bytes",
            ),
        ] {
            assert_eq!(read(&secret(&data)), Err(reason.to_owned()));
        }
    }
}
