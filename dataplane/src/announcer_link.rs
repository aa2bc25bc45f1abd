//! The way to the announcer on the same node: an abstract Unix socket (unix(7)) in the node's network namespace, which
//! both share. Words are lines of JSON; each is answered by an empty line once the announcer has done what it asks.
//!
//! The task holds what was said last and says all of it to every announcer that it reaches, so that either process may
//! restart. Where no announcer is, nobody waits.

use std::{
    collections::BTreeSet,
    io,
    net::IpAddr,
    os::{linux::net::SocketAddrExt, unix::net},
    time::Duration,
};

use penstock_model::Standing;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::UnixStream,
    sync::{mpsc, oneshot},
    time::timeout,
};

/// Between attempts to reach the announcer.
const RETRY: Duration = Duration::from_millis(500);
/// How long a withdrawal may hold rules up. The announcer answers in less than a millisecond unless it is stuck.
const PATIENCE: Duration = Duration::from_millis(250);
/// Words that may wait.
const QUEUE: usize = 16;

/// A word, and whom to tell when it is done.
type Order = (Standing, oneshot::Sender<()>);

/// The way to the announcer. The task behind it ends with it.
#[derive(Debug)]
pub struct AnnouncerLink(mpsc::Sender<Order>);

impl AnnouncerLink {
    /// To the announcer that listens by this name.
    #[must_use]
    pub fn start(name: &str) -> Self {
        let (orders, ordered) = mpsc::channel(QUEUE);
        let task = Task { name: name.to_owned(), standing: None, stream: None };
        tokio::spawn(task.run(ordered));
        Self(orders)
    }

    /// These have rules as well.
    pub(crate) async fn add(&self, addresses: BTreeSet<IpAddr>) {
        if !addresses.is_empty() {
            self.order(Standing::More(addresses)).await;
        }
    }

    /// These have rules, and no others.
    pub(crate) async fn set(&self, addresses: BTreeSet<IpAddr>) {
        self.order(Standing::All(addresses)).await;
    }

    /// The rules of these are about to go: waits until none of them is announced, or cannot be known to be.
    pub(crate) async fn withdraw(&self, addresses: BTreeSet<IpAddr>) {
        if !addresses.is_empty()
            && let Some(done) = self.order(Standing::Less(addresses)).await
        {
            // Dropped when the task ends: nobody announces through it then.
            let _ = done.await;
        }
    }

    async fn order(&self, word: Standing) -> Option<oneshot::Receiver<()>> {
        let (done, waiting) = oneshot::channel();
        self.0.send((word, done)).await.ok().map(|()| waiting)
    }
}

struct Task {
    name: String,
    /// None before the first word.
    standing: Option<BTreeSet<IpAddr>>,
    stream: Option<BufReader<UnixStream>>,
}

impl Task {
    async fn run(mut self, mut ordered: mpsc::Receiver<Order>) {
        let mut retry = tokio::time::interval(RETRY);
        retry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = ordered.recv() => match order {
                    Some((word, done)) => {
                        self.take(word).await;
                        // Whoever waited may have gone.
                        let _ = done.send(());
                    }
                    None => return,
                },
                _ = retry.tick() => self.look().await,
            }
        }
    }

    async fn take(&mut self, word: Standing) {
        word.clone().carry_out(self.standing.get_or_insert_default());
        if let Some(stream) = &mut self.stream
            && let Err(error) = say(stream, &word).await
        {
            tracing::info!(%error, "the announcer on this node is away");
            self.stream = None;
        }
    }

    /// Reaches the announcer if it is there, and notices when it is not any longer.
    async fn look(&mut self) {
        let Some(standing) = &self.standing else { return };
        if self.stream.as_ref().is_some_and(|stream| is_open(stream.get_ref())) {
            return;
        }
        self.stream = None;
        let Ok(stream) = connect(&self.name) else { return };
        let mut stream = BufReader::new(stream);
        match say(&mut stream, &Standing::All(standing.clone())).await {
            Ok(()) => {
                tracing::info!(addresses = standing.len(), "told the announcer which addresses have rules");
                self.stream = Some(stream);
            }
            Err(error) => tracing::warn!(%error, "the announcer on this node does not answer"),
        }
    }
}

fn connect(name: &str) -> io::Result<UnixStream> {
    let stream = net::UnixStream::connect_addr(&net::SocketAddr::from_abstract_name(name)?)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// An announcer says nothing unasked: whatever can be read is the end.
fn is_open(stream: &UnixStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

async fn say(stream: &mut BufReader<UnixStream>, word: &Standing) -> io::Result<()> {
    let mut line = serde_json::to_vec(word)?;
    line.push(b'\n');
    let talk = async {
        stream.get_mut().write_all(&line).await?;
        match stream.read_line(&mut String::new()).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    };
    timeout(PATIENCE, talk).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use tokio::{io::Lines, net::UnixListener};

    use super::*;

    fn listen(name: &str) -> UnixListener {
        let address = net::SocketAddr::from_abstract_name(name).unwrap();
        let listener = net::UnixListener::bind_addr(&address).unwrap();
        listener.set_nonblocking(true).unwrap();
        UnixListener::from_std(listener).unwrap()
    }

    /// Of this process and no other.
    fn name(test: &str) -> String {
        format!("penstock-test-{}-{test}", std::process::id())
    }

    fn set(text: &str) -> BTreeSet<IpAddr> {
        [text.parse().unwrap()].into()
    }

    async fn hear(lines: &mut Lines<BufReader<UnixStream>>) -> Standing {
        let line = timeout(Duration::from_secs(20), lines.next_line()).await.expect("a word in time");
        serde_json::from_str(&line.unwrap().expect("a word")).unwrap()
    }

    async fn answer(lines: &mut Lines<BufReader<UnixStream>>) {
        lines.get_mut().get_mut().write_all(b"\n").await.unwrap();
    }

    #[tokio::test]
    async fn whoever_comes_is_told_all_and_a_removal_waits_for_the_answer() {
        let name = name("all");
        let link = AnnouncerLink::start(&name);
        link.set(set("203.0.113.1")).await;
        link.add(set("203.0.113.2")).await;
        let listener = listen(&name);
        let (stream, _) = listener.accept().await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        let both = set("203.0.113.1").union(&set("203.0.113.2")).copied().collect();
        assert_eq!(hear(&mut lines).await, Standing::All(both));
        answer(&mut lines).await;
        let mut removal = Box::pin(link.withdraw(set("203.0.113.1")));
        tokio::select! {
            () = &mut removal => panic!("nobody has answered yet"),
            word = hear(&mut lines) => assert_eq!(word, Standing::Less(set("203.0.113.1"))),
        }
        answer(&mut lines).await;
        removal.await;
        drop(lines);
        // The next one is told what is left.
        let (stream, _) = listener.accept().await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        assert_eq!(hear(&mut lines).await, Standing::All(set("203.0.113.2")));
    }

    #[tokio::test]
    async fn an_announcer_that_is_stuck_or_absent_holds_nothing_up_for_long() {
        let name = name("stuck");
        let link = AnnouncerLink::start(&name);
        link.set(set("203.0.113.1")).await;
        let listener = listen(&name);
        let (stream, _) = listener.accept().await.unwrap();
        let mut lines = BufReader::new(stream).lines();
        hear(&mut lines).await;
        // It never answers. That this ends at all is the point.
        link.withdraw(set("203.0.113.1")).await;
    }
}
