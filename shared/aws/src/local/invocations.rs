//! What the versions behind an alias did, published to CloudWatch the way Lambda does it.
//!
//! Namespace `AWS/Lambda`, dimensions `FunctionName` and `Resource` (`FUNCTION:ALIAS`), without and with
//! `ExecutedVersion`. The emulator publishes by `FunctionName` alone, which is another metric to
//! CloudWatch, so nothing is counted twice. As with a load balancer there is a datum for each second
//! instead of each minute, and it carries the second in which the invocation ended, where AWS has
//! the one in which it began.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{MetricDatum, StandardUnit};

use super::metrics::{DatumBuilder, Measured, datum, dimension, distribution};

/// What the versions behind one alias did in one finished second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// The function's name.
    pub function: String,
    /// The alias' name.
    pub alias: String,
    /// The second, as seconds since the Unix epoch.
    pub at: i64,
    /// By version; one without an invocation is absent, as on AWS.
    pub versions: BTreeMap<String, VersionCounts>,
}

/// What one version did in one second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionCounts {
    /// Invocations (`Invocations`).
    pub invocations: u64,
    /// Of those, the ones that ended in a function error (`Errors`).
    pub errors: u64,
    /// How often an invocation took so many microseconds (`Duration`).
    pub duration_micros: BTreeMap<u64, u64>,
}

impl Measured for Second {
    const NAMESPACE: &'static str = "AWS/Lambda";
    const WHAT: &'static str = "function metrics";

    fn data(&self) -> Vec<MetricDatum> {
        let of_alias = [
            dimension("FunctionName", &self.function),
            dimension("Resource", &format!("{}:{}", self.function, self.alias)),
        ];
        let at = DateTime::from_secs(self.at);
        let mut all = VersionCounts::default();
        let mut data = Vec::new();
        for (version, counts) in &self.versions {
            all.add(counts);
            let [function, resource] = of_alias.clone();
            let of_version = [function, resource, dimension("ExecutedVersion", version)];
            data.extend(counts.data(&datum(at, &of_version)));
        }
        data.extend(all.data(&datum(at, &of_alias)));
        data
    }
}

impl VersionCounts {
    fn add(&mut self, more: &Self) {
        self.invocations += more.invocations;
        self.errors += more.errors;
        for (micros, count) in &more.duration_micros {
            *self.duration_micros.entry(*micros).or_default() += count;
        }
    }

    /// `Invocations`, `Errors` (0 too, as Lambda does) and `Duration` in milliseconds.
    fn data(&self, datum: &DatumBuilder) -> Vec<MetricDatum> {
        let count = |name: &str, count: u64| {
            let datum = datum.clone().metric_name(name).value(count as f64);
            datum.unit(StandardUnit::Count).build()
        };
        let duration = datum.clone().metric_name("Duration");
        let duration = duration.unit(StandardUnit::Milliseconds);
        let mut data = distribution(&duration, &self.duration_micros, 1e3);
        data.push(count("Invocations", self.invocations));
        data.push(count("Errors", self.errors));
        data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_counted_by_itself_and_all_of_them_for_the_alias() {
        let counts = |invocations, errors| VersionCounts {
            invocations,
            errors,
            duration_micros: BTreeMap::from([(1_500, invocations)]),
        };
        let second = Second {
            function: "shop".to_owned(),
            alias: "live".to_owned(),
            at: 7,
            versions: [
                ("7".to_owned(), counts(9, 0)),
                ("8".to_owned(), counts(1, 1)),
            ]
            .into(),
        };
        let data = second.data();
        let seen: Vec<_> = data
            .iter()
            .map(|datum| {
                let dimensions = datum.dimensions().iter();
                let dimensions: Vec<_> = dimensions.filter_map(|d| d.value()).collect();
                let name = datum.metric_name().unwrap_or_default();
                let values = datum.values().first().copied();
                (name, dimensions.join(" "), datum.value().or(values))
            })
            .collect();
        let of = |resource: &str, invocations: f64, errors: f64| {
            [
                ("Duration", resource.to_owned(), Some(1.5)),
                ("Invocations", resource.to_owned(), Some(invocations)),
                ("Errors", resource.to_owned(), Some(errors)),
            ]
        };
        let expected = [
            of("shop shop:live 7", 9.0, 0.0),
            of("shop shop:live 8", 1.0, 1.0),
            of("shop shop:live", 10.0, 1.0),
        ];
        assert_eq!(seen, expected.concat());
        let times = data.iter().filter(|d| d.metric_name() == Some("Duration"));
        let times: Vec<f64> = times.map(|d| d.counts().iter().sum()).collect();
        assert_eq!(times, [9.0, 1.0, 10.0]);
        assert!(data.iter().all(|d| d.storage_resolution() == Some(1)));
    }
}
