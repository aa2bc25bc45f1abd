//! A backend whose programming is remembered.

use ipnet::IpNet;
use penstock_model::Change;
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    task::JoinHandle,
};

use super::{
    StateFile,
    keeper::{Record, keep},
};
use crate::{Applied, ApplyError, Backend};

/// Another backend, and the record of what it took. Costs it a copy of each change, whose ports are shared.
#[derive(Debug)]
pub struct Recorded<B> {
    backend: B,
    records: UnboundedSender<Record>,
}

impl<B: Backend> Recorded<B> {
    /// Starts the task that writes the file. It ends after the backend is dropped, with the file written.
    pub fn start(backend: B, file: StateFile) -> (Self, JoinHandle<()>) {
        let (records, taken) = unbounded_channel();
        (Self { backend, records }, tokio::spawn(keep(file, taken)))
    }

    fn record(&self, record: Record) {
        // Nobody takes it only after a panic, which was said.
        drop(self.records.send(record));
    }
}

impl<B: Backend> Backend for Recorded<B> {
    async fn apply(&mut self, changes: &[Change]) -> Result<Applied, ApplyError> {
        let applied = self.backend.apply(changes).await?;
        self.record(Record::Some(changes.to_vec()));
        Ok(applied)
    }

    fn take_service_cidrs(&mut self, cidrs: Vec<IpNet>) {
        self.backend.take_service_cidrs(cidrs);
    }

    async fn reload(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        let applied = self.backend.reload(all).await?;
        self.record(Record::All(all.to_vec()));
        Ok(applied)
    }

    /// It comes from the file, and is not written again as if it were of today.
    async fn restore(&mut self, all: &[Change]) -> Result<Applied, ApplyError> {
        self.backend.restore(all).await
    }
}
