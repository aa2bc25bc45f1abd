//! Colours. They are always in the text; whoever prints it leaves them out where nobody sees them
//! ([`Output::print`](crate::output::Output::print)). Each says only what a word beside it says too.

use anstyle::{AnsiColor, Style};

/// All is as it should be.
pub(crate) fn good(text: &str) -> String {
    painted(AnsiColor::Green.on_default(), text)
}

/// Something to know.
pub(crate) fn doubtful(text: &str) -> String {
    painted(AnsiColor::Yellow.on_default(), text)
}

/// Something stands in the way.
pub(crate) fn bad(text: &str) -> String {
    painted(AnsiColor::Red.on_default().bold(), text)
}

/// The head of a table or part.
pub(crate) fn head(text: &str) -> String {
    painted(Style::new().bold(), text)
}

fn painted(style: Style, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{style}{text}{style:#}") }
}
