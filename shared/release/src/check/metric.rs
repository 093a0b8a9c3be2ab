//! A number that CloudWatch keeps, on the right side of a limit.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Probed;
use crate::config::{Query, duration, read_duration};

/// The most datapoints that one look takes.
const DATAPOINTS_MAX: u32 = 60;
/// The longest period.
const PERIOD_MAX: SignedDuration = SignedDuration::from_hours(24);

/// A metric, or an expression, whose newest datapoints must all be within limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MetricProbe {
    /// The metric's namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The metric's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub metric: String,
    /// All of the metric's dimensions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dimensions: BTreeMap<String, String>,
    /// The statistic; `Average` when it is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stat: Option<String>,
    /// An expression instead of a metric. Each of its series is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// From one datapoint to the next.
    #[serde(default = "MetricProbe::a_minute", deserialize_with = "read_duration")]
    pub period: SignedDuration,
    /// How many of the newest settled datapoints are looked at, 1 to 60.
    #[serde(default = "MetricProbe::three")]
    pub datapoints: u32,
    /// How long after its end a period's datapoint is taken to be complete.
    #[serde(default = "MetricProbe::a_minute", deserialize_with = "read_duration")]
    pub settle: SignedDuration,
    /// What each datapoint must be below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under: Option<f64>,
    /// What each datapoint must be above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<f64>,
    /// What a period without a datapoint is.
    #[serde(default)]
    pub missing: Missing,
}

/// What a period without a datapoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Nobody has looked, so nobody knows.
    #[default]
    NotHealthy,
    /// Nothing has happened, and that is fine.
    Healthy,
}

impl MetricProbe {
    fn a_minute() -> SignedDuration {
        SignedDuration::from_mins(1)
    }

    fn three() -> u32 {
        3
    }

