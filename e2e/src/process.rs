//! Processes: started in a namespace and a cgroup, with a log file and a pid file, and ended by pid.
//!
//! A process outlives the program that started it (a cluster stays up after `up`), unless it is told to
//! [die with its parent](Sandbox::die_with_parent).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroup::Cgroup;
use crate::wait::{Look, until_blocking};

/// How long a process may take to end after SIGTERM before it is killed, and after SIGKILL before that is an error.
const DEATH: Duration = Duration::from_secs(10);

/// The network namespace of the thread that reads it.
const OWN_NETNS: &str = "/proc/thread-self/ns/net";

/// Where a process runs. The default is: where its parent runs.
#[derive(Debug, Clone, Default)]
pub struct Sandbox {
    /// A network namespace, as a file (`/run/netns/NAME`). Without one: that of the thread which starts the process.
    pub netns: Option<PathBuf>,
    /// A process whose mount, UTS and cgroup namespaces (files, host name, view of the cgroups) are joined.
    pub machine: Option<Pid>,
    /// The cgroup that it is put in; it has to exist.
    pub cgroup: Option<Cgroup>,
    /// Whether the kernel kills it when this program ends, however that happens.
    pub die_with_parent: bool,
}

impl Sandbox {
    /// With the network namespace of this thread, where the thread that starts processes is in another: it is in that of
    /// whoever started one first.
    fn here(&self) -> Self {
        let own = Path::new(OWN_NETNS);
        let elsewhere = fs::read_link(own).ok() != nursery().netns;
        let netns = self.netns.clone().or_else(|| elsewhere.then(|| own.to_owned()));
        Self { netns, ..self.clone() }
    }

    /// Makes `command` run here.
    ///
    /// # Errors
    /// When a namespace or the cgroup does not exist.
    pub fn apply(&self, command: &mut Command) -> Result<()> {
        let mut groups = Vec::new();
        for path in self.cgroup.iter().flat_map(Cgroup::procs_files) {
            let file = File::options()
                .write(true)
                .open(&path)
                .with_context(|| format!("open {}", path.display()))?;
            groups.push(OwnedFd::from(file));
        }
        let mut namespaces = Vec::new();
        if let Some(path) = &self.netns {
            namespaces.push(open_namespace(path)?);
        }
        if let Some(pid) = self.machine {
            // The mount namespace last: after it, paths mean something else.
            for kind in ["cgroup", "uts", "mnt"] {
                namespaces.push(open_namespace(Path::new(&format!("/proc/{pid}/ns/{kind}")))?);
            }
        }
        let parent = self.die_with_parent.then(std::process::id);
        // SAFETY: the closure runs between fork and exec and only makes system calls on descriptors that were opened
        // before the fork; it neither allocates nor takes locks.
        unsafe { command.pre_exec(move || enter(&groups, &namespaces, parent)) };
        Ok(())
    }
}

fn open_namespace(path: &Path) -> Result<OwnedFd> {
    let file = File::open(path).with_context(|| format!("open the namespace {}", path.display()))?;
    Ok(OwnedFd::from(file))
}

fn enter(groups: &[OwnedFd], namespaces: &[OwnedFd], parent: Option<u32>) -> io::Result<()> {
    for group in groups {
        nix::unistd::write(group, b"0")?;
    }
    for namespace in namespaces {
        setns(namespace.as_raw_fd())?;
    }
    nix::unistd::setsid()?;
    if let Some(parent) = parent {
        nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
        // The parent may have ended before the request; then nobody would send the signal.
        if nix::unistd::getppid().as_raw() != parent.cast_signed() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
    }
    Ok(())
}

