//! Outside events that can turn a release round. One file a source.
//!
//! An event finds its release by a name that the release registered ([`crate::watches`]), never by
//! guess, and turns it round only while it is on its way up and only by what happened after it began.

mod alarm;
mod codedeploy;
mod ecs;
mod image;
mod pipeline;
mod request;
mod schedule;
mod trust;

use jiff::{SignedDuration, Timestamp};
use reports::Severity;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use schedule::{SWEEP, SWEEP_SOURCE};
pub use trust::{Home, StandIns, Untrusted};

use crate::watches::NAME_BYTES_MAX;
use crate::{Phase, Reason, Release};

/// Reads one kind of event: `Ok(None)` when the event says nothing that a release must heed.
type Read = fn(&OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError>;

/// The longest text of an event that is repeated anywhere, in characters.
const WORDS_CHARS_MAX: usize = 300;

/// One kind of event.
struct Source {
    /// Its `detail-type`.
    detail_type: &'static str,
    /// Who may send it.
    sender: Sender,
    /// What it asks for.
    read: Read,
}

/// Who may send an event.
#[derive(Debug, Clone, Copy)]
enum Sender {
    /// This service of AWS, by its `source`. Nobody else can: `PutEvents` refuses `aws.` sources.
    Aws(&'static str),
    /// The stack itself, by this `source`, straight to the function.
    Stack(&'static str),
    /// Whoever may put events on the bus.
    Anybody,
}

/// The kinds that are understood. One line each.
#[rustfmt::skip]
const SOURCES: &[Source] = &[
    Source { detail_type: "CloudWatch Alarm State Change", sender: Sender::Aws("aws.cloudwatch"), read: alarm::read },
    Source { detail_type: "CodePipeline Pipeline Execution State Change", sender: Sender::Aws("aws.codepipeline"), read: pipeline::read },
    Source { detail_type: "CodePipeline Stage Execution State Change", sender: Sender::Aws("aws.codepipeline"), read: pipeline::read },
    Source { detail_type: "CodePipeline Action Execution State Change", sender: Sender::Aws("aws.codepipeline"), read: pipeline::read },
    Source { detail_type: "CodeDeploy Deployment State-change Notification", sender: Sender::Aws("aws.codedeploy"), read: codedeploy::read },
    Source { detail_type: "ECS Deployment State Change", sender: Sender::Aws("aws.ecs"), read: ecs::deployment },
    Source { detail_type: "ECS Service Action", sender: Sender::Aws("aws.ecs"), read: ecs::service_action },
    Source { detail_type: "ECR Image Scan", sender: Sender::Aws("aws.ecr"), read: image::scan },
    Source { detail_type: "Inspector2 Finding", sender: Sender::Aws("aws.inspector2"), read: image::finding },
    Source { detail_type: schedule::SWEEP, sender: Sender::Stack(schedule::SWEEP_SOURCE), read: schedule::read },
    Source { detail_type: "penstock.rollback-requested", sender: Sender::Anybody, read: request::read },
];

impl Source {
    fn of(detail_type: &str) -> Option<&'static Self> {
        SOURCES.iter().find(|s| s.detail_type == detail_type)
    }
}

/// An EventBridge event.
#[derive(Debug, Clone, Copy)]
pub struct OutsideEvent<'a> {
    /// The same for every delivery of the event.
    pub id: &'a str,
    /// Who sent it, such as `aws.cloudwatch`.
    pub source: &'a str,
    /// The account that it comes from.
    pub account: &'a str,
    /// The region that it comes from.
    pub region: &'a str,
    /// When what it tells of happened, by EventBridge's clock, which has whole seconds.
    pub at: Timestamp,
    /// The ARNs of what it tells of.
    pub resources: &'a [String],
    /// EventBridge's `detail-type`.
    pub detail_type: &'a str,
    /// EventBridge's `detail`.
    pub detail: &'a Value,
}

impl OutsideEvent<'_> {
    /// The last instant that its time may mean. Something may well have happened in the second in
    /// which a release began, and after it.
    fn latest(&self) -> Timestamp {
        match self.at.subsec_nanosecond() {
            0 => self
                .at
                .saturating_add(SignedDuration::from_nanos(999_999_999))
                .unwrap_or(self.at),
            _ => self.at,
        }
    }

    /// Its detail, as its type promises it. What else the detail holds is passed over.
    fn detail<T: DeserializeOwned>(&self) -> Result<T, SourceError> {
        T::deserialize(self.detail).map_err(|e| self.malformed(e.to_string()))
    }

    fn malformed(&self, why: impl AsRef<str>) -> SourceError {
        SourceError::Malformed {
            detail_type: words(self.detail_type),
            why: words(why),
        }
    }
}

