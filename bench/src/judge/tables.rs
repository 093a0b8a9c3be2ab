//! The figures, laid out for a terminal.

use super::cells::Cell;
use super::deciders::Contender;
use super::goals::Goal;
use super::limit::{Case, Needed, Requests};
use super::tally::{Part, Tally};
use crate::sample::Sample;
use crate::table::lay_out;

/// What some contenders made of some cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Results<const N: usize> {
    /// The rows.
    pub cells: Vec<Cell>,
    /// The columns.
    pub contenders: [Contender; N],
    /// `tallies[cell][contender]`.
    pub tallies: Vec<Vec<Tally>>,
}

impl<const N: usize> Results<N> {
    /// A table of one text for each tally. `COLUMNS` is N + 1, or it does not compile.
    pub fn table<const COLUMNS: usize>(&self, text: impl Fn(&Tally) -> String) -> String {
        lay_out(1, &self.rows::<COLUMNS>(text))
    }

    /// The same with a last row for all cells together.
    pub fn table_with_sum<const COLUMNS: usize>(&self, text: impl Fn(Part) -> String) -> String {
        let mut rows = self.rows::<COLUMNS>(|tally| text(tally.rolled_back()));
        let sums = (0..N).map(|contender| {
            let parts = self.tallies.iter().map(|row| row[contender].rolled_back());
            parts.reduce(Part::and).unwrap_or(Part { hits: 0, of: 0 })
        });
        let sums: Vec<Part> = sums.collect();
        rows.push(row("all", sums.iter().map(|sum| text(*sum))));
        rows.push(row("95 % interval", sums.iter().map(|sum| interval(*sum))));
        lay_out(1, &rows)
    }

    fn rows<const COLUMNS: usize>(
        &self,
        text: impl Fn(&Tally) -> String,
    ) -> Vec<[String; COLUMNS]> {
        const { assert!(COLUMNS == N + 1, "the first column has the cells' names") };
        let names = self.contenders.iter().map(|c| c.name().to_owned());
        let mut rows = vec![row("", names)];
        for (cell, tallies) in self.cells.iter().zip(&self.tallies) {
            rows.push(row(&cell.name, tallies.iter().map(&text)));
        }
        rows
    }

    /// What one contender made of each cell.
    pub fn of(&self, contender: Contender) -> Vec<&Tally> {
        let column = self.contenders.iter().position(|c| *c == contender);
        let tallies = self.tallies.iter();
        tallies.filter_map(|row| row.get(column?)).collect()
    }

    /// What one contender made of the cell of this name.
    pub fn at(&self, contender: Contender, name: &str) -> Option<&Tally> {
        let cell = self.cells.iter().position(|cell| cell.name == name)?;
        self.of(contender).get(cell).copied()
    }
}

fn row<const COLUMNS: usize>(name: &str, cells: impl Iterator<Item = String>) -> [String; COLUMNS] {
    let mut cells = [name.to_owned()].into_iter().chain(cells);
    std::array::from_fn(|_| cells.next().unwrap_or_default())
}

/// A part in per cent: '0', '0.12', '97.3', '100'.
pub fn percent(part: Part) -> String {
    let percent = part.percent();
    match part.hits {
        0 => "0".to_owned(),
        hits if hits == part.of => "100".to_owned(),
        _ if percent < 1.0 => format!("{percent:.2}"),
        _ => format!("{percent:.1}"),
    }
}

/// The part that was given up for want of requests.
pub fn given_up(tally: &Tally) -> String {
    percent(Part {
        hits: tally.gave_up,
        of: tally.releases,
    })
}

/// The part that was rolled back.
pub fn rolled_back(tally: &Tally) -> String {
    percent(tally.rolled_back())
}

fn interval(part: Part) -> String {
    let (low, high) = part.interval();
    format!("{low:.2}-{high:.2}")
}

/// Requests to three digits at most, thousands apart: '59', '1 850', '227 000'.
pub fn requests(count: f64) -> String {
    let digits = count.max(1.0).log10().floor();
    let unit = 10_f64.powf((digits - 2.0).max(0.0));
    let mut text = format!("{:.0}", (count / unit).round() * unit);
    let mut at = text.len();
    while at > 3 {
        at -= 3;
        text.insert(at, ' ');
    }
    text
}

/// Requests that met a harmful canary, of the release in the middle.
pub fn exposed_median(tally: &Tally) -> String {
    let text = |sample: &Sample| requests(sample.median());
    tally.exposed.as_ref().map_or("-".to_owned(), text)
}

/// Requests that met a harmful canary, which nine of ten releases do not exceed.
pub fn exposed_p90(tally: &Tally) -> String {
    let text = |sample: &Sample| requests(sample.p90());
    tally.exposed.as_ref().map_or("-".to_owned(), text)
}

/// Median and p90 of minutes.
pub fn minutes(tally: &Tally) -> String {
    let text = |sample: &Sample| format!("{} / {}", sample.median(), sample.p90());
    tally.minutes.as_ref().map_or("-".to_owned(), text)
}

/// Promoted, rolled back and given up, in per cent.
pub fn endings(tally: &Tally) -> String {
    let part = |hits| {
        percent(Part {
            hits,
            of: tally.releases,
        })
    };
    format!(
        "{} / {} / {}",
        part(tally.promoted),
        part(tally.rolled_back),
        part(tally.gave_up)
    )
}

/// How many times the limit's requests were needed at fixed weights.
pub fn limit(cases: &[Case], needed: &[Needed]) -> String {
    let heading = [
        "",
        "limit",
        "Penstock",
        "median",
        "and slowness",
        "median",
        "oracle",
        "median",
    ];
    let mut rows = vec![heading.map(str::to_owned)];
    for (case, needed) in cases.iter().zip(needed) {
        let ratio = |requests: f64| format!("{:.2}", requests / needed.limit);
        let pair = |r: &Requests| [ratio(r.mean), ratio(r.median)];
        let ratios = needed.requests.iter().flat_map(pair);
        let cells = [requests(needed.limit)].into_iter().chain(ratios);
        rows.push(row(&case.name(), cells));
    }
    lay_out(1, &rows)
}

/// Each goal, what was measured, and whether it is met.
pub fn goals(goals: &[Goal]) -> String {
    let mut text = String::new();
    for goal in goals {
        let verdict = if goal.met { "met   " } else { "MISSED" };
        text += &format!("{verdict}  {}\n        {}\n", goal.text, goal.measured);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_never_rounded_to_nothing_or_to_everything_it_is_not() {
        let percent = |hits, of| percent(Part { hits, of });
        assert_eq!(percent(0, 4000), "0");
        assert_eq!(percent(1, 4000), "0.03"); // 0.025
        assert_eq!(percent(400, 4000), "10.0");
        assert_eq!(percent(4000, 4000), "100");
    }

    #[test]
    fn requests_have_three_digits_that_count() {
        let texts = [0.0, 59.4, 999.0, 1_849.0, 226_800.0, 2_268_000.0].map(requests);
        assert_eq!(texts, ["0", "59", "999", "1 850", "227 000", "2 270 000"]);
    }
}
