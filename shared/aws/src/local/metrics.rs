//! Metrics that AWS's services publish of themselves, published to CloudWatch for the laptop: each
//! service's are [`Measured`], and a [`Publisher`] sends them. Here are a load balancer's; those of
//! functions are in [`super::invocations`].
//!
//! Namespace `AWS/ApplicationELB`, dimensions `LoadBalancer` and `TargetGroup` (the tails of the ARNs).
//! Two things differ from AWS on purpose: a datum for each second (storage resolution 1) instead of
//! each minute, so that a canary's step on a laptop takes seconds; and AWS itself refuses `PutMetricData`
//! to namespaces that begin with `AWS/`, so this works with an emulator only.
//!
//! `PutMetricData` adds; it has no token by which CloudWatch could know a second delivery. So a call
//! that may have been applied is never sent again: its seconds are given up, for all arms alike,
//! which a judge sees as missing data and not as a change of the error rate.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error as StdError;
use std::marker::PhantomData;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::retry::RetryConfig;
use aws_sdk_cloudwatch::config::timeout::TimeoutConfig;
use aws_sdk_cloudwatch::error::SdkError;
use aws_sdk_cloudwatch::operation::put_metric_data::PutMetricDataError;
use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{Dimension, MetricDatum, StandardUnit};

use super::Outage;

/// The namespace of an Application Load Balancer's metrics.
pub const NAMESPACE: &str = "AWS/ApplicationELB";

/// Most metrics in one `PutMetricData` call (AWS quota).
const METRICS_PER_CALL_MAX: usize = 1000;

/// Most distinct values in one datum's `Values` (AWS quota).
const VALUES_PER_DATUM_MAX: usize = 150;

/// Most batches kept while CloudWatch cannot be reached; the oldest is given up first.
const BACKLOG_MAX: usize = 300;

/// Most calls in one tick, so that a long backlog cannot starve the newest seconds.
const CALLS_PER_TICK_MAX: usize = 16;

/// How often finished seconds are published.
const TICK: Duration = Duration::from_secs(1);

/// How long one call may take before it counts as lost.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What one load balancer did in one finished second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Second {
    /// The load balancer as a dimension: `app/<name>/<id>`.
    pub load_balancer: String,
    /// The second, as seconds since the Unix epoch.
    pub at: i64,
    /// Requests that the load balancer answered itself with a 4xx (`HTTPCode_ELB_4XX_Count`).
    pub elb_4xx: u64,
    /// Requests that the load balancer answered itself with a 5xx (`HTTPCode_ELB_5XX_Count`).
    pub elb_5xx: u64,
    /// Counts by target group (`targetgroup/<name>/<id>`); a group that got nothing is present with zeros.
    pub groups: BTreeMap<String, GroupCounts>,
}

/// What one target group did in one second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupCounts {
    /// Requests for which a target was chosen (`RequestCount`).
    pub requests: u64,
    /// Answers of the targets by status class: 2xx, 3xx, 4xx, 5xx.
    pub answers: [u64; 4],
    /// Connections that could not be opened (`TargetConnectionErrorCount`).
    pub connection_errors: u64,
    /// How often a target took so many microseconds until its answer began (`TargetResponseTime`).
    pub response_micros: BTreeMap<u64, u64>,
}

const ANSWER_METRICS: [&str; 4] = [
    "HTTPCode_Target_2XX_Count",
    "HTTPCode_Target_3XX_Count",
    "HTTPCode_Target_4XX_Count",
    "HTTPCode_Target_5XX_Count",
];

/// What one second of a service's work comes to in CloudWatch.
pub trait Measured {
    /// The service's namespace.
    const NAMESPACE: &'static str;
    /// What the metrics are of, for the log.
    const WHAT: &'static str;

    /// The second's data.
    fn data(&self) -> Vec<MetricDatum>;
}

impl Measured for Second {
    const NAMESPACE: &'static str = NAMESPACE;
    const WHAT: &'static str = "load balancer metrics";

    fn data(&self) -> Vec<MetricDatum> {
        data(self)
    }
}

