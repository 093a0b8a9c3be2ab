//! Times in which no release may raise a weight: `freeze` in a release's section.
//!
//! A window either comes again, as a cron expression says, or is there once. Its two ends are read
//! on the clock of a time zone, also where that clock is changed:
//!
//! - a window begins when the clock first shows its beginning or something later, and ends when the
//!   clock shows its end or something later and will show nothing earlier again;
//! - so a time that the clock skips is the moment at which it is put forward, and of a time that it
//!   shows twice a window begins with the first and ends with the second, unless it is the one that
//!   the clock is put back to, before which nothing is shown again;
//! - `for` is counted on that clock as well: 64 h from Friday 16:00 last until Monday 08:00 on every
//!   weekend. What begins and ends within skipped time never freezes.
//!
//! Windows are half-open, `[begin, end)`. The time zones are those that Penstock was built with, never
//! the machine's, so that `penstock check` and the functions read the same. Expressions are read by
//! `croner`: five fields; if neither the day of the month nor the day of the week is `*`, either will do.

mod written;

use jiff::civil::{DateTime, date};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use written::Written;

/// The most windows of a release.
pub const FREEZES_MAX: usize = 50;
/// The longest that a window which comes again may last.
pub const FREEZE_MAX: SignedDuration = SignedDuration::from_hours(31 * 24);
/// The longest that a window which is there once may last.
pub const FREEZE_ONCE_MAX: SignedDuration = SignedDuration::from_hours(366 * 24);
/// How many overlapping or touching windows are joined into one freeze.
pub const JOINS_MAX: usize = 2_000;
/// The longest reason, in characters.
const BECAUSE_CHARS_MAX: usize = 200;

/// One window in which weights are not raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Freeze {
    when: When,
    zone: TimeZone,
    because: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum When {
    Again {
        /// As it was written; `croner` prints another.
        text: String,
        cron: Box<croner::Cron>,
        lasts: SignedDuration,
    },
    Once {
        from: DateTime,
        until: DateTime,
    },
}

/// Weights are not raised now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// The first moment that is not frozen: windows that overlap or touch are joined, at most
    /// [`JOINS_MAX`] of them, so that it is the earliest end when there are more.
    pub until: Timestamp,
    /// Why, in the configuration's words: the reason of the window that ends last of those that are
    /// open now.
    pub because: String,
}

/// Whether weights may not be raised now.
pub fn frozen(windows: &[Freeze], now: Timestamp) -> Option<Frozen> {
    let open = |at| {
        let ends = windows.iter().filter_map(move |w| Some((w.open(at)?, w)));
        ends.max_by_key(|(end, _)| *end)
    };
    let (mut until, window) = open(now)?;
    for _ in 0..JOINS_MAX {
        let Some((later, _)) = open(until) else { break };
        until = later;
    }
    Some(Frozen {
        until,
        because: window.because.clone(),
    })
}

/// What is wrong with windows of which each is well-formed.
///
/// # Errors
/// Says which window it is, and what to write instead.
pub fn check(windows: &[Freeze]) -> Result<(), String> {
    if windows.len() > FREEZES_MAX {
        let count = windows.len();
        return Err(format!(
            "`freeze` has {count} windows: at most {FREEZES_MAX} are read; a cron expression can \
             stand for many"
        ));
    }
    for (index, window) in windows.iter().enumerate() {
        let place = |what| format!("window {} of `freeze`: {what}", index + 1);
        window.check().map_err(place)?;
    }
    Ok(())
}

impl Freeze {
    /// The end of this window, if it is open at this time.
    fn open(&self, at: Timestamp) -> Option<Timestamp> {
        let end = match &self.when {
            When::Again { cron, lasts, .. } => {
                let begin = latest(cron, shown(&self.zone, at))?;
                ends(&self.zone, begin.saturating_add(*lasts))
            }
            When::Once { from, .. } if begins(&self.zone, *from) > at => return None,
            When::Once { until, .. } => ends(&self.zone, *until),
        };
        (end > at).then_some(end)
    }

    fn check(&self) -> Result<(), String> {
        let chars = self.because.chars().count();
        if self.because.trim().is_empty() || chars > BECAUSE_CHARS_MAX {
            return Err(format!(
                "`because` has {chars} characters: say in 1 to {BECAUSE_CHARS_MAX} why nothing is \
                 released, such as: because: weekend"
            ));
        }
        match &self.when {
            When::Again { text, cron, lasts } => check_again(text, cron, *lasts),
            When::Once { from, until } => check_once(*from, *until),
        }
    }
}

