//! What a user may set, and within which ranges.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::noninferiority::Margin;
use crate::range::{self, Range};

/// The longest name of a metric, in bytes.
pub const METRIC_NAME_LEN_MAX: usize = 64;

/// The most metrics that one release is judged by.
pub const METRICS_MAX: usize = 16;

/// Under this prefix `weights` names the limit of a metric instead of its comparison.
const LIMIT_PREFIX: &str = "slo:";

/// Shares such as 0.7, 0.2 and 0.1 need not sum to exactly 1 in binary.
const SHARES_TOLERANCE: f64 = 1e-9;

type Number = fn(&JudgeConfig) -> f64;
type NumberByMetric = fn(&JudgeConfig) -> &BTreeMap<String, f64>;

/// The keys that hold one number, with their ranges.
const NUMBERS: [(&str, Range, Number); 11] = [
    ("alpha", range::ERROR_PROBABILITY, |config| config.alpha),
    ("alpha_ni", range::ERROR_PROBABILITY, |config| {
        config.alpha_ni
    }),
    ("pi0", range::PROPER_PART, |config| config.pi0),
    ("hazard", range::NOT_ALL, |config| config.hazard),
    ("r0", range::RATIO, |config| config.r0),
    ("ni_ratio", range::RATIO, |config| config.ni_ratio),
    ("ni_abs", range::PART, |config| config.ni_abs),
    ("min_windows", range::WINDOWS, |config| {
        config.min_windows.into()
    }),
    ("suspicion", range::ODDS, |config| config.suspicion),
    ("blind_abs", range::RISE, |config| config.blind_abs),
    ("hold", range::ODDS_OR_NEVER, |config| config.hold),
];

/// The keys that hold a number for each metric, with their ranges.
const NUMBERS_BY_METRIC: [(&str, Range, NumberByMetric); 4] = [
    ("r0_of", range::RATIO, |config| &config.r0_of),
    ("eta", range::NOT_NOTHING, |config| &config.eta),
    ("slo", range::PROPER_PART, |config| &config.slo),
    ("weights", range::PART, |config| &config.weights),
];

/// The settings of a [`Judge`](crate::Judge). One release is judged under one configuration, which
/// has passed [`validate`](Self::validate).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeConfig {
    /// The probability, over a whole release, of rolling back a canary that does no harm.
    pub alpha: f64,
    /// The probability, for each metric, of promoting early a canary at or beyond the margin.
    pub alpha_ni: f64,
    /// The part of the evidence that is bet from the first window on.
    pub pi0: f64,
    /// The part of the rest that each window adds to the bets, to catch a late regression.
    pub hazard: f64,
    /// How many times the baseline's bad rate is still no harm. For slowness 1.25 is kinder
    /// than 1: a canary has more cold starts.
    pub r0: f64,
    /// What a metric has instead of `r0`.
    pub r0_of: BTreeMap<String, f64>,
    /// The margin of early promotion: canary rate < `ni_ratio` * baseline rate + `ni_abs`.
    pub ni_ratio: f64,
    /// The margin of early promotion, in bad requests a request; see `ni_ratio`.
    pub ni_abs: f64,
    /// Windows with traffic that a metric needs before an early promotion.
    pub min_windows: u32,
    /// No early promotion while the evidence of harm is this many to 1 or more.
    pub suspicion: f64,
    /// The rise of the bad rate, in bad requests a request, that must be noticeable.
    pub blind_abs: f64,
    /// For each metric with clustered errors, 1 / the size of a cluster, as measured by
    /// [`cluster_size`](crate::cluster_size). It weakens every bet on the metric, also on its
    /// limit. Others have 1.
    pub eta: BTreeMap<String, f64>,
    /// Metrics whose clusters have an unknown size. They are compared window by window instead of
    /// request by request, and never open an early promotion.
    pub robust: BTreeSet<String>,
    /// Metrics that must be seen: too few requests in one, or none, are a reason to be inconclusive,
    /// and an early promotion waits until each is shown to be good enough. The others count as
    /// evidence of harm only. If none is named, every metric that has been observed is required.
    pub required: BTreeSet<String>,
    /// The share of the evidence that each metric contributes, summing to at most 1; `slo:x` is
    /// the limit of metric `x`. The share 0 makes a metric count for promotion only.
    pub weights: BTreeMap<String, f64>,
    /// Hold the weight while the evidence of harm is this many to 1 or more; 0 never holds.
    pub hold: f64,
    /// For each metric with an absolute limit, the highest bad rate allowed.
    pub slo: BTreeMap<String, f64>,
}

