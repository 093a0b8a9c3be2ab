//! What people and tools are told of a release: one announcement for each change that matters to
//! somebody who is not looking.
//!
//! Announcements are made of what the log has, so nothing is announced that did not happen. Each is
//! the same however often it is made, with the same [`Detail::id`].

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::config::Step;
use crate::{Event, Head, Order, Outcome, Phase, Reason, Release};

/// Who says so, in an EventBridge event's `source`.
pub const SOURCE: &str = "penstock";
/// The version of [`Detail`]. Keys may be added to it; none is taken away or gets another meaning.
pub const DETAIL_VERSION: u32 = 1;
/// The largest [`Detail`] as JSON, in bytes: ten of them fit into one PutEvents call, which takes
/// 256 KB.
pub const DETAIL_BYTES_MAX: usize = 20 * 1024;
/// The longest name, ARN or identity, in characters.
const NAME_CHARS_MAX: usize = 400;
/// The longest reason and the longest text, in characters.
const SENTENCE_CHARS_MAX: usize = 1_000;
/// The namespace of Penstock's metrics.
const NAMESPACE: &str = "Penstock";

/// What kind of change it is: an EventBridge event's `detail-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The release began.
    ReleaseStarted,
    /// It has come to a step in which it stays, or the candidate has another weight, read back.
    StepReached,
    /// Somebody holds it by hand.
    Held,
    /// Somebody lets it go on.
    Resumed,
    /// It was decided that it goes back.
    RollingBack,
    /// It is over: the candidate serves everything.
    Promoted,
    /// It is over: the stable version serves everything.
    RolledBack,
    /// The rollback should be over by now and is not.
    RollbackStuck,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::ReleaseStarted,
        Self::StepReached,
        Self::Held,
        Self::Resumed,
        Self::RollingBack,
        Self::Promoted,
        Self::RolledBack,
        Self::RollbackStuck,
    ];

    /// As it is written in an event.
    pub fn detail_type(self) -> &'static str {
        match self {
            Self::ReleaseStarted => "Release Started",
            Self::StepReached => "Step Reached",
            Self::Held => "Held",
            Self::Resumed => "Resumed",
            Self::RollingBack => "Rolling Back",
            Self::Promoted => "Promoted",
            Self::RolledBack => "Rolled Back",
            Self::RollbackStuck => "Rollback Stuck",
        }
    }
}

/// One change of a release, for everybody who wants to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Announcement {
    /// What kind of change.
    pub kind: Kind,
    /// When it happened.
    pub at: Timestamp,
    /// The rest.
    pub detail: Detail,
}

/// An EventBridge event's `detail`. Names are cut at 400 characters, sentences at 1 000; what there
/// is none of is left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detail {
    /// [`DETAIL_VERSION`].
    pub version: u32,
    /// `RELEASE/SEQ`: the same for every delivery of the same change, and for no other.
    pub id: String,
    /// The release's id.
    pub release: String,
    /// The number of the fact in the release's log, from 1; of two events of a release the one with
    /// the higher number happened later.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What is released to: the ARN of a rule, an alias or a service.
    pub target: String,
    /// The pipeline, if its action names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<String>,
    /// The pipeline's execution, if its action names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// The version that served everything before, as the target names it.
    pub stable: String,
    /// The new version.
    pub candidate: String,
    /// The candidate's share of the requests after this change, in basis points, 0..=10 000.
    pub weight: u16,
    /// The step that the release is in, from 1. One more than there are steps when all are done.
    pub step: usize,
    /// How many steps the plan has.
    pub steps: usize,
    /// Why, in a sentence, with its numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who did it, if somebody did: an AWS identity.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// All of it in one line for people. It has no quotation marks, backslashes, angle brackets or
    /// control characters, so it can be put between quotation marks by an input transformer, and
    /// into a chat without mentioning anybody.
    pub text: String,
}

impl Announcement {
    /// The detail as JSON, at most [`DETAIL_BYTES_MAX`] bytes.
    pub fn detail_json(&self) -> String {
        // Nothing in it can fail to be written: there is no map, and no number that JSON has not.
        serde_json::to_string(&self.detail).unwrap_or_default()
    }

