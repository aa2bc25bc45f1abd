//! How IPVS chooses an endpoint. Other ways to forward choose at random.

use std::{fmt, str::FromStr};

use k8s_openapi::api::core::v1 as core;

use crate::Unreadable;

/// The annotation by which a Service asks for another scheduler than the node's.
pub const IPVS_SCHEDULER: &str = "penstock.dev/ipvs-scheduler";

/// A scheduler of IPVS, by the name that the kernel gives it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Scheduler {
    /// One after the other.
    #[default]
    Rr,
    /// One after the other, by weight.
    Wrr,
    /// Who has the fewest open connections.
    Lc,
    /// Who has the fewest open connections, by weight.
    Wlc,
    /// By the address that is asked for, and then who has the fewest open connections.
    Lblc,
    /// By the address that is asked for.
    Dh,
    /// By the client's address.
    Sh,
    /// Who will be free first.
    Sed,
    /// Who is idle, otherwise who will be free first.
    Nq,
    /// By the client's address, so that few clients move when endpoints change (Maglev).
    Mh,
}

impl Scheduler {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Rr,
        Self::Wrr,
        Self::Lc,
        Self::Wlc,
        Self::Lblc,
        Self::Dh,
        Self::Sh,
        Self::Sed,
        Self::Nq,
        Self::Mh,
    ];

    /// The kernel's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Lblc => "lblc",
            Self::Dh => "dh",
            Self::Sh => "sh",
            Self::Sed => "sed",
            Self::Nq => "nq",
            Self::Mh => "mh",
        }
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no scheduler's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not {WANTED}")]
pub struct UnknownScheduler(String);

pub(crate) const WANTED: &str = "a scheduler of IPVS: rr, wrr, lc, wlc, lblc, dh, sh, sed, nq or mh";

impl FromStr for Scheduler {
    type Err = UnknownScheduler;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|scheduler| scheduler.name() == text);
        found.ok_or_else(|| UnknownScheduler(text.to_owned()))
    }
}

/// What the Service asks for, if it does. What cannot be read is named, and the node's default holds.
pub(crate) fn read_scheduler(object: &core::Service) -> Result<Option<Scheduler>, Unreadable> {
    let annotations = object.metadata.annotations.as_ref();
    let Some(text) = annotations.and_then(|annotations| annotations.get(IPVS_SCHEDULER)) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| Unreadable::scheduler(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheduler_is_read_by_its_name_and_others_are_named() {
        for scheduler in Scheduler::ALL {
            assert_eq!(scheduler.to_string().parse(), Ok(scheduler));
        }
        let refused = "RR".parse::<Scheduler>().unwrap_err().to_string();
        assert!(refused.starts_with("\"RR\" is not a scheduler of IPVS: rr, "), "{refused}");
        assert!(Scheduler::ALL.iter().all(|scheduler| WANTED.contains(scheduler.name())));
    }

    #[test]
    fn a_service_has_the_scheduler_that_its_annotation_names() {
        let read = |value: Option<&str>| {
            let annotations = value.map(|value| [(IPVS_SCHEDULER.to_owned(), value.to_owned())].into());
            let mut service = core::Service::default();
            service.metadata.annotations = annotations;
            read_scheduler(&service)
        };
        assert_eq!(read(None), Ok(None));
        assert_eq!(read(Some("sh")), Ok(Some(Scheduler::Sh)));
        let refused = read(Some("fastest")).unwrap_err().to_string();
        assert!(refused.contains(IPVS_SCHEDULER) && refused.contains("\"fastest\""), "{refused}");
    }
}
