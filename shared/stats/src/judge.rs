//! All metrics together, and the verdict.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{JudgeConfig, METRIC_NAME_LEN_MAX};
use crate::counts::{Counts, CountsError};
use crate::logspace::log_sum;
use crate::metric::{Metric, Sight};
use crate::verdict::Verdict;

/// The state of a trial: small, plain data, a pure function of the configuration and the windows.
///
/// Written and read by serde at any moment, it goes on exactly as if it had not been, provided
/// that the format returns every `f64` bit by bit (for `serde_json`: feature `float_roundtrip`).
///
/// Each window of a metric must be observed once: betting twice on one window breaks the promise.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Judge {
    metrics: BTreeMap<String, Metric>,
    /// The highest ln E so far. The promise is about the maximum, so a rollback, once reached,
    /// stays: later evidence cannot take it back.
    peak_log_e: f64,
}

/// What one window of one metric did. All evidence is ln E, after the window.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Look {
    /// Whether both arms had requests, so that they could be compared.
    pub compared: bool,
    /// That the canary is worse than the baseline in this metric.
    pub log_e_metric: f64,
    /// That the canary breaks the limit of this metric, if it has one.
    pub log_e_limit: Option<f64>,
    /// That the canary is good enough in this metric for an early promotion.
    pub log_ni_metric: f64,
    /// That the canary does harm, by all metrics together.
    pub log_e: f64,
}

/// Why a window cannot be judged.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ObserveError {
    /// The configuration that the judge began with says nothing about this metric.
    #[error("could not judge by metric {metric:?}: give it a share in weights (it has {known})")]
    UnknownMetric {
        /// The metric.
        metric: String,
        /// The metrics that are known, separated by commas.
        known: String,
    },
    /// The metric comes twice in one window: betting twice on one window breaks the promise.
    #[error("could not judge by metric {metric:?} twice in one window: give each metric once")]
    Repeated {
        /// The metric.
        metric: String,
    },
    /// More requests are bad than there are.
    #[error("could not judge by metric {metric:?}")]
    Counts {
        /// The metric.
        metric: String,
        /// What is wrong with the counts.
        source: CountsError,
    },
}

/// One kind of evidence of harm, and its share of the whole.
#[derive(Clone, Copy)]
pub(crate) struct Strand<'a> {
    pub(crate) name: &'a str,
    pub(crate) metric: &'a Metric,
    pub(crate) kind: Kind,
    pub(crate) share: f64,
    pub(crate) log_e: f64,
}

/// What a strand of evidence is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Comparison,
    Limit,
}

impl Strand<'_> {
    /// ln of what the strand adds to the whole.
    pub(crate) fn log_part(&self) -> f64 {
        self.share.ln() + self.log_e
    }
}

impl Judge {
    /// A judge who has seen nothing yet. `config` must have passed
    /// [`validate`](JudgeConfig::validate), and is to be given to every later call as well.
    pub fn new(config: &JudgeConfig) -> Self {
        let metrics = config.metrics().into_iter();
        Self {
            metrics: metrics
                .map(|name| (name.to_owned(), Metric::new(name, config)))
                .collect(),
            peak_log_e: 0.0,
        }
    }

    /// Takes in one window of one metric. A window in which an arm is empty cannot be compared
    /// and changes no evidence of a regression; a limit needs the canary only.
    ///
    /// Windows of several metrics belong into [`observe_window`](Self::observe_window).
    /// Allocates nothing, except for an error.
    ///
    /// # Errors
    /// When the configuration gives the metric neither a share nor a limit, or when an arm has
    /// more bad requests than requests. The judge is then as it was before.
    pub fn observe(
        &mut self,
        config: &JudgeConfig,
        metric: &str,
        canary: Counts,
        baseline: Counts,
    ) -> Result<Look, ObserveError> {
        check(metric, canary, baseline)?;
        let Some(state) = self.metrics.get_mut(metric) else {
            return Err(self.unknown(metric));
        };
        let compared = state.observe(metric, config, canary, baseline);
        let (log_e_metric, log_e_limit) = (state.log_e(), state.log_e_limit());
        let log_ni_metric = state.log_ni();
        let log_e = self.log_e(config);
        self.peak_log_e = self.peak_log_e.max(log_e);
        Ok(Look {
            compared,
            log_e_metric,
            log_e_limit,
            log_ni_metric,
            log_e,
        })
    }

    /// Takes in one window of several metrics: (metric, canary, baseline), each metric once.
    ///
    /// The evidence counts once all metrics are in, because only then is the promise independent
    /// of how they depend on each other. If those that look bad came first, and each were acted
    /// upon, then metrics that tend to move apart would raise more alarms than `alpha` allows.
    ///
    /// Goes through the metrics twice, to refuse before it changes anything: a slice's iterator
    /// is the one to give. Allocates nothing, except for an error.
    ///
    /// # Errors
    /// As for [`observe`](Self::observe), and when a metric comes twice. The judge is then as it
    /// was before.
    pub fn observe_window<'a>(
        &mut self,
        config: &JudgeConfig,
        metrics: impl IntoIterator<Item = (&'a str, Counts, Counts), IntoIter: Clone>,
    ) -> Result<(), ObserveError> {
        let metrics = metrics.into_iter();
        self.check_window(metrics.clone())?;
        for (metric, canary, baseline) in metrics {
            if let Some(state) = self.metrics.get_mut(metric) {
                state.observe(metric, config, canary, baseline);
            }
        }
        self.peak_log_e = self.peak_log_e.max(self.log_e(config));
        Ok(())
    }

