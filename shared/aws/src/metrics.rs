//! What both arms did, from CloudWatch: one GetMetricData call a look.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, StatusCode,
};
use engine::{Class, MetricSource, PortError};
use jiff::{SignedDuration, Timestamp};
use release::config::{AlbRule, ERRORS, TargetSpec};
use release::{ArmCounts, Arms, Window, WindowQuery};
use stats::Counts;

use crate::Aws;
use crate::error::{failed, odd_answer};

/// The most pages of one answer.
const PAGES_MAX: usize = 10;
const DOING: &str = "read the metrics";

/// A sum over the requests of one arm: query id, metric.
const TOTAL: &[(&str, &str)] = &[("total", "RequestCount")];
/// Connections that could not be made get a 502 from the load balancer, not from a target, so they
/// count besides the targets' own errors. A target that accepts a connection and then drops it, or
/// lets it time out, is counted by no metric of a target group; guard against it with an alarm.
const BAD: &[(&str, &str)] = &[
    ("bad5xx", "HTTPCode_Target_5XX_Count"),
    ("badconn", "TargetConnectionErrorCount"),
];

impl MetricSource for Aws {
    async fn windows(
        &self,
        target: &TargetSpec,
        arms: &Arms,
        query: WindowQuery,
    ) -> Result<Vec<Window>, PortError> {
        let alb = match target {
            TargetSpec::AlbRule(alb) => alb,
            TargetSpec::LambdaAlias(alias) => {
                let what = format!("those of {} cannot be judged yet", alias.arn());
                return Err(PortError::new(Class::Permanent, DOING, what));
            }
        };
        let queries: Vec<_> = [("canary", &arms.candidate), ("baseline", &arms.stable)]
            .into_iter()
            .flat_map(|(arm, group)| queries(alb, arm, group, query.length))
            .collect();
        let mut sums = Sums::new(query);
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let call = self.cloudwatch.get_metric_data();
            let page = call
                .set_metric_data_queries(Some(queries.clone()))
                .start_time(instant(query.from))
                .end_time(instant(query.until))
                .set_next_token(token)
                .send()
                .await
                .map_err(|e| failed(DOING, e))?;
            page.metric_data_results()
                .iter()
                .try_for_each(|r| sums.add(r))?;
            token = page.next_token;
            if token.is_none() {
                return match sums.complete.len() == queries.len() {
                    true => Ok(sums.windows()),
                    false => Err(odd_answer(DOING, "the answer is not complete")),
                };
            }
        }
        Err(odd_answer(DOING, "the answer has too many pages"))
    }
}

/// All sums of one arm, a query each.
fn queries(alb: &AlbRule, arm: &str, group: &str, length: SignedDuration) -> Vec<MetricDataQuery> {
    let dimension = |name: &str, value: &str| Dimension::builder().name(name).value(value).build();
    let metrics = TOTAL.iter().chain(BAD);
    let query = |(id, name): &(&str, &str)| {
        let metric = Metric::builder()
            .namespace("AWS/ApplicationELB")
            .metric_name(*name)
            .dimensions(dimension("LoadBalancer", alb.load_balancer()))
            .dimensions(dimension("TargetGroup", arn_tail(group)))
            .build();
        let stat = MetricStat::builder()
            .metric(metric)
            .period(period(length))
            .stat("Sum");
        MetricDataQuery::builder()
            .id(format!("{arm}_{id}"))
            .metric_stat(stat.build())
            .return_data(true)
            .build()
    };
    metrics.map(query).collect()
}

/// `targetgroup/NAME/ID`, the dimension of a target group's metrics.
fn arn_tail(group: &str) -> &str {
    group.rsplit(':').next().unwrap_or(group)
}

/// The longest period of CloudWatch, in seconds, that divides a window.
fn period(length: SignedDuration) -> i32 {
    let seconds = length.as_secs();
    let periods = [60, 30, 10, 5, 1];
    let fits = periods.into_iter().find(|p| seconds % i64::from(*p) == 0);
    fits.unwrap_or(1)
}

fn instant(time: Timestamp) -> DateTime {
    DateTime::from_secs(time.as_second())
}

/// Datapoints added up by window, arm and kind.
struct Sums {
    query: WindowQuery,
    /// By the window's start: total and bad requests of canary and baseline.
    windows: BTreeMap<Timestamp, [Arm; 2]>,
    /// The queries whose answer is whole.
    complete: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Arm {
    total: u64,
    bad: u64,
}

impl Sums {
    fn new(query: WindowQuery) -> Self {
        Self {
            query,
            windows: BTreeMap::new(),
            complete: BTreeSet::new(),
        }
    }

