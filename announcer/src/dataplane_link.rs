//! Hears from the dataplane of this node which balancers' addresses have rules: words of [`Standing`], one a line of JSON,
//! on an abstract Unix socket (unix(7)) in the node's network namespace. Each is answered by an empty line when it is
//! carried out. Only processes of our own user are heard.

use std::{io, sync::Arc, time::Duration};

use penstock_model::Standing;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use crate::{Input, abstract_socket};

/// How long a process that ends may still have the name, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_millis(20);
/// A word is no longer than this, in bytes: some 50,000 addresses.
const LONGEST: u64 = 2 << 20;

/// The socket cannot be had.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on the abstract Unix socket {name:?}: is there another announcer with this --dataplane-socket?"
)]
pub struct DataplaneLinkError {
    name: String,
    #[source]
    source: io::Error,
}

/// Told when a word is carried out. Clones are the same.
#[derive(Clone, Debug)]
pub struct Done {
    _end: Arc<oneshot::Sender<()>>,
}

impl Done {
    /// Tells by being dropped.
    #[must_use]
    pub fn new(done: oneshot::Sender<()>) -> Self {
        Self { _end: Arc::new(done) }
    }
}

/// Listens for the dataplane.
#[derive(Debug)]
pub struct DataplaneLink {
    listener: UnixListener,
    news: mpsc::Sender<Input>,
}

impl DataplaneLink {
    /// Opens the socket in the calling thread's network namespace. The announcer before this one may be about to free it.
    ///
    /// # Errors
    /// When another process has that name, and keeps it.
    pub async fn open(name: &str, news: mpsc::Sender<Input>) -> Result<Self, DataplaneLinkError> {
        let limit = Instant::now() + PATIENCE;
        loop {
            match abstract_socket::bind(name) {
                Ok(listener) => return Ok(Self { listener, news }),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < limit => {
                    sleep(RETRY).await;
                }
                Err(source) => return Err(DataplaneLinkError { name: name.to_owned(), source }),
            }
        }
    }

    /// Hears for as long as somebody listens to the news. One dataplane that follows another may be there beside it.
    pub async fn run(self) {
        while let Ok((stream, _)) = self.listener.accept().await {
            if abstract_socket::is_of_our_user(&stream) {
                tokio::spawn(hear(stream, self.news.clone()));
            } else {
                tracing::warn!("somebody else's process speaks to the announcer's socket: it is not heard");
            }
        }
    }
}

/// What was heard last stands when the dataplane goes: so do its rules.
async fn hear(stream: UnixStream, news: mpsc::Sender<Input>) {
    let mut stream = BufReader::new(stream);
    loop {
        let word = match read(&mut stream).await {
            Ok(Some(word)) => word,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%error, "the dataplane's word cannot be read"),
        };
        let (done, waiting) = oneshot::channel();
        let input = Input::Standing { word, done: Done::new(done) };
        if news.send(input).await.is_err() {
            return;
        }
        // It ends by being dropped, with the orders that follow from the word carried out.
        let _ = waiting.await;
        if stream.get_mut().write_all(b"\n").await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<UnixStream>) -> io::Result<Option<Standing>> {
    let mut line = String::new();
    match (&mut *stream).take(LONGEST).read_line(&mut line).await? {
        0 => Ok(None),
        _ => Ok(Some(serde_json::from_str(&line)?)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    fn connect(name: &str) -> BufReader<UnixStream> {
        BufReader::new(abstract_socket::connect(name).unwrap())
    }

    #[tokio::test]
    async fn a_word_is_answered_when_it_is_carried_out_and_not_before() {
        let name = format!("penstock-test-{}-announcer", std::process::id());
        let (news, mut heard) = mpsc::channel(4);
        let link = DataplaneLink::open(&name, news.clone()).await.unwrap();
        let other = DataplaneLink::open(&name, news).await.unwrap_err().to_string();
        assert!(other.contains(&name), "{other}");
        tokio::spawn(link.run());
        let mut stream = connect(&name);
        stream.get_mut().write_all(b"{\"all\":[\"203.0.113.1\"]}\n").await.unwrap();
        let limit = Duration::from_secs(20);
        let input = timeout(limit, heard.recv()).await.unwrap().unwrap();
        let Input::Standing { word, done } = input else { panic!("{input:?}") };
        assert_eq!(word, Standing::All(["203.0.113.1".parse().unwrap()].into()));
        let mut answer = String::new();
        assert_eq!(stream.get_mut().try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(done);
        timeout(limit, stream.read_line(&mut answer)).await.unwrap().unwrap();
        assert_eq!(answer, "\n");
        // What is no word ends the conversation, and harms nobody else.
        stream.get_mut().write_all(b"nonsense\n").await.unwrap();
        assert_eq!(timeout(limit, stream.read_line(&mut answer)).await.unwrap().unwrap(), 0);
        let mut another = connect(&name);
        another.get_mut().write_all(b"{\"less\":[]}\n").await.unwrap();
        assert!(matches!(timeout(limit, heard.recv()).await.unwrap(), Some(Input::Standing { .. })));
    }
}