impl Default for JudgeConfig {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            alpha_ni: 0.05,
            pi0: 0.6,
            hazard: 0.05,
            r0: 1.0,
            r0_of: BTreeMap::new(),
            ni_ratio: 1.25,
            ni_abs: 0.001,
            min_windows: 3,
            suspicion: 5.0,
            blind_abs: 0.05,
            eta: BTreeMap::new(),
            robust: BTreeSet::new(),
            required: BTreeSet::new(),
            weights: [("errors", 0.6), ("slow:p90", 0.2), ("slow:p99", 0.2)]
                .map(|(metric, share)| (metric.to_owned(), share))
                .into(),
            hold: 0.0,
            slo: BTreeMap::new(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, PartialEq, Debug, Error)]
pub enum ConfigError {
    /// A number is outside its range, or not a number.
    #[error("could not use {key} = {value}: it must be {allowed}")]
    OutOfRange {
        /// The key, with the metric for keys that have one.
        key: String,
        /// The number found there.
        value: f64,
        /// The range, in words.
        allowed: &'static str,
    },
    /// The shares sum to more than 1.
    #[error("could not use weights that sum to {sum}: they must sum to at most 1")]
    Shares {
        /// What they sum to.
        sum: f64,
    },
    /// The name of a metric is not one.
    #[error(
        "could not use {name:?} as the name of a metric: \
         it must have 1 to {METRIC_NAME_LEN_MAX} bytes, no control characters, and not begin \
         with {LIMIT_PREFIX}"
    )]
    Name {
        /// The name, cut to a readable length.
        name: String,
    },
    /// More metrics than [`METRICS_MAX`].
    #[error("could not judge by {count} metrics: at most {METRICS_MAX} are allowed")]
    TooManyMetrics {
        /// How many there are.
        count: usize,
    },
    /// `r0_of`, `eta`, `robust` or `required` speaks of a metric that nothing else does.
    #[error("could not use {key}.{metric}: no such metric; add {metric} to weights, or remove it")]
    UnknownMetric {
        /// The key that names the metric.
        key: &'static str,
        /// The metric.
        metric: String,
    },
    /// A limit that could never speak up.
    #[error("could not use slo.{metric}: it has no share; add slo:{metric} to weights")]
    LimitWithoutShare {
        /// The metric.
        metric: String,
    },
    /// A share that nothing ever uses.
    #[error("could not use weights.slo:{metric}: there is no limit; add {metric} to slo")]
    ShareWithoutLimit {
        /// The metric.
        metric: String,
    },
}

