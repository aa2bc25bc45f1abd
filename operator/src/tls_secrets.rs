//! Secrets of type `kubernetes.io/tls`, for balancers that end TLS. Those of a namespace are watched only from the moment
//! a Service there names one.

use std::{
    collections::BTreeSet,
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use futures::{
    Stream, StreamExt,
    channel::mpsc::UnboundedReceiver,
    future::ready,
    stream::{self, SelectAll},
};
use k8s_openapi::{
    api::core::v1::{Secret, Service},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        reflector::Store,
        watcher::{self, Event},
    },
};
use penstock_model::ObjectKey;
use penstock_runtime::watch;

use crate::{
    certificates::{News, named_secret},
    intent::World,
    wake_list::WakeList,
};

/// The clock may be put right meanwhile: nobody sleeps longer until a certificate expires.
const LONGEST: Duration = Duration::from_secs(3600);

/// Watches TLS Secrets for as long as the process lives.
pub(crate) struct TlsSecrets {
    pub(crate) client: Client,
    pub(crate) world: Arc<RwLock<World>>,
    /// By which a Service is looked at again.
    pub(crate) wake: Arc<WakeList>,
    pub(crate) services: Store<Service>,
    /// Namespaces where a Service names one.
    pub(crate) wanted: UnboundedReceiver<String>,
}

/// News of one namespace, which is named with each.
type Watch = Pin<Box<dyn Stream<Item = (String, News)> + Send>>;

impl TlsSecrets {
    /// Ends only with the process.
    pub(crate) async fn run(mut self) {
        let (mut watches, mut watched) = (SelectAll::<Watch>::new(), BTreeSet::new());
        loop {
            let until_end = self.until_next_end();
            tokio::select! {
                Some(namespace) = self.wanted.next() => {
                    if watched.insert(namespace.clone()) {
                        watches.push(self.watch(namespace));
                    }
                }
                Some((namespace, news)) = watches.next() => self.take(&namespace, news),
                () = tokio::time::sleep(until_end.unwrap_or(LONGEST)), if until_end.is_some() => self.expire(),
                else => return,
            }
        }
    }

    fn watch(&self, namespace: String) -> Watch {
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let config = watcher::Config::default().fields("type=kubernetes.io/tls");
        let mut listed = Vec::new();
        let news = watch(secrets, config).filter_map(move |event| ready(read(&mut listed, event)));
        Box::pin(news.zip(stream::repeat(namespace)).map(|(news, namespace)| (namespace, news)))
    }

    fn take(&self, namespace: &str, news: News) {
        let differ = {
            let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
            world.certificates.take(namespace, news, Timestamp::now())
        };
        self.wake(|place, name| place == namespace && differ.as_ref().is_none_or(|all| all.contains(name)));
    }

    fn expire(&self) {
        let expired = {
            let mut world = self.world.write().unwrap_or_else(PoisonError::into_inner);
            world.certificates.expire(Timestamp::now())
        };
        self.wake(|namespace, name| expired.iter().any(|(place, other)| place == namespace && other == name));
    }

    /// The Services that name such a Secret (namespace, name).
    fn wake(&self, meant: impl Fn(&str, &str) -> bool) {
        for service in self.services.state() {
            let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
            if named_secret(&service).is_some_and(|name| meant(namespace, name)) {
                self.wake.wake(&ObjectKey::of(&service.metadata));
            }
        }
    }

    fn until_next_end(&self) -> Option<Duration> {
        let end = self.world.read().unwrap_or_else(PoisonError::into_inner).certificates.next_end()?;
        let left = Duration::try_from(end.duration_since(Timestamp::now())).unwrap_or_default();
        // It is valid at its end still.
        Some((left + Duration::from_secs(1)).min(LONGEST))
    }
}

/// What an event of the watch means; a failure that passes is none.
fn read(listed: &mut Vec<Secret>, event: Result<Event<Secret>, watcher::Error>) -> Option<News> {
    match event {
        Ok(Event::Init) => listed.clear(),
        Ok(Event::InitApply(secret)) => listed.push(secret),
        Ok(Event::InitDone) => return Some(News::All(std::mem::take(listed))),
        Ok(Event::Apply(secret)) => return Some(News::Changed(Box::new(secret))),
        Ok(Event::Delete(secret)) => return Some(News::Gone(secret.name_any())),
        Err(error) => {
            let forbidden = is_forbidden(&error);
            tracing::debug!(%error, "Secrets cannot be watched, trying again");
            return forbidden.then_some(News::Forbidden);
        }
    }
    None
}

fn is_forbidden(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status.is_forbidden(),
        watcher::Error::WatchError(status) => status.is_forbidden(),
        _ => false,
    }
}
