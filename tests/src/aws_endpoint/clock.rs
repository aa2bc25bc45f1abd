//! The endpoint's time.

use std::time::{Duration, Instant};

/// Time since the endpoint's beginning: it runs, or stands still until a test moves it on.
#[derive(Clone, Debug)]
pub struct Clock {
    begin: Option<Instant>,
    ahead: Duration,
}

impl Clock {
    /// It runs as the machine's does.
    #[must_use]
    pub fn running() -> Self {
        Self { begin: Some(Instant::now()), ahead: Duration::ZERO }
    }

    /// It stands still.
    #[must_use]
    pub fn stopped() -> Self {
        Self { begin: None, ahead: Duration::ZERO }
    }

    /// The time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.ahead + self.begin.map_or(Duration::ZERO, |begin| begin.elapsed())
    }

    /// Moves it on, whether it runs or not.
    pub fn advance(&mut self, by: Duration) {
        self.ahead += by;
    }
}
