//! A user-mode Linux: a kernel with IPVS as a process, on the machine's own files. Most machines' kernels have no IPVS, and
//! modules cannot be loaded in a container.
//!
//! [`Kernel`] is built from Debian's sources, [`Order`] says what is run in it, [`boot`] runs it, and [`guest`] is its first
//! process. It has no network but its own, and ends by itself.

mod guest;
mod kernel;
mod order;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

pub use guest::{guest, open_console};
pub use kernel::Kernel;
pub use order::Order;

/// What the guest prints before anything else: what the kernel says before that interests nobody.
const BEGIN: &str = "penstock-e2e: inside";

/// What it prints last: what the kernel says when it switches off interests nobody either.
const END: &str = "penstock-e2e: switching off";

/// Its memory: an API server, etcd and the node agents.
const MEMORY: &str = "3G";

/// Whether this kernel has IPVS.
pub fn has_ipvs() -> bool {
    Path::new("/proc/net/ip_vs").exists()
}

/// Runs what was ordered, passing on what it prints. Returns its exit code.
///
/// # Errors
/// When the kernel does not boot, or does not end in time: it is killed then.
pub fn boot(kernel: &Kernel, order: &Order, patience: Duration) -> Result<u8> {
    let file = order.write()?;
    let init = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(kernel.path());
    command
        .args(["root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw", "quiet", "loglevel=1", "panic=-1"])
        .args(["con=null", "con0=fd:0,fd:1", &format!("mem={MEMORY}")])
        .arg(format!("init={}", init.display()))
        .args(["--", "guest"])
        .arg(file.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0);
    let child = command.spawn().with_context(|| format!("run {}", kernel.path().display()))?;
    let said = follow(&mut Guest(child), patience)?;
    order.outcome().with_context(|| format!("user-mode Linux ended early; it said:\n{said}"))
}

/// Killed with all its processes when this ends, however it ends.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.0.id()) {
            // It has ended by itself, as a rule.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}

/// Passes on what the guest prints, and returns the end of what the kernel said before.
fn follow(guest: &mut Guest, patience: Duration) -> Result<String> {
    let output = guest.0.stdout.take().context("the guest has no output")?;
    let (lines, deadline) = (read_lines(output), Instant::now() + patience);
    let (mut inside, mut before) = (false, Vec::new());
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) if line.contains(END) => inside = false,
            Ok(line) if inside => println!("{line}"),
            Ok(line) if line.contains(BEGIN) => inside = true,
            Ok(line) => before.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!("user-mode Linux did not end within {} s and was killed", patience.as_secs())
            }
        }
    }
    let tail = before.len().saturating_sub(20);
    Ok(before.split_off(tail).join("\n"))
}

fn read_lines(output: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
