//! Whether to wait, write the Lease or stop. Pure: what was seen and what the clock says are arguments.
//!
//! Two clocks are never compared, as in client-go: a Lease has run out when *we* saw no renewal of it for as long as
//! it says, on our own monotonic clock; `renewTime` is a token that differs from the one before it. And who may write
//! counts from when the renewal was *sent*, for less than the Lease lasts. Together with the precondition of every
//! write (the version that was seen) this makes sure that the old leader has stopped when a new one starts, however
//! slow the network is; `simulation` holds it.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How often a Lease is renewed, and what follows when it is not. client-go's defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long others wait after the last renewal that they saw; whole seconds.
    pub duration: Duration,
    /// The leader may write for this long after the last renewal that succeeded; less than `duration`. What is
    /// between the two is for clocks that run at different speeds and for requests under way.
    pub deadline: Duration,
    /// From one renewal to the next.
    pub renew: Duration,
    /// From the start of a write of the Lease that failed to the next.
    pub retry: Duration,
    /// How long a request about the Lease may take: three fit into `deadline`.
    pub request: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(15),
            deadline: Duration::from_secs(10),
            renew: Duration::from_secs(2),
            retry: Duration::from_secs(1),
            request: Duration::from_secs(3),
        }
    }
}

/// A Lease that says it lasts longer is taken for one that lasts this long: a mistaken object keeps nobody from
/// leading for hours.
const LONGEST: Duration = Duration::from_secs(60);
/// How many of our own renewals are remembered; only those that may still be under way matter.
const REMEMBERED: usize = 16;

/// What the Lease says, at one version of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// `metadata.resourceVersion`, the precondition of what is written next.
    pub(crate) version: String,
    /// Who leads; empty where the last leader gave it up.
    pub(crate) holder: String,
    /// The token of the last renewal (`spec.renewTime` in microseconds).
    pub(crate) renewal: Option<i64>,
    /// How long a renewal lasts.
    pub(crate) duration: Duration,
    /// How often the leader changed.
    pub(crate) transitions: i32,
}

/// What to write. A version that has changed meanwhile makes the write fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// There is no Lease yet.
    Create,
    /// It is nobody's, or its holder is silent.
    Take {
        /// The version that was seen.
        version: String,
        /// How often the leader will have changed.
        transitions: i32,
    },
    /// It is ours.
    Renew {
        /// The version that was seen.
        version: String,
    },
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing until then, unless there is news.
    Wait(Instant),
    /// Write the Lease.
    Write(Claim),
    /// End.
    StepDown(Lost),
}

/// How leadership was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No renewal in time.
    #[error("it was not renewed for {} s: check that the API server is reachable and the node not overloaded", .0.as_secs())]
    Expired(Duration),
    /// The Lease names somebody else, or nobody.
    #[error("it now names {0:?} as its holder")]
    Taken(String),
    /// Another process renews it under our name.
    #[error(
        "another process renews it as {0:?}: give each replica an identity of its own (POD_NAME, --identity)"
    )]
    Doubled(String),
}

#[derive(Clone, Debug)]
struct Seen {
    /// `None`: there is no Lease.
    record: Option<Record>,
    /// Until when its holder may be alive; `None` where there is none.
    expires: Option<Instant>,
}

/// One operator's view of the election.
#[derive(Clone, Debug)]
pub(crate) struct Election {
    identity: String,
    timing: Timing,
    seen: Option<Seen>,
    sent: VecDeque<i64>,
    sent_at: Option<Instant>,
    not_before: Option<Instant>,
    held_until: Option<Instant>,
    lost: Option<Lost>,
}

impl Election {
    pub(crate) fn new(identity: String, timing: Timing) -> Self {
        Self {
            identity,
            timing,
            seen: None,
            sent: VecDeque::new(),
            sent_at: None,
            not_before: None,
            held_until: None,
            lost: None,
        }
    }

    /// The Lease was read; `None`: there is none.
    pub(crate) fn observe(&mut self, record: Option<Record>, now: Instant) {
        if self.held_until.is_some() && self.lost.is_none() {
            self.lost = record.as_ref().and_then(|record| self.loss(record));
        }
        let expires = self.expiry(record.as_ref(), now);
        self.seen = Some(Seen { record, expires });
    }

    /// Whether a Lease that we hold is ours no longer. A deleted one is: nobody takes it without writing it.
    fn loss(&self, record: &Record) -> Option<Lost> {
        if record.holder != self.identity {
            return Some(Lost::Taken(record.holder.clone()));
        }
        let ours = record.renewal.is_some_and(|token| self.sent.contains(&token));
        (!ours).then(|| Lost::Doubled(self.identity.clone()))
    }

