//! Rows under a head, in columns as wide as they must be.

use std::fmt::Write;

use anstream::adapter::strip_str;

use crate::style::head;

/// Adds a table; cells may be coloured.
pub(crate) fn table<const N: usize>(
    text: &mut String,
    names: [&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let rows: Vec<[String; N]> = std::iter::once(names.map(head)).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| shown_width(&row[column])).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| padded(cell, width));
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}", cells.collect::<Vec<_>>().join("   ").trim_end());
    }
}

fn padded(cell: &str, width: usize) -> String {
    let missing = width.saturating_sub(shown_width(cell));
    format!("{cell}{}", " ".repeat(missing))
}

/// Without the escapes that colour it.
fn shown_width(cell: &str) -> usize {
    strip_str(cell).map(|part| part.chars().count()).sum()
}
