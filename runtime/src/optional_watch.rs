//! The watch of a kind that need not be there.

use std::{fmt::Debug, time::Duration};

use futures::{Stream, StreamExt, stream};
use kube::{
    Api, Resource,
    core::DeserializeGuard,
    runtime::watcher::{self, Error},
};
use serde::de::DeserializeOwned;

use crate::{
    Update,
    watch::{collect, readable, watch},
};

/// What is missing is asked for again after this time, by every node: it comes with an installation at most.
const PAUSE: Duration = Duration::from_secs(30);

/// As [`readable_updates`](crate::readable_updates), for a kind without which the process does its other work: where
/// it is not installed, or this account may not read it, that is said once and the list is empty, until that
/// changes. An account that loses its rights keeps what it has read; of a kind that is removed nothing is left.
pub fn optional_updates<K>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
) -> impl Stream<Item = Update<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let kind = K::kind(&K::DynamicType::default()).into_owned();
    let (mut listed, mut presence) = (Vec::new(), Presence::default());
    watch(api, config)
        .map(move |event| match event {
            Ok(event) => (presence.seen(collect(&mut listed, event)), Duration::ZERO),
            Err(error) => presence.failed(&kind, &error),
        })
        .then(|(update, pause)| async move {
            tokio::time::sleep(pause).await;
            update
        })
        .flat_map(stream::iter)
        .map(readable)
        .flat_map(stream::iter)
}

/// Whether there is something to watch, as far as is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Presence {
    /// No answer yet.
    #[default]
    Unknown,
    /// It was listed.
    Listed,
    /// It cannot be read, and that was said.
    Absent,
}

/// Why it cannot be read before somebody changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absence {
    NotInstalled,
    Forbidden,
}

impl Presence {
    fn seen<K>(&mut self, update: Option<Update<K>>) -> Option<Update<K>> {
        if update.is_some() {
            *self = Self::Listed;
        }
        update
    }

    /// What follows from a failure, and how long to wait before the next attempt besides the watch's own pause.
    fn failed<K>(&mut self, kind: &str, error: &Error) -> (Option<Update<K>>, Duration) {
        let Some(absence) = absence(error) else {
            tracing::warn!(kind, %error, "watch failed, trying again");
            return (None, Duration::ZERO);
        };
        match (*self, absence) {
            (Self::Absent, _) => (None, PAUSE),
            (Self::Listed, Absence::Forbidden) => {
                tracing::warn!(kind, %error, "may not be read any longer: what was read before stays in force");
                (None, PAUSE)
            }
            (Self::Unknown, _) | (Self::Listed, Absence::NotInstalled) => {
                tracing::warn!(kind, %error, "there are none to this process: {}", absence.remedy());
                *self = Self::Absent;
                (Some(Update::Reset(Vec::new())), Duration::ZERO)
            }
        }
    }
}

impl Absence {
    fn remedy(self) -> &'static str {
        match self {
            Self::NotInstalled => "install the kind's CustomResourceDefinition if it is wanted",
            Self::Forbidden => "let this account get, list and watch them if they are wanted",
        }
    }
}

fn absence(error: &Error) -> Option<Absence> {
    let code = match error {
        Error::InitialListFailed(kube::Error::Api(status))
        | Error::WatchStartFailed(kube::Error::Api(status)) => status.code,
        Error::WatchError(status) => status.code,
        _ => return None,
    };
    match code {
        404 => Some(Absence::NotInstalled),
        403 => Some(Absence::Forbidden),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn refusal(code: u16) -> Error {
        Error::InitialListFailed(kube::Error::Api(Box::new(Status::failure("no", "No").with_code(code))))
    }

    fn after(presence: &mut Presence, code: u16) -> (Option<Update<u8>>, Duration) {
        presence.failed("K", &refusal(code))
    }

    #[test]
    fn what_cannot_be_read_at_the_start_is_an_empty_list_said_once() {
        for code in [403, 404] {
            let mut presence = Presence::default();
            assert_eq!(after(&mut presence, code), (Some(Update::Reset(vec![])), Duration::ZERO), "{code}");
            assert_eq!(after(&mut presence, code), (None, PAUSE), "{code}");
            // Installed in the meantime, and removed again.
            presence.seen(Some(Update::Reset(vec![1])));
            assert_eq!(after(&mut presence, 404), (Some(Update::Reset(vec![])), Duration::ZERO), "{code}");
        }
    }

    #[test]
    fn lost_rights_and_passing_failures_take_nothing_back() {
        let mut presence = Presence::default();
        assert_eq!(after(&mut presence, 500), (None, Duration::ZERO));
        assert_eq!(presence, Presence::Unknown, "a failure that passes is no list");
        presence.seen(Some(Update::Reset(vec![1])));
        assert_eq!(after(&mut presence, 403), (None, PAUSE));
        assert_eq!(after(&mut presence, 503), (None, Duration::ZERO));
        assert_eq!(presence, Presence::Listed);
    }
}
