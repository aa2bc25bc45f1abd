//! dnsperf, and what it prints.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::server::{CLIENTS_CPU, pinned};
use crate::bench::spread::Spread;
use crate::cluster::output;

/// Seconds of one measurement.
const SECONDS: &str = "10";
/// Questions a second where it is looked at how long answers take: far fewer than either server answers.
const RATE: &str = "3000";
/// At most so many of a thousand questions may be lost.
const LOST: f64 = 1.0;

/// Answers a second, with as many questions under way as dnsperf takes.
///
/// # Errors
/// When it cannot be run, or more than a thousandth of the questions got no answer.
pub(super) async fn throughput(server: SocketAddr, questions: &Path) -> Result<f64> {
    let said = run(server, questions, &[]).await?;
    field(&said, "Queries per second:").with_context(|| format!("dnsperf does not say how many: {said}"))
}

/// How long answers take at a rate that neither server minds, in µs.
///
/// # Errors
/// As [`throughput`].
pub(super) async fn latency(server: SocketAddr, questions: &Path) -> Result<Spread> {
    let said = run(server, questions, &["-Q", RATE, "-v"]).await?;
    let spread: Spread = said.lines().filter_map(microseconds).collect();
    ensure!(spread.count() > 0, "dnsperf shows no answer: {said}");
    Ok(spread)
}

async fn run(server: SocketAddr, questions: &Path, more: &[&str]) -> Result<String> {
    let (ip, port) = (server.ip().to_string(), server.port().to_string());
    let mut command = pinned(CLIENTS_CPU, Path::new("dnsperf"));
    command.args(["-s", &ip, "-p", &port, "-l", SECONDS, "-d"]).arg(questions).args(more);
    let output = output(command).await?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "dnsperf failed: {}", error.trim());
    let field = |name| field(&said, name).with_context(|| format!("dnsperf does not say {name} {said}"));
    let (sent, lost) = (field("Queries sent:")?, field("Queries lost:")?);
    ensure!(lost * 1000.0 <= sent * LOST, "{lost} of {sent} questions got no answer");
    Ok(said)
}

fn field(said: &str, name: &str) -> Option<f64> {
    let line = said.lines().find_map(|line| line.trim().strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `> NOERROR service-1.team-1.svc.cluster.local A 0.000449`
fn microseconds(line: &str) -> Option<f64> {
    let seconds: f64 = line.strip_prefix("> ")?.rsplit(' ').next()?.parse().ok()?;
    Some(seconds * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_prints_is_read() {
        let said = "> NXDOMAIN a.test A 0.000449\n\n  Queries sent:         5\n  Queries lost:         0 (0.00%)\n  \
                    Queries per second:   4.998550\n";
        assert_eq!(field(said, "Queries per second:"), Some(4.99855));
        assert_eq!((field(said, "Queries sent:"), field(said, "Queries lost:")), (Some(5.0), Some(0.0)));
        let spread: Spread = said.lines().filter_map(microseconds).collect();
        assert_eq!((spread.count(), spread.median().round()), (1, 449.0));
    }
}
