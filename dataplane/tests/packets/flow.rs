//! One row of the table of flows: who sends where, and what has to come of it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use penstock_model::Protocol;

use crate::{
    echo::{Answer, Outcome, ask},
    lab::{Lab, Sender},
};

/// How long a flow may take to show what it has to show. It never takes so long unless it fails.
const DEADLINE: Duration = Duration::from_secs(30);

/// Who answers, and the source that it sees.
pub(crate) type Answers = &'static [(&'static str, &'static str)];

/// What has to come of a flow.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// Each of these answers, and no other, by the server's name and the source that it sees.
    Answers(Answers),
    /// Refused, before any time-out.
    Refused,
    /// No answer. Without a rule somebody would give one.
    Dropped,
}

/// A sender, a destination, and what has to come of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    /// Who sends.
    pub(crate) from: Sender,
    /// The protocol.
    pub(crate) protocol: Protocol,
    /// The frontend.
    pub(crate) to: &'static str,
    /// What has to come of it.
    pub(crate) expect: Expect,
}

/// The sender gets each of these answers.
pub(crate) const fn answers(from: Sender, protocol: Protocol, to: &'static str, answers: Answers) -> Flow {
    Flow { from, protocol, to, expect: Expect::Answers(answers) }
}

/// The sender is refused.
pub(crate) const fn refused(from: Sender, protocol: Protocol, to: &'static str) -> Flow {
    Flow { from, protocol, to, expect: Expect::Refused }
}

/// The sender gets nothing.
pub(crate) const fn dropped(from: Sender, protocol: Protocol, to: &'static str) -> Flow {
    Flow { from, protocol, to, expect: Expect::Dropped }
}

impl Flow {
    /// Sends packets until all expected answers came, or something else did.
    ///
    /// # Errors
    /// A sentence that names the flow and what came instead.
    pub(crate) fn check(&self, lab: &Lab) -> Result<(), String> {
        let wrong = |what: &str| Err(format!("{:?} {} {}: {what}", self.from, self.protocol, self.to));
        let deadline = Instant::now() + DEADLINE;
        let mut missing = self.answers();
        let expected = missing.clone();
        while Instant::now() < deadline {
            match (self.attempt(lab), self.expect) {
                (Outcome::Refused, Expect::Refused) | (Outcome::Silent, Expect::Dropped) => return Ok(()),
                // A lost packet, or ICMP errors beyond the kernel's rate.
                (Outcome::Silent, _) => {}
                (Outcome::Answered(answer), Expect::Answers(_)) if expected.contains(&answer) => {
                    missing.remove(&answer);
                    if missing.is_empty() {
                        return Ok(());
                    }
                }
                (other, _) => return wrong(&format!("{other:?} instead of {:?}", self.expect)),
            }
        }
        wrong(&format!("still waiting for {missing:?} of {:?}", self.expect))
    }

    fn attempt(&self, lab: &Lab) -> Outcome {
        let to: SocketAddr = self.to.parse().unwrap();
        ask(lab.sender(self.from), self.protocol, to)
    }

    fn answers(&self) -> BTreeSet<Answer> {
        let answers = match self.expect {
            Expect::Answers(answers) => answers,
            Expect::Refused | Expect::Dropped => &[],
        };
        let answers = answers.iter().map(|(by, seen)| (by.to_string(), seen.parse().unwrap()));
        answers.map(|(by, seen)| Answer { by, seen }).collect()
    }
}

/// Checks all flows and panics with every sentence at once.
pub(crate) fn check_all(lab: &Lab, flows: &[Flow]) {
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let checks: Vec<_> = flows.iter().map(|flow| scope.spawn(|| flow.check(lab))).collect();
        checks.into_iter().filter_map(|check| check.join().unwrap().err()).collect()
    });
    assert!(wrong.is_empty(), "{} of {} flows are wrong:\n{}", wrong.len(), flows.len(), wrong.join("\n"));
}
