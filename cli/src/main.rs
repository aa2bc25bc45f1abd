//! The program `kubectl-penstock`, which kubectl runs as `kubectl penstock`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use penstock_cli::{
    announcements::{announcements, announcements_text},
    cluster::Cluster,
    output::Output,
    plan::{PlanReport, plan_file, plan_service, report_text, service_name},
    why::{why, why_text},
};
use penstock_runtime::report_exit;

/// What Penstock would do for a Service, why a Service has no address, and who announces it.
#[derive(Debug, Parser)]
#[command(name = "kubectl-penstock", bin_name = "kubectl penstock", version)]
struct Flags {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct Place {
    /// Namespace of the Service [default: that of the kubeconfig's context]
    #[arg(short, long, global = true)]
    namespace: Option<String>,

    /// Context of the kubeconfig
    #[arg(long, global = true)]
    context: Option<String>,

    /// The kubeconfig [default: KUBECONFIG, else ~/.kube/config]
    #[arg(long, global = true)]
    kubeconfig: Option<PathBuf>,

    /// Namespace that the operator and its pools live in
    #[arg(long, global = true, default_value = "penstock-system")]
    operator_namespace: String,

    /// How the result is printed
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
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
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match execute(Flags::parse()).await {
        Ok(code) => code,
        Err(error) => report_exit("kubectl-penstock", Err(error)),
    }
}

async fn execute(flags: Flags) -> Result<ExitCode> {
    let Place { namespace, context, kubeconfig, operator_namespace, output } = flags.place;
    let cluster = Cluster::connect(context, kubeconfig, namespace, operator_namespace).await?;
    match flags.command {
        Command::Plan { service, file } => {
            let report = match (service, file) {
                (_, Some(path)) => plan_file(&cluster, &path).await?,
                (service, None) => plan_service(&cluster, service_name(&service.unwrap_or_default())).await?,
            };
            print!("{}", output.write(&report, report_text)?);
            Ok(say_errors(&report))
        }
        Command::Why { service } => {
            let report = why(&cluster, service_name(&service)).await?;
            print!("{}", output.write(&report, why_text)?);
            say_notes(&report.notes);
            Ok(ExitCode::SUCCESS)
        }
        Command::Announcements { service } => {
            let key = service.map(|name| format!("{}/{}", cluster.namespace, service_name(&name)));
            let report = announcements(&cluster, key.as_deref()).await?;
            print!("{}", output.write(&report, announcements_text)?);
            say_notes(&report.notes);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn say_errors(report: &PlanReport) -> ExitCode {
    say_notes(&report.notes);
    report.errors.iter().for_each(|error| eprintln!("kubectl-penstock: {}", error.replace('\n', " ")));
    if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say_notes(notes: &[String]) {
    notes.iter().for_each(|note| eprintln!("kubectl-penstock: note: {}", note.replace('\n', " ")));
}
