//! What the facts add up to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use stats::{Judge, JudgeConfig, Verdict};

use crate::config::{Plan, Step, TargetSpec};
use crate::{By, Claim, Effect, Event, FailureKind, Generation, JobReply, Order, Outcome, Proof};
use crate::{Reason, Started, Story, Token, Weight, Window};

/// Where a release stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// On the way up.
    Shifting,
    /// On the way back; never up again.
    RollingBack,
    /// Over: the candidate serves everything.
    Promoted,
    /// Over: the stable version serves everything.
    RolledBack,
}

/// A release, folded from its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    /// How it began.
    pub started: Started,
    /// Where it stands.
    pub phase: Phase,
    /// Of the latest intent.
    pub generation: Generation,
    /// The latest intent, while it has not been performed.
    pub intended: Option<Effect>,
    /// The candidate's weight, as last performed.
    pub weight: Weight,
    /// The plan's current step, counted from 0; the number of steps when all are done.
    pub step: usize,
    /// When the current step began.
    pub step_since: Timestamp,
    /// Comparing windows that began in this step.
    pub step_windows: u32,
    /// The judge's state.
    pub judge: Judge,
    /// The end of the last window that was used; nothing before it is looked at again.
    pub judged_until: Timestamp,
    /// Who holds it, while somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<By>,
    /// Watched alarms that are firing.
    pub alarms_firing: BTreeSet<String>,
    /// Of those, the ones that have been firing since before the release.
    pub alarms_ignored: BTreeSet<String>,
    /// Why it goes or went back.
    pub because: Option<Reason>,
    /// What was read back at the end.
    pub proof: Option<Proof>,
}

impl Release {
    pub(crate) fn begin(started: Started) -> Self {
        Self {
            phase: Phase::Shifting,
            generation: Generation::default(),
            intended: None,
            weight: Weight::ZERO,
            step: 0,
            step_since: started.at,
            step_windows: 0,
            judge: Judge::new(&started.judge_config()),
            judged_until: started.at,
            held: None,
            alarms_firing: started.alarms_firing.clone(),
            alarms_ignored: started.alarms_firing.clone(),
            because: None,
            proof: None,
            started,
        }
    }

    /// The plan it follows.
    pub fn plan(&self) -> &Plan {
        &self.started.plan
    }

    /// What the judge runs on, from the beginning to the end.
    pub fn judge_config(&self) -> JudgeConfig {
        self.started.judge_config()
    }

    /// The plan's current step; `None` when all are done.
    pub fn current_step(&self) -> Option<&Step> {
        self.plan().steps.get(self.step)
    }

    /// What the judge says now.
    pub fn verdict(&self) -> Verdict {
        self.judge.verdict(&self.judge_config())
    }

    /// The judge's sentence, with its numbers.
    pub fn evidence(&self) -> String {
        self.judge.explain(&self.judge_config())
    }

    /// An alarm that fires and was not firing all along.
    pub fn fresh_alarm(&self) -> Option<&String> {
        self.alarms_firing.difference(&self.alarms_ignored).next()
    }

