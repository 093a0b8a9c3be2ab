//! What both arms did, from CloudWatch: one GetMetricData call a look.

mod alb;
mod datapoints;
mod lambda;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    Dimension, Metric, MetricDataQuery, MetricDataResult, MetricStat, StatusCode,
};
use engine::{MetricSource, PortError};
use jiff::{SignedDuration, Timestamp};
use release::config::{AlbRule, Counting, LambdaAlias, Query, TargetSpec};
use release::{ArmCounts, Started, Window, WindowQuery};
use stats::Counts;

use crate::Aws;
use crate::error::{failed, odd_answer};

/// The most pages of one answer.
const PAGES_MAX: usize = 10;
const DOING: &str = "read the metrics";
/// How long before a release the stable version's speed is looked at.
const BEFORE: SignedDuration = SignedDuration::from_hours(1);
/// In how long a part of that time each, in seconds; the median of the parts counts.
const PART_SECONDS: i64 = 300;
/// The two sides of a release, as results name them.
const ARMS: [&str; 2] = ["canary", "baseline"];

/// A number that CloudWatch has for each period.
#[derive(Debug, Clone, PartialEq)]
enum Series {
    /// A statistic of one metric.
    Metric {
        namespace: String,
        name: String,
        dimensions: Vec<(String, String)>,
        stat: String,
    },
    /// Metric math, a search or a query.
    Expression(String),
}

/// What is counted of one metric in one arm: each is a sum.
#[derive(Debug, Clone, PartialEq)]
struct Count {
    total: Vec<Series>,
    bad: Vec<Series>,
}

impl MetricSource for Aws {
    async fn windows(
        &self,
        started: &Started,
        query: WindowQuery,
    ) -> Result<Vec<Window>, PortError> {
        let asked = asked(started);
        let queries = asked.iter().enumerate().map(|(number, asked)| {
            let id = format!("q{number}");
            asked.series.query(id, period(query.length))
        });
        let queries: Vec<_> = queries.collect();
        if queries.is_empty() {
            return Ok(Vec::new());
        }
        let mut sums = Sums::new(query, &asked);
        let range = (query.from, query.until);
        self.metric_data(queries, range, |r| sums.add(r)).await?;
        Ok(sums.windows())
    }

    async fn percentiles(
        &self,
        target: &TargetSpec,
        version: &str,
        percentiles: &BTreeMap<String, f64>,
        until: Timestamp,
    ) -> Result<BTreeMap<String, SignedDuration>, PortError> {
        let counter = Counter::of(target);
        let Some(unit) = counter.response_time_seconds() else {
            return Ok(BTreeMap::new());
        };
        let numbered = percentiles.values().enumerate();
        let queries = numbered.filter_map(|(number, percent)| {
            let series = counter.response_time(version, format!("p{percent}"))?;
            Some(series.query(format!("p{number}"), PART_SECONDS as i32))
        });
        let queries: Vec<_> = queries.collect();
        let from = (until - BEFORE).as_second().div_euclid(PART_SECONDS) * PART_SECONDS;
        let range = (Timestamp::from_second(from).unwrap_or(until), until);
        let mut parts: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        self.metric_data(queries, range, |result| {
            let id = result.id().unwrap_or_default().to_owned();
            parts.entry(id).or_default().extend(result.values());
            Ok(())
        })
        .await?;
        let known = percentiles.keys().enumerate().filter_map(|(number, name)| {
            let time = median(parts.remove(&format!("p{number}"))?)?;
            Some((name.clone(), seconds(time * unit)?))
        });
        Ok(known.collect())
    }
}

impl Aws {
    /// One GetMetricData call, with all its pages. Every query must be answered, and completely.
    async fn metric_data(
        &self,
        queries: Vec<MetricDataQuery>,
        (from, until): (Timestamp, Timestamp),
        mut take: impl FnMut(&MetricDataResult) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        let mut complete = BTreeSet::new();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let call = self.cloudwatch.get_metric_data();
            let page = call
                .set_metric_data_queries(Some(queries.clone()))
                .start_time(instant(from))
                .end_time(instant(until))
                .set_next_token(token)
                .send()
                .await
                .map_err(|e| failed(DOING, e))?;
            for result in page.metric_data_results() {
                if is_complete(result)? {
                    complete.insert(result.id().unwrap_or_default().to_owned());
                }
                take(result)?;
            }
            token = page.next_token;
            if token.is_none() {
                let whole = queries
                    .iter()
                    .all(|q| q.id().is_some_and(|id| complete.contains(id)));
                return match whole {
                    true => Ok(()),
                    false => Err(odd_answer(DOING, "the answer is not complete")),
                };
            }
        }
        Err(odd_answer(DOING, "the answer has too many pages"))
    }
}