impl JudgeConfig {
    /// Checks every number and name.
    ///
    /// # Errors
    /// The first thing that is wrong, with the key, the value and what is allowed.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_metrics()?;
        self.validate_numbers()?;
        self.validate_shares()
    }

    /// The metrics to watch: everything with a share or a limit.
    pub fn metrics(&self) -> BTreeSet<&str> {
        let shares = self.weights.keys().map(String::as_str);
        let compared = shares.filter(|key| !key.starts_with(LIMIT_PREFIX));
        compared
            .chain(self.slo.keys().map(String::as_str))
            .collect()
    }

    fn validate_metrics(&self) -> Result<(), ConfigError> {
        let metrics = self.metrics();
        if metrics.len() > METRICS_MAX {
            return Err(ConfigError::TooManyMetrics {
                count: metrics.len(),
            });
        }
        if let Some(name) = metrics.iter().find(|name| !is_name(name)) {
            let name = name.chars().take(METRIC_NAME_LEN_MAX).collect();
            return Err(ConfigError::Name { name });
        }
        let ratios = self.r0_of.keys().map(|metric| ("r0_of", metric));
        let etas = self.eta.keys().map(|metric| ("eta", metric));
        let robusts = self.robust.iter().map(|metric| ("robust", metric));
        let required = self.required.iter().map(|metric| ("required", metric));
        let mut named = ratios.chain(etas).chain(robusts).chain(required);
        if let Some((key, metric)) = named.find(|(_, name)| !metrics.contains(name.as_str())) {
            let metric = metric.clone();
            return Err(ConfigError::UnknownMetric { key, metric });
        }
        Ok(())
    }

    fn validate_numbers(&self) -> Result<(), ConfigError> {
        for (key, range, value) in NUMBERS {
            range.check(key, value(self))?;
        }
        for (key, range, values) in NUMBERS_BY_METRIC {
            for (metric, &value) in values(self) {
                range.check(format_args!("{key}.{metric}"), value)?;
            }
        }
        Ok(())
    }

    /// What the numbers of a key may be, in words, such as 'above 0 and at most 0.5'. `None` for
    /// a key that does not hold numbers. Keys with a number for each metric may name the metric
    /// (`eta.errors`).
    pub fn allowed(key: &str) -> Option<&'static str> {
        let key = key.split_once('.').map_or(key, |(key, _)| key);
        let numbers = NUMBERS.iter().map(|(name, range, _)| (*name, range));
        let by_metric = NUMBERS_BY_METRIC
            .iter()
            .map(|(name, range, _)| (*name, range));
        let mut ranges = numbers.chain(by_metric);
        let found = ranges.find(|(name, _)| *name == key);
        found.map(|(_, range)| range.words())
    }

    /// The shares must fit into one fortune, and belong to limits one to one.
    fn validate_shares(&self) -> Result<(), ConfigError> {
        let sum: f64 = self.weights.values().sum();
        if sum > 1.0 + SHARES_TOLERANCE {
            return Err(ConfigError::Shares { sum });
        }
        let shares = self.weights.keys();
        let mut with_share = shares.filter_map(|key| key.strip_prefix(LIMIT_PREFIX));
        if let Some(metric) = with_share.find(|metric| !self.slo.contains_key(*metric)) {
            let metric = metric.to_owned();
            return Err(ConfigError::ShareWithoutLimit { metric });
        }
        let mut limits = self.slo.keys();
        if let Some(metric) = limits.find(|metric| self.limit_share(metric) == 0.0) {
            let metric = metric.clone();
            return Err(ConfigError::LimitWithoutShare { metric });
        }
        Ok(())
    }

    /// How many times the baseline's bad rate is still no harm, in this metric.
    pub(crate) fn r0(&self, metric: &str) -> f64 {
        self.r0_of.get(metric).copied().unwrap_or(self.r0)
    }

    /// The share of the comparison of a metric with the baseline.
    pub(crate) fn share(&self, metric: &str) -> f64 {
        self.weights.get(metric).copied().unwrap_or(0.0)
    }

    /// The share of the limit of a metric. Compares key by key, because writing the key down
    /// would allocate after every window.
    pub(crate) fn limit_share(&self, metric: &str) -> f64 {
        let mut shares = self.weights.iter();
        let share = shares.find(|(key, _)| key.strip_prefix(LIMIT_PREFIX) == Some(metric));
        share.map_or(0.0, |(_, &share)| share)
    }

    /// How strongly the requests of a metric may be bet on.
    pub(crate) fn eta(&self, metric: &str) -> f64 {
        self.eta.get(metric).copied().unwrap_or(1.0)
    }

    /// How much worse a canary may be and still be promoted early.
    pub(crate) fn margin(&self) -> Margin {
        Margin {
            ratio: self.ni_ratio,
            add: self.ni_abs,
        }
    }
}

