//! A table as Markdown has it.

use std::fmt;

/// A table with a title and, below it, what it does not say by itself.
#[derive(Debug, Clone)]
pub struct Markdown {
    title: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Markdown {
    /// A table with these columns.
    pub fn new(title: impl Into<String>, head: &[&str]) -> Self {
        Self {
            title: title.into(),
            rows: vec![head.iter().map(ToString::to_string).collect()],
            notes: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a sentence below.
    pub fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }

    fn line(row: &[String]) -> String {
        format!("| {} |", row.join(" | "))
    }
}

impl fmt::Display for Markdown {
    /// Nothing where there are no rows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [head, rows @ ..] = self.rows.as_slice() else { return Ok(()) };
        if rows.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n### {}\n\n{}\n|{}", self.title, Self::line(head), "---|".repeat(head.len()))?;
        rows.iter().try_for_each(|row| writeln!(f, "{}", Self::line(row)))?;
        self.notes.iter().try_for_each(|note| writeln!(f, "\n{note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_without_rows_is_nothing() {
        let mut table = Markdown::new("t", &["a", "b"]);
        table.note("n");
        assert_eq!(table.to_string(), "");
        table.row(["1".to_owned(), "2".to_owned()]);
        assert_eq!(table.to_string(), "\n### t\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\nn\n");
    }
}
