//! The cluster, read with the user's kubeconfig. Nothing is written; a dry-run is the only request that is no read.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::{
    core::v1::{Namespace, Node, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Config, ResourceExt,
    config::{KubeConfigOptions, Kubeconfig},
};
use penstock_crds::{IPAddressPool, LoadBalancer, LoadBalancerClass, ProviderKind};

use crate::{
    access::{Gaps, sentence},
    scene::Objects,
};

/// A connection that is not there within this time never will be.
const CONNECT: Duration = Duration::from_secs(5);
/// Somebody waits at the terminal.
const READ: Duration = Duration::from_secs(30);

/// The way to the cluster.
pub struct Cluster {
    /// With the user's rights.
    pub client: Client,
    /// The namespace of Services that name none: the flag's, else the kubeconfig's.
    pub namespace: String,
    /// Where the operator and its pools live.
    pub operator_namespace: String,
}

impl Cluster {
    /// Reads the kubeconfig.
    ///
    /// # Errors
    /// When there is none or it cannot be used.
    pub async fn connect(
        context: Option<String>,
        kubeconfig: Option<std::path::PathBuf>,
        namespace: Option<String>,
        operator_namespace: String,
    ) -> anyhow::Result<Self> {
        let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
        let mut config = match kubeconfig {
            Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &options).await?,
            None => Config::from_kubeconfig(&options).await?,
        };
        (config.connect_timeout, config.read_timeout) = (Some(CONNECT), Some(READ));
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        Ok(Self { client: Client::try_from(config)?, namespace, operator_namespace })
    }

    /// The Service that the command names.
    ///
    /// # Errors
    /// When it is not there or may not be read.
    pub async fn service(&self, name: &str) -> anyhow::Result<Service> {
        let api: Api<Service> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = api.get_opt(name).await;
        let found = found.map_err(|error| anyhow::anyhow!(sentence("get", "services", &error)))?;
        let missing = || anyhow::anyhow!("Service {}/{name} does not exist", self.namespace);
        found.ok_or_else(missing)
    }

    /// All that the operator decides by. Where the user may not list the Services of all namespaces, those of
    /// `namespace` are read alone: who holds an address elsewhere is not known then.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn objects(&self, gaps: &mut Gaps) -> anyhow::Result<Objects> {
        let classes: Api<LoadBalancerClass> = Api::all(self.client.clone());
        let pools: Api<IPAddressPool> = Api::namespaced(self.client.clone(), &self.operator_namespace);
        let pool_list = format!("ipaddresspools.penstock.dev in namespace {}", self.operator_namespace);
        let classes = gaps.list(&classes, "loadbalancerclasses.penstock.dev").await?;
        // There are more of them than of anything else.
        let slices = match classes.iter().any(|class| class.spec.provider == ProviderKind::Aws) {
            true => self.everywhere::<EndpointSlice>(gaps, "endpointslices.discovery.k8s.io").await?,
            false => Vec::new(),
        };
        Ok(Objects {
            classes,
            slices,
            pools: gaps.list(&pools, &pool_list).await?,
            namespaces: self.namespace_labels(gaps).await?,
            nodes: gaps.list(&Api::<Node>::all(self.client.clone()), "nodes").await?,
            services: self.everywhere::<Service>(gaps, "services").await?,
            records: self.everywhere::<LoadBalancer>(gaps, "loadbalancers.penstock.dev").await?,
        })
    }

    async fn namespace_labels(
        &self,
        gaps: &mut Gaps,
    ) -> anyhow::Result<BTreeMap<String, BTreeMap<String, String>>> {
        let api: Api<Namespace> = Api::all(self.client.clone());
        let namespaces = gaps.list(&api, "namespaces").await?;
        Ok(namespaces.iter().map(|n| (n.name_any(), n.labels().clone())).collect())
    }

    async fn everywhere<K>(&self, gaps: &mut Gaps, resource: &str) -> anyhow::Result<Vec<K>>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + std::fmt::Debug,
        K::DynamicType: Default,
    {
        let all = gaps.list(&Api::<K>::all(self.client.clone()), resource).await?;
        if !gaps.lack(resource) {
            return Ok(all);
        }
        let here = Api::<K>::namespaced(self.client.clone(), &self.namespace);
        gaps.list(&here, &format!("{resource} in namespace {}", self.namespace)).await
    }
}
