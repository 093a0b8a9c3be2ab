//! The time axis that all graphs of a release share.

use jiff::{SignedDuration, Timestamp};

/// Marks stand so many seconds apart, the first distance that leaves few enough of them.
const DISTANCES: [i64; 15] = [
    10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 604_800,
];

/// The most marks: their words still fit on a phone.
const TICKS_MAX: i64 = 6;

/// From when to when.
pub(super) struct Axis {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// A mark on the axis.
pub(super) struct Tick {
    pub(super) x: f64,
    pub(super) label: String,
}

impl Axis {
    /// At least a minute long, so that what has just begun has room.
    pub(super) fn of(from: Timestamp, until: Timestamp) -> Self {
        let least = from.saturating_add(SignedDuration::from_mins(1));
        Self {
            from,
            until: until.max(least.unwrap_or(until)),
        }
    }

    /// Where a time is, 0 to 100; what is outside stands at the edge.
    pub(super) fn x(&self, at: Timestamp) -> f64 {
        let whole = self.until.duration_since(self.from).as_secs_f64();
        let share = at.duration_since(self.from).as_secs_f64() / whole.max(1.0);
        100.0 * share.clamp(0.0, 1.0)
    }

    /// Round times, some of them: with the day where the axis is longer than one.
    pub(super) fn ticks(&self) -> Vec<Tick> {
        let seconds = self.until.duration_since(self.from).as_secs();
        let distance = DISTANCES.iter().copied();
        let distance = distance.clone().find(|d| seconds / d < TICKS_MAX);
        let Some(distance) = distance else {
            return Vec::new(); // years: no such release
        };
        let format = match seconds {
            0..600 if distance < 60 => "%H:%M:%S",
            0..86_400 => "%H:%M",
            _ => "%-d %b %H:%M",
        };
        let first = self.from.as_second().div_euclid(distance) + 1;
        let last = self.until.as_second().div_euclid(distance);
        let times = (first..=last).filter_map(|n| Timestamp::from_second(n * distance).ok());
        let ticks = times.map(|at| Tick {
            x: self.x(at),
            label: at.strftime(format).to_string(),
        });
        // Words in the middle of a mark at the very edge would stand out of the page.
        ticks
            .filter(|tick| (4.0..=96.0).contains(&tick.x))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_axis_has_few_marks_and_every_time_is_on_it(
            from in 0_i64..4_000_000_000, length in 0_i64..2_000_000, at in any::<i32>(),
        ) {
            let time = |second| Timestamp::from_second(second).unwrap();
            let axis = Axis::of(time(from), time(from + length));
            prop_assert!(axis.ticks().len() <= 7);
            let x = axis.x(time(i64::from(at)));
            prop_assert!((0.0..=100.0).contains(&x));
            prop_assert_eq!(axis.x(axis.from), 0.0);
            prop_assert_eq!(axis.x(axis.until), 100.0);
        }
    }
}
