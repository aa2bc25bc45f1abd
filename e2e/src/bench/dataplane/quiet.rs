//! Waits until the machine has nothing else to do, so that one measurement does not pay for what came before it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Over how long processor time is counted.
const SPAN: Duration = Duration::from_millis(500);

/// The part of all processors' time that may be used by others.
const BUSY: f64 = 0.1;

/// Processor time of the whole machine, in clock ticks.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ticks {
    idle: u64,
    all: u64,
}

/// Waits until the processors are idle, but no longer than `limit`. Returns whether they were.
///
/// # Errors
/// When the kernel does not say.
pub async fn wait(limit: Duration) -> Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        let before = read()?;
        tokio::time::sleep(SPAN).await;
        match busy(before, read()?) {
            part if part < BUSY => return Ok(true),
            _ if Instant::now() >= deadline => return Ok(false),
            _ => {}
        }
    }
}

fn read() -> Result<Ticks> {
    let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    parse(&text).context("/proc/stat does not say how idle the machine is")
}

/// The first line: user, nice, system, idle, iowait and others (proc(5)); guests' time is part of the user's.
fn parse(text: &str) -> Option<Ticks> {
    let fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace().take(8);
    let fields: Vec<u64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
    Some(Ticks { idle: fields.get(3)? + fields.get(4)?, all: fields.iter().sum() })
}

fn busy(before: Ticks, after: Ticks) -> f64 {
    let all = after.all.saturating_sub(before.all).max(1);
    1.0 - after.idle.saturating_sub(before.idle) as f64 / all as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busy_part_is_what_is_not_idle() {
        let before = parse("cpu  10 0 10 70 10 0 0 0 5 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(before, Ticks { idle: 80, all: 100 });
        let after = parse("cpu  35 0 10 140 15 0 0 0 5 0\n").unwrap();
        assert_eq!(busy(before, after), 0.25);
        assert_eq!(parse("intr 1 2 3"), None);
    }
}