/// Whether a result is whole; if not, it goes on on the next page.
fn is_complete(result: &MetricDataResult) -> Result<bool, PortError> {
    match result.status_code() {
        Some(StatusCode::Complete) => Ok(true),
        Some(StatusCode::PartialData) => Ok(false),
        status => {
            let status = status.map_or("nothing", StatusCode::as_str);
            Err(odd_answer(DOING, &format!("CloudWatch answered {status}")))
        }
    }
}

/// One query, and what its sums are added to.
#[derive(Debug)]
struct Asked {
    metric: String,
    /// Of [`ARMS`].
    arm: usize,
    is_total: bool,
    /// Whether a team's own queries say so, and not the target.
    is_own: bool,
    series: Series,
}

/// Everything that is asked of each window.
fn asked(started: &Started) -> Vec<Asked> {
    let versions = [&started.arms.candidate, &started.arms.stable];
    let counter = Counter::of(&started.plan.target);
    let mut all = Vec::new();
    for (metric, counting) in started.counting() {
        let is_own = matches!(counting, Counting::Queries { .. });
        for (arm, version) in versions.into_iter().enumerate() {
            let Some(count) = counter.count(ARMS[arm], version, counting) else {
                continue;
            };
            let total = count.total.into_iter().map(|series| (true, series));
            let bad = count.bad.into_iter().map(|series| (false, series));
            all.extend(total.chain(bad).map(|(is_total, series)| Asked {
                metric: metric.to_owned(),
                arm,
                is_total,
                is_own,
                series,
            }));
        }
    }
    all
}

/// What tells the requests of a target's versions apart, and counts them.
enum Counter<'a> {
    Balancer(Cow<'a, AlbRule>),
    Alias(&'a LambdaAlias),
    /// The target has one version at a time.
    Nobody,
}

impl<'a> Counter<'a> {
    fn of(target: &'a TargetSpec) -> Self {
        match target {
            TargetSpec::AlbRule(alb) => Self::Balancer(Cow::Borrowed(alb)),
            TargetSpec::LambdaAlias(alias) => Self::Alias(alias),
            TargetSpec::EcsServices(ecs) => Self::Balancer(Cow::Owned(ecs.alb())),
            TargetSpec::EcsTaskSets(ecs) => Self::Balancer(Cow::Owned(ecs.alb())),
            TargetSpec::EcsRolling(_) => Self::Nobody,
        }
    }

    fn count(&self, arm: &str, version: &str, counting: Counting<'_>) -> Option<Count> {
        Some(match (counting, self) {
            (_, Self::Nobody) => return None,
            (Counting::Errors, Self::Balancer(alb)) => alb::errors(alb, version),
            (Counting::SlowerThan(time), Self::Balancer(alb)) => {
                alb::slower_than(alb, version, time)
            }
            (Counting::Errors, Self::Alias(alias)) => lambda::errors(alias, version),
            (Counting::SlowerThan(time), Self::Alias(alias)) => {
                lambda::slower_than(alias, version, time)
            }
            (Counting::Queries { total, bad }, _) => Count {
                total: vec![self.series_of(total, arm, version)],
                bad: vec![self.series_of(bad, arm, version)],
            },
        })
    }

    /// How long requests took at the version that served everything.
    fn response_time(&self, version: &str, stat: String) -> Option<Series> {
        match self {
            Self::Balancer(alb) => Some(alb::response_time(alb, version, stat)),
            Self::Alias(alias) => Some(lambda::duration(alias, stat)),
            Self::Nobody => None,
        }
    }

    /// The seconds in the unit of [`Counter::response_time`].
    fn response_time_seconds(&self) -> Option<f64> {
        match self {
            Self::Balancer(_) => Some(1.0),
            Self::Alias(_) => Some(lambda::DURATION_SECONDS),
            Self::Nobody => None,
        }
    }

    /// A team's own query for one arm, its placeholders filled in.
    fn series_of(&self, query: &Query, arm: &str, version: &str) -> Series {
        let filled = |text: &str| {
            let (name, group, balancer) = match self {
                Self::Balancer(alb) => {
                    let group = arn_tail(version);
                    let name = group.split('/').nth(1).unwrap_or(group);
                    (name, group, alb.load_balancer())
                }
                // The configuration's check refuses the other two.
                Self::Alias(_) | Self::Nobody => (version, "", ""),
            };
            text.replace("${arm}", arm)
                .replace("${version}", name)
                .replace("${target-group}", group)
                .replace("${load-balancer}", balancer)
        };
        series(query, filled)
    }
}

/// What a query asks for, with the texts in it as `filled` gives them back.
fn series(query: &Query, filled: impl Fn(&str) -> String) -> Series {
    if let Some(expression) = &query.expression {
        return Series::Expression(filled(expression));
    }
    let dimensions = query.dimensions.iter();
    Series::Metric {
        namespace: query.namespace.clone(),
        name: query.metric.clone(),
        dimensions: dimensions
            .map(|(name, value)| (name.clone(), filled(value)))
            .collect(),
        stat: query.stat.clone().unwrap_or_else(|| "Sum".to_owned()),
    }
}

impl Series {
    fn query(&self, id: String, period: i32) -> MetricDataQuery {
        let query = MetricDataQuery::builder().id(id).return_data(true);
        match self {
            Self::Expression(text) => query.expression(text).period(period).build(),
            Self::Metric {
                namespace,
                name,
                dimensions,
                stat,
            } => {
                let dimensions = dimensions.iter();
                let dimensions = dimensions
                    .map(|(name, value)| Dimension::builder().name(name).value(value).build());
                let metric = Metric::builder()
                    .namespace(namespace)
                    .metric_name(name)
                    .set_dimensions(Some(dimensions.collect()));
                let stat = MetricStat::builder()
                    .metric(metric.build())
                    .period(period)
                    .stat(stat);
                query.metric_stat(stat.build()).build()
            }
        }
    }
}

/// `targetgroup/NAME/ID`, the dimension of a target group's metrics.
fn arn_tail(group: &str) -> &str {
    group.rsplit(':').next().unwrap_or(group)
}

/// The middle one of several numbers.
fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.retain(|number| number.is_finite());
    numbers.sort_unstable_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}

