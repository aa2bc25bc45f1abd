//! The first process inside: makes the machine's usual places, runs what was ordered, and switches off.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, sync};

use super::{BEGIN, END, Order};
use crate::topology::STATE_ROOT;

/// Where temporary files go: sockets cannot be on the machine's files.
const TEMPORARY: &str = "/run/tmp";

/// Gives the first process of a machine the console, which its kernel could not open before there was a `/dev`. Others are
/// left as they are.
///
/// # Errors
/// When there is none.
pub fn open_console() -> Result<()> {
    if std::process::id() != 1 {
        return Ok(());
    }
    let console = File::options().read(true).write(true).open("/dev/console").context("open the console")?;
    dup2_stdout(&console).context("use the console")?;
    dup2_stderr(&console).context("use the console")
}

/// Runs an order and switches the machine off.
///
/// # Errors
/// When it cannot be switched off.
pub fn guest(order: &Path) -> Result<()> {
    println!("{BEGIN}");
    let order = Order::read(order)?;
    let code = run(&order).unwrap_or_else(|error| {
        println!("penstock-e2e: {error:#}");
        1
    });
    let ended = order.end(code);
    println!("{END}");
    sync();
    reboot(RebootMode::RB_POWER_OFF).context("switch off")?;
    ended
}

fn run(order: &Order) -> Result<u8> {
    prepare()?;
    seed(&order.entropy)?;
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    command.args(&order.args).env_clear().envs(&order.env).env("TMPDIR", TEMPORARY);
    let child = command.spawn().context("run what was ordered")?;
    wait(Pid::from_raw(i32::try_from(child.id()).context("a process id is too large")?))
}

/// Nothing inside is random enough for keys before minutes have passed: the machine outside lends some.
fn seed(entropy: &[u8]) -> Result<()> {
    // RNDADDENTROPY of random(4): struct rand_pool_info is two ints and the bytes.
    const ADD_ENTROPY: libc::c_ulong = 0x4008_5203;
    let length = i32::try_from(entropy.len()).context("too much entropy")?;
    let mut pool = [(length * 8).to_ne_bytes(), length.to_ne_bytes()].concat();
    pool.extend_from_slice(entropy);
    let random = File::options().write(true).open("/dev/random").context("open /dev/random")?;
    // SAFETY: the descriptor is open, and the pool is as long as it says.
    let done = unsafe { libc::ioctl(random.as_raw_fd(), ADD_ENTROPY, pool.as_ptr()) };
    Errno::result(done).map(drop).context("seed the kernel's random numbers")
}

fn prepare() -> Result<()> {
    mount_at("proc", "/proc")?;
    mount_at("sysfs", "/sys")?;
    mount_at("cgroup2", "/sys/fs/cgroup")?;
    mount_at("tmpfs", "/run")?;
    // etcd writes here.
    fs::create_dir_all(STATE_ROOT).with_context(|| format!("make {STATE_ROOT}"))?;
    mount_at("tmpfs", STATE_ROOT)?;
    fs::create_dir_all(TEMPORARY).with_context(|| format!("make {TEMPORARY}"))?;
    let up = Command::new("/sbin/ip").args(["link", "set", "lo", "up"]).status().context("run ip")?;
    anyhow::ensure!(up.success(), "loopback does not come up");
    Ok(())
}

fn mount_at(kind: &str, place: &str) -> Result<()> {
    mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mount {kind} at {place}"))
}

/// Waits for one, and for all whose parents have ended: nobody else does.
fn wait(child: Pid) -> Result<u8> {
    loop {
        match waitpid(None, None).context("wait for a process")? {
            WaitStatus::Exited(pid, code) if pid == child => return Ok(u8::try_from(code).unwrap_or(1)),
            WaitStatus::Signaled(pid, signal, _) if pid == child => anyhow::bail!("it was ended by {signal}"),
            _ => {}
        }
    }
}
