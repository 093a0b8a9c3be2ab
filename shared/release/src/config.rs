//! `penstock.yaml`: what a repository says about its gates, releases and health checks.
//!
//! Unknown keys, wrong types and impossible values are errors that name the line and the fix; the
//! command `penstock check` runs this same code.

mod error;
mod finding;
mod metrics;
mod rollback;
mod step;
mod target;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use stats::JudgeConfig;

pub use error::ConfigError;
pub use finding::FindingPolicy;
pub use metrics::{
    ClusterSize, Counting, ERRORS, MetricSpec, Metrics, PLACEHOLDERS, Query, SlowerThan,
};
pub use rollback::{
    ALONGSIDE_MAX, Alongside, DeploymentGroupArn, PipelinePolicy, RollbackPolicy, StageArn,
};
pub use step::{Approval, Policy, ProbeStep, Step, Watch};
pub use target::{
    AlbRule, AllowList, EcsRolling, EcsServices, EcsTaskSets, LambdaAlias, NewVersion, ServiceArn,
    ServiceBehind, TargetSpec, TaskDefinition, TestTraffic, VERSION_FILE_BYTES_MAX,
};

use crate::check::{CheckPlan, ProbeSpec};
use crate::freeze::{self, Freeze};
use crate::gate::Gate;

/// The largest configuration that is read, in bytes.
pub const CONFIG_BYTES_MAX: usize = 256 * 1024;
/// The most steps of a release.
pub const STEPS_MAX: usize = 100;
/// The most windows of one judge step.
pub const STEP_WINDOWS_MAX: u32 = 1_440;
/// The most alarms that one release or probe watches (DescribeAlarms takes 100 names).
pub const ALARMS_MAX: usize = 50;
/// The longest of the durations in a plan; CodePipeline ends an action after 24 h.
pub const DURATION_MAX: SignedDuration = SignedDuration::from_hours(24);

/// The longest reason of a hotfix, in characters.
const HOTFIX_CHARS_MAX: usize = 300;

/// How many bad requests may come together.
const CLUSTER_SIZES: RangeInclusive<f64> = 1.0..=1e6;

/// How long a release may take to its last step. CodePipeline ends an action after 24 h, and then
/// nobody would be left to take it back.
pub const LIFE_MAX: SignedDuration = SignedDuration::from_mins(23 * 60 + 50);

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The version of this format: 1.
    pub version: u32,
    /// Test gates, by section name.
    #[serde(default)]
    gates: BTreeMap<String, Checked<Gate>>,
    /// Releases, by section name.
    #[serde(default)]
    releases: BTreeMap<String, Checked<Plan>>,
    /// Health checks, by section name.
    #[serde(default)]
    health_checks: BTreeMap<String, Checked<CheckPlan>>,
}

impl Config {
    /// Reads and checks a `penstock.yaml`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        if text.len() > CONFIG_BYTES_MAX {
            return Err(ConfigError::too_large(text.len()));
        }
        let config: Self = serde_saphyr::from_str(text).map_err(|e| ConfigError::yaml(&e))?;
        if config.version != 1 {
            return Err(ConfigError::version(config.version));
        }
        Ok(config)
    }

    /// All gates, by section name.
    pub fn gates(&self) -> impl Iterator<Item = (&str, &Gate)> {
        all(&self.gates)
    }

    /// All releases, by section name.
    pub fn releases(&self) -> impl Iterator<Item = (&str, &Plan)> {
        all(&self.releases)
    }

    /// All health checks, by section name.
    pub fn health_checks(&self) -> impl Iterator<Item = (&str, &CheckPlan)> {
        all(&self.health_checks)
    }

    /// The gate of this section.
    pub fn gate(&self, section: Option<&str>) -> Result<(&str, &Gate), ConfigError> {
        section_of("gates", &self.gates, section)
    }

    /// The release plan of this section.
    pub fn release(&self, section: Option<&str>) -> Result<(&str, &Plan), ConfigError> {
        section_of("releases", &self.releases, section)
    }

    /// The health check of this section.
    pub fn health_check(&self, section: Option<&str>) -> Result<(&str, &CheckPlan), ConfigError> {
        section_of("health-checks", &self.health_checks, section)
    }
}

fn all<T>(sections: &BTreeMap<String, Checked<T>>) -> impl Iterator<Item = (&str, &T)> {
    sections
        .iter()
        .map(|(name, section)| (name.as_str(), &section.0))
}

