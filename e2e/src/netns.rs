//! Named network namespaces (ip-netns(8)) and what is set inside them. Nothing here touches the machine's own.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};

use crate::topology::netns_file;

/// Makes a network namespace.
///
/// # Errors
/// When it exists already or the kernel refuses.
pub fn create(name: &str) -> Result<()> {
    ip(&["netns", "add", name], None)
}

/// Removes a network namespace, if it exists.
///
/// # Errors
/// When the kernel refuses.
pub fn delete(name: &str) -> Result<()> {
    match exists(name) {
        true => ip(&["netns", "del", name], None),
        false => Ok(()),
    }
}

/// Whether a network namespace of this name exists.
pub fn exists(name: &str) -> bool {
    netns_file(name).exists()
}

/// The network namespaces that have names with this beginning.
///
/// # Errors
/// When the directory that has the names cannot be read.
pub fn beginning_with(prefix: &str) -> Result<Vec<String>> {
    let directory = netns_file("");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        // Nobody has made a namespace since the machine was started.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", directory.display())),
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| name.starts_with(prefix)).collect())
}

/// Runs `ip` commands, one a line, inside a namespace.
///
/// # Errors
/// At the first command that fails, with what `ip` said.
pub fn batch(name: &str, commands: &str) -> Result<()> {
    ip(&["-n", name, "-batch", "-"], Some(commands)).with_context(|| format!("set up the namespace {name}"))
}

/// Sets kernel parameters of a namespace: paths below `/proc/sys/net`, and values.
///
/// # Errors
/// When one cannot be written.
pub fn sysctl(name: &str, settings: &[(&str, &str)]) -> Result<()> {
    within(name, || {
        settings.iter().try_for_each(|(key, value)| {
            let path = Path::new("/proc/sys/net").join(key);
            fs::write(&path, value).with_context(|| format!("set {} to {value}", path.display()))
        })
    })
}

/// Runs `work` on a thread of its own inside a namespace. `/proc/sys/net` and sockets follow the thread.
///
/// # Errors
/// Those of `work`, or when the namespace cannot be entered.
pub fn within<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = netns_file(name);
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            enter(&path)?;
            work()
        });
        thread.join().map_err(|_| anyhow!("the thread inside {name} panicked"))?
    })
}

/// Moves the calling thread into a network namespace, for good.
///
/// # Errors
/// When there is no such namespace.
pub fn enter(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("open the namespace {}", path.display()))?;
    setns(file, CloneFlags::CLONE_NEWNET).with_context(|| format!("enter the namespace {}", path.display()))
}

fn ip(args: &[&str], input: Option<&str>) -> Result<()> {
    run("ip", args, input)
}

/// Loads an nftables ruleset inside a namespace.
///
/// # Errors
/// With what `nft` said.
pub fn nft(name: &str, ruleset: &str) -> Result<()> {
    run("ip", &["netns", "exec", name, "nft", "-f", "-"], Some(ruleset))
        .with_context(|| format!("load nftables rules in {name}"))
}

fn run(program: &str, args: &[&str], input: Option<&str>) -> Result<()> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("run {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin
            .write_all(input.unwrap_or_default().as_bytes())
            .with_context(|| format!("write to {program}"))?;
    }
    let output = child.wait_with_output().with_context(|| format!("wait for {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{program} {} failed: {}", args.join(" "), said.trim());
    Ok(())
}
