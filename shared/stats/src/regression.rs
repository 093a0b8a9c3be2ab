//! Is the canary worse than the baseline? One expert's bet on one window.
//!
//! H0: in every window the canary's bad rate is at most `r0` times the baseline's. Both may drift
//! from window to window: given that a request is bad, all that matters is on which arm it fell.

use crate::counts::Window;

/// By how much (as a logarithm) this window multiplies the fortune of an expert who believes
/// that a request is `risk` times likelier to be bad on the canary than H0 allows at its edge.
///
/// At the edge of H0 a bad request falls on the canary with probability rho. The expert gains
/// `risk / (1 + rho (risk - 1))` for each that does and `1 / (1 + rho (risk - 1))` for each that
/// falls on the baseline: a fair game, since rho times the first plus 1 - rho times the second
/// is 1. JUDGE (a) writes the logarithm of this as
/// `x_c ln(risk) - m ln(1 + rho (risk - 1))`; summed arm by arm it is the same number, but
/// nothing large cancels when counts are huge or an arm is tiny.
pub(crate) fn log_growth(window: &Window, r0: f64, risk: f64) -> f64 {
    let split = window.split_at(r0);
    let log_gain = -(split.baseline * (risk.recip() - 1.0)).ln_1p();
    let log_loss = -(split.canary * (risk - 1.0)).ln_1p();
    window.canary.bad as f64 * log_gain + window.baseline.bad as f64 * log_loss
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::counts::Counts;
    use crate::enumeration::{Arms, expectation};
    use crate::experts::risks;

    #[test]
    fn the_stable_form_is_the_formula_of_the_design() {
        let window = Window {
            canary: Counts {
                count: 600,
                bad: 14,
            },
            baseline: Counts {
                count: 59_400,
                bad: 58,
            },
        };
        for expert in risks("errors") {
            let (risk, r0) = (expert.belief, 1.25);
            let rho = r0 * 600.0 / (59_400.0 + r0 * 600.0);
            let formula = 14.0 * risk.ln() - 72.0 * (1.0 + rho * (risk - 1.0)).ln();
            assert!((log_growth(&window, r0, risk) - formula).abs() < 1e-11);
        }
    }

    #[test]
    fn huge_counts_keep_their_digits() {
        // 10^12 bad canary requests against one baseline request: the log gain of each is of the
        // order of 10^-12, and only their sum is of the order of one.
        let n = 1_000_000_000_000;
        let window = Window {
            canary: Counts { count: n, bad: n },
            baseline: Counts { count: 1, bad: 0 },
        };
        assert!((log_growth(&window, 1.0, 2.0) - 0.5).abs() < 1e-11);
    }

    proptest! {
        #[test]
        fn no_expert_expects_to_gain_while_the_release_does_no_harm(
            arms in Arms::any(),
            r0 in 1.0..3.0_f64,
            base_rate in 0.0..=1.0_f64,
            part_of_edge in 0.0..=1.0_f64,
            eta in 0.05..=1.0_f64,
        ) {
            let rate = (r0 * base_rate * part_of_edge).min(1.0);
            for expert in risks("errors").iter().chain(risks("slow:p90")) {
                let mean = expectation(arms, rate, base_rate, |window| {
                    (eta * log_growth(window, r0, expert.belief)).exp()
                });
                prop_assert!(mean <= 1.0 + 1e-9, "risk {}: {mean}", expert.belief);
            }
        }
    }

    #[test]
    fn experts_expect_to_gain_when_they_are_right() {
        let arms = Arms {
            canary: 20,
            baseline: 40,
        };
        let mean = expectation(arms, 0.3, 0.1, |window| log_growth(window, 1.0, 3.0).exp());
        assert!(mean > 1.5, "{mean}");
    }
}