/// Why a batch of metrics did not arrive for sure.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// CloudWatch refused the call or was never reached: the batch is kept for the next tick.
    #[error("could not publish the metrics ({kept} batches kept for the next tick)")]
    Refused {
        /// Batches waiting, this one included.
        kept: usize,
        /// What the SDK reports.
        #[source]
        source: Box<SdkError<PutMetricDataError>>,
    },
    /// The answer was lost, so the batch may have been applied: it is given up, never sent twice.
    #[error(
        "could not learn whether {metrics} metrics were published; gave them up rather than count them twice"
    )]
    Unknown {
        /// Metrics in the batch given up.
        metrics: usize,
        /// What the SDK reports.
        #[source]
        source: Box<SdkError<PutMetricDataError>>,
    },
}

/// Publishes one service's finished seconds to CloudWatch, each at most once.
#[derive(Debug)]
pub struct Publisher<M = Second> {
    client: Client,
    backlog: Backlog,
    of: PhantomData<fn(M)>,
}

impl<M: Measured> Publisher<M> {
    /// A publisher that talks to the CloudWatch of `config`.
    pub fn new(config: &SdkConfig) -> Self {
        // The SDK's own retries would send again what may have been applied already.
        let config = aws_sdk_cloudwatch::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .build();
        Self {
            client: Client::from_conf(config),
            backlog: Backlog::default(),
            of: PhantomData,
        }
    }

