//! What the kernel has to be told beside IPVS itself, in the process's own network namespace.

use std::{
    fs::{self, OpenOptions},
    io,
    path::Path,
};

/// What is set, and why:
/// - connection tracking for what IPVS translates, or nothing could be masqueraded;
/// - a connection to a destination that is gone ends with its next packet, and a client's memory of one without weight too;
/// - the node answers ARP for an address of a Service only where a device with a network has it: on `penstock-ipvs` every
///   node has it, and the announcer says who answers (kube-proxy's `strictARP`).
const WANTED: [(&str, u32); 5] = [
    ("net/ipv4/vs/conntrack", 1),
    ("net/ipv4/vs/expire_nodest_conn", 1),
    ("net/ipv4/vs/expire_quiescent_template", 1),
    ("net/ipv4/conf/all/arp_ignore", 1),
    ("net/ipv4/conf/all/arp_announce", 2),
];

/// One that cannot be set.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot set the sysctl {name} to {value}: mode ipvs needs a writable /proc/sys, as a privileged container has it; or run \
     `penstock-node sysctls` in one before"
)]
pub struct SysctlError {
    name: String,
    value: u32,
    #[source]
    source: io::Error,
}

/// Sets all that differ; one that is greater already stays.
pub(super) fn set_all() -> Result<(), SysctlError> {
    with_each(|file, value| if is_set(file, value)? { Ok(()) } else { fs::write(file, value.to_string()) })
}

/// Finds out whether all can be set that differ, and changes nothing.
pub(super) fn check() -> Result<(), SysctlError> {
    with_each(|file, value| match is_set(file, value)? {
        true => Ok(()),
        false => OpenOptions::new().write(true).open(file).map(drop),
    })
}

fn with_each(work: impl Fn(&Path, u32) -> io::Result<()>) -> Result<(), SysctlError> {
    WANTED.iter().try_for_each(|(path, value)| {
        let refused = |source| SysctlError { name: path.replace('/', "."), value: *value, source };
        work(&Path::new("/proc/sys").join(path), *value).map_err(refused)
    })
}

fn is_set(file: &Path, value: u32) -> io::Result<bool> {
    let now: u32 = fs::read_to_string(file)?.trim().parse().unwrap_or_default();
    Ok(now >= value)
}