    /// How long it has lasted.
    pub fn lasted(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.started.at)
    }

    /// Whether anything can still happen.
    pub fn is_active(&self) -> bool {
        match self.phase {
            Phase::Shifting | Phase::RollingBack => true,
            Phase::Promoted | Phase::RolledBack => false,
        }
    }

    pub(crate) fn take(&mut self, event: &Event) {
        match event {
            Event::Started(_) => {}
            Event::Intended {
                generation, effect, ..
            } => {
                self.generation = *generation;
                self.intended = Some(*effect);
            }
            Event::Performed {
                at,
                generation,
                effect,
            } => self.performed(*at, *generation, *effect),
            Event::Observed { windows, .. } => windows.iter().for_each(|w| self.judge_window(w)),
            Event::AlarmsChanged { firing, .. } => {
                self.alarms_ignored.retain(|name| firing.contains(name));
                self.alarms_firing.clone_from(firing);
            }
            Event::StepDone { at, step, .. } => self.enter_step(step + 1, *at),
            Event::Ordered { order, by } => self.ordered(*order, by),
            Event::RollbackDecided { because, .. } => {
                self.phase = Phase::RollingBack;
                self.because = Some(because.clone());
            }
            Event::Ended { outcome, proof, .. } => {
                self.phase = match outcome {
                    Outcome::Promoted => Phase::Promoted,
                    Outcome::RolledBack => Phase::RolledBack,
                };
                self.proof = Some(*proof);
            }
        }
    }

    fn performed(&mut self, at: Timestamp, generation: Generation, effect: Effect) {
        if generation != self.generation {
            return; // outranked meanwhile: the latest intent still stands
        }
        self.intended = None;
        let Effect::SetWeight(weight) = effect;
        self.weight = weight;
        if self.current_step() == Some(&Step::SetWeight(weight)) {
            self.enter_step(self.step + 1, at);
        }
    }

    fn ordered(&mut self, order: Order, by: &By) {
        match order {
            Order::Hold => self.held = Some(by.clone()),
            Order::Resume => {
                self.held = None;
                // What could not be seen or judged while it was held has its whole time again.
                self.step_since = by.at;
            }
            Order::SkipWait | Order::Approve => self.enter_step(self.step + 1, by.at),
            Order::Promote => {
                self.held = None;
                let last = self.plan().steps.len().saturating_sub(1);
                self.enter_step(last.max(self.step), by.at);
            }
        }
    }

    fn enter_step(&mut self, step: usize, at: Timestamp) {
        self.step = step;
        self.step_since = at;
        self.step_windows = 0;
    }

    fn judge_window(&mut self, window: &Window) {
        if window.start < self.judged_until {
            return; // used already: never bet twice on one window
        }
        let config = self.judge_config();
        // A metric without a share is stored for replay, not judged.
        let judged = window
            .metrics
            .iter()
            .filter(|(metric, _)| self.judge.metric(metric).is_some());
        let counts = judged.map(|(metric, c)| (metric.as_str(), c.canary, c.baseline));
        let counts: Vec<_> = counts.collect();
        if self.judge.observe_window(&config, counts).is_err() {
            return; // counts that are none were never stored: deserialising refuses them
        }
        self.judged_until = window.start + self.plan().window;
        if window.start >= self.step_since && window.compares(&config.required) {
            self.step_windows += 1;
        }
    }
}

impl Story for Option<Release> {
    type Event = Event;
    const KIND: &'static str = "release";

    fn apply(&mut self, event: &Event) {
        match (self.as_mut(), event) {
            (None, Event::Started(started)) => *self = Some(Release::begin((**started).clone())),
            (Some(release), event) => release.take(event),
            (None, _) => {} // a log begins with Started; nothing else is ever stored first
        }
    }

    fn claim(&self, event: &Event) -> Option<Claim> {
        match event {
            Event::Started(started) => Some(Claim::Take {
                target: started.plan.target.id(),
                watches: watches(&started.plan),
            }),
            Event::Ended { .. } => self.as_ref().map(|release| Claim::GiveBack {
                target: release.plan().target.id(),
                watches: watches(release.plan()),
            }),
            Event::Intended { .. }
            | Event::Performed { .. }
            | Event::Observed { .. }
            | Event::AlarmsChanged { .. }
            | Event::StepDone { .. }
            | Event::Ordered { .. }
            | Event::RollbackDecided { .. } => None,
        }
    }
}

fn watches(plan: &Plan) -> Vec<String> {
    plan.alarms.iter().map(|a| format!("alarm:{a}")).collect()
}

