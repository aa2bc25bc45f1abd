//! The rows of which it is known that they do not hold, and why: `known.txt`. A row of it that holds is a failure, so
//! that the list stays true, unless it may hold by chance.

use anyhow::{Context, Result};

use crate::flows::program::{Mode, Program};

/// The list, as committed.
const LIST: &str = include_str!("known.txt");

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    program: String,
    mode: String,
    /// The row's name; `*` stands for any text.
    pattern: String,
    /// Whether it may hold by chance.
    pub sometimes: bool,
    /// Why it does not hold.
    pub reason: String,
}

impl Known {
    /// The committed list.
    ///
    /// # Errors
    /// At a line that cannot be read.
    pub fn list() -> Result<Vec<Self>> {
        parse(LIST)
    }

    /// Whether this line is about the row.
    pub fn is_about(&self, program: Program, mode: Mode, row: &str) -> bool {
        self.program == program.to_string() && self.mode == mode.to_string() && matches(&self.pattern, row)
    }
}

pub(crate) fn parse(text: &str) -> Result<Vec<Known>> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            parse_line(line).with_context(|| {
                format!("known.txt: {line:?} is not PROGRAM MODE [sometimes] | ROW | REASON")
            })
        })
        .collect()
}

fn parse_line(line: &str) -> Option<Known> {
    let [who, pattern, reason] = line.split(" | ").map(str::trim).collect::<Vec<_>>().try_into().ok()?;
    let (program, mode, sometimes) = match who.split(' ').collect::<Vec<_>>()[..] {
        [program, mode] => (program, mode, false),
        [program, mode, "sometimes"] => (program, mode, true),
        _ => return None,
    };
    let all = [program, mode, pattern, reason];
    all.iter().all(|part| !part.is_empty()).then(|| {
        let [program, mode, pattern, reason] = all.map(str::to_owned);
        Known { program, mode, pattern, sometimes, reason }
    })
}

/// Whether the text is like the pattern, in which `*` stands for any text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(begin) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flows::flow::numbered;
    use crate::flows::table::table;

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("hairpin: * -> ClusterIP, *", "hairpin: pod a1 -> ClusterIP, TCP IPv4"));
        assert!(matches("a*", "a") && matches("*", "") && matches("a", "a"));
        assert!(!matches("a*b", "a") && !matches("a", "ab") && !matches("b*", "ab"));
    }

    #[test]
    fn every_line_of_the_list_is_about_a_row() {
        let cases = numbered(table()).unwrap();
        let rows: Vec<String> = cases
            .iter()
            .flat_map(|numbered| numbered.case.rows(numbered.addresses))
            .map(|row| row.name)
            .collect();
        for known in Known::list().unwrap() {
            assert!(rows.iter().any(|row| matches(&known.pattern, row)), "{known:?} is about no row");
            assert!(["penstock-node", "kube-proxy"].contains(&known.program.as_str()), "{known:?}");
            assert!(["nftables", "iptables", "ipvs"].contains(&known.mode.as_str()), "{known:?}");
        }
    }

    #[test]
    fn a_line_without_a_reason_is_refused() {
        assert!(parse("penstock-node nftables | hairpin*\n").unwrap_err().to_string().contains("REASON"));
        parse("penstock-node nftables seldom | hairpin* | because\n").unwrap_err();
        assert_eq!(parse("# nothing\n\n").unwrap(), []);
        let known = parse("kube-proxy nftables | a* | because\n").unwrap().remove(0);
        assert!(known.is_about(Program::KubeProxy, Mode::Nftables, "abc"));
        assert!(!known.is_about(Program::PenstockNode, Mode::Nftables, "abc"));
    }
}
