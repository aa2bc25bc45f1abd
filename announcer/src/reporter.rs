//! Writes this node's NodeAnnouncement, in a task of its own: an API server that is slow or away delays nothing else.

use std::time::Duration;

use k8s_openapi::{
    api::core::v1::Node,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, Resource,
    api::{Patch, PatchParams},
};
use penstock_crds::{NodeAnnouncement, NodeAnnouncementSpec, NodeAnnouncementStatus};
use tokio::{sync::watch, time::sleep};

/// Between two writes: a cluster that changes all the time costs one write a second and node.
const PAUSE: Duration = Duration::from_secs(1);
/// After a failed write.
const RETRY: Duration = Duration::from_secs(5);
const FIELD_MANAGER: &str = "penstock-announcer";

/// Hands what is to be written to the task, which ends with this handle.
pub(crate) struct Reporter {
    wanted: watch::Sender<Option<NodeAnnouncementStatus>>,
}

impl Reporter {
    /// Starts the task.
    pub(crate) fn start(client: Client, namespace: &str, node: &str) -> Self {
        let (wanted, heard) = watch::channel(None);
        let task = Task {
            nodes: Api::all(client.clone()),
            announcements: Api::namespaced(client, namespace),
            node: node.to_owned(),
        };
        tokio::spawn(task.run(heard));
        Self { wanted }
    }

    /// What stands in the object soon; of several in a row only the last.
    pub(crate) fn tell(&self, status: NodeAnnouncementStatus) {
        let status = Some(status);
        self.wanted.send_if_modified(|known| {
            let differs = *known != status;
            if differs {
                *known = status;
            }
            differs
        });
    }
}

struct Task {
    nodes: Api<Node>,
    announcements: Api<NodeAnnouncement>,
    node: String,
}

impl Task {
    async fn run(self, mut wanted: watch::Receiver<Option<NodeAnnouncementStatus>>) {
        while wanted.changed().await.is_ok() {
            loop {
                let Some(status) = wanted.borrow_and_update().clone() else { break };
                match self.write(status).await {
                    Ok(()) => break,
                    Err(error) => tracing::debug!(%error, "the NodeAnnouncement was not written"),
                }
                sleep(RETRY).await;
            }
            sleep(PAUSE).await;
        }
    }

    /// The object goes with its Node: it is the garbage collector's then.
    async fn write(&self, status: NodeAnnouncementStatus) -> kube::Result<()> {
        let node = self.nodes.get(&self.node).await?;
        let mut object = NodeAnnouncement::new(&self.node, NodeAnnouncementSpec {});
        object.metadata = ObjectMeta {
            owner_references: node.owner_ref(&()).map(|owner| vec![not_blocking(owner)]),
            ..object.metadata
        };
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        self.announcements.patch(&self.node, &parameters, &Patch::Apply(&object)).await?;
        object.status = Some(status);
        self.announcements.patch_status(&self.node, &parameters, &Patch::Apply(&object)).await?;
        Ok(())
    }
}

fn not_blocking(owner: OwnerReference) -> OwnerReference {
    OwnerReference { block_owner_deletion: None, controller: None, ..owner }
}