/// A time of some seconds, if a request can take so long.
fn seconds(number: f64) -> Option<SignedDuration> {
    let time = SignedDuration::try_from_secs_f64(number).ok()?;
    (time.as_micros() > 0).then_some(SignedDuration::from_micros(
        i64::try_from(time.as_micros()).ok()?,
    ))
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

/// Datapoints added up by window, metric and arm.
struct Sums<'a> {
    query: WindowQuery,
    /// What the results are of, by their ids' numbers.
    asked: &'a [Asked],
    /// By the window's start and the metric: total and bad requests of canary and baseline.
    windows: BTreeMap<Timestamp, BTreeMap<&'a str, [Arm; 2]>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Arm {
    total: u64,
    bad: u64,
}

impl<'a> Sums<'a> {
    fn new(query: WindowQuery, asked: &'a [Asked]) -> Self {
        Self {
            query,
            asked,
            windows: BTreeMap::new(),
        }
    }

    fn add(&mut self, result: &MetricDataResult) -> Result<(), PortError> {
        let id = result.id().unwrap_or_default();
        let number = id.strip_prefix('q').and_then(|n| n.parse::<usize>().ok());
        let Some(asked) = number.and_then(|number| self.asked.get(number)) else {
            return Err(odd_answer(DOING, "CloudWatch answered what was not asked"));
        };
        for (time, value) in result.timestamps().iter().zip(result.values()) {
            let Some(start) = self.window_of(time.secs()) else {
                continue;
            };
            let metrics = self.windows.entry(start).or_default();
            let sums = &mut metrics.entry(&asked.metric).or_default()[asked.arm];
            let sum = match asked.is_total {
                true => &mut sums.total,
                false => &mut sums.bad,
            };
            *sum = sum.saturating_add(count(*value));
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
        let own = self.asked.iter().filter(|asked| asked.is_own);
        let own: BTreeSet<_> = own.map(|asked| asked.metric.as_str()).collect();
        let windows = self.windows.into_iter().map(|(start, metrics)| {
            let seen = metrics
                .into_iter()
                .filter(|(_, arms)| arms.iter().any(|arm| arm.total > 0))
                .filter(|(metric, arms)| !own.contains(metric) || are_counts(metric, arms));
            let counts = seen.map(|(metric, [canary, baseline])| {
                let counts = ArmCounts {
                    canary: canary.counts(),
                    baseline: baseline.counts(),
                };
                (metric.to_owned(), counts)
            });
            Window {
                start,
                metrics: counts.collect(),
            }
        });
        windows
            .filter(|window| !window.metrics.is_empty())
            .collect()
    }
}

/// Whether a team's own queries count a part of a whole; if not, the window cannot be observed.
fn are_counts(metric: &str, arms: &[Arm; 2]) -> bool {
    let odd = arms.iter().find(|arm| arm.bad > arm.total);
    if let Some(Arm { total, bad }) = odd {
        tracing::warn!(
            metric,
            total,
            bad,
            "more are bad than there are: check `total` and `bad`"
        );
    }
    odd.is_none()
}

impl Arm {
    /// At a target, a request and its error may fall into neighbouring windows.
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
    use release::config::{Config, ERRORS};
    use release::{Arms, ReleaseId};

