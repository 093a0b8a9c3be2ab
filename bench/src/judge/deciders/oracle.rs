//! Wald's sequential probability ratio test, by somebody who knows what nobody can know: the true
//! rates of both versions, minute by minute. What it needs, nobody can do much better than.

use crate::judge::ladder::Climb;
use crate::judge::release::{Decider, Ending};
use crate::judge::world::{Arm, Harm, Minute, Rates, Scenario};

/// A good version is rolled back with this probability at most.
pub const ALPHA: f64 = 0.01;
/// A bad version ends a step early with this probability at most, as with Penstock.
const BETA: f64 = 0.05;
/// The same rule of a step's shortest time as Penstock has.
const EARLY_MINUTES_MIN: u32 = 2;
/// What a version is suspected of that does no harm.
const SUSPECTED: Harm = Harm::Times(2.0);

/// A release watched by the oracle.
#[derive(Debug, Clone)]
pub struct Oracle {
    scenario: Scenario,
    seed: u64,
    /// ln of how much likelier the counts so far are for a bad version than for a good one.
    log_ratio: f64,
    climb: Climb,
    minutes: u32,
}

impl Oracle {
    /// A release of this scenario and seed at its beginning. Of a version that does no harm the
    /// oracle asks whether it has twice the errors.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        let harm = match scenario.harm {
            Harm::None => SUSPECTED,
            Harm::Times(_) | Harm::Plus(_) | Harm::Outage | Harm::Slow | Harm::VerySlow => {
                scenario.harm
            }
        };
        Self {
            scenario: Scenario { harm, ..*scenario },
            seed,
            log_ratio: 0.0,
            climb: Climb::default(),
            minutes: 0,
        }
    }

    /// Takes in a minute; whether the version is bad, beyond the doubt that [`ALPHA`] allows.
    pub fn condemns(&mut self, minute: &Minute) -> bool {
        let bad = self.scenario.canary_rates(self.seed, minute.number);
        let good = self.scenario.stable_rates(self.seed, minute.number);
        self.log_ratio += log_ratio(&minute.canary, bad, good);
        self.log_ratio >= -ALPHA.ln()
    }
}

impl Decider for Oracle {
    fn weight(&self) -> f64 {
        self.climb.weight()
    }

    fn look(&mut self, minute: &Minute) -> Option<Ending> {
        self.minutes += 1;
        if self.condemns(minute) {
            return Some(Ending::RolledBack);
        }
        let early = self.log_ratio <= BETA.ln() && self.minutes >= EARLY_MINUTES_MIN;
        let planned = self.climb.step().map_or(0, |step| step.minutes);
        if early || self.minutes >= planned {
            self.minutes = 0;
            return self.climb.up().then_some(Ending::Promoted);
        }
        None
    }
}

/// ln of how much likelier an arm is under the rates `bad` than under `good`.
fn log_ratio(arm: &Arm, bad: Rates, good: Rates) -> f64 {
    let slower = |rates: Rates| (rates.over_p90, rates.over_p99 / rates.over_p90);
    let ((bad_p90, bad_p99), (good_p90, good_p99)) = (slower(bad), slower(good));
    binomial_log_ratio(arm.count, arm.errors, bad.errors, good.errors)
        + binomial_log_ratio(arm.count, arm.over_p90, bad_p90, good_p90)
        + binomial_log_ratio(arm.over_p90, arm.over_p99, bad_p99, good_p99)
}

/// ln of how much likelier `hits` of `count` are at the rate `p` than at the rate `q`.
fn binomial_log_ratio(count: u64, hits: u64, p: f64, q: f64) -> f64 {
    // What did not happen says nothing, even where it would be impossible.
    let part = |n: u64, ln: f64| if n == 0 { 0.0 } else { n as f64 * ln };
    part(hits, (p / q).ln()) + part(count - hits, (-p).ln_1p() - (-q).ln_1p())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::release::carry_out;

    #[test]
    fn a_likelihood_ratio_is_that_of_the_two_rates() {
        // 0.2^3 0.8^7 over 0.1^3 0.9^7
        let expected = 8.0 * (0.8_f64 / 0.9).powi(7);
        assert!((binomial_log_ratio(10, 3, 0.2, 0.1) - expected.ln()).abs() < 1e-12);
        assert_eq!(binomial_log_ratio(10, 3, 0.1, 0.1), 0.0);
    }

    #[test]
    fn what_is_certain_needs_no_logarithm_of_nothing() {
        assert_eq!(binomial_log_ratio(2, 2, 1.0, 0.1), 100_f64.ln());
        assert_eq!(binomial_log_ratio(2, 1, 1.0, 0.1), f64::NEG_INFINITY);
        assert_eq!(binomial_log_ratio(0, 0, 1.0, 0.1), 0.0);
    }

    #[test]
    fn the_oracle_sees_an_outage_at_once_and_clears_a_good_version_early() {
        let calm = Scenario::calm(100.0, 0.001);
        let outage = Scenario {
            harm: Harm::Outage,
            ..calm
        };
        let outcome = carry_out(&mut Oracle::new(&outage, 1), &outage, 1);
        assert_eq!((outcome.ending, outcome.minutes), (Ending::RolledBack, 1));
        let outcome = carry_out(&mut Oracle::new(&calm, 1), &calm, 1);
        assert_eq!(outcome.ending, Ending::Promoted);
        assert!(outcome.minutes < 20, "{outcome:?}");
    }
}
