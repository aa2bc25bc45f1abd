//! What the endpoint remembers, and which call does what with it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{
    balancer::{Balancer, LOCATIONS, read},
    error::Error,
    fault::{Counted, Fault, FaultPlan},
    target::selects,
    wish::{Creation, Update, Upload},
};

/// In one question.
const ACTIONS: usize = 25;
/// Of a page.
const PAGE: usize = 50;

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `POST load_balancers`, `POST add_target`, `GET actions`.
    pub name: String,
    /// What it was answered; 0 where the connection broke.
    pub status: u16,
    /// The code of the refusal.
    pub code: Option<String>,
    /// What was sent.
    pub body: Value,
}

/// A certificate that was uploaded. Its key is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields of the API
pub struct Certificate {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub certificate: String,
}

/// Something that takes its time.
#[derive(Clone, Debug)]
pub(super) struct Action {
    command: String,
    balancer: u64,
    /// Requests until it has ended.
    left: u32,
    /// What it ends with.
    error: Option<Error>,
}

/// What the endpoint has, was asked, and how it behaves. The knobs hold from the next call on.
#[derive(Debug, Default)]
pub struct Store {
    /// By identity.
    pub balancers: BTreeMap<u64, Balancer>,
    /// All calls so far.
    pub calls: Vec<Call>,
    /// The token that it wants.
    pub token: String,
    /// Servers of the project, with their labels.
    pub servers: BTreeMap<u64, BTreeMap<String, String>>,
    /// Networks of the project.
    pub networks: BTreeSet<u64>,
    /// Certificates of the project.
    pub certificates: BTreeSet<u64>,
    /// Those of them that were uploaded, by identity.
    pub uploaded: BTreeMap<u64, Certificate>,
    /// Requests, of whatever, until an action has ended; 0: it has when it is answered.
    pub unfinished: u32,
    /// The most balancers.
    pub quota: Option<usize>,
    /// Requests that are left until `rate_limit_exceeded`; none: as many as anybody likes.
    pub remaining: Option<u32>,
    pub(super) actions: BTreeMap<u64, Action>,
    pub(super) faults: FaultPlan,
    pub(super) serial: u64,
}

/// A status with a body, or a refusal.
pub(super) type Answered = Result<(u16, Option<Value>), Error>;

/// A request, as far as it is looked at.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) path: Vec<&'a str>,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: &'a [u8],
}

impl Asked<'_> {
    /// As the log has it.
    pub(super) fn name(&self) -> String {
        match self.path.as_slice() {
            ["load_balancers", _, "actions", verb] => format!("{} {verb}", self.method),
            ["load_balancers", _] => format!("{} load_balancer", self.method),
            ["certificates", _] => format!("{} certificate", self.method),
            path => format!("{} {}", self.method, path.join("/")),
        }
    }

    fn values(&self, key: &str) -> Vec<&str> {
        self.query.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect()
    }

    fn number(&self, key: &str, default: usize) -> Result<usize, Error> {
        let said = self.values(key).first().map(|text| text.parse::<usize>());
        let number = said.transpose().map_err(|_| Error::invalid(key, "must be a number"))?;
        Ok(number.unwrap_or(default))
    }
}

impl Store {
    pub(super) fn fresh(token: &str) -> Self {
        let labels = [("node".to_owned(), "yes".to_owned())];
        Self {
            token: token.to_owned(),
            servers: (1..=200).map(|id| (id, labels.clone().into())).collect(),
            networks: [7, 8].into(),
            certificates: [1, 2].into(),
            ..Self::default()
        }
    }

    /// Forgets everything: it is as it was when the endpoint started.
    pub fn clear(&mut self) {
        *self = Self::fresh(&std::mem::take(&mut self.token));
    }

    /// The `nth` call from now on (1: the next) goes wrong.
    pub fn fail_any(&mut self, nth: usize, fault: Fault) {
        self.faults.add(Counted::Any, nth, fault);
    }