    fn expiry(&self, record: Option<&Record>, now: Instant) -> Option<Instant> {
        let before = self.seen.as_ref();
        // Deleted by hand: its holder may be alive, and writes the Lease anew with its next renewal.
        let Some(record) = record else { return before.and_then(|seen| seen.expires) };
        if record.holder.is_empty() {
            return None;
        }
        let known = before.and_then(|seen| seen.record.as_ref());
        if known.is_some_and(|known| known.holder == record.holder && known.renewal == record.renewal) {
            return before.and_then(|seen| seen.expires);
        }
        Some(now + record.duration.min(LONGEST))
    }

    /// What to do now.
    pub(crate) fn action(&self, now: Instant) -> Action {
        if let Some(lost) = &self.lost {
            return Action::StepDown(lost.clone());
        }
        match self.held_until {
            Some(until) if until <= now => Action::StepDown(Lost::Expired(self.timing.deadline)),
            Some(until) => self.due(until, self.not_before, now),
            None => self.due(now + self.timing.retry, self.free_at(), now),
        }
    }

    /// When the Lease may be taken. One that names us is ours: see [`super`].
    fn free_at(&self) -> Option<Instant> {
        if self.record().is_some_and(|record| record.holder == self.identity) {
            return self.not_before;
        }
        self.seen.as_ref().and_then(|seen| seen.expires).max(self.not_before)
    }

    fn due(&self, latest: Instant, at: Option<Instant>, now: Instant) -> Action {
        match (&self.seen, at) {
            (None, _) => Action::Wait(latest),
            (Some(_), Some(at)) if now < at => Action::Wait(at),
            (Some(seen), _) => Action::Write(self.claim(seen)),
        }
    }

    fn claim(&self, seen: &Seen) -> Claim {
        let Some(record) = &seen.record else { return Claim::Create };
        let version = record.version.clone();
        if record.holder == self.identity {
            return Claim::Renew { version };
        }
        Claim::Take { version, transitions: record.transitions.saturating_add(1) }
    }

    /// A write with this token is sent now.
    pub(crate) fn sending(&mut self, token: i64, now: Instant) {
        self.sent.push_back(token);
        if self.sent.len() > REMEMBERED {
            self.sent.pop_front();
        }
        self.sent_at = Some(now);
    }

    /// The write succeeded; this is the Lease now.
    pub(crate) fn written(&mut self, record: Record, now: Instant) {
        let sent_at = self.sent_at.unwrap_or(now);
        self.held_until = Some(sent_at + self.timing.deadline);
        self.not_before = Some(sent_at + self.timing.renew);
        self.observe(Some(record), now);
    }

