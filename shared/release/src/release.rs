//! What the facts add up to.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use stats::{Judge, JudgeConfig, Verdict};

use crate::config::{Plan, Step, TargetSpec};
use crate::freeze::{self, Frozen};
use crate::{
    By, CandidateRequests, CheckVerdict, Checked, Claim, Effect, Event, FailureKind, Generation,
    JobReply, Order, Outcome, Proof,
};
use crate::{Reason, STAGE_END_WITHIN, Started, Story, Token, Weight, Window};

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

/// How far the candidate has come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Candidate {
    /// The release has to put it up.
    Due,
    /// It was asked for.
    Deploying,
    /// It is up: put up by this release, or by somebody else before.
    Ready,
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
    /// Since when.
    pub weight_since: Timestamp,
    /// How far the candidate has come up.
    pub candidate: Candidate,
    /// Whether the release may have put up what is to be taken down at its end.
    pub to_retire: bool,
    /// Whether the old version may be going down already, so that there is no way back.
    pub retiring: bool,
    /// Whether test traffic may be going to the candidate.
    pub test_traffic: bool,
    /// Whether the deployments alongside are to be stopped should it go back.
    #[serde(default)]
    pub to_stop: bool,
    /// Whether the stage is to be closed or rolled back should it go back.
    #[serde(default)]
    pub to_hold: bool,
    /// What could not be tidied up, in words.
    pub left_behind: Vec<String>,
    /// The plan's current step, counted from 0; the number of steps when all are done.
    pub step: usize,
    /// When the current step began.
    pub step_since: Timestamp,
    /// Comparing windows that began in this step.
    pub step_windows: u32,
    /// Checks of this step that passed in a row, up to now.
    pub step_passes: u32,
    /// What this step's checks said last.
    pub checked: Option<Checked>,
    /// The end of the freeze that holds, or last held, the weight.
    pub frozen_until: Option<Timestamp>,
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
    /// Whether the candidate may have had requests.
    pub exposed: bool,
    /// How many it had, as far as was seen.
    pub candidate_requests: CandidateRequests,
    /// When it was turned back.
    pub turned_at: Option<Timestamp>,
    /// When people were last told that its rollback is stuck.
    pub stuck_told: Option<Timestamp>,
    /// Since when its rollback is known to be stuck.
    pub stuck_since: Option<Timestamp>,
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
            weight_since: started.at,
            candidate: match started.plan.target.deploys() {
                true => Candidate::Due,
                false => Candidate::Ready,
            },
            to_retire: false,
            retiring: false,
            test_traffic: false,
            to_stop: !started.plan.rollback.alongside.is_empty(),
            to_hold: started.plan.rollback.pipeline.is_some(),
            left_behind: Vec::new(),
            step: 0,
            step_since: started.at,
            step_windows: 0,
            step_passes: 0,
            checked: None,
            frozen_until: None,
            judge: Judge::new(&started.judge_config()),
            judged_until: started.at,
            held: None,
            alarms_firing: started.alarms_firing.clone(),
            alarms_ignored: started.alarms_firing.clone(),
            because: None,
            exposed: false,
            candidate_requests: CandidateRequests::default(),
            turned_at: None,
            stuck_told: None,
            stuck_since: None,
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

    /// The freeze that holds the next weight back now, if one does. What a watch has seen through
    /// is not held any more, and a hotfix never is.
    pub(crate) fn frozen(&self, now: Timestamp) -> Option<Frozen> {
        let steps = &self.plan().steps;
        let before = self
            .step
            .checked_sub(2)
            .and_then(|step| steps.get(step..self.step));
        let is_watched = match before {
            Some([Step::SetWeight(weight), Step::Watch(_)]) => *weight == self.weight,
            Some(_) | None => false,
        };
        if self.plan().hotfix.is_some() || is_watched {
            return None;
        }
        freeze::frozen(&self.plan().freeze, now)
    }

    /// How long it has lasted.
    pub fn lasted(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.started.at)
    }

    /// Why a release whose pipeline asked last at `asked` goes back, if it does: nobody would see
    /// to it on its way up. One whose steps are done but for the watch can be judged without.
    pub fn abandoned(&self, asked: Timestamp, now: Timestamp) -> Option<Reason> {
        let quiet = now.duration_since(asked);
        let is_abandoned = quiet >= self.plan().abandon_after && !self.is_closing();
        (self.phase == Phase::Shifting && is_abandoned).then_some(Reason::Abandoned { quiet })
    }

    /// Whether its steps are done but for the watch, so that it can come to its end without its
    /// pipeline.
    pub(crate) fn is_closing(&self) -> bool {
        let begun = self.plan().steps.get(..=self.step);
        begun.is_none_or(|s| s.iter().any(|s| matches!(s, Step::Watch(_))))
    }

    /// Until when the sweep leaves a release alone whose pipeline asks at `now`.
    pub fn left_alone_until(&self, now: Timestamp) -> Timestamp {
        now + match self.phase {
            Phase::Shifting => self.plan().abandon_after,
            Phase::RollingBack | Phase::Promoted | Phase::RolledBack => SWEEP_PAUSE,
        }
    }

    /// Whether it was turned back, and the stable version has been given everything again.
    pub fn is_back(&self) -> bool {
        let is_set = self.weight == Weight::ZERO && self.intended.is_none();
        self.phase == Phase::RollingBack && is_set
    }

    /// What people are told of a rollback that goes nowhere, because of `why`: once it has taken
    /// [`STUCK_AFTER`] longer than it may, and again every [`STUCK_AGAIN`].
    pub fn stuck_for(&self, why: &str, now: Timestamp) -> Option<Event> {
        let turned_at = self
            .turned_at
            .filter(|_| self.phase == Phase::RollingBack)?;
        // Once the traffic is back, what is left has a time of its own.
        let since = match (self.is_back(), self.waits_for_stage()) {
            (false, false) => turned_at,
            (true, false) => self.weight_since + self.time_to_prove().max(self.plan().retire_after),
            (_, true) => self.weight_since + STAGE_END_WITHIN,
        };
        let told = self.stuck_told.map(|told| now.duration_since(told));
        let is_due =
            now.duration_since(since) >= STUCK_AFTER && told.is_none_or(|told| told >= STUCK_AGAIN);
        is_due.then(|| Event::RollbackStuck {
            at: now,
            why: why.chars().take(STUCK_CHARS_MAX).collect(),
        })
    }

    /// For how long the metrics may still show that the candidate's requests fell; `None` when they
    /// have, or when there is nothing to show.
    pub fn proving(&self, now: Timestamp) -> Option<SignedDuration> {
        let shows = self.exposed && self.plan().target.divides();
        if !self.is_back() || !shows || self.candidate_requests.fell() {
            return None;
        }
        let left = self.time_to_prove() - now.duration_since(self.weight_since);
        (left > SignedDuration::ZERO).then_some(left)
    }

    fn time_to_prove(&self) -> SignedDuration {
        let windows = self.plan().window.saturating_mul(PROOF_WINDOWS_MAX);
        self.plan().settle.saturating_add(windows)
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
                self.may_happen(*effect);
            }
            Event::Performed {
                at,
                generation,
                effect,
            } => self.performed(*at, *generation, *effect),
            Event::Observed { windows, .. } => windows.iter().for_each(|w| self.see(w)),
            Event::AlarmsChanged { firing, .. } => {
                self.alarms_ignored.retain(|name| firing.contains(name));
                self.alarms_firing.clone_from(firing);
            }
            Event::CandidateReady { at } => {
                self.candidate = Candidate::Ready;
                self.step_since = *at;
            }
            Event::Checked { checked, .. } => {
                self.step_passes = match checked.verdict {
                    CheckVerdict::Pass => self.step_passes.saturating_add(1),
                    CheckVerdict::Fail | CheckVerdict::Wait => 0,
                };
                self.checked = Some(checked.clone());
            }
            Event::Frozen { until, .. } => {
                self.frozen_until = Some(*until);
                // The step's patience begins when it may go on.
                self.step_since = *until;
            }
            Event::CleanupFailed { effect, why, .. } => {
                self.intended = None;
                match effect {
                    Effect::Retire => self.to_retire = false,
                    Effect::TestTraffic(_) => self.test_traffic = false,
                    Effect::StopAlongside => self.to_stop = false,
                    Effect::HoldStage => self.to_hold = false,
                    Effect::SetWeight(_) | Effect::Deploy => {}
                }
                self.left_behind.push(why.clone());
            }
            Event::StepDone { at, step, .. } => self.enter_step(step + 1, *at),
            Event::Ordered { order, by } => self.ordered(*order, by),
            Event::RollbackDecided { at, because } => {
                self.phase = Phase::RollingBack;
                self.turned_at = Some(*at);
                self.because = Some(because.clone());
            }
            Event::RollbackStuck { at, .. } => {
                if self.phase == Phase::RollingBack {
                    self.stuck_since.get_or_insert(*at);
                    self.stuck_told = Some(*at);
                }
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
        match effect {
            Effect::SetWeight(weight) => {
                self.weight = weight;
                self.weight_since = at;
                if weight == Weight::FULL && !self.plan().target.divides() {
                    // Only now is it put up.
                    self.candidate = Candidate::Deploying;
                }
                if self.current_step() == Some(&Step::SetWeight(weight)) {
                    self.enter_step(self.step + 1, at);
                }
            }
            Effect::Deploy => self.step_since = at,
            Effect::Retire => self.to_retire = false,
            Effect::StopAlongside => self.to_stop = false,
            Effect::HoldStage => self.to_hold = false,
            Effect::TestTraffic(on) => {
                self.test_traffic = on;
                if on && matches!(self.current_step(), Some(Step::HeaderRoute(_))) {
                    self.enter_step(self.step + 1, at);
                }
            }
        }
    }

    /// What may be so from now on, whether or not the effect is ever known to be performed.
    fn may_happen(&mut self, effect: Effect) {
        match effect {
            Effect::Deploy => {
                self.candidate = Candidate::Deploying;
                self.to_retire = true;
            }
            Effect::TestTraffic(true) => self.test_traffic = true,
            Effect::Retire => self.retiring = self.phase == Phase::Shifting,
            Effect::SetWeight(weight) => self.exposed |= weight > Weight::ZERO,
            Effect::TestTraffic(false) | Effect::StopAlongside | Effect::HoldStage => {}
        }
    }

    fn ordered(&mut self, order: Order, by: &By) {
        match order {
            Order::Hold => self.held = Some(by.clone()),
            Order::Resume => {
                self.held = None;
                // What could not be seen or judged while it was held has its whole time again.
                self.step_since = self.thawed(by.at);
            }
            Order::SkipWait | Order::Approve => self.enter_step(self.step + 1, by.at),
            Order::Promote => {
                self.held = None;
                let steps = &self.plan().steps;
                let last = steps.iter().rposition(|s| matches!(s, Step::SetWeight(_)));
                let step = match last {
                    Some(last) if self.step <= last => last,
                    Some(_) | None => steps.len(),
                };
                self.enter_step(step, by.at);
            }
        }
    }

    /// When a step that begins now may go on, as far as the freeze that is known lets it.
    fn thawed(&self, at: Timestamp) -> Timestamp {
        self.frozen_until.map_or(at, |until| at.max(until))
    }

    fn enter_step(&mut self, step: usize, at: Timestamp) {
        self.step = step;
        self.step_since = self.thawed(at);
        self.step_windows = 0;
        self.step_passes = 0;
        self.checked = None;
    }

    fn see(&mut self, window: &Window) {
        if window.start < self.judged_until {
            return; // used already: never bet twice on one window
        }
        let is_back = self.is_back();
        let counts = window.metrics.values().map(|counts| counts.canary.count);
        if let Some(requests) = counts.max() {
            match is_back && window.start >= self.weight_since {
                true => self.candidate_requests.after = Some(requests),
                false => self.candidate_requests.before = Some(requests),
            }
        }
        match self.phase {
            Phase::Shifting => self.judge_window(window),
            Phase::RollingBack | Phase::Promoted | Phase::RolledBack => {
                self.judged_until = window.start + self.plan().window;
            }
        }
    }

    fn judge_window(&mut self, window: &Window) {
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
                watches: started.watches(),
                since: started.at,
                until: started.at + started.plan.abandon_after,
            }),
            Event::RollbackDecided { at, .. } => Some(Claim::Wake {
                at: *at + SWEEP_PAUSE,
            }),
            Event::Ended { .. } => self.as_ref().map(|release| Claim::GiveBack {
                target: release.plan().target.id(),
                watches: release.started.watches(),
            }),
            Event::Intended { .. }
            | Event::Performed { .. }
            | Event::Observed { .. }
            | Event::AlarmsChanged { .. }
            | Event::CandidateReady { .. }
            | Event::Checked { .. }
            | Event::Frozen { .. }
            | Event::CleanupFailed { .. }
            | Event::StepDone { .. }
            | Event::Ordered { .. }
            | Event::RollbackStuck { .. } => None,
        }
    }
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
                summary: self.going_on(because),
                percent: self.percent(),
            },
            // The stage cannot end, and be rolled back, before its action has.
            Phase::RollingBack if matches!(because, Reason::AwaitingStage { .. }) => {
                JobReply::Fail {
                    kind: FailureKind::JobFailed,
                    message: format!(
                        "rolled back: {}; the stable version serves 100% again; {because}; release \
                         {id}{}",
                        self.why(),
                        self.warnings()
                    ),
                }
            }
            Phase::RollingBack => JobReply::Continue {
                token: Token::of(id.clone()),
                summary: match self.is_back() {
                    true => format!("rolled back: {}; {because}{}", self.why(), self.stuck()),
                    false => format!("rolling back: {}{}", self.why(), self.stuck()),
                },
                percent: self.percent(),
            },
            Phase::Promoted => JobReply::Succeed {
                summary: format!(
                    "promoted: the candidate serves 100% from {}; {}; release {id}{}",
                    self.serving(),
                    self.evidence(),
                    self.warnings()
                ),
                outputs: self.outputs(),
            },
            Phase::RolledBack => JobReply::Fail {
                kind: FailureKind::JobFailed,
                message: format!(
                    "rolled back: {}; the stable version serves 100% again from {}{}; release {id}{}",
                    self.why(),
                    self.serving(),
                    self.requests_fell(),
                    self.warnings()
                ),
            },
        }
    }

    /// What its target does to weights is said as long as it runs, and at the end, where it tells what
    /// 100% is worth. Of two jobs that begin it at once, either may be the one whose answer is seen.
    fn warnings(&self) -> String {
        let warnings = self.started.warnings.iter().chain(&self.left_behind);
        warnings.map(|text| format!("; warning: {text}")).collect()
    }

    fn going_on(&self, because: &Reason) -> String {
        let steps = self.plan().steps.len();
        let step = (self.step + 1).min(steps);
        let evidence = match self.weight {
            Weight::ZERO => String::new(),
            _ => format!("; {}", self.evidence()),
        };
        format!(
            "candidate at {}, step {step} of {steps}: {because}{evidence}{}",
            self.weight,
            self.warnings()
        )
    }

    fn stuck(&self) -> String {
        self.stuck_since.map_or_else(String::new, |since| {
            format!("; stuck since {since:.0}, and tried again and again")
        })
    }

    fn why(&self) -> String {
        let because = self.because.as_ref();
        because.map_or_else(String::new, Reason::to_string)
    }

    fn requests_fell(&self) -> String {
        let requests = self.proof.and_then(|proof| proof.candidate_requests);
        requests.map_or_else(String::new, |requests| format!("; {requests}"))
    }

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

/// A rollback that is decided takes seconds: one that takes so much longer needs somebody.
pub const STUCK_AFTER: SignedDuration = SignedDuration::from_mins(5);
/// How often people are told of a rollback that stays stuck.
pub const STUCK_AGAIN: SignedDuration = SignedDuration::from_hours(1);
/// The longest reason that they are told, in characters.
const STUCK_CHARS_MAX: usize = 1_000;

/// How many windows after a rollback may show that the candidate's requests fell.
const PROOF_WINDOWS_MAX: i32 = 3;

/// From one look of the sweep at a release to the next.
pub const SWEEP_PAUSE: SignedDuration = SignedDuration::from_mins(1);

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
