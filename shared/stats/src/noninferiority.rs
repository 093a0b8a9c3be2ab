//! Is the canary clearly good enough? The question behind an early promotion.
//!
//! H0, to be refuted: in every window the canary's bad rate is at least `ratio` times the
//! baseline's plus `add`. Half of the fortune bets against the ratio alone and needs no guess of
//! the rates; the other half guesses them from earlier windows and so makes use of `add`.

use serde::{Deserialize, Serialize};

use crate::counts::{Counts, Window};
use crate::logspace::log_add;
use crate::regression;

/// How much worse a canary may be and still count as good enough:
/// `canary rate < ratio * baseline rate + add`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Margin {
    /// R, at least 1.
    pub(crate) ratio: f64,
    /// d, in bad requests a request, at least 0.
    pub(crate) add: f64,
}

/// Evidence that the canary is within the margin, in log space.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct NonInferiority {
    /// ln E_1: from the arms on which bad requests fell.
    by_split: f64,
    /// ln E_2: from the rates.
    by_rates: f64,
}

impl NonInferiority {
    /// One window. `earlier` counts the baseline in the windows before this one: a bet must not
    /// know its own outcome. `eta` (0 to 1) weakens the bet, for clustered errors.
    pub(crate) fn bet(&mut self, window: &Window, earlier: Counts, margin: Margin, eta: f64) {
        // The mirror image of a regression: an expert who believes in a risk of 1, where the edge
        // of H0 is at R, takes a relative risk of 1/R.
        self.by_split += eta * regression::log_growth(window, margin.ratio, margin.ratio.recip());
        if earlier.count > 0 {
            self.by_rates += eta * log_growth_by_rates(window, earlier.smoothed_rate(), margin);
        }
    }

    /// ln E_NI, the mean of both halves.
    pub(crate) fn log_e(&self) -> f64 {
        log_add(self.by_split, self.by_rates) - std::f64::consts::LN_2
    }
}

/// The likelihood ratio of 'both arms have the rate `guess`' against the pair of rates at the
/// edge of H0 that explains such arms best.
///
/// `x_c ln(a/c) - n_c (a - c) + x_b ln(a/q) - n_b (a - q)`, with a for the guess and (c, q) for the
/// pair. With one arm much larger than the other its edge rate is nearly the guess, and a
/// difference of the two has no digits left to be multiplied by a trillion requests. So only the
/// distance of the smaller arm, which is the larger distance, comes from a difference.
fn log_growth_by_rates(window: &Window, guess: f64, margin: Margin) -> f64 {
    let baseline_edge = edge_rate(window, guess, margin);
    let canary_edge = margin.ratio * baseline_edge + margin.add;
    // 1 - a/c and a/q - 1: that the second is `balance` times the first is the condition that
    // `edge_rate` solves.
    let balance = margin.ratio * window.canary.count as f64 / window.baseline.count as f64;
    let (above, below) = if balance <= 1.0 {
        let above = (canary_edge - guess) / canary_edge;
        (above, balance * above)
    } else {
        let below = (guess - baseline_edge) / baseline_edge;
        (below / balance, below)
    };
    let log_canary_ratio = if above < 0.5 {
        (-above).ln_1p()
    } else {
        (guess / canary_edge).ln()
    };
    window.canary.bad as f64 * log_canary_ratio
        + window.canary.count as f64 * canary_edge * above
        + window.baseline.bad as f64 * below.ln_1p()
        - window.baseline.count as f64 * baseline_edge * below
}