    use super::*;

    const CONFIG: &str = include_str!("../../tests/metrics.yaml");
    const GROUP: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup";

    fn started() -> Started {
        let config = Config::parse(CONFIG).unwrap();
        Started {
            at: Timestamp::UNIX_EPOCH,
            release: ReleaseId::for_job("web", "1").unwrap(),
            execution: None,
            pipeline: None,
            plan: config.release(None).unwrap().1.clone(),
            arms: Arms {
                stable: format!("{GROUP}/blue/1"),
                candidate: format!("{GROUP}/green/2"),
            },
            alarms_firing: BTreeSet::new(),
            images: Default::default(),
            warnings: Vec::new(),
            slower_than: BTreeMap::from([(
                "slow:p90".to_owned(),
                SignedDuration::from_millis(250),
            )]),
            judge: None,
        }
    }

    fn result(id: usize, points: &[(i64, f64)]) -> MetricDataResult {
        let (times, values): (Vec<_>, Vec<_>) = points.iter().copied().unzip();
        MetricDataResult::builder()
            .id(format!("q{id}"))
            .status_code(StatusCode::Complete)
            .set_timestamps(Some(times.into_iter().map(DateTime::from_secs).collect()))
            .set_values(Some(values))
            .build()
    }

    /// The number of the query of this metric and arm.
    fn number(asked: &[Asked], metric: &str, arm: &str, is_total: bool) -> usize {
        let is = |a: &Asked| a.metric == metric && ARMS[a.arm] == arm && a.is_total == is_total;
        asked.iter().position(is).unwrap()
    }

    fn windows(asked: &[Asked], results: &[MetricDataResult]) -> Vec<Window> {
        let at = |second| Timestamp::from_second(second).unwrap();
        let query = WindowQuery {
            from: at(100),
            until: at(106),
            length: SignedDuration::from_secs(2),
        };
        let mut sums = Sums::new(query, asked);
        results.iter().for_each(|r| sums.add(r).unwrap());
        sums.windows()
    }

