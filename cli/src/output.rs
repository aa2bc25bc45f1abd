//! How a result is printed.

use anyhow::Result;
use serde::Serialize;

/// The forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// The same as YAML.
    Yaml,
}

impl Output {
    /// The result as text, ended by a line break.
    ///
    /// # Errors
    /// A value that cannot be written so.
    pub fn write<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<String> {
        Ok(match self {
            Self::Text => text(value),
            Self::Json => format!("{}\n", serde_json::to_string_pretty(value)?),
            Self::Yaml => yaml_serde::to_string(value)?,
        })
    }
}