fn setns(namespace: RawFd) -> io::Result<()> {
    // SAFETY: a system call on a descriptor that is open; 0 accepts any kind of namespace.
    match unsafe { libc::setns(namespace, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The name of the pid file and the log file.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Environment variables besides the inherited ones.
    pub env: Vec<(String, String)>,
    /// Where it runs.
    pub sandbox: Sandbox,
}

/// The directory that holds pid files (`NAME.pid`) and logs (`NAME.log`) of an instance's processes.
#[derive(Debug, Clone)]
pub struct Ledger {
    directory: PathBuf,
}

impl Ledger {
    /// The ledger in `directory`, which is made when needed.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn open(directory: impl Into<PathBuf>) -> Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        Ok(Self { directory })
    }

    /// Starts a process. Its output is appended to its log.
    ///
    /// # Errors
    /// When it cannot be started, or one of that name already runs.
    pub fn spawn(&self, spec: &Spec) -> Result<Process> {
        if let Some(running) = self.find(&spec.name)?.filter(Process::is_alive) {
            return Err(anyhow!("{} already runs as process {}", spec.name, running.pid));
        }
        let log = self.log(&spec.name);
        let output = File::options().create(true).append(true).open(&log);
        let output = output.with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new(&spec.program);
        command.args(&spec.args).envs(spec.env.iter().cloned()).stdin(Stdio::null());
        command.stdout(output.try_clone().context("share a log file")?).stderr(output);
        spec.sandbox.here().apply(&mut command)?;
        let pid = nursery_spawn(command).with_context(|| format!("start {}", spec.program.display()))?;
        let process = Process { name: spec.name.clone(), pid, start_time: start_time(pid), log };
        process.record(&self.pid_file(&spec.name))?;
        Ok(process)
    }

    /// The process that was last started under this name, alive or not.
    ///
    /// # Errors
    /// When the pid file exists but is not one.
    pub fn find(&self, name: &str) -> Result<Option<Process>> {
        let path = self.pid_file(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let mut words = text.split_whitespace();
        let pid = words.next().and_then(|word| word.parse().ok()).map(Pid::from_raw);
        let pid = pid.with_context(|| format!("{} is not a pid file", path.display()))?;
        let start_time = words.next().and_then(|word| word.parse().ok());
        Ok(Some(Process { name: name.to_owned(), pid, start_time, log: self.log(name) }))
    }

    /// Every process that has a pid file.
    ///
    /// # Errors
    /// When the directory or a file in it cannot be read.
    pub fn all(&self) -> Result<Vec<Process>> {
        let mut names = Vec::new();
        for entry in
            fs::read_dir(&self.directory).with_context(|| format!("list {}", self.directory.display()))?
        {
            let path = entry.context("list the pid files")?.path();
            if path.extension().is_some_and(|extension| extension == "pid") {
                names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
            }
        }
        names.sort_unstable();
        names.iter().filter_map(|name| self.find(name).transpose()).collect()
    }

    /// Where the output of the process of this name goes.
    pub fn log(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.log"))
    }

    fn pid_file(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.pid"))
    }
}

/// A process that was started. Dropping the value does not end the process.
#[derive(Debug, Clone)]
pub struct Process {
    name: String,
    pid: Pid,
    /// Clock ticks after boot (proc(5), field 22): tells this process from a later one with the same pid.
    start_time: Option<u64>,
    log: PathBuf,
}

/// A process that stands still until this is dropped.
#[derive(Debug)]
pub struct Frozen(Process);

impl Drop for Frozen {
    fn drop(&mut self) {
        if let Err(error) = self.0.signal(Signal::SIGCONT) {
            eprintln!("{error:#}");
        }
    }
}

impl Process {
    /// A process that somebody else started, such as a container's; what it says is in `log`.
    pub fn of(name: String, pid: Pid, log: PathBuf) -> Self {
        Self { name, pid, start_time: start_time(pid), log }
    }

    /// Stops it where it stands (SIGSTOP) until the returned value is dropped.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn freeze(&self) -> Result<Frozen> {
        self.signal(Signal::SIGSTOP)?;
        Ok(Frozen(self.clone()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its pid.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Its log file.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        self.start_time.is_some() && start_time(self.pid) == self.start_time
    }

    /// Sends a signal, if it still runs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        kill(self.pid, signal).with_context(|| format!("send {signal} to {} ({})", self.name, self.pid))
    }

    /// Asks it to end, and kills it when it does not.
    ///
    /// # Errors
    /// When it survives even that.
    pub fn stop(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)?;
        if self.wait_until_gone().is_err() {
            self.kill()?;
        }
        Ok(())
    }

    /// Kills it and waits until it is gone.
    ///
    /// # Errors
    /// When it is still there after a while.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::SIGKILL)?;
        self.wait_until_gone()
    }

    fn wait_until_gone(&self) -> Result<()> {
        until_blocking(&format!("the end of {}", self.name), DEATH, || match self.is_alive() {
            true => Ok(Look::NotYet(format!("process {} still runs", self.pid))),
            false => Ok(Look::Ready(())),
        })
    }

    /// An error when it has ended, with the last lines of its log.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check(&self) -> Result<()> {
        match self.is_alive() {
            true => Ok(()),
            false => Err(anyhow!(
                "{} has ended; the end of {}:\n{}",
                self.name,
                self.log.display(),
                self.log_tail()
            )),
        }
    }

    /// The last lines of its log, indented.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        tail(&String::from_utf8_lossy(&text), 15)
    }

    fn record(&self, path: &Path) -> Result<()> {
        let start_time = self.start_time.map(|ticks| ticks.to_string()).unwrap_or_default();
        fs::write(path, format!("{} {start_time}\n", self.pid))
            .with_context(|| format!("write {}", path.display()))
    }
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all.iter().skip(all.len().saturating_sub(lines)).map(|line| format!("    {line}\n")).collect()
}

