//! Numbers as a person wants to read them.
//!
//! Whoever shows the judge's numbers beside its sentences writes them in the same way.

use std::f64::consts::LN_10;

/// Odds below this power of ten are written out.
const WRITTEN_POWER_MAX: f64 = 6.0;

/// Beyond this power of ten, the exact odds tell nobody more.
const POWER_MAX: f64 = 15.0;

/// '2.1 %': two significant digits, without zeros at the end.
pub fn percent(rate: f64) -> String {
    let percent = 100.0 * rate;
    if percent == 0.0 {
        return "0 %".to_owned();
    }
    if percent < 1e-4 {
        return "under 0.0001 %".to_owned();
    }
    let decimals = (1.0 - percent.log10().floor()).clamp(0.0, 5.0) as usize;
    let digits = format!("{percent:.decimals$}");
    let digits = match digits.split_once('.') {
        Some(_) => digits.trim_end_matches('0').trim_end_matches('.'),
        None => &digits,
    };
    format!("{digits} %")
}

/// '0.8', '5.3', '21', '2 300': a positive number of times.
pub(crate) fn ratio(ratio: f64) -> String {
    if ratio < 0.1 {
        "under 0.1".to_owned()
    } else if ratio < 10.0 {
        format!("{ratio:.1}")
    } else {
        grouped(ratio.round() as u64)
    }
}

/// '312 to 1', '10^12 to 1', 'over 10^15 to 1': the odds e^`log_e`.
pub fn odds(log_e: f64) -> String {
    let power = log_e / LN_10;
    let odds = if power > POWER_MAX {
        format!("over 10^{POWER_MAX}")
    } else if power >= WRITTEN_POWER_MAX {
        format!("10^{}", power.floor())
    } else {
        ratio(log_e.exp())
    };
    format!("{odds} to 1")
}

/// '1 request', '2 300 requests'.
pub(crate) fn requests(count: u64) -> String {
    let noun = if count == 1 { "request" } else { "requests" };
    format!("{} {noun}", grouped(count))
}

/// '2 300': a space before every third digit from the right.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_two_digits_that_count() {
        let shown = [
            0.0,
            1e-9,
            0.000_012_3,
            0.001,
            0.0209,
            0.0996,
            0.314,
            0.999,
            1.0,
        ]
        .map(percent);
        let expected = [
            "0 %",
            "under 0.0001 %",
            "0.0012 %",
            "0.1 %",
            "2.1 %",
            "10 %",
            "31 %",
            "100 %",
            "100 %",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn odds_stay_readable_at_any_size() {
        let shown = [-800.0, -0.2, 5.743, 11.0, 14.0, 28.0, 35.0, 1e19].map(odds);
        let expected = [
            "under 0.1 to 1",
            "0.8 to 1",
            "312 to 1",
            "59 874 to 1",
            "10^6 to 1",
            "10^12 to 1",
            "over 10^15 to 1",
            "over 10^15 to 1",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(
            [1, 999, 2300, 1_234_567].map(grouped),
            ["1", "999", "2 300", "1 234 567"]
        );
        assert_eq!(
            [0, 1, 2].map(requests),
            ["0 requests", "1 request", "2 requests"]
        );
    }
}