    #[test]
    fn seconds_add_up_to_windows_in_whatever_order_they_come() {
        let asked = asked(&started());
        let of = |arm, is_total| number(&asked, ERRORS, arm, is_total);
        let windows = windows(
            &asked,
            &[
                result(
                    of("canary", true),
                    &[(103, 4.0), (102, 6.0), (99, 50.0), (106, 50.0)],
                ),
                result(of("canary", false), &[(103, 1.0)]),
                result(of("canary", false) + 1, &[(102, 2.0)]),
                result(of("baseline", true), &[(100, 90.0), (103, 95.0)]),
            ],
        );
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
    fn what_was_not_counted_is_absent_and_never_healthy() {
        let asked = asked(&started());
        let of = |metric, is_total| number(&asked, metric, "canary", is_total);
        assert!(windows(&asked, &[result(of(ERRORS, true), &[(100, 0.0)])]).is_empty());
        let results = [
            result(of(ERRORS, true), &[(100, 5.0)]),
            result(of("slow:p90", false), &[(100, 5.0)]),
        ];
        let windows = windows(&asked, &results);
        let metrics: Vec<_> = windows[0].metrics.keys().collect();
        assert_eq!(metrics, [ERRORS], "slow requests of no requests are none");
    }

    #[test]
    fn more_bad_payments_than_payments_are_no_observation() {
        let asked = asked(&started());
        let of = |metric, is_total| number(&asked, metric, "canary", is_total);
        let results = [
            result(of(ERRORS, true), &[(100, 5.0)]),
            result(of(ERRORS, false), &[(100, 6.0)]),
            result(of("payments", true), &[(100, 5.0), (102, 5.0)]),
            result(of("payments", false), &[(100, 6.0), (102, 5.0)]),
        ];
        let windows = windows(&asked, &results);
        assert_eq!(windows[0].metrics[ERRORS].canary.bad, 5);
        assert!(!windows[0].metrics.contains_key("payments"));
        assert_eq!(windows[1].metrics["payments"].canary.bad, 5);
    }

    #[test]
    fn what_is_asked_is_each_metric_for_each_arm_and_nothing_that_is_not_known() {
        let asked = asked(&started());
        let of = |metric, arm, is_total| &asked[number(&asked, metric, arm, is_total)].series;
        let metric = |namespace: &str, name: &str, dimensions: &[(&str, &str)], stat: &str| {
            let dimensions = dimensions.iter();
            Series::Metric {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
                dimensions: dimensions
                    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                    .collect(),
                stat: stat.to_owned(),
            }
        };
        let alb = |name, group, stat| {
            let dimensions = [("LoadBalancer", "app/shop/1"), ("TargetGroup", group)];
            metric("AWS/ApplicationELB", name, &dimensions, stat)
        };
        let (blue, green) = ("targetgroup/blue/1", "targetgroup/green/2");
        assert_eq!(
            *of(ERRORS, "baseline", true),
            alb("RequestCount", blue, "Sum")
        );
        let time = "TargetResponseTime";
        assert_eq!(
            *of("slow:p90", "canary", true),
            alb(time, green, "SampleCount")
        );
        assert_eq!(
            *of("slow:p90", "canary", false),
            alb(time, green, "TC(0.250000:)")
        );
        assert_eq!(
            *of("slow:search", "canary", false),
            alb(time, green, "TC(0.800000:)")
        );
        assert_eq!(
            *of("payments", "canary", true),
            metric("Shop", "Payments", &[("Version", "green")], "SampleCount")
        );
        assert_eq!(
            *of("payments", "baseline", false),
            Series::Expression("SEARCH('Shop baseline targetgroup/blue/1 app/shop/1')".to_owned())
        );
        let known = asked.iter().map(|a| a.metric.as_str());
        let known: BTreeSet<_> = known.collect();
        assert_eq!(
            known,
            BTreeSet::from([ERRORS, "payments", "slow:p90", "slow:search"]),
            "the stable version's p99 was not known"
        );
    }

    #[test]
    fn an_answer_that_is_not_complete_or_was_not_asked_is_an_error() {
        let of = |status| MetricDataResult::builder().status_code(status).build();
        assert!(is_complete(&of(StatusCode::Complete)).unwrap());
        assert!(!is_complete(&of(StatusCode::PartialData)).unwrap());
        assert!(is_complete(&of(StatusCode::InternalError)).is_err());
        assert!(is_complete(&of(StatusCode::Forbidden)).is_err());
        assert!(is_complete(&MetricDataResult::builder().build()).is_err());
        let query = WindowQuery {
            from: Timestamp::UNIX_EPOCH,
            until: Timestamp::UNIX_EPOCH,
            length: SignedDuration::from_secs(1),
        };
        assert!(Sums::new(query, &[]).add(&result(0, &[])).is_err());
    }

    #[test]
    fn the_stable_versions_speed_is_the_median_of_what_is_a_time() {
        assert_eq!(median(vec![0.3, f64::NAN, 0.1, 0.2]), Some(0.2));
        assert_eq!(median(vec![f64::INFINITY]), None);
        assert_eq!(seconds(0.25), Some(SignedDuration::from_millis(250)));
        assert_eq!(seconds(0.250_000_4), Some(SignedDuration::from_millis(250)));
        for odd in [0.0, -1.0, 1e-9, f64::NAN, 1e300] {
            assert_eq!(seconds(odd), None, "{odd}");
        }
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
