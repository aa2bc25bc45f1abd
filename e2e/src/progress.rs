//! Every step on one line of stderr with the time it took; long steps say every few seconds that they are still alive.

use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often a step that is still running says so.
const HEARTBEAT: Duration = Duration::from_secs(10);

fn since_start() -> f64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_secs_f64()
}

/// Prints one line with the time since the program's first line.
pub fn say(line: &str) {
    eprintln!("[{:6.1}s] {line}", since_start());
}

/// A step under way. Dropped without [`Step::done`], it is reported as not finished.
#[derive(Debug)]
pub struct Step {
    what: String,
    started: Instant,
    finished: bool,
    heartbeat: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Step {
    /// Starts a step: prints nothing until it ends or outlives the heartbeat.
    pub fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let started = Instant::now();
        since_start();
        let (stop, stopped) = mpsc::channel();
        let name = what.clone();
        let thread = std::thread::spawn(move || {
            while stopped.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                say(&format!("... {name} ({:.0} s so far)", started.elapsed().as_secs_f64()));
            }
        });
        Self { what, started, finished: false, heartbeat: Some((stop, thread)) }
    }

    /// Ends the step with its time.
    pub fn done(mut self) {
        self.finished = true;
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.heartbeat.take() {
            drop(stop);
            // The thread only prints; if it panicked there is nothing to undo.
            let _ = thread.join();
        }
        let seconds = self.started.elapsed().as_secs_f64();
        let outcome = if self.finished { "" } else { ": not finished" };
        say(&format!("{}{outcome} ({seconds:.1} s)", self.what));
    }
}

/// Runs `work` as a step.
///
/// # Errors
/// Those of `work`.
pub fn step<T>(what: impl Into<String>, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let step = Step::start(what);
    let value = work()?;
    step.done();
    Ok(value)
}

/// Awaits `work` as a step.
///
/// # Errors
/// Those of `work`.
pub async fn step_async<T>(
    what: impl Into<String>,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let step = Step::start(what);
    let value = work.await?;
    step.done();
    Ok(value)
}