    /// What CloudWatch is asked.
    pub fn query(&self) -> Query {
        Query {
            namespace: self.namespace.clone(),
            metric: self.metric.clone(),
            dimensions: self.dimensions.clone(),
            stat: match self.expression {
                Some(_) => self.stat.clone(),
                None => Some(self.stat.clone().unwrap_or_else(|| "Average".to_owned())),
            },
            expression: self.expression.clone(),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.query()
            .check_shape()
            .map_err(|e| format!("the metric probe is one {e}"))?;
        let mut texts = self.dimensions.values().chain(&self.expression);
        if let Some(text) = texts.find(|text| text.contains("${")) {
            return Err(format!(
                "'{text}' has a placeholder: a health check looks at one thing, so write out what \
                 is meant"
            ));
        }
        let seconds = self.period.as_secs();
        let whole = [1, 5, 10, 30].contains(&seconds) || (seconds > 0 && seconds % 60 == 0);
        if self.period.subsec_nanos() != 0 || !whole || self.period > PERIOD_MAX {
            return Err(format!(
                "`period` is {:#}: CloudWatch has periods of 1, 5, 10, 30 and multiples of 60 \
                 seconds, here up to {PERIOD_MAX:#}; write for example 60s",
                self.period
            ));
        }
        if !(1..=DATAPOINTS_MAX).contains(&self.datapoints) {
            return Err(format!(
                "`datapoints` is {}: 1 to {DATAPOINTS_MAX} is allowed",
                self.datapoints
            ));
        }
        duration("settle", self.settle, SignedDuration::ZERO)?;
        self.check_limits()
    }

    fn check_limits(&self) -> Result<(), String> {
        if [self.under, self.over]
            .iter()
            .flatten()
            .any(|limit| !limit.is_finite())
        {
            return Err(
                "a limit of the metric probe is no number: write one such as 10".to_owned(),
            );
        }
        match (self.under, self.over) {
            (None, None) => Err(
                "the metric probe has no limit: write `under`, `over`, or both, such as under: 10"
                    .to_owned(),
            ),
            (Some(under), Some(over)) if over >= under => Err(format!(
                "nothing is over {over} and under {under}: let `over` be the smaller one"
            )),
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// The newest periods that have settled by now, from their beginning to their end.
    pub fn range(&self, now: Timestamp) -> (Timestamp, Timestamp) {
        let period = self.period.as_secs().max(1);
        let settled = (now - self.settle).as_second();
        let until = settled - settled.rem_euclid(period);
        let from = until.saturating_sub(period.saturating_mul(i64::from(self.datapoints)));
        let at = |second| Timestamp::from_second(second).unwrap_or(Timestamp::MIN);
        (at(from), at(until))
    }

    /// What these datapoints say, by the beginnings of their periods; several of one period are of
    /// several series.
    pub fn judge(&self, seen: &BTreeMap<Timestamp, Vec<f64>>) -> Probed {
        let name = match &self.expression {
            Some(_) => "the expression",
            None => &self.metric,
        };
        let newest_first = || {
            seen.iter()
                .rev()
                .flat_map(|(at, all)| all.iter().map(move |v| (at, *v)))
        };
        if let Some((at, value)) = newest_first().find(|(_, value)| !self.allows(*value)) {
            return Probed::unhealthy(format!("{name} was {value} at {at}, not {}", self.limits()));
        }
        let periods = self.datapoints as usize;
        let with_data = seen.values().filter(|values| !values.is_empty()).count();
        match (self.missing, newest_first().next()) {
            (Missing::NotHealthy, _) if with_data < periods => Probed::unhealthy(format!(
                "{name} has no data of {} of the newest {periods} periods of {:#}",
                periods - with_data,
                self.period
            )),
            (Missing::Healthy | Missing::NotHealthy, Some((_, value))) => {
                Probed::healthy(format!("{name} is {value}, {}", self.limits()))
            }
            (Missing::Healthy | Missing::NotHealthy, None) => {
                Probed::healthy(format!("{name} has no data, which is fine"))
            }
        }
    }

    /// A number that is none is within no limit.
    fn allows(&self, value: f64) -> bool {
        self.under.is_none_or(|limit| value < limit)
            && self.over.is_none_or(|limit| value > limit)
            && !value.is_nan()
    }

    fn limits(&self) -> String {
        let under = self.under.map(|limit| format!("under {limit}"));
        let over = self.over.map(|limit| format!("over {limit}"));
        let both: Vec<_> = over.into_iter().chain(under).collect();
        both.join(" and ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(yaml: &str) -> Result<MetricProbe, String> {
        let probe: MetricProbe = serde_saphyr::from_str(yaml).map_err(|e| e.to_string())?;
        probe.check().map(|()| probe)
    }

    fn judge(probe: &MetricProbe, values: &[&[f64]]) -> Probed {
        let seen = values.iter().zip(0..).map(|(values, minute)| {
            let at = Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
            (at, values.to_vec())
        });
        probe.judge(&seen.collect())
    }

    #[test]
    fn the_newest_settled_periods_are_looked_at() {
        let probe = probe("{namespace: Shop, metric: Queue, under: 10}").unwrap();
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        assert_eq!(probe.range(at(359)), (at(60), at(240)));
        assert_eq!(probe.range(at(360)), (at(120), at(300)));
        let mut far = probe.clone();
        far.period = PERIOD_MAX;
        far.datapoints = DATAPOINTS_MAX;
        let (from, until) = far.range(Timestamp::MIN + SignedDuration::from_hours(48));
        assert!(from <= until);
    }

    #[test]
    fn every_datapoint_counts_and_none_is_not_zero() {
        let both = probe("{namespace: Shop, metric: Queue, under: 10, over: 0.5}").unwrap();
        assert!(judge(&both, &[&[1.0], &[9.9], &[2.0]]).healthy);
        for (values, said) in [
            (
                &[&[1.0][..], &[10.0], &[2.0]][..],
                "Queue was 10 at 1970-01-01T00:01:00Z, not over 0.5 and under 10",
            ),
            (&[&[1.0], &[2.0], &[0.5]], "was 0.5"),
            (&[&[1.0], &[2.0], &[2.0, f64::NAN]], "was NaN"),
            (
                &[&[1.0], &[], &[2.0]],
                "no data of 1 of the newest 3 periods",
            ),
            (&[], "no data of 3 of"),
        ] {
            let probed = judge(&both, values);
            assert!(
                !probed.healthy && probed.detail.contains(said),
                "{probed:?}"
            );
        }
        let quiet = probe("{namespace: Shop, metric: Errors, under: 1, missing: healthy}").unwrap();
        assert!(judge(&quiet, &[]).healthy);
        assert!(judge(&quiet, &[&[0.0]]).healthy);
        assert!(!judge(&quiet, &[&[1.0]]).healthy);
    }

    #[test]
    fn a_probe_survives_the_log() {
        let probe =
            probe("{expression: 'SEARCH(..)', under: 1, period: 5s, missing: healthy}").unwrap();
        let stored = serde_json::to_string(&probe).unwrap();
        assert_eq!(serde_json::from_str::<MetricProbe>(&stored).unwrap(), probe);
    }

    #[test]
    fn each_mistake_has_its_message() {
        for (yaml, message) in [
            (
                "{namespace: A, metric: B}",
                "has no limit: write `under`, `over`",
            ),
            ("{namespace: A, metric: B, under: .nan}", "is no number"),
            (
                "{namespace: A, metric: B, under: 1, over: 1}",
                "nothing is over 1 and under 1",
            ),
            ("{metric: B, under: 1}", "without a namespace"),
            ("{namespace: A, under: 1}", "without a metric"),
            (
                "{namespace: A, metric: B, under: 1, expression: m}",
                "expression",
            ),
            (
                "{expression: m, stat: Sum, under: 1}",
                "with both an `expression` and a metric",
            ),
            (
                "{expression: 'SELECT AVG(x) FROM y', under: 1}",
                "Metrics Insights",
            ),
            (
                "{namespace: A, metric: B, under: 1, dimensions: {V: '${version}'}}",
                "has a placeholder",
            ),
            (
                "{namespace: A, metric: B, under: 1, period: 45s}",
                "multiples of 60 seconds",
            ),
            (
                "{namespace: A, metric: B, under: 1, period: 1500ms}",
                "multiples of 60 seconds",
            ),
            (
                "{namespace: A, metric: B, under: 1, datapoints: 0}",
                "1 to 60 is allowed",
            ),
            (
                "{namespace: A, metric: B, under: 1, datapoints: 61}",
                "1 to 60 is allowed",
            ),
            (
                "{namespace: A, metric: B, under: 1, settle: 25h}",
                "`settle`",
            ),
            (
                "{namespace: A, metric: B, under: 1, missing: zero}",
                "missing",
            ),
        ] {
            let error = probe(yaml).unwrap_err();
            assert!(error.contains(message), "{yaml}: {error}");
        }
    }
}
