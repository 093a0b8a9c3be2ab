//! The steps of a release, and what is short for several of them.

use std::fmt;

use jiff::SignedDuration;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{STEP_WINDOWS_MAX, STEPS_MAX, TestTraffic, duration, read_duration};
use crate::Weight;
use crate::check::{ProbeSpec, RunCheck};

/// The longest name of an action (CodePipeline `ActionName`).
const ACTION_CHARS_MAX: usize = 100;
/// The most probes of one step.
const PROBES_MAX: usize = 20;
/// The most rounds in a row that a probe step may ask for.
const ROUNDS_MAX: u32 = 1_000;
/// The longest that one probe may take: canary-shift has 30 s for a job.
const PROBE_TIME_MAX: SignedDuration = SignedDuration::from_secs(17);
/// The shortest time of a step that lasts.
const LEAST: SignedDuration = SignedDuration::from_secs(1);

/// One step of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// Stay for so long. The judge watches on, and its doubt prolongs the step.
    Wait(#[serde(deserialize_with = "read_duration")] SignedDuration),
    /// Stay until somebody approves; go back when nobody has in time, or somebody refuses.
    Approve(Approval),
    /// Stay until all probes are healthy several times in a row; go back when they are not in time.
    Probe(ProbeStep),
    /// Ask a Lambda function. Go on when it says pass, back when it says fail.
    RunCheck(RunCheck),
    /// Send test traffic to the candidate from here to the end of the release.
    HeaderRoute(TestTraffic),
    /// Stay for so long after (nearly) everything has gone to the candidate. Like a wait, but the
    /// weight that comes after it is no longer held by a freeze.
    Watch(#[serde(deserialize_with = "read_duration")] SignedDuration),
}

impl Step {
    /// A few words for it.
    pub fn words(&self) -> String {
        match self {
            Self::SetWeight(weight) => weight.to_string(),
            Self::Judge { windows: 1 } => "judge 1 window".to_owned(),
            Self::Judge { windows } => format!("judge {windows} windows"),
            Self::Wait(time) => format!("wait {time:#}"),
            Self::Approve(Approval { within, .. }) => format!("approval within {within:#}"),
            Self::Probe(probe) => format!("probes healthy within {:#}", probe.within),
            Self::RunCheck(check) => format!("{} passes within {:#}", check.name(), check.within),
            Self::HeaderRoute(test) => format!("test traffic with {test}"),
            Self::Watch(time) => format!("watch {time:#}"),
        }
    }
}

/// Who has to approve, and how long is waited for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Approval {
    /// The time after which the release goes back.
    pub within: SignedDuration,
    /// A manual approval action of the same pipeline execution, by name, that may be approved
    /// instead of `penstock approve`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
}

impl<'de> Deserialize<'de> for Approval {
    /// `4h`, or `{within: 4h, action: NAME}`.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct Whole {
            #[serde(deserialize_with = "read_duration")]
            within: SignedDuration,
            #[serde(default)]
            action: Option<String>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Approval;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 4h, or {within: 4h, action: NAME}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Approval, E> {
                Ok(Approval {
                    within: read_duration(de::value::StrDeserializer::new(text))?,
                    action: None,
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Approval, A::Error> {
                let Whole { within, action } = Whole::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Approval { within, action })
            }
        }
        from.deserialize_any(Either)
    }
}

/// Probes that must be healthy before a release goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ProbeStep {
    /// All of them must be healthy.
    pub probes: Vec<ProbeSpec>,
    /// Healthy looks in a row, one at each of CodePipeline's jobs.
    #[serde(default = "ProbeStep::once")]
    pub in_a_row: u32,
    /// The time after which the release goes back.
    #[serde(
        default = "ProbeStep::five_minutes",
        deserialize_with = "read_duration"
    )]
    pub within: SignedDuration,
}

impl ProbeStep {
    fn once() -> u32 {
        1
    }

    fn five_minutes() -> SignedDuration {
        SignedDuration::from_mins(5)
    }

