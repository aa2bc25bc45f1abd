//! How a result is printed.

use std::io::Write;

use anyhow::{Context, Result};
use serde::Serialize;

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// The same with more of it, where a command has more.
    Wide,
    /// For programs.
    Json,
    /// The same as YAML.
    Yaml,
}

impl Output {
    /// Prints the result. Colours of the text reach terminals alone, and none where `NO_COLOR` is set (no-color.org).
    ///
    /// # Errors
    /// A value that cannot be written so, or a stdout that takes nothing.
    pub fn print<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        let written = self.write(value, text)?;
        anstream::stdout().write_all(written.as_bytes()).context("cannot write to stdout")
    }

    /// The result as text, ended by a line break.
    ///
    /// # Errors
    /// A value that cannot be written so.
    pub fn write<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<String> {
        Ok(match self {
            Self::Text | Self::Wide => text(value),
            Self::Json => format!("{}\n", serde_json::to_string_pretty(value)?),
            Self::Yaml => yaml_serde::to_string(value)?,
        })
    }
}
