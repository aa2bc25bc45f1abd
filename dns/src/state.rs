//! What was known last, on disk: a server that starts while the API server is away answers from it.

use penstock_runtime::{Readiness, StateFile, WriteSchedule};
use tokio::{task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{index::Snapshot, resolver::SharedIndex};

/// Another number for any change of what a [`Snapshot`] holds, however deep: a file of another version is not read.
pub const FORMAT: &str = "penstock-dns state 1";

/// Takes what the file says into an index that has seen nothing. A file that cannot be used is said, and does no harm.
pub fn restore(file: &StateFile, index: &SharedIndex) {
    match file.read::<Snapshot>() {
        Ok(Some(snapshot)) => {
            tracing::info!(objects = snapshot.objects(), "what was known last is read");
            index.write().restore(snapshot);
        }
        Ok(None) => {}
        Err(error) => tracing::warn!("{:#}", anyhow::Error::from(error)),
    }
}

/// Keeps the file as the index is, until the token is cancelled; then it is written once more if need be. Half a list
/// is not written.
pub async fn keep(file: StateFile, index: SharedIndex, synced: Readiness, until: CancellationToken) {
    let (mut schedule, mut works) = (WriteSchedule::default(), true);
    loop {
        tokio::select! {
            () = until.cancelled() => break,
            () = index.changed() => if synced.is_ready() {
                schedule.changed(Instant::now());
            },
            () = schedule.wait() => {
                works = write(&file, &index, works).await;
                schedule.written(Instant::now());
            }
        }
    }
    if schedule.is_due() {
        write(&file, &index, works).await;
    }
}

/// Says when writing ceases to work and when it works again; returns whether it does. The disk may be slow: not on a
/// thread that answers.
async fn write(file: &StateFile, index: &SharedIndex, worked: bool) -> bool {
    let (file, snapshot) = (file.clone(), index.read().snapshot());
    let written = spawn_blocking(move || file.write(&snapshot)).await;
    let works = matches!(written, Ok(Ok(())));
    match written {
        Ok(Ok(())) if !worked => tracing::info!("the state file is written again"),
        Ok(Err(error)) if worked => {
            tracing::warn!("{:#}; trying again with the next change", anyhow::Error::from(error));
        }
        _ => {}
    }
    works
}
