//! Everything known about one metric, folded from its windows.

use serde::{Deserialize, Serialize};

use crate::config::JudgeConfig;
use crate::counts::{Counts, Window};
use crate::experts::{risks, stakes};
use crate::noninferiority::NonInferiority;
use crate::wealth::Wealth;
use crate::{limit, regression, robust};

/// The evidence on one metric, and the counts it came from.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Metric {
    /// Whether any window was offered, even one without requests.
    observed: bool,
    canary: Counts,
    baseline: Counts,
    windows: u64,
    comparison: Comparison,
    good_enough: NonInferiority,
    limit: Option<LimitWatch>,
}

/// How the canary is compared with the baseline.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Comparison {
    /// Each bad request is evidence.
    ByRequest(Wealth),
    /// Each window is one piece of evidence: robust mode.
    ByWindow(Wealth),
}

/// The watch over an absolute limit. It also sees windows that have no baseline.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct LimitWatch {
    canary: Counts,
    wealth: Wealth,
}

/// How far the requests so far let one see, from the best to the worst.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Sight {
    /// A rise by `blind_abs` would be noticed.
    Clear,
    /// Even a rise by `blind_abs` might go unnoticed before the canary has had this many.
    TooFewRequests {
        /// Canary requests, in all.
        needed: u64,
    },
    /// An arm has had no requests, so there was nothing to compare.
    NoRequests,
}

impl Metric {
    pub(crate) fn new(name: &str, config: &JudgeConfig) -> Self {
        let comparison = if config.robust.contains(name) {
            Comparison::ByWindow(Wealth::new(stakes(), config.pi0))
        } else {
            Comparison::ByRequest(Wealth::new(risks(name), config.pi0))
        };
        let limit = config.slo.contains_key(name).then(|| LimitWatch {
            canary: Counts::default(),
            wealth: Wealth::new(risks(name), config.pi0),
        });
        Self {
            observed: false,
            canary: Counts::default(),
            baseline: Counts::default(),
            windows: 0,
            comparison,
            good_enough: NonInferiority::default(),
            limit,
        }
    }

    /// Takes in one window, and tells whether both arms had requests to compare.
    pub(crate) fn observe(
        &mut self,
        name: &str,
        config: &JudgeConfig,
        canary: Counts,
        baseline: Counts,
    ) -> bool {
        self.observed = true;
        if canary.count > 0 {
            self.watch_limit(name, config, canary);
        }
        let window = Window::of(canary, baseline);
        if let Some(window) = &window {
            self.compare(name, config, window);
        }
        window.is_some()
    }

    fn watch_limit(&mut self, name: &str, config: &JudgeConfig, canary: Counts) {
        if let (Some(watch), Some(&limit)) = (&mut self.limit, config.slo.get(name)) {
            let eta = config.eta(name);
            watch.canary = watch.canary.saturating_add(canary);
            watch.wealth.bet(risks(name), config.hazard, |risk| {
                eta * limit::log_growth(canary, limit, risk)
            });
        }
    }

    fn compare(&mut self, name: &str, config: &JudgeConfig, window: &Window) {
        let r0 = config.r0(name);
        match &mut self.comparison {
            Comparison::ByRequest(wealth) => {
                let eta = config.eta(name);
                wealth.bet(risks(name), config.hazard, |risk| {
                    eta * regression::log_growth(window, r0, risk)
                });
                // `self.baseline` still counts the earlier windows only.
                self.good_enough
                    .bet(window, self.baseline, config.margin(), eta);
            }
            Comparison::ByWindow(wealth) => wealth.bet(stakes(), config.hazard, |stake| {
                robust::log_growth(window, r0, stake)
            }),
        }
        self.canary = self.canary.saturating_add(window.canary);
        self.baseline = self.baseline.saturating_add(window.baseline);
        self.windows = self.windows.saturating_add(1);
    }

    /// ln E of a regression: how strongly the canary looks worse than the baseline.
    pub fn log_e(&self) -> f64 {
        let (Comparison::ByRequest(wealth) | Comparison::ByWindow(wealth)) = &self.comparison;
        wealth.log_e()
    }

    /// ln E of a broken limit; `None` when the metric has no limit.
    pub fn log_e_limit(&self) -> Option<f64> {
        self.limit.as_ref().map(|watch| watch.wealth.log_e())
    }

    /// ln E of being good enough: how strongly the canary looks no worse than the margin of
    /// early promotion. Always 0 in robust mode.
    pub fn log_ni(&self) -> f64 {
        self.good_enough.log_e()
    }

    /// All canary requests in windows where both arms had requests.
    pub fn canary(&self) -> Counts {
        self.canary
    }

    /// All baseline requests in windows where both arms had requests.
    pub fn baseline(&self) -> Counts {
        self.baseline
    }

    /// All canary requests since the start, also those in windows without a baseline; `None` when
    /// the metric has no limit.
    pub fn canary_under_limit(&self) -> Option<Counts> {
        self.limit.as_ref().map(|watch| watch.canary)
    }

    /// The windows in which both arms had requests.
    pub fn windows_with_traffic(&self) -> u64 {
        self.windows
    }

    /// Whether any window was offered, even one without requests.
    pub fn is_observed(&self) -> bool {
        self.observed
    }

    /// Whether the canary is shown to be within the margin of early promotion.
    pub(crate) fn is_good_enough(&self, config: &JudgeConfig) -> bool {
        self.windows >= config.min_windows.into() && self.log_ni() >= -config.alpha_ni.ln()
    }

    /// How far the requests so far let one see, by the information that each would carry about a
    /// rise by `blind_abs` (the relative entropy of two Poisson counts).
    pub(crate) fn sight(&self, config: &JudgeConfig) -> Sight {
        if self.windows == 0 {
            return Sight::NoRequests;
        }
        let rate = self.baseline.smoothed_rate();
        let raised = rate + config.blind_abs;
        let information = raised * (raised / rate).ln() - config.blind_abs;
        let needed = (2.0 / config.alpha).ln();
        if self.canary.count as f64 * information < needed {
            return Sight::TooFewRequests {
                needed: (needed / information).ceil() as u64,
            };
        }
        Sight::Clear
    }
}
