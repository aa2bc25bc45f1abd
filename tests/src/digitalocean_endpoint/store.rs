//! What the account has, and what becomes of it by a call.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    certificate::{Certificate, CertificateWish},
    fault::{Counted, Fault, FaultPlan},
    refusal::Reply,
    wish::Wish,
};

/// The region that it has.
pub const REGION: &str = "fra1";
/// The token that it takes.
pub const TOKEN: &str = "dop_v1_right";

/// A balancer.
#[derive(Clone, Debug, PartialEq)]
pub struct Balancer {
    /// What it was asked to be.
    pub wish: Wish,
    /// `new`, `active`, `errored`.
    pub status: String,
    /// How many looks it takes until it is there.
    pub unseen: u32,
    /// Its address, once it is there.
    pub ip: String,
    /// When it was made.
    pub created_at: String,
}

/// A call that was made.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// `GET`, `POST`, `PUT`, `DELETE`.
    pub method: String,
    /// From `/v2` on, with its query.
    pub path: String,
    /// What it was answered; 0 where the connection broke.
    pub status: u16,
    /// What was sent, without keys.
    pub body: Option<Value>,
}

/// What there is, what was asked, and how it behaves from now on.
#[derive(Debug)]
pub struct Store {
    /// By id.
    pub balancers: BTreeMap<String, Balancer>,
    /// By id.
    pub certificates: BTreeMap<String, Certificate>,
    /// Those of the account, with their tags.
    pub droplets: BTreeMap<u64, BTreeSet<String>>,
    /// All calls so far.
    pub calls: Vec<Call>,
    /// The most balancers.
    pub limit: usize,
    /// So many looks find a new balancer unfinished.
    pub looks_until_active: u32,
    /// A balancer that somebody deletes after the next first page of a list was read.
    pub lost_between_pages: Option<String>,
    /// Calls allowed, and made, in this hour.
    pub rate: (u64, u64),
    made: u32,
    faults: FaultPlan,
}

