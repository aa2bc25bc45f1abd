//! Completion for shells, and for kubectl's own (kubectl runs `kubectl_complete-penstock`, which this program answers for).

use std::{ffi::OsString, io::Write};

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::{CompletionCandidate, Shell, engine::complete, generate};

use crate::flags::Flags;

const PROGRAM: &str = "kubectl-penstock";

/// cobra's directives, which kubectl's shell scripts read from the last line: complete files, or nothing but what is listed.
const FILES: &str = ":0";
const NOTHING_ELSE: &str = ":4";

/// Prints the script of a shell for the program `kubectl-penstock`.
///
/// # Errors
/// When stdout takes nothing.
pub fn print_script(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    generate(shell, &mut Flags::command(), PROGRAM, &mut script);
    std::io::stdout().write_all(&script).context("cannot write to stdout")
}

/// What may stand in the place of the last word, as cobra's `__complete` says it: a line each, then a directive.
///
/// # Errors
/// When the words cannot be read.
pub fn answer(words: Vec<OsString>) -> Result<String> {
    let words: Vec<OsString> = std::iter::once(PROGRAM.into()).chain(words).collect();
    let last = words.len() - 1;
    let candidates = complete(&mut Flags::command(), words, last, None)?;
    let directive = if candidates.is_empty() { FILES } else { NOTHING_ELSE };
    let lines = candidates.iter().filter(|candidate| !candidate.is_hide_set()).map(line);
    Ok(lines.collect::<String>() + directive + "\n")
}

fn line(candidate: &CompletionCandidate) -> String {
    let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
    let help = help.lines().next().map(|help| format!("\t{help}")).unwrap_or_default();
    format!("{}{help}\n", candidate.get_value().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        let answer = answer(words.iter().map(OsString::from).collect()).unwrap();
        answer.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn kubectl_is_told_commands_flags_and_values_as_cobra_has_it() {
        assert_eq!(words(&["sta"]), ["status", NOTHING_ELSE]);
        assert_eq!(words(&["status", "-o", "j"]), ["json", NOTHING_ELSE]);
        assert!(words(&["trace", "--"]).contains(&"--from".to_owned()));
        let all = words(&[""]);
        for command in ["plan", "why", "status", "trace", "env", "announcements", "pools", "completion"] {
            assert!(all.contains(&command.to_owned()), "{command}: {all:?}");
        }
        assert!(!all.contains(&"__complete".to_owned()), "{all:?}");
        assert_eq!(words(&["nonsense", "x"]), [FILES]);
        assert!(answer(vec!["sta".into()]).unwrap().starts_with("status\tSay whether"));
    }

    #[test]
    fn every_shell_gets_a_script_that_names_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell] {
            let mut script = Vec::new();
            generate(shell, &mut Flags::command(), PROGRAM, &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("announcements") && script.contains("no-service-links"), "{shell}");
        }
    }
}
