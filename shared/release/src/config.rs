//! `penstock.yaml`: what a repository says about its gates, releases and health checks.
//!
//! Unknown keys, wrong types and impossible values are errors that name the line and the fix; the
//! command `penstock check` runs this same code.

mod error;
mod target;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use stats::JudgeConfig;

pub use error::ConfigError;
pub use target::{AlbRule, AllowList, TargetSpec};

use crate::Weight;
use crate::check::CheckPlan;
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

/// The whole file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The version of this format: 1.
    pub version: u32,
    /// Test gates, by section name.
    #[serde(default)]
    pub gates: BTreeMap<String, Gate>,
    /// Releases, by section name.
    #[serde(default)]
    pub releases: BTreeMap<String, Plan>,
    /// Health checks, by section name.
    #[serde(default)]
    pub health_checks: BTreeMap<String, CheckPlan>,
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

fn section_of<'a, T>(
    kind: &'static str,
    sections: &'a BTreeMap<String, T>,
    name: Option<&str>,
) -> Result<(&'a str, &'a T), ConfigError> {
    let found = match name {
        Some(name) => sections.get_key_value(name),
        None if sections.len() == 1 => sections.first_key_value(),
        None => None,
    };
    let names = || sections.keys().map(String::as_str).collect::<Vec<_>>();
    found
        .map(|(name, section)| (name.as_str(), section))
        .ok_or_else(|| ConfigError::section(kind, name, &names()))
}

/// How one target is released.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    try_from = "PlanAsWritten"
)]
pub struct Plan {
    /// What is moved.
    pub target: TargetSpec,
    /// In order; the last one sets 100 %.
    pub steps: Vec<Step>,
    /// The length of an observation window. 60 s is what load balancer metrics allow on AWS.
    pub window: SignedDuration,
    /// How long after its end a window's metrics are taken to be complete.
    pub settle: SignedDuration,
    /// How much longer than planned a judge step may last before the release goes back.
    pub patience: SignedDuration,
    /// What to do when a step's windows had too few requests to tell.
    pub inconclusive: Inconclusive,
    /// CloudWatch alarms that roll the release back.
    pub alarms: Vec<String>,
    /// The judge's promise.
    pub judge: JudgePolicy,
}

/// The plan as the file has it; [`Plan`] is this, checked.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct PlanAsWritten {
    target: TargetSpec,
    steps: Vec<Step>,
    #[serde(default = "a_minute", deserialize_with = "read_duration")]
    window: SignedDuration,
    #[serde(default = "two_minutes", deserialize_with = "read_duration")]
    settle: SignedDuration,
    #[serde(default = "ten_minutes", deserialize_with = "read_duration")]
    patience: SignedDuration,
    #[serde(default)]
    inconclusive: Inconclusive,
    #[serde(default)]
    alarms: Vec<String>,
    #[serde(default)]
    judge: JudgePolicy,
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

impl TryFrom<PlanAsWritten> for Plan {
    type Error = String;

    fn try_from(plan: PlanAsWritten) -> Result<Self, String> {
        check_steps(&plan.steps)?;
        plan.target.allows(&plan.steps)?;
        let second = SignedDuration::from_secs(1);
        duration("window", plan.window, second)?;
        duration("settle", plan.settle, SignedDuration::ZERO)?;
        duration("patience", plan.patience, second)?;
        if plan.window.subsec_nanos() != 0 || !whole_periods(plan.window.as_secs()) {
            return Err(format!(
                "`window` is {:#}: CloudWatch has periods of 1, 5, 10, 30 and multiples of 60 \
                 seconds; write for example 60s",
                plan.window
            ));
        }
        check_alarms(&plan.alarms)?;
        plan.judge.check()?;
        Ok(Self {
            target: plan.target,
            steps: plan.steps,
            window: plan.window,
            settle: plan.settle,
            patience: plan.patience,
            inconclusive: plan.inconclusive,
            alarms: plan.alarms,
            judge: plan.judge,
        })
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

fn check_steps(steps: &[Step]) -> Result<(), String> {
    if steps.len() > STEPS_MAX {
        let count = steps.len();
        return Err(format!(
            "`steps` has {count} entries: at most {STEPS_MAX} are allowed"
        ));
    }
    if !matches!(steps.first(), Some(Step::SetWeight(_))) {
        return Err("the first of `steps` must be a set-weight, such as set-weight: 5%".to_owned());
    }
    if steps.last() != Some(&Step::SetWeight(Weight::FULL)) {
        return Err("the last of `steps` must be set-weight: 100%".to_owned());
    }
    let mut reached = Weight::ZERO;
    for step in steps {
        match *step {
            Step::SetWeight(weight) if weight > reached => reached = weight,
            Step::SetWeight(weight) => {
                return Err(format!(
                    "set-weight: {weight} after {reached}: every set-weight must be larger than \
                     the one before"
                ));
            }
            Step::Judge { windows } if (1..=STEP_WINDOWS_MAX).contains(&windows) => {}
            Step::Judge { windows } => {
                return Err(format!(
                    "judge has windows: {windows}: 1 to {STEP_WINDOWS_MAX} are allowed"
                ));
            }
        }
    }
    Ok(())
}

/// One step of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Give the candidate this share of the requests.
    SetWeight(Weight),
    /// Stay until so many windows have been judged.
    #[serde(rename_all = "kebab-case")]
    Judge {
        /// Windows with requests in both arms.
        windows: u32,
    },
}

/// What to do when there were too few requests to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Inconclusive {
    /// Look on, up to the plan's patience; then roll back.
    #[default]
    Wait,
    /// Roll back.
    Fail,
    /// Take the next step.
    GoOn,
}

/// The part of the judge's configuration that a team sets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct JudgePolicy {
    /// The chance that a version that is no worse is rolled back, over the whole release.
    pub alpha: f64,
    /// Evidence from which on the weight is not raised; 0 never holds.
    pub hold: f64,
    /// How many times the stable version's error rate is still tolerated.
    pub tolerated_ratio: f64,
    /// The typical number of errors that come together, measured on a release of the same version.
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
                (1.0..=1e6).contains(&self.cluster_size),
                "1 to 1e6",
            ),
        ];
        match checks.iter().find(|(_, _, fits, _)| !fits) {
            Some((key, value, _, range)) => Err(format!("`{key}` is {value}: {range} is allowed")),
            None => self.config().validate().map_err(|e| e.to_string()),
        }
    }

    /// What the judge runs on. Errors are the one metric so far, so they carry the whole budget.
    pub fn config(&self) -> JudgeConfig {
        JudgeConfig {
            alpha: self.alpha,
            hold: self.hold,
            r0: self.tolerated_ratio,
            eta: BTreeMap::from([(ERRORS.to_owned(), 1.0 / self.cluster_size)]),
            weights: BTreeMap::from([(ERRORS.to_owned(), 1.0)]),
            ..JudgeConfig::default()
        }
    }
}

/// The metric of failed requests.
pub const ERRORS: &str = "errors";

#[cfg(test)]
mod tests;
