//! The tables.

use super::cell::{Cell, Plan};
use super::cold_start::ColdStart;
use super::connections::Connections;
use super::event_to_rule::rest;
use super::goal::{at_least, at_most, not_worse};
use super::markdown::Markdown;
use super::size::Size;
use super::subject::Subject;
use crate::bench::spread::Spread;
use crate::bench::table::number;

/// Everything that was measured.
#[derive(Debug, Default)]
pub struct Results {
    /// Connections without Services, on each ground.
    pub direct: Vec<Connections>,
    /// Each subject at each size.
    pub cells: Vec<Cell>,
}

const TEN: Size = Size::new(10_000, 5);
const TWENTY: Size = Size::new(20_000, 5);
const WIDE: Size = Size::new(5000, 50);

/// What is shorter, in milliseconds, says nothing: the kernel is asked every 0.1 ms.
const RESOLUTION: f64 = 0.2;

impl Results {
    /// All tables.
    pub fn tables(&self, plan: &Plan) -> Vec<Markdown> {
        vec![
            self.event_to_rule(),
            self.cold_start(),
            self.change_to_packet(plan),
            self.connections(plan),
            self.idle(plan),
        ]
    }

    fn find(&self, size: Size, subject: Subject) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.size == size && cell.subject == subject)
    }

    /// How many times a figure is that of ours at the same size.
    fn ratio(&self, cell: &Cell, figure: impl Fn(&Cell) -> Option<f64>) -> String {
        let ours = self.find(cell.size, Subject::Penstock).and_then(&figure);
        match figure(cell).zip(ours) {
            Some((figure, ours)) if ours > 0.0 && cell.subject != Subject::Penstock => {
                format!("{}×", number(figure / ours))
            }
            _ => String::new(),
        }
    }

    fn event_to_rule(&self) -> Markdown {
        let head = [
            "Services × endpoints",
            "",
            "n",
            "median, ms",
            "quartiles",
            "p99",
            "max",
            "median since the write was sent",
            "÷ ours (that median)",
            "median since the API server's answer",
            "commits for one change",
            "goal for p99",
        ];
        let mut table = Markdown::new("One endpoint removed or added, from event to rule", &head);
        for cell in &self.cells {
            let Some(changes) = &cell.changes else { continue };
            let times = &changes.from_event;
            let judged = cell.subject == Subject::Penstock && [TEN, TWENTY, WIDE].contains(&cell.size);
            table.row([
                cell.size.to_string(),
                cell.subject.to_string(),
                times.count().to_string(),
                number(times.median()),
                range(times.percentile(25), times.percentile(75)),
                number(times.percentile(99)),
                number(times.max()),
                number(changes.from_write.median()),
                self.ratio(cell, written_median),
                number(changes.from_answer.median()),
                format!("≤ {}", changes.commits),
                if judged { at_most(times.percentile(99), 5.0, "ms") } else { String::new() },
            ]);
        }
        if let Some(sentence) = self.flatness() {
            table.note(sentence);
        }
        if let Some(sentence) = self.iptables() {
            table.note(sentence);
        }
        table.note(format!(
            "Time begins when the harness's own watch, from the same namespace, has decoded the event, and ends with the \
             commit to nftables, asked for every 0.1 ms; it is negative where the subject was told first. \
             Ratios are of the times since the write was sent, which the API server's own are part of. The next change comes {} ms (kube-proxy: {} ms) after that, \
             so that kube-proxy's minSyncPeriod of 1 s, its default, delays none. Of kube-proxy the first commit counts \
             (iptables: the second, one for each table), of ours the last.",
            rest(Subject::Penstock).as_millis(),
            rest(Subject::KubeProxyNftables).as_millis(),
        ));
        table
    }

    /// Both in mode iptables.
    fn iptables(&self) -> Option<String> {
        let sizes = self.cells.iter().filter(|cell| cell.subject == Subject::PenstockIptables);
        let ratios = sizes.filter_map(|cell| {
            let peer = self.find(cell.size, Subject::KubeProxyIptables)?;
            let ratio = written_median(peer)? / written_median(cell)?;
            let goal = (cell.size == TEN).then(|| format!(", goal {}", at_least(ratio, 5.0)));
            Some(format!("{}× at {}{}", number(ratio), cell.size, goal.unwrap_or_default()))
        });
        let ratios: Vec<String> = ratios.collect();
        (!ratios.is_empty()).then(|| {
            format!(
                "kube-proxy ÷ ours, both in mode iptables, medians since the write was sent: {}.",
                ratios.join("; ")
            )
        })
    }

    /// What the largest costs beside the smallest.
    fn flatness(&self) -> Option<String> {
        let (small, large) = (Size::new(1000, 5), TWENTY);
        let find = |size| self.find(size, Subject::Penstock);
        let event = |size| Some(find(size)?.changes.as_ref()?.from_event.median());
        let judged = match (event(small)?, event(large)?) {
            (small, large) if small >= RESOLUTION => {
                format!("{}×, goal {}", number(large / small), at_most(large / small, 1.2, "×"))
            }
            _ => "not judged, 1,000 × 5 takes less than can be told apart".to_owned(),
        };
        let written = written_median(find(large)?)? / written_median(find(small)?)?;
        Some(format!(
            "Ours at 20,000 × 5 ÷ ours at 1,000 × 5, medians: {judged}; since the write was sent {}×.",
            number(written)
        ))
    }

    fn cold_start(&self) -> Markdown {
        let head = [
            "Services × endpoints",
            "",
            "n",
            "first answers of all, s: median",
            "min–max",
            "÷ ours",
            "last commit, s",
            "healthy at :10256, s",
            "its own processor time, s",
            "goal",
        ];
        let mut table = Markdown::new("Start on a node without rules", &head);
        for cell in self.cells.iter().filter(|cell| !cell.starts.is_empty()) {
            let answered = over(cell, |start| start.answered);
            let median = |figure: fn(&ColdStart) -> f64| number(over(cell, figure).median());
            table.row([
                cell.size.to_string(),
                cell.subject.to_string(),
                cell.starts.len().to_string(),
                number(answered.median()),
                range(answered.min(), answered.max()),
                self.ratio(cell, answered_median),
                median(|start| start.rest),
                median(|start| start.healthy),
                median(|start| start.cpu),
                self.start_goal(cell).unwrap_or_default(),
            ]);
        }
        table.note(
            "From the start of the process until twenty Services, spread over all and with the last one, have answered \
             through their ClusterIPs. Ours is judged by the later of that and its last commit; the ratio compares answers.",
        );
        table
    }

    fn start_goal(&self, cell: &Cell) -> Option<String> {
        let whole = over(cell, |start| start.answered.max(start.rest)).median();
        match (cell.subject, cell.size) {
            (Subject::Penstock, TEN) => Some(at_most(whole, 2.0, "s")),
            (Subject::Penstock, WIDE) => Some(at_most(whole, 6.0, "s")),
            (Subject::KubeProxyNftables, TWENTY) => {
                let ours = answered_median(self.find(TWENTY, Subject::Penstock)?)?;
                Some(at_least(answered_median(cell)? / ours, 10.0))
            }
            _ => None,
        }
    }

    fn change_to_packet(&self, plan: &Plan) -> Markdown {
        let head = [
            "Services × endpoints",
            "",
            "n",
            "median, ms",
            "quartiles",
            "p99",
            "max",
            "÷ ours (p99)",
            "not seen in 30 s",
            "goal for p99",
        ];
        let title = "From the API server's answer to the first packet, at 20 changes a second";
        let mut table = Markdown::new(title, &head);
        for cell in &self.cells {
            let Some(packets) = &cell.packets else { continue };
            let times = &packets.times;
            table.row([
                cell.size.to_string(),
                cell.subject.to_string(),
                times.count().to_string(),
                number(times.median()),
                range(times.percentile(25), times.percentile(75)),
                number(times.percentile(99)),
                number(times.max()),
                self.ratio(cell, |cell| Some(cell.packets.as_ref()?.times.percentile(99))),
                packets.unseen.to_string(),
                goal_of_ours(cell, || at_most(times.percentile(99), 250.0, "ms")),
            ]);
        }
        table.note(format!(
            "For {} s, over Services chosen at random; every fourth change moves the only endpoint of a Service, which is \
             then connected to until the new one answers.",
            plan.packets.as_secs()
        ));
        table
    }

    fn connections(&self, plan: &Plan) -> Markdown {
        let head = [
            "Services × endpoints",
            "",
            "connect, µs: median",
            "min–max",
            "p99",
            "Gbit/s of one stream",
            "min–max",
            "connections/s",
            "min–max",
            "goal: at least kube-proxy nftables (connect; Gbit/s; connections/s)",
        ];
        let mut table = Markdown::new("Connections through a ClusterIP", &head);
        for (number, direct) in self.direct.iter().enumerate() {
            table.row(connection_cells(
                format!("without Services ({})", number + 1),
                "no proxy",
                direct,
                String::new(),
            ));
        }
        for cell in &self.cells {
            let Some(connections) = &cell.connections else { continue };
            let goal =
                goal_of_ours(cell, || self.connection_goal(cell.size, connections).unwrap_or_default());
            table.row(connection_cells(cell.size.to_string(), &cell.subject.to_string(), connections, goal));
        }
        table.note(format!(
            "From one Pod to another on the same node, over Services spread over all; figures of {} runs. A stream and a \
             count of connections take {} s each. Four clients connect at the same time where connections are counted.",
            plan.effort.runs,
            plan.effort.span.as_secs()
        ));
        table
    }

    fn connection_goal(&self, size: Size, ours: &Connections) -> Option<String> {
        let other = self.find(size, Subject::KubeProxyNftables)?.connections.as_ref()?;
        Some(format!(
            "{}; {}; {}",
            not_worse(&ours.median, &other.median, false),
            not_worse(&ours.throughput, &other.throughput, true),
            not_worse(&ours.rate, &other.rate, true),
        ))
    }

    fn idle(&self, plan: &Plan) -> Markdown {
        let head = [
            "Services × endpoints",
            "",
            "resident, MiB",
            "÷ ours",
            "peak, MiB",
            "processor time, ms in a minute",
            "commits",
            "goal",
        ];
        let mut table = Markdown::new("Memory, and what is done while nothing happens", &head);
        for cell in &self.cells {
            let Some(idle) = &cell.idle else { continue };
            let peer = self.find(cell.size, Subject::KubeProxyNftables).and_then(|cell| cell.idle);
            let quarter =
                peer.map(|peer| at_most(idle.resident / peer.resident, 0.25, "of kube-proxy nftables"));
            let goal = || {
                format!("{}; commits {}", quarter.unwrap_or_default(), at_most(idle.commits as f64, 0.0, ""))
            };
            table.row([
                cell.size.to_string(),
                cell.subject.to_string(),
                number(idle.resident),
                self.ratio(cell, |cell| Some(cell.idle?.resident)),
                number(idle.peak),
                number(idle.cpu),
                idle.commits.to_string(),
                goal_of_ours(cell, goal),
            ]);
        }
        table.note(format!(
            "Over {} s, after all that was measured before at this size; memory at the end of it. Of the process itself, \
             without the programs that it runs.",
            plan.idle.as_secs()
        ));
        table
    }
}

