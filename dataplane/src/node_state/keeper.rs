//! The task that writes the file, beside the one that programs.

use jiff::Timestamp;
use penstock_model::Change;
use penstock_runtime::WriteSchedule;
use tokio::{sync::mpsc::UnboundedReceiver, task::spawn_blocking, time::Instant};

use super::{NodeState, StateFile};
use crate::freed_memory;

/// What was programmed.
#[derive(Debug)]
pub(crate) enum Record {
    /// Instead of everything before.
    All(Vec<Change>),
    /// On top of it.
    Some(Vec<Change>),
}

/// Keeps the file as the records say, until there are no more; then it is written once more if need be.
pub(crate) async fn keep(mut file: StateFile, mut records: UnboundedReceiver<Record>) {
    let (mut state, mut schedule, mut works) = (NodeState::default(), WriteSchedule::default(), true);
    loop {
        tokio::select! {
            record = records.recv() => match record {
                Some(record) => {
                    take(&mut state, record);
                    schedule.changed(Instant::now());
                }
                None => break,
            },
            () = schedule.wait() => {
                (file, state, works) = write(file, state, works).await;
                schedule.written(Instant::now());
            }
        }
    }
    if schedule.is_due() {
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
