//! How one announcer of a node follows another without a gap, as when a DaemonSet replaces its Pods with `maxSurge: 1`.
//!
//! The next one starts beside this one, learns all that it must know, and waits. When this one is told to stop it yields:
//! the next one renews the node's Lease from then on and answers, from the same hardware addresses; only then this one ends.
//! No other node has reason to take an address over, so that no connection is cut.
//!
//! Whoever has bound an abstract Unix socket in the node's network namespace announces. The words, one a line:
//!
//! ```text
//! next -> this  ready                        it knows all, and could take over
//! this -> next  {"all": ["203.0.113.1"]}     it may: and these addresses have rules (null: nobody says which)
//! next -> this  answering
//! (end)                                      this one is gone, and all that it had can be had
//! ```

use std::{io, time::Duration};

use penstock_model::Standing;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, watch},
    time::sleep,
};

use crate::{Input, abstract_socket};

/// Between attempts to get the name: a process that ends frees it last, or first.
const RETRY: Duration = Duration::from_millis(20);
/// A word is no longer than this, in bytes: some 50,000 addresses.
const LONGEST: u64 = 2 << 20;
/// Announcers that may wait behind this one.
const QUEUE: usize = 8;
const READY: &str = "ready\n";
const ANSWERING: &str = "answering\n";

/// News of the announcer that was here before this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// It yields, and answers until we do. Its dataplane says which addresses have rules, unless it does not listen to one.
    Yields(Option<Standing>),
    /// It is gone, or there never was one.
    Gone,
}

/// How far this process is in following another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Progress {
    /// It must still learn.
    Starting,
    /// It could take over.
    Ready,
    /// It has.
    Answering,
}

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on the abstract Unix socket {name:?}: choose another --succession-socket")]
pub struct SuccessionError {
    name: String,
    #[source]
    source: io::Error,
}

/// This process's place among the announcers of its node.
#[derive(Debug)]
pub(crate) struct Succession {
    progress: watch::Sender<Progress>,
    waiting: mpsc::Receiver<Successor>,
}

impl Succession {
    /// Follows whoever has the name; without one there is nobody to follow. `news` hears of the predecessor.
    pub(crate) async fn start(
        name: Option<&str>,
        news: mpsc::Sender<Input>,
    ) -> Result<Self, SuccessionError> {
        let (progress, reached) = watch::channel(Progress::Starting);
        let (arrivals, waiting) = mpsc::channel(QUEUE);
        let Some(name) = name else {
            tell(&news, Predecessor::Gone).await;
            return Ok(Self { progress, waiting });
        };
        let task = Task { name: name.to_owned(), progress: reached, arrivals, news };
        match abstract_socket::bind(name) {
            Ok(listener) => tokio::spawn(task.hold(listener)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => tokio::spawn(task.follow()),
            Err(source) => return Err(SuccessionError { name: name.to_owned(), source }),
        };
        Ok(Self { progress, waiting })
    }

    /// Says how far this process is.
    pub(crate) fn reached(&self, progress: Progress) {
        self.progress.send_if_modified(|known| {
            let further = *known < progress;
            *known = progress.max(*known);
            further
        });
    }

    /// Yields to the one that came last of those that are ready and still there.
    pub(crate) async fn yield_to_next(&mut self, standing: Option<&Standing>) -> Option<Successor> {
        let mut next = None;
        while let Ok(mut successor) = self.waiting.try_recv() {
            if successor.is_there() {
                next = Some(successor);
            }
        }
        let mut successor = next?;
        let told = successor.tell(standing).await;
        told.inspect_err(|error| tracing::warn!(%error, "the next announcer went away")).ok()?;
        Some(successor)
    }
}

/// One that is ready to follow this process.
#[derive(Debug)]
pub(crate) struct Successor(BufReader<UnixStream>);

impl Successor {
    /// It says nothing while it waits: whatever can be read is its end.
    fn is_there(&mut self) -> bool {
        matches!(self.0.get_ref().try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    async fn tell(&mut self, standing: Option<&Standing>) -> io::Result<()> {
        let mut line = serde_json::to_vec(&standing)?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line).await
    }

    /// Waits until it answers; none if it went away before. It takes the end of the socket for the end of this process.
    pub(crate) async fn answers(mut self) -> Option<Self> {
        let answers = read(&mut self.0).await.is_ok_and(|line| line == ANSWERING);
        answers.then_some(self)
    }
}

struct Task {
    name: String,
    progress: watch::Receiver<Progress>,
    arrivals: mpsc::Sender<Successor>,
    news: mpsc::Sender<Input>,
}

impl Task {
    /// Waits behind whoever has the name, until it can be had.
    async fn follow(mut self) {
        tracing::info!(socket = self.name, "another announcer is on this node: waiting until it yields");
        loop {
            match abstract_socket::bind(&self.name) {
                Ok(listener) => return self.hold(listener).await,
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => tracing::warn!(%error, socket = self.name, "the socket cannot be had"),
            }
            if let Ok(stream) = abstract_socket::connect(&self.name) {
                // However it ends: the predecessor is gone, or another one was faster.
                let ended = self.wait_behind(BufReader::new(stream)).await;
                tracing::debug!(?ended, "the predecessor's end of the socket was closed");
            }
            sleep(RETRY).await;
        }
    }

