//! How many requests anybody needs to tell a bad version from a good one, and how many are taken.
//!
//! A test that rolls back a good version with probability alpha at most needs, on average,
//! ln(1/alpha) / KL requests of the bad one, where KL is the relative entropy of the bad error
//! rate to the good one (Wald 1945): no test can be quicker, even if it knows both rates.

use stats::{Judge, JudgeConfig, Verdict};

use super::deciders::oracle::{ALPHA, Oracle};
use super::deciders::penstock::{by_default, observe, with_slowness};
use super::tournament::{Plan, on_all_cores, seeds};
use super::world::{Harm, Minute, Scenario};
use crate::sample::Sample;

/// The limit is reached after so many minutes, so that whole minutes cost little.
const MINUTES_TO_LIMIT: f64 = 20.0;
/// So long is looked, which is fifty times the limit.
const MINUTES_MAX: u32 = 1_000;

/// A canary that keeps its weight until it is rolled back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Case {
    /// The canary's part of the requests.
    pub weight: f64,
    /// The stable version's error rate.
    pub base: f64,
    /// How many times as frequent the canary's errors are.
    pub times: f64,
}

/// Requests until the rollback, of each release.
#[derive(Debug, Clone, PartialEq)]
pub struct Needed {
    /// The limit.
    pub limit: f64,
    /// By Penstock, by Penstock on errors and slowness, and by the oracle.
    pub requests: [Requests; 3],
}

/// Requests that a bad canary served until it was rolled back, over many releases.
#[derive(Debug, Clone, PartialEq)]
pub struct Requests {
    /// The mean.
    pub mean: f64,
    /// Half of the releases needed no more.
    pub median: f64,
    /// Releases that were not rolled back in fifty times the limit's time; they count as that.
    pub missed: u32,
}

/// Weights up to 5 % and effects from x1.5 to x5.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for weight in [0.01, 0.05] {
        for base in [0.001, 0.01] {
            for times in [1.5, 2.0, 5.0] {
                cases.push(Case {
                    weight,
                    base,
                    times,
                });
            }
        }
    }
    cases
}

impl Case {
    /// The requests that the limit asks for.
    pub fn limit(&self) -> f64 {
        let (p, q) = (self.times * self.base, self.base);
        let entropy = p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln();
        -ALPHA.ln() / entropy
    }

    /// For a table.
    pub fn name(&self) -> String {
        format!(
            "x{} at {} %, weight {} %",
            self.times,
            100.0 * self.base,
            100.0 * self.weight
        )
    }

    fn scenario(&self) -> Scenario {
        let canary_per_second = self.limit() / (60.0 * MINUTES_TO_LIMIT);
        Scenario {
            harm: Harm::Times(self.times),
            ..Scenario::calm(canary_per_second / self.weight, self.base)
        }
    }

    /// The canary's requests until `condemns`; `Err` with those seen if it never does.
    fn until(&self, seed: u64, mut condemns: impl FnMut(&Minute) -> bool) -> Result<f64, f64> {
        let scenario = self.scenario();
        let mut requests = 0.0;
        for number in 1..=MINUTES_MAX {
            let minute = scenario.minute(seed, number, self.weight);
            requests += minute.canary.count as f64;
            if condemns(&minute) {
                return Ok(requests);
            }
        }
        Err(requests)
    }

    fn by_judge(&self, seed: u64, config: &JudgeConfig) -> Result<f64, f64> {
        let mut judge = Judge::new(config);
        self.until(seed, |minute| {
            observe(&mut judge, config, minute) == Verdict::Rollback
        })
    }

    fn by_oracle(&self, seed: u64) -> Result<f64, f64> {
        let mut oracle = Oracle::new(&self.scenario(), seed);
        self.until(seed, |minute| oracle.condemns(minute))
    }

    fn needed(&self, plan: Plan) -> Needed {
        let (default, slowness) = (by_default(), with_slowness());
        let over =
            |by: &dyn Fn(u64) -> Result<f64, f64>| Requests::of(seeds(plan, &self.name()).map(by));
        Needed {
            limit: self.limit(),
            requests: [
                over(&|seed| self.by_judge(seed, &default)),
                over(&|seed| self.by_judge(seed, &slowness)),
                over(&|seed| self.by_oracle(seed)),
            ],
        }
    }
}

impl Requests {
    fn of(releases: impl Iterator<Item = Result<f64, f64>>) -> Self {
        let mut missed = 0;
        let requests: Vec<f64> = releases
            .map(|requests| {
                missed += u32::from(requests.is_err());
                requests.unwrap_or_else(|seen| seen)
            })
            .collect();
        let mean = requests.iter().sum::<f64>() / requests.len() as f64;
        Self {
            mean,
            median: Sample::new(requests).map_or(mean, |sample| sample.median()),
            missed,
        }
    }
}

/// Each case, over so many releases.
pub fn measure(plan: Plan, cases: &[Case]) -> Vec<Needed> {
    on_all_cores(cases.len(), |case| cases[case].needed(plan))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASE: Case = Case {
        weight: 0.05,
        base: 0.001,
        times: 5.0,
    };

    #[test]
    fn the_limit_is_that_of_the_relative_entropy() {
        // ln 100 / (0.005 ln 5 + 0.995 ln(0.995 / 0.999)) = 4.60517 / 0.0040552
        assert!((CASE.limit() - 1135.6).abs() < 0.1, "{}", CASE.limit());
    }

    #[test]
    fn nobody_beats_the_limit_by_much_and_the_oracle_comes_close() {
        let plan = Plan {
            seed: 1,
            releases: 400,
        };
        let needed = CASE.needed(plan);
        let [default, slowness, oracle] =
            needed.requests.map(|requests| requests.mean / needed.limit);
        // Wald's bound is on the mean; a tenth is the noise of 400 releases and of whole minutes.
        assert!((0.9..1.4).contains(&oracle), "{oracle}");
        assert!(
            default > oracle && slowness > default,
            "{default} {slowness} {oracle}"
        );
    }
}
