//! What a release did and why, told from its log for people: each window with what the judge made
//! of it, each decision with its reason and with who took it.
//!
//! It is folded by the same [`Story::apply`] that a function folds the log by, window by window, so
//! nothing is judged a second time in another way.

mod moment;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;
use stats::{Counts, Verdict};

use crate::config::Plan;
use crate::{Effect, Event, Phase, Release, Story, Weight, Window};

pub use moment::{Moment, What, Who};
pub use written::{LOG_BYTES_MAX, LOG_EVENTS_MAX, LogError, read_log, write_log};

/// The most windows that an account keeps: a week of minutes.
pub const ACCOUNT_WINDOWS_MAX: usize = 10_080;

/// The story of a release.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Account {
    /// What happened apart from windows, in the order of the log; it begins with the beginning.
    pub moments: Vec<Moment>,
    /// What was observed and judged, in order of time. Of more than [`ACCOUNT_WINDOWS_MAX`] every
    /// second, third, ... is kept, and each that changed the verdict.
    pub windows: Vec<JudgedWindow>,
    /// How many judged windows the log has.
    pub windows_judged: u64,
    /// Every metric of any window and of the judge, by name.
    pub metrics: BTreeSet<String>,
    /// Requests in all judged windows.
    pub requests: Requests,
    /// How many bad requests came together, by metric, provided that both versions are alike: what
    /// `cluster-size` should be. Absent where there were none.
    pub cluster_sizes: BTreeMap<String, f64>,
    /// How the release stands after the last event.
    pub end: Release,
    /// The judge's verdict then.
    pub verdict: Verdict,
    /// The judge's sentence then.
    pub evidence: String,
    /// ln of the evidence from which on a release goes back: ln(1/alpha).
    pub log_e_rollback: f64,
    /// ln of the evidence from which on the weight is held; `None` when it never is.
    pub log_e_hold: Option<f64>,
}

/// How many requests each version served. They are counted by the metric that counts most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Requests {
    /// By the candidate.
    pub candidate: u64,
    /// By the stable version.
    pub stable: u64,
}

impl Requests {
    /// Those in this window.
    pub fn of(window: &Window) -> Self {
        let most = |count: fn(&crate::ArmCounts) -> u64| {
            let counts = window.metrics.values().map(count);
            counts.max().unwrap_or(0)
        };
        Self {
            candidate: most(|arms| arms.canary.count),
            stable: most(|arms| arms.baseline.count),
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, more: Self) -> Self {
        Self {
            candidate: self.candidate.saturating_add(more.candidate),
            stable: self.stable.saturating_add(more.stable),
        }
    }
}

/// A window, and what the judge said once it had seen it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JudgedWindow {
    /// Its first instant.
    pub start: Timestamp,
    /// When it was observed and judged.
    pub at: Timestamp,
    /// The candidate's weight when the window began.
    pub weight: Weight,
    /// How many requests each version served in it.
    pub requests: Requests,
    /// What was counted, by metric.
    pub metrics: BTreeMap<String, JudgedMetric>,
    /// ln E of all metrics together, after this window.
    pub log_e: f64,
    /// The verdict after this window.
    pub verdict: Verdict,
    /// The judge's sentence after this window.
    pub evidence: String,
}

/// One metric of one window, and the evidence that it has added up to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct JudgedMetric {
    /// The candidate's requests in the window, and the bad ones among them.
    pub canary: Counts,
    /// The stable version's.
    pub baseline: Counts,
    /// Bad requests a request of the candidate; `None` without requests.
    pub canary_rate: Option<f64>,
    /// Bad requests a request of the stable version; `None` without requests.
    pub baseline_rate: Option<f64>,
    /// ln E that the candidate is worse, after this window; `None` when nothing is judged by this
    /// metric.
    pub log_e: Option<f64>,
    /// ln E that the candidate breaks the metric's limit, if it has one.
    pub log_e_limit: Option<f64>,
}

impl Account {
    /// The story that these events tell, from the first one on; `None` unless they begin with
    /// [`Event::Started`].
    pub fn of(events: &[Event]) -> Option<Self> {
        let mut telling = Telling::begin(events)?;
        events.iter().for_each(|event| telling.tell(event));
        let cluster_sizes = telling.cluster_sizes();
        let end = telling.release?;
        let config = end.judge_config();
        Some(Self {
            moments: telling.moments,
            windows: telling.windows,
            windows_judged: telling.judged,
            metrics: telling.metrics,
            requests: telling.requests,
            cluster_sizes,
            verdict: end.verdict(),
            evidence: end.evidence(),
            log_e_rollback: -config.alpha.ln(),
            log_e_hold: (config.hold > 0.0).then(|| config.hold.ln()),
            end,
        })
    }

    /// The plan that it followed.
    pub fn plan(&self) -> &Plan {
        self.end.plan()
    }

    /// When the last thing happened that the log knows of.
    pub fn until(&self) -> Timestamp {
        let moments = self.moments.iter().map(|moment| moment.at);
        let windows = self.windows.iter().map(|window| window.at);
        let last = moments.chain(windows).max();
        last.unwrap_or(self.end.started.at)
    }
}

