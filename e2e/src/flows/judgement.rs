//! What has to come of a flow, and whether it came: a state machine over the outcomes of attempts, without clock or IO.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::flows::place::{Family, Sender, node_sources};
use crate::flows::service::{Host, TARGET};
use crate::topology::Place;

/// How many connections are made at least, so that an endpoint that must not answer has its chance: with one wrong
/// endpoint beside two right ones, it stays unseen once in 3,000 times.
const CONNECTIONS: usize = 20;

/// How many connections are made at most until every endpoint has answered: with four of them, one is missed once in
/// ten billion times.
const MANY: usize = 80;

/// How many attempts may stay without an answer before that is taken for the outcome.
const SILENCES: usize = 3;

/// How many attempts without an answer make a drop.
const DROPS: usize = 2;

/// How many refusals make a refusal.
const REFUSALS: usize = 3;

/// How many connections have to stay with one endpoint before all is waited until affinity has run out: without affinity
/// so many never do.
const BURST: usize = CONNECTIONS;

/// How often is waited until another endpoint answers.
const ROUNDS: usize = 12;

/// Which source address an endpoint sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The sender's own.
    Kept,
    /// One of this node's.
    Node(Place),
}

/// An endpoint that may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answerer {
    /// Who it is.
    pub host: Host,
    /// The port that it was reached on.
    pub port: u16,
    /// Which source it sees.
    pub seen: Seen,
}

/// What has to come of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Each of these answers, and nobody else does.
    Answers(Vec<Answerer>),
    /// A reset or an ICMP error (port unreachable).
    Refused,
    /// Nothing at all.
    Dropped,
    /// One of these answers, always the same.
    Sticky(Vec<Answerer>),
    /// One of these answers, and another after this time without a connection.
    Forgets(Vec<Answerer>, Duration),
}

/// Who answered an attempt, on which port, and what it saw.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// The name of the server.
    pub by: String,
    /// The port that it was reached on.
    pub port: u16,
    /// The source address that it saw.
    pub source: IpAddr,
}

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A server answered.
    Answered(Answer),
    /// The connection was refused.
    Refused,
    /// Nothing came.
    Silent,
}

/// Whether a flow is as it has to be; if not, what was seen instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Holds,
    /// It is not.
    Fails(String),
}

/// What the prober does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Another attempt at once.
    Again,
    /// Another attempt after this time.
    After(Duration),
    /// Nothing more.
    Done(Verdict),
}

/// The judgement of one flow under way.
#[derive(Debug)]
pub struct Trial<'a> {
    expect: &'a Expect,
    sender: Sender,
    family: Family,
    seen: BTreeMap<Outcome, usize>,
    /// Who answered last, and on which port.
    last: Option<(String, u16)>,
    burst: usize,
    rounds: usize,
}

impl<'a> Trial<'a> {
    /// Begins.
    pub fn new(expect: &'a Expect, sender: Sender, family: Family) -> Self {
        Self { expect, sender, family, seen: BTreeMap::new(), last: None, burst: 0, rounds: 0 }
    }

    /// Takes the outcome of an attempt. `gap` is the time since the attempt before it.
    pub fn next(&mut self, outcome: &Outcome, gap: Duration) -> Next {
        *self.seen.entry(outcome.clone()).or_default() += 1;
        match (outcome, self.expect) {
            (Outcome::Refused, Expect::Refused) => self.done_after(REFUSALS, outcome),
            (Outcome::Silent, Expect::Dropped) => self.done_after(DROPS, outcome),
            // A packet may get lost where something else than silence is expected.
            (Outcome::Silent, _) if self.count(outcome) < SILENCES => Next::Again,
            (Outcome::Answered(answer), Expect::Answers(who)) if self.allows(who, answer) => self.spread(who),
            (Outcome::Answered(answer), Expect::Sticky(who)) if self.allows(who, answer) => {
                self.sticky(answer)
            }
            (Outcome::Answered(answer), Expect::Forgets(who, after)) if self.allows(who, answer) => {
                self.forgets(answer, *after, gap)
            }
            _ => self.fail(),
        }
    }

