//! What a gate remembers of the runs that passed, to compare the next one with.

use std::collections::BTreeMap;

use jiff::Timestamp;
use reports::{Severity, Totals};
use serde::{Deserialize, Serialize};

use super::Percent;

/// How many runs are kept for the chart.
pub const POINTS_MAX: usize = 60;

/// What a gate remembers, of one pipeline and stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The last run that passed, whole.
    pub last: Option<Run>,
    /// The one before.
    #[serde(default)]
    pub previous: Option<Run>,
    /// The runs that passed, the oldest first; [`POINTS_MAX`] at most.
    pub points: Vec<Point>,
}

/// A run that passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its numbers.
    pub point: Point,
    /// How many tests ran, by suite.
    pub suites: BTreeMap<String, u64>,
    /// The tests that failed and were let pass, by id, each with how many of its name.
    pub failing: BTreeMap<String, u64>,
    /// The findings that counted and were let pass, by key, with how bad and how many they were.
    pub findings: BTreeMap<String, (Severity, u64)>,
}

/// The numbers of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Names the run: the pipeline execution, or what else is unlike every other run's.
    pub run: String,
    /// When it was judged.
    pub at: Timestamp,
    /// The commit it was of, when that is known.
    pub commit: Option<String>,
    /// How many tests ended in which way.
    pub totals: Totals,
    /// How long the tests took, in seconds.
    pub duration_seconds: f64,
    /// The share of the lines covered.
    pub lines: Option<Percent>,
    /// The share of the branches covered.
    pub branches: Option<Percent>,
    /// Findings that counted, by how bad they are.
    pub findings: BTreeMap<Severity, u64>,
}

impl History {
    /// What is remembered after one more run that passed. The same run told twice changes nothing,
    /// and a run that was judged earlier than the last one does not take its place: two executions
    /// may pass at once, in any order.
    #[must_use]
    pub fn after(mut self, run: Run) -> Self {
        self.points.retain(|point| point.run != run.point.run);
        let place = self
            .points
            .partition_point(|point| point.at <= run.point.at);
        self.points.insert(place, run.point.clone());
        let over = self.points.len().saturating_sub(POINTS_MAX);
        self.points.drain(..over);
        let is_at_or_after = |known: Option<&Run>| {
            known.is_none_or(|known| {
                known.point.run == run.point.run || known.point.at <= run.point.at
            })
        };
        if is_at_or_after(self.last.as_ref()) {
            let name = run.point.run.clone();
            let before = self.last.replace(run);
            if before
                .as_ref()
                .is_some_and(|before| before.point.run != name)
            {
                self.previous = before;
            }
        } else if is_at_or_after(self.previous.as_ref()) {
            self.previous = Some(run);
        }
        self
    }

    /// The last run that passed before this one: a run that is judged again, because its job was
    /// delivered twice or its stage retried, is not compared with itself.
    pub fn before(&self, run: &str) -> Option<&Run> {
        let last = self.last.as_ref();
        match last.is_some_and(|last| last.point.run == run) {
            true => self.previous.as_ref(),
            false => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(name: &str, second: i64) -> Run {
        Run {
            point: Point {
                run: name.to_owned(),
                at: Timestamp::from_second(second).unwrap(),
                commit: None,
                totals: Totals::default(),
                duration_seconds: 0.0,
                lines: None,
                branches: None,
                findings: BTreeMap::new(),
            },
            suites: BTreeMap::new(),
            failing: BTreeMap::new(),
            findings: BTreeMap::new(),
        }
    }

    fn names(history: &History) -> Vec<&str> {
        let names = history.points.iter().map(|point| point.run.as_str());
        names.collect()
    }

    #[test]
    fn a_run_told_twice_is_remembered_once() {
        let once = History::default().after(run("a", 1)).after(run("b", 2));
        assert_eq!(once.clone().after(run("b", 2)), once);
        assert_eq!(names(&once), ["a", "b"]);
    }

    #[test]
    fn a_late_run_does_not_take_the_place_of_a_newer_one() {
        let history = History::default().after(run("b", 2)).after(run("a", 1));
        assert_eq!(history.last.as_ref().unwrap().point.run, "b");
        assert_eq!(names(&history), ["a", "b"]);
    }

    proptest! {
        #[test]
        fn the_order_in_which_runs_are_told_does_not_matter(
            seconds in prop::collection::btree_set(1..10_000i64, 1..2 * POINTS_MAX),
            seed in any::<u64>(),
        ) {
            let runs: Vec<_> = seconds.iter().map(|s| run(&s.to_string(), *s)).collect();
            let mut shuffled = runs.clone();
            let mut state = seed;
            for index in (1..shuffled.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                shuffled.swap(index, (state >> 33) as usize % (index + 1));
            }
            let fold = |runs: Vec<Run>| runs.into_iter().fold(History::default(), History::after);
            let (told, shuffled) = (fold(runs), fold(shuffled));
            prop_assert_eq!(told.last, shuffled.last);
            prop_assert_eq!(told.previous, shuffled.previous);
            prop_assert!(shuffled.points.len() <= POINTS_MAX);
            prop_assert_eq!(told.points, shuffled.points);
        }
    }
}
