//! The flags of the node agent.

use std::path::PathBuf;

use ipnet::IpNet;
use penstock_model::{ExternalIpPolicy, IndexConfig, Scheduler};
use penstock_runtime::ProcessFlags;

use crate::{
    BindAddress, NodePortAddress, NodePortAddressError, iptables::Variant, ipvs::IpvsConfig,
    mode::WantedMode, nftables::TableConfig, node_port_addresses,
};

/// What the node agent is told when it starts.
#[derive(Clone, Debug, clap::Args)]
pub struct Flags {
    /// Flags of every process.
    #[command(flatten)]
    pub process: ProcessFlags,

    /// With what to forward. The rules of another mode are removed once those of this one stand.
    #[arg(long, value_enum, default_value = "nftables")]
    pub mode: WantedMode,

    /// Which iptables, with mode iptables: as a rule the one that `iptables` is on this machine.
    #[arg(long, value_enum)]
    pub iptables_variant: Option<Variant>,

    /// With mode ipvs: how an endpoint is chosen for Services without the annotation `penstock.dev/ipvs-scheduler`, which
    /// takes the same names: rr, wrr, lc, wlc, lblc, dh, sh, sed, nq or mh.
    #[arg(long, default_value_t = Scheduler::Rr)]
    pub ipvs_scheduler: Scheduler,

    /// The Pod ranges, of both families: traffic to a ClusterIP from elsewhere is masqueraded.
    #[arg(long, value_delimiter = ',', value_parser = cidr)]
    pub cluster_cidr: Vec<IpNet>,

    /// The Service ranges, of both families: no externalIP may lie in them, and what no Service owns of
    /// them is dropped. Those of the API server (kind ServiceCIDR) are added.
    #[arg(long, value_delimiter = ',', value_parser = cidr)]
    pub service_cidr: Vec<IpNet>,

    /// Where node ports answer: `primary`, the node's primary address of each family, or ranges, in which the addresses of its
    /// interfaces count that it has when the process starts.
    #[arg(long, value_delimiter = ',', default_value = "primary", value_parser = node_port_address)]
    pub nodeport_addresses: Vec<NodePortAddress>,

    /// The bit of the packet mark that asks for masquerading; kube-proxy's default.
    #[arg(long, default_value_t = 14, value_parser = clap::value_parser!(u8).range(0..32))]
    pub masquerade_bit: u8,

    /// Where /healthz and /livez are served as by kube-proxy, for balancers and the kubelet; empty is nowhere.
    #[arg(long, default_value_t = BindAddress::HEALTH)]
    pub healthz_bind_address: BindAddress,

    /// Where /metrics, /healthz and /proxyMode are served as by kube-proxy; empty is nowhere.
    #[arg(long, default_value_t = BindAddress::METRICS)]
    pub metrics_bind_address: BindAddress,

    /// The abstract Unix socket of the announcer on this node, which is told which balancers' addresses have rules; none by
    /// default.
    #[arg(long, value_name = "NAME")]
    pub announcer_socket: Option<String>,

    /// The file with what was programmed last. A node that starts without rules while the API server is away
    /// programs that.
    #[arg(long, default_value = "/var/lib/penstock/node.state")]
    pub state_file: PathBuf,
}

impl Flags {
    /// What the index of the node must know. ExternalIPs are allowed by what is watched, not by a flag, and schedulers are the
    /// kernel's.
    ///
    /// # Errors
    /// See [`node_port_addresses`].
    pub fn index_config(&self, node_name: String) -> Result<IndexConfig, NodePortAddressError> {
        let node_port_addresses = node_port_addresses(&self.nodeport_addresses)?;
        let reserved = self.cluster_cidr.iter().chain(&self.service_cidr).copied().collect();
        let external_ips = ExternalIpPolicy { reserved, ..ExternalIpPolicy::default() };
        Ok(IndexConfig { node_name, external_ips, node_port_addresses, schedulers: None })
    }

    /// What mode ipvs depends on.
    #[must_use]
    pub fn ipvs_config(&self) -> IpvsConfig {
        IpvsConfig { table: self.table_config(), scheduler: self.ipvs_scheduler }
    }

    /// What the rules depend on.
    #[must_use]
    pub fn table_config(&self) -> TableConfig {
        TableConfig {
            cluster_cidrs: self.cluster_cidr.clone(),
            service_cidrs: self.service_cidr.clone(),
            masquerade_bit: self.masquerade_bit,
        }
    }
}

fn node_port_address(text: &str) -> Result<NodePortAddress, String> {
    match text {
        "primary" => Ok(NodePortAddress::Primary),
        _ => cidr(text).map(NodePortAddress::Within).map_err(|error| format!("{error}, nor is it primary")),
    }
}

/// Reads a range strictly: with host bits set it is unclear what is meant.
fn cidr(text: &str) -> Result<IpNet, String> {
    let net: IpNet = text.parse().map_err(|_| format!("{text} is not a CIDR such as 10.244.0.0/16"))?;
    if net == net.trunc() {
        Ok(net)
    } else {
        Err(format!("{text} has bits set after the prefix: write {}", net.trunc()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_with_host_bits_is_refused_with_the_range_that_was_meant() {
        assert!(cidr("10.244.0.0/16").is_ok());
        assert!(cidr("2001:db8:244::/48").is_ok());
        assert!(cidr("10.244.0.1/16").unwrap_err().contains("write 10.244.0.0/16"));
        assert!(cidr("10.244.0.0").is_err());
        assert_eq!(node_port_address("primary"), Ok(NodePortAddress::Primary));
        assert!(node_port_address("::/0").is_ok());
        assert!(node_port_address("first").unwrap_err().contains("nor is it primary"));
    }
}