    /// The `nth` call from now on (1: the next) that changes something goes wrong.
    pub fn fail_change(&mut self, nth: usize, fault: Fault) {
        self.faults.add(Counted::Changes, nth, fault);
    }

    /// The `nth` call of this name from now on (1: the next) goes wrong.
    pub fn fail(&mut self, name: &str, nth: usize, fault: Fault) {
        self.faults.add(Counted::Of(name.to_owned()), nth, fault);
    }

    /// Whether faults that were planned have not happened.
    #[must_use]
    pub fn faults_left(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Names of the calls from number `first` on, the first being 0; those that were refused with their code.
    #[must_use]
    pub fn since(&self, first: usize) -> Vec<String> {
        let line = |call: &Call| match &call.code {
            Some(code) => format!("{} {code}", call.name),
            None => call.name.clone(),
        };
        self.calls.iter().skip(first).map(line).collect()
    }

    pub(super) fn next_fault(&mut self, call: &str) -> Option<Fault> {
        self.faults.meet(call)
    }

    pub(super) fn next_id(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Time passes with every request.
    pub(super) fn pass_time(&mut self) {
        self.actions.values_mut().for_each(|action| action.left = action.left.saturating_sub(1));
    }

    pub(super) fn handle(&mut self, asked: &Asked<'_>, action_error: Option<Error>) -> Answered {
        match (asked.method, asked.path.as_slice()) {
            ("GET", ["load_balancers"]) => self.list(asked),
            ("POST", ["load_balancers"]) => self.create(asked.body, action_error),
            ("GET", ["actions"]) => self.list_actions(asked),
            ("GET", ["certificates"]) => self.list_certificates(asked),
            ("POST", ["certificates"]) => self.upload(asked.body),
            ("DELETE", ["certificates", id]) => self.delete_certificate(id.parse().unwrap_or_default()),
            (method, ["load_balancers", id, rest @ ..]) => {
                let id: u64 = id.parse().map_err(|_| Error::not_found("load balancer"))?;
                let held = self.balancers.get(&id).cloned();
                let held = held.ok_or_else(|| Error::not_found("load balancer"))?;
                match (method, rest) {
                    ("GET", []) => Ok((200, Some(json!({"load_balancer": held.shown(self)})))),
                    ("PUT", []) => self.update(held, asked.body),
                    ("DELETE", []) => self.delete(&held),
                    ("POST", ["actions", verb]) => self.act(&held, verb, asked.body, action_error),
                    _ => Err(Error::not_found("page")),
                }
            }
            _ => Err(Error::not_found("page")),
        }
    }

    fn list(&self, asked: &Asked<'_>) -> Answered {
        if let Some((key, _)) = asked
            .query
            .iter()
            .find(|(key, _)| !matches!(key.as_str(), "label_selector" | "name" | "page" | "per_page"))
        {
            return Err(Error::invalid(key, "is not known here"));
        }
        let (page, per_page) = (asked.number("page", 1)?, asked.number("per_page", 25)?);
        if page == 0 || per_page == 0 || per_page > PAGE {
            return Err(Error::invalid("per_page", "must be between 1 and 50"));
        }
        let (names, selectors) = (asked.values("name"), asked.values("label_selector"));
        let fits = |b: &&Balancer| {
            names.iter().all(|name| b.name == *name) && selectors.iter().all(|s| selects(s, &b.labels))
        };
        let all: Vec<&Balancer> = self.balancers.values().filter(fits).collect();
        let last = all.len().div_ceil(per_page).max(1);
        let shown = all.iter().skip((page - 1) * per_page).take(per_page);
        let shown: Vec<Value> = shown.map(|balancer| balancer.shown(self)).collect();
        let next = (page < last).then_some(page + 1);
        let pagination = json!({"page": page, "per_page": per_page, "previous_page": null, "next_page": next,
            "last_page": last, "total_entries": all.len()});
        Ok((200, Some(json!({"load_balancers": shown, "meta": {"pagination": pagination}}))))
    }

    /// All on one page.
    fn list_certificates(&self, asked: &Asked<'_>) -> Answered {
        let (names, selectors) = (asked.values("name"), asked.values("label_selector"));
        let fits = |of: &&Certificate| {
            names.iter().all(|name| of.name == *name) && selectors.iter().all(|s| selects(s, &of.labels))
        };
        let shown = |(id, of): (&u64, &Certificate)| {
            json!({"id": id, "name": of.name, "labels": of.labels, "type": "uploaded",
                "certificate": of.certificate, "fingerprint": "00:00", "used_by": []})
        };
        let found = self.uploaded.iter().filter(|(_, of)| fits(of)).map(shown).collect::<Vec<_>>();
        Ok((
            200,
            Some(json!({"certificates": found, "meta": {"pagination": {"page": 1, "next_page": null}}})),
        ))
    }

    fn upload(&mut self, body: &[u8]) -> Answered {
        let wish: Upload = read(body)?;
        check_labels(&wish.labels)?;
        if self.uploaded.values().any(|held| held.name == wish.name) {
            return Err(Error::new(409, "uniqueness_error", "name is already used"));
        }
        let pem = |text: &str, what: &str| text.starts_with("-----BEGIN ") && text.contains(what);
        if wish.kind != "uploaded"
            || !pem(&wish.certificate, "CERTIFICATE")
            || !pem(&wish.private_key, "PRIVATE KEY")
        {
            return Err(Error::invalid("certificate", "must be PEM, with its key"));
        }
        let id = self.next_id() + 1000;
        let Upload { name, labels, certificate, .. } = wish;
        self.certificates.insert(id);
        self.uploaded.insert(id, Certificate { name, labels, certificate });
        Ok((201, Some(json!({"certificate": {"id": id}, "action": null}))))
    }

    fn delete_certificate(&mut self, id: u64) -> Answered {
        let uses = |service: &super::service::Service| {
            service.http.as_ref().is_some_and(|http| http.certificates.contains(&id))
        };
        if self.balancers.values().flat_map(|balancer| &balancer.services).any(uses) {
            return Err(Error::new(409, "conflict", "certificate is in use"));
        }
        self.certificates.remove(&id);
        let held = self.uploaded.remove(&id);
        held.map(|_| (204, None)).ok_or_else(|| Error::not_found("certificate"))
    }

    fn list_actions(&self, asked: &Asked<'_>) -> Answered {
        let ids = asked.values("id");
        if ids.is_empty() || ids.len() > ACTIONS {
            return Err(Error::invalid("id", "must be between 1 and 25 identities"));
        }
        let ids: Vec<u64> = ids.iter().filter_map(|id| id.parse().ok()).collect();
        let mut shown = Vec::new();
        for id in ids {
            shown.extend(self.actions.get(&id).map(|action| action.shown(id)));
        }
        Ok((200, Some(json!({"actions": shown}))))
    }

    fn create(&mut self, body: &[u8], action_error: Option<Error>) -> Answered {
        let wish: Creation = read(body)?;
        check_labels(&wish.labels)?;
        if self.balancers.values().any(|held| held.name == wish.name) {
            return Err(Error::new(409, "uniqueness_error", "name is already used"));
        }
        let location = match (&wish.location, &wish.network_zone) {
            (Some(name), None) => LOCATIONS.iter().find(|(known, _)| known == name),
            (None, Some(zone)) => LOCATIONS.iter().find(|(_, known)| known == zone),
            _ => return Err(Error::invalid("location", "either location or network_zone")),
        };
        let (location, _) = location.ok_or_else(|| Error::invalid("location", "there is no such place"))?;
        if self.quota.is_some_and(|most| self.balancers.len() >= most) {
            return Err(Error::new(403, "resource_limit_exceeded", "load balancer limit exceeded"));
        }
        let mut balancer = Balancer {
            id: 0,
            name: wish.name,
            labels: wish.labels,
            load_balancer_type: wish.load_balancer_type,
            location: (*location).to_owned(),
            algorithm: wish.algorithm.map_or("round_robin".to_owned(), |algorithm| algorithm.kind),
            public: wish.public_interface.unwrap_or(true),
            networks: wish.network.into_iter().collect(),
            protected: false,
            services: wish.services,
            targets: wish.targets,
        };
        balancer.check(self)?;
        balancer.id = self.next_id();
        let shown = balancer.shown(self);
        let action = self.begin("create_load_balancer", balancer.id, action_error);
        self.balancers.insert(balancer.id, balancer);
        Ok((201, Some(json!({"load_balancer": shown, "action": action}))))
    }

    fn update(&mut self, mut held: Balancer, body: &[u8]) -> Answered {
        let wish: Update = read(body)?;
        if let Some(name) = wish.name {
            if self.balancers.values().any(|other| other.name == name && other.id != held.id) {
                return Err(Error::new(409, "uniqueness_error", "name is already used"));
            }
            held.name = name;
        }
        if let Some(labels) = wish.labels {
            check_labels(&labels)?;
            held.labels = labels;
        }
        let shown = held.shown(self);
        self.balancers.insert(held.id, held);
        Ok((200, Some(json!({"load_balancer": shown}))))
    }

    fn delete(&mut self, held: &Balancer) -> Answered {
        if held.protected {
            return Err(Error::new(403, "protected", "load balancer is protected"));
        }
        self.check_unlocked(held.id)?;
        self.balancers.remove(&held.id);
        Ok((204, None))
    }

    fn act(&mut self, held: &Balancer, verb: &str, body: &[u8], action_error: Option<Error>) -> Answered {
        self.check_unlocked(held.id)?;
        let next = held.after(verb, body)?;
        next.check(self)?;
        let failed = action_error.is_some();
        let action = self.begin(verb, held.id, action_error);
        if !failed {
            self.balancers.insert(held.id, next);
        }
        Ok((201, Some(json!({"action": action}))))
    }

    /// One action of a balancer at a time.
    fn check_unlocked(&self, balancer: u64) -> Result<(), Error> {
        let runs = |action: &&Action| action.balancer == balancer && action.left > 0;
        match self.actions.values().find(runs) {
            Some(action) => Err(Error::new(423, "locked", format!("{} is running", action.command))),
            None => Ok(()),
        }
    }

    fn begin(&mut self, command: &str, balancer: u64, error: Option<Error>) -> Value {
        let id = self.next_id();
        let action = Action { command: command.to_owned(), balancer, left: self.unfinished, error };
        let shown = action.shown(id);
        self.actions.insert(id, action);
        shown
    }
}

impl Action {
    fn shown(&self, id: u64) -> Value {
        let (status, progress) = match (self.left, &self.error) {
            (0, None) => ("success", 100),
            (0, Some(_)) => ("error", 100),
            _ => ("running", 0),
        };
        let error = self.error.as_ref().filter(|_| self.left == 0).map(|error| error.body()["error"].clone());
        json!({"id": id, "command": self.command, "status": status, "progress": progress, "error": error,
            "started": "2026-01-01T00:00:00+00:00", "finished": null,
            "resources": [{"id": self.balancer, "type": "load_balancer"}]})
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let end = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.ends_with(|c: char| c.is_ascii_alphanumeric())
    };
    let value = |text: &String| text.is_empty() || (text.len() <= 63 && text.chars().all(plain) && end(text));
    let key = |text: &String| {
        let name = text.rsplit('/').next().unwrap_or_default();
        (1..=63).contains(&name.len()) && name.chars().all(plain) && end(name)
    };
    match labels.iter().find(|(k, v)| !key(k) || !value(v)) {
        Some((key, _)) => Err(Error::invalid("labels", format!("label {key} is not valid"))),
        None => Ok(()),
    }
}
