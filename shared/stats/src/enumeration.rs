//! Exact expectations over the outcomes of one small window, for the tests of the promise.

use proptest::prelude::*;

use crate::counts::{Counts, Window};

/// The requests of both arms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arms {
    pub(crate) canary: u64,
    pub(crate) baseline: u64,
}

impl Arms {
    /// Any pair of arms that is small enough to enumerate.
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        (1..=15_u64, 1..=25_u64).prop_map(|(canary, baseline)| Self { canary, baseline })
    }
}

/// The mean of `value` over every outcome of the window, each request being bad independently
/// with the probability of its arm.
pub(crate) fn expectation(
    arms: Arms,
    canary_rate: f64,
    baseline_rate: f64,
    value: impl Fn(&Window) -> f64,
) -> f64 {
    let canary_outcomes = binomial(arms.canary, canary_rate);
    let baseline_outcomes = binomial(arms.baseline, baseline_rate);
    let mut mean = 0.0;
    for (canary_bad, p) in (0..).zip(&canary_outcomes) {
        for (baseline_bad, q) in (0..).zip(&baseline_outcomes) {
            mean += p
                * q
                * value(&Window {
                    canary: Counts {
                        count: arms.canary,
                        bad: canary_bad,
                    },
                    baseline: Counts {
                        count: arms.baseline,
                        bad: baseline_bad,
                    },
                });
        }
    }
    mean
}

/// P(0), P(1), .. P(n) bad requests: one request after the other.
fn binomial(n: u64, rate: f64) -> Vec<f64> {
    let mut chances = vec![1.0];
    chances.extend((0..n).map(|_| 0.0));
    for _ in 0..n {
        for bad in (1..chances.len()).rev() {
            chances[bad] = chances[bad] * (1.0 - rate) + chances[bad - 1] * rate;
        }
        chances[0] *= 1.0 - rate;
    }
    chances
}