/// The baseline rate q of the pair (R q + d, q) that is nearest to (guess, guess) in relative
/// entropy: the positive root of
/// `R (n_b + R n_c) q^2 + [(n_b + R n_c) d - guess R (n_b + n_c)] q - guess n_b d = 0`.
fn edge_rate(window: &Window, guess: f64, Margin { ratio, add }: Margin) -> f64 {
    let share = window.split_at(1.0); // dividing by n_b + n_c keeps squares of counts small
    let pull = share.baseline + ratio * share.canary;
    let a = ratio * pull;
    let b = pull * add - guess * ratio;
    let c = -guess * share.baseline * add;
    let root = (b * b - 4.0 * a * c).sqrt();
    // Of the two forms of the root, the one that subtracts nothing.
    if b <= 0.0 {
        (root - b) / (2.0 * a)
    } else {
        -2.0 * c / (b + root)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::enumeration::{Arms, expectation};

    proptest! {
        #[test]
        fn neither_half_expects_to_gain_at_or_beyond_the_margin(
            arms in Arms::any(),
            ratio in 1.0..2.0_f64,
            add in 0.0..0.1_f64,
            base_rate in 0.0..0.4_f64,
            beyond in 0.0..0.1_f64,
            guess in 0.0001..0.9_f64,
            eta in 0.05..=1.0_f64,
        ) {
            let margin = Margin { ratio, add };
            let rate = ratio * base_rate + add + beyond;
            let by_split = expectation(arms, rate, base_rate, |window| {
                (eta * regression::log_growth(window, ratio, ratio.recip())).exp()
            });
            prop_assert!(by_split <= 1.0 + 1e-9, "{by_split}");
            let by_rates = expectation(arms, rate, base_rate, |window| {
                (eta * log_growth_by_rates(window, guess, margin)).exp()
            });
            prop_assert!(by_rates <= 1.0 + 1e-9, "{by_rates}");
        }

        #[test]
        fn the_edge_rate_solves_its_equation(
            n_c in 1..1_000_000_000_000_u64,
            n_b in 1..1_000_000_000_000_u64,
            guess in 1e-12..1.0_f64,
            ratio in 1.0..10.0_f64,
            add in 0.0..1.0_f64,
        ) {
            let window = Window {
                canary: Counts { count: n_c, bad: 0 },
                baseline: Counts { count: n_b, bad: 0 },
            };
            let q = edge_rate(&window, guess, Margin { ratio, add });
            prop_assert!(q > 0.0 && q <= guess * (1.0 + 1e-12), "{q}");
            // The condition the quadratic came from: the two arms pull the edge equally hard.
            let c = ratio * q + add;
            let pull_of_canary = ratio * n_c as f64 * (1.0 - guess / c);
            let pull_of_baseline = n_b as f64 * (guess / q - 1.0);
            let size = ratio * n_c as f64 * (1.0 + guess / c) + n_b as f64 * (guess / q + 1.0);
            prop_assert!((pull_of_canary - pull_of_baseline).abs() <= 1e-9 * size);
        }
    }

    #[test]
    fn eta_weakens_both_halves_alike() {
        let arm = |bad| Counts { count: 30_000, bad };
        let window = Window {
            canary: arm(20),
            baseline: arm(40),
        };
        let margin = Margin {
            ratio: 1.25,
            add: 0.001,
        };
        let after_bet_with = |eta| {
            let mut evidence = NonInferiority::default();
            evidence.bet(&window, arm(35), margin, eta);
            evidence
        };
        let (full, half) = (after_bet_with(1.0), after_bet_with(0.5));
        assert!(full.by_split > 1.0 && full.by_rates > 1.0, "{full:?}");
        assert_eq!(half.by_split, full.by_split / 2.0);
        assert_eq!(half.by_rates, full.by_rates / 2.0);
    }

    #[test]
    fn the_first_window_has_no_rates_to_guess_from() {
        let arm = Counts {
            count: 30_000,
            bad: 9,
        };
        let window = Window {
            canary: arm,
            baseline: arm,
        };
        let margin = Margin {
            ratio: 1.25,
            add: 0.001,
        };
        let mut evidence = NonInferiority::default();
        evidence.bet(&window, Counts::default(), margin, 1.0);
        assert_eq!(evidence.by_rates, 0.0);
    }
}
