//! Does the canary break an absolute limit? No baseline needed.
//!
//! H0: in every window the canary's bad rate is at most `limit`.

use crate::counts::Counts;

/// By how much (as a logarithm) this window multiplies the fortune of an expert who believes
/// that the canary's bad rate is `risk` times the limit.
///
/// `risk^bad * exp(-count * limit * (risk - 1))`, the likelihood ratio of two Poisson counts. It
/// is a fair bet for requests that are independent, too:
/// `(1 + p (risk - 1))^count <= exp(count * p * (risk - 1))`.
pub(crate) fn log_growth(canary: Counts, limit: f64, risk: f64) -> f64 {
    canary.bad as f64 * risk.ln() - canary.count as f64 * limit * (risk - 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::enumeration::{Arms, expectation};
    use crate::experts::risks;

    proptest! {
        #[test]
        fn no_expert_expects_to_gain_within_the_limit(
            canary in 1..=30_u64,
            limit in 0.0001..0.9999_f64,
            part_of_limit in 0.0..=1.0_f64,
            eta in 0.05..=1.0_f64,
        ) {
            let arms = Arms { canary, baseline: 1 };
            for expert in risks("errors").iter().chain(risks("slow:p90")) {
                let mean = expectation(arms, limit * part_of_limit, 0.5, |window| {
                    (eta * log_growth(window.canary, limit, expert.belief)).exp()
                });
                prop_assert!(mean <= 1.0 + 1e-9, "risk {}: {mean}", expert.belief);
            }
        }
    }
}
