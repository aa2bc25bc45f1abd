//! Several operators, one Lease, and everything that a network and a scheduler may do to them.
//!
//! Messages to and from the register take any time or are lost, processes are suspended or killed at any moment, and
//! every clock has its own zero. Never may two write at once; and once the weather is fair, somebody leads.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::election::{Action, Claim, Election, Record, Timing};

/// One step of the simulation.
const TICK: u64 = 100;
/// How long the weather is bad, and how long it may take until somebody leads after it; in milliseconds.
const STORM: u64 = 120_000;
const RECOVERY: u64 = 40_000;

/// SplitMix64: enough chance for a test, and the seed shows in a failure.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What the API server holds. A write with another version than the current one fails.
#[derive(Default)]
struct Register {
    lease: Option<Record>,
    version: u64,
}

impl Register {
    fn write(&mut self, name: &str, token: i64, claim: &Claim) -> Option<Record> {
        let current = self.lease.as_ref().map(|lease| (lease.version.clone(), lease.transitions));
        let transitions = match (claim, current) {
            (Claim::Create, None) => 0,
            (Claim::Take { version, transitions }, Some((now, _))) if *version == now => *transitions,
            (Claim::Renew { version }, Some((now, transitions))) if *version == now => transitions,
            _ => return None,
        };
        self.version += 1;
        let duration = Timing::default().duration;
        let version = self.version.to_string();
        self.lease =
            Some(Record { version, holder: name.into(), renewal: Some(token), duration, transitions });
        self.lease.clone()
    }

    fn release(&mut self, version: &str) -> Option<Record> {
        let lease = self.lease.as_mut().filter(|lease| lease.version == version)?;
        self.version += 1;
        lease.version = self.version.to_string();
        lease.holder.clear();
        self.lease.clone()
    }
}

/// What is asked of the register.
enum Call {
    Read,
    Write(i64, Claim),
    Release { version: String },
}

/// A request: arrives at the register and comes back at these times (real milliseconds), if at all.
struct Request {
    call: Call,
    arrives: Option<u64>,
    returns: Option<u64>,
    answer: Option<Result<Record, Option<Record>>>,
    gives_up: u64,
}

struct Operator {
    name: String,
    zero: Instant,
    /// How fast its clock goes, in thousandths of real time.
    speed: u64,
    election: Election,
    request: Option<Request>,
    asleep_until: u64,
}

impl Operator {
    fn new(number: u64, chance: &mut Chance) -> Self {
        let name = format!("operator-{number}");
        let zero = Instant::now() + Duration::from_secs(chance.below(1_000_000));
        let election = Election::new(name.clone(), Timing::default());
        Self { name, zero, speed: 950 + chance.below(101), election, request: None, asleep_until: 0 }
    }

    fn clock(&self, real: u64) -> Instant {
        self.zero + Duration::from_millis(real * self.speed / 1000)
    }

    fn may_write(&self, real: u64) -> bool {
        self.election.held_until().is_some_and(|until| self.clock(real) < until)
    }

    /// A new process of the same name; what the old one sent is still under way in `orphans`.
    fn restart(&mut self, orphans: &mut Vec<(String, Request)>) {
        self.election = Election::new(self.name.clone(), Timing::default());
        orphans.extend(self.request.take().map(|request| (self.name.clone(), request)));
    }
}