fn section_of<'a, T>(
    kind: &'static str,
    sections: &'a BTreeMap<String, Checked<T>>,
    name: Option<&str>,
) -> Result<(&'a str, &'a T), ConfigError> {
    let found = match name {
        Some(name) => sections.get_key_value(name),
        None if sections.len() == 1 => sections.first_key_value(),
        None => None,
    };
    let names = || sections.keys().map(String::as_str).collect::<Vec<_>>();
    found
        .map(|(name, section)| (name.as_str(), &section.0))
        .ok_or_else(|| ConfigError::section(kind, name, &names()))
}

/// A section that has been checked as a whole, beyond what its types say. Stored plans are not
/// checked again: a release in flight must stay readable whatever later versions refuse.
#[derive(Debug, Clone, PartialEq)]
struct Checked<T>(T);

/// What can be wrong with a section whose every key is well-formed.
pub(crate) trait Check {
    /// Turns what is short for something else into that.
    ///
    /// # Errors
    /// Says what is wrong and what to write instead.
    fn resolve(&mut self) -> Result<(), String> {
        Ok(())
    }

    /// Says what is wrong and what to write instead.
    fn check(&self) -> Result<(), String>;
}

impl<'de, T: Check + Deserialize<'de>> Deserialize<'de> for Checked<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let mut section = T::deserialize(from)?;
        section.resolve().map_err(D::Error::custom)?;
        section.check().map_err(D::Error::custom)?;
        Ok(Self(section))
    }
}

/// How one target is released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Plan {
    /// What is moved.
    pub target: TargetSpec,
    /// In order; the last weight is 100 %.
    #[serde(deserialize_with = "step::read_steps")]
    pub steps: Vec<Step>,
    /// How long the old version keeps a tail of the requests once the candidate has nearly all.
    /// Becomes steps as soon as it is read, so a stored plan has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch: Option<Watch>,
    /// Why this release is one that cannot wait: freeze windows do not hold it, and `all-at-once`
    /// is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hotfix: Option<String>,
    /// How long the candidate may take to come up, where the release puts it up itself.
    #[serde(default = "fifteen_minutes", deserialize_with = "read_duration")]
    pub ready_within: SignedDuration,
    /// How long the side that serves nothing is kept up after the last change of the weights, where
    /// the release takes it down itself: until no node of the load balancer sends anything there.
    #[serde(default = "a_minute", deserialize_with = "read_duration")]
    pub retire_after: SignedDuration,
    /// For how long the pipeline may be quiet before a release on its way up goes back.
    #[serde(default = "ten_minutes", deserialize_with = "read_duration")]
    pub abandon_after: SignedDuration,
    /// The length of an observation window. 60 s is what load balancer metrics allow on AWS.
    #[serde(default = "a_minute", deserialize_with = "read_duration")]
    pub window: SignedDuration,
    /// How long after its end a window's metrics are taken to be complete.
    #[serde(default = "two_minutes", deserialize_with = "read_duration")]
    pub settle: SignedDuration,
    /// How much longer than planned a judge step may last before the release goes back.
    #[serde(default = "ten_minutes", deserialize_with = "read_duration")]
    pub patience: SignedDuration,
    /// What to do when a step's windows had too few requests to tell.
    #[serde(default)]
    pub inconclusive: Policy,
    /// What to do when what decides, the metrics or the alarms, could not be seen.
    #[serde(default)]
    pub could_not_observe: Policy,
    /// CloudWatch alarms that roll the release back.
    #[serde(default)]
    pub alarms: Vec<String>,
    /// Which findings in an image that is released roll it back.
    #[serde(default)]
    pub rollback_on_finding: FindingPolicy,
    /// What the candidate is judged by.
    #[serde(default)]
    pub metrics: Metrics,
    /// The judge's promise.
    #[serde(default)]
    pub judge: JudgePolicy,
    /// When no weight is raised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub freeze: Vec<Freeze>,
    /// What else goes back with the release.
    #[serde(default, skip_serializing_if = "RollbackPolicy::is_none")]
    pub rollback: RollbackPolicy,
}

fn a_minute() -> SignedDuration {
    SignedDuration::from_mins(1)
}

fn two_minutes() -> SignedDuration {
    SignedDuration::from_mins(2)
}

fn ten_minutes() -> SignedDuration {
    SignedDuration::from_mins(10)
}

fn fifteen_minutes() -> SignedDuration {
    SignedDuration::from_mins(15)
}