    fn check(&self) -> Result<(), String> {
        let count = self.probes.len();
        if !(1..=PROBES_MAX).contains(&count) {
            return Err(format!(
                "probe has {count} `probes`: 1 to {PROBES_MAX} are allowed"
            ));
        }
        if !(1..=ROUNDS_MAX).contains(&self.in_a_row) {
            return Err(format!(
                "probe has `in-a-row` {}: 1 to {ROUNDS_MAX} is allowed",
                self.in_a_row
            ));
        }
        self.probes.iter().try_for_each(ProbeSpec::check)?;
        if let Some(probe) = self.probes.iter().find(|p| p.time_max() > PROBE_TIME_MAX) {
            return Err(format!(
                "a probe may take {:#}: {PROBE_TIME_MAX:#} are allowed in a release, because whoever \
                 looks has half a minute for everything; write a shorter `timeout`",
                probe.time_max()
            ));
        }
        duration("within", self.within, LEAST)
    }
}

/// What follows the last step of the plan: the candidate has nearly everything, and the old version
/// keeps a tail, so that a late leak still has something to be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Watch {
    /// How long.
    #[serde(deserialize_with = "read_duration")]
    pub r#for: SignedDuration,
    /// The old version's share meanwhile; without one it can only be watched by alarms and limits.
    #[serde(default = "Watch::five_percent")]
    pub tail: Weight,
}

impl Watch {
    fn five_percent() -> Weight {
        Weight::from_basis_points(500).unwrap_or(Weight::ZERO)
    }

    /// Puts the watch where the steps set 100 %: at 100 % less the tail, and then 100 %.
    pub(super) fn extend(self, steps: &mut Vec<Step>) -> Result<(), String> {
        duration("watch.for", self.r#for, LEAST)?;
        let half = Weight::FULL.basis_points() / 2;
        let points = self.tail.basis_points();
        if points > half {
            return Err(format!(
                "`watch.tail` is {}: at most 50% is allowed; what the candidate does with less is \
                 for the steps before",
                self.tail
            ));
        }
        match steps.pop() {
            Some(Step::SetWeight(Weight::FULL)) => {}
            last => {
                steps.extend(last);
                return Err(
                    "`watch` follows the last step, which must then be set-weight: 100%".to_owned(),
                );
            }
        }
        let watch = Step::Watch(self.r#for);
        if self.tail == Weight::ZERO {
            steps.extend([Step::SetWeight(Weight::FULL), watch]);
            return Ok(());
        }
        let most = Weight::from_basis_points(Weight::FULL.basis_points() - points);
        let most = most.map_err(|e| e.to_string())?;
        let reached = steps.iter().rev().find_map(|step| match step {
            Step::SetWeight(weight) => Some(*weight),
            _ => None,
        });
        if let Some(reached) = reached.filter(|reached| *reached >= most) {
            return Err(format!(
                "`watch.tail` is {}, but a step before gives the candidate {reached}: write a \
                 smaller tail, or leave that step out",
                self.tail
            ));
        }
        let last = Step::SetWeight(Weight::FULL);
        steps.extend([Step::SetWeight(most), watch, last]);
        Ok(())
    }
}

/// What to do when nothing can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Look on, up to the plan's patience; then roll back.
    #[default]
    Wait,
    /// Roll back.
    Fail,
    /// Take the next step.
    GoOn,
}

/// Reads a list of steps, or the name of a usual one.
pub(super) fn read_steps<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Step>, D::Error> {
    struct ListOrName;
    impl<'de> Visitor<'de> for ListOrName {
        type Value = Vec<Step>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of steps, or one of canary, linear, ladder and all-at-once")
        }
        fn visit_str<E: de::Error>(self, name: &str) -> Result<Vec<Step>, E> {
            usual(name).ok_or_else(|| {
                E::custom(format!(
                    "`steps` is '{name}': write a list of steps, or one of canary, linear, ladder \
                     and all-at-once"
                ))
            })
        }
        fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Vec<Step>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(list))
        }
    }
    from.deserialize_any(ListOrName)
}

