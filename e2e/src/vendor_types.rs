//! Requests to clouds, read by the types of the clouds' own Go clients (`hcloud-go`, `godo`), which are kept and can be had
//! offline: the clouds' descriptions in OpenAPI are in no package. A field that a type does not have is a fault, and one of
//! another kind; values are not looked at.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::tools;

/// What is wrong with requests. Each is the cloud with the call (`hetzner POST add_target`), and the body. Builds the reader
/// unless the cache has it.
///
/// # Errors
/// When it cannot be built or run.
pub fn faults(requests: &[(String, Value)]) -> Result<Vec<String>> {
    let mut reader = Command::new(tools::vendor_types()?);
    let mut reader = reader.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("run the reader")?;
    let mut input = reader.stdin.take().context("the reader has no stdin")?;
    let lines: String =
        requests.iter().map(|(call, body)| format!("{}\n", json!({"call": call, "body": body}))).collect();
    // It answers while it reads.
    let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = reader.wait_with_output().context("wait for the reader")?;
    ensure!(output.status.success(), "the reader of requests failed: {}", output.status);
    ensure!(matches!(writer.join(), Ok(Ok(()))), "the reader of requests has not read all of them");
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(ToOwned::to_owned).collect())
}
