//! What is asked of a provider.

use std::fmt;

/// A case of the suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// What is asked for is built, is the Service's, and is seen so by who starts anew.
    Create,
    /// Where nothing changes, nothing is changed; who remembers asks nothing either.
    NoOp,
    /// Each kind of change leads to what would have been built at once.
    Change,
    /// Nothing of the Service is left, and all of others.
    Delete,
    /// What exists is taken where the Service names it and the class allows it, and never otherwise.
    Adopt,
    /// What is another's is not touched, although it stands where ours would.
    NotOwned,
    /// What cannot be had is refused before any call.
    Unsupported,
    /// Wrong credentials are an error of their own, and nobody sees them.
    Credentials,
    /// What somebody changed behind our back is found and put right.
    Drift,
    /// Nothing left to give is an error of its own, and passes.
    Quota,
    /// Too many calls are an error of their own, with a pause, and do no harm.
    Throttle,
    /// A call that was carried out and not answered makes nothing twice.
    Ambiguous,
    /// A call that was not carried out stops nothing for good, and leaves nothing behind.
    Partial,
    /// After a crash between any two steps who starts anew goes on, or takes down what was begun.
    Crash,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Create,
        Self::NoOp,
        Self::Change,
        Self::Delete,
        Self::Adopt,
        Self::NotOwned,
        Self::Unsupported,
        Self::Credentials,
        Self::Drift,
        Self::Quota,
        Self::Throttle,
        Self::Ambiguous,
        Self::Partial,
        Self::Crash,
    ];
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