    fn add(&mut self, result: &MetricDataResult) -> Result<(), PortError> {
        let id = result.id().unwrap_or_default();
        match result.status_code() {
            Some(StatusCode::Complete) => drop(self.complete.insert(id.to_owned())),
            Some(StatusCode::PartialData) => {} // it goes on on the next page
            status => {
                let status = status.map_or("nothing", StatusCode::as_str);
                return Err(odd_answer(DOING, &format!("CloudWatch answered {status}")));
            }
        }
        let (arm, kind) = id.split_once('_').unwrap_or_default();
        let arm = usize::from(arm == "baseline");
        for (time, value) in result.timestamps().iter().zip(result.values()) {
            let Some(start) = self.window_of(time.secs()) else {
                continue;
            };
            let sums = &mut self.windows.entry(start).or_default()[arm];
            let count = count(*value);
            match kind {
                "total" => sums.total = sums.total.saturating_add(count),
                _ => sums.bad = sums.bad.saturating_add(count),
            }
        }
        Ok(())
    }

    /// The start of the window that this second belongs to.
    fn window_of(&self, second: i64) -> Option<Timestamp> {
        let WindowQuery {
            from,
            until,
            length,
        } = self.query;
        let range = from.as_second()..until.as_second();
        let start = range.contains(&second).then(|| {
            let length = length.as_secs().max(1);
            second - (second - from.as_second()) % length
        })?;
        Timestamp::from_second(start).ok()
    }

    fn windows(self) -> Vec<Window> {
        let with_data = self.windows.into_iter();
        with_data
            .filter(|(_, arms)| arms.iter().any(|arm| arm.total > 0))
            .map(|(start, [canary, baseline])| {
                let counts = ArmCounts {
                    canary: canary.counts(),
                    baseline: baseline.counts(),
                };
                let metrics = BTreeMap::from([(ERRORS.to_owned(), counts)]);
                Window { start, metrics }
            })
            .collect()
    }
}

impl Arm {
    fn counts(self) -> Counts {
        Counts {
            count: self.total,
            bad: self.bad.min(self.total),
        }
    }
}

/// A sum of requests; CloudWatch has floating-point numbers only.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and a count that is no number is none"
)]
fn count(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(id: &str, points: &[(i64, f64)]) -> MetricDataResult {
        let (times, values): (Vec<_>, Vec<_>) = points.iter().copied().unzip();
        MetricDataResult::builder()
            .id(id)
            .status_code(StatusCode::Complete)
            .set_timestamps(Some(times.into_iter().map(DateTime::from_secs).collect()))
            .set_values(Some(values))
            .build()
    }

    fn sums(results: &[MetricDataResult]) -> Vec<Window> {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut sums = Sums::new(WindowQuery {
            from: at(100),
            until: at(106),
            length: SignedDuration::from_secs(2),
        });
        results.iter().for_each(|r| sums.add(r).unwrap());
        sums.windows()
    }

    #[test]
    fn seconds_add_up_to_windows_in_whatever_order_they_come() {
        let windows = sums(&[
            result(
                "canary_total",
                &[(103, 4.0), (102, 6.0), (99, 50.0), (106, 50.0)],
            ),
            result("canary_bad5xx", &[(103, 1.0)]),
            result("canary_badconn", &[(102, 2.0)]),
            result("baseline_total", &[(100, 90.0), (103, 95.0)]),
        ]);
        let seen: Vec<_> = windows
            .iter()
            .map(|w| {
                let c = &w.metrics[ERRORS];
                (
                    w.start.as_second(),
                    c.canary.count,
                    c.canary.bad,
                    c.baseline.count,
                )
            })
            .collect();
        assert_eq!(seen, [(100, 0, 0, 90), (102, 10, 3, 95)]);
    }

    #[test]
    fn a_window_without_any_request_is_absent_and_never_healthy() {
        assert!(sums(&[result("canary_total", &[(100, 0.0)])]).is_empty());
    }

    #[test]
    fn an_incomplete_answer_is_an_error() {
        let bad = MetricDataResult::builder()
            .status_code(StatusCode::InternalError)
            .build();
        let query = WindowQuery {
            from: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            length: SignedDuration::from_secs(1),
        };
        assert!(Sums::new(query).add(&bad).is_err());
    }

    #[test]
    fn periods_are_those_that_cloudwatch_has_and_divide_the_window() {
        for (window, longest) in [
            (1, 1),
            (2, 1),
            (5, 5),
            (20, 10),
            (30, 30),
            (60, 60),
            (300, 60),
        ] {
            assert_eq!(period(SignedDuration::from_secs(window)), longest);
        }
    }

    #[test]
    fn hostile_numbers_are_counted_as_something_finite() {
        assert_eq!(count(f64::NAN), 0);
        assert_eq!(count(-5.0), 0);
        assert_eq!(count(f64::INFINITY), u64::MAX);
    }
}