/// The steps that this name stands for.
fn usual(name: &str) -> Option<Vec<Step>> {
    let percent = |percent: u16| Weight::from_basis_points(percent * 100).ok();
    let climb = |weights: &[u16], between: Step| {
        let weights = weights.iter().filter_map(|weight| percent(*weight));
        let steps = weights.flat_map(|weight| [Step::SetWeight(weight), between.clone()]);
        let mut steps: Vec<_> = steps.collect();
        steps.push(Step::SetWeight(Weight::FULL));
        steps
    };
    let minutes = |minutes| Step::Wait(SignedDuration::from_mins(minutes));
    match name {
        "canary" => Some(climb(&[10], minutes(5))),
        "linear" => Some(climb(&[10, 20, 30, 40, 50, 60, 70, 80, 90], minutes(1))),
        "ladder" => Some(climb(&[1, 5, 25, 50], Step::Judge { windows: 5 })),
        "all-at-once" => Some(climb(&[], minutes(0))),
        _ => None,
    }
}

/// Whether the candidate goes from nothing to at least half of the requests in one step.
pub(super) fn is_at_once(steps: &[Step]) -> bool {
    let first = steps.iter().find_map(|step| match step {
        Step::SetWeight(weight) => Some(*weight),
        _ => None,
    });
    first.is_some_and(|weight| weight.basis_points() > Weight::FULL.basis_points() / 2)
}

/// Whether these can be the steps of a release.
pub(super) fn check(steps: &[Step]) -> Result<(), String> {
    if steps.len() > STEPS_MAX {
        let count = steps.len();
        return Err(format!(
            "`steps` has {count} entries: at most {STEPS_MAX} are allowed"
        ));
    }
    let mut reached = Weight::ZERO;
    let mut routed = false;
    for step in steps {
        match step {
            Step::SetWeight(weight) if *weight > reached => reached = *weight,
            Step::SetWeight(weight) => {
                return Err(format!(
                    "set-weight: {weight} after {reached}: every set-weight must be larger than \
                     the one before"
                ));
            }
            Step::Judge { windows } if !(1..=STEP_WINDOWS_MAX).contains(windows) => {
                return Err(format!(
                    "judge has windows: {windows}: 1 to {STEP_WINDOWS_MAX} are allowed"
                ));
            }
            Step::Judge { .. } if reached == Weight::ZERO || reached == Weight::FULL => {
                return Err(format!(
                    "judge at {reached}: one of the versions has no requests there, so there is \
                     nothing to compare; put it after a set-weight below 100%, or use `watch`"
                ));
            }
            Step::HeaderRoute(_) if routed || reached != Weight::ZERO => {
                return Err(
                    "header-route: once, and before the first set-weight: it is for those who \
                     look before anybody else"
                        .to_owned(),
                );
            }
            Step::HeaderRoute(test) => {
                test.check()?;
                routed = true;
            }
            Step::Judge { .. } => {}
            Step::Wait(time) => duration("wait", *time, LEAST)?,
            Step::Watch(time) => duration("watch", *time, LEAST)?,
            Step::Approve(approval) => check_approval(approval)?,
            Step::Probe(probe) => probe.check()?,
            Step::RunCheck(run_check) => run_check.check()?,
        }
    }
    if reached != Weight::FULL {
        return Err("the last set-weight of `steps` must be set-weight: 100%".to_owned());
    }
    Ok(())
}

fn check_approval(approval: &Approval) -> Result<(), String> {
    duration("approve", approval.within, LEAST)?;
    let Some(action) = &approval.action else {
        return Ok(());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || ".@-_".contains(c);
    if (1..=ACTION_CHARS_MAX).contains(&action.len()) && action.chars().all(plain) {
        return Ok(());
    }
    Err(format!(
        "approve has action: '{action}': write the name of a manual approval action of the same \
         pipeline"
    ))
}

#[cfg(test)]
mod tests;
