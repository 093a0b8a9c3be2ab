//! What a release is judged by: which requests are counted as bad, and how much each count weighs.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use stats::{JudgeConfig, METRICS_MAX};

use super::JudgePolicy;
use crate::gate::Percent;

/// The metric of failed requests.
pub const ERRORS: &str = "errors";
/// What the names of metrics of slow requests begin with, such as `slow:p90`.
const SLOW: &str = "slow:";
/// The most dimensions of a metric (PutMetricData).
const DIMENSIONS_MAX: usize = 30;
/// The longest name of a namespace, a metric or a dimension, in bytes (CloudWatch's Metric).
const NAME_BYTES_MAX: usize = 255;
/// The longest expression, in bytes (MetricDataQuery.Expression).
const EXPRESSION_BYTES_MAX: usize = 2_048;
/// The longest that a request may take and still not be slow.
const SLOWER_THAN_MAX: SignedDuration = SignedDuration::from_mins(15);
/// How many times as many slow requests are tolerated unless the plan says so: what has just
/// started is slower for a while (JUDGE, part a).
const SLOWNESS_TOLERATED: f64 = 1.25;
/// How much of the evidence goes to errors, and to any other metric, where no share is written: 0.8,
/// 0.1 and 0.1 of errors, slow:p90 and slow:p99. Slowness has more to go by, a tenth of all requests, and needs less.
const PARTS: (f64, f64) = (8.0, 1.0);

/// Shares such as 70%, 20% and 10% need not sum to exactly 100% in binary.
const SHARES_TOLERANCE: f64 = 1e-7;

/// What stands in a query for what is different in both arms, or at each target.
pub const PLACEHOLDERS: [(&str, &str); 4] = [
    ("${arm}", "canary or baseline"),
    (
        "${version}",
        "the target group's name, or the function's version",
    ),
    ("${target-group}", "targetgroup/NAME/ID"),
    ("${load-balancer}", "app/NAME/ID"),
];
/// Those of [`PLACEHOLDERS`] that tell one arm from the other.
const TELL_ARMS_APART: [&str; 3] = ["${arm}", "${version}", "${target-group}"];

/// What a release is judged by, by the metrics' names.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Metrics(BTreeMap<String, MetricSpec>);

/// How one metric counts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct MetricSpec {
    /// Its share of the evidence; without one, its part of what the others leave over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub share: Option<Percent>,
    /// The highest share of bad requests, whatever the stable version does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Percent>,
    /// How many times the stable version's share of bad requests is still tolerated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tolerated_ratio: Option<f64>,
    /// Whether this metric must be seen before a step is done or ended early; errors only unless it is
    /// written, and every metric if none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required: Option<bool>,
    /// How many bad requests typically come together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_size: Option<ClusterSize>,
    /// From when on a request counts as slow. Metrics of slow requests only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slower_than: Option<SlowerThan>,
    /// What counts all requests. Neither for errors nor for slow requests, which the target counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<Query>,
    /// What counts the bad ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad: Option<Query>,
}

/// How many bad requests come together in one arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClusterSize {
    /// As measured on a release of the same version.
    Of(f64),
    /// Nobody knows: windows are compared instead of requests.
    Unknown,
}

/// From when on a request is slow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlowerThan {
    /// As slow as the percentile in the metric's name was at the stable version before the release.
    Auto,
    /// So slow.
    Fixed(SignedDuration),
}

/// A number that CloudWatch has for each period and arm: of a metric, or of an expression.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Query {
    /// The metric's namespace.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The metric's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub metric: String,
    /// All of the metric's dimensions. [`PLACEHOLDERS`] may stand in their values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, String>,
    /// The statistic that counts; `Sum` when it is not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stat: Option<String>,
    /// An expression instead of a metric. [`PLACEHOLDERS`] may stand in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
}

/// What is counted of one metric, once a release has begun.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Counting<'a> {
    /// Failed requests, as the target counts them.
    Errors,
    /// Requests slower than this, as the target counts them.
    SlowerThan(SignedDuration),
    /// What two queries say.
    Queries {
        /// All requests.
        total: &'a Query,
        /// Those that are bad.
        bad: &'a Query,
    },
}

