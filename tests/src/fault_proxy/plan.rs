//! Which call or event meets which fault.

use super::{
    call::{Call, WatchEvent},
    fault::{CallFault, EventFault},
};

/// What is to go wrong.
#[derive(Clone, Debug, Default)]
pub enum Plan {
    /// Nothing.
    #[default]
    Nothing,
    /// One call, once.
    OneCall(Call, CallFault),
    /// One event of a watch, once.
    OneEvent(WatchEvent, EventFault),
    /// Calls and events at random.
    Dice(Dice),
}

/// Faults at random, the same for the same seed and order of calls.
#[derive(Clone, Debug)]
pub struct Dice {
    random: fastrand::Rng,
    /// Of 1,000 calls this many meet a fault.
    per_mille_calls: u32,
    /// Of 1,000 events of watches this many do.
    per_mille_events: u32,
}

impl Dice {
    /// Dice for a seed.
    #[must_use]
    pub fn new(seed: u64, per_mille_calls: u32, per_mille_events: u32) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), per_mille_calls, per_mille_events }
    }

    fn call(&mut self) -> Option<CallFault> {
        let hit = self.random.u32(..1000) < self.per_mille_calls;
        hit.then(|| self.random.choice(CallFault::ALL)).flatten()
    }

    fn event(&mut self) -> Option<EventFault> {
        let hit = self.random.u32(..1000) < self.per_mille_events;
        hit.then(|| self.random.choice(EventFault::PROMPT)).flatten()
    }
}

impl Plan {
    pub(super) fn call(&mut self, call: &Call) -> Option<CallFault> {
        match self {
            Self::OneCall(target, fault) if target == call => Some(*fault),
            Self::Dice(dice) => dice.call(),
            _ => None,
        }
    }

    pub(super) fn event(&mut self, event: &WatchEvent) -> Option<EventFault> {
        match self {
            Self::OneEvent(target, fault) if target == event => Some(*fault),
            Self::Dice(dice) => dice.event(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(occurrence: usize) -> Call {
        Call { method: "PUT".into(), path: "/a".into(), occurrence }
    }

    #[test]
    fn one_call_is_hit_and_no_other() {
        let mut plan = Plan::OneCall(call(2), CallFault::Conflict);
        assert_eq!([1, 2, 3].map(|n| plan.call(&call(n))), [None, Some(CallFault::Conflict), None]);
    }

    #[test]
    fn dice_fall_alike_for_the_same_seed() {
        let faults = |seed| {
            let mut plan = Plan::Dice(Dice::new(seed, 500, 0));
            (0..50).map(|n| plan.call(&call(n))).collect::<Vec<_>>()
        };
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
    }
}
