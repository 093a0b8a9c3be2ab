//! Sums of numbers that are kept as their logarithms. `-inf` stands for zero.

/// `ln(e^a + e^b)`, without leaving log space.
pub(crate) fn log_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY {
        return high; // also when both are: -inf - -inf would be NaN below
    }
    high + (low - high).exp().ln_1p()
}

/// `ln(e^a + e^b + ...)`; the empty sum is `-inf`.
pub(crate) fn log_sum(terms: impl IntoIterator<Item = f64>) -> f64 {
    terms.into_iter().fold(f64::NEG_INFINITY, log_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_neutral() {
        let zero = f64::NEG_INFINITY;
        assert_eq!(log_sum([]), zero);
        assert_eq!(log_add(zero, zero), zero);
        assert_eq!(log_sum([zero, 3.0, zero]), 3.0);
    }

    #[test]
    fn sums_agree_with_plain_arithmetic_where_that_works() {
        let sum = log_sum([1.0_f64, 2.0, 3.0].map(f64::ln));
        assert!((sum - 6.0_f64.ln()).abs() < 1e-15, "{sum}");
    }

    #[test]
    fn sums_hold_where_plain_arithmetic_overflows() {
        assert_eq!(log_add(1e19, -1e19), 1e19);
        assert!((log_add(5000.0, 5000.0) - (5000.0 + 2.0_f64.ln())).abs() < 1e-9);
    }
}
