//! The calls of AWS that have limits of their own.

/// What calls are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallClass {
    /// What changes nothing.
    Describe,
    /// Targets that come and go.
    Targets,
    /// Everything else that changes something.
    Change,
    /// Whatever ACM is asked: rarely, and its limits are others.
    Certificates,
}

impl CallClass {
    pub(super) const ALL: [Self; 4] = [Self::Describe, Self::Targets, Self::Change, Self::Certificates];

    /// How many at once, and how many a second from then on: what AWS documents for describing, and for the rest about
    /// what its own controller allows itself (`--aws-api-throttle`).
    pub(super) fn limits(self) -> (f64, f64) {
        match self {
            Self::Describe => (40.0, 10.0),
            Self::Targets => (20.0, 4.0),
            Self::Change => (20.0, 10.0),
            Self::Certificates => (8.0, 5.0),
        }
    }
}
