//! How numbers, times and names are written.

use jiff::Timestamp;
use release::gate::Percent;
use reports::{Ratio, TestCase};

/// A whole number with a comma between thousands.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut written = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    written
}

/// So many of something: `1 test`, `2 tests`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{} {noun}", count(number))
}

/// How a number has changed: `+3`, `−2`, `±0`.
pub(crate) fn change(now: u64, before: u64) -> String {
    match now.cmp(&before) {
        std::cmp::Ordering::Less => format!("−{}", count(before - now)),
        std::cmp::Ordering::Equal => "±0".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", count(now - before)),
    }
}

/// How a number has changed, with one decimal.
pub(crate) fn change_of_tenths(now: f64, before: f64) -> String {
    let change = now - before;
    let written = format!("{:.1}", change.abs());
    match (written == "0.0", change < 0.0) {
        (true, _) => "±0".to_owned(),
        (false, true) => format!("−{written}"),
        (false, false) => format!("+{written}"),
    }
}

/// A time that passed, in the two units that matter: `12ms`, `3.2s`, `4m 12s`, `1h 4m`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s.is_nan() || s <= 0.0 => "0s".to_owned(),
        s if s < 0.000_5 => "<1ms".to_owned(),
        s if s < 0.999_5 => format!("{:.0}ms", s * 1_000.0),
        s if s < 59.95 => format!("{s:.1}s"),
        s => {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a float is cast to the nearest number there is, and is not negative here"
            )]
            let whole = s.round() as u64;
            match whole {
                0..3_600 => format!("{}m {}s", whole / 60, whole % 60),
                _ => format!("{}h {}m", count(whole / 3_600), whole % 3_600 / 60),
            }
        }
    }
}

/// A share, or a dash when nothing was measured.
pub(crate) fn share(ratio: Ratio) -> String {
    Percent::of(ratio).map_or_else(|| "–".to_owned(), |share| share.to_string())
}

/// A day and a time, in UTC.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

/// A day.
pub(crate) fn day(at: Timestamp) -> String {
    at.strftime("%-d %b %Y").to_string()
}

/// A text of at most so many characters; what is cut off is shown as `…`.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A test's id in two parts, to be read as one: what holds it, with the `::` between, and its name.
pub(crate) fn id_parts(case: &TestCase) -> (String, String) {
    let id = case.id();
    if id.is_empty() {
        return (String::new(), "(no name)".to_owned());
    }
    match id.strip_suffix(&case.name) {
        Some(held) if !case.name.is_empty() => (held.to_owned(), case.name.clone()),
        Some(_) | None => (String::new(), id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_number_is_written_in_groups_of_three() {
        for (number, text) in [(0_u64, "0"), (999, "999"), (1_000, "1,000")] {
            assert_eq!(count(number), text);
        }
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn a_change_has_its_sign() {
        assert_eq!((change(5, 3), change(3, 5)), ("+2".into(), "−2".into()));
        assert_eq!(change(u64::MAX, u64::MAX), "±0");
        assert_eq!(change_of_tenths(81.42, 81.38), "±0");
        assert_eq!(change_of_tenths(80.0, 81.3), "−1.3");
    }

    #[test]
    fn a_duration_is_written_in_the_units_that_matter() {
        for (seconds, text) in [
            (f64::NAN, "0s"),
            (-1.0, "0s"),
            (0.000_1, "<1ms"),
            (0.012, "12ms"),
            (0.999_9, "1.0s"),
            (59.96, "1m 0s"),
            (252.0, "4m 12s"),
            (3_840.0, "1h 4m"),
            (f64::INFINITY, "5,124,095,576,030,431h 0m"),
        ] {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn the_parts_of_an_id_are_the_id() {
        for (suite, name) in [("shop", "adds"), ("shop", ""), ("", "adds")] {
            let case = TestCase {
                suite: suite.into(),
                name: name.into(),
                ..TestCase::default()
            };
            let (held, named) = id_parts(&case);
            assert_eq!(format!("{held}{named}"), case.id());
        }
        assert_eq!(id_parts(&TestCase::default()).1, "(no name)");
    }

    proptest! {
        #[test]
        fn a_text_is_cut_at_its_bound_and_shows_it(text in any::<String>(), chars in 0..20_usize) {
            let kept = cut(&text, chars);
            match text.chars().count() <= chars {
                true => prop_assert_eq!(kept, text),
                false => {
                    prop_assert_eq!(kept.chars().count(), chars + 1);
                    prop_assert!(kept.ends_with('…'));
                }
            }
        }
    }
}
