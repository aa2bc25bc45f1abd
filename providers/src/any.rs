//! Providers behind one type: actions and observations as JSON, so that several stand side by side.

use std::{collections::BTreeMap, fmt::Debug, future::Future, pin::Pin};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Built, Capabilities, Certificate, Desired, Owner, Plan, Provider, ProviderError, Rehearsal, Step, Sweep,
};

/// An answer that is on its way.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ProviderError>> + Send + 'a>>;

/// Any [`Provider`]. A plan is a value that prints as JSON, and so is what exists: the record of a balancer keeps it,
/// and a plan can be made from it without a call.
pub trait AnyProvider: Send + Sync {
    /// As [`Provider::capabilities`].
    fn capabilities(&self) -> Capabilities;

    /// As [`Provider::observe`].
    fn observe<'a>(&'a self, owner: &'a Owner) -> Answer<'a, Value>;

    /// As [`Provider::plan`]; `Value::Null` is nothing.
    ///
    /// # Errors
    /// What the Service cannot have, or an observation that is not this provider's.
    fn plan(
        &self,
        owner: &Owner,
        desired: Option<&Desired>,
        observed: &Value,
    ) -> Result<Plan<Value>, ProviderError>;

    /// As [`Provider::apply`].
    fn apply<'a>(
        &'a self,
        owner: &'a Owner,
        step: &'a Step<Value>,
        certificate: Option<&'a Certificate>,
    ) -> Answer<'a, ()>;

    /// As [`Provider::rehearse`].
    fn rehearse<'a>(&'a self, owner: &'a Owner, plan: &'a Plan<Value>) -> Answer<'a, Rehearsal>;

    /// As [`Provider::sweep`].
    fn sweep(&self) -> Answer<'_, Sweep>;

    /// As [`Provider::calls`].
    fn calls(&self) -> BTreeMap<&'static str, u64>;

    /// As [`Provider::built`].
    ///
    /// # Errors
    /// An observation that is not this provider's.
    fn built(&self, observed: &Value) -> Result<Built, ProviderError>;

    /// As [`Provider::shown`].
    fn shown(&self, desired: &Desired, built: Built) -> Built;
}

impl<P: Provider> AnyProvider for P {
    fn capabilities(&self) -> Capabilities {
        Provider::capabilities(self)
    }

    fn observe<'a>(&'a self, owner: &'a Owner) -> Answer<'a, Value> {
        Box::pin(async move { write(&Provider::observe(self, owner).await?) })
    }

    fn plan(
        &self,
        owner: &Owner,
        desired: Option<&Desired>,
        observed: &Value,
    ) -> Result<Plan<Value>, ProviderError> {
        let plan = Provider::plan(self, owner, desired, &observation::<P>(observed)?)?;
        let steps = plan.steps.into_iter().map(|step| Ok(step.with_action(write(&step.action)?)));
        Ok(Plan { steps: steps.collect::<Result<_, ProviderError>>()? })
    }

    fn apply<'a>(
        &'a self,
        owner: &'a Owner,
        step: &'a Step<Value>,
        certificate: Option<&'a Certificate>,
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            let step = step.with_action(read(&step.action)?);
            Provider::apply(self, owner, &step, certificate).await
        })
    }

    fn rehearse<'a>(&'a self, owner: &'a Owner, plan: &'a Plan<Value>) -> Answer<'a, Rehearsal> {
        Box::pin(async move {
            let steps = plan.steps.iter().map(|step| Ok(step.with_action(read(&step.action)?)));
            let plan = Plan { steps: steps.collect::<Result<_, ProviderError>>()? };
            Provider::rehearse(self, owner, &plan).await
        })
    }

    fn sweep(&self) -> Answer<'_, Sweep> {
        Box::pin(Provider::sweep(self))
    }

    fn calls(&self) -> BTreeMap<&'static str, u64> {
        Provider::calls(self)
    }

    fn built(&self, observed: &Value) -> Result<Built, ProviderError> {
        Ok(Provider::built(self, &observation::<P>(observed)?))
    }

    fn shown(&self, desired: &Desired, built: Built) -> Built {
        Provider::shown(self, desired, built)
    }
}

fn observation<P: Provider>(observed: &Value) -> Result<P::Observed, ProviderError> {
    if observed.is_null() { Ok(P::Observed::default()) } else { read(observed) }
}

fn write<T: Serialize + Debug>(value: &T) -> Result<Value, ProviderError> {
    serde_json::to_value(value).map_err(|e| ProviderError::Retryable(format!("{value:?} is not JSON: {e}")))
}

/// A record that an older version wrote may not be readable: the provider is asked again.
fn read<T: DeserializeOwned>(value: &Value) -> Result<T, ProviderError> {
    T::deserialize(value)
        .map_err(|e| ProviderError::Conflict(format!("what was recorded cannot be read: {e}")))
}
