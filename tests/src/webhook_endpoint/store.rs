//! What the endpoint remembers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use axum::{
    body::Body,
    http::{Method, StatusCode, header},
    response::Response,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{
    balancer::{Balancer, Spec, Wanted, WantedTargets},
    fault::Fault,
};

/// A call that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `PUT`, `DELETE`.
    pub method: String,
    /// From `/balancers` on.
    pub path: String,
    /// What it was answered.
    pub status: u16,
}

/// What the endpoint has, was asked, and how it behaves. The knobs hold from the next call on.
#[derive(Debug)]
pub struct Store {
    /// By the Service's UID.
    pub balancers: BTreeMap<String, Balancer>,
    /// All calls so far.
    pub calls: Vec<Call>,
    /// What it gives, each to one balancer at a time.
    pub addresses: Vec<IpAddr>,
    /// The bearer token that it wants.
    pub token: Option<String>,
    /// So many `GET`s find a new or changed balancer unfinished, and so many find a deleted one going.
    pub unfinished: u32,
    /// The most balancers.
    pub quota: Option<usize>,
    /// Ports that it refuses with 422.
    pub refused_ports: BTreeSet<u16>,
    /// So many calls are throttled.
    pub throttled: u32,
    /// `Retry-After` with 202 and 429, in seconds.
    pub retry_after: Option<u64>,
    /// How it says that traffic to its addresses reaches the nodes: `VIP` or `Proxy`.
    pub ip_mode: String,
    /// It has no addresses to show, but this name.
    pub hostname: Option<String>,
    /// Faults by the number of the call, the first being 1.
    pub faults: BTreeMap<usize, Fault>,
    /// How many calls that change something are left until one goes wrong (1: the next), and how.
    pub change_fault: Option<(usize, Fault)>,
}

impl Default for Store {
    fn default() -> Self {
        let v4 = (1..=254).map(|n| IpAddr::from([203, 0, 113, n]));
        let v6 = (1..=254).map(|n| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]));
        Self {
            balancers: BTreeMap::new(),
            calls: Vec::new(),
            addresses: v4.chain(v6).collect(),
            token: None,
            unfinished: 0,
            quota: None,
            refused_ports: BTreeSet::new(),
            throttled: 0,
            retry_after: None,
            ip_mode: "VIP".to_owned(),
            hostname: None,
            faults: BTreeMap::new(),
            change_fault: None,
        }
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    body: Option<Value>,
    header: Option<(header::HeaderName, String)>,
}

impl Reply {
    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        Self { status, body: Some(json!({"message": message})), header: None }
    }

    /// What a server says that has never heard of the contract.
    pub(super) fn stranger(path: &str) -> Self {
        Self { status: StatusCode::NOT_FOUND, body: Some(json!(format!("no page {path}"))), header: None }
    }

    pub(super) fn redirect(url: &str) -> Self {
        let header = Some((header::LOCATION, url.to_owned()));
        Self { status: StatusCode::TEMPORARY_REDIRECT, body: None, header }
    }

    pub(super) fn into_response(self) -> Response {
        let body = self.body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let mut builder = Response::builder().status(self.status);
        if let Some((name, value)) = self.header {
            builder = builder.header(name, value);
        }
        builder.header(header::CONTENT_TYPE, "application/json").body(body).unwrap_or_default()
    }
}

type Answered = Result<Reply, Reply>;

impl Store {
    /// The next call but `ahead` (0: the next one) goes wrong.
    pub fn fail(&mut self, ahead: usize, fault: Fault) {
        self.faults.insert(self.calls.len() + 1 + ahead, fault);
    }

    /// Calls with this method.
    #[must_use]
    pub fn count(&self, method: &str) -> usize {
        self.calls.iter().filter(|call| call.method == method).count()
    }

    /// Methods and ends of paths of the calls from number `first` on, the first being 0.
    #[must_use]
    pub fn since(&self, first: usize) -> Vec<String> {
        let line = |call: &Call| {
            let end = if call.path.ends_with("/targets") { " targets" } else { "" };
            format!("{}{end} {}", call.method, call.status)
        };
        self.calls.iter().skip(first).map(line).collect()
    }

