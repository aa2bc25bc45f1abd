//! Network namespaces of our own, which go away with their value, also when a test panics.

use std::{
    fs::File,
    path::Path,
    process::Command,
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use nix::sched::{CloneFlags, setns};

const PREFIX: &str = "penstock-packets-";
static NEXT: AtomicU32 = AtomicU32::new(0);
static SWEPT: Once = Once::new();

/// A network namespace without a route out of the test.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// A new one; the role is part of its name.
    pub(crate) fn new(role: &str) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test makes network namespaces: run it as root");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        SWEPT.call_once(sweep);
        let name = format!("{PREFIX}{}-{number}-{role}", std::process::id());
        run("ip", &["netns", "add", &name]);
        let namespace = Self { name };
        namespace.ip("link set lo up");
        // Duplicate address detection would keep IPv6 silent for a second or two.
        namespace.sysctl("ipv6/conf/default/accept_dad", "0");
        namespace
    }

    /// Its name for `ip netns`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Another name of it, which can be taken away: programs that are to run in it fail then.
    pub(crate) fn alias(&self) -> Alias {
        let alias = Alias { of: self.name.clone(), name: format!("{}-alias", self.name) };
        alias.restore();
        alias
    }

    /// Runs `ip` with the words of `line`.
    pub(crate) fn ip(&self, line: &str) {
        let mut words = vec!["-n", &self.name];
        words.extend(line.split_whitespace());
        run("ip", &words);
    }

    /// Runs `nft` and returns what it prints.
    pub(crate) fn nft(&self, line: &str) -> String {
        run("ip", &["netns", "exec", &self.name, "nft", line])
    }

    /// Writes a value under `/proc/sys/net`.
    pub(crate) fn sysctl(&self, path: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(path);
        self.enter(|| std::fs::write(&path, value).unwrap());
    }

    /// Runs `work` on a thread inside. Sockets stay in the namespace that they were made in.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(Path::new("/run/netns").join(&self.name)).unwrap();
        let inside = move || {
            setns(file, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Not `run`: a second panic would end the process before the other namespaces are gone.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Another name of a namespace.
#[derive(Debug)]
pub(crate) struct Alias {
    of: String,
    name: String,
}

impl Alias {
    /// The name for `ip netns`.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Takes the name away.
    pub(crate) fn remove(&self) {
        std::fs::remove_file(Path::new("/run/netns").join(&self.name)).unwrap();
    }

    /// Gives the name again.
    pub(crate) fn restore(&self) {
        std::os::unix::fs::symlink(&self.of, Path::new("/run/netns").join(&self.name)).unwrap();
    }
}

impl Drop for Alias {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(Path::new("/run/netns").join(&self.name));
    }
}

/// Removes what a run left that was killed.
fn sweep() {
    for line in run("ip", &["netns", "list"]).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            run("ip", &["netns", "del", name]);
        }
    }
}

fn run(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {}: {}",
        words.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
