//! How a process ends: a failure is one line on stderr and a non-zero exit.

use std::process::ExitCode;

/// Says in one line why `program` failed, and makes its exit code.
#[must_use]
pub fn report(program: &str, result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {}", sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// The error and its causes, without those that an outer one repeats (kube's do).
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_cause_is_said_once_and_on_one_line() {
        let error = anyhow!("no route").context("cannot reach it: no route").context("cannot start\nat all");
        assert_eq!(sentence(&error), "cannot start at all: cannot reach it: no route");
    }
}
