//! What a rule's line in `penstock.yaml` says: how much is allowed, and what happens beyond.

use std::fmt;
use std::marker::PhantomData;

use jiff::SignedDuration;
use jiff::civil::Date;
use reports::Ratio;
use serde::de::value::{BoolDeserializer, MapAccessDeserializer, StrDeserializer, U64Deserializer};
use serde::de::{Error, IntoDeserializer, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::{DURATION_MAX, read_duration};

/// What a rule does when it is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// The gate fails.
    #[default]
    Fail,
    /// The gate says so and passes.
    Warn,
    /// Nothing: the rule is not looked at.
    Off,
}

/// What a rule or a gate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Kept.
    Pass,
    /// Broken, and the gate passes all the same.
    Warn,
    /// Broken, and the gate fails.
    Fail,
}

impl Level {
    /// What a rule of this level says; None when it is not looked at.
    pub fn verdict(self, is_kept: bool) -> Option<Verdict> {
        match (self, is_kept) {
            (Self::Off, _) => None,
            (Self::Fail | Self::Warn, true) => Some(Verdict::Pass),
            (Self::Fail, false) => Some(Verdict::Fail),
            (Self::Warn, false) => Some(Verdict::Warn),
        }
    }
}

impl Level {
    /// This level, unless what is broken must not fail the gate: then it warns at most.
    pub(super) fn at_most_warn_unless(self, may_fail: bool) -> Self {
        match self {
            Self::Fail if !may_fail => Self::Warn,
            Self::Fail | Self::Warn | Self::Off => self,
        }
    }
}

impl<'de> Deserialize<'de> for Level {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LevelVisitor)
    }
}

struct LevelVisitor;

impl Visitor<'_> for LevelVisitor {
    type Value = Level;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("fail, warn or off")
    }

    /// YAML 1.1 reads an unquoted `off` as false.
    fn visit_bool<E: Error>(self, on: bool) -> Result<Level, E> {
        match on {
            false => Ok(Level::Off),
            true => Err(E::custom("write fail, warn or off")),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Level, E> {
        match text {
            "fail" => Ok(Level::Fail),
            "warn" => Ok(Level::Warn),
            "off" => Ok(Level::Off),
            _ => Err(E::unknown_variant(text, &["fail", "warn", "off"])),
        }
    }
}

/// Reads the short form of something, a text, or the long one, a map.
pub(super) fn text_or_map<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
    short: impl FnOnce(String) -> T,
) -> Result<T, D::Error> {
    struct Either<T, F>(F, PhantomData<T>);
    impl<'de, T: Deserialize<'de>, F: FnOnce(String) -> T> Visitor<'de> for Either<T, F> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text or a map")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
            Ok((self.0)(text.to_owned()))
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }
    from.deserialize_any(Either(short, PhantomData))
}

/// Reads a map, or `off`: then None.
pub(super) fn map_or_off<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<T>, D::Error> {
    struct OrOff<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for OrOff<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map or off")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Option<T>, E> {
            match text {
                "off" => Ok(None),
                _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
            }
        }

        /// YAML 1.1 reads an unquoted `off` as false.
        fn visit_bool<E: Error>(self, on: bool) -> Result<Option<T>, E> {
            match on {
                false => Ok(None),
                true => Err(E::invalid_value(Unexpected::Bool(on), &self)),
            }
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    from.deserialize_any(OrOff(PhantomData))
}

/// Reads a day.
pub(super) fn day<'de, D: Deserializer<'de>>(from: D) -> Result<Date, D::Error> {
    let text = String::deserialize(from)?;
    text.parse()
        .map_err(|_| D::Error::custom(format!("'{text}' is not a day: write it as 2026-12-31")))
}

/// A rule's limit, written `5`, `{limit: 5, level: warn}`, or `off`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit<T> {
    /// What is still allowed; None when the rule is off.
    pub limit: Option<T>,
    /// What happens beyond.
    pub level: Level,
}

impl<T: Copy> Limit<T> {
    /// A rule that fails the gate beyond `limit`.
    pub fn fail(limit: T) -> Self {
        Self {
            limit: Some(limit),
            level: Level::Fail,
        }
    }

    /// A rule that is not looked at.
    pub fn off() -> Self {
        Self {
            limit: None,
            level: Level::Off,
        }
    }

    /// The limit and the level, unless the rule is off.
    pub fn active(&self) -> Option<(T, Level)> {
        let limit = self.limit.filter(|_| self.level != Level::Off)?;
        Some((limit, self.level))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Limit<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LimitVisitor(PhantomData))
    }
}

struct LimitVisitor<T>(PhantomData<T>);

/// The long form.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long<T> {
    limit: T,
    #[serde(default)]
    level: Level,
}

