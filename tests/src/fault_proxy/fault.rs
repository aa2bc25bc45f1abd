//! What may go wrong, each under the name that runs are printed and repeated with.

use std::fmt;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallFault {
    /// The caller is killed before the call is forwarded.
    KillBefore,
    /// The caller is killed when the call is committed and before the reply.
    KillCommitted,
    /// The caller is killed after the reply.
    KillReplied,
    /// 409, nothing is committed.
    Conflict,
    /// 429 with `Retry-After: 1`, nothing is committed.
    TooManyRequests,
    /// 500, nothing is committed.
    ErrorBefore,
    /// It is committed, the reply is 500.
    ErrorCommitted,
    /// It is committed and the connection closes without a reply.
    LostReply,
}

/// What happens to an event of a watch. Events are never dropped silently from a watch that goes on: no API server
/// does that, and no client could heal it. What is lost is lost up to a 410, after which the client lists anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventFault {
    /// It and all that follow it for [`super::LOSS`] are lost, then comes 410: states in between are never seen.
    Drop,
    /// 410 Gone in its place.
    Gone,
    /// Half of it arrives, then the connection breaks.
    Truncate,
    /// It arrives twice.
    Duplicate,
    /// Nothing arrives any longer and the connection stays: the client's time-out has to notice.
    Silence,
}

impl CallFault {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::KillBefore,
        Self::KillCommitted,
        Self::KillReplied,
        Self::Conflict,
        Self::TooManyRequests,
        Self::ErrorBefore,
        Self::ErrorCommitted,
        Self::LostReply,
    ];
}

impl EventFault {
    /// Those that are noticed at once: all but the silence.
    pub const PROMPT: [Self; 4] = [Self::Drop, Self::Gone, Self::Truncate, Self::Duplicate];
}

impl fmt::Display for CallFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KillBefore => "kill-before",
            Self::KillCommitted => "kill-committed",
            Self::KillReplied => "kill-replied",
            Self::Conflict => "409",
            Self::TooManyRequests => "429",
            Self::ErrorBefore => "500-before",
            Self::ErrorCommitted => "500-committed",
            Self::LostReply => "lost-reply",
        })
    }
}

impl fmt::Display for EventFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Gone => "410",
            Self::Truncate => "truncate",
            Self::Duplicate => "duplicate",
            Self::Silence => "silence",
        })
    }
}
