//! Control groups: where every process of an instance is put, so that all of them, and whatever they start, can be
//! found and ended. Version 1 (one directory a hierarchy) and version 2 (one directory) are the same list of
//! directories here. Version 2 was not tried on a machine that has nothing else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::{Look, until_blocking};

/// How long killed processes may take to be gone.
const DEATH: Duration = Duration::from_secs(20);

/// One mounted cgroup hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    mount: PathBuf,
    kind: Kind,
    /// The options that mount it once more.
    options: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Version 2 where version 1 is mounted too: no controllers of use.
    Hybrid,
    /// Version 2 alone: controllers have to be enabled on the way down.
    Unified,
    /// Version 1 cpuset: a new group has no CPUs and takes no process before it gets some.
    CpuSet,
    /// Any other version 1 hierarchy.
    V1,
}

/// The hierarchies of this machine.
///
/// # Errors
/// When `/proc/self/mountinfo` cannot be read or names none.
pub fn hierarchies() -> Result<Vec<Hierarchy>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    let found = parse(&text);
    anyhow::ensure!(!found.is_empty(), "no cgroup hierarchy is mounted; mount cgroup2 on /sys/fs/cgroup");
    Ok(found)
}

/// The cgroup mounts of a mountinfo (proc(5)): `ID PARENT MAJ:MIN ROOT MOUNT OPTIONS [OPTIONAL...] - TYPE SOURCE SUPER`.
fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mounts: Vec<(PathBuf, &str, &str)> = mountinfo.lines().filter_map(cgroup_mount).collect();
    let v1 = mounts.iter().any(|(_, kind, _)| *kind == "cgroup");
    let hierarchy = |(mount, kind, options): &(PathBuf, &str, &str)| Hierarchy {
        mount: mount.clone(),
        kind: match (*kind, v1) {
            ("cgroup2", true) => Kind::Hybrid,
            ("cgroup2", false) => Kind::Unified,
            _ if options.split(',').any(|option| option == "cpuset") => Kind::CpuSet,
            _ => Kind::V1,
        },
        options: if *kind == "cgroup2" { String::new() } else { mount_options(options) },
    };
    mounts.iter().map(hierarchy).collect()
}

/// What selects a version 1 hierarchy among the options that it shows: its controllers, or its name if it has none.
fn mount_options(shown: &str) -> String {
    let selects = |option: &&str| {
        !matches!(*option, "rw" | "ro" | "xattr" | "noprefix" | "clone_children")
            && !option.starts_with("release_agent=")
    };
    let selected: Vec<&str> = shown.split(',').filter(selects).collect();
    match selected.iter().all(|option| option.starts_with("name=")) {
        true => format!("none,{}", selected.join(",")),
        false => selected.join(","),
    }
}

fn cgroup_mount(line: &str) -> Option<(PathBuf, &str, &str)> {
    let (left, right) = line.split_once(" - ")?;
    let mount = left.split(' ').nth(4)?;
    let mut right = right.split(' ');
    let kind = right.next().filter(|kind| kind.starts_with("cgroup"))?;
    let options = right.nth(1)?;
    Some((PathBuf::from(mount), kind, options))
}

/// A control group: the same path in every hierarchy.
#[derive(Debug, Clone)]
pub struct Cgroup {
    hierarchies: Vec<Hierarchy>,
    path: PathBuf,
}

