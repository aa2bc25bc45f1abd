//! The timers of a session.

use std::time::Instant;

/// A timer (RFC 4271 section 10). Where two are due at once, the one that ends the session comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// HoldTimer: the router is silent.
    Hold,
    /// SendHoldTimer (RFC 9687): the router takes nothing.
    SendHold,
    /// ConnectRetryTimer.
    Retry,
    /// IdleHoldTimer.
    Rest,
    /// KeepaliveTimer.
    Keepalive,
}

impl Timer {
    const ALL: [Self; 5] = [Self::Hold, Self::SendHold, Self::Retry, Self::Rest, Self::Keepalive];
}

/// When each of them expires, if it runs.
#[derive(Debug, Default)]
pub(super) struct Timers([Option<Instant>; Timer::ALL.len()]);

impl Timers {
    pub(super) const fn set(&mut self, timer: Timer, at: Instant) {
        self.0[timer as usize] = Some(at);
    }

    pub(super) const fn unset(&mut self, timer: Timer) {
        self.0[timer as usize] = None;
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().flatten().min().copied()
    }

    /// Stops a timer that is due.
    pub(super) fn expire(&mut self, now: Instant) -> Option<Timer> {
        let due = |timer: &Timer| self.0[*timer as usize].is_some_and(|at| at <= now);
        let timer = Timer::ALL.into_iter().find(due)?;
        self.unset(timer);
        Some(timer)
    }
}
