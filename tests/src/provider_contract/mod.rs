//! One suite that every provider passes, whatever it builds and wherever.
//!
//! A provider brings a [`Rig`]: how it is made, what stands in its double and whose that is, and how things go wrong
//! there. `provider_contract!(Rig)` makes one test of each [`Case`]. A case that a provider cannot have is named by
//! [`Rig::except`] with its reason, which the test prints: nothing is left out silently. `providers/README.md` has the
//! cases as a checklist.

mod case;
mod cases;
mod mishap;
mod rig;
mod settle;

pub use case::Case;
pub use rig::{Call, Damages, Foreign, Rig, Thing, Trouble, Which, owner};
pub use settle::{pass, seen_anew, settle};

use anyhow::Result;

/// Runs one case, unless the provider cannot have it.
///
/// # Errors
/// Where the provider does not do what it must; the same may also panic.
pub async fn run<R: Rig>(case: Case) -> Result<()> {
    if let Some(reason) = R::except(case) {
        assert!(reason.contains(' '), "a case that is left out has a reason");
        println!("left out: {case}: {reason}");
        return Ok(());
    }
    match case {
        Case::Create => Box::pin(cases::create::<R>()).await,
        Case::NoOp => Box::pin(cases::no_op::<R>()).await,
        Case::Change => Box::pin(cases::change::<R>()).await,
        Case::Delete => Box::pin(cases::delete::<R>()).await,
        Case::Adopt => Box::pin(cases::adopt::<R>()).await,
        Case::NotOwned => Box::pin(cases::not_owned::<R>()).await,
        Case::Unsupported => Box::pin(cases::unsupported::<R>()).await,
        Case::Credentials => Box::pin(cases::credentials::<R>()).await,
        Case::Drift => Box::pin(mishap::drift::<R>()).await,
        Case::Quota => Box::pin(mishap::quota::<R>()).await,
        Case::Throttle => Box::pin(mishap::throttle::<R>()).await,
        Case::Ambiguous => Box::pin(mishap::ambiguous::<R>()).await,
        Case::Partial => Box::pin(mishap::partial::<R>()).await,
        Case::Crash => Box::pin(mishap::crash::<R>()).await,
    }
}

/// A test of each case for the provider of a rig.
#[macro_export]
macro_rules! provider_contract {
    ($rig:ty) => {
        $crate::provider_contract!($rig:
            create Create, no_op NoOp, change Change, delete Delete, adopt Adopt, not_owned NotOwned,
            unsupported Unsupported, credentials Credentials, drift Drift, quota Quota, throttle Throttle,
            ambiguous Ambiguous, partial Partial, crash Crash);
    };
    ($rig:ty: $($name:ident $case:ident),*) => {
        $(#[tokio::test]
        async fn $name() -> anyhow::Result<()> {
            $crate::provider_contract::run::<$rig>($crate::provider_contract::Case::$case).await
        })*

        #[test]
        fn no_case_is_forgotten() {
            let run = [$($crate::provider_contract::Case::$case),*];
            assert_eq!(run, $crate::provider_contract::Case::ALL);
        }
    };
}
