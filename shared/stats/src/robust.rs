//! Is the canary worse, when bad requests come in bursts of unknown size?
//!
//! One broken caller that retries can make any number of bad requests in one arm, so counting
//! them one by one would take one event for many. Robust mode looks only at the *share* of a
//! window's bad requests that fell on the canary.
//!
//! H0: that share is expected to be at most rho, given everything before the window. Equal rates
//! imply it. A canary at `r0 > 1` times the baseline's rate implies it for rare bad requests only:
//! its requests are then less free to vary than Poisson counts, and the expected share exceeds rho
//! by about `rho (1 - rho) (p_c - p_b) / m`. At rates below 1 % that is nothing; for slowness, at
//! rates of 10 % and `r0` = 1.25, a window of 10 bad requests is expected to gain 0.2 %.

use crate::counts::Window;

/// By how much (as a logarithm) this window multiplies the fortune of an expert who puts the part
/// `stake` (0 to 1, both exclusive) of it on the canary.
///
/// `1 + stake (share / rho - 1)`. A window is one bet, however many bad requests it has, and at
/// worst it costs the stake, so the factor stays positive. A window without bad requests is no bet.
pub(crate) fn log_growth(window: &Window, r0: f64, stake: f64) -> f64 {
    let on_canary = window.canary.bad as f64;
    let bad = on_canary + window.baseline.bad as f64;
    if bad == 0.0 {
        return 0.0;
    }
    let rho = window.split_at(r0).canary;
    (stake * (on_canary / bad / rho - 1.0)).ln_1p()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::counts::Counts;
    use crate::enumeration::{Arms, expectation};
    use crate::experts::stakes;

    proptest! {
        #[test]
        fn no_expert_expects_to_gain_from_equal_versions(
            arms in Arms::any(),
            rate in 0.0..=1.0_f64,
        ) {
            for expert in stakes() {
                let mean = expectation(arms, rate, rate, |window| {
                    log_growth(window, 1.0, expert.belief).exp()
                });
                prop_assert!(mean <= 1.0 + 1e-9, "stake {}: {mean}", expert.belief);
            }
        }

        #[test]
        fn no_expert_expects_to_gain_from_one_burst_of_any_size(
            canary in 1..1_000_000_u64,
            baseline in 1..1_000_000_u64,
            burst in 1..1_000_000_u64,
        ) {
            let rho = canary as f64 / (canary + baseline) as f64;
            let burst_on = |canary_bad, baseline_bad| Window {
                canary: Counts { count: canary, bad: canary_bad },
                baseline: Counts { count: baseline, bad: baseline_bad },
            };
            for expert in stakes() {
                let growth = |window| log_growth(&window, 1.0, expert.belief).exp();
                let on_canary = growth(burst_on(burst, 0));
                let on_baseline = growth(burst_on(0, burst));
                let mean = rho * on_canary + (1.0 - rho) * on_baseline;
                prop_assert!(mean <= 1.0 + 1e-9, "stake {}: {mean}", expert.belief);
            }
        }
    }

    #[test]
    fn a_window_without_bad_requests_is_no_bet() {
        let window = Window {
            canary: Counts { count: 9, bad: 0 },
            baseline: Counts { count: 9, bad: 0 },
        };
        assert_eq!(log_growth(&window, 1.0, 0.95), 0.0);
    }
}
