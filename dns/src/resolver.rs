//! From a question to its answer: from the cluster's records at once, from others after a while.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicUsize, Ordering},
};

use hickory_proto::{
    op::{Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata::HINFO},
};

use tokio::sync::Notify;

use crate::{
    forwarder::Forwarder,
    index::{Answer, Outcome, RecordIndex},
    wire::Reply,
};

/// An alias from one of our domains to another, and back, ends after so many.
const LONGEST_CHAIN: usize = 10;
/// How long the answer to ANY may be kept, in seconds, as CoreDNS has it.
const ANY_TTL: u32 = 8482;

/// The index, which watches write and all sockets read.
#[derive(Clone, Debug)]
pub struct SharedIndex {
    index: Arc<RwLock<RecordIndex>>,
    changes: Arc<Notify>,
}

impl SharedIndex {
    /// Shares an index.
    #[must_use]
    pub fn new(index: RecordIndex) -> Self {
        Self { index: Arc::new(RwLock::new(index)), changes: Arc::default() }
    }

    /// For an answer.
    pub fn read(&self) -> RwLockReadGuard<'_, RecordIndex> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that something is otherwise than it was.
    pub fn note_change(&self) {
        self.changes.notify_one();
    }

    /// Waits for the next change, or for none if one was noted since this was waited for last. For one who waits.
    pub async fn changed(&self) {
        self.changes.notified().await;
    }

    /// For a change; answers wait for it.
    pub fn write(&self) -> RwLockWriteGuard<'_, RecordIndex> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far an answer is.
#[derive(Debug)]
pub enum Progress {
    /// It is there.
    Done(Reply),
    /// Others have to be asked.
    Upstream(Pending),
}

/// A question for others.
#[derive(Debug)]
pub struct Pending {
    /// The aliases that led to it; none where it is the client's own question.
    known: Vec<Record>,
    name: Name,
    record_type: RecordType,
}

/// Answers questions.
#[derive(Clone)]
pub struct Resolver {
    index: SharedIndex,
    forwarder: Arc<Forwarder>,
    /// Each answer starts with another address.
    turn: Arc<AtomicUsize>,
}

impl Resolver {
    /// Answers from the index, and for other names from whom the forwarder asks.
    #[must_use]
    pub fn new(index: SharedIndex, forwarder: Arc<Forwarder>) -> Self {
        Self { index, forwarder, turn: Arc::default() }
    }

    /// The cluster's records.
    #[must_use]
    pub fn index(&self) -> &SharedIndex {
        &self.index
    }

    /// Those who are asked for other names.
    #[must_use]
    pub fn forwarder(&self) -> &Forwarder {
        &self.forwarder
    }

    /// Answers as far as that takes no time.
    #[must_use]
    pub fn start(&self, query: &Query) -> Progress {
        if query.query_type() == RecordType::ANY {
            return Progress::Done(any(query.name()));
        }
        let mut answer = self.index.read().answer(query.name(), query.query_type());
        for _ in 0..LONGEST_CHAIN {
            let Some(target) = answer.outside.take() else { break };
            let next = self.index.read().answer(&target, query.query_type());
            if next.outcome == Outcome::Elsewhere {
                return self.ask_others(answer.answers, target, query.query_type());
            }
            answer.answers.extend(next.answers);
            answer.outside = next.outside;
        }
        self.conclude(answer, query)
    }

    fn conclude(&self, answer: Answer, query: &Query) -> Progress {
        let forwarded = matches!(answer.outcome, Outcome::FallThrough | Outcome::Elsewhere);
        if forwarded && self.forwarder.knows(query.name()) {
            return self.ask_others(Vec::new(), query.name().clone(), query.query_type());
        }
        let mut answers = answer.answers;
        rotate(&mut answers, self.turn.fetch_add(1, Ordering::Relaxed));
        Progress::Done(Reply {
            code: code(answer.outcome),
            authoritative: !matches!(answer.outcome, Outcome::Elsewhere | Outcome::Refused),
            recursion_available: false,
            answers,
            authorities: answer.authorities,
            additionals: answer.additionals,
        })
    }

    fn ask_others(&self, known: Vec<Record>, name: Name, record_type: RecordType) -> Progress {
        if !self.forwarder.knows(&name) {
            return Progress::Done(Reply { authoritative: true, answers: known, ..Reply::default() });
        }
        Progress::Upstream(Pending { known, name, record_type })
    }

    /// Asks others for the rest.
    pub async fn finish(&self, pending: Pending) -> Reply {
        let mut reply = self.forwarder.ask(&pending.name, pending.record_type).await;
        rotate(&mut reply.answers, self.turn.fetch_add(1, Ordering::Relaxed));
        if pending.known.is_empty() {
            return reply;
        }
        // The alias is there, whatever becomes of its target: so CoreDNS answers.
        let answers = pending.known.into_iter().chain(reply.answers).collect();
        Reply { authoritative: true, answers, ..Reply::default() }
    }
}

fn code(outcome: Outcome) -> ResponseCode {
    match outcome {
        Outcome::Records | Outcome::NoData => ResponseCode::NoError,
        Outcome::NxDomain | Outcome::FallThrough => ResponseCode::NXDomain,
        Outcome::NotSynced => ResponseCode::ServFail,
        Outcome::Refused | Outcome::Elsewhere => ResponseCode::Refused,
    }
}

/// One record instead of all (RFC 8482): ANY serves attacks more than anybody else.
fn any(name: &Name) -> Reply {
    let data = HINFO::new("ANY obsoleted".into(), "See RFC 8482".into());
    let record = Record::from_rdata(name.clone(), ANY_TTL, RData::HINFO(data));
    Reply { answers: vec![record], ..Reply::default() }
}

/// Lets another address be the first; aliases stay before what they lead to.
fn rotate(answers: &mut [Record], turn: usize) {
    let is_address = |record: &Record| matches!(record.data, RData::A(_) | RData::AAAA(_));
    let first = answers.iter().position(is_address).unwrap_or(answers.len());
    let addresses = &mut answers[first..];
    if addresses.len() > 1 && addresses.iter().all(is_address) {
        addresses.rotate_left(turn % addresses.len());
    }
}
