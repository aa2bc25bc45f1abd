//! What is to go wrong.

/// What happens to one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Answered with this status; nothing was done.
    Status(u16),
    /// The same, but everything was done.
    StatusAfter(u16),
    /// The connection breaks within the answer; nothing was done.
    Broken,
    /// The same, but everything was done.
    BrokenAfter,
}

impl Fault {
    /// Whether the call is carried out.
    pub(super) fn commits(&self) -> bool {
        matches!(self, Self::StatusAfter(_) | Self::BrokenAfter)
    }
}

/// The calls that count until one goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Any,
    /// Those that change something.
    Changes,
}

/// The faults that have not happened yet.
#[derive(Clone, Debug, Default)]
pub(super) struct FaultPlan(Vec<(Counted, usize, Fault)>);

impl FaultPlan {
    /// The `nth` of these calls from now on (the next is 1) goes wrong.
    pub(super) fn add(&mut self, counted: Counted, nth: usize, fault: Fault) {
        self.0.push((counted, nth.max(1), fault));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A call came: what becomes of it.
    pub(super) fn meet(&mut self, reads: bool) -> Option<Fault> {
        let counts = |counted: Counted| counted == Counted::Any || !reads;
        self.0.iter_mut().filter(|(counted, ..)| counts(*counted)).for_each(|(_, ahead, _)| *ahead -= 1);
        let due = self.0.iter().position(|(_, ahead, _)| *ahead == 0)?;
        Some(self.0.remove(due).2)
    }
}
