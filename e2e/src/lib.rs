//! Whole clusters on one machine: real control plane, real kubelets, namespaces without a route out.
//!
//! | Module | What it is |
//! |---|---|
//! | [`topology`] | Names and addresses of an instance, as values |
//! | [`packages`], [`tools`], [`images`], [`archive`] | What has to be there: Debian packages, Go programs, container images |
//! | [`netns`], [`namespace`], [`relay`], [`segment`], [`cgroup`], [`process`] | The kernel's parts: where a process runs and how it ends |
//! | [`pki`], [`kubeconfig`] | Certificates and the files that carry them |
//! | [`control_plane`], [`machine`], [`node`], [`forward`] | The processes of a cluster |
//! | [`local_images`] | The one object that a cluster has from the start |
//! | [`startup`], [`teardown`], [`cluster`] | `up`, `down`, and the handle that tests and the demo use |
//! | [`penstock_image`], [`chart`], [`install`] | Penstock as an image, as a chart, and on the cluster |
//! | [`component`], [`container`] | Its programs there, as Pods and as processes |
//! | [`scenarios`] | The seed, section by section |
//! | [`seed`], [`demo`] | The seed's Services, and everything shown |
//! | [`flows`] | What a Service must do, packet by packet, and whether ours and kube-proxy do it |
//! | [`conformance`] | Kubernetes' own tests on a cluster with ours, or kube-proxy, as its service proxy |
//! | [`dns_oracle`] | CoreDNS and penstock-dns, asked the same |
//! | [`moto`] | An emulator of AWS |
//! | [`router`] | bird and frr, to speak BGP and BFD with |
//! | [`bench`] | How fast and how large, beside the API server's own floor and a peer |
//!
//! Nothing here is simulated: etcd, the API server, the kubelets and containerd are the real programs. What is unusual
//! is only where they run: every "machine" is a network namespace on one bridge that has no way out.

pub mod archive;
pub mod bench;
pub mod cgroup;
pub mod chart;
pub mod cluster;
pub mod cluster_dns;
pub mod component;
pub mod conformance;
pub mod container;
pub mod control_plane;
pub mod demo;
pub mod dns_oracle;
pub mod flows;
pub mod forward;
pub(crate) mod foundation;
pub mod images;
pub mod install;
pub(crate) mod instance_lock;
pub(crate) mod interruption;
pub mod kubeconfig;
pub mod local_images;
pub mod machine;
pub mod moto;
pub mod namespace;
pub mod netns;
pub mod node;
pub mod packages;
pub mod penstock_image;
pub mod pki;
pub mod process;
pub mod progress;
pub mod relay;
pub mod router;
pub mod scenarios;
pub mod seed;
pub mod segment;
pub mod startup;
pub mod teardown;
pub mod tools;
pub mod topology;
pub mod uml;
pub mod vendor_types;
pub mod wait;
