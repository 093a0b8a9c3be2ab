//! What was promised beforehand, and whether it came true.

use super::cells::Cell;
use super::ladder::PLANNED_MINUTES;
use super::limit::Needed;
use super::tally::{Part, Tally};
use crate::sample::Sample;

/// The promise: a good version is rolled back with this probability at most, in per cent.
const PROMISED_PERCENT: f64 = 1.0;
/// What is hoped for, over all good cells, in per cent.
const HOPED_PERCENT: f64 = 0.3;
/// How many times the limit's requests may be needed.
const LIMIT_RATIO_MAX: f64 = 1.6;
/// The part of the planned time in which a good version is to be at 100 %.
const TIME_PART_MAX: f64 = 0.6;
/// From this traffic on.
const MUCH_TRAFFIC: f64 = 100.0;

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// What was to be.
    pub text: &'static str,
    /// What is.
    pub measured: String,
    /// Whether that is good enough.
    pub met: bool,
}

/// What one variant of Penstock did, and where.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The cells of good versions.
    pub good: &'a [Cell],
    /// What Penstock made of each.
    pub tallies: &'a [&'a Tally],
    /// What it needed at fixed weights, among others.
    pub needed: &'a [Needed],
    /// Which of those it is.
    pub which: usize,
}

impl Evidence<'_> {
    /// All goals.
    pub fn goals(&self) -> Vec<Goal> {
        vec![
            self.promised(),
            self.hoped(),
            self.near_the_limit(),
            self.in_time(),
        ]
    }

    fn promised(&self) -> Goal {
        let parts = self.tallies.iter().map(|tally| tally.rolled_back());
        let worst = parts.max_by(|a, b| a.percent().total_cmp(&b.percent()));
        let worst = worst.unwrap_or(Part { hits: 0, of: 0 });
        Goal {
            text: "good versions rolled back: at most 1 % in any cell",
            measured: with_interval(worst, "in the worst cell"),
            met: worst.percent() <= PROMISED_PERCENT,
        }
    }

    fn hoped(&self) -> Goal {
        let parts = self.tallies.iter().map(|tally| tally.rolled_back());
        let all = parts.reduce(Part::and).unwrap_or(Part { hits: 0, of: 0 });
        Goal {
            text: "good versions rolled back: at most 0.3 % of all",
            measured: with_interval(all, "of all"),
            met: all.percent() <= HOPED_PERCENT,
        }
    }

    fn near_the_limit(&self) -> Goal {
        let ratio = |needed: &Needed| needed.requests[self.which].mean / needed.limit;
        let ratios = || self.needed.iter().map(ratio);
        let worst = ratios().fold(0.0, f64::max);
        let best = ratios().fold(f64::INFINITY, f64::min);
        Goal {
            text: "x1.5 to x5 at weights up to 5 %: at most 1.6 times the limit's requests",
            measured: format!("{best:.2} to {worst:.2} times, by the mean"),
            met: worst <= LIMIT_RATIO_MAX,
        }
    }

    fn in_time(&self) -> Goal {
        let planned = f64::from(PLANNED_MINUTES);
        let cells = self.good.iter().zip(self.tallies);
        let busy = cells.filter(|(cell, _)| cell.scenario.requests_per_second >= MUCH_TRAFFIC);
        let median = |tally: &Tally| tally.minutes.as_ref().map_or(f64::INFINITY, Sample::median);
        let medians: Vec<_> = busy
            .map(|(cell, tally)| (cell.name.as_str(), median(tally)))
            .collect();
        let slow = medians.iter().filter(|(_, m)| *m > TIME_PART_MAX * planned);
        let slow: Vec<&str> = slow.map(|(name, _)| *name).collect();
        let of = format!("{} of {} cells", slow.len(), medians.len());
        let best = medians
            .iter()
            .map(|(_, m)| *m)
            .fold(f64::INFINITY, f64::min);
        let worst = medians.iter().map(|(_, m)| *m).fold(0.0, f64::max);
        let mut measured =
            format!("{best} to {worst} of {planned} minutes, by the median of a cell");
        if !slow.is_empty() {
            measured += &format!("; too slow in {of}: {}", slow.join("; "));
        }
        Goal {
            text: "a good version at 100 rps or more: at 100 % in at most 60 % of the planned time",
            measured,
            met: slow.is_empty(),
        }
    }
}

fn with_interval(part: Part, of: &str) -> String {
    let (low, high) = part.interval();
    format!(
        "{:.2} % {of} ({} of {}; 95 % interval {low:.2} to {high:.2})",
        part.percent(),
        part.hits,
        part.of
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::cells;
    use crate::judge::limit::Requests;
    use crate::judge::release::{Ending, Outcome};

    fn tally(rolled_back: u32, minutes: u32) -> Tally {
        let outcome = |release| Outcome {
            ending: match release < rolled_back {
                true => Ending::RolledBack,
                false => Ending::Promoted,
            },
            minutes,
            exposed: 0.0,
        };
        Tally::of(&(0..1000).map(outcome).collect::<Vec<_>>())
    }

    fn met(rolled_back: u32, minutes: u32, mean: f64) -> [bool; 4] {
        let good = &cells::good()[3..5]; // at 100 requests a second
        let (clean, this) = (tally(0, minutes), tally(rolled_back, minutes));
        let requests = Requests {
            mean,
            median: 0.0,
            missed: 0,
        };
        let evidence = Evidence {
            good,
            tallies: &[&clean, &this],
            needed: &[Needed {
                limit: 100.0,
                requests: [requests.clone(), requests.clone(), requests],
            }],
            which: 0,
        };
        let goals = evidence.goals();
        std::array::from_fn(|goal| goals[goal].met)
    }

    #[test]
    fn each_goal_is_met_up_to_its_line_and_missed_beyond() {
        assert_eq!(met(6, 18, 160.0), [true; 4]);
        assert_eq!(met(7, 18, 160.0), [true, false, true, true]);
        assert_eq!(met(11, 18, 160.0), [false, false, true, true]);
        assert_eq!(met(0, 18, 161.0), [true, true, false, true]);
        assert_eq!(met(0, 19, 160.0), [true, true, true, false]);
    }
}