/// Whether a metric may be called this. The prefix of limits is taken.
fn is_name(name: &str) -> bool {
    (1..=METRIC_NAME_LEN_MAX).contains(&name.len())
        && !name.contains(char::is_control)
        && !name.starts_with(LIMIT_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(edit: impl FnOnce(&mut JudgeConfig)) -> String {
        let mut config = JudgeConfig::default();
        edit(&mut config);
        config.validate().unwrap_err().to_string()
    }

    fn share(config: &mut JudgeConfig, key: &str, share: f64) {
        config.weights.insert(key.to_owned(), share);
    }

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(JudgeConfig::default().validate(), Ok(()));
    }

    #[test]
    fn a_refused_number_is_named_with_its_range() {
        assert_eq!(
            refusal(|config| config.alpha = 0.7),
            "could not use alpha = 0.7: it must be above 0 and at most 0.5"
        );
        assert_eq!(
            refusal(|config| _ = config.eta.insert("errors".to_owned(), -1.0)),
            "could not use eta.errors = -1: it must be above 0 and at most 1"
        );
    }

    #[test]
    fn what_a_key_may_hold_can_be_asked() {
        let allowed =
            ["alpha", "eta.errors", "weights", "robust", "alfa"].map(JudgeConfig::allowed);
        let expected = [
            Some("above 0 and at most 0.5"),
            Some("above 0 and at most 1"),
            Some("from 0 to 1"),
            None,
            None,
        ];
        assert_eq!(allowed, expected);
    }

    #[test]
    fn no_number_may_be_nan_or_infinite() {
        type Set = fn(&mut JudgeConfig, f64);
        let settings: [(&str, Set); 14] = [
            ("alpha", |config, x| config.alpha = x),
            ("alpha_ni", |config, x| config.alpha_ni = x),
            ("pi0", |config, x| config.pi0 = x),
            ("hazard", |config, x| config.hazard = x),
            ("r0", |config, x| config.r0 = x),
            ("r0_of.errors", |config, x| {
                _ = config.r0_of.insert("errors".to_owned(), x);
            }),
            ("ni_ratio", |config, x| config.ni_ratio = x),
            ("ni_abs", |config, x| config.ni_abs = x),
            ("suspicion", |config, x| config.suspicion = x),
            ("blind_abs", |config, x| config.blind_abs = x),
            ("hold", |config, x| config.hold = x),
            ("eta.errors", |config, x| {
                _ = config.eta.insert("errors".to_owned(), x)
            }),
            ("slo.errors", |config, x| {
                _ = config.slo.insert("errors".to_owned(), x)
            }),
            ("weights.errors", |config, x| share(config, "errors", x)),
        ];
        for (key, set) in settings {
            for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                let refused = refusal(|config| set(config, x));
                assert!(refused.contains(&format!(" {key} = {x}")), "{refused}");
            }
        }
    }

    #[test]
    fn shares_fit_into_one_fortune() {
        let refused = refusal(|config| share(config, "errors", 0.7));
        assert!(refused.contains("at most 1"), "{refused}");

        let tenths = JudgeConfig {
            weights: (0..10).map(|i| (format!("m{i}"), 0.1)).collect(),
            ..JudgeConfig::default()
        };
        assert_eq!(tenths.validate(), Ok(()));
    }

    #[test]
    fn a_limit_and_its_share_need_each_other() {
        let limit = |config: &mut JudgeConfig| _ = config.slo.insert("errors".to_owned(), 0.01);
        assert!(refusal(limit).ends_with("add slo:errors to weights"));
        assert!(refusal(|config| share(config, "slo:errors", 0.0)).ends_with("add errors to slo"));
    }

    #[test]
    fn names_and_their_number_are_bounded() {
        assert!(refusal(|config| share(config, "", 0.0)).contains("\"\" as the name"));
        let long = "x".repeat(METRIC_NAME_LEN_MAX + 1);
        assert!(refusal(|config| share(config, &long, 0.0)).contains("1 to 64 bytes"));
        let refused = refusal(|config| {
            (0..METRICS_MAX).for_each(|i| share(config, &format!("m{i}"), 0.0));
        });
        assert!(refused.contains("judge by 19 metrics"), "{refused}");
    }

    #[test]
    fn a_setting_for_an_unknown_metric_is_refused() {
        let refused = refusal(|config| _ = config.robust.insert("erors".to_owned()));
        assert!(
            refused.starts_with("could not use robust.erors"),
            "{refused}"
        );
        assert!(serde_json::from_str::<JudgeConfig>(r#"{"alfa": 0.1}"#).is_err());
    }
}