    async fn wait_behind(&mut self, mut stream: BufReader<UnixStream>) -> io::Result<()> {
        if !abstract_socket::is_of_our_user(stream.get_ref()) {
            tracing::warn!(socket = self.name, "another user's process has the socket: not following it");
            return read(&mut stream).await.map(drop);
        }
        self.reach(Progress::Ready, &mut stream).await?;
        stream.get_mut().write_all(READY.as_bytes()).await?;
        let standing = serde_json::from_str(&read(&mut stream).await?)?;
        tracing::info!("the announcer before us yields");
        tell(&self.news, Predecessor::Yields(standing)).await;
        self.reach(Progress::Answering, &mut stream).await?;
        stream.get_mut().write_all(ANSWERING.as_bytes()).await?;
        read(&mut stream).await.map(drop)
    }

    /// Waits until this process is so far, or the other end is closed.
    async fn reach(&mut self, progress: Progress, stream: &mut BufReader<UnixStream>) -> io::Result<()> {
        tokio::select! {
            reached = self.progress.wait_for(|reached| *reached >= progress) => {
                reached.map(drop).map_err(|_| io::ErrorKind::Interrupted.into())
            }
            word = read(stream) => word.and(Err(io::ErrorKind::InvalidData.into())),
        }
    }

    /// Nobody else announces here now. Hears who comes next for as long as the agent lives.
    async fn hold(self, listener: UnixListener) {
        tell(&self.news, Predecessor::Gone).await;
        while let Ok((stream, _)) = listener.accept().await {
            if abstract_socket::is_of_our_user(&stream) {
                tokio::spawn(welcome(BufReader::new(stream), self.arrivals.clone()));
            } else {
                tracing::warn!(socket = self.name, "another user's process wants to follow: it is not heard");
            }
        }
    }
}

/// One that is not ready yet is of no use.
async fn welcome(mut stream: BufReader<UnixStream>, arrivals: mpsc::Sender<Successor>) {
    if read(&mut stream).await.is_ok_and(|line| line == READY) {
        tracing::info!("the next announcer of this node is ready");
        // The agent may be gone.
        let _ = arrivals.send(Successor(stream)).await;
    }
}

async fn tell(news: &mpsc::Sender<Input>, predecessor: Predecessor) {
    // The agent may be gone.
    let _ = news.send(Input::Predecessor(predecessor)).await;
}

/// The next line; the stream's end is an error.
async fn read(stream: &mut BufReader<UnixStream>) -> io::Result<String> {
    let mut line = String::new();
    match stream.take(LONGEST).read_line(&mut line).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

#[cfg(test)]
mod tests;
