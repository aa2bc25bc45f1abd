//! A cloud that is measured: the endpoint that stands for it, and the provider that asks it.

use anyhow::Result;
use penstock_providers::Provider;
use penstock_tests::Fixture;
use serde_json::Value;

/// What a cloud's class is named in every measurement.
pub(crate) const CLASS: &str = "measured";

/// See the module.
pub(crate) trait Cloud: Sized {
    /// What asks it.
    type Provider: Provider;
    /// For titles.
    const NAME: &'static str;
    /// Calls that only ask whether something has ended: how many there are depends on how long that takes.
    const WAITING: &[&str];
    /// What a balancer of one port may cost, without waiting.
    const CREATION: Option<usize>;
    /// What a start beside 1,000 Services may cost.
    const START: usize;

    /// What a look at one of these Services costs then: nothing where lists show all of a balancer.
    const LOOK: usize = 0;

    /// Starts the endpoint.
    ///
    /// # Errors
    /// When there is no port.
    async fn start() -> Result<Self>;

    /// The class [`CLASS`] and its Secret.
    ///
    /// # Errors
    /// What the API server says.
    async fn prepare(&self, fixture: &Fixture) -> Result<()>;

    /// What a node says of the machine of this number, from 1 on.
    fn machine(number: u8) -> String;

    /// Other balancers of one port: what they are, the Service's annotations, and what they may cost.
    fn variants() -> Vec<(&'static str, Value, Option<usize>)> {
        Vec::new()
    }

    /// Names of all calls so far.
    fn calls(&self) -> Vec<String>;

    /// How many balancers there are.
    fn balancers(&self) -> usize;

    /// The ports of all of them.
    fn ports(&self) -> Vec<u16>;

    /// How many machines each list of them has.
    fn machines(&self) -> Vec<usize>;

    /// Lets so many balancers be, and builds them without a pause.
    fn allow(&self, balancers: usize);

    /// One that remembers nothing yet and keeps to no limits.
    ///
    /// # Errors
    /// What it cannot be made with.
    async fn provider(&self) -> Result<Self::Provider>;
}