impl Default for Metrics {
    /// Errors. What has just started is slower for a while, for good reasons, so slowness is judged
    /// where somebody asks for it.
    fn default() -> Self {
        Self(BTreeMap::from([(ERRORS.to_owned(), MetricSpec::default())]))
    }
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        // A name with nothing after it is a metric with every default.
        let read = BTreeMap::<String, Option<MetricSpec>>::deserialize(from)?;
        let metrics = read.into_iter();
        Ok(Self(
            metrics
                .map(|(name, spec)| (name, spec.unwrap_or_default()))
                .collect(),
        ))
    }
}

impl Metrics {
    /// Whether there is anything to judge by, and each metric can be counted.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.0.is_empty() {
            return Err(
                "`metrics` is empty: name what the candidate is judged by, such as errors: {}"
                    .to_owned(),
            );
        }
        if self.0.len() > METRICS_MAX {
            let count = self.0.len();
            return Err(format!(
                "`metrics` has {count} entries: at most {METRICS_MAX} are judged"
            ));
        }
        self.0.iter().try_for_each(|(name, spec)| {
            spec.check(name).map_err(|e| format!("metric `{name}` {e}"))
        })?;
        self.check_shares()
    }

    fn check_shares(&self) -> Result<(), String> {
        let written: f64 = self
            .0
            .values()
            .filter_map(|m| m.share)
            .map(Percent::value)
            .sum();
        if written > 100.0 + SHARES_TOLERANCE {
            return Err(format!(
                "the shares of `metrics` sum to {written}%: at most 100% is allowed"
            ));
        }
        match self.0.iter().find(|(_, m)| m.share.is_none()) {
            Some((name, _)) if written >= 100.0 => Err(format!(
                "metric `{name}` has no `share` and the others leave none over: write one, or make \
                 theirs smaller"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether a query has this text, such as one of [`PLACEHOLDERS`].
    pub(super) fn ask_for(&self, text: &str) -> bool {
        let queries = self.0.values().flat_map(|spec| [&spec.total, &spec.bad]);
        let mut texts = queries
            .flatten()
            .flat_map(|query| query.dimensions.values().chain(&query.expression));
        texts.any(|written| written.contains(text))
    }

    /// What each metric counts, given when the stable version was slow; without the metrics of
    /// which that is not known.
    pub fn counting(&self, slow: &BTreeMap<String, SignedDuration>) -> Vec<(&str, Counting<'_>)> {
        let counted = self.0.iter().filter_map(|(name, spec)| {
            let counting = match (spec.slower_than(name), &spec.total, &spec.bad) {
                (Some(SlowerThan::Fixed(time)), _, _) => Counting::SlowerThan(time),
                (Some(SlowerThan::Auto), _, _) => Counting::SlowerThan(*slow.get(name)?),
                (None, Some(total), Some(bad)) => Counting::Queries { total, bad },
                (None, _, _) => Counting::Errors,
            };
            Some((name.as_str(), counting))
        });
        counted.collect()
    }

    /// The percentiles, in percent, that must be known of the stable version before a release
    /// begins, by the metrics' names.
    pub fn percentiles(&self) -> BTreeMap<String, f64> {
        let auto = self
            .0
            .iter()
            .filter(|(name, spec)| spec.slower_than(name) == Some(SlowerThan::Auto));
        auto.filter_map(|(name, _)| Some((name.clone(), percentile(name)?)))
            .collect()
    }

    /// What the judge runs on.
    pub(super) fn judge_config(&self, policy: &JudgePolicy) -> JudgeConfig {
        let defaults = JudgeConfig::default();
        let mut config = JudgeConfig {
            alpha: policy.alpha,
            hold: policy.hold,
            // What holds the weight must not let an early promotion raise it.
            suspicion: match policy.hold {
                0.0 => defaults.suspicion,
                hold => hold.min(defaults.suspicion),
            },
            weights: BTreeMap::new(),
            ..defaults
        };
        for (name, spec) in &self.0 {
            let tolerated = spec.tolerated_ratio.unwrap_or(match is_slow(name) {
                true => policy.tolerated_ratio.max(SLOWNESS_TOLERATED),
                false => policy.tolerated_ratio,
            });
            config.r0_of.insert(name.clone(), tolerated);
            match spec
                .cluster_size
                .unwrap_or(ClusterSize::Of(policy.cluster_size))
            {
                ClusterSize::Of(size) => drop(config.eta.insert(name.clone(), 1.0 / size)),
                ClusterSize::Unknown => drop(config.robust.insert(name.clone())),
            }
            if spec.required.unwrap_or(name == ERRORS) {
                config.required.insert(name.clone());
            }
            let share = self.share(name, spec);
            match spec.limit {
                // Both questions get half of the metric's share.
                Some(limit) => {
                    config.slo.insert(name.clone(), limit.value() / 100.0);
                    config.weights.insert(name.clone(), share / 2.0);
                    config.weights.insert(format!("slo:{name}"), share / 2.0);
                }
                None => drop(config.weights.insert(name.clone(), share)),
            }
        }
        if config.required.is_empty() {
            config.required = self.0.keys().cloned().collect();
        }
        config
    }

    /// The share of a metric, 0 to 1: as written, or its part of what is left over.
    fn share(&self, name: &str, spec: &MetricSpec) -> f64 {
        let written: f64 = self
            .0
            .values()
            .filter_map(|m| m.share)
            .map(Percent::value)
            .sum();
        let part = |name: &str| if name == ERRORS { PARTS.0 } else { PARTS.1 };
        let others = self.0.iter().filter(|(_, m)| m.share.is_none());
        let parts: f64 = others.map(|(name, _)| part(name)).sum();
        match spec.share {
            Some(share) => share.value() / 100.0,
            None => (1.0 - written / 100.0).max(0.0) * part(name) / parts,
        }
    }
}

impl MetricSpec {
    /// From when on a request counts as slow; `None` when this is no metric of slow requests.
    fn slower_than(&self, name: &str) -> Option<SlowerThan> {
        is_slow(name).then(|| self.slower_than.unwrap_or(SlowerThan::Auto))
    }

    fn check(&self, name: &str) -> Result<(), String> {
        let by_target = name == ERRORS || is_slow(name);
        match (&self.total, &self.bad) {
            (None, None) if by_target => {}
            (Some(_), _) | (_, Some(_)) if by_target => {
                return Err(
                    "is counted by the target itself: leave out `total` and `bad`, or give the \
                     metric another name"
                        .to_owned(),
                );
            }
            (Some(total), Some(bad)) => {
                total.check().map_err(|e| format!("has a `total` {e}"))?;
                bad.check().map_err(|e| format!("has a `bad` {e}"))?;
            }
            _ => {
                return Err(
                    "needs `total` and `bad`, two CloudWatch queries: only errors and slow:pNN are \
                     counted by the target itself"
                        .to_owned(),
                );
            }
        }
        match self.slower_than(name) {
            Some(SlowerThan::Auto) if percentile(name).is_none() => Err(
                "needs `slower-than`, a time such as 300ms: only a name such as slow:p99 says by \
                 itself from when on a request is slow"
                    .to_owned(),
            ),
            Some(_) | None if self.slower_than.is_some() && !is_slow(name) => Err(format!(
                "has `slower-than`: only metrics named {SLOW}... count slow requests"
            )),
            Some(_) | None => self.check_numbers(),
        }
    }

    fn check_numbers(&self) -> Result<(), String> {
        if let Some(ratio) = self.tolerated_ratio.filter(|r| !(1.0..=10.0).contains(r)) {
            return Err(format!("has `tolerated-ratio` {ratio}: 1 to 10 is allowed"));
        }
        match self.limit {
            Some(limit) if limit.value() <= 0.0 || limit.value() >= 100.0 => Err(format!(
                "has `limit` {}%: above 0% and below 100% is allowed",
                limit.value()
            )),
            Some(_) | None => Ok(()),
        }
    }
}

impl Query {
    fn check(&self) -> Result<(), String> {
        self.check_shape()?;
        self.check_placeholders()
    }

    /// Whether CloudWatch can be asked this; what is wrong continues 'a query ...'.
    pub(crate) fn check_shape(&self) -> Result<(), String> {
        let is_metric = !self.metric.is_empty() || !self.namespace.is_empty();
        match &self.expression {
            Some(_) if is_metric || self.stat.is_some() || !self.dimensions.is_empty() => {
                return Err("with both an `expression` and a metric: write one of them".to_owned());
            }
            Some(expression) if is_insights(expression) => {
                return Err(
                    "that is a Metrics Insights query, of which CloudWatch takes one a call: write a \
                     metric, or an expression such as SEARCH"
                        .to_owned(),
                );
            }
            Some(expression) => fits("expression", expression, EXPRESSION_BYTES_MAX)?,
            None => {
                fits("namespace", &self.namespace, NAME_BYTES_MAX)?;
                fits("metric", &self.metric, NAME_BYTES_MAX)?;
            }
        }
        if self.dimensions.len() > DIMENSIONS_MAX {
            let count = self.dimensions.len();
            return Err(format!(
                "with {count} dimensions: CloudWatch has at most {DIMENSIONS_MAX}"
            ));
        }
        for (name, value) in &self.dimensions {
            fits("dimension", name, NAME_BYTES_MAX)?;
            fits(name, value, EXPRESSION_BYTES_MAX)?;
        }
        Ok(())
    }

    /// Both arms would be the same number otherwise.
    fn check_placeholders(&self) -> Result<(), String> {
        let texts = || self.dimensions.values().chain(&self.expression);
        let known = PLACEHOLDERS.map(|(name, _)| name);
        for text in texts() {
            let bare = known
                .iter()
                .fold(text.clone(), |text, name| text.replace(name, ""));
            if bare.contains("${") {
                return Err(format!(
                    "with an unknown placeholder in '{text}': {} are known",
                    known.join(", ")
                ));
            }
        }
        let tells = |text: &String| TELL_ARMS_APART.iter().any(|name| text.contains(name));
        if texts().any(tells) {
            return Ok(());
        }
        Err(format!(
            "that reads the same for both versions: write one of {} into a dimension or the \
             expression",
            TELL_ARMS_APART.join(", ")
        ))
    }
}

fn fits(key: &str, text: &str, most: usize) -> Result<(), String> {
    match text.len() {
        0 => Err(format!("without a {key}: write one")),
        bytes if bytes > most => Err(format!(
            "whose {key} has {bytes} bytes: at most {most} are allowed"
        )),
        _ => Ok(()),
    }
}

/// Whether this is a query of Metrics Insights; GetMetricData takes one only.
fn is_insights(expression: &str) -> bool {
    let word = expression.split_whitespace().next().unwrap_or_default();
    word.eq_ignore_ascii_case("select")
}

fn is_slow(name: &str) -> bool {
    name.starts_with(SLOW)
}

/// 99.9 of `slow:p99.9`.
fn percentile(name: &str) -> Option<f64> {
    let number = name.strip_prefix(SLOW)?.strip_prefix('p')?;
    let plain = number.len() <= 6 && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let percent: f64 = plain.then(|| number.parse().ok())??;
    (percent > 0.0 && percent < 100.0).then_some(percent)
}

impl Serialize for ClusterSize {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Of(size) => to.serialize_f64(*size),
            Self::Unknown => to.serialize_str("unknown"),
        }
    }
}

impl<'de> Deserialize<'de> for ClusterSize {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(f64),
            Text(String),
        }
        match Raw::deserialize(from) {
            Ok(Raw::Number(size)) if super::CLUSTER_SIZES.contains(&size) => Ok(Self::Of(size)),
            Ok(Raw::Text(text)) if text == "unknown" => Ok(Self::Unknown),
            Ok(_) | Err(_) => Err(D::Error::custom(
                "`cluster-size` must be a number from 1 to 1e6, or unknown",
            )),
        }
    }
}

impl Serialize for SlowerThan {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => to.serialize_str("auto"),
            Self::Fixed(time) => time.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for SlowerThan {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let time = text.parse().ok();
        time.filter(|time| *time > SignedDuration::ZERO && *time <= SLOWER_THAN_MAX)
            .map(Self::Fixed)
            .ok_or_else(|| {
                D::Error::custom(format!(
                    "'{text}' is not a time a request may take: write auto, or a time such as 300ms, \
                     at most {SLOWER_THAN_MAX:#}"
                ))
            })
    }
}
