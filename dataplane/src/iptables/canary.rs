//! Looks, now and then, whether the ways to our chains still stand: whoever flushes a table (`iptables -F`) takes them away
//! and tells nobody. Upstream's canary does the same. What happens within our chains is not seen.

use std::time::Duration;

use futures::{Stream, stream};

use super::{
    families,
    fixed::JUMPS,
    program::{IptablesError, Programs},
};

/// As upstream looks.
const PERIOD: Duration = Duration::from_secs(30);

/// Looks whether the jumps stand.
#[derive(Clone, Debug)]
pub struct Canary {
    programs: Programs,
    period: Duration,
}

impl Canary {
    /// One that looks every half minute.
    #[must_use]
    pub fn new(programs: Programs) -> Self {
        Self { programs, period: PERIOD }
    }

    /// One that looks more often, for tests.
    #[must_use]
    pub fn every(self, period: Duration) -> Self {
        Self { period, ..self }
    }

    /// What is missing, in words, whenever something is. The first look comes after a period: before, nothing may have been
    /// loaded yet. A look that fails is no find: loading would fail likewise.
    pub fn finds(self) -> impl Stream<Item = String> + Send {
        stream::unfold(self, |canary| async move {
            loop {
                tokio::time::sleep(canary.period).await;
                match canary.look().await {
                    Ok(None) => {}
                    Ok(Some(missing)) => return Some((missing, canary)),
                    Err(error) => {
                        let error = anyhow::Error::from(error);
                        tracing::debug!("it is not known whether the jumps to our chains stand: {error:#}");
                    }
                }
            }
        })
    }

    /// The first jump that is missing.
    ///
    /// # Errors
    /// When a program cannot be run or refuses.
    pub async fn look(&self) -> Result<Option<String>, IptablesError> {
        for family in families() {
            for (table, chain, rule) in JUMPS {
                let rules = self.programs.list(family, table.name(), chain).await?;
                if !stands(&rules, chain, rule) {
                    return Ok(Some(format!("`{chain} {rule}` of the table {} ({family:?})", table.name())));
                }
            }
        }
        Ok(None)
    }
}

/// Others may have put theirs before it.
fn stands(rules: &str, chain: &str, rule: &str) -> bool {
    let wanted = format!("-A {chain} {rule}");
    rules.lines().any(|line| line.trim() == wanted)
}
