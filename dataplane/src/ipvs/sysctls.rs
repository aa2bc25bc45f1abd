//! What the kernel has to be told beside IPVS itself, in the process's own network namespace.

use std::{fs, io, path::PathBuf};

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
    "cannot set the sysctl {name} to {value}: mode ipvs needs a writable /proc/sys, as a privileged container has it"
)]
pub struct SysctlError {
    name: String,
    value: u32,
    #[source]
    source: io::Error,
}

/// Sets all that differ; one that is greater already stays.
pub(super) fn set_all() -> Result<(), SysctlError> {
    WANTED.iter().try_for_each(|(path, value)| {
        set(path, *value).map_err(|source| SysctlError {
            name: path.replace('/', "."),
            value: *value,
            source,
        })
    })
}

fn set(path: &str, value: u32) -> io::Result<()> {
    let file = PathBuf::from("/proc/sys").join(path);
    let now: u32 = fs::read_to_string(&file)?.trim().parse().unwrap_or_default();
    if now >= value { Ok(()) } else { fs::write(&file, value.to_string()) }
}
