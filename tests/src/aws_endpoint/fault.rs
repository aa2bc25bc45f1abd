//! What is to go wrong.

use std::time::Duration;

use super::failure::Failure;

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

#[derive(Clone, Debug)]
struct Planned {
    action: Option<String>,
    ahead: usize,
    fault: Fault,
}

/// The faults that have not happened yet.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultPlan(Vec<Planned>);

impl FaultPlan {
    /// The `nth` call from now on (the next is 1) of the action, or of any, goes wrong.
    pub(super) fn add(&mut self, action: Option<&str>, nth: usize, fault: Fault) {
        self.0.push(Planned { action: action.map(ToOwned::to_owned), ahead: nth.max(1), fault });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A call came: what becomes of it.
    pub(super) fn meet(&mut self, action: &str) -> Option<Fault> {
        let counted = |planned: &&mut Planned| planned.action.as_deref().is_none_or(|of| of == action);
        self.0.iter_mut().filter(counted).for_each(|planned| planned.ahead -= 1);
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
        plan.add(Some("A"), 2, Fault::Hangs);
        plan.add(None, 4, Fault::DroppedAfter);
        let met = ["A", "B", "A", "A", "A"].map(|action| plan.meet(action));
        assert_eq!(met, [None, None, Some(Fault::Hangs), Some(Fault::DroppedAfter), None]);
        assert!(plan.is_empty());
    }
}
