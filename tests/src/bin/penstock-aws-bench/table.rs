//! What is printed.

use std::collections::BTreeMap;

/// Calls by action.
pub(crate) type Calls = BTreeMap<String, usize>;

/// Figures with their goals.
pub(crate) struct Table {
    title: String,
    rows: Vec<[String; 4]>,
}

impl Table {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), rows: Vec::new() }
    }

    /// A figure that is good enough up to its goal.
    pub(crate) fn push(&mut self, what: &str, figure: f64, goal: Option<f64>, remark: String) {
        let judged = goal
            .map(|goal| format!("≤ {}: {}", number(goal), if figure <= goal { "met" } else { "NOT met" }));
        self.rows.push([what.to_owned(), number(figure), judged.unwrap_or_default(), remark]);
    }

    /// How many calls something took, and which.
    pub(crate) fn calls(&mut self, what: &str, calls: &Calls, goal: Option<usize>) {
        let each = calls.iter().map(|(action, count)| format!("{action} {count}"));
        let remark = each.collect::<Vec<_>>().join(", ");
        self.push(what, calls.values().sum::<usize>() as f64, goal.map(|goal| goal as f64), remark);
    }

    pub(crate) fn print(&self) {
        let width =
            |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        println!("\n{}", self.title);
        for [what, figure, goal, remark] in &self.rows {
            let (w, f, g) = (width(0), width(1), width(2));
            println!("{}", format!("  {what:<w$}  {figure:>f$}  {goal:<g$}  {remark}").trim_end());
        }
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_met_or_it_is_not() {
        let mut table = Table::new("");
        table.push("a", 6.0, Some(6.0), String::new());
        table.push("b", 1.25, Some(1.2), String::new());
        assert_eq!(table.rows[0][1..3], ["6", "≤ 6: met"]);
        assert_eq!(table.rows[1][1..3], ["1.25", "≤ 1.20: NOT met"]);
    }
}
