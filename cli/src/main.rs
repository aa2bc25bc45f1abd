//! The program `kubectl-penstock`, which kubectl runs as `kubectl penstock`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::Parser;
use penstock_cli::{
    announcements::{announcements, announcements_text},
    cluster::Cluster,
    completion::{answer, print_script},
    convert::convert,
    env::{env, env_text},
    flags::{Ask, Command, Flags, Place},
    output::Output,
    plan::{PlanReport, manifest_text, plan_file, plan_service, report_text, service_name},
    pools::pools,
    pools_text::pools_text,
    status::{status, status_text},
    trace::Question,
    trace_report::{arrives, trace_in, trace_text},
    why::{why, why_text},
};
use penstock_runtime::report_exit;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match execute(Flags::parse()).await {
        Ok(code) => code,
        Err(error) => report_exit("kubectl-penstock", Err(error)),
    }
}

/// What needs no cluster comes first.
async fn execute(flags: Flags) -> Result<ExitCode> {
    match flags.command {
        Command::Completion { shell } => print_script(shell).map(|()| ExitCode::SUCCESS),
        Command::Complete { words } => {
            print!("{}", answer(words)?);
            Ok(ExitCode::SUCCESS)
        }
        Command::Convert { file, no_class, strict } => convert_files(&flags.place, &file, no_class, strict),
        Command::Ask(question) => ask(flags.place, question).await,
    }
}

async fn ask(place: Place, question: Ask) -> Result<ExitCode> {
    let Place { namespace, context, kubeconfig, operator_namespace, output } = place;
    let cluster = Cluster::connect(context, kubeconfig, namespace, operator_namespace).await?;
    match question {
        Ask::Plan { service, file } => {
            let report = match (service, file) {
                (_, Some(path)) => plan_file(&cluster, &path).await?,
                (service, None) => plan_service(&cluster, service_name(&service.unwrap_or_default())).await?,
            };
            output.print(&report, report_text)?;
            Ok(say_errors(&report))
        }
        Ask::Why { service } => {
            let report = why(&cluster, service_name(&service)).await?;
            output.print(&report, why_text)?;
            say_notes(&report.notes);
            Ok(ExitCode::SUCCESS)
        }
        Ask::Announcements { service } => {
            let key = service.map(|name| format!("{}/{}", cluster.namespace, service_name(&name)));
            let report = announcements(&cluster, key.as_deref()).await?;
            output.print(&report, announcements_text)?;
            say_notes(&report.notes);
            Ok(ExitCode::SUCCESS)
        }
        Ask::Trace { target, from, protocol, node } => {
            let namespace = cluster.namespace.clone();
            let report = trace_in(&cluster, &Question { target, protocol, from, node, namespace }).await?;
            output.print(&report, trace_text)?;
            say_notes(&report.notes);
            Ok(if arrives(&report) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Ask::Status => {
            let report = status(&cluster).await?;
            output.print(&report, status_text)?;
            Ok(if report.well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Ask::Pools { pool } => {
            let report = pools(&cluster, pool.as_deref()).await?;
            let holders = pool.is_some() || output == Output::Wide;
            output.print(&report, |report| pools_text(report, holders))?;
            say_notes(&report.notes);
            Ok(ExitCode::SUCCESS)
        }
        Ask::Env { no_service_links } => {
            let report = env(&cluster, !no_service_links).await?;
            output.print(&report, env_text)?;
            say_notes(&report.notes);
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn convert_files(place: &Place, files: &[PathBuf], no_class: bool, strict: bool) -> Result<ExitCode> {
    let mut text = String::new();
    for file in files {
        text.push_str(&manifest_text(file)?);
        text.push_str("\n---\n");
    }
    let conversion = convert(&text, &place.operator_namespace);
    let conversion = if no_class { conversion } else { conversion.with_class() };
    let yaml = conversion.yaml()?;
    place.output.print(&conversion.list(), |_| yaml)?;
    say_notes(&conversion.remarks);
    conversion
        .errors
        .iter()
        .for_each(|error| eprintln!("kubectl-penstock: {}", error.to_string().replace('\n', " ")));
    let good = conversion.errors.is_empty() && (!strict || conversion.remarks.is_empty());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say_errors(report: &PlanReport) -> ExitCode {
    say_notes(&report.notes);
    report.errors.iter().for_each(|error| eprintln!("kubectl-penstock: {}", error.replace('\n', " ")));
    if report.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say_notes(notes: &[String]) {
    notes.iter().for_each(|note| eprintln!("kubectl-penstock: note: {}", note.replace('\n', " ")));
}
