//! The first process of a container, found from outside: in its node's control groups, by what it is called and that
//! its process namespace starts with it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::unistd::Pid;

use crate::cgroup::Cgroup;
use crate::cluster::Cluster;
use crate::process::Process;
use crate::topology::Place;

/// A container that runs.
#[derive(Debug, Clone)]
pub struct Container {
    /// The Pod that it is of, as its environment says (POD_NAME).
    pub pod: String,
    /// Its first process. The kubelet starts another when this one ends.
    pub process: Process,
}

/// The running containers of a node whose program is `name`.
///
/// # Errors
/// When the control groups cannot be read.
pub fn containers(cluster: &Cluster, place: Place, name: &str) -> Result<Vec<Container>> {
    let group = Cgroup::at(cluster.topology().cgroup())?.child(place.name());
    let found =
        group.processes()?.into_iter().filter_map(|pid| first_process(pid, name).map(|pod| (pid, pod)));
    found.map(|(pid, pod)| container(cluster, place, name, pid, pod)).collect()
}

fn container(cluster: &Cluster, place: Place, name: &str, pid: Pid, pod: String) -> Result<Container> {
    let logs = cluster.topology().state_dir().join(place.name()).join("var-log/pods");
    let log = newest_log(&logs, &pod)?.unwrap_or(logs);
    Ok(Container { process: Process::of(format!("{}-{name}", place.name()), pid, log), pod })
}

/// The Pod of a process that is a container's first and runs the program `name`; none, too, when it has just ended.
fn first_process(pid: Pid, name: &str) -> Option<String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let own = is_first(&read("status")?) && program(&read("cmdline")?) == Some(name);
    own.then(|| variable(&read("environ")?, "POD_NAME").map(ToOwned::to_owned)).flatten()
}

/// Whether a process is the first of its innermost process namespace, and not of the machine's (proc(5), `NSpid`).
fn is_first(status: &str) -> bool {
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    let pids: Vec<&str> = pids.split_whitespace().collect();
    pids.len() > 1 && pids.last() == Some(&"1")
}

/// The file name of what a command line runs.
fn program(cmdline: &str) -> Option<&str> {
    cmdline.split('\0').next()?.rsplit('/').next()
}

fn variable<'a>(environ: &'a str, name: &str) -> Option<&'a str> {
    environ.split('\0').find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
}

/// Where the kubelet keeps what the Pod's one container says: `NAMESPACE_POD_UID/CONTAINER/RESTARTS.log`.
fn newest_log(logs: &Path, pod: &str) -> Result<Option<PathBuf>> {
    let infix = format!("_{pod}_");
    let mut found = Vec::new();
    for directory in entries(logs)?.iter().filter(|path| path.to_string_lossy().contains(&infix)) {
        for container in entries(directory)? {
            found.extend(entries(&container)?);
        }
    }
    let started = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u32>().ok();
    Ok(found.into_iter().filter(|path| started(path).is_some()).max_by_key(started))
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let listed = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    Ok(listed.filter_map(|entry| Some(entry.ok()?.path())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containers_first_process_is_told_from_its_children_and_the_machines() {
        assert!(is_first("Name:\tpenstock-node\nNSpid:\t4711\t1\n"));
        assert!(!is_first("NSpid:\t4712\t17\n"), "a child");
        assert!(!is_first("NSpid:\t1\n"), "the machine's own");
        assert!(!is_first("Name:\tx\n"));
    }

    #[test]
    fn program_and_variable_are_read() {
        assert_eq!(program("/usr/local/bin/penstock-node\0--log=info\0"), Some("penstock-node"));
        assert_eq!(variable("A=1\0POD_NAME=x-1\0", "POD_NAME"), Some("x-1"));
        assert_eq!(variable("POD_NAMESPACE=y\0", "POD_NAME"), None);
    }

    #[test]
    fn the_log_of_the_last_start_is_found() {
        let logs = tempfile::tempdir().unwrap();
        let of_pod = logs.path().join("penstock-system_penstock-node-x_uid/node");
        fs::create_dir_all(&of_pod).unwrap();
        for name in ["9.log", "10.log", "10.log.20250101-000000"] {
            fs::write(of_pod.join(name), "").unwrap();
        }
        let newest = newest_log(logs.path(), "penstock-node-x").unwrap().unwrap();
        assert!(newest.ends_with("10.log"), "{}", newest.display());
        assert_eq!(newest_log(logs.path(), "penstock-node").unwrap(), None);
    }
}