    /// Makes what was accepted fail.
    pub fn break_down(&mut self, uid: &str, message: &str) {
        if let Some(balancer) = self.balancers.get_mut(uid) {
            balancer.error = Some(message.to_owned());
        }
    }

    pub(super) fn next_fault(&mut self, method: &Method) -> Option<Fault> {
        if let Some((ahead, _)) = self.change_fault.as_mut().filter(|_| method != Method::GET) {
            *ahead -= 1;
        }
        let due = self.change_fault.take_if(|(ahead, _)| *ahead == 0).map(|(_, fault)| fault);
        self.faults.remove(&(self.calls.len() + 1)).or(due)
    }

    pub(super) fn log(&mut self, method: &Method, path: &str, status: StatusCode) {
        let call = Call { method: method.to_string(), path: path.to_owned(), status: status.as_u16() };
        self.calls.push(call);
    }

    /// Whether the call is let in at all.
    pub(super) fn admit(&mut self, authorization: Option<&str>) -> Result<(), Reply> {
        let wanted = self.token.as_ref().map(|token| format!("Bearer {token}"));
        if wanted.is_some() && wanted.as_deref() != authorization {
            // As careless as an endpoint may be: it repeats what it was sent.
            let message = format!("{} is not accepted", authorization.unwrap_or("nothing"));
            return Err(Reply::error(StatusCode::UNAUTHORIZED, &message));
        }
        if self.throttled > 0 {
            self.throttled -= 1;
            let refusal = Reply::error(StatusCode::TOO_MANY_REQUESTS, "slow down");
            return Err(self.with_wait(refusal));
        }
        Ok(())
    }

    pub(super) fn get(&mut self, uid: &str) -> Answered {
        let balancer = self.balancers.get_mut(uid).ok_or_else(absent)?;
        let finished = balancer.unfinished == 0;
        balancer.unfinished = balancer.unfinished.saturating_sub(1);
        if balancer.deleting && finished {
            self.balancers.remove(uid);
            return Err(absent());
        }
        let mut body = shown(balancer, finished);
        body["status"]["ipMode"] = json!(self.ip_mode);
        if let Some(hostname) = &self.hostname {
            body["status"]["addresses"] = json!([]);
            body["status"]["hostname"] = json!(hostname);
        }
        Ok(self.with_wait(Reply { status: StatusCode::OK, body: Some(body), header: None }))
    }

    pub(super) fn put(&mut self, uid: &str, body: &[u8]) -> Answered {
        let wanted: Wanted = read(body)?;
        self.may_write(uid, &wanted.owner.uid, &wanted.owner)?;
        if let Some(fault) = wanted.spec.fault().or_else(|| self.refused(&wanted.spec)) {
            return Err(Reply::error(StatusCode::UNPROCESSABLE_ENTITY, &fault));
        }
        let held = self.balancers.get(uid);
        if held.is_none() && self.quota.is_some_and(|most| self.balancers.len() >= most) {
            return Err(Reply::error(StatusCode::INSUFFICIENT_STORAGE, "every balancer is taken"));
        }
        let created = held.is_none();
        let kept = held.map(|balancer| balancer.targets.clone());
        let targets = wanted.targets.or(kept).ok_or_else(absent)?;
        let addresses = self.allocate(uid, &wanted.spec)?;
        let (owner, spec, unfinished) = (wanted.owner, wanted.spec, self.unfinished);
        let balancer = Balancer { owner, spec, targets, addresses, unfinished, deleting: false, error: None };
        self.balancers.insert(uid.to_owned(), balancer);
        Ok(self.accepted(created))
    }

    pub(super) fn put_targets(&mut self, uid: &str, body: &[u8]) -> Answered {
        let wanted: WantedTargets = read(body)?;
        self.may_write(uid, &wanted.owner.uid, &wanted.owner)?;
        let unfinished = self.unfinished;
        let balancer = self.balancers.get_mut(uid).ok_or_else(absent)?;
        balancer.targets = wanted.targets;
        balancer.unfinished = unfinished;
        Ok(self.accepted(false))
    }

