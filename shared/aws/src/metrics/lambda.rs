//! What Lambda counts of each version behind an alias. It publishes a datum a minute, once invocations
//! have ended, at the time at which they began.

use jiff::SignedDuration;
use release::config::LambdaAlias;

use super::{Count, Series};

const NAMESPACE: &str = "AWS/Lambda";
/// In milliseconds, one sample for each invocation; the time to start is not in it.
const DURATION: &str = "Duration";
/// What [`DURATION`] is counted in.
pub(super) const DURATION_SECONDS: f64 = 0.001;

/// Invocations that ended in an exception, by running out of time, or with the runtime itself. An
/// answer that says 'error' in its own words, such as a status 500 for an API Gateway, is none of
/// them; neither is a throttled invocation, which no version has had.
pub(super) fn errors(alias: &LambdaAlias, version: &str) -> Count {
    let sum = |name| series(of_version(alias, version), name, "Sum".to_owned());
    Count {
        total: vec![sum("Invocations")],
        bad: vec![sum("Errors")],
    }
}

/// Invocations that took longer than `time`.
pub(super) fn slower_than(alias: &LambdaAlias, version: &str, time: SignedDuration) -> Count {
    let micros = time.as_micros();
    let slower = format!("TC({}.{:03}:)", micros / 1_000, micros % 1_000);
    let duration = |stat| series(of_version(alias, version), DURATION, stat);
    Count {
        total: vec![duration("SampleCount".to_owned())],
        bad: vec![duration(slower)],
    }
}

/// This statistic of how long invocations through the alias took, in milliseconds, whatever version
/// had them. Before a release it is the stable one; Lambda tells versions apart only behind an alias
/// that divides its invocations.
pub(super) fn duration(alias: &LambdaAlias, stat: String) -> Series {
    series(of_alias(alias), DURATION, stat)
}

fn of_alias(alias: &LambdaAlias) -> Vec<(String, String)> {
    let function = alias.function_name();
    let dimensions = [
        ("FunctionName", function.to_owned()),
        ("Resource", format!("{function}:{}", alias.alias)),
    ];
    dimensions
        .map(|(name, value)| (name.to_owned(), value))
        .into()
}

fn of_version(alias: &LambdaAlias, version: &str) -> Vec<(String, String)> {
    let mut dimensions = of_alias(alias);
    dimensions.push(("ExecutedVersion".to_owned(), version.to_owned()));
    dimensions
}

fn series(dimensions: Vec<(String, String)>, name: &str, stat: String) -> Series {
    Series::Metric {
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
        dimensions,
        stat,
    }
}

#[cfg(test)]
mod tests {
    use release::config::NewVersion;

    use super::*;

    fn alias() -> LambdaAlias {
        LambdaAlias {
            function: "arn:aws:lambda:eu-west-1:123456789012:function:shop".to_owned(),
            alias: "live".to_owned(),
            version: NewVersion::Published,
        }
    }

    /// Name, statistic and the dimensions' values.
    fn parts(series: &Series) -> (&str, &str, Vec<&str>) {
        let Series::Metric {
            name,
            stat,
            dimensions,
            ..
        } = series
        else {
            panic!("no metric");
        };
        let values = dimensions.iter().map(|(_, value)| value.as_str());
        (name, stat, values.collect())
    }

    #[test]
    fn a_version_is_counted_behind_its_alias_and_by_itself() {
        let count = errors(&alias(), "8");
        let dimensions = || vec!["shop", "shop:live", "8"];
        assert_eq!(parts(&count.total[0]), ("Invocations", "Sum", dimensions()));
        assert_eq!(parts(&count.bad[0]), ("Errors", "Sum", dimensions()));
        let before = duration(&alias(), "p90".to_owned());
        assert_eq!(
            parts(&before),
            ("Duration", "p90", vec!["shop", "shop:live"])
        );
    }

    #[test]
    fn a_time_is_written_in_milliseconds_as_cloudwatch_reads_it() {
        for (micros, written) in [
            (250_000, "TC(250.000:)"),
            (1, "TC(0.001:)"),
            (61_000_500, "TC(61000.500:)"),
        ] {
            let count = slower_than(&alias(), "8", SignedDuration::from_micros(micros));
            let (name, stat, _) = parts(&count.bad[0]);
            assert_eq!((name, stat), ("Duration", written));
            assert_eq!(parts(&count.total[0]).1, "SampleCount");
        }
    }
}
