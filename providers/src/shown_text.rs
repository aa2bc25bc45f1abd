//! What others say, as we may show it.

use std::fmt::Write;

/// The longest text of the others' that is shown, in characters. Conditions allow 32768 and events 1024 bytes.
const SHOWN: usize = 300;

/// A text of others' as it may stand in a condition, an event or a log line: one line without control
/// characters or what turns the direction of writing, and not too long.
pub(crate) fn shown(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.trim().chars() {
        // Quotes are harmless, and a message that is full of backslashes is hard to read.
        let done = if matches!(c, '"' | '\'') {
            escaped.write_char(c)
        } else {
            write!(escaped, "{}", c.escape_debug())
        };
        debug_assert!(done.is_ok(), "writing to a String");
    }
    bounded(&escaped)
}

/// The beginning of a text that is already safe to show.
pub(crate) fn bounded(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_is_one_short_line() {
        assert_eq!(shown(" it's \"full\"\n\u{1b}[31m\u{202e} ä "), "it's \"full\"\\n\\u{1b}[31m\\u{202e} ä");
        assert_eq!(shown(&"ä".repeat(100_000)).chars().count(), SHOWN + 1);
    }
}
