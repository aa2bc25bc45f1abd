//! Conditions and their reasons, in the words of KEP-4631 and the Gateway API.

use std::fmt;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// The conditions that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionKind {
    /// On a Service: an address is being sought (KEP-4631). `False` once it is there.
    LoadBalancerProvisioning,
    /// On a Service: its externalIPs are served. Written only where some are not.
    ExternalIPsAccepted,
    /// On a Service: its `externalName` is a name that DNS can answer with. Written only where it is not.
    ExternalNameAccepted,
    /// On our kinds: the object is valid and in use.
    Accepted,
    /// On a LoadBalancer: it is as the Service wants it (Gateway API).
    Programmed,
}

impl fmt::Display for ConditionKind {
    /// The type as it stands in the object: those that upstream does not know carry our group.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LoadBalancerProvisioning => "LoadBalancerProvisioning",
            Self::ExternalIPsAccepted => "penstock.dev/ExternalIPsAccepted",
            Self::ExternalNameAccepted => "penstock.dev/ExternalNameAccepted",
            Self::Accepted => "Accepted",
            Self::Programmed => "Programmed",
        })
    }
}

/// The enum as it stands, and the list of its variants: tests hold documents against it.
macro_rules! listed {
    ($(#[$attribute:meta])+ pub enum $name:ident { $($(#[$doc:meta])+ $variant:ident,)+ }) => {
        $(#[$attribute])+
        pub enum $name { $($(#[$doc])+ $variant),+ }

        impl $name {
            /// Every one that there is.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }
    };
}

listed! {
    /// Why a condition is as it is. Event reasons of failures are the same words.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum Reason {
        /// The object is in use.
        Accepted,
        /// A field cannot be read.
        Invalid,
        /// Its addresses are another pool's already.
        Overlaps,
        /// The Service has its addresses.
        Provisioned,
        /// The LoadBalancerClass that it names is not there.
        NoClass,
        /// There is no pool at all that could serve it.
        NoPool,
        /// Every address that would do is taken.
        Exhausted,
        /// The Service asks for something it cannot have.
        RequestRefused,
        /// Two wishes of the Service contradict each other.
        RequestInvalid,
        /// The Secret that it names for TLS is missing or cannot be used (Gateway API).
        InvalidCertificateRef,
        /// The provider does not have it as wanted yet.
        Provisioning,
        /// The provider's answer was an error that may pass.
        ProviderFailed,
        /// The provider does not accept our credentials.
        InvalidCredentials,
        /// What stands there under our name is not ours.
        NotOwned,
        /// A plan waits for the annotation that agrees to it.
        ApprovalRequired,
        /// Some of the Service's externalIPs are not served.
        ExternalIPsRefused,
        /// The Service's `externalName` cannot be the target of a CNAME record.
        ExternalNameInvalid,
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A condition as of `now`.
#[must_use]
pub fn condition(
    kind: ConditionKind,
    status: bool,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    Condition {
        type_: kind.to_string(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: reason.to_string(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: Time(now),
    }
}

/// Puts a condition into a list in place of the one of its type. Its transition time moves only when its
/// status flips. Returns whether the list differs now.
pub fn set_condition(conditions: &mut Vec<Condition>, mut new: Condition) -> bool {
    let Some(old) = conditions.iter_mut().find(|c| c.type_ == new.type_) else {
        conditions.push(new);
        return true;
    };
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time.clone();
    }
    let differs = *old != new;
    *old = new;
    differs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64, status: bool, message: &str) -> Condition {
        let now = Timestamp::from_second(second).unwrap();
        condition(ConditionKind::Accepted, status, Reason::Accepted, message, None, now)
    }

    #[test]
    fn types_that_upstream_does_not_know_carry_our_group() {
        let texts = [
            (ConditionKind::LoadBalancerProvisioning, "LoadBalancerProvisioning"),
            (ConditionKind::Accepted, "Accepted"),
            (ConditionKind::ExternalIPsAccepted, "penstock.dev/ExternalIPsAccepted"),
            (ConditionKind::ExternalNameAccepted, "penstock.dev/ExternalNameAccepted"),
        ];
        for (kind, text) in texts {
            assert_eq!(kind.to_string(), text);
        }
    }

    #[test]
    fn the_transition_time_moves_only_on_a_flip() {
        let mut conditions = vec![at(1, true, "a")];
        assert!(!set_condition(&mut conditions, at(2, true, "a")));
        assert!(set_condition(&mut conditions, at(3, true, "b")));
        assert_eq!(conditions, vec![at(1, true, "b")]);
        assert!(set_condition(&mut conditions, at(4, false, "b")));
        assert_eq!(conditions, vec![at(4, false, "b")]);
    }
}