    /// For what pages: its line of CloudWatch's embedded metric format, which counts it, over all
    /// releases and by target.
    pub fn metric_line(&self) -> Option<String> {
        let name = match self.kind {
            Kind::RollbackStuck => "RollbackStuck",
            Kind::ReleaseStarted
            | Kind::StepReached
            | Kind::Held
            | Kind::Resumed
            | Kind::RollingBack
            | Kind::Promoted
            | Kind::RolledBack => return None,
        };
        let line = json!({
            "_aws": {
                "Timestamp": self.at.as_millisecond(),
                "CloudWatchMetrics": [{
                    "Namespace": NAMESPACE,
                    "Dimensions": [[], ["Target"]],
                    "Metrics": [{"Name": name, "Unit": "Count"}],
                }],
            },
            "Target": self.detail.target,
            "release": self.detail.release,
            name: 1,
        });
        Some(line.to_string())
    }
}

/// Whether this fact could be announced, so that it is worth to load what came before it.
pub fn may_matter(event: &Event) -> bool {
    match event {
        Event::Started(_)
        | Event::Performed { .. }
        | Event::StepDone { .. }
        | Event::Ordered { .. }
        | Event::RollbackDecided { .. }
        | Event::RollbackStuck { .. }
        | Event::Ended { .. } => true,
        Event::Intended { .. }
        | Event::Observed { .. }
        | Event::AlarmsChanged { .. }
        | Event::CandidateReady { .. }
        | Event::Checked { .. }
        | Event::Frozen { .. }
        | Event::CleanupFailed { .. } => false,
    }
}

/// What is announced of the fact that came next after `before`: nothing of most, nor of a release
/// whose beginning is not in the log.
pub fn announce(before: &Head<Option<Release>>, event: &Event) -> Option<Announcement> {
    let after = before.after(std::slice::from_ref(event));
    let release = after.state.as_ref()?;
    let told = tell(before.state.as_ref(), event, release)?;
    let at = event.at();
    let started = &release.started;
    let name = |text: &str| printable(text, NAME_CHARS_MAX);
    let id = &started.release;
    Some(Announcement {
        kind: told.kind,
        at,
        detail: Detail {
            version: DETAIL_VERSION,
            id: format!("{id}/{}", after.seq),
            release: id.to_string(),
            seq: after.seq,
            at,
            target: name(&release.plan().target.id().0),
            pipeline: started.pipeline.as_deref().map(name),
            execution: started.execution.as_deref().map(name),
            stable: name(&started.arms.stable),
            candidate: name(&started.arms.candidate),
            weight: release.weight.basis_points(),
            step: release.step.saturating_add(1),
            steps: release.plan().steps.len(),
            reason: told
                .reason
                .map(|reason| printable(&reason, SENTENCE_CHARS_MAX)),
            by: told.by.as_deref().map(name),
            text: spoken(&format!("{id} {}", told.said)),
        },
    })
}

/// One change in words.
struct Told {
    kind: Kind,
    reason: Option<String>,
    by: Option<String>,
    /// After the release's name.
    said: String,
}

impl Told {
    fn new(kind: Kind, said: String) -> Self {
        Self {
            kind,
            reason: None,
            by: None,
            said,
        }
    }

    fn because(self, reason: impl ToString) -> Self {
        Self {
            reason: Some(reason.to_string()),
            ..self
        }
    }

    fn by(self, who: Option<&str>) -> Self {
        Self {
            by: who.map(str::to_owned),
            ..self
        }
    }
}