impl Cgroup {
    /// The group at this path below the root of every hierarchy. Nothing is made yet.
    ///
    /// # Errors
    /// When the machine has no cgroups.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self> {
        Ok(Self { hierarchies: hierarchies()?, path: path.into() })
    }

    /// The group `name` below this one.
    pub fn child(&self, name: &str) -> Self {
        Self { hierarchies: self.hierarchies.clone(), path: self.path.join(name) }
    }

    /// The path as kubelets and runtimes write it: absolute, from the root of the hierarchies.
    pub fn path(&self) -> PathBuf {
        Path::new("/").join(&self.path)
    }

    /// Makes the group, and those above it, in every hierarchy.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create(&self) -> Result<()> {
        self.hierarchies.iter().try_for_each(|hierarchy| hierarchy.create(&self.path))?;
        self.hierarchies.iter().try_for_each(|hierarchy| hierarchy.enable(&self.path))
    }

    /// Makes the group and moves the calling process into it. In version 2 a group with processes gives its children
    /// no controllers, so that these come last.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn settle(&self) -> Result<()> {
        self.hierarchies.iter().try_for_each(|hierarchy| hierarchy.create(&self.path))?;
        for file in self.procs_files() {
            fs::write(&file, "0").with_context(|| format!("move into {}", file.display()))?;
        }
        self.hierarchies.iter().try_for_each(|hierarchy| hierarchy.enable(&self.path))
    }

    /// The `cgroup.procs` files: writing 0 into each moves the writer here.
    pub fn procs_files(&self) -> Vec<PathBuf> {
        self.directories().iter().map(|directory| directory.join("cgroup.procs")).collect()
    }

    /// The processes in this group and those below it.
    ///
    /// # Errors
    /// When a directory that exists cannot be read.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        let mut pids = Vec::new();
        for directory in self.directories() {
            for group in tree(&directory)? {
                pids.extend(read_procs(&group)?);
            }
        }
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    }

    /// Kills every process in the group and below, until none is left.
    ///
    /// # Errors
    /// When some are still there after a while; they are named.
    pub fn kill(&self) -> Result<()> {
        until_blocking("the end of every process of the instance", DEATH, || {
            let pids = self.processes()?;
            if pids.is_empty() {
                return Ok(Look::Ready(()));
            }
            for pid in &pids {
                // It may have ended since it was listed; whatever remains is seen by the next look.
                let _ = kill(*pid, Signal::SIGKILL);
            }
            Ok(Look::NotYet(format!("still there: {pids:?}")))
        })
    }

    /// Removes the group and those below it. It has to be empty of processes.
    ///
    /// # Errors
    /// When the kernel refuses to remove a directory.
    pub fn remove(&self) -> Result<()> {
        for directory in self.directories() {
            let mut groups = tree(&directory)?;
            groups.reverse();
            for group in groups {
                ignore_absent(fs::remove_dir(&group))
                    .with_context(|| format!("remove {}", group.display()))?;
            }
        }
        Ok(())
    }

    /// The directories of this group that exist.
    pub fn existing(&self) -> Vec<PathBuf> {
        self.directories().into_iter().filter(|directory| directory.exists()).collect()
    }

    fn directories(&self) -> Vec<PathBuf> {
        self.hierarchies.iter().map(|hierarchy| hierarchy.mount.join(&self.path)).collect()
    }
}

impl Hierarchy {
    fn create(&self, path: &Path) -> Result<()> {
        let mut directory = self.mount.clone();
        for part in path {
            let child = directory.join(part);
            if !child.exists() {
                fs::create_dir(&child).with_context(|| format!("make the cgroup {}", child.display()))?;
            }
            if self.kind == Kind::CpuSet {
                inherit_cpuset(&directory, &child)?;
            }
            directory = child;
        }
        Ok(())
    }

    fn enable(&self, path: &Path) -> Result<()> {
        if self.kind != Kind::Unified {
            return Ok(());
        }
        let mut directory = self.mount.clone();
        for part in path {
            enable_controllers(&directory)?;
            directory = directory.join(part);
        }
        Ok(())
    }

    fn mount(&self) -> Result<()> {
        let kind = if matches!(self.kind, Kind::Hybrid | Kind::Unified) { "cgroup2" } else { "cgroup" };
        fs::create_dir_all(&self.mount).with_context(|| format!("make {}", self.mount.display()))?;
        let options = (!self.options.is_empty()).then_some(self.options.as_str());
        mount(Some(kind), &self.mount, Some(kind), MsFlags::empty(), options)
            .with_context(|| format!("mount the cgroups at {}", self.mount.display()))
    }
}