/// An account while it is being told.
struct Telling {
    release: Option<Release>,
    moments: Vec<Moment>,
    windows: Vec<JudgedWindow>,
    judged: u64,
    metrics: BTreeSet<String>,
    requests: Requests,
    /// The counts of both arms in each judged window, by metric.
    counts: BTreeMap<String, Vec<(Counts, Counts)>>,
    /// Every so many windows one is kept.
    stride: u64,
    /// The weights that were performed, in order.
    weights: Vec<(Timestamp, Weight)>,
}

impl Telling {
    fn begin(events: &[Event]) -> Option<Self> {
        let Event::Started(started) = events.first()? else {
            return None;
        };
        let config = started.judge_config();
        let windows: usize = events
            .iter()
            .map(|event| match event {
                Event::Observed { windows, .. } => windows.len(),
                Event::Started(_)
                | Event::Intended { .. }
                | Event::Performed { .. }
                | Event::AlarmsChanged { .. }
                | Event::CandidateReady { .. }
                | Event::CleanupFailed { .. }
                | Event::Checked { .. }
                | Event::Frozen { .. }
                | Event::StepDone { .. }
                | Event::Ordered { .. }
                | Event::RollbackDecided { .. }
                | Event::RollbackStuck { .. }
                | Event::Ended { .. } => 0,
            })
            .sum();
        Some(Self {
            release: None,
            moments: Vec::new(),
            windows: Vec::new(),
            judged: 0,
            metrics: config.metrics().into_iter().map(str::to_owned).collect(),
            requests: Requests::default(),
            counts: BTreeMap::new(),
            stride: windows.div_ceil(ACCOUNT_WINDOWS_MAX).max(1) as u64,
            weights: Vec::new(),
        })
    }

    fn tell(&mut self, event: &Event) {
        if let Event::Observed { at, windows } = event {
            for window in windows {
                self.observe(*at, window);
            }
            return;
        }
        if let Event::Performed { at, generation, .. } = event {
            self.performed(*at, *generation);
        }
        let before = self
            .release
            .as_ref()
            .map(|release| release.alarms_firing.clone());
        self.release.apply(event);
        if let Some(after) = &self.release {
            if let Event::Performed {
                at,
                effect: Effect::SetWeight(_),
                ..
            } = event
            {
                self.weights.push((*at, after.weight));
            }
            self.moments
                .extend(moment::of(event, before.as_ref(), after));
        }
    }

    /// Windows of one event are judged one after the other: so each is shown with its own verdict.
    fn observe(&mut self, at: Timestamp, window: &Window) {
        let Some(before) = self.release.as_ref() else {
            return;
        };
        let (until, verdict, phase) = (before.judged_until, before.verdict(), before.phase);
        self.release.apply(&Event::Observed {
            at,
            windows: vec![window.clone()],
        });
        let Some(release) = &self.release else {
            return;
        };
        if release.judged_until == until || phase != Phase::Shifting {
            return; // used already, or on the way back: it was not judged
        }
        let is_due = self.judged.is_multiple_of(self.stride) || release.verdict() != verdict;
        self.judged += 1;
        self.requests = self.requests.and(Requests::of(window));
        self.metrics.extend(window.metrics.keys().cloned());
        for (name, arms) in &window.metrics {
            let counts = self.counts.entry(name.clone()).or_default();
            counts.push((arms.canary, arms.baseline));
        }
        if is_due && self.windows.len() < 2 * ACCOUNT_WINDOWS_MAX {
            let since = self
                .weights
                .iter()
                .rev()
                .find(|(at, _)| *at <= window.start);
            let weight = since.map_or(Weight::ZERO, |(_, weight)| *weight);
            self.windows.push(judged(release, at, window, weight));
        }
    }

    fn cluster_sizes(&self) -> BTreeMap<String, f64> {
        let sizes = self.counts.iter().filter_map(|(name, windows)| {
            let size = stats::cluster_size(windows.iter().copied())?;
            Some((name.clone(), size))
        });
        sizes.collect()
    }

    /// The intent of this generation is no longer open.
    fn performed(&mut self, when: Timestamp, which: crate::Generation) {
        for moment in self.moments.iter_mut().rev() {
            if let What::Weight {
                generation,
                performed,
                ..
            }
            | What::Act {
                generation,
                performed,
                ..
            } = &mut moment.what
                && *generation == which
            {
                performed.get_or_insert(when);
                return;
            }
        }
    }
}

fn judged(release: &Release, at: Timestamp, window: &Window, weight: Weight) -> JudgedWindow {
    let metrics = window.metrics.iter().map(|(name, arms)| {
        let evidence = release.judge.metric(name);
        let metric = JudgedMetric {
            canary: arms.canary,
            baseline: arms.baseline,
            canary_rate: arms.canary.rate(),
            baseline_rate: arms.baseline.rate(),
            log_e: evidence.map(stats::Metric::log_e),
            log_e_limit: evidence.and_then(stats::Metric::log_e_limit),
        };
        (name.clone(), metric)
    });
    JudgedWindow {
        start: window.start,
        at,
        weight,
        requests: Requests::of(window),
        metrics: metrics.collect(),
        log_e: release.judge.log_e(&release.judge_config()),
        verdict: release.verdict(),
        evidence: release.evidence(),
    }
}

#[cfg(test)]
mod tests;
