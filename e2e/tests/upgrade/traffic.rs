//! Connections without a pause, each a new one, while something else happens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use penstock_e2e::cluster::Cluster;
use penstock_e2e::seed::{self, Sender};
use tokio::task::JoinHandle;

/// What one command asks. The more, the fewer moments pass between two of them; a command may take two minutes.
const BATCH: usize = 250;

/// A connection that took longer than this lost a packet: Linux sends a SYN again after a second (RFC 6298).
const SLOW: f64 = 0.9;

/// What came of a flow's connections.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) made: usize,
    /// They came about, late.
    pub(crate) slow: usize,
    /// What curl said of those that were established and then got no answer.
    pub(crate) cut: Vec<String>,
    /// What curl said of those that did not come about.
    pub(crate) failures: Vec<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} made, {} refused or lost, {} cut, {} took over {SLOW} s",
            self.made,
            self.failures.len(),
            self.cut.len(),
            self.slow
        )
    }
}

impl Tally {
    /// Counts a line that curl wrote of a connection: status, seconds, seconds until it was established, error.
    fn count(&mut self, line: &str) {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().unwrap_or_default();
        let (status, seconds, established) = (word(), word(), word());
        self.made += 1;
        if status != "200" && established.parse().is_ok_and(|seconds: f64| seconds > 0.0) {
            self.cut.push(line.to_owned());
        } else if status != "200" {
            self.failures.push(line.to_owned());
        } else if seconds.parse().is_ok_and(|seconds: f64| seconds > SLOW) {
            self.slow += 1;
        }
    }
}

/// A flow's connections, one after the other, until they are to end.
pub(crate) struct Traffic {
    pub(crate) name: &'static str,
    end: Arc<AtomicBool>,
    task: JoinHandle<Result<Tally>>,
}

impl Traffic {
    /// Begins; there are at least `least` connections.
    pub(crate) fn start(
        cluster: &Cluster,
        name: &'static str,
        from: Sender,
        url: &str,
        least: usize,
    ) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let (cluster, url, ended) = (cluster.clone(), format!("{url}?[1-{BATCH}]"), Arc::clone(&end));
        let task = tokio::spawn(async move {
            let mut tally = Tally::default();
            while tally.made < least || !ended.load(Ordering::Relaxed) {
                connect(&cluster, from, &url).await?.lines().for_each(|line| tally.count(line));
            }
            Ok(tally)
        });
        Self { name, end, task }
    }

    /// Ends, and says what came of it.
    pub(crate) async fn end(self) -> Result<Tally> {
        self.end.store(true, Ordering::Relaxed);
        self.task.await.context("wait for connections")?
    }
}

/// A line of each connection. `Connection: close` lets curl use none twice.
async fn connect(cluster: &Cluster, from: Sender, url: &str) -> Result<String> {
    const CURL: &str = r#"curl -s -o /dev/null -H 'Connection: close' --max-time 5 -w "$2\n" "$1"; exit 0"#;
    const LINE: &str = "%{http_code} %{time_total} %{time_connect} %{errormsg}";
    let command = ["/bin/sh", "-c", CURL, "connect", url, LINE];
    match from {
        Sender::Machine(place) => {
            let output = cluster.run_in(place, &command).await?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Sender::Pod => {
            let pod = seed::pods(cluster).await?.into_iter().next().context("no nginx Pod is ready")?;
            cluster.kubectl(&[&["exec", &pod, "--"], command.as_slice()].concat()).await
        }
    }
}
