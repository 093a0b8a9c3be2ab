//! Penstock: the judge of the crate `stats`, and what `release::decide` makes of its verdicts.

use stats::{Counts, Judge, JudgeConfig, Verdict};

use crate::judge::ladder::Climb;
use crate::judge::release::{Decider, Ending};
use crate::judge::world::{Arm, Minute};

/// As in `release::decide`: the fewest minutes in a step before an early promotion may end it.
const EARLY_MINUTES_MIN: u32 = 2;
/// As in `release::decide`: minutes that a suspicious judge may add to a step.
const EXTRA_MINUTES_MAX: u32 = 15;
/// The default of `patience`: how much longer than planned a step may wait for requests.
const PATIENCE_MINUTES: u32 = 10;

/// The evidence from which on the weight is not raised: the default of `hold` in penstock.yaml.
const HOLD: f64 = 5.0;

/// What happens when a step's minutes had too few requests to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inconclusive {
    /// Look on, up to [`PATIENCE_MINUTES`] longer, then go back: the default of penstock.yaml.
    Wait,
    /// Take the next step.
    GoOn,
}

/// A release judged by Penstock.
#[derive(Debug, Clone)]
pub struct Penstock {
    config: JudgeConfig,
    inconclusive: Inconclusive,
    judge: Judge,
    climb: Climb,
    /// Minutes since the step began, and those of them in which both arms had requests.
    minutes: u32,
    compared: u32,
}

/// What becomes of the current step.
enum StepVerdict {
    Done,
    Wait,
}

/// How many times the stable version's slow requests are no harm: the default of slowness.
const SLOWNESS_TOLERATED: f64 = 1.25;

/// The judge as canary-shift runs it by default: on errors.
pub fn by_default() -> JudgeConfig {
    JudgeConfig {
        weights: [("errors".to_owned(), 1.0)].into(),
        required: ["errors".to_owned()].into(),
        hold: HOLD,
        ..JudgeConfig::default()
    }
}

/// The judge of errors, and of requests slower than the stable version's p90 and p99, which count
/// as evidence of harm only: `metrics: {errors: {}, slow:p90: {}, slow:p99: {}}`.
pub fn with_slowness() -> JudgeConfig {
    let slowness = ["slow:p90", "slow:p99"].map(str::to_owned);
    JudgeConfig {
        r0_of: slowness.map(|name| (name, SLOWNESS_TOLERATED)).into(),
        weights: [("errors", 0.8), ("slow:p90", 0.1), ("slow:p99", 0.1)]
            .map(|(name, share)| (name.to_owned(), share))
            .into(),
        ..by_default()
    }
}

/// The judge for errors that come in clusters of a size that is known: `cluster-size: 10`.
pub fn clusters_of(size: u32) -> JudgeConfig {
    JudgeConfig {
        eta: [("errors".to_owned(), f64::from(size).recip())].into(),
        ..by_default()
    }
}

/// The judge for errors that come in clusters of a size that nobody knows: `cluster-size: unknown`.
pub fn robust() -> JudgeConfig {
    JudgeConfig {
        robust: ["errors".to_owned()].into(),
        ..by_default()
    }
}

impl Penstock {
    /// A release at its beginning. `config` is valid.
    pub fn new(config: JudgeConfig, inconclusive: Inconclusive) -> Self {
        Self {
            judge: Judge::new(&config),
            config,
            inconclusive,
            climb: Climb::default(),
            minutes: 0,
            compared: 0,
        }
    }

    fn judge_step(&self, planned: u32, verdict: Verdict) -> StepVerdict {
        let held_at_most = planned + EXTRA_MINUTES_MAX;
        match verdict {
            Verdict::Promote if self.compared >= EARLY_MINUTES_MIN => StepVerdict::Done,
            _ if self.compared < planned => StepVerdict::Wait,
            Verdict::Hold if self.compared < held_at_most => StepVerdict::Wait,
            Verdict::Inconclusive => match self.inconclusive {
                Inconclusive::Wait => StepVerdict::Wait,
                Inconclusive::GoOn => StepVerdict::Done,
            },
            Verdict::Hold | Verdict::Continue | Verdict::Promote | Verdict::Rollback => {
                StepVerdict::Done
            }
        }
    }

    /// Whether the step has lasted longer than its minutes, the judge's extra ones and the
    /// patience allow, with one to spare as in production.
    fn overdue(&self, planned: u32) -> bool {
        let extra = self.compared.saturating_sub(planned).min(EXTRA_MINUTES_MAX);
        self.minutes > planned + extra + 1 + PATIENCE_MINUTES
    }
}