    /// The write failed, or nobody knows.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.not_before = Some(now.max(self.sent_at.unwrap_or(now) + self.timing.retry));
    }

    /// Until when we may write; `None` where we do not lead.
    pub(crate) fn held_until(&self) -> Option<Instant> {
        self.held_until.filter(|_| self.lost.is_none())
    }

    /// The holder that the Lease names, where it is not this operator.
    pub(crate) fn other_leader(&self) -> Option<&str> {
        let holder = self.record().map(|record| record.holder.as_str());
        holder.filter(|holder| !holder.is_empty() && *holder != self.identity)
    }

    /// The version at which to give the Lease up. `None` where it is not ours any more.
    pub(crate) fn release(&self, now: Instant) -> Option<String> {
        self.held_until().filter(|until| now < *until)?;
        self.record().map(|record| record.version.clone())
    }

    fn record(&self) -> Option<&Record> {
        self.seen.as_ref().and_then(|seen| seen.record.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(version: u32, holder: &str, renewal: i64) -> Record {
        let duration = Timing::default().duration;
        Record {
            version: version.to_string(),
            holder: holder.into(),
            renewal: Some(renewal),
            duration,
            transitions: 4,
        }
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn election() -> (Election, Instant) {
        (Election::new("me".into(), Timing::default()), Instant::now())
    }

    /// One that leads since `start`, at version 1 and with token 10.
    fn leading() -> (Election, Instant) {
        let (mut election, start) = election();
        election.observe(None, start);
        election.sending(10, start);
        election.written(record(1, "me", 10), start + secs(1));
        (election, start)
    }

    fn take(version: &str) -> Action {
        Action::Write(Claim::Take { version: version.into(), transitions: 5 })
    }

    fn renew(version: &str) -> Action {
        Action::Write(Claim::Renew { version: version.into() })
    }

    #[test]
    fn nothing_is_written_before_the_lease_was_seen_and_one_that_is_not_there_is_made() {
        let (mut election, now) = election();
        assert_eq!(election.action(now), Action::Wait(now + secs(1)));
        election.observe(None, now);
        assert_eq!(election.action(now), Action::Write(Claim::Create));
    }

    #[test]
    fn a_holder_is_dead_only_after_we_saw_no_renewal_for_the_time_of_its_lease() {
        let (mut election, start) = election();
        election.observe(Some(record(1, "other", 1)), start);
        assert_eq!(election.action(start), Action::Wait(start + secs(15)));
        election.observe(Some(record(2, "other", 2)), start + secs(14));
        assert_eq!(election.action(start + secs(15)), Action::Wait(start + secs(29)));
        election.observe(Some(record(3, "other", 2)), start + secs(20));
        assert_eq!(election.action(start + secs(29)), take("3"), "a label is no renewal");
    }

    #[test]
    fn a_lease_given_up_is_taken_at_once_and_an_absurd_one_within_a_minute() {
        let (mut election, now) = election();
        election.observe(Some(record(1, "other", 1)), now);
        election.observe(Some(record(2, "", 2)), now);
        assert_eq!(election.action(now), take("2"));
        election.observe(Some(Record { duration: secs(1 << 31), ..record(3, "other", 3) }), now);
        assert_eq!(election.action(now), Action::Wait(now + secs(60)));
    }

    #[test]
    fn a_lease_that_names_us_goes_on_at_once() {
        let (mut election, now) = election();
        election.observe(Some(record(7, "me", 1)), now);
        assert_eq!(election.action(now), renew("7"));
    }

    #[test]
    fn a_deleted_lease_is_its_holders_until_it_would_have_run_out() {
        let (mut election, start) = election();
        election.observe(Some(record(1, "other", 1)), start);
        election.observe(None, start + secs(3));
        assert_eq!(election.action(start + secs(3)), Action::Wait(start + secs(15)));
        assert_eq!(election.action(start + secs(15)), Action::Write(Claim::Create));

        let (mut holder, start) = leading();
        holder.observe(None, start + secs(2));
        assert_eq!(holder.action(start + secs(2)), Action::Write(Claim::Create));
    }

    #[test]
    fn the_time_to_write_counts_from_the_sending() {
        let (mut election, start) = leading();
        assert_eq!(election.held_until(), Some(start + secs(10)));
        assert_eq!(election.action(start + secs(1)), Action::Wait(start + secs(2)));
        assert_eq!(election.action(start + secs(2)), renew("1"));
        election.sending(11, start + secs(2));
        election.failed(start + secs(2));
        assert_eq!(election.action(start + secs(2)), Action::Wait(start + secs(3)));
        assert_eq!(election.action(start + secs(3)), renew("1"));
        assert_eq!(election.release(start + secs(9)), Some("1".into()));
        assert_eq!(election.action(start + secs(10)), Action::StepDown(Lost::Expired(secs(10))));
        assert_eq!(election.release(start + secs(10)), None);
    }

    #[test]
    fn a_request_that_hung_is_followed_by_the_next_at_once() {
        let (mut election, start) = leading();
        election.sending(11, start + secs(2));
        election.failed(start + secs(5));
        assert_eq!(election.action(start + secs(5)), renew("1"));
    }

    #[test]
    fn a_renewal_of_ours_whose_answer_was_lost_is_no_loss() {
        let (mut election, start) = leading();
        election.sending(11, start + secs(2));
        election.failed(start + secs(5));
        election.observe(Some(record(2, "me", 11)), start + secs(5));
        assert_eq!(election.action(start + secs(5)), renew("2"));
        assert_eq!(
            election.held_until(),
            Some(start + secs(10)),
            "only an answer proves when it was in time"
        );
    }

    #[test]
    fn a_leader_stops_when_the_lease_names_another_or_is_renewed_by_another_process() {
        let (mut election, start) = leading();
        election.observe(Some(record(2, "other", 11)), start + secs(2));
        assert_eq!(election.action(start + secs(2)), Action::StepDown(Lost::Taken("other".into())));
        assert_eq!(election.held_until(), None);

        let (mut election, start) = leading();
        election.observe(Some(record(2, "me", 99)), start + secs(2));
        assert_eq!(election.action(start + secs(2)), Action::StepDown(Lost::Doubled("me".into())));
    }
}