fn goal_of_ours(cell: &Cell, goal: impl FnOnce() -> String) -> String {
    if cell.subject == Subject::Penstock { goal() } else { String::new() }
}

fn connection_cells(size: String, who: &str, all: &Connections, goal: String) -> [String; 10] {
    let spread = |spread: &Spread| range(spread.min(), spread.max());
    [
        size,
        who.to_owned(),
        number(all.median.median()),
        spread(&all.median),
        number(all.p99.median()),
        number(all.throughput.median()),
        spread(&all.throughput),
        number(all.rate.median()),
        spread(&all.rate),
        goal,
    ]
}

fn over(cell: &Cell, figure: impl Fn(&ColdStart) -> f64) -> Spread {
    cell.starts.iter().map(figure).collect()
}

fn answered_median(cell: &Cell) -> Option<f64> {
    let answered = over(cell, |start| start.answered).median();
    (!answered.is_nan()).then_some(answered)
}

/// With the API server's time, so that ratios are no larger than what a user sees.
fn written_median(cell: &Cell) -> Option<f64> {
    Some(cell.changes.as_ref()?.from_write.median())
}

fn range(from: f64, to: f64) -> String {
    format!("{}–{}", number(from), number(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(subject: Subject, size: Size, answered: f64, rest: f64) -> Cell {
        let start = ColdStart { answered, rest, healthy: f64::NAN, cpu: 0.1 };
        Cell {
            size,
            subject,
            starts: vec![start],
            changes: None,
            packets: None,
            connections: None,
            idle: None,
            failures: Vec::new(),
        }
    }

    #[test]
    fn starts_are_judged_by_the_whole_and_compared_by_answers() {
        let cells = vec![
            cell(Subject::Penstock, TEN, 1.5, 2.5),
            cell(Subject::Penstock, TWENTY, 2.0, 2.0),
            cell(Subject::KubeProxyNftables, TWENTY, 30.0, 90.0),
        ];
        let text = Results { direct: Vec::new(), cells }.cold_start().to_string();
        assert!(text.contains("≤ 2 s: **missed**"), "{text}");
        assert!(text.contains("| 15× |") || text.contains("| 15.0× |"), "{text}");
        assert!(text.contains("≥ 10×: met"), "{text}");
        // Not healthy meanwhile, and no peer at that size.
        assert!(text.contains("| - |"), "{text}");
    }
}
