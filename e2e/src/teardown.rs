//! `down`: removes every trace of an instance, however far it came up, and looks whether that is true.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::mount::{MntFlags, umount2};
use nix::unistd::Pid;

use crate::cgroup::Cgroup;
use crate::netns;
use crate::packages::{ensure_root, restore_service_policy};
use crate::process::Ledger;
use crate::progress::{say, step};
use crate::topology::{CGROUP_ROOT, STATE_ROOT, Topology, netns_file};
use crate::wait::{Look, until_blocking};

/// How long the kernel may take to let go of a cgroup whose processes have ended.
const RELEASE: Duration = Duration::from_secs(20);

/// Removes every trace of the instance. Does nothing where there is none.
///
/// # Errors
/// When something cannot be removed, or is still there afterwards; each such thing is named.
pub fn down(topology: &Topology) -> Result<()> {
    ensure_root()?;
    restore_service_policy()?;
    if leftovers(topology)?.is_empty() {
        say(&format!("nothing of the cluster {topology} is there"));
        return Ok(());
    }
    step(format!("remove the cluster {topology}"), || remove(topology))
}

/// Removes every trace of every instance, also of those that an aborted test left. One that cannot be removed does not
/// keep the others.
///
/// # Errors
/// When an instance cannot be removed; each is named.
pub fn down_all() -> Result<()> {
    ensure_root()?;
    restore_service_policy()?;
    let names = instances()?;
    if names.is_empty() {
        say("nothing of any cluster is there");
    }
    let removed = |name: &String| Topology::new(name).and_then(|topology| down(&topology));
    let failures: Vec<String> =
        names.iter().filter_map(|name| removed(name).err()).map(|error| format!("{error:#}")).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    // Empty, and already gone with the last instance, unless there was none.
    let _ = fs::remove_dir(STATE_ROOT);
    Ok(())
}

/// The instances that have files or cgroups: an instance has both before it has anything else.
fn instances() -> Result<BTreeSet<String>> {
    let roots = Cgroup::at(CGROUP_ROOT)?.existing().into_iter().chain([PathBuf::from(STATE_ROOT)]);
    let mut names = BTreeSet::new();
    for root in roots.filter(|root| root.exists()) {
        names.extend(directories_in(&root)?);
    }
    Ok(names)
}

fn directories_in(root: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(root).with_context(|| format!("list {}", root.display()))?;
    let directories = entries.filter_map(std::result::Result::ok).filter(|entry| entry.path().is_dir());
    Ok(directories.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn remove(topology: &Topology) -> Result<()> {
    let cgroup = Cgroup::at(topology.cgroup())?;
    cgroup.kill()?;
    kill_recorded(topology)?;
    // Looked for while the namespaces still have names.
    let strangers = strangers(topology)?;
    namespaces(topology)?.iter().try_for_each(|name| netns::delete(name))?;
    unmount_below(&topology.state_dir())?;
    until_blocking("removal of the cgroups", RELEASE, || match cgroup.remove() {
        Ok(()) => Ok(Look::Ready(())),
        Err(error) => Ok(Look::NotYet(format!("{error:#}"))),
    })?;
    remove_files(topology)?;
    let mut left = leftovers(topology)?;
    left.extend(strangers);
    if !left.is_empty() {
        bail!("the cluster {topology} is not gone: {}", left.join("; "));
    }
    Ok(())
}

/// Its machines', its segment's, and those of Pods that it has without a kubelet.
fn namespaces(topology: &Topology) -> Result<Vec<String>> {
    let mut names = topology.all_netns();
    names.extend(netns::beginning_with(&topology.pod_netns(""))?);
    Ok(names)
}

/// Every process is in the instance's cgroup; this is for one that was recorded but moved out of it.
fn kill_recorded(topology: &Topology) -> Result<()> {
    let directory = topology.state_dir().join("processes");
    if !directory.exists() {
        return Ok(());
    }
    Ledger::open(directory)?.all()?.iter().try_for_each(crate::process::Process::kill)
}

fn remove_files(topology: &Topology) -> Result<()> {
    let state = topology.state_dir();
    if state.exists() {
        fs::remove_dir_all(&state).with_context(|| format!("remove {}", state.display()))?;
    }
    // What instances share goes with the last of them; that it is not empty is no failure.
    if let Some(parent) = state.parent() {
        let _ = fs::remove_dir(parent);
    }
    if let Some(parent) = topology.cgroup().parent() {
        for directory in Cgroup::at(parent)?.existing() {
            let _ = fs::remove_dir(directory);
        }
    }
    Ok(())
}

/// Mounts of nodes are in the nodes' own mount namespaces and gone with them. If any is here, files must not be
/// removed through it.
fn unmount_below(directory: &Path) -> Result<()> {
    for mount in mounts_below(directory)?.iter().rev() {
        umount2(mount, MntFlags::MNT_DETACH).with_context(|| format!("unmount {}", mount.display()))?;
    }
    Ok(())
}

fn mounts_below(directory: &Path) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    Ok(parse_mounts(&text).filter(|mount| mount.starts_with(directory)).collect())
}

fn parse_mounts(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from)
}

/// Everything of the instance that is still there, one phrase each.
///
/// # Errors
/// When that cannot be found out.
pub fn leftovers(topology: &Topology) -> Result<Vec<String>> {
    let mut left = Vec::new();
    let cgroup = Cgroup::at(topology.cgroup())?;
    left.extend(cgroup.processes()?.iter().map(|pid| format!("process {pid}")));
    left.extend(cgroup.existing().iter().map(|path| format!("cgroup {}", path.display())));
    let namespaces = namespaces(topology)?.into_iter().filter(|name| netns::exists(name));
    left.extend(namespaces.map(|name| format!("network namespace {name}")));
    left.extend(mounts_below(&topology.state_dir())?.iter().map(|path| format!("mount {}", path.display())));
    if topology.state_dir().exists() {
        left.push(format!("directory {}", topology.state_dir().display()));
    }
    Ok(left)
}

/// Processes inside the instance's namespaces that it did not start: a shell somebody left open, say. They are not
/// ours to kill, but they keep a namespace alive.
fn strangers(topology: &Topology) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in namespaces(topology)? {
        let Ok(namespace) = fs::metadata(netns_file(&name)) else { continue };
        for pid in processes_inside(namespace.ino())? {
            let command = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            found.push(format!(
                "process {pid} ({}) is inside {name} and was not started by it; end it",
                command.trim()
            ));
        }
    }
    Ok(found)
}

fn processes_inside(namespace: u64) -> Result<Vec<Pid>> {
    let entries = fs::read_dir("/proc").context("list /proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).map(Pid::from_raw);
    let inside =
        |pid: &Pid| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|file| file.ino() == namespace);
    Ok(pids.filter(inside).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_by_their_place() {
        let text = "22 1 0:20 / /run rw - tmpfs tmpfs rw\n23 22 0:4 net:[1] /run/netns/a rw - nsfs nsfs rw\n";
        let found: Vec<PathBuf> = parse_mounts(text).collect();
        assert_eq!(found, [PathBuf::from("/run"), PathBuf::from("/run/netns/a")]);
    }

    #[test]
    fn an_instance_that_never_was_leaves_nothing() {
        let topology = Topology::new("never-was").unwrap();
        assert_eq!(leftovers(&topology).unwrap(), Vec::<String>::new());
    }
}