impl Check for Plan {
    fn resolve(&mut self) -> Result<(), String> {
        if self.steps.iter().any(|step| matches!(step, Step::Watch(_))) {
            return Err(
                "`steps` has a watch: write it beside the steps, as watch: {for: 30m}, or write a \
                 wait"
                    .to_owned(),
            );
        }
        if let Some(watch) = self.watch.take() {
            watch.extend(&mut self.steps)?;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        self.target.check(&self.steps, &self.metrics)?;
        step::check(&self.steps)?;
        self.check_hotfix()?;
        let second = SignedDuration::from_secs(1);
        duration("window", self.window, second)?;
        duration("settle", self.settle, SignedDuration::ZERO)?;
        duration("patience", self.patience, second)?;
        duration("ready-within", self.ready_within, second)?;
        duration("retire-after", self.retire_after, SignedDuration::ZERO)?;
        duration("abandon-after", self.abandon_after, second)?;
        if self.window.subsec_nanos() != 0 || !whole_periods(self.window.as_secs()) {
            return Err(format!(
                "`window` is {:#}: CloudWatch has periods of 1, 5, 10, 30 and multiples of 60 \
                 seconds; write for example 60s",
                self.window
            ));
        }
        let longest = self.longest();
        if longest > LIFE_MAX {
            return Err(format!(
                "the steps may take {longest:#} with `settle` and `patience`: a release has \
                 {LIFE_MAX:#}, because CodePipeline ends an action after {DURATION_MAX:#}; ask for \
                 fewer windows"
            ));
        }
        check_alarms(&self.alarms)?;
        self.metrics.check()?;
        freeze::check(&self.freeze)?;
        self.rollback.check(&self.target)?;
        self.judge.check()?;
        self.judge_config().validate().map_err(|e| e.to_string())
    }
}

impl Plan {
    /// What the judge runs on.
    pub fn judge_config(&self) -> JudgeConfig {
        self.metrics.judge_config(&self.judge)
    }

    /// The functions that its checks ask, by ARN.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().flat_map(|step| match step {
            Step::RunCheck(check) => vec![check.function.as_str()],
            Step::Probe(probe) => probe
                .probes
                .iter()
                .filter_map(ProbeSpec::function)
                .collect(),
            Step::SetWeight(_)
            | Step::Judge { .. }
            | Step::Wait(_)
            | Step::Watch(_)
            | Step::Approve(_)
            | Step::HeaderRoute(_) => Vec::new(),
        })
    }

    /// The approval action of the pipeline that a step waits for, if one does.
    pub fn approval_action(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::Approve(approval) => approval.action.as_deref(),
            Step::SetWeight(_)
            | Step::Judge { .. }
            | Step::Wait(_)
            | Step::Watch(_)
            | Step::Probe(_)
            | Step::RunCheck(_)
            | Step::HeaderRoute(_) => None,
        })
    }

    /// Which requests go to the candidate before any share of the others does.
    pub fn test_traffic(&self) -> Option<&TestTraffic> {
        self.steps.iter().find_map(|step| match step {
            Step::HeaderRoute(test) => Some(test),
            Step::SetWeight(_)
            | Step::Judge { .. }
            | Step::Wait(_)
            | Step::Watch(_)
            | Step::Approve(_)
            | Step::Probe(_)
            | Step::RunCheck(_) => None,
        })
    }

    /// How long a judge step of so many windows may last.
    pub(crate) fn step_time(&self, windows: u32) -> SignedDuration {
        let windows = i32::try_from(windows.saturating_add(1)).unwrap_or(i32::MAX);
        let watched = self.window.saturating_mul(windows);
        watched
            .saturating_add(self.settle)
            .saturating_add(self.patience)
    }

    /// How long the whole release may last.
    pub fn longest(&self) -> SignedDuration {
        let steps = self.steps.iter().map(|step| match step {
            Step::SetWeight(_) | Step::HeaderRoute(_) => SignedDuration::ZERO,
            Step::Judge { windows } => self.step_time(*windows),
            Step::Wait(time) | Step::Watch(time) => *time,
            Step::Approve(Approval { within, .. }) | Step::Probe(ProbeStep { within, .. }) => {
                *within
            }
            Step::RunCheck(check) => check.within,
        });
        let (deploys, divides) = (self.target.deploys(), self.target.divides());
        let first = match (deploys, divides) {
            (true, _) => self.ready_within.saturating_add(self.retire_after),
            (false, false) => self.ready_within,
            (false, true) => SignedDuration::ZERO,
        };
        steps.fold(first, SignedDuration::saturating_add)
    }

    /// The same release for somebody who cannot wait, and says why: everything goes to the
    /// candidate at once, and only what watches it afterwards is left of the steps.
    #[must_use]
    pub fn at_once(mut self, why: String) -> Self {
        let weights = |step: &Step| matches!(step, Step::SetWeight(_));
        let watch = self.steps.iter().position(|s| matches!(s, Step::Watch(_)));
        let until = watch.unwrap_or(self.steps.len());
        let first = self.steps[..until].iter().rposition(weights);
        self.steps.drain(..first.unwrap_or(0));
        self.hotfix = Some(why);
        self
    }

    fn check_hotfix(&self) -> Result<(), String> {
        match &self.hotfix {
            Some(why) if why.trim().is_empty() => Err(
                "`hotfix` has no reason: say why this release cannot wait, or leave it out"
                    .to_owned(),
            ),
            Some(why) if why.chars().count() > HOTFIX_CHARS_MAX => Err(format!(
                "`hotfix` has more than {HOTFIX_CHARS_MAX} characters: a ticket will do"
            )),
            None if self.target.divides() && step::is_at_once(&self.steps) => Err(
                "the steps send everything to the candidate at once: that is for a release that \
                 cannot wait; say why under `hotfix`, or take another weight first, as \
                 `steps: canary` does"
                    .to_owned(),
            ),
            Some(_) | None => Ok(()),
        }
    }
}