impl Default for Store {
    fn default() -> Self {
        let droplets = (1..=9).map(|id| (id, BTreeSet::from(["k8s".to_owned()])));
        Self {
            balancers: BTreeMap::new(),
            certificates: BTreeMap::new(),
            droplets: droplets.collect(),
            calls: Vec::new(),
            limit: 10_000,
            looks_until_active: 1,
            lost_between_pages: None,
            rate: (1_000_000, 0),
            made: 0,
            faults: FaultPlan::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DropletWish {
    droplet_ids: BTreeSet<u64>,
}

type Answered = Result<Reply, Reply>;

impl Store {
    /// The `nth` call from now on (1: the next) goes wrong.
    pub fn fail_any(&mut self, nth: usize, fault: Fault) {
        self.faults.add(Counted::Any, nth, fault);
    }

    /// The `nth` call that changes something goes wrong.
    pub fn fail_change(&mut self, nth: usize, fault: Fault) {
        self.faults.add(Counted::Changes, nth, fault);
    }

    /// Whether something is still to go wrong.
    #[must_use]
    pub fn faults_left(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Methods and paths of the calls from number `first` on, without ids and queries.
    #[must_use]
    pub fn since(&self, first: usize) -> Vec<String> {
        self.calls.iter().skip(first).map(Call::line).collect()
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.balancers.is_empty() && self.certificates.is_empty()
    }

    /// A balancer as somebody makes it by hand; returns its id.
    pub fn put_by_hand(&mut self, wish: Wish) -> String {
        let id = self.next_id("lb");
        let mut balancer = self.fresh(wish);
        "active".clone_into(&mut balancer.status);
        balancer.ip = self.address();
        self.balancers.insert(id.clone(), balancer);
        id
    }

    pub(super) fn next_fault(&mut self, reads: bool) -> Option<Fault> {
        self.faults.meet(reads)
    }

    /// Whether the call is let in at all.
    pub(super) fn admit(&mut self, authorization: Option<&str>) -> Result<(), Reply> {
        if authorization != Some(&format!("Bearer {TOKEN}")) {
            // As careless as something in between may be: it repeats what it was sent.
            let said = authorization.unwrap_or("nothing");
            return Err(Reply::refusal(401, &format!("Unable to authenticate you by {said}")));
        }
        if self.rate.1 >= self.rate.0 {
            let refusal = Reply::refusal(429, "API Rate limit exceeded.");
            return Err(Reply { retry_after: Some(2), ..refusal });
        }
        self.rate.1 += 1;
        Ok(())
    }

    pub(super) fn list_balancers(&mut self, query: &BTreeMap<String, String>) -> Answered {
        let ids: Vec<String> = self.balancers.keys().cloned().collect();
        let (page, next) = paged(&ids, query)?;
        let all: Vec<Value> = page.iter().filter_map(|id| self.look_at(id)).collect();
        if let Some(lost) = self.lost_between_pages.take() {
            self.balancers.remove(&lost);
        }
        Ok(Reply::new(200, listed("load_balancers", &all, ids.len(), next)))
    }

    pub(super) fn get_balancer(&mut self, id: &str) -> Answered {
        let found = self.look_at(id).ok_or_else(Reply::absent)?;
        Ok(Reply::new(200, json!({"load_balancer": found})))
    }

    pub(super) fn create_balancer(&mut self, body: &[u8]) -> Answered {
        let wish: Wish = read(body)?;
        self.check(&wish)?;
        if self.balancers.len() >= self.limit {
            let message = "creating this load balancer will exceed your load balancer limit";
            return Err(Reply::unprocessable(message));
        }
        if wish.validate_only {
            return Ok(Reply::nothing());
        }
        let id = self.next_id("lb");
        let balancer = self.fresh(wish);
        let shown = shown(&id, &balancer);
        self.balancers.insert(id, balancer);
        Ok(Reply::new(202, json!({"load_balancer": shown})))
    }

    pub(super) fn replace_balancer(&mut self, id: &str, body: &[u8]) -> Answered {
        let mut wish: Wish = read(body)?;
        let has = self.balancers.get(id).ok_or_else(Reply::absent)?;
        busy(has)?;
        self.check(&wish)?;
        let Wish { vpc_uuid, network, network_stack, kind, .. } = &has.wish;
        // What never changes need not be said, but may not be another either.
        if wish.vpc_uuid.is_empty() {
            wish.vpc_uuid.clone_from(vpc_uuid);
        }
        if (&wish.vpc_uuid, &wish.network, &wish.network_stack, &wish.kind)
            != (vpc_uuid, network, network_stack, kind)
        {
            return Err(Reply::unprocessable("VPC, network and type can't be changed"));
        }
        if wish.validate_only {
            return Ok(Reply::nothing());
        }
        let has = self.balancers.get_mut(id).ok_or_else(Reply::absent)?;
        has.wish = wish;
        Ok(Reply::new(200, json!({"load_balancer": shown(id, has)})))
    }

    pub(super) fn delete_balancer(&mut self, id: &str) -> Answered {
        self.balancers.remove(id).map(|_| Reply::nothing()).ok_or_else(Reply::absent)
    }

    pub(super) fn change_droplets(&mut self, id: &str, body: &[u8], adds: bool) -> Answered {
        let wish: DropletWish = read(body)?;
        let unknown = wish.droplet_ids.iter().any(|id| !self.droplets.contains_key(id));
        let has = self.balancers.get_mut(id).ok_or_else(Reply::absent)?;
        busy(has)?;
        let by_tag = || Reply::unprocessable("the load balancer has its Droplets by a tag");
        let ids = has.wish.droplet_ids.as_mut().ok_or_else(by_tag)?;
        if adds && unknown {
            return Err(Reply::unprocessable("droplet_ids has a Droplet that does not exist"));
        }
        if adds {
            ids.extend(wish.droplet_ids);
        } else {
            ids.retain(|id| !wish.droplet_ids.contains(id));
        }
        Ok(Reply::nothing())
    }

    pub(super) fn list_certificates(&self, query: &BTreeMap<String, String>) -> Answered {
        let all: Vec<Value> = self.certificates.values().map(Certificate::shown).collect();
        let (page, next) = paged(&all, query)?;
        Ok(Reply::new(200, listed("certificates", page, all.len(), next)))
    }

    pub(super) fn upload_certificate(&mut self, body: &[u8]) -> Answered {
        let wish: CertificateWish = read(body)?;
        wish.check()?;
        if self.certificates.values().any(|certificate| certificate.name == wish.name) {
            return Err(Reply::unprocessable("name must be unique"));
        }
        let id = self.next_id("cert");
        let certificate = Certificate { id: id.clone(), name: wish.name, leaf: wish.leaf_certificate };
        let shown = certificate.shown();
        self.certificates.insert(id, certificate);
        Ok(Reply::new(201, json!({"certificate": shown})))
    }

    pub(super) fn delete_certificate(&mut self, id: &str) -> Answered {
        let mut rules = self.balancers.values().flat_map(|balancer| &balancer.wish.forwarding_rules);
        if rules.any(|rule| rule.certificate_id == id) {
            return Err(Reply::refusal(403, "the certificate is in use by a load balancer"));
        }
        self.certificates.remove(id).map(|_| Reply::nothing()).ok_or_else(Reply::absent)
    }

    fn check(&self, wish: &Wish) -> Result<(), Reply> {
        if wish.region != REGION {
            return Err(Reply::unprocessable("region is invalid"));
        }
        let certificates = self.certificates.keys().map(String::as_str).collect();
        wish.check(&certificates, &self.droplets.keys().copied().collect())
    }

    fn fresh(&mut self, mut wish: Wish) -> Balancer {
        if wish.vpc_uuid.is_empty() {
            "the-regions-own-vpc".clone_into(&mut wish.vpc_uuid);
        }
        self.made += 1;
        let created_at = format!("2026-01-01T{:02}:{:02}:00Z", self.made / 60 % 24, self.made % 60);
        Balancer {
            wish,
            status: "new".to_owned(),
            unseen: self.looks_until_active,
            ip: String::new(),
            created_at,
        }
    }

    fn address(&self) -> String {
        format!("203.0.113.{}", self.made % 250 + 1)
    }

    fn next_id(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}-{:08}", self.made)
    }

    fn look_at(&mut self, id: &str) -> Option<Value> {
        let address = self.address();
        let balancer = self.balancers.get_mut(id)?;
        if balancer.status == "new" {
            if balancer.unseen == 0 {
                "active".clone_into(&mut balancer.status);
                balancer.ip = address;
            }
            balancer.unseen = balancer.unseen.saturating_sub(1);
        }
        Some(shown(id, balancer))
    }
}

impl Call {
    /// Whether it changes nothing.
    #[must_use]
    pub fn reads(&self) -> bool {
        self.method == "GET"
    }

    fn line(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        let part = |part: &'_ str| {
            let id = part.starts_with("lb-") || part.starts_with("cert-");
            if id { "ID".to_owned() } else { part.to_owned() }
        };
        let path: Vec<String> = path.split('/').map(part).collect();
        format!("{} {}", self.method, path.join("/"))
    }
}

/// While it is being built nothing of it can be changed.
fn busy(balancer: &Balancer) -> Result<(), Reply> {
    match balancer.status.as_str() {
        "new" => {
            Err(Reply::refusal(403, "Load Balancer can't be updated while it processes previous actions"))
        }
        _ => Ok(()),
    }
}

/// As the API shows it: a region is an object there.
fn shown(id: &str, balancer: &Balancer) -> Value {
    let Balancer { wish, status, ip, created_at, .. } = balancer;
    let mut value = json!(wish);
    value["health_check"] = json!(wish.health_check.clone().shown());
    value["id"] = json!(id);
    value["ip"] = json!(ip);
    value["status"] = json!(status);
    value["created_at"] = json!(created_at);
    value["size"] = json!("lb-small");
    value["region"] =
        json!({"slug": wish.region, "name": "Frankfurt 1", "available": true, "features": [], "sizes": []});
    value["tag"] = json!(wish.tag.clone().unwrap_or_default());
    value["droplet_ids"] = json!(wish.droplet_ids.clone().unwrap_or_default());
    value
}

/// A page, and the number of the next one.
fn paged<'a, T>(all: &'a [T], query: &BTreeMap<String, String>) -> Result<(&'a [T], Option<usize>), Reply> {
    let number = |key: &str, default: usize| query.get(key).map_or(Some(default), |text| text.parse().ok());
    let wrong = || Reply::unprocessable("page and per_page must be positive, and per_page at most 200");
    let page = number("page", 1).filter(|page| *page > 0).ok_or_else(wrong)?;
    let size = number("per_page", 20).filter(|size| (1..=200).contains(size)).ok_or_else(wrong)?;
    let begin = ((page - 1) * size).min(all.len());
    let end = (begin + size).min(all.len());
    Ok((&all[begin..end], (end < all.len()).then_some(page + 1)))
}

fn listed(kind: &str, all: &[Value], total: usize, next: Option<usize>) -> Value {
    let pages = next.map_or(
        json!({}),
        |next| json!({"next": format!("https://api.digitalocean.com/v2/{kind}?page={next}")}),
    );
    json!({kind: all, "links": {"pages": pages}, "meta": {"total": total}})
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Reply> {
    serde_json::from_slice(body).map_err(|e| Reply::unprocessable(&e.to_string()))
}