struct World {
    chance: Chance,
    real: u64,
    register: Register,
    operators: Vec<Operator>,
    orphans: Vec<(String, Request)>,
    token: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let operators = (0..2 + chance.below(3)).map(|n| Operator::new(n, &mut chance)).collect();
        Self { chance, real: 0, register: Register::default(), operators, orphans: Vec::new(), token: 0 }
    }

    fn storm(&self) -> bool {
        self.real < STORM
    }

    /// When a message arrives; in a storm it may take long or never arrive.
    fn arrival(&mut self) -> Option<u64> {
        let (real, storm) = (self.real, self.storm());
        match (storm, self.chance.below(10)) {
            (true, 0) => None,
            (true, 1 | 2) => Some(real + self.chance.below(20_000)),
            _ => Some(real + self.chance.below(200)),
        }
    }

    fn send(&mut self, call: Call) -> Request {
        let arrives = self.arrival();
        Request { call, arrives, returns: None, answer: None, gives_up: self.real + 3000 }
    }

    /// Lets messages arrive at the register.
    fn deliver(&mut self, name: &str, request: &mut Request) {
        if request.answer.is_some() || request.arrives.is_none_or(|at| self.real < at) {
            return;
        }
        let written = match &request.call {
            Call::Write(token, claim) => self.register.write(name, *token, claim),
            Call::Release { version } => self.register.release(version),
            Call::Read => None,
        };
        request.answer = Some(written.ok_or_else(|| self.register.lease.clone()));
        request.returns = self.arrival();
    }

    fn step(&mut self, index: usize) {
        if let Some(mut request) = self.operators[index].request.take() {
            let name = self.operators[index].name.clone();
            self.deliver(&name, &mut request);
            self.operators[index].request = Some(request);
        }
        if self.storm() {
            self.misfortune(index);
        }
        if self.operators[index].asleep_until <= self.real {
            self.receive(index);
            self.act(index);
        }
    }

    fn misfortune(&mut self, index: usize) {
        if self.chance.one_in(300) {
            self.operators[index].asleep_until = self.real + self.chance.below(40_000);
        }
        if self.chance.one_in(600) {
            self.operators[index].restart(&mut self.orphans);
        }
        if self.chance.one_in(600) && self.operators[index].asleep_until <= self.real {
            self.stop(index);
        }
    }

    /// A clean stop: the gate closes, and only then the release is sent.
    fn stop(&mut self, index: usize) {
        let operator = &mut self.operators[index];
        let (name, version) = (operator.name.clone(), operator.election.release(operator.clock(self.real)));
        operator.restart(&mut self.orphans);
        if let Some(version) = version {
            let request = self.send(Call::Release { version });
            self.orphans.push((name, request));
        }
    }

    fn receive(&mut self, index: usize) {
        let (real, operator) = (self.real, &mut self.operators[index]);
        let now = operator.clock(real);
        let Some(request) = operator.request.take() else { return };
        if request.returns.is_some_and(|at| at <= real) {
            match request.answer {
                Some(Ok(record)) => operator.election.written(record, now),
                Some(Err(found)) => operator.election.observe(found, now),
                None => {}
            }
        } else if request.gives_up <= real {
            operator.election.failed(now);
            self.orphans.push((operator.name.clone(), request));
        } else {
            operator.request = Some(request);
        }
    }

    fn act(&mut self, index: usize) {
        let operator = &self.operators[index];
        if operator.request.is_some() {
            return;
        }
        let now = operator.clock(self.real);
        match operator.election.action(now) {
            // The watch, as a read now and then.
            Action::Wait(_) if !self.chance.one_in(5) => {}
            Action::Wait(_) if operator.election.held_until().is_some() => {}
            Action::Wait(_) => self.operators[index].request = Some(self.send(Call::Read)),
            Action::Write(claim) => {
                self.token += 1;
                self.operators[index].election.sending(self.token, now);
                self.operators[index].request = Some(self.send(Call::Write(self.token, claim)));
            }
            Action::StepDown(_) => self.operators[index].restart(&mut self.orphans),
        }
    }

    /// One tick; returns who may write after it.
    fn tick(&mut self) -> Vec<String> {
        self.real += TICK;
        (0..self.operators.len()).for_each(|index| self.step(index));
        let mut orphans = std::mem::take(&mut self.orphans);
        orphans.iter_mut().for_each(|(name, request)| self.deliver(name, request));
        orphans.retain(|(_, request)| request.answer.is_none() && request.arrives.is_some());
        self.orphans.append(&mut orphans);
        let writers = self.operators.iter().filter(|operator| operator.may_write(self.real));
        writers.map(|operator| operator.name.clone()).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn never_two_that_may_write_and_always_a_leader_in_the_end(seed: u64) {
        let mut world = World::new(seed);
        let mut led = 0;
        while world.real < STORM + RECOVERY {
            let writers = world.tick();
            prop_assert!(writers.len() < 2, "{writers:?} at {} ms", world.real);
            led += writers.len();
        }
        prop_assert!(led > 0);
        prop_assert_eq!(world.tick().len(), 1, "nobody leads in fair weather");
    }
}