/// What an event asks for, and of whom.
#[derive(Debug, Clone, PartialEq)]
pub struct RollbackRequest {
    /// The names under which a release registered that this concerns it ([`crate::watches`]); one of
    /// them is enough.
    pub watches: Vec<String>,
    /// When what the event tells of happened.
    pub at: Timestamp,
    /// Why a release that it concerns must go back.
    pub because: Reason,
    /// Which releases heed it, of those that it concerns.
    pub heeded_by: HeededBy,
}

/// Which releases heed what happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeededBy {
    /// Every one.
    All,
    /// Those whose plan says that a finding of this severity rolls back.
    PlansAgainst(Severity),
    /// Those that need their pipeline to come to their end; one that only watches on does not.
    Unfinished,
    /// Those that do not themselves wait for what this action says. One that does sees better who
    /// said what, and goes back by that.
    NotWaitingFor(String),
}

impl HeededBy {
    fn includes(&self, release: &Release) -> bool {
        let plan = release.plan();
        match self {
            Self::All => true,
            Self::PlansAgainst(finding) => plan.rollback_on_finding.heeds(*finding),
            Self::Unfinished => !release.is_closing(),
            Self::NotWaitingFor(action) => plan.approval_action() != Some(action.as_str()),
        }
    }
}

impl RollbackRequest {
    /// Something that happened to what has this name.
    fn happened(watch: String, event: &OutsideEvent<'_>, what: String) -> Self {
        Self {
            watches: vec![watch],
            at: event.latest(),
            because: Reason::Happened { what: words(what) },
            heeded_by: HeededBy::All,
        }
    }

    /// Whether this turns `release` round: it must be on its way up, the event must tell of
    /// something that happened after it began, since events may be late, and it must be one of those
    /// that heed it.
    pub fn concerns(&self, release: &Release) -> bool {
        release.phase == Phase::Shifting
            && self.at >= release.started.at
            && self.heeded_by.includes(release)
    }
}

/// Why an event could not be understood. Little of the event is repeated, and nothing that could
/// steer a terminal.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No source reads this detail type.
    #[error("could not use an event of detail-type '{0}': no source reads it")]
    UnknownDetailType(String),
    /// The detail is not what its type promises.
    #[error("could not read the detail of a '{detail_type}': {why}")]
    Malformed {
        /// The event's detail type.
        detail_type: String,
        /// What is missing or wrong.
        why: String,
    },
}

/// What this event asks for, if anything.
///
/// # Errors
/// Says what is wrong with the event.
pub fn read(event: &OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError> {
    let source = Source::of(event.detail_type)
        .ok_or_else(|| SourceError::UnknownDetailType(words(event.detail_type)))?;
    let request = (source.read)(event)?;
    let too_long = |request: &RollbackRequest| {
        let mut names = request.watches.iter();
        names.any(|name| name.len() > NAME_BYTES_MAX)
    };
    match request {
        Some(request) if too_long(&request) => {
            let why = format!("it names something by more than {NAME_BYTES_MAX} bytes");
            Err(event.malformed(why))
        }
        request => Ok(request),
    }
}

/// The beginning of somebody else's text, on one line and without control characters.
fn words(text: impl AsRef<str>) -> String {
    let plain = text.as_ref().chars().take(WORDS_CHARS_MAX);
    plain
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests;