    /// Takes finished seconds from `finished` each second and publishes them, until it is dropped.
    ///
    /// Failures are logged; what surely did not arrive is tried again at the next tick.
    pub async fn run(mut self, mut finished: impl FnMut() -> Vec<M>) {
        let mut outage = Outage::new(M::WHAT);
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            outage.note(&self.publish(finished()).await);
        }
    }

    /// Publishes these seconds and whatever an earlier call had to keep.
    ///
    /// # Errors
    /// [`PublishError::Refused`] keeps the data for the next call, [`PublishError::Unknown`] gives
    /// one batch up; batches behind the failed one wait for the next call.
    pub async fn publish(&mut self, finished: Vec<M>) -> Result<(), PublishError> {
        let given_up = finished
            .iter()
            .map(|second| self.backlog.push(second.data()))
            .sum::<usize>();
        if given_up > 0 {
            tracing::warn!(
                batches = given_up,
                "{} given up: the backlog is full",
                M::WHAT
            );
        }
        for _ in 0..CALLS_PER_TICK_MAX {
            let Some(batch) = self.backlog.take() else {
                break;
            };
            let call = self
                .client
                .put_metric_data()
                .namespace(M::NAMESPACE)
                .set_metric_data(Some(batch.clone()));
            match call.send().await {
                Ok(_) => {}
                Err(source) if surely_not_applied(&source) => {
                    self.backlog.put_back(batch);
                    let kept = self.backlog.batches.len();
                    return Err(PublishError::Refused {
                        kept,
                        source: Box::new(source),
                    });
                }
                Err(source) => {
                    return Err(PublishError::Unknown {
                        metrics: batch.len(),
                        source: Box::new(source),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Data waiting to be sent, oldest first. Each batch fits one call.
#[derive(Debug, Default)]
struct Backlog {
    batches: VecDeque<Vec<MetricDatum>>,
}

impl Backlog {
    /// Adds one second's data and returns how many batches had to be given up for it.
    fn push(&mut self, data: Vec<MetricDatum>) -> usize {
        self.batches
            .extend(data.chunks(METRICS_PER_CALL_MAX).map(<[_]>::to_vec));
        let excess = self.batches.len().saturating_sub(BACKLOG_MAX);
        self.batches.drain(..excess);
        excess
    }

    /// The oldest batches joined into one call's worth of whole batches.
    fn take(&mut self) -> Option<Vec<MetricDatum>> {
        let mut call = self.batches.pop_front()?;
        while let Some(next) = self
            .batches
            .pop_front_if(|next| call.len() + next.len() <= METRICS_PER_CALL_MAX)
        {
            call.extend(next);
        }
        Some(call)
    }

    fn put_back(&mut self, batch: Vec<MetricDatum>) {
        self.batches.push_front(batch);
    }
}

/// Whether a failed call certainly changed nothing.
///
/// An error answer did not store the data, a request that was not built or not connected never left.
fn surely_not_applied(error: &SdkError<PutMetricDataError>) -> bool {
    match error {
        SdkError::ServiceError(_) | SdkError::ConstructionFailure(_) => true,
        SdkError::DispatchFailure(_) => connection_refused(error),
        _ => false,
    }
}

fn connection_refused(error: &(dyn StdError + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// One second as CloudWatch data: `RequestCount` always, everything else only when it is not zero.
fn data(second: &Second) -> Vec<MetricDatum> {
    let at = DateTime::from_secs(second.at);
    let load_balancer = dimension("LoadBalancer", &second.load_balancer);
    let own = datum(at, std::slice::from_ref(&load_balancer));
    let mut data = Vec::new();
    data.extend(count(&own, "HTTPCode_ELB_4XX_Count", second.elb_4xx));
    data.extend(count(&own, "HTTPCode_ELB_5XX_Count", second.elb_5xx));
    for (group, counts) in &second.groups {
        let group = datum(
            at,
            &[load_balancer.clone(), dimension("TargetGroup", group)],
        );
        data.push(
            group
                .clone()
                .metric_name("RequestCount")
                .unit(StandardUnit::Count)
                .value(counts.requests as f64)
                .build(),
        );
        data.extend(
            ANSWER_METRICS
                .iter()
                .zip(counts.answers)
                .filter_map(|(name, n)| count(&group, name, n)),
        );
        data.extend(count(
            &group,
            "TargetConnectionErrorCount",
            counts.connection_errors,
        ));
        data.extend(response_times(&group, &counts.response_micros));
    }
    data
}

pub(super) type DatumBuilder = aws_sdk_cloudwatch::types::builders::MetricDatumBuilder;

pub(super) fn datum(at: DateTime, dimensions: &[Dimension]) -> DatumBuilder {
    MetricDatum::builder()
        .timestamp(at)
        .storage_resolution(1)
        .set_dimensions(Some(dimensions.to_vec()))
}

pub(super) fn dimension(name: &str, value: &str) -> Dimension {
    Dimension::builder().name(name).value(value).build()
}

fn count(datum: &DatumBuilder, name: &str, n: u64) -> Option<MetricDatum> {
    (n > 0).then(|| {
        datum
            .clone()
            .metric_name(name)
            .unit(StandardUnit::Count)
            .value(n as f64)
            .build()
    })
}

fn response_times(datum: &DatumBuilder, micros: &BTreeMap<u64, u64>) -> Vec<MetricDatum> {
    let datum = datum.clone().metric_name("TargetResponseTime");
    distribution(&datum.unit(StandardUnit::Seconds), micros, 1e6)
}

/// A metric whose values are known one by one: how often each came, in as few data as the quota
/// allows. `micros_per_unit` are the microseconds in the metric's unit.
pub(super) fn distribution(
    datum: &DatumBuilder,
    micros: &BTreeMap<u64, u64>,
    micros_per_unit: f64,
) -> Vec<MetricDatum> {
    let (values, counts): (Vec<f64>, Vec<f64>) = micros
        .iter()
        .map(|(micros, n)| (*micros as f64 / micros_per_unit, *n as f64))
        .unzip();
    values
        .chunks(VALUES_PER_DATUM_MAX)
        .zip(counts.chunks(VALUES_PER_DATUM_MAX))
        .map(|(values, counts)| {
            let datum = datum.clone().set_values(Some(values.to_vec()));
            datum.set_counts(Some(counts.to_vec())).build()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at: i64, groups: &[(&str, GroupCounts)]) -> Second {
        Second {
            load_balancer: "app/shop/1".to_owned(),
            at,
            groups: groups
                .iter()
                .map(|(name, counts)| ((*name).to_owned(), counts.clone()))
                .collect(),
            ..Second::default()
        }
    }

    fn names(data: &[MetricDatum]) -> Vec<&str> {
        data.iter().filter_map(MetricDatum::metric_name).collect()
    }

    #[test]
    fn an_idle_group_publishes_a_request_count_of_zero_and_nothing_else() {
        let data = data(&second(
            7,
            &[("targetgroup/green/2", GroupCounts::default())],
        ));
        assert_eq!(names(&data), ["RequestCount"]);
        assert_eq!(data[0].value(), Some(0.0));
        assert_eq!(data[0].storage_resolution(), Some(1));
        assert_eq!(data[0].timestamp(), Some(&DateTime::from_secs(7)));
        let dimensions: Vec<_> = data[0]
            .dimensions()
            .iter()
            .map(|d| (d.name(), d.value()))
            .collect();
        assert_eq!(
            dimensions,
            [
                (Some("LoadBalancer"), Some("app/shop/1")),
                (Some("TargetGroup"), Some("targetgroup/green/2")),
            ]
        );
    }

    #[test]
    fn every_count_that_is_not_zero_is_published_once() {
        let busy = GroupCounts {
            requests: 11,
            answers: [5, 0, 2, 3],
            connection_errors: 1,
            response_micros: BTreeMap::from([(1_500, 10)]),
        };
        let mut second = second(7, &[("targetgroup/blue/1", busy)]);
        second.elb_5xx = 1;
        let data = data(&second);
        assert_eq!(
            names(&data),
            [
                "HTTPCode_ELB_5XX_Count",
                "RequestCount",
                "HTTPCode_Target_2XX_Count",
                "HTTPCode_Target_4XX_Count",
                "HTTPCode_Target_5XX_Count",
                "TargetConnectionErrorCount",
                "TargetResponseTime",
            ]
        );
        assert_eq!(
            data[0].dimensions().len(),
            1,
            "the balancer's own answers belong to no group"
        );
        let times = data.last().expect("a response time");
        assert_eq!(
            (times.values(), times.counts()),
            (&[0.0015][..], &[10.0][..])
        );
    }

    #[test]
    fn response_times_stay_within_the_values_quota_and_lose_none() {
        let times: BTreeMap<u64, u64> = (1..=401).map(|micros| (micros, 2)).collect();
        let data = response_times(&datum(DateTime::from_secs(0), &[]), &times);
        assert!(
            data.iter()
                .all(|datum| datum.values().len() <= VALUES_PER_DATUM_MAX)
        );
        assert!(
            data.iter()
                .all(|datum| datum.values().len() == datum.counts().len())
        );
        assert_eq!(
            data.iter().flat_map(MetricDatum::counts).sum::<f64>(),
            802.0
        );
    }

    #[test]
    fn the_backlog_is_bounded_and_gives_up_the_oldest_first() {
        let mut backlog = Backlog::default();
        let idle = || vec![("targetgroup/blue/1", GroupCounts::default())];
        let given_up: usize = (0..BACKLOG_MAX as i64 + 5)
            .map(|at| backlog.push(data(&second(at, &idle()))))
            .sum();
        assert_eq!(given_up, 5);
        let call = backlog.take().expect("a call");
        assert_eq!(
            call.first().and_then(MetricDatum::timestamp),
            Some(&DateTime::from_secs(5))
        );
        assert_eq!(call.len(), BACKLOG_MAX);
        assert!(backlog.take().is_none());
    }

    #[test]
    fn a_call_never_carries_more_metrics_than_the_quota() {
        let mut backlog = Backlog::default();
        let one = datum(DateTime::from_secs(0), &[])
            .metric_name("RequestCount")
            .build();
        backlog.push(vec![one.clone(); METRICS_PER_CALL_MAX + 1]);
        backlog.push(vec![one; METRICS_PER_CALL_MAX - 1]);
        let calls: Vec<_> = std::iter::from_fn(|| backlog.take())
            .map(|call| call.len())
            .collect();
        assert_eq!(calls, [METRICS_PER_CALL_MAX, METRICS_PER_CALL_MAX]);
    }
}