/// When the process started; none when it has ended, be it waited for or not.
fn start_time(pid: Pid) -> Option<u64> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Field 22 of a stat line, unless field 3 says that the process is dead. Field 2 is the name in parentheses and may
/// contain anything, so that fields are counted from the last parenthesis.
fn parse_stat(line: &str) -> Option<u64> {
    let mut fields = line.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

type Birth = (Command, Sender<io::Result<Pid>>);

/// Spawns from a thread that lives as long as this program. The kernel sends the parent-death signal when the *thread*
/// that forked ends (prctl(2), PR_SET_PDEATHSIG), and the threads of a test or of a runtime's pool end early.
fn nursery_spawn(command: Command) -> io::Result<Pid> {
    let (reply, answer) = channel();
    let gone = || io::Error::other("the thread that starts processes has ended");
    nursery().births.send((command, reply)).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())?
}

struct Nursery {
    births: Sender<Birth>,
    /// What [`OWN_NETNS`] is there.
    netns: Option<PathBuf>,
}

fn nursery() -> &'static Nursery {
    static NURSERY: OnceLock<Nursery> = OnceLock::new();
    NURSERY.get_or_init(|| {
        let (births, receiver) = channel();
        std::thread::spawn(move || bear(&receiver));
        Nursery { births, netns: fs::read_link(OWN_NETNS).ok() }
    })
}

fn bear(births: &Receiver<Birth>) {
    for (mut command, reply) in births {
        let spawned = command.spawn().map(|mut child| {
            let pid = Pid::from_raw(child.id().cast_signed());
            // Somebody has to wait for it, or it stays as a zombie for as long as this program runs.
            std::thread::spawn(move || child.wait());
            pid
        });
        // Who asked may have given up meanwhile; the process is in its cgroup all the same.
        let _ = reply.send(spawned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(args: &[&str]) -> Spec {
        Spec {
            name: "child".into(),
            program: "/bin/sh".into(),
            args: args.iter().map(ToString::to_string).collect(),
            env: vec![("GREETING".into(), "hello".into())],
            sandbox: Sandbox { die_with_parent: true, ..Sandbox::default() },
        }
    }

    #[test]
    fn a_stat_line_with_a_strange_name_is_parsed() {
        let line = "7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 0 0";
        assert_eq!(parse_stat(line), Some(4242));
        assert_eq!(parse_stat(&line.replace(" S ", " Z ")), None);
    }

    #[test]
    fn a_process_is_found_again_and_killed() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let started = ledger.spawn(&spec(&["-c", "echo $GREETING; exec sleep 1000"])).unwrap();
        assert!(ledger.spawn(&spec(&[])).unwrap_err().to_string().contains("already runs"));
        let found = ledger.find("child").unwrap().unwrap();
        assert_eq!(found.pid(), started.pid());
        assert!(found.is_alive());
        assert_eq!(ledger.all().unwrap().len(), 1);
        until_blocking("a greeting", DEATH, || match found.log_tail().contains("hello") {
            true => Ok(Look::Ready(())),
            false => Ok(Look::NotYet(found.log_tail())),
        })
        .unwrap();
        found.kill().unwrap();
        assert!(!started.is_alive());
        assert!(started.check().unwrap_err().to_string().contains("hello"));
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        assert_eq!(tail("a\nb\nc\n", 2), "    b\n    c\n");
    }
}
