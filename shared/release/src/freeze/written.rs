//! A window as it stands in a `penstock.yaml` and in a log: text, and what is wrong with it.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use super::{Freeze, When};

/// The longest expression that is read, in bytes: five lists of everything there is fit.
const CRON_BYTES_MAX: usize = 500;
/// The longest name of a time zone that is looked up, in bytes.
const ZONE_BYTES_MAX: usize = 64;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cron: Option<String>,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    lasts: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(default = "utc")]
    time_zone: String,
    because: String,
}

fn utc() -> String {
    "UTC".to_owned()
}

impl TryFrom<Written> for Freeze {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written {
            cron,
            lasts,
            from,
            until,
            time_zone,
            because,
        } = written;
        let when = match (cron, lasts, from, until) {
            (Some(text), Some(lasts), None, None) => When::Again {
                cron: Box::new(read_cron(&text)?),
                text,
                lasts: read_lasts(&lasts)?,
            },
            (None, None, Some(from), Some(until)) => When::Once {
                from: read_time("from", &from)?,
                until: read_time("until", &until)?,
            },
            (Some(_), None, None, None) => {
                return Err(
                    "a freeze has `cron` and no `for`: say how long it lasts, such as for: 12h"
                        .to_owned(),
                );
            }
            (None, Some(_), None, None) => {
                return Err("a freeze has `for` and no `cron`: say when it begins, such as cron: \"0 16 * * FRI\"".to_owned());
            }
            (None, None, Some(_), None) => {
                return Err("a freeze has `from` and no `until`: say when it ends, such as until: 2027-01-02T08:00".to_owned());
            }
            (None, None, None, Some(_)) => {
                return Err("a freeze has `until` and no `from`: say when it begins, such as from: 2026-12-20T00:00".to_owned());
            }
            _ => {
                return Err("a freeze has either `cron` and `for`, and comes again, or `from` and `until`, and is there once".to_owned());
            }
        };
        Ok(Self {
            when,
            zone: read_zone(&time_zone)?,
            because,
        })
    }
}

impl From<Freeze> for Written {
    fn from(freeze: Freeze) -> Self {
        let time_zone = freeze.zone.iana_name().unwrap_or("UTC").to_owned();
        let (cron, lasts, from, until) = match freeze.when {
            When::Again { text, lasts, .. } => (Some(text), Some(format!("{lasts:#}")), None, None),
            When::Once { from, until } => {
                (None, None, Some(from.to_string()), Some(until.to_string()))
            }
        };
        Self {
            cron,
            lasts,
            from,
            until,
            time_zone,
            because: freeze.because,
        }
    }
}

fn read_lasts(text: &str) -> Result<SignedDuration, String> {
    let read = text.parse();
    read.map_err(|_| {
        format!("`for` is '{text}', which is not a duration: write for example 12h or 64h")
    })
}

/// A time on a clock, without an offset: the zone says that, with summer and winter.
fn read_time(key: &str, text: &str) -> Result<DateTime, String> {
    let plain = |c: char| c.is_ascii_digit() || ":.".contains(c);
    let clock = text
        .split_once('T')
        .is_some_and(|(_, clock)| clock.chars().all(plain));
    let read = text.parse().ok().filter(|_| clock);
    read.ok_or_else(|| {
        format!(
            "`{key}` is '{text}': write a date and a time on the clock of `time-zone`, such as \
             2026-12-20T00:00"
        )
    })
}

fn read_cron(text: &str) -> Result<Cron, String> {
    if text.len() > CRON_BYTES_MAX {
        let bytes = text.len();
        return Err(format!(
            "`cron` has {bytes} bytes: at most {CRON_BYTES_MAX} are read"
        ));
    }
    let parser = CronParser::builder();
    let parser = parser
        .seconds(Seconds::Disallowed)
        .year(Year::Disallowed)
        .build();
    let fields: Vec<_> = text.split_ascii_whitespace().collect();
    if fields.len() != NAMES.len() {
        return Err(format!(
            "`cron: {text}` has {} fields: write five, the minute, the hour, the day of the month, \
             the month and the day of the week, such as 0 16 * * FRI",
            fields.len()
        ));
    }
    for (index, (field, (name, values))) in fields.iter().zip(NAMES).enumerate() {
        let mut alone = ["*"; NAMES.len()];
        alone[index] = field;
        if !field.is_ascii() || parser.parse(&alone.join(" ")).is_err() {
            return Err(format!(
                "`cron: {text}` has '{field}' as its {name}: write {values}, or *, ranges such as \
                 1-5, lists such as 1,3 and steps such as */2"
            ));
        }
    }
    let read = parser.parse(&fields.join(" "));
    read.map_err(|error| format!("`cron: {text}` could not be read: {error}"))
}

const NAMES: [(&str, &str); 5] = [
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day of the month", "1 to 31, or L for the last"),
    ("month", "1 to 12 or JAN to DEC"),
    ("day of the week", "0 to 7 or SUN to SAT"),
];

/// Of the time zones that Penstock was built with.
fn read_zone(name: &str) -> Result<TimeZone, String> {
    if name.len() > ZONE_BYTES_MAX {
        let bytes = name.len();
        return Err(format!(
            "`time-zone` has {bytes} bytes: write a name such as Europe/Berlin or UTC"
        ));
    }
    let known = TimeZoneDatabase::bundled();
    match known.get(name) {
        Ok(zone) if !zone.is_unknown() => Ok(zone),
        Ok(_) | Err(_) => Err(format!(
            "`time-zone` is '{name}', which is not known: {}",
            match nearest_zone(&known, name) {
                Some(zone) => format!("did you mean {zone}?"),
                None => "write a name such as Europe/Berlin or UTC".to_owned(),
            }
        )),
    }
}

/// The likeliest name, by all of it or by its city.
fn nearest_zone(known: &TimeZoneDatabase, name: &str) -> Option<String> {
    let asked = name.to_ascii_lowercase().replace(' ', "_");
    let likeness = |zone: &str| {
        let zone = zone.to_ascii_lowercase();
        let city = zone.rsplit('/').next().unwrap_or(&zone);
        let all = strsim::jaro_winkler(&asked, &zone);
        all.max(strsim::jaro_winkler(&asked, city))
    };
    let zones = known.available().map(|zone| zone.as_str().to_owned());
    let likely = zones.map(|zone| (likeness(&zone), zone));
    let likely = likely.filter(|(likeness, _)| *likeness > 0.8);
    likely
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, zone)| zone)
}
