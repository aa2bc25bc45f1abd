//! The Lease object: how it reads, and what is written to it.

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime, jiff::Timestamp,
};
use serde_json::{Value, json};

use super::election::{Claim, Record};

/// The name of the Lease, in the operator's namespace.
pub const NAME: &str = "penstock-operator";

/// What a Lease says. One without a duration lasts as long as ours do.
pub(crate) fn record(lease: &Lease, default_duration: Duration) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Record {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        holder: spec.holder_identity.unwrap_or_default(),
        renewal: spec.renew_time.map(|time| time.0.as_microsecond()),
        duration: seconds.map_or(default_duration, Duration::from_secs),
        transitions: spec.lease_transitions.unwrap_or_default(),
    }
}

/// The Lease that a claim makes, as an object to create or a merge patch; whatever else stands in it stays.
pub(crate) fn claimed(claim: &Claim, identity: &str, duration: Duration, time: &MicroTime) -> Value {
    let mut spec = json!({
        "holderIdentity": identity, "leaseDurationSeconds": duration.as_secs(), "renewTime": time
    });
    match claim {
        Claim::Create => merge(&mut spec, &json!({"acquireTime": time, "leaseTransitions": 0})),
        Claim::Take { transitions, .. } => {
            merge(&mut spec, &json!({"acquireTime": time, "leaseTransitions": transitions}));
        }
        Claim::Renew { .. } => {}
    }
    object(version(claim), &spec)
}

/// The merge patch that gives a Lease up, as client-go does: nobody holds it, and it lasts no time.
pub(crate) fn released(version: &str, time: &MicroTime) -> Value {
    object(Some(version), &json!({"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": time}))
}

/// The version that a claim was made on.
pub(crate) fn version(claim: &Claim) -> Option<&str> {
    match claim {
        Claim::Create => None,
        Claim::Take { version, .. } | Claim::Renew { version } => Some(version),
    }
}

fn object(version: Option<&str>, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": NAME}, "spec": spec
    });
    if let Some(version) = version {
        object["metadata"]["resourceVersion"] = json!(version);
    }
    object
}

fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        into.extend(from.clone());
    }
}

/// Times that differ from one another: they are what others know a renewal by.
#[derive(Debug, Default)]
pub(crate) struct Tokens(i64);

impl Tokens {
    /// The wall clock's microseconds; one more than the last where the clock stands still.
    pub(crate) fn next(&mut self) -> MicroTime {
        let clock = Timestamp::now().as_microsecond();
        self.0 = if clock == self.0 { clock + 1 } else { clock };
        MicroTime(Timestamp::from_microsecond(self.0).unwrap_or(Timestamp::UNIX_EPOCH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DURATION: Duration = Duration::from_secs(15);

    fn time() -> MicroTime {
        MicroTime("2026-07-01T00:00:00.000001Z".parse().unwrap())
    }

    fn read(object: Value) -> Record {
        record(&serde_json::from_value(object).unwrap(), DURATION)
    }

    #[test]
    fn what_is_written_reads_back() {
        let created = claimed(&Claim::Create, "me", DURATION, &time());
        assert_eq!(created["metadata"], json!({"name": NAME}));
        let expected = Record {
            version: String::new(),
            holder: "me".into(),
            renewal: Some(1_782_864_000_000_001),
            duration: DURATION,
            transitions: 0,
        };
        assert_eq!(read(created), expected);

        let taken = claimed(&Claim::Take { version: "7".into(), transitions: 3 }, "me", DURATION, &time());
        assert_eq!(read(taken), Record { version: "7".into(), transitions: 3, ..expected });
        assert_eq!(read(released("7", &time())).holder, "");
    }

    #[test]
    fn a_renewal_leaves_the_times_of_the_acquisition_alone() {
        let renewed = claimed(&Claim::Renew { version: "7".into() }, "me", DURATION, &time());
        assert!(renewed["spec"].get("acquireTime").is_none());
        assert!(renewed["spec"].get("leaseTransitions").is_none());
    }

    #[test]
    fn an_empty_lease_is_nobodys() {
        let record = read(json!({"metadata": {"name": NAME, "resourceVersion": "3"}}));
        assert_eq!((record.holder.as_str(), record.renewal, record.duration), ("", None, DURATION));
    }

    #[test]
    fn tokens_differ() {
        let mut tokens = Tokens::default();
        assert_ne!(tokens.next(), tokens.next());
    }
}