    pub(super) fn delete(&mut self, uid: &str) -> Answered {
        let unfinished = self.unfinished;
        let balancer = self.balancers.get_mut(uid).ok_or_else(absent)?;
        if unfinished == 0 {
            self.balancers.remove(uid);
            return Ok(Reply { status: StatusCode::NO_CONTENT, body: None, header: None });
        }
        balancer.deleting = true;
        balancer.unfinished = unfinished;
        Ok(self.with_wait(Reply { status: StatusCode::ACCEPTED, body: None, header: None }))
    }

    fn may_write(&self, uid: &str, of_body: &str, owner: &super::balancer::Owner) -> Result<(), Reply> {
        let conflict = |message: &str| Err(Reply::error(StatusCode::CONFLICT, message));
        if uid != of_body {
            return Err(Reply::error(StatusCode::UNPROCESSABLE_ENTITY, "path and owner have different UIDs"));
        }
        match self.balancers.get(uid) {
            Some(held) if held.owner != *owner => conflict("it is another's"),
            Some(held) if held.deleting => conflict("it is being deleted"),
            _ => Ok(()),
        }
    }

    fn refused(&self, spec: &Spec) -> Option<String> {
        let port = spec.frontends.iter().find(|f| self.refused_ports.contains(&f.port))?.port;
        Some(format!("port {port} is not allowed here"))
    }

    /// What is asked for, else what it has, else the first that is nobody's.
    fn allocate(&self, uid: &str, spec: &Spec) -> Result<Vec<IpAddr>, Reply> {
        let others = self.balancers.iter().filter(|(other, _)| *other != uid);
        let taken: BTreeSet<IpAddr> = others.flat_map(|(_, b)| b.addresses.iter().copied()).collect();
        let held = self.balancers.get(uid).map(|b| b.addresses.clone()).unwrap_or_default();
        let asked = &spec.requested_addresses;
        if let Some(ip) = asked.iter().find(|ip| taken.contains(ip) || !self.addresses.contains(ip)) {
            return Err(Reply::error(StatusCode::UNPROCESSABLE_ENTITY, &format!("{ip} is not to be had")));
        }
        let mut given = Vec::new();
        for need in &spec.families {
            let fits = |ip: &&IpAddr| ip.is_ipv4() == (need.family == "IPv4");
            let free = || self.addresses.iter().filter(fits).find(|ip| !taken.contains(ip));
            match asked.iter().find(fits).or_else(|| held.iter().find(fits)).or_else(free) {
                Some(ip) => given.push(*ip),
                None if need.required => {
                    let message = format!("no {} address is left", need.family);
                    return Err(Reply::error(StatusCode::INSUFFICIENT_STORAGE, &message));
                }
                None => {}
            }
        }
        Ok(given)
    }

    fn accepted(&self, created: bool) -> Reply {
        let status = match (self.unfinished, created) {
            (0, true) => StatusCode::CREATED,
            (0, false) => StatusCode::OK,
            _ => StatusCode::ACCEPTED,
        };
        self.with_wait(Reply { status, body: None, header: None })
    }

    fn with_wait(&self, reply: Reply) -> Reply {
        Reply { header: self.retry_after.map(|seconds| (header::RETRY_AFTER, seconds.to_string())), ..reply }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|e| Reply::error(StatusCode::BAD_REQUEST, &e.to_string()))
}

fn absent() -> Reply {
    Reply::error(StatusCode::NOT_FOUND, "no such balancer")
}

fn shown(balancer: &Balancer, finished: bool) -> Value {
    let state = match (balancer.deleting, &balancer.error, finished) {
        (true, ..) => "deleting",
        (false, Some(_), _) => "error",
        (false, None, true) => "active",
        (false, None, false) => "provisioning",
    };
    let uid = &balancer.owner.uid;
    json!({
        "owner": balancer.owner, "spec": balancer.spec, "targets": balancer.targets,
        "status": {
            "state": state, "message": balancer.error.as_deref().unwrap_or_default(),
            "addresses": balancer.addresses,
            "resources": [{"kind": "VirtualServer", "id": format!("vs-{uid}")}]
        }
    })
}
