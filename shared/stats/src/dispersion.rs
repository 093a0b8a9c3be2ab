//! How clustered errors are, measured on a release of equal versions.

use crate::counts::{Counts, Window};

/// The typical number of bad requests that come together in one arm, from the windows
/// (canary, baseline) of a release that changed nothing. At least 1; `None` when no window tells.
///
/// Requests that are bad independently spread over the arms with a known variance, and clusters
/// of a fixed size that land on one arm as a unit multiply it by that size. So the answer is the
/// variance seen over the variance expected (Pearson's chi-squared over its mean), and
/// 1 / the answer is what `eta` should be for this metric.
pub fn cluster_size(windows: impl IntoIterator<Item = (Counts, Counts)>) -> Option<f64> {
    let (mut seen, mut expected) = (0.0, 0.0);
    for (canary, baseline) in windows {
        if let Some(window) = Window::of(canary, baseline) {
            seen += deviation(&window).powi(2);
            expected += variance(&window);
        }
    }
    (expected > 0.0).then(|| (seen / expected).max(1.0))
}

/// By how many bad requests the canary has more than its share.
fn deviation(window: &Window) -> f64 {
    let bad = window.canary.bad as f64 + window.baseline.bad as f64;
    window.canary.bad as f64 - bad * window.split_at(1.0).canary
}

/// The variance of the deviation if the bad requests were drawn one by one, without putting any
/// back, from all requests of both arms (hypergeometric).
fn variance(window: &Window) -> f64 {
    let split = window.split_at(1.0);
    let all = window.canary.count as f64 + window.baseline.count as f64;
    let bad = window.canary.bad as f64 + window.baseline.bad as f64;
    bad * split.canary * split.baseline * (all - bad) / (all - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enumeration::{Arms, expectation};

    fn arm(count: u64, bad: u64) -> Counts {
        Counts { count, bad }
    }

    #[test]
    fn the_variance_is_that_of_independent_requests() {
        let arms = Arms {
            canary: 10,
            baseline: 20,
        };
        let seen = expectation(arms, 0.2, 0.2, |window| deviation(window).powi(2));
        let expected = expectation(arms, 0.2, 0.2, variance);
        assert!((seen / expected - 1.0).abs() < 1e-9, "{seen} {expected}");
    }

    #[test]
    fn a_cluster_that_lands_as_a_unit_is_measured() {
        // Bursts of 20 in arms of equal size, every second one on the canary.
        let burst_on_canary = (arm(1_000_000, 20), arm(1_000_000, 0));
        let burst_on_baseline = (arm(1_000_000, 0), arm(1_000_000, 20));
        let size = cluster_size([burst_on_canary, burst_on_baseline]).unwrap();
        assert!((size - 20.0).abs() < 0.01, "{size}");
    }

    #[test]
    fn without_bad_requests_nothing_is_known() {
        assert_eq!(cluster_size([]), None);
        assert_eq!(
            cluster_size([(arm(5, 0), arm(9, 0)), (arm(0, 0), arm(9, 3))]),
            None
        );
    }
}
