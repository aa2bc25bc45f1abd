//! Waiting for what a cloud does on its own time. Whoever waits asks for all that are waited for, so that many cost what
//! one costs.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::ProviderError;

/// What became of something that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum State<E> {
    Running,
    Done,
    Failed(E),
}

/// Those that are waited for, by identity.
#[derive(Debug)]
pub(crate) struct Polling<E> {
    waiting: Mutex<BTreeMap<u64, State<E>>>,
    /// Held by who asks; the others wait for what it hears.
    turn: tokio::sync::Mutex<()>,
    /// Between two questions.
    interval: Duration,
    /// How long anybody waits.
    patience: Duration,
    /// In one question.
    most: usize,
}

/// Nobody waits any longer.
struct Entry<'a, E> {
    polling: &'a Polling<E>,
    id: u64,
}

impl<E> Drop for Entry<'_, E> {
    fn drop(&mut self) {
        self.polling.lock().remove(&self.id);
    }
}

impl<E: Clone> Polling<E> {
    pub(crate) fn new(interval: Duration, patience: Duration, most: usize) -> Self {
        let (waiting, turn) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { waiting, turn, interval, patience, most }
    }

    /// Waits until it is no longer running, or for too long. `ask` is told which to ask for.
    ///
    /// # Errors
    /// As the question fails.
    pub(crate) async fn end_of<F>(
        &self,
        id: u64,
        ask: impl Fn(Vec<u64>) -> F,
    ) -> Result<State<E>, ProviderError>
    where
        F: Future<Output = Result<Vec<(u64, State<E>)>, ProviderError>>,
    {
        self.lock().insert(id, State::Running);
        let _entry = Entry { polling: self, id };
        let begun = Instant::now();
        loop {
            let _turn = self.turn.lock().await;
            match self.lock().get(&id) {
                Some(State::Running) if begun.elapsed() < self.patience => {}
                Some(state) => return Ok(state.clone()),
                None => return Ok(State::Running),
            }
            tokio::time::sleep(self.interval).await;
            for (other, state) in ask(self.next(id)).await? {
                if let Some(entry) = self.lock().get_mut(&other) {
                    *entry = state;
                }
            }
        }
    }

    /// This one, and as many of the others as one question takes.
    fn next(&self, id: u64) -> Vec<u64> {
        let waiting = self.lock();
        let others = waiting.iter().filter(|(other, state)| **other != id && matches!(state, State::Running));
        let mut ids: Vec<u64> = others.map(|(other, _)| *other).take(self.most - 1).collect();
        ids.push(id);
        ids
    }
}

impl<E> Polling<E> {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, State<E>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All end after so many questions.
    fn asked(polling: &Polling<()>, ids: std::ops::Range<u64>, ends: usize) -> (Vec<usize>, Vec<State<()>>) {
        let questions = Mutex::new(Vec::new());
        let ask = |ids: Vec<u64>| {
            let mut asked = questions.lock().unwrap();
            asked.push(ids.len());
            let state = if asked.len() < ends { State::Running } else { State::Done };
            std::future::ready(Ok(ids.into_iter().map(|id| (id, state.clone())).collect()))
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let states = runtime.block_on(async {
            let mut waiters: Vec<_> = ids.map(|id| Box::pin(polling.end_of(id, ask))).collect();
            let mut states = Vec::new();
            // All have begun to wait before the first has heard anything.
            std::future::poll_fn(|context| {
                waiters.retain_mut(|waiter| match waiter.as_mut().poll(context) {
                    std::task::Poll::Ready(state) => {
                        states.push(state.unwrap());
                        false
                    }
                    std::task::Poll::Pending => true,
                });
                if waiters.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
            states
        });
        (questions.into_inner().unwrap(), states)
    }

    #[test]
    fn many_that_wait_ask_together() {
        let polling = Polling::new(Duration::from_millis(1), Duration::from_secs(60), 25);
        let (questions, states) = asked(&polling, 0..60, 1);
        assert_eq!(questions, [25, 25, 10]);
        assert!(states.len() == 60 && states.iter().all(|state| *state == State::Done));
        assert!(polling.lock().is_empty(), "nobody is forgotten there");
    }

    #[test]
    fn nobody_waits_for_ever() {
        let polling = Polling::new(Duration::from_millis(1), Duration::from_millis(5), 25);
        let (_, states) = asked(&polling, 0..1, usize::MAX);
        assert_eq!(states, [State::Running]);
    }
}