    /// Refuses a window of which any part cannot be judged. Ends at the first metric that is
    /// unknown or comes twice, so it looks at no more than [`METRICS_MAX`](crate::METRICS_MAX) + 1 of them.
    fn check_window<'a>(
        &self,
        metrics: impl Iterator<Item = (&'a str, Counts, Counts)> + Clone,
    ) -> Result<(), ObserveError> {
        for (at, (metric, canary, baseline)) in metrics.clone().enumerate() {
            if !self.metrics.contains_key(metric) {
                return Err(self.unknown(metric));
            }
            if metrics.clone().take(at).any(|(name, ..)| name == metric) {
                let metric = metric.to_owned();
                return Err(ObserveError::Repeated { metric });
            }
            check(metric, canary, baseline)?;
        }
        Ok(())
    }

    /// What follows from all windows so far.
    ///
    /// The order is the order of urgency: a rollback before all else, and an early promotion
    /// before the doubts that it has already answered.
    pub fn verdict(&self, config: &JudgeConfig) -> Verdict {
        let log_e = self.log_e(config);
        let good_enough = || self.every_required(config, |metric| metric.is_good_enough(config));
        let is_clear = |metric: &Metric| metric.sight(config) == Sight::Clear;

        if self.peak_log_e >= -config.alpha.ln() {
            Verdict::Rollback
        } else if log_e < config.suspicion.ln() && good_enough() {
            Verdict::Promote
        } else if config.hold > 0.0 && log_e >= config.hold.ln() {
            Verdict::Hold
        } else if !self.every_required(config, is_clear) {
            Verdict::Inconclusive
        } else {
            Verdict::Continue
        }
    }

    /// ln E: how strongly all metrics together say that the canary does harm. Each has its fixed
    /// share; what no metric has used yet counts as E = 1.
    pub fn log_e(&self, config: &JudgeConfig) -> f64 {
        let unspent = 1.0 - self.strands(config).map(|strand| strand.share).sum::<f64>();
        let parts = self.strands(config).map(|strand| strand.log_part());
        log_sum(parts.chain([unspent.max(0.0).ln()]))
    }

    /// The highest [`log_e`](Self::log_e) after any window so far, at least 0.
    pub fn peak_log_e(&self) -> f64 {
        self.peak_log_e
    }

    /// The evidence on one metric; `None` if the configuration does not know it.
    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.metrics.get(name)
    }

    /// All metrics of the configuration, by name, also those not observed yet.
    pub fn metrics(&self) -> impl Iterator<Item = (&str, &Metric)> {
        self.metrics
            .iter()
            .map(|(name, metric)| (name.as_str(), metric))
    }

    /// The windows in which both arms had requests, for the observed metric that has the fewest.
    pub fn windows_with_traffic(&self) -> u64 {
        let windows = self
            .observed()
            .map(|(_, metric)| metric.windows_with_traffic());
        windows.min().unwrap_or(0)
    }

    /// The metrics that have been observed. The others do not count yet: a metric that a target
    /// cannot deliver must neither block a promotion nor pass for an answer.
    pub(crate) fn observed(&self) -> impl Iterator<Item = (&str, &Metric)> {
        self.metrics().filter(|(_, metric)| metric.is_observed())
    }

    /// The metrics that must be seen before anything is concluded: those that are named, observed or
    /// not, or all that have been observed if none is named.
    pub(crate) fn required(&self, config: &JudgeConfig) -> impl Iterator<Item = (&str, &Metric)> {
        self.metrics()
            .filter(|(name, metric)| match config.required.is_empty() {
                true => metric.is_observed(),
                false => config.required.contains(*name),
            })
    }

    /// The evidence of harm, strand by strand.
    pub(crate) fn strands(&self, config: &JudgeConfig) -> impl Iterator<Item = Strand<'_>> {
        self.metrics().flat_map(|(name, metric)| {
            let strand = |kind, share, log_e| Strand {
                name,
                metric,
                kind,
                share,
                log_e,
            };
            let comparison = strand(Kind::Comparison, config.share(name), metric.log_e());
            let limit = metric
                .log_e_limit()
                .map(|log_e| strand(Kind::Limit, config.limit_share(name), log_e));
            [comparison].into_iter().chain(limit)
        })
    }

    /// Whether something holds for each metric that is required, of which there is at least one.
    fn every_required(&self, config: &JudgeConfig, holds: impl Fn(&Metric) -> bool) -> bool {
        let mut required = self.required(config).map(|(_, metric)| metric).peekable();
        required.peek().is_some() && required.all(holds)
    }

    fn unknown(&self, metric: &str) -> ObserveError {
        let known: Vec<&str> = self.metrics.keys().map(String::as_str).collect();
        ObserveError::UnknownMetric {
            metric: metric.chars().take(METRIC_NAME_LEN_MAX).collect(),
            known: known.join(", "),
        }
    }
}

/// Whether the counts of both arms are counts: their fields are open to everybody.
fn check(metric: &str, canary: Counts, baseline: Counts) -> Result<(), ObserveError> {
    let checked = canary.check().and_then(|()| baseline.check());
    checked.map_err(|source| ObserveError::Counts {
        metric: metric.chars().take(METRIC_NAME_LEN_MAX).collect(),
        source,
    })
}
