//! Which servers there are to be, and what has to be done for a change. Pure.

use std::sync::Arc;

use penstock_model::{HealthCheck, ObjectKey};

use crate::HealthChecks;

/// One thing to do, in the order in which they are returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nobody answers for the Service any more.
    Stop(Arc<ObjectKey>),
    /// Its port is to be opened.
    Start(Arc<ObjectKey>, HealthCheck),
    /// It answers with other counts from now on.
    Change(Arc<ObjectKey>, HealthCheck),
}

/// The servers that there are to be.
#[derive(Debug, Default)]
pub(crate) struct Desired(HealthChecks);

impl Desired {
    /// What has to be done to come to these. Ports are freed before others are opened: one may pass from a Service to
    /// another.
    pub(crate) fn take(&mut self, checks: &HealthChecks) -> Vec<Step> {
        let closed = self
            .0
            .iter()
            .filter(|(service, before)| checks.get(*service).is_none_or(|after| after.port != before.port));
        let mut steps: Vec<Step> = closed.map(|(service, _)| Step::Stop(Arc::clone(service))).collect();
        let others = checks.iter().filter_map(|(service, after)| self.opened_or_changed(service, *after));
        steps.extend(others);
        self.0.clone_from(checks);
        steps
    }

    fn opened_or_changed(&self, service: &Arc<ObjectKey>, after: HealthCheck) -> Option<Step> {
        match self.0.get(service) {
            Some(before) if *before == after => None,
            Some(before) if before.port == after.port => Some(Step::Change(Arc::clone(service), after)),
            _ => Some(Step::Start(Arc::clone(service), after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;

    fn key(name: &str) -> Arc<ObjectKey> {
        Arc::new(ObjectKey::new("d", name))
    }

    fn check(port: u16, ready_v4: u32) -> HealthCheck {
        HealthCheck { port, ready_v4, ready_v6: 0 }
    }

    fn checks(checks: &[(&str, HealthCheck)]) -> HealthChecks {
        checks.iter().map(|(name, check)| (key(name), *check)).collect()
    }

    #[test]
    fn a_port_passes_from_one_service_to_another_at_once() {
        let mut desired = Desired::default();
        let steps = desired.take(&checks(&[("a", check(1, 0)), ("z", check(2, 0))]));
        assert_eq!(steps, [Step::Start(key("a"), check(1, 0)), Step::Start(key("z"), check(2, 0))]);
        let steps = desired.take(&checks(&[("a", check(2, 0))]));
        let expected = [Step::Stop(key("a")), Step::Stop(key("z")), Step::Start(key("a"), check(2, 0))];
        assert_eq!(steps, expected);
    }

    #[test]
    fn other_counts_leave_the_port_open_and_no_difference_is_no_step() {
        let mut desired = Desired::default();
        desired.take(&checks(&[("a", check(1, 0))]));
        let more = checks(&[("a", check(1, 3))]);
        assert_eq!(desired.take(&more), [Step::Change(key("a"), check(1, 3))]);
        assert!(desired.take(&more).is_empty());
    }

    proptest! {
        /// Whoever carries out the steps has what is desired, and never opens a port that it has open.
        #[test]
        fn steps_lead_to_what_is_desired(
            all in prop::collection::vec(
                prop::collection::btree_map("[a-d]", (1..4_u16, 0..3_u32), 0..4), 0..8)
        ) {
            let (mut desired, mut open) = (Desired::default(), BTreeMap::new());
            for checks in all {
                let checks = checks.iter().map(|(name, (port, ready))| (key(name), check(*port, *ready))).collect();
                for step in desired.take(&checks) {
                    match step {
                        Step::Stop(service) => prop_assert!(open.remove(&service).is_some()),
                        Step::Start(service, check) => prop_assert!(open.insert(service, check).is_none()),
                        Step::Change(service, check) => {
                            prop_assert_eq!(open.insert(service, check).map(|c| c.port), Some(check.port));
                        }
                    }
                }
                prop_assert_eq!(&open, &checks);
            }
        }
    }
}
