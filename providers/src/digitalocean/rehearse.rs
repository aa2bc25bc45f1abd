//! A plan that waits for approval, put to the API with `validate_only`.
//!
//! The API's description does not have that field. DigitalOcean's own client does, for creations and updates
//! (digitalocean/godo 515), and its own controller takes 422 for a refusal there and any success for consent
//! (`kubernetes_lb_validator.go`). Nothing of a plan that waits is a creation: what can be asked about are updates.

use super::{action::Action, apply::Applier};
use crate::{Plan, ProviderError, Rehearsal, plan_text::count};

impl Applier<'_> {
    /// Changes nothing.
    ///
    /// # Errors
    /// As the API fails: then nothing is known.
    pub(super) async fn rehearse(&self, plan: &Plan<Action>) -> Result<Rehearsal, ProviderError> {
        let mut passed = 0;
        for step in &plan.steps {
            let asked = match &step.action {
                Action::Adopt { id, name } => self.try_out(id, self.adopted(id, name).await).await,
                Action::Update { id, spec, droplets } => {
                    self.try_out(id, self.updated(id, spec, droplets.as_ref()).await).await
                }
                _ => continue,
            };
            match asked {
                Ok(()) => passed += 1,
                Err(ProviderError::User { message, .. } | ProviderError::Quota { message, .. }) => {
                    return Ok(Rehearsal::Refused(message));
                }
                Err(error) => return Err(error),
            }
        }
        let all = count(plan.steps.len(), "step");
        Ok(match passed {
            0 => Rehearsal::NotOffered,
            _ if passed == plan.steps.len() => Rehearsal::Accepted(format!("DigitalOcean validated {all}")),
            _ => Rehearsal::Accepted(format!(
                "DigitalOcean validated {passed} of {all}, and has no question for others"
            )),
        })
    }

    async fn try_out(
        &self,
        id: &str,
        wanted: Result<serde_json::Value, ProviderError>,
    ) -> Result<(), ProviderError> {
        let mut wanted = wanted?;
        wanted["validate_only"] = serde_json::json!(true);
        self.account.api.validate(id, &wanted).await
    }
}
