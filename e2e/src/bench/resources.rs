//! What a process uses, from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{Pid, SysconfVar, sysconf};

/// Memory and processor time of a process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Resident memory, MiB.
    pub resident: f64,
    /// The most that was ever resident, MiB.
    pub peak: f64,
    /// Processor time of all its threads, user and system.
    pub cpu: Duration,
}

impl Usage {
    /// Of a process that runs.
    ///
    /// # Errors
    /// When it has ended.
    pub fn of(pid: Pid) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            fs::read_to_string(&path).with_context(|| format!("read {path}"))
        };
        let (status, stat) = (read("status")?, read("stat")?);
        let ticks = sysconf(SysconfVar::CLK_TCK).context("ask for the clock's ticks")?;
        let ticks = ticks.context("the kernel does not say its clock's ticks")?;
        let memory = |field| mebibytes(&status, field).with_context(|| format!("no {field} of {pid}"));
        let used = cpu_ticks(&stat).with_context(|| format!("no processor time of {pid}"))?;
        let cpu = Duration::from_secs_f64(used as f64 / ticks as f64);
        Ok(Self { resident: memory("VmRSS")?, peak: memory("VmHWM")?, cpu })
    }
}

fn mebibytes(status: &str, field: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes / 1024.0)
}

/// Fields 14 and 15, counted from the last parenthesis: field 2 is the name and may contain anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let status = "VmPeak:\t  9999 kB\nVmHWM:\t    4096 kB\nVmRSS:\t    2048 kB\n";
        assert_eq!(mebibytes(status, "VmHWM"), Some(4.0));
        assert_eq!(mebibytes(status, "VmRSS"), Some(2.0));
        assert_eq!(mebibytes(status, "Vm"), None);
        assert_eq!(cpu_ticks("7 (a) b) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 1 0 4242"), Some(42));
    }

    #[test]
    fn this_process_uses_memory() {
        let usage = Usage::of(Pid::this()).unwrap();
        assert!(usage.resident > 0.0 && usage.peak >= usage.resident, "{usage:?}");
    }
}
