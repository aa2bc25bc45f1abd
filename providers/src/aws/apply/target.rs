//! Targets that come and go.

use std::collections::BTreeSet;

use super::Applier;
use crate::{
    ProviderError,
    aws::{call_class::CallClass::Targets, conversion, failure::Failure, observed::Made, spec::GroupTarget},
};

/// One dead instance among 200 is found in 17 calls.
const MOST_CALLS: usize = 40;
/// So many of those that are refused are named.
const NAMED: usize = 5;

impl Applier<'_> {
    /// AWS refuses a whole call for one instance that is just going: the others are found by halving it. Those that are
    /// not taken are an error only once they are alone.
    pub(super) async fn register(
        &self,
        group: &str,
        targets: &BTreeSet<GroupTarget>,
    ) -> Result<Option<Made>, ProviderError> {
        let arn = self.group(group)?;
        let mut left = vec![targets.clone()];
        let (mut refused, mut reason) = (BTreeSet::new(), None);
        for _ in 0..MOST_CALLS {
            let Some(part) = left.pop() else { break };
            match self.register_part(arn, &part).await {
                Ok(()) => {}
                Err(failure) if failure.is_invalid_target() => {
                    reason = Some(failure);
                    if part.len() > 1 {
                        left.extend(halves(part));
                    } else {
                        refused.extend(part);
                    }
                }
                Err(failure) => return Err(self.api.error(Targets, failure)),
            }
        }
        refused.extend(left.into_iter().flatten());
        match reason {
            Some(failure) if refused == *targets => {
                let error = self.api.error(Targets, failure);
                Err(ProviderError::Retryable(format!("AWS does not take {}: {error}", named(&refused))))
            }
            _ => Ok(Some(Made { refused, ..Made::default() })),
        }
    }

    async fn register_part(&self, arn: &str, targets: &BTreeSet<GroupTarget>) -> Result<(), Failure> {
        let request = self.api.client.register_targets().target_group_arn(arn);
        let request = request.set_targets(Some(conversion::targets(targets)));
        self.api.call("RegisterTargets", Targets, request.send()).await.map(|_| ())
    }

    pub(super) async fn deregister(
        &self,
        group: &str,
        targets: &BTreeSet<GroupTarget>,
    ) -> Result<Option<Made>, ProviderError> {
        let request = self.api.client.deregister_targets().target_group_arn(self.group(group)?);
        let request = request.set_targets(Some(conversion::targets(targets)));
        self.api.ask("DeregisterTargets", Targets, request.send()).await?;
        Ok(None)
    }
}

/// The second first: what is taken from the end comes in order.
fn halves(part: BTreeSet<GroupTarget>) -> [BTreeSet<GroupTarget>; 2] {
    let half = part.len() / 2;
    let (mut first, mut second) = (BTreeSet::new(), BTreeSet::new());
    for (at, target) in part.into_iter().enumerate() {
        if at < half {
            first.insert(target)
        } else {
            second.insert(target)
        };
    }
    [second, first]
}

fn named(targets: &BTreeSet<GroupTarget>) -> String {
    let names: Vec<&str> = targets.iter().take(NAMED).map(|target| target.id.as_str()).collect();
    let more = if targets.len() > NAMED { ", …" } else { "" };
    format!("{}{more} as a target", names.join(", "))
}
