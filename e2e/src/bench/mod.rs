//! `make bench`: figures on this machine, each beside the API server's own floor and the peer's in the same run.
//!
//! Nothing here asserts a time; a wrong result (an address twice, a Service without one, an address that changed over a
//! restart) fails the run. [`scenario`] is what an operator is put through, [`load`] what is asked of it, [`floor`] the
//! least that anybody would need, [`subject`] who is measured. [`dataplane`] is what a node's forwarding is put through, `dns` what the
//! cluster's DNS is, and [`ipvs`] how
//! often it calls the kernel in that mode.

pub mod api_requests;
pub mod census;
pub mod dataplane;
mod dns;
pub mod floor;
mod ipvs;
pub mod load;
mod operator;
pub mod plot;
pub mod resources;
pub mod scenario;
pub mod sightings;
pub mod spread;
pub mod subject;
pub mod table;

use anyhow::{Result, ensure};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Area {
    /// The operator on a real etcd and kube-apiserver.
    Operator,
    /// penstock-node beside kube-proxy in network namespaces. Needs root.
    Dataplane,
    /// penstock-dns beside CoreDNS. Needs root.
    Dns,
    /// How often the kernel's IPVS is called, by penstock-node and by kube-proxy. Needs root.
    Ipvs,
}

/// What is measured, and how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// What is measured [default: everything].
    areas: Vec<Area>,
    /// How often; figures are printed as min, median and max.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
    /// Operator: leave the peer out.
    #[arg(long)]
    without_peer: bool,
    /// Operator: put the peer through everything that ours goes through; takes about ten minutes more.
    #[arg(long, conflicts_with = "without_peer")]
    whole_peer: bool,
    /// How many Services are created at the same time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    creators: u16,
    /// A tenth of the Services, once, without the idle minute: shows that the benchmark works, not how fast anything is.
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    dataplane: dataplane::DataplaneFlags,
}

/// Measures and prints.
///
/// # Errors
/// When something cannot be measured or a result is wrong.
pub async fn run(flags: &Flags) -> Result<()> {
    // What is counted does not depend on the build.
    let timeless = flags.areas == [Area::Ipvs];
    ensure!(!cfg!(debug_assertions) || flags.quick || timeless, "this is a debug build; run: make bench");
    let wanted = |area| flags.areas.is_empty() || flags.areas.contains(&area);
    if wanted(Area::Dataplane) {
        dataplane::check(&flags.dataplane)?;
    }
    if wanted(Area::Operator) {
        operator::run(flags).await?;
    }
    if wanted(Area::Dataplane) {
        dataplane::run(flags).await?;
    }
    if wanted(Area::Dns) {
        dns::run(flags).await?;
    }
    // Only when it is asked for: its first run did not come to an end.
    if flags.areas.contains(&Area::Ipvs) {
        ipvs::run(flags).await?;
    }
    Ok(())
}

/// The machine's size, and how busy it is.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let system = nix::sys::utsname::uname();
    let kernel = system.map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default();
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo").lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    });
    let memory = memory.map_or("unknown".to_owned(), |kibibytes| format!("{} GiB", kibibytes >> 20));
    let load = read("/proc/loadavg");
    format!(
        "{processors} processors, {memory}, kernel {kernel}; load average at the end: {} (other work on the machine makes \
         all figures worse).",
        load.trim()
    )
}