fn tell(before: Option<&Release>, event: &Event, after: &Release) -> Option<Told> {
    match event {
        Event::Started(_) if before.is_some() => None, // a release begins once
        Event::Started(started) => {
            let (steps, target) = (started.plan.steps.len(), started.plan.target.id());
            let said = format!("started: {steps} steps of traffic for {target}");
            Some(Told::new(Kind::ReleaseStarted, said))
        }
        Event::Performed { .. } => reached(before?, event, after),
        Event::StepDone { because, .. } => {
            reached(before?, event, after).map(|told| told.because(because))
        }
        Event::Ordered { order, by } => {
            let told = match order {
                Order::Hold => {
                    let (who, why, weight) = (&by.who, &by.why, after.weight);
                    let said = format!("is held at {weight} by {who}: {why}");
                    Told::new(Kind::Held, said)
                }
                Order::Resume => {
                    let said = format!("goes on, says {}: {}", by.who, by.why);
                    Told::new(Kind::Resumed, said)
                }
                Order::SkipWait | Order::Approve | Order::Promote => {
                    reached(before?, event, after)?
                }
            };
            Some(told.because(&by.why).by(Some(&by.who)))
        }
        Event::RollbackDecided { because, .. } => {
            let said = format!("rolls back from {}: {because}", after.weight);
            let told = Told::new(Kind::RollingBack, said);
            Some(told.because(because).by(who(because)))
        }
        Event::RollbackStuck { why, .. } => {
            let weight = after.weight;
            let said = format!(
                "cannot be rolled back, and goes on trying: {why}; the candidate had {weight} last"
            );
            Some(Told::new(Kind::RollbackStuck, said).because(why))
        }
        Event::Ended { outcome, .. } => Some(ended(*outcome, after)),
        Event::Intended { .. }
        | Event::Observed { .. }
        | Event::AlarmsChanged { .. }
        | Event::CandidateReady { .. }
        | Event::Checked { .. }
        | Event::Frozen { .. }
        | Event::CleanupFailed { .. } => None,
    }
}

/// A step in which the release stays, or a weight that is in place. A step that only sets the next
/// weight is told when that is in place.
fn reached(before: &Release, event: &Event, after: &Release) -> Option<Told> {
    let is_step = after.step != before.step;
    let is_weight = matches!(event, Event::Performed { .. }) && after.weight != before.weight;
    let next = match after.current_step() {
        Some(Step::SetWeight(_) | Step::HeaderRoute(_)) if !is_weight => return None,
        Some(step) => format!(
            "step {} of {}: {}",
            after.step.saturating_add(1),
            after.plan().steps.len(),
            step.words()
        ),
        None if !is_weight => return None,
        None => "every step is done".to_owned(),
    };
    if after.phase != Phase::Shifting || !is_step {
        return None;
    }
    let said = format!("has its candidate at {}; {next}", after.weight);
    Some(Told::new(Kind::StepReached, said))
}

fn ended(outcome: Outcome, after: &Release) -> Told {
    let serving = after.serving();
    match outcome {
        Outcome::Promoted => {
            let said = format!("is promoted: the candidate serves 100% from {serving}");
            Told::new(Kind::Promoted, said).because(Reason::EveryStepDone)
        }
        Outcome::RolledBack => {
            let said = format!("is rolled back: the stable version serves 100% from {serving}");
            let told = Told::new(Kind::RolledBack, said);
            match &after.because {
                Some(because) => Told {
                    said: format!("{}; {because}", told.said),
                    ..told.because(because).by(who(because))
                },
                None => told,
            }
        }
    }
}

/// Who asked for it, where somebody did.
fn who(because: &Reason) -> Option<&str> {
    if let Reason::Held { by } | Reason::Rejected { by } = because {
        return Some(&by.who);
    }
    if let Reason::Asked { by, .. } = because {
        return by.as_deref();
    }
    None
}

fn printable(text: &str, chars_max: usize) -> String {
    reports::printable(text, chars_max)
}

/// A line for people that is safe between quotation marks, and in a chat.
fn spoken(text: &str) -> String {
    let text = printable(text, SENTENCE_CHARS_MAX);
    let plain = text.chars().map(|c| match c {
        '"' => '\'',
        '\\' => '/',
        '<' => '‹',
        '>' => '›',
        _ => c,
    });
    plain.collect()
}

#[cfg(test)]
mod tests;
