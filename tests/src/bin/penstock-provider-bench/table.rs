//! What is printed.

use std::collections::BTreeMap;

/// Calls by action.
pub(crate) type Calls = BTreeMap<String, usize>;

/// How often each was made.
pub(crate) fn count(names: impl Iterator<Item = String>) -> Calls {
    let mut calls = Calls::new();
    names.for_each(|name| *calls.entry(name).or_default() += 1);
    calls
}

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

    /// The same without calls that only wait.
    pub(crate) fn besides(&mut self, what: &str, calls: &Calls, waiting: &[&str], goal: Option<usize>) {
        let waits = |name: &&String| waiting.contains(&name.as_str());
        let (waited, rest): (Calls, Calls) =
            calls.iter().map(|(name, count)| (name.clone(), *count)).partition(|(name, _)| waits(&name));
        self.calls(what, &rest, goal);
        let asked = waited.values().sum::<usize>();
        if let (true, Some([.., remark])) = (asked > 0, self.rows.last_mut()) {
            remark.push_str(&format!("; besides waiting ({asked})"));
        }
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

    #[test]
    fn waiting_is_told_and_not_counted() {
        let mut table = Table::new("");
        let calls = count(["POST a", "GET b", "GET b"].map(ToOwned::to_owned).into_iter());
        table.besides("c", &calls, &["GET b"], Some(1));
        assert_eq!(table.rows[0], ["c", "1", "≤ 1: met", "POST a 1; besides waiting (2)"]);
    }
}