impl Release {
    /// The windows that are settled by now and not used yet; `None` when there cannot be any.
    pub fn due_windows(&self, now: Timestamp) -> Option<WindowQuery> {
        let length = self.plan().window.as_secs().max(1);
        let aligned_up = |t: Timestamp| {
            let nanos = i64::from(t.subsec_nanosecond() != 0);
            (t.as_second() + nanos + length - 1).div_euclid(length) * length
        };
        let settled = now.as_second() - self.plan().settle.as_secs();
        let until = settled.div_euclid(length) * length;
        let from = aligned_up(self.judged_until).max(until - WINDOWS_MAX * length);
        (from < until).then_some(WindowQuery {
            from: Timestamp::from_second(from).ok()?,
            until: Timestamp::from_second(until).ok()?,
            length: self.plan().window,
        })
    }

    /// What the pipeline is told now; `because` is the latest decision's reason.
    pub fn reply(&self, because: &Reason) -> JobReply {
        let id = &self.started.release;
        match self.phase {
            Phase::Shifting => JobReply::Continue {
                token: Token::of(id.clone()),
                summary: format!(
                    "candidate at {}, step {} of {}: {because}; {}",
                    self.weight,
                    (self.step + 1).min(self.plan().steps.len()),
                    self.plan().steps.len(),
                    self.evidence()
                ),
                percent: self.percent(),
            },
            Phase::RollingBack => JobReply::Continue {
                token: Token::of(id.clone()),
                summary: format!("rolling back: {}", self.why()),
                percent: self.percent(),
            },
            Phase::Promoted => JobReply::Succeed {
                summary: format!(
                    "promoted: the candidate serves 100% from {}; {}; release {id}",
                    self.serving(),
                    self.evidence()
                ),
                outputs: self.outputs(),
            },
            Phase::RolledBack => JobReply::Fail {
                kind: FailureKind::JobFailed,
                message: format!(
                    "rolled back: {}; the stable version serves 100% again from {}; release {id}",
                    self.why(),
                    self.serving()
                ),
            },
        }
    }

    fn why(&self) -> String {
        let because = self.because.as_ref();
        because.map_or_else(String::new, Reason::to_string)
    }

    /// What serves everything at the end, as it was read back; `arm` is its side.
    /// What serves everything once the release is over: `2 healthy hosts`, or `version 8`.
    pub fn serving(&self) -> String {
        let arms = &self.started.arms;
        let arm = match self.phase {
            Phase::Promoted => &arms.candidate,
            Phase::Shifting | Phase::RollingBack | Phase::RolledBack => &arms.stable,
        };
        let healthy = self.proof.map_or(0, |proof| proof.healthy_hosts);
        match (&self.plan().target, healthy) {
            (
                TargetSpec::AlbRule(_) | TargetSpec::EcsServices(_) | TargetSpec::EcsTaskSets(_),
                count,
            ) => match count {
                0 => "no healthy host (look at its targets now)".to_owned(),
                1 => "1 healthy host".to_owned(),
                _ => format!("{count} healthy hosts"),
            },
            (TargetSpec::EcsRolling(_), 0) => {
                format!("{arm}, of which no task runs (look at the service's events now)")
            }
            (TargetSpec::EcsRolling(_), 1) => format!("1 task of {arm}"),
            (TargetSpec::EcsRolling(_), count) => format!("{count} tasks of {arm}"),
            (TargetSpec::LambdaAlias(_), 0) => {
                format!("version {arm}, which is not active (look at its state now)")
            }
            (TargetSpec::LambdaAlias(_), _) => format!("version {arm}"),
        }
    }

    fn percent(&self) -> u8 {
        let share = self.step * 100 / self.plan().steps.len().max(1);
        u8::try_from(share).unwrap_or(100).min(99)
    }

    fn outputs(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("verdict".to_owned(), "promoted".to_owned()),
            ("release".to_owned(), self.started.release.to_string()),
        ])
    }
}

/// Which windows to ask the metrics for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowQuery {
    /// The first window's start; a multiple of `length` since the epoch.
    pub from: Timestamp,
    /// The last window's end.
    pub until: Timestamp,
    /// Of each window; whole seconds.
    pub length: SignedDuration,
}

/// The most windows that one query asks for.
const WINDOWS_MAX: i64 = 120;
