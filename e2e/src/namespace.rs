//! A network namespace without a name: it goes with the last descriptor that holds it, however its test ends.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sched::{CloneFlags, setns, unshare};

/// A network namespace without a name.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Makes one with nothing in it but `lo`, which is up.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new() -> Result<Self> {
        let made = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .context("network namespaces need root: run this as root")
                .and_then(|()| File::open("/proc/thread-self/ns/net").context("open the namespace"))
        });
        let this = Self(made.join().map_err(|_| anyhow!("the thread that makes a namespace panicked"))??);
        this.ip("link set lo up")?;
        Ok(this)
    }

    /// The file by which other programs enter it, for as long as this value lives.
    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd()).into()
    }

    /// Runs on a thread of its own inside the namespace. Sockets made there stay in it, and where there is a tokio
    /// runtime, they may be its.
    ///
    /// # Errors
    /// When the namespace cannot be entered, or `work` panicked.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let runtime = tokio::runtime::Handle::try_current().ok();
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).context("enter the namespace")?;
                let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
                Ok(work())
            });
            thread.join().map_err(|_| anyhow!("the thread inside the namespace panicked"))?
        })
    }

    /// Runs `ip` inside, with these arguments.
    ///
    /// # Errors
    /// With what `ip` said.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(arguments.split_whitespace()).stdin(Stdio::null());
        let output = self.inside(|| command.output())?.context("run ip")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "ip {arguments} failed: {}", said.trim());
        Ok(())
    }

    /// Joins two namespaces by a cable: a pair of interfaces, one in each, both up.
    ///
    /// # Errors
    /// When one of them has an interface of its name already.
    pub fn cable(&self, name: &str, other: &Self, other_name: &str) -> Result<()> {
        // Made under a name that nobody else has; the other end may have to be called as this one is.
        self.ip(&format!("link add {name} type veth peer name cable-end"))?;
        self.ip(&format!("link set cable-end netns {} name {other_name}", other.path().display()))?;
        self.ip(&format!("link set {name} up"))?;
        other.ip(&format!("link set {other_name} up"))
    }
}