/// The counts by metric, as the judge takes them: (metric, canary, baseline).
pub fn metrics(minute: &Minute) -> [(&'static str, Counts, Counts); 3] {
    let metric = |name, bad: fn(&Arm) -> u64| {
        let counts = |arm: &Arm| Counts {
            count: arm.count,
            bad: bad(arm),
        };
        (name, counts(&minute.canary), counts(&minute.baseline))
    };
    [
        metric("errors", |arm| arm.errors),
        metric("slow:p90", |arm| arm.over_p90),
        metric("slow:p99", |arm| arm.over_p99),
    ]
}

/// Lets a judge see a minute, in the metrics that it knows.
pub fn observe(judge: &mut Judge, config: &JudgeConfig, minute: &Minute) -> Verdict {
    let known = metrics(minute)
        .into_iter()
        .filter(|(name, ..)| config.weights.contains_key(*name));
    judge
        .observe_window(config, known)
        .expect("a world's counts are counts, and the metrics are the configuration's");
    judge.verdict(config)
}

impl Decider for Penstock {
    fn weight(&self) -> f64 {
        self.climb.weight()
    }

    fn look(&mut self, minute: &Minute) -> Option<Ending> {
        let verdict = observe(&mut self.judge, &self.config, minute);
        self.minutes += 1;
        if minute.canary.count > 0 && minute.baseline.count > 0 {
            self.compared += 1;
        }
        if verdict == Verdict::Rollback {
            return Some(Ending::RolledBack);
        }
        let planned = self.climb.step().map_or(0, |step| step.minutes);
        match self.judge_step(planned, verdict) {
            StepVerdict::Done => {
                (self.minutes, self.compared) = (0, 0);
                self.climb.up().then_some(Ending::Promoted)
            }
            StepVerdict::Wait => self.overdue(planned).then_some(Ending::GaveUp),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::ladder::PLANNED_MINUTES;
    use crate::judge::release::carry_out;
    use crate::judge::world::{Harm, Scenario};

    fn new(config: JudgeConfig) -> Penstock {
        Penstock::new(config, Inconclusive::Wait)
    }

    #[test]
    fn every_variant_is_a_valid_configuration() {
        for config in [by_default(), with_slowness(), clusters_of(10), robust()] {
            assert_eq!(config.validate(), Ok(()));
        }
    }

    #[test]
    fn a_good_release_of_much_traffic_ends_its_steps_early() {
        let outcome = carry_out(&mut new(by_default()), &Scenario::calm(1000.0, 0.001), 1);
        assert_eq!(outcome.ending, Ending::Promoted);
        // Three minutes for the first step, two for each other one.
        assert!(
            (9..PLANNED_MINUTES).contains(&outcome.minutes),
            "{outcome:?}"
        );
    }

    #[test]
    fn robust_mode_takes_the_planned_time() {
        let outcome = carry_out(&mut new(robust()), &Scenario::calm(1000.0, 0.001), 1);
        assert_eq!(
            (outcome.ending, outcome.minutes),
            (Ending::Promoted, PLANNED_MINUTES)
        );
    }

    #[test]
    fn an_outage_of_the_canary_lasts_a_minute() {
        let outage = Scenario {
            harm: Harm::Outage,
            ..Scenario::calm(100.0, 0.001)
        };
        let outcome = carry_out(&mut new(by_default()), &outage, 1);
        assert_eq!((outcome.ending, outcome.minutes), (Ending::RolledBack, 1));
    }

    #[test]
    fn without_requests_a_release_is_given_up_after_its_patience() {
        let silent = Scenario::calm(0.0, 0.001);
        let outcome = carry_out(&mut new(by_default()), &silent, 1);
        assert_eq!(
            (outcome.ending, outcome.minutes),
            (Ending::GaveUp, 5 + 1 + 10 + 1)
        );
    }

    #[test]
    fn going_on_is_not_waiting_for_requests() {
        let few = Scenario::calm(1.0, 0.001);
        let outcome = carry_out(&mut new(by_default()), &few, 1);
        assert_eq!(outcome.ending, Ending::GaveUp);
        let mut going_on = Penstock::new(by_default(), Inconclusive::GoOn);
        assert_eq!(carry_out(&mut going_on, &few, 1).ending, Ending::Promoted);
    }
}
