//! What is to go wrong.

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status and code; nothing was done.
    Refused(u16, String),
    /// Answered with this status and code; everything was done.
    Committed(u16, String),
    /// The connection breaks within the answer; nothing was done.
    BrokenBefore,
    /// The connection breaks within the answer; everything was done.
    BrokenAfter,
    /// The action that the call begins ends with this code; nothing was done.
    ActionFails(String),
}

/// Which calls are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Any,
    Changes,
    /// As the log names it.
    Of(String),
}

impl Counted {
    fn has(&self, call: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Changes => !call.starts_with("GET"),
            Self::Of(name) => name == call,
        }
    }
}

/// The faults that have not happened yet, with how many calls are left until then.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultPlan(Vec<(Counted, usize, Fault)>);

impl FaultPlan {
    /// The `nth` of these calls from now on (1: the next) goes wrong.
    pub(super) fn add(&mut self, counted: Counted, nth: usize, fault: Fault) {
        self.0.push((counted, nth.max(1), fault));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A call came: what becomes of it.
    pub(super) fn meet(&mut self, call: &str) -> Option<Fault> {
        self.0.iter_mut().filter(|(counted, ..)| counted.has(call)).for_each(|(_, left, _)| *left -= 1);
        let due = self.0.iter().position(|(_, left, _)| *left == 0)?;
        Some(self.0.remove(due).2)
    }
}
