//! The command line.

use std::{ffi::OsString, net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use penstock_model::{Protocol, UnknownProtocol, parse_ip};

use crate::{output::Output, trace::Target};

/// What Penstock would do for a Service, why it has no address, who announces it, and which way a connection goes.
#[derive(Debug, Parser)]
#[command(name = "kubectl-penstock", bin_name = "kubectl penstock", version)]
pub struct Flags {
    /// Where to look, and how to print.
    #[command(flatten)]
    pub place: Place,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The flags of all commands.
#[derive(Debug, Args)]
pub struct Place {
    /// Namespace of the Service [default: that of the kubeconfig's context]
    #[arg(short, long, global = true)]
    pub namespace: Option<String>,

    /// Context of the kubeconfig
    #[arg(long, global = true)]
    pub context: Option<String>,

    /// The kubeconfig [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true)]
    pub kubeconfig: Option<PathBuf>,

    /// Namespace that the operator and its pools live in
    #[arg(long, global = true, default_value = "penstock-system")]
    pub operator_namespace: String,

    /// How the result is printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Asks a cluster.
    #[command(flatten)]
    Ask(Ask),
    /// Write MetalLB's pools, advertisements and peers as Penstock's, and say on stderr what could not be carried over
    Convert {
        /// YAML or JSON, also as `kubectl get -o yaml` prints it; - is stdin
        #[arg(short, long, required = true)]
        file: Vec<PathBuf>,

        /// Without a LoadBalancerClass
        #[arg(long)]
        no_class: bool,

        /// End with exit code 1 where something was left out
        #[arg(long)]
        strict: bool,
    },
    /// Print the completion script of a shell for kubectl-penstock
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// What kubectl_complete-penstock runs
    #[command(name = "__complete", hide = true)]
    Complete {
        /// What stands after `kubectl penstock`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<OsString>,
    },
}

/// The commands that ask a cluster.
#[derive(Debug, Subcommand)]
pub enum Ask {
    /// Say what the operator would do, step by step, for a Service or if a manifest was applied; change nothing
    Plan {
        /// The Service
        #[arg(required_unless_present = "file", conflicts_with = "file")]
        service: Option<String>,

        /// Services, IPAddressPools and LoadBalancerClasses as YAML or JSON; - is stdin
        #[arg(short, long)]
        file: Option<PathBuf>,
    },
    /// Say why a Service has no address and what to change, or what it has
    Why {
        /// The Service
        service: String,
    },
    /// Say which node announces which address, on which segment and to which routers
    Announcements {
        /// Only addresses of this Service
        service: Option<String>,
    },
    /// Say which way a connection goes and where it ends, hop by hop; the exit code is 1 if it does not arrive
    Trace {
        /// 203.0.113.200:80, [2001:db8::7]:443, or a Service with a port: namespace/name:80
        target: Target,

        /// The client's address [default: somebody outside, or a Pod if the address is a ClusterIP]
        #[arg(long, value_parser = address)]
        from: Option<IpAddr>,

        /// tcp, udp or sctp
        #[arg(long, default_value = "tcp", value_parser = protocol)]
        protocol: Protocol,

        /// Only by way of this node
        #[arg(long)]
        node: Option<String>,
    },
    /// Say whether all parts are at work and every Service is served; the exit code is 1 if there is a problem
    Status,
    /// Say how full each IPAddressPool is, and who gets nothing of it; with a name or -o wide also who has what
    Pools {
        /// Only this IPAddressPool
        pool: Option<String>,
    },
    /// Print the variables by which Pods of the namespace find Services, for a process that runs elsewhere
    Env {
        /// As Pods with enableServiceLinks: false have it: the API servers' alone
        #[arg(long)]
        no_service_links: bool,
    },
}

fn address(text: &str) -> Result<IpAddr, String> {
    parse_ip(text).ok_or_else(|| "give an IPv4 or IPv6 address such as 198.51.100.7".to_owned())
}

fn protocol(text: &str) -> Result<Protocol, UnknownProtocol> {
    text.to_ascii_uppercase().parse()
}
