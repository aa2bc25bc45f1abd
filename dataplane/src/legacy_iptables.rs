//! Looks into the tables of an old iptables (`iptables-legacy`), which nftables does not show. As iptables itself does,
//! by `getsockopt` (linux/netfilter_ipv4/ip_tables.h).

use std::{fs, io, mem::size_of, os::fd::AsRawFd};

use penstock_model::Family;
use socket2::{Domain, Socket, Type};

/// `IPT_SO_GET_INFO` and `IP6T_SO_GET_INFO`.
const GET_INFO: i32 = 64;
/// `IPT_SO_GET_ENTRIES` and `IP6T_SO_GET_ENTRIES`.
const GET_ENTRIES: i32 = 65;

/// `struct ipt_getinfo`, which is `struct ip6t_getinfo`.
#[repr(C)]
struct Info {
    name: [u8; 32],
    valid_hooks: u32,
    hook_entry: [u32; 5],
    underflow: [u32; 5],
    entries: u32,
    size: u32,
}

/// The head of `struct ipt_get_entries`; the entries follow, aligned to eight bytes.
#[repr(C, align(8))]
struct Request {
    name: [u8; 32],
    size: u32,
}

/// Whether the table `nat` of a family has this chain.
///
/// # Errors
/// When the kernel does not say: this needs CAP_NET_ADMIN.
pub(crate) fn has_nat_chain(family: Family, chain: &str) -> io::Result<bool> {
    // Who asks for a table that is not there has it made.
    if !is_loaded(family, "nat")? {
        return Ok(false);
    }
    let (domain, level) = match family {
        Family::IPv4 => (Domain::IPV4, libc::SOL_IP),
        Family::IPv6 => (Domain::IPV6, libc::SOL_IPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, None)?;
    let mut info = [0; size_of::<Info>()];
    info[..3].copy_from_slice(b"nat");
    get(&socket, (level, GET_INFO), &mut info)?;
    let size = info.last_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).unwrap_or_default();
    let mut entries = vec![0; size_of::<Request>() + size as usize];
    entries[..3].copy_from_slice(b"nat");
    entries[32..36].copy_from_slice(&size.to_ne_bytes());
    get(&socket, (level, GET_ENTRIES), &mut entries)?;
    Ok(names_chain(&entries, chain))
}

fn is_loaded(family: Family, table: &str) -> io::Result<bool> {
    let file = match family {
        Family::IPv4 => "/proc/thread-self/net/ip_tables_names",
        Family::IPv6 => "/proc/thread-self/net/ip6_tables_names",
    };
    match fs::read_to_string(file) {
        // A kernel without it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        names => Ok(names?.lines().any(|name| name == table)),
    }
}

/// A chain begins with an entry that holds its name, ended by a zero byte.
fn names_chain(entries: &[u8], chain: &str) -> bool {
    let name = [chain.as_bytes(), &[0]].concat();
    entries.windows(name.len()).any(|window| window == name)
}

fn get(socket: &Socket, (level, option): (i32, i32), buffer: &mut [u8]) -> io::Result<()> {
    let mut length = libc::socklen_t::try_from(buffer.len()).map_err(io::Error::other)?;
    // SAFETY: the kernel writes no more than `length` bytes, and both are ours until the call returns.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), level, option, buffer.as_mut_ptr().cast(), &raw mut length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layouts_are_the_kernels() {
        assert_eq!((size_of::<Info>(), size_of::<Request>()), (84, 40));
    }

    #[test]
    fn a_name_that_only_begins_so_is_another() {
        assert!(names_chain(b"..KUBE-SERVICES\0..", "KUBE-SERVICES"));
        assert!(!names_chain(b"..KUBE-SERVICES-2\0", "KUBE-SERVICES"));
    }
}
