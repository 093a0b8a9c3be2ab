//! The Mann-Whitney test as a confidence interval for a shift, the way Kayenta's judge uses it:
//! the normal approximation with corrections for continuity and for ties.
//!
//! For a supposed shift, the statistic is the number of pairs (canary, baseline) whose difference
//! is above it. So everything follows from the differences in order: the interval's lower end is
//! the difference at which the statistic stops being too large, and the estimate their median
//! (Hodges and Lehmann 1963). Kayenta finds both numerically, to 1e-4; here they are exact.

/// What the points of both arms say about the canary's shift.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The lower end of the confidence interval.
    pub lower: f64,
    /// The Hodges-Lehmann estimate.
    pub estimate: f64,
}

/// The 0.99 quantile of the normal law: a confidence of 0.98, on both sides.
const QUANTILE: f64 = 2.326_347_874_040_841;

/// By how much the canary's points are above the baseline's; neither is empty.
pub fn shift(canary: &[f64], baseline: &[f64]) -> Shift {
    let pairs = canary
        .iter()
        .flat_map(|x| baseline.iter().map(move |y| x - y));
    let mut differences: Vec<f64> = pairs.collect();
    differences.sort_unstable_by(f64::total_cmp);
    let crossing = crossing(differences.len(), deviation(canary, baseline));
    let middle = differences.len() / 2;
    Shift {
        lower: differences[crossing],
        estimate: differences[(differences.len() - 1) / 2].midpoint(differences[middle]),
    }
}

/// Which of the ordered differences a supposed shift has to reach until the statistic is no longer
/// too large: with k differences below it, (N/2 - k - 1/2) / sigma is above the quantile. It is
/// the first one when no shift is small enough.
fn crossing(pairs: usize, sigma: f64) -> usize {
    let half = pairs as f64 / 2.0;
    let standard = |k: usize| (half - k as f64 - 0.5) / sigma;
    let too_large = (0..pairs / 2).take_while(|k| standard(*k) > QUANTILE);
    too_large.last().unwrap_or(0)
}

/// The standard deviation of the statistic.
///
/// A shift between two differences makes no ties across the arms, so only those within an arm
/// count. When each arm repeats one number, Kayenta adds a little noise, in proportion to the
/// number: that dissolves the ties of all but zeros.
fn deviation(canary: &[f64], baseline: &[f64]) -> f64 {
    let (m, n) = (canary.len() as f64, baseline.len() as f64);
    let constant = |points: &[f64]| points.windows(2).all(|pair| pair[0] == pair[1]);
    let noisy = constant(canary) && constant(baseline);
    let ties = |points: &[f64]| match noisy && points.first() != Some(&0.0) {
        true => 0.0,
        false => tied(points),
    };
    let ties = ties(canary) + ties(baseline);
    let corrected = m + n + 1.0 - ties / ((m + n) * (m + n - 1.0));
    (m * n / 12.0 * corrected).sqrt()
}

/// The sum of t^3 - t over the groups of t equal numbers.
fn tied(points: &[f64]) -> f64 {
    let mut sorted = points.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let groups = sorted.chunk_by(|a, b| a == b);
    groups
        .map(|group| (group.len() as f64).powi(3) - group.len() as f64)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against the published statistic, solved for its sign by bisection with scipy 1.x:
    ///
    /// ```python
    /// def z(mu, x, y):
    ///     x, y = np.array(x), np.array(y); m, n = len(x), len(y)
    ///     r = scipy.stats.rankdata(np.concatenate([x - mu, y]))
    ///     d = r[:m].sum() - m * (m + 1) / 2 - m * n / 2
    ///     t = np.unique(r, return_counts=True)[1]
    ///     ties = (t**3 - t).sum() / ((m + n) * (m + n - 1))
    ///     return (d - np.sign(d) / 2) / np.sqrt(m * n / 12 * (m + n + 1 - ties))
    /// # where z(mu, x, y) falls below scipy.stats.norm.ppf(0.99); np.median(np.subtract.outer(x, y))
    /// ```
    ///
    /// At mu = 0 that z has the p-value of `scipy.stats.mannwhitneyu(x, y, method="asymptotic")`.
    #[test]
    fn the_interval_and_the_estimate_agree_with_scipy() {
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let canary = [1.9, 2.4, 2.2, 3.1, 2.7, 2.0, 2.9, 2.4];
        let baseline = [1.1, 1.6, 1.2, 1.8, 1.3, 1.1, 2.1, 1.5, 1.7];
        let seen = shift(&canary, &baseline);
        assert!(
            near(seen.lower, 0.4) && near(seen.estimate, 0.9),
            "{seen:?}"
        );

        let canary = [0.0, 0.0, 0.1, 0.0, 0.2, 0.0, 0.0, 0.1, 0.0, 0.0];
        let baseline = [0.0, 0.01, 0.02, 0.0, 0.01, 0.03, 0.0, 0.01, 0.02, 0.01];
        let seen = shift(&canary, &baseline);
        assert!(
            near(seen.lower, -0.02) && near(seen.estimate, 0.0),
            "{seen:?}"
        );

        let (canary, baseline) = ([5.0, 6.0, 7.0, 8.0, 9.0], [1.0, 2.0, 3.0, 4.0, 4.5]);
        let seen = shift(&canary, &baseline);
        assert!(
            near(seen.lower, 0.5) && near(seen.estimate, 4.0),
            "{seen:?}"
        );
    }

    #[test]
    fn with_few_points_the_interval_begins_at_the_smallest_difference() {
        // Even complete separation of 4 and 4 points has z = 2.03 only, as scipy says.
        let (canary, baseline) = ([5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(shift(&canary, &baseline).lower, 1.0);
        assert_eq!(shift(&[2.0], &[0.5]).lower, 1.5);
    }

    #[test]
    fn ties_make_the_interval_narrower_but_those_of_constant_arms_are_dissolved() {
        let all_different = deviation(&[1.0, 2.0], &[3.0, 4.0]);
        assert_eq!(all_different, (4.0_f64 / 12.0 * 5.0).sqrt());
        assert_eq!(
            deviation(&[1.0, 1.0], &[3.0, 4.0]),
            (4.0_f64 / 12.0 * 4.5).sqrt()
        );
        assert_eq!(deviation(&[1.0, 1.0], &[3.0, 3.0]), all_different);
        assert_eq!(
            deviation(&[1.0, 1.0], &[0.0, 0.0]),
            (4.0_f64 / 12.0 * 4.5).sqrt()
        );
    }
}
