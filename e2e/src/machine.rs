//! A node's own view of the file system and its own host name: the process that holds both, and how it makes them.
//!
//! The process (`penstock-e2e machine`) does nothing once it is ready. It exists so that containerd, the kubelet and
//! Penstock's own processes can share one mount namespace, and so that every mount of the node, of its containers and
//! of its Pods' network namespaces is gone with the last of these processes. `ip netns exec` would not do: it gives
//! every program a mount namespace of its own, and hides the cgroups.
//!
//! In it the node's cgroup is the root of all cgroups, `/run`, `/var/lib` and `/var/log` are the node's own, at the paths where a real node has them, and `/sys` shows
//! the node's interfaces.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};

use crate::cgroup::{self, Cgroup, Hierarchy};

/// What of the machine's file system is replaced: the node's own directories have these names below its root.
const OWN: [(&str, &str); 3] = [("/run", "run"), ("/var/lib", "var-lib"), ("/var/log", "var-log")];

/// The group below the node's own that its processes are in. Containers are in others beside it.
pub const SYSTEM_CGROUP: &str = "system";

/// The kernel parameters that a kubelet insists on (kubelet `setupKernelTunables`). They belong to the whole machine;
/// the kubelet is shown files that have its values, and is told to change nothing (`protectKernelDefaults`).
const KUBELET_SYSCTLS: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its host name.
    pub hostname: String,
    /// The directory with its own `/run`, `/var/lib` and `/var/log`.
    pub root: PathBuf,
    /// Directories of the real machine that stay visible although they are inside a replaced one.
    pub keep: Vec<PathBuf>,
}

impl Machine {
    /// The arguments of `penstock-e2e` that make [`Machine::become_machine`] run.
    pub fn args(&self) -> Vec<String> {
        let mut args = vec![
            "machine".into(),
            format!("--hostname={}", self.hostname),
            format!("--root={}", self.root.display()),
        ];
        args.extend(self.keep.iter().map(|path| format!("--keep={}", path.display())));
        args
    }

    /// The file that exists once everything is mounted.
    pub fn ready_file(&self) -> PathBuf {
        self.root.join("ready")
    }

    /// Turns the calling process, which must have one thread, into the machine.
    ///
    /// # Errors
    /// When the kernel refuses a mount.
    pub fn become_machine(&self) -> Result<()> {
        let control_groups = cgroup::hierarchies()?;
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWCGROUP)
            .context("make a mount namespace")?;
        nix::unistd::sethostname(&self.hostname).context("set the host name")?;
        // Private first: on a machine whose mounts are shared (systemd) ours would otherwise appear on it.
        propagation(MsFlags::MS_PRIVATE)?;
        release_namespaces()?;
        let kept = self.keep_open()?;
        self.mount_own()?;
        kept.iter().try_for_each(|(path, file)| bind_kept(path, file))?;
        mount_kernel(&control_groups)?;
        Cgroup::at(SYSTEM_CGROUP)?.settle()?;
        self.mount_sysctls()?;
        // Shared at last: Pods may ask for mounts that propagate.
        propagation(MsFlags::MS_SHARED)?;
        fs::write(self.ready_file(), "").context("say that the machine is ready")
    }

    fn keep_open(&self) -> Result<Vec<(PathBuf, File)>> {
        let mut kept: Vec<&Path> =
            self.keep.iter().map(PathBuf::as_path).filter(|path| is_hidden(path)).collect();
        kept.sort_unstable();
        kept.into_iter().map(|path| Ok((path.to_owned(), open_path(path)?))).collect()
    }

    fn mount_own(&self) -> Result<()> {
        for (_, name) in OWN {
            let source = self.root.join(name);
            fs::create_dir_all(&source).with_context(|| format!("make {}", source.display()))?;
        }
        // All sources are opened before the first mount: they are below /var/lib themselves.
        let sources: Vec<File> =
            OWN.iter().map(|(_, name)| open_path(&self.root.join(name))).collect::<Result<_>>()?;
        for ((target, _), source) in OWN.iter().zip(&sources) {
            bind(source, Path::new(target))?;
        }
        Ok(())
    }

    fn mount_sysctls(&self) -> Result<()> {
        let directory = self.root.join("sysctl");
        fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        for (key, value) in KUBELET_SYSCTLS {
            let file = directory.join(key.replace('/', "."));
            fs::write(&file, format!("{value}\n")).with_context(|| format!("write {}", file.display()))?;
            bind(&open_path(&file)?, &Path::new("/proc/sys").join(key))?;
        }
        Ok(())
    }
}

/// The copies of other network namespaces' mounts would keep those alive after they are deleted.
fn release_namespaces() -> Result<()> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("read /proc/self/mountinfo")?;
    for line in text.lines().filter(|line| line.contains(" - nsfs ")) {
        let place = line.split(' ').nth(4).context("a mount without a place")?;
        match umount2(place, MntFlags::MNT_DETACH) {
            // Not to be seen at its place: another mount covers it, or it went together with its parent.
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(error) => return Err(error).with_context(|| format!("unmount {place}")),
        }
    }
    Ok(())
}

/// A `/sys` that shows this namespace's interfaces, and in it the cgroups, as far as they are the node's: a container
/// runtime that names no parent puts containers into `/k8s.io`, which is inside the node's group this way.
fn mount_kernel(control_groups: &[Hierarchy]) -> Result<()> {
    umount2("/sys", MntFlags::MNT_DETACH).context("unmount /sys")?;
    let sysfs = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>);
    sysfs.context("mount the node's /sys")?;
    cgroup::mount_again(control_groups)
}

fn is_hidden(path: &Path) -> bool {
    OWN.iter().any(|(own, _)| path.starts_with(own))
}

fn bind_kept(path: &Path, source: &File) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
    bind(source, path)
}

fn open_path(path: &Path) -> Result<File> {
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_PATH);
    options.open(path).with_context(|| format!("open {}", path.display()))
}

fn bind(source: &File, target: &Path) -> Result<()> {
    let source = format!("/proc/self/fd/{}", source.as_raw_fd());
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(source.as_str()), target, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("mount over {}", target.display()))
}

fn propagation(kind: MsFlags) -> Result<()> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | kind, None::<&str>)
        .context("set mount propagation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_node_replaces_needs_keeping() {
        assert!(is_hidden(Path::new("/var/lib/penstock-e2e/test")));
        assert!(is_hidden(Path::new("/run/user/0/checkout")));
        assert!(!is_hidden(Path::new("/home/user/.cache/penstock")));
        assert!(!is_hidden(Path::new("/var/library")));
    }
}
