//! The operator beside an account of AWS: the endpoint that stands for it, or moto.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Node, Service};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use penstock_crds::LoadBalancer;
use penstock_e2e::wait::{Look, until};
use serde_json::{Value, json};

use crate::{
    Fixture,
    aws_endpoint::{ACCESS_KEY, REGION},
};

/// Bounds how long a broken operator is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// An API server with the class `nlb` and its credentials in a Secret; no node and no operator yet.
pub struct AwsLab {
    /// The API server, and the operator once it is started.
    pub fixture: Fixture,
}

/// The instance of node number so many.
#[must_use]
pub fn instance(number: u8) -> String {
    format!("i-0123456789abcde{number:02x}")
}

/// The first name that a Service shows.
#[must_use]
pub fn hostname(service: &Service) -> Option<&str> {
    let balancer = service.status.as_ref()?.load_balancer.as_ref()?;
    balancer.ingress.as_ref()?.first()?.hostname.as_deref()
}

impl AwsLab {
    /// Starts the API server. AWS is at `url`, and balancers stand in these subnets of the VPC.
    ///
    /// # Errors
    /// When a part does not start.
    pub async fn start(url: &str, vpc: &str, subnets: &[&str]) -> Result<Self> {
        let fixture = Fixture::start().await?;
        Self::class(&fixture, "nlb", url, vpc, subnets).await?;
        Ok(Self { fixture })
    }

    /// The same class of another name, with its credentials, on an API server that runs.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn class(fixture: &Fixture, name: &str, url: &str, vpc: &str, subnets: &[&str]) -> Result<()> {
        fixture.credentials("aws", &[("accessKeyId", ACCESS_KEY), ("secretAccessKey", "s3cret")])?;
        let parameters = json!({"region": REGION, "vpcId": vpc, "clusterName": "blue", "endpointUrl": url,
            "internalSubnets": subnets, "publicSubnets": subnets, "credentialsSecret": "aws"});
        fixture.class_of(name, json!({"provider": "aws", "aws": parameters})).await
    }

    /// Creates the node of an instance.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn node(&self, name: &str, instance: &str) -> Result<()> {
        let spec = json!({"providerID": format!("aws:///{REGION}a/{instance}")});
        let object = json!({"metadata": {"name": name}, "spec": spec});
        self.nodes().create(&PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    /// Deletes a node.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn delete_node(&self, name: &str) -> Result<()> {
        self.nodes().delete(name, &DeleteParams::default()).await?;
        Ok(())
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.fixture.client.clone())
    }

    /// Creates a Service of the class with these annotations and ports.
    ///
    /// # Errors
    /// What the API server says.
    pub async fn service(&self, name: &str, annotations: Value, ports: Value) -> Result<()> {
        let spec = json!({"loadBalancerClass": "penstock.dev/nlb", "ports": ports});
        let object = json!({"metadata": {"annotations": annotations}, "spec": spec});
        self.fixture.service_in("default", name, object).await?;
        Ok(())
    }

    /// The records of the namespace `default`.
    #[must_use]
    pub fn records(&self) -> Api<LoadBalancer> {
        Api::default_namespaced(self.fixture.client.clone())
    }

    /// Waits until the Service shows a name and its record says that all is carried out.
    ///
    /// # Errors
    /// When it is not so within the limit; shows what the record says instead.
    pub async fn settled(&self, name: &str) -> Result<()> {
        until(&format!("LoadBalancer {name} is settled"), LIMIT, || async {
            let service = self.fixture.services().get(name).await?;
            let record = self.records().get_opt(name).await?;
            let status = record.and_then(|record| record.status).unwrap_or_default();
            Ok(match (status.fingerprint, hostname(&service)) {
                (Some(_), Some(_)) => Look::Ready(()),
                (_, shown) => Look::NotYet(format!("{shown:?} {:?}", status.conditions)),
            })
        })
        .await
    }
}
