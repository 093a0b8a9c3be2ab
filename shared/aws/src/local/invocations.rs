//! What the versions behind an alias did, published to CloudWatch the way Lambda does it.
//!
//! Namespace `AWS/Lambda`, dimensions `FunctionName`, `Resource` (`FUNCTION:ALIAS`) and
//! `ExecutedVersion`. The emulator publishes by `FunctionName` alone, which is another metric to
//! CloudWatch, so nothing is counted twice. As with a load balancer there is a datum for each second
//! instead of each minute, and it carries the second in which the invocation ended, where AWS has
//! the one in which it began.

use std::collections::BTreeMap;

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{MetricDatum, StandardUnit};

use super::metrics::{Measured, datum, dimension, distribution};

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

    /// `Invocations`, `Errors` (0 too, as Lambda does) and `Duration` in milliseconds.
    fn data(&self) -> Vec<MetricDatum> {
        let resource = format!("{}:{}", self.function, self.alias);
        let of_version = |(version, counts): (&String, &VersionCounts)| {
            let dimensions = [
                dimension("FunctionName", &self.function),
                dimension("Resource", &resource),
                dimension("ExecutedVersion", version),
            ];
            let datum = datum(DateTime::from_secs(self.at), &dimensions);
            let count = |name: &str, count: u64| {
                let datum = datum.clone().metric_name(name).value(count as f64);
                datum.unit(StandardUnit::Count).build()
            };
            let mut data = vec![
                count("Invocations", counts.invocations),
                count("Errors", counts.errors),
            ];
            let duration = datum.clone().metric_name("Duration");
            let duration = duration.unit(StandardUnit::Milliseconds);
            data.extend(distribution(&duration, &counts.duration_micros, 1e3));
            data
        };
        self.versions.iter().flat_map(of_version).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_is_counted_by_itself_with_the_dimensions_of_an_alias() {
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
        let seven = || "shop shop:live 7".to_owned();
        let eight = || "shop shop:live 8".to_owned();
        assert_eq!(
            seen,
            [
                ("Invocations", seven(), Some(9.0)),
                ("Errors", seven(), Some(0.0)),
                ("Duration", seven(), Some(1.5)),
                ("Invocations", eight(), Some(1.0)),
                ("Errors", eight(), Some(1.0)),
                ("Duration", eight(), Some(1.5)),
            ]
        );
        assert!(data.iter().all(|d| d.storage_resolution() == Some(1)));
    }
}
