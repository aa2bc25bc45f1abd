//! An API server, the proxy before it, the operator behind it and what is outside, used by one run after the other.

use std::{
    path::Path,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use penstock_crds::{ConditionKind, LoadBalancer};
use penstock_e2e::{
    chart::apply_rbac,
    control_plane::ControlPlane,
    wait::{Look, until},
};
use penstock_tests::{
    doubles::Doubles,
    fault_proxy::{FaultProxy, Kill, Plan, Upstream},
};
use serde_json::{Value, json};

use crate::{
    appliance::{self, Appliance},
    cloud::Clouds,
    end_state::{self, Addresses},
    scenario::{Outside, Scenario},
    supervisor::Supervisor,
    user::User,
};

/// As whom the proxy speaks to the API server: the operator's own rights.
const IDENTITY: (&str, &[&str]) = (
    "system:serviceaccount:penstock-system:penstock-operator",
    &["system:serviceaccounts", "system:serviceaccounts:penstock-system"],
);
/// An effect without a fault is there within this time on a machine that is not overloaded.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// Between preparation and story nothing is written for this long.
const PAUSE: Duration = Duration::from_millis(500);
/// The class that Services name.
const CLASS: &str = "bare-metal";

/// See the module.
pub(crate) struct Lab {
    pub(crate) user: User,
    pub(crate) proxy: FaultProxy,
    // Before the control plane, so that it dies first.
    pub(crate) operator: Supervisor,
    pub(crate) doubles: Doubles,
    _control_plane: ControlPlane,
    _dir: tempfile::TempDir,
}

impl Lab {
    /// Starts everything but the operator.
    pub(crate) async fn start(operator: &Path) -> Result<Self> {
        let dir = tempfile::tempdir().context("make a directory")?;
        let control_plane = ControlPlane::start_on_loopback(dir.path()).await?;
        let control_plane =
            tokio::task::spawn_blocking(move || install(&control_plane).map(|()| control_plane))
                .await
                .context("install our kinds")??;
        let client = control_plane.client().await?;
        let upstream = Upstream::ApiServer(control_plane.client_as(IDENTITY.0, IDENTITY.1).await?);
        // The proxy kills the operator, which is started with the proxy's address.
        let killer: Arc<OnceLock<Kill>> = Arc::default();
        let late = killer.clone();
        let kill: Kill = Arc::new(move || late.get().into_iter().for_each(|kill| kill()));
        let appliance = Arc::new(Appliance::start(kill.clone()).await?);
        let clouds = Clouds::start(&kill).await?;
        let proxy = FaultProxy::start(upstream, kill).await?;
        let operator = Supervisor::new(operator, &proxy.url(), dir.path())?;
        let _ = killer.set(operator.killer());
        let doubles = Doubles::watch(client.clone());
        let user = User { client, class: CLASS, limit: LIMIT, appliance, clouds };
        Ok(Self { user, proxy, operator, doubles, _control_plane: control_plane, _dir: dir })
    }

    /// Stops the operator and removes every object, by force.
    pub(crate) async fn clear(&self) -> Result<()> {
        self.operator.stop();
        self.proxy.begin(Plan::Nothing);
        self.proxy.drained().await;
        self.user.appliance.clear().await;
        for cloud in self.user.clouds.all() {
            cloud.clear().await;
        }
        let client = &self.user.client;
        for service in end_state::list(client, "", "Service", "services").await? {
            let name = service.metadata.name.unwrap_or_default();
            if name != "kubernetes" {
                force_away(&self.user.services(), &name).await?;
            }
        }
        for record in end_state::records(client).await? {
            let namespace = record.metadata.namespace.unwrap_or_default();
            let api: Api<LoadBalancer> = Api::namespaced(client.clone(), &namespace);
            force_away(&api, &record.metadata.name.unwrap_or_default()).await?;
        }
        remove_all(&appliance::nodes(&self.user)).await?;
        remove_all(&self.user.pools()).await?;
        remove_all(&self.user.classes()).await?;
        let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::default_namespaced(client.clone());
        remove_all(&secrets).await?;
        let events: Api<k8s_openapi::api::events::v1::Event> = Api::default_namespaced(client.clone());
        remove_all(&events).await?;
        self.doubles.take();
        Ok(())
    }

    /// The classes and pools of a story, and an operator that has accepted them and has come to rest.
    pub(crate) async fn prepare(&self, scenario: &Scenario) -> Result<()> {
        self.user.create_class(self.user.class, true).await?;
        match scenario.outside {
            Some(Outside::Appliance(unfinished)) => {
                self.user.appliance.prepare(&self.user, unfinished).await?;
            }
            Some(Outside::Cloud(kind)) => self.user.cloud(kind).prepare(&self.user).await?,
            None => {}
        }
        for (name, addresses) in scenario.pools {
            self.user.create_pool(name, addresses).await?;
        }
        self.operator.start()?;
        self.accepted().await?;
        self.watching().await?;
        self.at_rest(PAUSE).await
    }

    /// Waits until every class and pool is accepted.
    pub(crate) async fn accepted(&self) -> Result<()> {
        until("acceptance of classes and pools", LIMIT, || async {
            let state = end_state::read(&self.user.client, end_state::Addresses::Exact).await?;
            let kinds = [&state["ipaddresspools"], &state["loadbalancerclasses"]];
            let open: Vec<&String> = kinds
                .iter()
                .flat_map(|objects| objects.as_object().into_iter().flatten())
                .filter_map(|(name, object)| (!is_accepted(object)).then_some(name))
                .collect();
            Ok(if open.is_empty() { Look::Ready(()) } else { Look::NotYet(self.excuse(format!("{open:?}"))) })
        })
        .await
    }

    /// Waits until the operator watches Services.
    pub(crate) async fn watching(&self) -> Result<()> {
        until("the operator's watch of Services", LIMIT, || async {
            let watches = self.proxy.log().iter().any(|entry| entry.watches("services"));
            Ok(if watches { Look::Ready(()) } else { Look::NotYet(self.excuse(String::new())) })
        })
        .await
    }

    /// What is compared: the objects of the cluster, and what is outside.
    pub(crate) async fn end_state(&self, addresses: Addresses) -> Result<Value> {
        let client = &self.user.client;
        let mut state = end_state::read(client, addresses).await?;
        let services = end_state::list(client, "", "Service", "services").await?;
        state["outside"] = self.user.appliance.state(&services);
        state["clouds"] = self.user.clouds.state(&services);
        Ok(state)
    }

    /// When something other than a Lease was last written, or the provider was last called.
    pub(crate) fn last_activity(&self) -> Option<Instant> {
        let outside = self.user.outside().into_iter().map(FaultProxy::last_call);
        outside.fold(self.proxy.last_write(), Ord::max)
    }

    /// Waits until nothing but Leases has been written, and the provider was not called, for this long.
    pub(crate) async fn at_rest(&self, quiet: Duration) -> Result<()> {
        let begin = Instant::now();
        until("the operator's rest", LIMIT + quiet, || async {
            let last = self.last_activity().unwrap_or(begin).max(begin);
            Ok(if last.elapsed() >= quiet {
                Look::Ready(())
            } else {
                Look::NotYet("it writes or calls".to_owned())
            })
        })
        .await
    }

    fn excuse(&self, reason: String) -> String {
        match self.operator.surprises().last() {
            Some(words) => format!("the operator ended by itself: {words}"),
            None => reason,
        }
    }
}

fn is_accepted(object: &Value) -> bool {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions
        .any(|c| c["type"] == json!(ConditionKind::Accepted.to_string()) && c["status"] == json!("True"))
}

/// Removes whatever its finalizers say.
async fn force_away<K>(api: &Api<K>, name: &str) -> Result<()>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    match api.patch(name, &PatchParams::default(), &free).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        Err(error) => return Err(error).with_context(|| format!("free {name}")),
    }
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error).with_context(|| format!("delete {name}")),
    }
}

async fn remove_all<K>(api: &Api<K>) -> Result<()>
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let all = ListParams::default();
    api.delete_collection(&DeleteParams::default(), &all).await.context("delete all objects of a kind")?;
    Ok(())
}

/// Applies our kinds and the operator's RBAC, as the chart ships it.
fn install(control_plane: &ControlPlane) -> Result<()> {
    let kinds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/yaml");
    control_plane.run_kubectl(&["apply", "--server-side", "-f", &kinds.display().to_string()])?;
    apply_rbac(control_plane, "operator")?;
    Clouds::install(control_plane)?;
    control_plane.run_kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"])?;
    Ok(())
}
