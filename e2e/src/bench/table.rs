//! Figures in columns.

use std::fmt;

use super::spread::Spread;

/// A table with a title and the command that makes it.
#[derive(Debug, Clone)]
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

/// A figure: what it is, its spread over the runs, what it is compared with, and what was aimed at.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured, with its unit.
    pub what: String,
    /// Over the runs.
    pub figure: Spread,
    /// The API server's own, in the same run.
    pub floor: Option<Spread>,
    /// The peer's, in the same run of this program.
    pub peer: Option<f64>,
    /// The largest figure that would be good enough.
    pub aim: Option<f64>,
}

impl Row {
    /// A figure that is compared with nothing.
    pub fn new(what: impl Into<String>, figure: Spread) -> Self {
        Self { what: what.into(), figure, floor: None, peer: None, aim: None }
    }

    fn cells(&self) -> Vec<String> {
        let median = self.figure.median();
        let floor = self.floor.as_ref().map(Spread::median);
        let mut cells = vec![self.what.clone()];
        cells.extend([self.figure.min(), median, self.figure.max()].map(number));
        cells.push(floor.map(number).unwrap_or_default());
        cells.push(floor.map(|floor| times(median, floor)).unwrap_or_default());
        cells.push(self.peer.map(number).unwrap_or_default());
        cells.push(self.peer.map(|peer| times(peer, median)).unwrap_or_default());
        cells.push(self.aim.map(|aim| verdict(median, aim)).unwrap_or_default());
        cells
    }
}

/// The median decides: a single run on a machine with other work says little.
fn verdict(median: f64, aim: f64) -> String {
    format!("≤ {} {}", number(aim), if median <= aim { "met" } else { "missed" })
}

fn times(a: f64, b: f64) -> String {
    if b > 0.0 { format!("{:.1}×", a / b) } else { String::new() }
}

/// Three digits, or as many as a whole number has.
pub(crate) fn number(value: f64) -> String {
    match value {
        v if v.is_nan() => "-".to_owned(),
        v if v.abs() >= 100.0 || v == v.trunc() => format!("{v:.0}"),
        v if v.abs() >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

impl Table {
    /// A table of figures.
    pub fn new(title: impl Into<String>, peer: &str) -> Self {
        let peer_is = if peer.is_empty() { "" } else { "peer ÷ ours" };
        let head = ["", "min", "median", "max", "floor", "ours ÷ floor", peer, peer_is, "aim"];
        Self { title: title.into(), rows: vec![head.map(str::to_owned).to_vec()] }
    }

    /// Adds a row.
    pub fn push(&mut self, row: &Row) {
        self.rows.push(row.cells());
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.first().map_or(0, Vec::len);
        let width = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |cell| cell.chars().count());
        (0..columns).map(|c| self.rows.iter().map(|row| width(row, c)).max().unwrap_or(0)).collect()
    }
}

impl fmt::Display for Table {
    /// Columns in which nothing stands are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}", self.title)?;
        let widths = self.widths();
        let used = |column: usize| self.rows.iter().skip(1).any(|row| !row[column].is_empty());
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate().filter(|(column, _)| used(*column));
            let text: String = cells
                .map(|(column, (cell, width))| match column {
                    0 => format!("  {cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                })
                .collect();
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_and_verdicts_follow_the_median() {
        let mut table = Table::new("t", "MetalLB");
        let figure = Spread::from_iter([1.0, 2.0, 9.0]);
        let floor = Some(Spread::from_iter([0.5]));
        table.push(&Row { floor, peer: Some(50.0), aim: Some(3.0), ..Row::new("s", figure.clone()) });
        let text = table.to_string();
        assert!(text.contains("4.0×") && text.contains("25.0×") && text.contains("≤ 3 met"), "{text}");
        let mut plain = Table::new("t", "");
        plain.push(&Row { aim: Some(1.5), ..Row::new("s", figure) });
        let text = plain.to_string();
        assert!(!text.contains("floor") && text.contains("≤ 1.50 missed"), "{text}");
    }
}