/// Below a minute any number of one-second periods can be added up; above, whole minutes.
fn whole_periods(seconds: i64) -> bool {
    seconds < 60 || seconds % 60 == 0
}

/// Reads `90s`, `2m` or `1h 30m`.
pub(crate) fn read_duration<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<SignedDuration, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "'{text}' is not a duration: write for example 90s, 2m or 1h"
        ))
    })
}

/// As [`read_duration`], for a key that may be left out.
pub(crate) fn read_some_duration<'de, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<SignedDuration>, D::Error> {
    read_duration(from).map(Some)
}

pub(crate) fn duration(
    key: &str,
    value: SignedDuration,
    least: SignedDuration,
) -> Result<(), String> {
    if (least..=DURATION_MAX).contains(&value) {
        return Ok(());
    }
    Err(format!(
        "`{key}` is {value:#}: {least:#} to {DURATION_MAX:#} is allowed"
    ))
}

/// Names that may be watched: some, each once.
pub(crate) fn check_alarms(names: &[String]) -> Result<(), String> {
    if names.len() > ALARMS_MAX {
        let count = names.len();
        return Err(format!(
            "{count} alarms: at most {ALARMS_MAX} are watched; use a composite alarm"
        ));
    }
    for (index, name) in names.iter().enumerate() {
        if name.trim().is_empty() {
            return Err("an alarm has no name: write the name of a CloudWatch alarm".to_owned());
        }
        if names[..index].contains(name) {
            return Err(format!("alarm '{name}' is named twice: name it once"));
        }
    }
    Ok(())
}

/// The part of the judge's configuration that a team sets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct JudgePolicy {
    /// The chance that a version that is no worse is rolled back, over the whole release.
    pub alpha: f64,
    /// Evidence from which on the weight is not raised; 0 never holds.
    pub hold: f64,
    /// How many times the stable version's share of bad requests is still tolerated, by metrics that
    /// do not say so themselves.
    pub tolerated_ratio: f64,
    /// The typical number of bad requests that come together, by metrics that do not say so
    /// themselves; measured on a release of the same version.
    pub cluster_size: f64,
}

impl Default for JudgePolicy {
    fn default() -> Self {
        Self {
            alpha: 0.01,
            hold: 5.0,
            tolerated_ratio: 1.0,
            cluster_size: 1.0,
        }
    }
}

impl JudgePolicy {
    /// The ranges that the judge can keep its promise in.
    fn check(&self) -> Result<(), String> {
        let odds = 1.0..=1e9;
        let checks = [
            (
                "alpha",
                self.alpha,
                self.alpha > 0.0 && self.alpha <= 0.5,
                "above 0 and at most 0.5",
            ),
            (
                "hold",
                self.hold,
                self.hold == 0.0 || odds.contains(&self.hold),
                "0, or 1 to 1e9",
            ),
            (
                "tolerated-ratio",
                self.tolerated_ratio,
                (1.0..=10.0).contains(&self.tolerated_ratio),
                "1 to 10",
            ),
            (
                "cluster-size",
                self.cluster_size,
                CLUSTER_SIZES.contains(&self.cluster_size),
                "1 to 1e6",
            ),
        ];
        match checks.iter().find(|(_, _, fits, _)| !fits) {
            Some((key, value, _, range)) => Err(format!("`{key}` is {value}: {range} is allowed")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
