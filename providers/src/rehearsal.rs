//! What a provider's own API says about a plan that it does not carry out.

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rehearsal {
    /// The API has no such question, or none about these steps.
    NotOffered,
    /// It would carry out what it was asked about, which the sentence names.
    Accepted(String),
    /// It would not, and why.
    Refused(String),
}