/// Mounts these hierarchies at their places, where nothing is mounted any more. In a new cgroup namespace they then
/// show, and reach, only the group that the namespace was made in and those below.
///
/// # Errors
/// When the kernel refuses a mount.
pub fn mount_again(hierarchies: &[Hierarchy]) -> Result<()> {
    if hierarchies.iter().any(|hierarchy| hierarchy.kind != Kind::Unified) {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        mount(Some("tmpfs"), "/sys/fs/cgroup", Some("tmpfs"), flags, Some("mode=755"))
            .context("mount the directory of the cgroup hierarchies")?;
    }
    hierarchies.iter().try_for_each(Hierarchy::mount)
}

/// Version 2 hands a controller to the children of a group only when told (cgroups(7), `subtree_control`).
fn enable_controllers(directory: &Path) -> Result<()> {
    let available = directory.join("cgroup.controllers");
    let text = fs::read_to_string(&available).with_context(|| format!("read {}", available.display()))?;
    let control = directory.join("cgroup.subtree_control");
    for controller in text.split_whitespace() {
        fs::write(&control, format!("+{controller}"))
            .with_context(|| format!("enable {controller} in {}", control.display()))?;
    }
    Ok(())
}

fn inherit_cpuset(parent: &Path, child: &Path) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let source = parent.join(file);
        let value = fs::read_to_string(&source).with_context(|| format!("read {}", source.display()))?;
        let target = child.join(file);
        fs::write(&target, value.trim()).with_context(|| format!("write {}", target.display()))?;
    }
    Ok(())
}

/// A cgroup directory and those below, parents first; empty when it does not exist.
fn tree(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("list {}", directory.display())),
    };
    let mut found = vec![directory.to_owned()];
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", directory.display()))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(tree(&entry.path())?);
        }
    }
    Ok(found)
}

fn read_procs(group: &Path) -> Result<Vec<Pid>> {
    let path = group.join("cgroup.procs");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).map(Pid::from_raw).collect()),
        // ENODEV: the group was removed between listing and reading.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
    }
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
24 1 0:22 / /proc rw,relatime - proc proc rw
41 40 0:30 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset
42 40 0:31 / /sys/fs/cgroup/memory rw,relatime shared:7 - cgroup cgroup rw,memory
43 40 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    fn kinds(text: &str) -> Vec<(String, Kind)> {
        parse(text).into_iter().map(|found| (found.mount.display().to_string(), found.kind)).collect()
    }

    #[test]
    fn version_one_hierarchies_are_told_apart() {
        let expected = [
            ("/sys/fs/cgroup/cpuset".to_owned(), Kind::CpuSet),
            ("/sys/fs/cgroup/memory".to_owned(), Kind::V1),
            ("/sys/fs/cgroup/unified".to_owned(), Kind::Hybrid),
        ];
        assert_eq!(kinds(HYBRID), expected);
    }

    #[test]
    fn a_hierarchy_can_be_mounted_again_by_what_it_shows() {
        assert_eq!(mount_options("rw,cpu,cpuacct"), "cpu,cpuacct");
        assert_eq!(mount_options("rw,xattr,release_agent=/lib/x,name=systemd"), "none,name=systemd");
    }

    #[test]
    fn version_two_alone_is_unified() {
        let text = "29 24 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(kinds(text), [("/sys/fs/cgroup".to_owned(), Kind::Unified)]);
    }

    #[test]
    fn a_group_is_the_same_path_in_every_hierarchy() {
        let group = Cgroup { hierarchies: parse(HYBRID), path: "penstock-e2e/test".into() }.child("n1");
        assert_eq!(group.path(), Path::new("/penstock-e2e/test/n1"));
        assert_eq!(
            group.procs_files().first().unwrap(),
            Path::new("/sys/fs/cgroup/cpuset/penstock-e2e/test/n1/cgroup.procs")
        );
    }
}
