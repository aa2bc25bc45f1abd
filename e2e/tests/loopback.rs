//! A real API server on loopback starts, tells its users apart, runs controllers on demand, and ends with its value.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use penstock_e2e::control_plane::ControlPlane;
use penstock_e2e::process::Ledger;
use penstock_e2e::wait::{Look, until};
use std::time::Duration;

fn named<T: kube::Resource<DynamicType = ()> + Default>(name: &str) -> T {
    let mut object = T::default();
    *object.meta_mut() = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
    object
}

#[tokio::test]
async fn a_control_plane_on_loopback() {
    let dir = tempfile::tempdir().unwrap();
    let mut control_plane = ControlPlane::start_on_loopback(dir.path()).await.unwrap();
    let client = control_plane.client().await.unwrap();
    let version = client.apiserver_version().await.unwrap();
    assert!(version.git_version.starts_with("v1.36."), "{version:?}");

    let limited = control_plane.client_as("system:serviceaccount:default:nobody", &[]).await.unwrap();
    let refused =
        Api::<ConfigMap>::default_namespaced(limited).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused}");

    control_plane.start_controller_manager().unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &named("made-by-test")).await.unwrap();
    let accounts: Api<ServiceAccount> = Api::namespaced(client, "made-by-test");
    until("a default ServiceAccount", Duration::from_secs(60), || async {
        control_plane.check()?;
        Ok(match accounts.get_opt("default").await? {
            Some(_) => Look::Ready(()),
            None => Look::NotYet("not there".into()),
        })
    })
    .await
    .unwrap();

    drop(control_plane);
    let ledger = Ledger::open(dir.path().join("attempt-1/processes")).unwrap();
    let processes = ledger.all().unwrap();
    assert_eq!(processes.len(), 3);
    assert!(processes.iter().all(|process| !process.is_alive()), "{processes:?}");
}