fn check_once(from: DateTime, until: DateTime) -> Result<(), String> {
    if from >= until {
        return Err(format!(
            "`from` is {from} and `until` is {until}: it would end before it begins; \
             exchange them"
        ));
    }
    if until.duration_since(from) > FREEZE_ONCE_MAX {
        return Err(format!(
            "it lasts from {from} until {until}: at most 366 days are allowed; write several \
             windows"
        ));
    }
    Ok(())
}

fn check_again(text: &str, cron: &croner::Cron, lasts: SignedDuration) -> Result<(), String> {
    if !(SignedDuration::from_mins(1)..=FREEZE_MAX).contains(&lasts) {
        return Err(format!(
            "`for` is {lasts:#}: 1m to {FREEZE_MAX:#} (31 days) is allowed; for a longer time \
             write `from` and `until`"
        ));
    }
    let Some(first) = next(cron, date(2024, 1, 1).at(0, 0, 0, 0)) else {
        return Err(format!(
            "`cron: {text}` never begins: no such day is in any calendar"
        ));
    };
    let mut end = first.saturating_add(lasts);
    for _ in 0..JOINS_MAX {
        let begin = latest(cron, end).unwrap_or(first);
        let later = begin.saturating_add(lasts);
        if later <= end {
            return Ok(());
        }
        if later.duration_since(first) > FREEZE_ONCE_MAX {
            break;
        }
        end = later;
    }
    Err(format!(
        "`cron: {text}` begins again before its `for: {lasts:#}` is over, and so it would never \
         end: make `for` shorter than the time from one beginning to the next"
    ))
}

/// The latest time of the expression that is not after this one, on one and the same clock.
fn latest(cron: &croner::Cron, at: DateTime) -> Option<DateTime> {
    let at = at.to_zoned(TimeZone::UTC).ok()?;
    let found = cron.find_previous_occurrence(&at, true).ok()?;
    Some(found.datetime())
}

fn next(cron: &croner::Cron, at: DateTime) -> Option<DateTime> {
    let at = at.to_zoned(TimeZone::UTC).ok()?;
    let found = cron.find_next_occurrence(&at, true).ok()?;
    Some(found.datetime())
}

/// When this clock first shows this time, or something later.
fn begins(zone: &TimeZone, time: DateTime) -> Timestamp {
    match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Unambiguous { offset } => instant(offset.to_timestamp(time), time),
        AmbiguousOffset::Fold { before, .. } => instant(before.to_timestamp(time), time),
        AmbiguousOffset::Gap { before, .. } => {
            changed(zone, instant(before.to_timestamp(time), time))
        }
    }
}

/// From when on this clock shows this time, or something later, and nothing earlier again.
fn ends(zone: &TimeZone, time: DateTime) -> Timestamp {
    match zone.to_ambiguous_timestamp(time).offset() {
        AmbiguousOffset::Fold { after, .. } => {
            let second = instant(after.to_timestamp(time), time);
            match changed(zone, second) == second {
                true => begins(zone, time),
                false => second,
            }
        }
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Gap { .. } => begins(zone, time),
    }
}

/// The latest time that this clock has shown by then: what it shows, unless it was put back and
/// shows the same hour again.
fn shown(zone: &TimeZone, at: Timestamp) -> DateTime {
    let offset = zone.to_offset(at);
    let shows = offset.to_datetime(at);
    match zone.to_ambiguous_timestamp(shows).offset() {
        AmbiguousOffset::Fold { before, after } if after == offset => {
            let put_back = before.to_datetime(changed(zone, at));
            put_back.saturating_sub(SignedDuration::from_nanos(1))
        }
        AmbiguousOffset::Fold { .. }
        | AmbiguousOffset::Unambiguous { .. }
        | AmbiguousOffset::Gap { .. } => shows,
    }
}

/// When the clock was last changed, at this time or before.
fn changed(zone: &TimeZone, at: Timestamp) -> Timestamp {
    let next = SignedDuration::from_nanos(1);
    let after = at.checked_add(next).unwrap_or(Timestamp::MAX);
    let change = zone.preceding(after).next();
    change.map_or(at, |change| change.timestamp())
}

/// Times next to the ends of the calendar have no instant; they are as far away as can be.
fn instant(found: Result<Timestamp, jiff::Error>, time: DateTime) -> Timestamp {
    found.unwrap_or(match time.year() < 0 {
        true => Timestamp::MIN,
        false => Timestamp::MAX,
    })
}

#[cfg(test)]
mod tests;
