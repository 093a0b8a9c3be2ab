//! The windows are open when a clock read minute by minute says so.

use std::collections::BTreeSet;

use jiff::civil::Weekday;
use jiff::tz::TimeZoneDatabase;
use proptest::prelude::*;

use super::*;

fn windows(yaml: &str) -> Vec<Freeze> {
    serde_saphyr::from_str(yaml).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn until(yaml: &str, now: &str) -> Option<String> {
    frozen(&windows(yaml), at(now)).map(|frozen| frozen.until.to_string())
}

const WEEKEND: &str =
    "- {cron: '0 16 * * FRI', for: 64h, time-zone: Europe/Berlin, because: weekend}";

#[test]
fn a_window_is_half_open() {
    for (now, end) in [
        ("2026-07-10T13:59:59.999Z", None),
        ("2026-07-10T14:00:00Z", Some("2026-07-13T06:00:00Z")),
        ("2026-07-13T05:59:59.999Z", Some("2026-07-13T06:00:00Z")),
        ("2026-07-13T06:00:00Z", None),
    ] {
        assert_eq!(until(WEEKEND, now).as_deref(), end, "{now}");
    }
}

#[test]
fn a_weekend_ends_at_the_same_hour_whatever_the_clock_did() {
    for (now, end) in [
        ("2026-03-27T20:00:00Z", "2026-03-30T06:00:00Z"), // one hour shorter
        ("2026-10-23T20:00:00Z", "2026-10-26T07:00:00Z"), // one hour longer
    ] {
        assert_eq!(until(WEEKEND, now).as_deref(), Some(end));
    }
}

#[test]
fn a_time_that_is_skipped_is_the_moment_of_the_change_and_of_two_the_window_has_both() {
    let berlin = "- {cron: '30 2 * * *', for: 15m, time-zone: Europe/Berlin, because: nightly}";
    // 2026-03-29: 02:00 is followed by 03:00. From 02:30 to 02:45 is no time at all.
    for minute in 0..180 {
        let now = at("2026-03-29T00:00:00Z") + SignedDuration::from_mins(minute);
        assert_eq!(frozen(&windows(berlin), now), None);
    }
    let longer = "- {cron: '30 2 * * *', for: 1h, time-zone: Europe/Berlin, because: nightly}";
    let skipped = until(longer, "2026-03-29T01:00:00Z");
    assert_eq!(skipped.as_deref(), Some("2026-03-29T01:30:00Z")); // 03:00 to 03:30
    // 2026-10-25: 02:59 is followed by 02:00. The window is open from the first 02:30 to the second 02:45.
    for now in ["2026-10-25T00:30:00Z", "2026-10-25T01:10:00Z"] {
        assert_eq!(until(berlin, now).as_deref(), Some("2026-10-25T01:45:00Z"));
    }
    assert_eq!(until(berlin, "2026-10-25T00:29:59Z"), None);

    let once =
        "- {from: 2026-10-25T02:30, until: 2026-10-25T02:40, time-zone: Europe/Berlin, because: x}";
    assert_eq!(
        until(once, "2026-10-25T00:30:00Z").as_deref(),
        Some("2026-10-25T01:40:00Z")
    );
    // Nothing before 02:00 is shown again.
    let before =
        "- {from: 2026-10-25T01:30, until: 2026-10-25T02:00, time-zone: Europe/Berlin, because: x}";
    assert_eq!(
        until(before, "2026-10-24T23:30:00Z").as_deref(),
        Some("2026-10-25T00:00:00Z")
    );
}

#[test]
fn windows_that_overlap_or_touch_are_one_freeze() {
    let yaml = format!(
        "{WEEKEND}
- {{from: 2026-07-13T08:00, until: 2026-07-14T00:00, time-zone: Europe/Berlin, because: fair}}
- {{cron: '30 21 13 7 *', for: 1h, because: backup}}
- {{from: 2026-07-13T22:31, until: 2026-07-14T00:00, because: too late}}"
    );
    let found = frozen(&windows(&yaml), at("2026-07-11T00:00:00Z")).unwrap();
    assert_eq!(found.until, at("2026-07-13T22:30:00Z"));
    assert_eq!(found.because, "weekend");
    let found = frozen(&windows(&yaml), at("2026-07-13T21:45:00Z")).unwrap();
    assert_eq!(found.because, "backup");
}

#[test]
fn what_never_ends_together_is_told_as_far_as_it_is_looked_at() {
    let halves =
        "- {cron: '0 0 * * *', for: 12h, because: a}\n- {cron: '0 12 * * *', for: 12h, because: b}";
    let now = at("2026-07-11T00:00:00Z");
    let found = frozen(&windows(halves), now).unwrap();
    let joined = SignedDuration::from_hours(12 * (JOINS_MAX as i64 + 1));
    assert_eq!(found.until, now + joined);
}

#[test]
fn no_windows_freeze_nothing_and_the_ends_of_the_calendar_are_ordinary_times() {
    assert_eq!(frozen(&[], Timestamp::UNIX_EPOCH), None);
    let windows = windows(&format!(
        "{WEEKEND}\n- {{cron: '* * * * *', for: 744h, because: x}}"
    ));
    for now in [Timestamp::MIN, Timestamp::MAX] {
        frozen(&windows, now);
    }
    let whole = "- {from: '-009999-01-01T00:00', until: 9999-12-31T23:59, time-zone: Pacific/Apia, because: x}";
    let whole: Vec<Freeze> = serde_saphyr::from_str(whole).unwrap();
    assert!(frozen(&whole, Timestamp::MIN).is_some());
    assert!(check(&whole).is_err());
}

#[test]
fn a_window_survives_the_release_log() {
    let yaml = format!(
        "{WEEKEND}\n- {{from: 2026-12-20T00:00, until: 2027-01-02T08:00:30, because: sale}}"
    );
    let windows = windows(&yaml);
    let stored = serde_json::to_string(&windows).unwrap();
    assert_eq!(
        serde_json::from_str::<Vec<Freeze>>(&stored).unwrap(),
        windows
    );
    assert!(stored.contains(r#""cron":"0 16 * * FRI","for":"64h","time-zone":"Europe/Berlin""#));
}

#[test]
fn the_last_day_is_the_last_of_every_month() {
    let yaml = "- {cron: '0 0 L * *', for: 24h, because: accounts}";
    for now in [
        "2026-12-31T12:00:00Z",
        "2027-02-28T12:00:00Z",
        "2028-02-29T00:00:00Z",
    ] {
        assert!(until(yaml, now).is_some(), "{now}");
    }
    assert_eq!(until(yaml, "2028-02-28T12:00:00Z"), None);
}

/// The fields of an expression, as sets; `None` is `*`.
#[derive(Debug, Clone)]
struct Fields {
    minutes: BTreeSet<i8>,
    hours: Option<BTreeSet<i8>>,
    days: Option<BTreeSet<i8>>,
    months: Option<BTreeSet<i8>>,
    weekdays: Option<BTreeSet<i8>>,
}

fn listed(set: &BTreeSet<i8>) -> String {
    let numbers: Vec<_> = set.iter().map(i8::to_string).collect();
    numbers.join(",")
}

impl Fields {
    fn text(&self) -> String {
        let written = |set: &Option<BTreeSet<i8>>| set.as_ref().map_or("*".to_owned(), listed);
        format!(
            "{} {} {} {} {}",
            listed(&self.minutes),
            written(&self.hours),
            written(&self.days),
            written(&self.months),
            written(&self.weekdays)
        )
    }

    /// As crontab(5) has it: of two restricted days, either will do.
    fn names(&self, time: DateTime) -> bool {
        let has = |set: &Option<BTreeSet<i8>>, n| set.as_ref().is_none_or(|set| set.contains(&n));
        let weekday = time.weekday().since(Weekday::Sunday);
        let day = match (&self.days, &self.weekdays) {
            (Some(days), Some(weekdays)) => {
                days.contains(&time.day()) || weekdays.contains(&weekday)
            }
            (None, _) | (_, None) => has(&self.days, time.day()) && has(&self.weekdays, weekday),
        };
        let clock = self.minutes.contains(&time.minute()) && has(&self.hours, time.hour());
        clock && day && has(&self.months, time.month())
    }
}

fn fields() -> impl Strategy<Value = Fields> {
    let some = |range: std::ops::RangeInclusive<i8>| {
        prop::option::weighted(0.4, prop::collection::btree_set(range, 1..4))
    };
    let minutes = prop::collection::btree_set(0..=59_i8, 1..5);
    (
        minutes,
        some(0..=4),
        some(1..=31),
        some(1..=12),
        some(0..=6),
    )
        .prop_map(|(minutes, hours, days, months, weekdays)| Fields {
            minutes,
            hours,
            days,
            months,
            weekdays,
        })
}

/// Places where clocks are changed in every manner there is, and when: an hour, half an hour, at
/// midnight, from an offset of 45 minutes, a whole day left out; and one where they never are.
const CHANGES: &[(&str, &str)] = &[
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Pacific/Chatham", "2026-04-04T14:00:00Z"),
    ("Pacific/Chatham", "2026-09-26T14:00:00Z"),
    ("America/Havana", "2026-03-08T05:00:00Z"),
    ("America/Havana", "2026-11-01T05:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
    ("Asia/Kathmandu", "2026-05-01T00:00:00Z"),
    ("UTC", "2028-02-29T00:00:00Z"),
];

/// Every minute of some days around a change, and what the clock shows.
fn minutes(zone: &TimeZone, change: Timestamp, days: i64) -> Vec<(Timestamp, DateTime)> {
    let first = change - SignedDuration::from_hours(24 * days);
    let minutes = (0..2 * days * 24 * 60).map(SignedDuration::from_mins);
    let times = minutes.map(|m| first + m);
    times.map(|t| (t, zone.to_datetime(t))).collect()
}

/// For each of these minutes whether the window is open, by the definition: from the first minute at
/// which the clock has shown its beginning until the last before which it shows less than its end.
fn open(clock: &[(Timestamp, DateTime)], fields: &Fields, lasts: SignedDuration) -> Vec<bool> {
    let highest = clock.iter().scan(DateTime::MIN, |highest, (_, shows)| {
        *highest = (*highest).max(*shows);
        Some(*highest)
    });
    let highest: Vec<_> = highest.collect();
    let lowest = clock
        .iter()
        .rev()
        .scan(DateTime::MAX, |lowest, (_, shows)| {
            *lowest = (*lowest).min(*shows);
            Some(*lowest)
        });
    let mut lowest: Vec<_> = lowest.collect();
    lowest.reverse();
    let mut open = vec![false; clock.len()];
    let mut time = highest[0];
    while time < highest[highest.len() - 1] {
        if fields.names(time) {
            let begin = highest.partition_point(|shown| *shown < time);
            let end = lowest.partition_point(|still| *still < time + lasts);
            open[begin.min(end)..end].fill(true);
        }
        time += SignedDuration::from_mins(1);
    }
    open
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn frozen_is_what_a_clock_read_minute_by_minute_says(
        change in 0..CHANGES.len(),
        first in fields(),
        second in fields(),
        lasts in prop::sample::select(vec![1_i64, 7, 30, 45, 60, 61, 90, 180, 720, 1440]),
        gap in 0..120_i64,
    ) {
        let (zone, change) = CHANGES[change];
        let known = TimeZoneDatabase::bundled().get(zone).unwrap();
        let lasting = [lasts, lasts + gap].map(SignedDuration::from_mins);
        let yaml = [first.text(), second.text()].into_iter().zip(lasting).map(|(cron, lasts)| {
            format!("- {{cron: '{cron}', for: {lasts:#}, time-zone: {zone}, because: x}}\n")
        });
        let windows = windows(&yaml.collect::<String>());
        prop_assume!(check(&windows).is_ok());
        let clock = minutes(&known, at(change), 4);
        let open: Vec<_> = open(&clock, &first, lasting[0])
            .into_iter()
            .zip(open(&clock, &second, lasting[1]))
            .map(|(a, b)| a || b)
            .collect();
        // What began before the first of these minutes is not known to the plain reading.
        let known_from = 26 * 60;
        for minute in known_from..clock.len() {
            let turns = open[minute] != open[minute - 1] || open.get(minute + 1) == Some(&!open[minute]);
            if !turns && minute % 61 != 0 {
                continue; // every turn is looked at from both sides, and some quiet minutes
            }
            let now = clock[minute].0;
            let found = frozen(&windows, now);
            prop_assert_eq!(found.is_some(), open[minute], "{} {}", zone, now);
            let Some(found) = found else { continue };
            let ends = open[minute..].iter().position(|open| !open);
            if let Some(ends) = ends {
                prop_assert_eq!(found.until, clock[minute + ends].0, "{} {}", zone, now);
            }
            let last = found.until - SignedDuration::from_nanos(1);
            prop_assert!(frozen(&windows, last).is_some());
            // The two together may be open for good.
            let joined = found.until.duration_since(now) > SignedDuration::from_hours(24 * 8);
            prop_assert!(joined || frozen(&windows, found.until).is_none());
        }
    }

    #[test]
    fn no_expression_is_too_hostile_to_be_read(
        cron in prop_oneof![
            "[-0-9*/,?#LWA-Z+@ ]{0,40}",
            "([0-9*/,L#-]{1,6} ){4}[0-9*/,L#A-Z-]{1,6}",
            "\\PC{0,30}",
        ],
        lasts in prop_oneof!["[0-9]{1,20}[dhms]", "\\PC{0,10}"],
        now in -377_705_023_201_i64..=253_402_207_200,
    ) {
        let json = serde_json::json!([{"cron": cron, "for": lasts, "because": "x"}]);
        if let Ok(windows) = serde_json::from_value::<Vec<Freeze>>(json) {
            let _ = check(&windows);
            let now = Timestamp::from_second(now).unwrap();
            let found = frozen(&windows, now);
            prop_assert!(found.is_none_or(|found| found.until > now));
            prop_assert!(windows.iter().all(|w| w.because == "x"));
        }
    }
}
