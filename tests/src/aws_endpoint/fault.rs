//! What is to go wrong.

use std::time::Duration;

use super::{failure::Failure, request_log::is_reading};

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status and code; nothing was done.
    Refused(u16, String),
    /// Answered with this status and code; everything was done.
    Committed(u16, String),
    /// The connection closes without an answer; nothing was done.
    DroppedBefore,
    /// The connection closes without an answer; everything was done.
    DroppedAfter,
    /// Done at once and answered late.
    Delayed(Duration),
    /// Done at once and never answered.
    Hangs,
}

impl Fault {
    /// Throttled, as AWS does it.
    #[must_use]
    pub fn throttled() -> Self {
        Self::Refused(400, "Throttling".to_owned())
    }

    pub(super) fn failure(&self) -> Option<Failure> {
        match self {
            Self::Refused(status, code) | Self::Committed(status, code) => {
                Some(Failure::with_status(*status, code, "this call was told to fail"))
            }
            _ => None,
        }
    }

    /// Whether the call is carried out.
    pub(super) fn commits(&self) -> bool {
        !matches!(self, Self::Refused(..) | Self::DroppedBefore)
    }
}

/// The calls that count until one goes wrong.
#[derive(Clone, Debug)]
pub(super) enum Counted {
    Any,
    Of(String),
    /// Those that change something.
    Changes,
}

impl Counted {
    fn has(&self, action: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of(name) => name == action,
            Self::Changes => !is_reading(action),
        }
    }
}

#[derive(Clone, Debug)]
struct Planned {
    counted: Counted,
    ahead: usize,
    fault: Fault,
}

/// The faults that have not happened yet.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultPlan(Vec<Planned>);

impl FaultPlan {
    /// The `nth` of these calls from now on (the next is 1) goes wrong.
    pub(super) fn add(&mut self, counted: Counted, nth: usize, fault: Fault) {
        self.0.push(Planned { counted, ahead: nth.max(1), fault });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A call came: what becomes of it.
    pub(super) fn meet(&mut self, action: &str) -> Option<Fault> {
        self.0
            .iter_mut()
            .filter(|planned| planned.counted.has(action))
            .for_each(|planned| planned.ahead -= 1);
        let due = self.0.iter().position(|planned| planned.ahead == 0)?;
        Some(self.0.remove(due).fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_of_an_action_is_hit_once() {
        let mut plan = FaultPlan::default();
        plan.add(Counted::Of("A".into()), 2, Fault::Hangs);
        plan.add(Counted::Any, 4, Fault::DroppedAfter);
        let met = ["A", "B", "A", "A", "A"].map(|action| plan.meet(action));
        assert_eq!(met, [None, None, Some(Fault::Hangs), Some(Fault::DroppedAfter), None]);
        assert!(plan.is_empty());
    }
}