    /// The flow has had all the time that there is.
    pub fn out_of_time(&self) -> Verdict {
        Verdict::Fails(format!("still undecided after {}", self.all_seen()))
    }

    fn count(&self, outcome: &Outcome) -> usize {
        self.seen.get(outcome).copied().unwrap_or_default()
    }

    fn fail(&self) -> Next {
        Next::Done(Verdict::Fails(self.all_seen()))
    }

    fn done_after(&self, times: usize, outcome: &Outcome) -> Next {
        if self.count(outcome) < times { Next::Again } else { Next::Done(Verdict::Holds) }
    }

    fn spread(&self, expected: &[Answerer]) -> Next {
        let answers: Vec<&Answer> = self.seen.keys().filter_map(Outcome::answer).collect();
        let missing = expected.iter().find(|one| !answers.iter().any(|answer| self.is(one, answer)));
        let connections: usize = self.seen.values().sum();
        match missing {
            None if connections >= CONNECTIONS => Next::Done(Verdict::Holds),
            Some(one) if connections >= MANY => {
                let (seen, host) = (self.all_seen(), one.host.name());
                Next::Done(Verdict::Fails(format!("{seen}; never {host} as expected")))
            }
            _ => Next::Again,
        }
    }

    fn sticky(&mut self, answer: &Answer) -> Next {
        if self.changed(answer) {
            return self.fail();
        }
        self.burst += 1;
        if self.burst < CONNECTIONS { Next::Again } else { Next::Done(Verdict::Holds) }
    }

    fn forgets(&mut self, answer: &Answer, after: Duration, gap: Duration) -> Next {
        match (self.changed(answer), gap >= after) {
            (true, true) => return Next::Done(Verdict::Holds),
            (true, false) => return self.fail(),
            (false, _) => self.burst += 1,
        }
        if !self.burst.is_multiple_of(BURST) {
            return Next::Again;
        }
        self.rounds += 1;
        if self.rounds > ROUNDS { self.fail() } else { Next::After(after) }
    }

    /// Whether another endpoint answered than before. Which source it sees may depend on the frontend.
    fn changed(&mut self, answer: &Answer) -> bool {
        let endpoint = (answer.by.clone(), answer.port);
        let before = self.last.replace(endpoint.clone());
        before.is_some_and(|before| before != endpoint)
    }

    fn allows(&self, expected: &[Answerer], answer: &Answer) -> bool {
        expected.iter().any(|one| self.is(one, answer))
    }

    fn is(&self, expected: &Answerer, answer: &Answer) -> bool {
        let sources = match expected.seen {
            Seen::Kept => self.sender.sources(self.family),
            Seen::Node(node) => node_sources(node, self.family),
        };
        expected.host.name() == answer.by && expected.port == answer.port && sources.contains(&answer.source)
    }

    fn all_seen(&self) -> String {
        let phrases: Vec<String> =
            self.seen.iter().map(|(outcome, times)| format!("{times} x {outcome}")).collect();
        phrases.join(", ")
    }
}

impl Outcome {
    fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answered(answer) => Some(answer),
            Self::Refused | Self::Silent => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(Answer { by, port, source }) => write!(f, "{by}:{port} saw {source}"),
            Self::Refused => f.write_str("refused"),
            Self::Silent => f.write_str("nothing"),
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |who: &[Answerer]| who.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        match self {
            Self::Answers(who) => write!(f, "each of {}", names(who)),
            Self::Refused => f.write_str("refused"),
            Self::Dropped => f.write_str("nothing"),
            Self::Sticky(who) => write!(f, "always the same of {}", names(who)),
            Self::Forgets(who, after) => {
                write!(f, "the same of {}, another after {} s", names(who), after.as_secs())
            }
        }
    }
}

impl fmt::Display for Answerer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.host.name())?;
        if self.port != TARGET {
            write!(f, ":{}", self.port)?;
        }
        match self.seen {
            Seen::Kept => f.write_str(" (source kept)"),
            Seen::Node(node) => write!(f, " (source {})", node.name()),
        }
    }
}

#[cfg(test)]
#[path = "judgement_tests.rs"]
mod tests;
