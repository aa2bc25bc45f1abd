//! The task that writes the file, beside the one that programs.

use std::{future::pending, time::Duration};

use jiff::Timestamp;
use penstock_model::Change;
use tokio::{
    sync::mpsc::UnboundedReceiver,
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{NodeState, StateFile};
use crate::freed_memory;

/// Writing costs what all Services cost: at most once in this time.
const PAUSE: Duration = Duration::from_secs(60);

/// What was programmed.
#[derive(Debug)]
pub(crate) enum Record {
    /// Instead of everything before.
    All(Vec<Change>),
    /// On top of it.
    Some(Vec<Change>),
}

/// When the file is to be written. Pure.
#[derive(Clone, Copy, Debug, Default)]
struct Schedule {
    last: Option<Instant>,
    due: Option<Instant>,
}

impl Schedule {
    fn changed(&mut self, now: Instant) {
        let soonest = self.last.map_or(now, |last| last + PAUSE);
        self.due.get_or_insert(soonest.max(now));
    }

    /// Also if that failed: a disk that is full is so for a while.
    fn written(&mut self, now: Instant) {
        *self = Self { last: Some(now), due: None };
    }
}

/// Keeps the file as the records say, until there are no more; then it is written once more if need be.
pub(crate) async fn keep(mut file: StateFile, mut records: UnboundedReceiver<Record>) {
    let (mut state, mut schedule, mut works) = (NodeState::default(), Schedule::default(), true);
    loop {
        tokio::select! {
            record = records.recv() => match record {
                Some(record) => {
                    take(&mut state, record);
                    schedule.changed(Instant::now());
                }
                None => break,
            },
            () = at(schedule.due) => {
                (file, state, works) = write(file, state, works).await;
                schedule.written(Instant::now());
            }
        }
    }
    if schedule.due.is_some() {
        write(file, state, works).await;
    }
}

fn take(state: &mut NodeState, record: Record) {
    match record {
        Record::All(all) => {
            *state = NodeState::default();
            state.apply(all);
        }
        Record::Some(changes) => state.apply(changes),
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// Says when writing ceases to work and when it works again. The disk may be slow: not on a thread that others need.
async fn write(file: StateFile, state: NodeState, worked: bool) -> (StateFile, NodeState, bool) {
    let keep = file.clone();
    let written = spawn_blocking(move || {
        let result = file.write(&state, Timestamp::now());
        // As it follows each load soon, that is done here too, and not more often.
        freed_memory::give_back();
        (file, state, result)
    });
    let Ok((file, state, result)) = written.await else {
        // Only a panic ends there, and it was said; everything is recorded anew with the next load.
        return (keep, NodeState::default(), false);
    };
    let works = result.is_ok();
    match result {
        Err(error) if worked => tracing::warn!("{:#}; trying again every minute", anyhow::Error::from(error)),
        Ok(()) if !worked => tracing::info!("the state file is written again"),
        _ => {}
    }
    (file, state, works)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_written_at_most_once_a_minute_and_only_after_a_change() {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        let second = |n| start + Duration::from_secs(n);
        assert_eq!(schedule.due, None);
        schedule.changed(second(1));
        assert_eq!(schedule.due, Some(second(1)));
        schedule.written(second(2));
        assert_eq!(schedule.due, None);
        schedule.changed(second(3));
        schedule.changed(second(50));
        assert_eq!(schedule.due, Some(second(62)));
        schedule.written(second(62));
        schedule.changed(second(500));
        assert_eq!(schedule.due, Some(second(500)));
    }
}
