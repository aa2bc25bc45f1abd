//! Whole domains for other name servers (AXFR, RFC 5936), if the configuration names them.

use std::{net::IpAddr, sync::Arc, time::Duration};

use hickory_proto::{
    op::ResponseCode,
    rr::{Record, RecordType},
};
use ipnet::IpNet;
use tokio::{
    sync::{Semaphore, mpsc},
    task::spawn_blocking,
};

use crate::{
    index::{RecordIndex, Snapshot},
    resolver::SharedIndex,
    wire::{Asked, Reply, Transport},
};

/// So many records fit into 64 KiB, however long their names are.
const RECORDS: usize = 100;
/// A client takes a domain within this time.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Who may have whole domains. One has them at a time: each takes as much memory as the index.
#[derive(Clone, Debug)]
pub struct Transfers {
    allowed: Arc<[IpNet]>,
    place: Arc<Semaphore>,
}

impl Transfers {
    /// Clients in these networks may have them.
    #[must_use]
    pub fn to(allowed: Vec<IpNet>) -> Self {
        Self { allowed: allowed.into(), place: Arc::new(Semaphore::new(1)) }
    }

    /// Whether this is answered with a transfer, and not with a refusal.
    pub(crate) fn permits(&self, kind: RecordType, client: IpAddr, transport: Transport) -> bool {
        let allowed = |net: &IpNet| net.contains(&client.to_canonical());
        matches!(kind, RecordType::AXFR | RecordType::IXFR)
            && transport == Transport::Tcp
            && self.allowed.iter().any(allowed)
    }

    /// The messages of a transfer, of the domain as it is now. Ends when nobody takes them any more. `begun` is told what the
    /// first one says.
    pub(crate) async fn start(
        &self,
        index: &SharedIndex,
        asked: Asked,
        begun: impl FnOnce(ResponseCode) + Send + 'static,
    ) -> mpsc::Receiver<Vec<u8>> {
        let (send, messages) = mpsc::channel(1);
        let place = Arc::clone(&self.place).acquire_owned().await;
        let index = index.clone();
        spawn_blocking(move || {
            let _place = place;
            let tell = |reply: &Reply| send.blocking_send(asked.encode(reply, Transport::Tcp)).is_ok();
            let content = content(&index, &asked);
            begun(content.code());
            match content {
                Content::Reply(reply) => drop(tell(&reply)),
                Content::Domain(frozen) => drop(parts(&frozen, &asked).all(|reply| tell(&reply))),
            }
        });
        messages
    }
}

impl Default for Transfers {
    fn default() -> Self {
        Self::to(Vec::new())
    }
}

/// What is answered.
enum Content {
    /// In one message.
    Reply(Reply),
    /// Everything, out of an index that does not change meanwhile: all of a transfer is of one serial.
    Domain(Box<RecordIndex>),
}

impl Content {
    fn code(&self) -> ResponseCode {
        match self {
            Self::Reply(reply) => reply.code,
            Self::Domain(_) => ResponseCode::NoError,
        }
    }
}

fn content(index: &SharedIndex, asked: &Asked) -> Content {
    let now = index.read();
    let Some((serial, soa)) = now.domain_soa(asked.query.name()) else {
        return Content::Reply(Reply::of_code(ResponseCode::NotAuth));
    };
    if !now.is_synced() {
        return Content::Reply(Reply::of_code(ResponseCode::ServFail));
    }
    // Who has this serial already has everything (RFC 1995 §2). Differences are not kept: others get it all (§4).
    if asked.query.query_type() == RecordType::IXFR && asked.known_serial == Some(serial) {
        return Content::Reply(whole(vec![soa]));
    }
    let (config, snapshot): (_, Snapshot) = (now.config().clone(), now.snapshot());
    drop(now);
    let mut frozen = Box::new(RecordIndex::new(config));
    frozen.restore(snapshot);
    Content::Domain(frozen)
}

fn parts<'a>(frozen: &'a RecordIndex, asked: &'a Asked) -> impl Iterator<Item = Reply> + 'a {
    let mut records = frozen.domain_records(asked.query.name()).peekable();
    std::iter::from_fn(move || {
        records.peek()?;
        Some(whole(records.by_ref().take(RECORDS).collect()))
    })
}

fn whole(answers: Vec<Record>) -> Reply {
    Reply { authoritative: true, answers, ..Reply::default() }
}