impl<T> LimitVisitor<T> {
    fn short(limit: T) -> Limit<T> {
        Limit {
            limit: Some(limit),
            level: Level::Fail,
        }
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for LimitVisitor<T> {
    type Value = Limit<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit, {limit: .., level: fail|warn|off}, or off")
    }

    /// YAML 1.1 reads an unquoted `off` as false.
    fn visit_bool<E: Error>(self, on: bool) -> Result<Limit<T>, E> {
        match on {
            false => Ok(Limit {
                limit: None,
                level: Level::Off,
            }),
            true => {
                let from: BoolDeserializer<E> = on.into_deserializer();
                T::deserialize(from).map(Self::short)
            }
        }
    }

    /// A share or a time without its unit is told so by its own reading of a text.
    fn visit_u64<E: Error>(self, number: u64) -> Result<Limit<T>, E> {
        let from: U64Deserializer<E> = number.into_deserializer();
        match T::deserialize(from) {
            Ok(limit) => Ok(Self::short(limit)),
            Err(_) => self.visit_str(&number.to_string()),
        }
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Limit<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Limit<T>, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::custom(format!(
                "{number} is below zero: write 0 or more"
            ))),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Limit<T>, E> {
        if text == "off" {
            return self.visit_bool(false);
        }
        let from: StrDeserializer<'_, E> = text.into_deserializer();
        T::deserialize(from).map(Self::short)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Limit<T>, A::Error> {
        let long = Long::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Limit {
            limit: Some(long.limit),
            level: long.level,
        })
    }
}

/// Most digits after the point of a share that is shown.
const DIGITS_MAX: usize = 6;

/// A share of 0 to 100 %, written `80%`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(f64);

impl Percent {
    /// `None` when nothing was measured.
    pub fn of(ratio: Ratio) -> Option<Self> {
        (ratio.valid > 0).then(|| Self::share(ratio.covered, ratio.valid))
    }

    /// So many of so many; 0 % of none.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 16 digits")]
    pub fn share(part: u64, whole: u64) -> Self {
        match whole {
            0 => Self(0.0),
            _ => Self(100.0 * part.min(whole) as f64 / whole as f64),
        }
    }

    /// In percent, 0 to 100.
    pub fn value(self) -> f64 {
        self.0
    }

    /// This and what it is compared with, in percent without the sign, each with as many digits as
    /// it takes to see that they differ.
    pub fn apart(self, other: Self) -> [String; 2] {
        let written = |digits: usize| [self.0, other.0].map(|share| format!("{share:.digits$}"));
        let differ = |[a, b]: &[String; 2]| a != b;
        let shortest = (1..=DIGITS_MAX).map(written).find(differ);
        shortest.unwrap_or_else(|| written(1))
    }

    /// How many percentage points this is below `other`; 0 when it is not.
    pub fn below(self, other: Self) -> Self {
        Self((other.0 - self.0).max(0.0))
    }
}

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.strip_suffix('%').map(str::trim_end);
        number
            .and_then(|n| n.parse().ok())
            .filter(|p| (0.0..=100.0).contains(p))
            .map(Self)
            .ok_or_else(|| format!("'{text}' is not a share: write 0% to 100%, such as 80%"))
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        format!("{}%", percent.0)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} %", self.0)
    }
}

/// A time of more than none, written `10m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub SignedDuration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let time = read_duration(from)?;
        if time <= SignedDuration::ZERO || time > DURATION_MAX {
            return Err(D::Error::custom(format!(
                "{time:#} is not allowed: write a time of more than 0s and at most {DURATION_MAX:#}"
            )));
        }
        Ok(Self(time))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit<T: serde::de::DeserializeOwned>(yaml: &str) -> Result<Limit<T>, String> {
        serde_saphyr::from_str(yaml).map_err(|error| error.to_string())
    }

    #[test]
    fn a_limit_is_written_short_long_or_off() {
        assert_eq!(limit("5").unwrap(), Limit::fail(5_u64));
        assert_eq!(limit::<u64>("off").unwrap().active(), None);
        assert_eq!(limit::<u64>("'off'").unwrap().active(), None);
        assert_eq!(
            limit::<u64>("{limit: 5, level: off}").unwrap().active(),
            None
        );
        let warn = limit::<u64>("{limit: 5, level: warn}").unwrap();
        assert_eq!(warn.active(), Some((5, Level::Warn)));
        let percent = limit::<Percent>("80.5%").unwrap();
        assert_eq!(percent.limit.unwrap().value(), 80.5);
        let time = limit::<Time>("{limit: 10m}").unwrap();
        assert_eq!(time.active().unwrap().0.to_string(), "10m");
    }

    #[test]
    fn what_is_no_limit_says_what_to_write() {
        for (yaml, message) in [
            ("-1", "below zero: write 0 or more"),
            ("{limit: 5, levle: warn}", "levle"),
            ("{level: warn}", "limit"),
            ("{limit: 5, level: maybe}", "maybe"),
            ("on", "invalid type"),
            ("five", "invalid type"),
        ] {
            let error = limit::<u64>(yaml).unwrap_err();
            assert!(error.contains(message), "{yaml}: {error}");
        }
        assert!(limit::<Percent>("101%").unwrap_err().contains("0% to 100%"));
        assert!(limit::<Percent>("80").is_err());
        assert!(limit::<Time>("0s").unwrap_err().contains("more than 0s"));
        assert!(limit::<Time>("999999h").unwrap_err().contains("at most"));
    }

    #[test]
    fn shares_that_differ_are_shown_to_differ() {
        let apart = |a: f64, b: f64| Percent(a).apart(Percent(b));
        assert_eq!(apart(80.0, 80.0), ["80.0", "80.0"]);
        assert_eq!(apart(75.0, 80.0), ["75.0", "80.0"]);
        assert_eq!(apart(79.96, 80.0), ["79.96", "80.00"]);
        assert_eq!(apart(79.9996, 80.0), ["79.9996", "80.0000"]);
        assert_eq!(apart(80.0, 80.0 + 1e-12), ["80.0", "80.0"]);
    }

    #[test]
    fn a_share_of_none_is_zero_and_never_more_than_all() {
        assert_eq!(Percent::share(0, 0).value(), 0.0);
        assert_eq!(Percent::share(3, 2).value(), 100.0);
        assert_eq!(Percent::of(Ratio::default()), None);
    }
}
