//! One look at both servers: they have seen all changes, and are asked.

use std::time::Duration;

use anyhow::{Context, Result};
use fastrand::Rng;
use futures::{StreamExt, TryFutureExt, TryStreamExt, stream};
use hickory_proto::rr::Name;
use kube::Client;
use serde_json::json;

use crate::wait::{Look, until};

use super::answer::Answer;
use super::exchange::{Wait, ask};
use super::object::{Object, Objects, carry_out, changes};
use super::population::{Population, accounts, mix};
use super::question::{Question, Setting};
use super::servers::{Pair, plain};

/// How many questions are under way at a time.
const AT_ONCE: usize = 64;
/// How long the servers may take to see a change; it bounds the wait for a broken one.
const SEEN: Duration = Duration::from_secs(60);

/// A round.
#[derive(Debug, Clone, Copy)]
pub struct Round<'a> {
    /// What questions follow from.
    pub seed: u64,
    /// Which one.
    pub number: u64,
    /// What the API server has.
    pub population: &'a Population,
}

/// A question with both answers.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What was asked.
    pub question: Question,
    /// What penstock-dns said.
    pub ours: Answer,
    /// What CoreDNS said.
    pub theirs: Answer,
}

/// Makes the API server's objects those of another population.
///
/// # Errors
/// What the API server says.
pub async fn change(client: &Client, before: &Objects, after: &Objects, first: bool) -> Result<()> {
    let (gone, new) = changes(before, after);
    // What lies in a namespace needs it, and Pods need their account.
    let (namespaces, rest): (Vec<_>, Vec<_>) =
        new.into_iter().partition(|object| object.collection == "/api/v1/namespaces");
    carry_out(client, &[], &namespaces).await?;
    if first {
        let accounts = accounts();
        carry_out(client, &[], &accounts.iter().collect::<Vec<_>>()).await?;
    }
    carry_out(client, &gone, &rest).await
}

impl Round<'_> {
    /// Creates one more object of each kind, and waits until all servers answer by it: what was before has then been
    /// seen too, for each kind has an order.
    ///
    /// # Errors
    /// When a server does not answer by it.
    pub async fn until_seen(&self, client: &Client, pairs: &[Pair]) -> Result<()> {
        let marks = marks(self.number);
        carry_out(client, &[], &marks.iter().collect::<Vec<_>>()).await?;
        for pair in pairs {
            for server in [pair.coredns, pair.penstock] {
                for name in mark_names(self.number, &pair.setting) {
                    until(&format!("{name} at {server}"), SEEN, || async {
                        pair.check()?;
                        let answer = ask(server, &plain(&name), 1, Wait::Long).await?;
                        let code = answer.and_then(|octets| octets.get(3).map(|flags| flags & 0x0f));
                        Ok(if code == Some(0) { Look::Ready(()) } else { Look::NotYet(format!("{code:?}")) })
                    })
                    .await?;
                }
            }
        }
        Ok(())
    }

    /// Asks both so many questions; returns them with both answers.
    ///
    /// # Errors
    /// When there is no socket to ask from.
    pub async fn ask(&self, pair: &Pair, count: usize) -> Result<Vec<Asked>> {
        let setting = pair.setting.domains.iter().flat_map(|domain| domain.bytes()).map(u64::from).sum();
        let mut rng = Rng::with_seed(mix(&[self.seed, self.number, setting]));
        let questions: Vec<Question> =
            (0..count).map(|_| Question::new(&mut rng, self.population, &pair.setting)).collect();
        let zones = zones(&pair.setting)?;
        // Not in order: who is silent holds nobody else up.
        let mut asked: Vec<(usize, Asked)> = stream::iter(questions.into_iter().enumerate())
            .map(|(at, question)| both(pair, question, &zones).map_ok(move |asked| (at, asked)))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        asked.sort_by_key(|(at, _)| *at);
        Ok(asked.into_iter().map(|(_, asked)| asked).collect())
    }
}

/// Who is silent may be slow, or a datagram was lost: the question is asked again with more patience, unless both are
/// silent to what is no question.
async fn both(pair: &Pair, question: Question, zones: &[Name]) -> Result<Asked> {
    let (ours, theirs) = look(pair, &question, zones, Wait::Short).await?;
    let settled = match (&ours, &theirs) {
        (Answer::Silence, Answer::Silence) => question.damage.is_some(),
        (Answer::Silence, _) | (_, Answer::Silence) => false,
        _ => true,
    };
    let (ours, theirs) =
        if settled { (ours, theirs) } else { look(pair, &question, zones, Wait::Long).await? };
    Ok(Asked { question, ours, theirs })
}

async fn look(pair: &Pair, question: &Question, zones: &[Name], wait: Wait) -> Result<(Answer, Answer)> {
    let id = 0x5a17;
    let of = |octets: Option<Vec<u8>>| match octets {
        Some(octets) => Answer::read(&octets, id, zones),
        None => Answer::Silence,
    };
    let (ours, theirs) =
        tokio::try_join!(ask(pair.penstock, question, id, wait), ask(pair.coredns, question, id, wait))?;
    Ok((of(ours), of(theirs)))
}

/// The zones whose records are the servers' own.
fn zones(setting: &Setting) -> Result<Vec<Name>> {
    let all = setting.domains.iter().copied().chain(["in-addr.arpa", "ip6.arpa"]);
    all.map(|domain| Name::from_ascii(format!("{domain}.")).context("read a domain")).collect()
}

fn marks(number: u64) -> Vec<Object> {
    let named =
        |kind: &str, name: String| json!({ "kind": kind, "apiVersion": "v1", "metadata": { "name": name } });
    let mut service = named("Service", format!("mark-{number}"));
    service["spec"] = json!({ "clusterIP": "None" });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "ports": [],
        "metadata": { "name": format!("mark-{number}"), "labels": { "kubernetes.io/service-name": format!("mark-{number}") } },
        "endpoints": [{ "addresses": ["192.0.2.1"] }],
    });
    let mut pod = named("Pod", format!("mark-{number}"));
    pod["spec"] = json!({ "containers": [{ "name": "c", "image": "none" }] });
    let ip = format!("192.0.2.{}", 100 + number);
    let mut pod = Object::new("/api/v1/namespaces/shop/pods", pod);
    pod.status = Some(json!({ "status": { "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }] } }));
    vec![
        Object::new("/api/v1/namespaces", named("Namespace", format!("mark-{number}"))),
        Object::new("/api/v1/namespaces/shop/services", service),
        Object::new("/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices", slice),
        pod,
    ]
}

/// Names that exist once the marks were seen: of a Service and its slice, of a namespace, and of a Pod.
fn mark_names(number: u64, setting: &Setting) -> Vec<String> {
    let domain = setting.domains[0];
    let mut names = vec![format!("mark-{number}.shop.svc.{domain}"), format!("mark-{number}.svc.{domain}")];
    if setting.pods == "verified" {
        names.push(format!("192-0-2-{}.shop.pod.{domain}", 100 + number));
    }
    names
}
