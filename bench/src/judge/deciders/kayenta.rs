//! Kayenta's NetflixACAJudge: a Mann-Whitney test for each metric on the points of all minutes so
//! far, and a score, every five minutes.

use super::mann_whitney::shift;
use crate::judge::ladder::Timed;
use crate::judge::release::{Decider, Ending};
use crate::judge::world::{Arm, Minute};

/// Minutes between two looks: the shortest that its guide speaks of.
const MINUTES_BETWEEN_LOOKS: u32 = 5;
/// Scores below fail: `marginal` in its examples.
const SCORE_MIN: f64 = 75.0;
/// A canary fails when at least this part of its metrics has no data.
const WITHOUT_DATA_MAX: f64 = 0.5;
/// The shift must exceed this part of its own estimate.
const TOLERANCE: f64 = 0.25;
/// The canary's mean must be at least so many times the baseline's.
const MEANS_RATIO_MIN: f64 = 1.0;
/// The part of failed requests, of those over p90, and of those over p99.
const METRICS: usize = 3;

/// What one metric is classified as, with the direction 'increase'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Not clearly above the baseline.
    Pass,
    /// Clearly above the baseline.
    High,
    /// An arm has no points.
    NoData,
}

/// The points of one metric: a rate for each minute with requests.
#[derive(Debug, Clone, Default)]
pub struct Points {
    canary: Vec<f64>,
    baseline: Vec<f64>,
}

/// A canary analysed by Kayenta. All stable requests are its baseline.
#[derive(Debug, Clone, Default)]
pub struct Kayenta {
    metrics: [Points; METRICS],
    timed: Timed,
}

impl Points {
    /// Another point of each arm that has one.
    fn push(&mut self, canary: Option<f64>, baseline: Option<f64>) {
        self.canary.extend(canary);
        self.baseline.extend(baseline);
    }

    /// What the points say.
    pub fn classify(&self) -> Class {
        let Self { canary, baseline } = self;
        if canary.is_empty() || baseline.is_empty() {
            return Class::NoData;
        }
        if same(canary, baseline) {
            return Class::Pass;
        }
        let shift = shift(canary, baseline);
        let mean = |points: &[f64]| points.iter().sum::<f64>() / points.len() as f64;
        let ratio = mean(canary) / mean(baseline); // not a number when both are 0: does not count
        let is_large = ratio.is_nan() || ratio >= MEANS_RATIO_MIN;
        match shift.lower > TOLERANCE * shift.estimate.abs() && is_large {
            true => Class::High,
            false => Class::Pass,
        }
    }
}

/// Whether both arms have the same points in any order, or all points are one number.
fn same(canary: &[f64], baseline: &[f64]) -> bool {
    let sorted = |points: &[f64]| {
        let mut points = points.to_vec();
        points.sort_unstable_by(f64::total_cmp);
        points
    };
    let mut all = canary.iter().chain(baseline);
    let first = all.next();
    sorted(canary) == sorted(baseline) || all.all(|point| Some(point) == first)
}

/// How the metrics' classes end a canary; `None` if it passes.
fn score(classes: &[Class]) -> Option<Ending> {
    let count = |class| classes.iter().filter(|c| **c == class).count() as f64;
    if count(Class::NoData) / classes.len() as f64 >= WITHOUT_DATA_MAX {
        return Some(Ending::GaveUp);
    }
    let passed = count(Class::Pass);
    let score = 100.0 * passed / (passed + count(Class::High));
    (score < SCORE_MIN).then_some(Ending::RolledBack)
}

impl Kayenta {
    /// One more minute.
    pub fn record(&mut self, minute: &Minute) {
        let parts: [fn(&Arm) -> u64; METRICS] =
            [|arm| arm.errors, |arm| arm.over_p90, |arm| arm.over_p99];
        for (points, part) in self.metrics.iter_mut().zip(parts) {
            let rate = |arm: &Arm| (arm.count > 0).then(|| part(arm) as f64 / arm.count as f64);
            points.push(rate(&minute.canary), rate(&minute.baseline));
        }
    }

    /// What it makes of the minutes so far.
    pub fn judge(&self) -> Option<Ending> {
        score(&self.metrics.each_ref().map(Points::classify))
    }
}

impl Decider for Kayenta {
    fn weight(&self) -> f64 {
        self.timed.weight()
    }

    fn look(&mut self, minute: &Minute) -> Option<Ending> {
        self.record(minute);
        if minute.number.is_multiple_of(MINUTES_BETWEEN_LOOKS)
            && let Some(ending) = self.judge()
        {
            return Some(ending);
        }
        self.timed.pass().then_some(Ending::Promoted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::deciders::script::{arm, endings};
    use crate::judge::release::carry_out;
    use crate::judge::world::{Harm, Scenario};

    fn points(canary: &[f64], baseline: &[f64]) -> Points {
        Points {
            canary: canary.to_vec(),
            baseline: baseline.to_vec(),
        }
    }

    #[test]
    fn a_shift_beyond_a_quarter_of_its_estimate_is_high() {
        // The lower ends are 0.4 and -0.02, the estimates 0.9 and 0: see the test of the shift.
        let canary = [1.9, 2.4, 2.2, 3.1, 2.7, 2.0, 2.9, 2.4];
        let baseline = [1.1, 1.6, 1.2, 1.8, 1.3, 1.1, 2.1, 1.5, 1.7];
        assert_eq!(points(&canary, &baseline).classify(), Class::High);
        assert_eq!(points(&baseline, &canary).classify(), Class::Pass);
        // Separated by 0.5, which is an eighth of the estimate 4.
        let (canary, baseline) = ([5.0, 6.0, 7.0, 8.0, 9.0], [1.0, 2.0, 3.0, 4.0, 4.5]);
        assert_eq!(points(&canary, &baseline).classify(), Class::Pass);
    }

    #[test]
    fn an_arm_without_points_has_no_data() {
        assert_eq!(points(&[], &[0.1]).classify(), Class::NoData);
        assert_eq!(points(&[0.1], &[]).classify(), Class::NoData);
    }

    #[test]
    fn equal_points_pass() {
        assert_eq!(points(&[0.1, 0.2], &[0.2, 0.1]).classify(), Class::Pass);
        assert_eq!(points(&[0.0; 5], &[0.0; 4]).classify(), Class::Pass);
    }

    #[test]
    fn five_points_of_an_outage_are_high() {
        assert_eq!(points(&[1.0; 5], &[0.0; 5]).classify(), Class::High);
    }

    #[test]
    fn one_high_metric_of_three_fails_and_half_without_data_fail() {
        use Class::{High, NoData, Pass};
        assert_eq!(score(&[Pass, Pass, Pass]), None);
        assert_eq!(score(&[Pass, High, Pass]), Some(Ending::RolledBack)); // 66.7 of 100
        assert_eq!(score(&[Pass, NoData, Pass]), None);
        assert_eq!(score(&[NoData, NoData, Pass]), Some(Ending::GaveUp));
    }

    #[test]
    fn it_looks_every_five_minutes_only() {
        let outage = Scenario {
            harm: Harm::Outage,
            ..Scenario::calm(100.0, 0.001)
        };
        let outcome = carry_out(&mut Kayenta::default(), &outage, 1);
        assert_eq!((outcome.ending, outcome.minutes), (Ending::RolledBack, 5));
        let seen = endings(&mut Kayenta::default(), &[arm(0, 0); 5]);
        assert_eq!(seen, [None, None, None, None, Some(Ending::GaveUp)]);
    }
}
