//! What the engine needs of the outside world.
#![expect(
    async_fn_in_trait,
    reason = "functions run on one thread; no caller needs Send"
)]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use release::announce::Announcement;
use release::check::{ProbeSpec, Probed, RunCheck};
use release::config::{Alongside, StageArn, TargetSpec, TestTraffic};
use release::gate::{Found, ImageRef};
use release::{
    Approved, Arms, Checked, Generation, Head, JobReply, Live, ReleaseId, Started, Story, TargetId,
    Weight, Window, WindowQuery,
};
use reports::Input;

use crate::{AppendError, Artifact, Fact, Invocation, Job, Memory, PortError, Recalled, Stream};

/// The append-only log of every story, and the fence before its targets.
pub trait ReleaseLog {
    /// All events so far, folded. A story that has not begun is the default state at `seq` 0.
    async fn load<S: Story>(&self, id: &ReleaseId) -> Result<Head<S>, PortError>;

    /// The story as it was after its event number `seq`, whatever has happened since.
    async fn load_at<S: Story>(&self, id: &ReleaseId, seq: u64) -> Result<Head<S>, PortError>;

    /// What a record of the log's own stream tells: a new fact of a release, or nothing that is one.
    /// A record of a fact that cannot be read is an error, and will be one again.
    fn fact(&self, record: &serde_json::Value) -> Result<Option<Fact>, PortError>;

    /// The events themselves, all of them and in order; none when the story has not begun. A report
    /// or a replay needs them; whoever only goes on needs [`load`](Self::load). Refused beyond
    /// [`release::account::LOG_EVENTS_MAX`].
    async fn events<S: Story>(&self, id: &ReleaseId) -> Result<Vec<S::Event>, PortError>;

    /// Stores all of `events` right after `head`, or none of them. Claims ([`Story::claim`]) are
    /// taken and given back in the same write. What is given back while a run has its fence is
    /// refused ([`crate::Class::Conflict`]): that run may still act.
    async fn append<S: Story>(
        &self,
        id: &ReleaseId,
        head: &Head<S>,
        events: &[S::Event],
    ) -> Result<Head<S>, AppendError>;

    /// The same, and in the same write what [`fence`](Self::fence) does for `id`, unless that is
    /// refused: then the events are stored all the same, and `false` comes with the new head.
    async fn append_and_fence<S: Story>(
        &self,
        id: &ReleaseId,
        head: &Head<S>,
        events: &[S::Event],
        target: &TargetId,
        generation: Generation,
        call: &Invocation,
    ) -> Result<(Head<S>, bool), AppendError>;

    /// The active stories that registered this name.
    async fn watching(&self, name: &str) -> Result<Vec<ReleaseId>, PortError>;

    /// The active release that holds this target.
    async fn holder(&self, target: &TargetId) -> Result<Option<ReleaseId>, PortError>;

    /// Tells the sweep that somebody who asked `at` looks after a story, and to leave it alone
    /// `until` then. Harmless when it is over, or when its rollback has been decided.
    async fn beat(&self, id: &ReleaseId, at: Timestamp, until: Timestamp) -> Result<(), PortError>;

    /// At most `limit` stories that nobody looks after by `now`, those that have been left alone for
    /// longest first. May be a little old.
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<Due>, PortError>;

    /// Takes such a story `until` then, and says when somebody last asked for it; `None` when
    /// somebody was faster, or it is over.
    async fn take_due(&self, due: &Due, until: Timestamp) -> Result<Option<Timestamp>, PortError>;

    /// Makes `call` the only one to touch `target` until it unfences or has passed its deadline.
    /// Refused ([`crate::Class::Conflict`]) while another call has it, once a later generation has
    /// had it, and when `release` does not hold the target.
    async fn fence(
        &self,
        target: &TargetId,
        release: &ReleaseId,
        generation: Generation,
        call: &Invocation,
    ) -> Result<(), PortError>;

    /// Gives the fence back. Harmless when `call` does not have it.
    async fn unfence(&self, target: &TargetId, call: &Invocation) -> Result<(), PortError>;
}

/// A story that nobody looks after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub id: ReleaseId,
    /// Until when it was to be left alone.
    pub since: Timestamp,
}

/// What moves requests.
pub trait TrafficTarget {
    /// What [`set_weight`](Self::set_weight) has to know of a target.
    type Reading;

    /// Which side is stable (it has all the traffic) and which is the candidate (it has none). Both
    /// are the same where what would be the candidate serves everything already.
    ///
    /// Asked when a release begins, before anything is stored: it may make the candidate ready, as
    /// long as asking again finds that one and no request goes elsewhere than before.
    async fn arms(&self, target: &TargetSpec) -> Result<Arms, PortError>;

    /// What people should know before a release of it begins: what its target does to weights, a
    /// sentence each. Usually nothing.
    async fn warnings(&self, target: &TargetSpec) -> Result<Vec<String>, PortError>;

    /// The digests (`sha256:..`) of the images that the candidate runs, as far as its definition
    /// names them by digest. Asked when a release begins; none where the target runs no images.
    async fn images(&self, target: &TargetSpec) -> Result<BTreeSet<String>, PortError>;

    /// The same, read ahead of it.
    async fn reading(&self, target: &TargetSpec) -> Result<Self::Reading, PortError>;

    /// Gives the candidate this share of the requests. Nothing else of the target changes. What was
    /// `read` a moment ago need not be read again; what the target has is then written in any case,
    /// because others may have moved it since.
    ///
    /// [`crate::Class::Retryable`] when a request was sent that may still be carried out: no further
    /// one is sent instead of it, since of two the first may come last.
    async fn set_weight(
        &self,
        target: &TargetSpec,
        arms: &Arms,
        weight: Weight,
        read: Option<Self::Reading>,
    ) -> Result<(), PortError>;

    /// Puts the candidate up beside the stable version. Returns once that is asked for, not once it
    /// is up; asking twice is asking once.
    async fn deploy(&self, target: &TargetSpec, arms: &Arms) -> Result<(), PortError>;

    /// Takes `idle` down, the one of `arms` that serves nothing. Asking twice is asking once.
    async fn retire(&self, target: &TargetSpec, arms: &Arms, idle: &str) -> Result<(), PortError>;

    /// Sends `test` traffic to the candidate, or no longer.
    async fn route(
        &self,
        target: &TargetSpec,
        arms: &Arms,
        test: Option<&TestTraffic>,
    ) -> Result<(), PortError>;

    /// Reads the candidate's live weight back.
    async fn weight(&self, target: &TargetSpec, arms: &Arms) -> Result<Weight, PortError>;

    /// Reads the live weight back and counts the healthy hosts of both sides.
    async fn live(&self, target: &TargetSpec, arms: &Arms) -> Result<Live, PortError>;
}

/// What goes along with a release: deployments beside it, and the stage of its pipeline.
///
/// What is stopped is whatever is under way, whenever it began: actions of a stage begin in any
/// order, so one that began a minute before the release belongs to it as well. What is itself a
/// rollback goes on.
pub trait Company {
    /// Finds what deploys alongside. One that is not there is refused ([`crate::Class::Misconfigured`]).
    async fn find(&self, alongside: &Alongside) -> Result<(), PortError>;

    /// Stops every deployment of `alongside` that is under way, each with its own rollback. None is
    /// none, and doing so twice is doing it once.
    async fn stop(&self, alongside: &Alongside) -> Result<(), PortError>;

    /// Lets no further execution into `stage` until somebody enables its inbound transition again.
    /// `reason` is shown there; 1 to 300 characters of `[a-zA-Z0-9!@ ().*?-]`.
    async fn close_stage(&self, stage: &StageArn, reason: &str) -> Result<(), PortError>;

    /// Whether this execution is the one in `stage`, and has not ended there.
    async fn in_stage(&self, stage: &StageArn, execution: &str) -> Result<bool, PortError>;

    /// Rolls `stage`, in which `execution` was the last, back to the execution that succeeded in it
    /// before. Does nothing when that has been done. Refused for good while anything runs in it, and
    /// once another execution has entered it.
    async fn roll_back_stage(&self, stage: &StageArn, execution: &str) -> Result<(), PortError>;
}

/// What counts requests.
pub trait MetricSource {
    /// The settled windows of this range that have data, in order of time, with what
    /// [`Started::counting`] asks for. A window in which one arm has data of a metric and the other
    /// none is one in which the other had no request; a metric of which neither has any could not
    /// be observed, and is absent.
    async fn windows(
        &self,
        started: &Started,
        query: WindowQuery,
    ) -> Result<Vec<Window>, PortError>;

    /// How long requests took at one version in the time before `until`: a time for each of these
    /// percentiles, in percent. One that nobody knows, for want of requests, is absent.
    async fn percentiles(
        &self,
        target: &TargetSpec,
        version: &str,
        percentiles: &BTreeMap<String, f64>,
        until: Timestamp,
    ) -> Result<BTreeMap<String, SignedDuration>, PortError>;
}

/// What tells whether something is healthy.
pub trait HealthProbe {
    /// Looks once. What can be looked at but is not as it should be is not an error.
    async fn probe(&self, probe: &ProbeSpec) -> Result<Probed, PortError>;

    /// Asks a function whether a release may go on; `context` tells it which one, and where it is.
    async fn run_check(
        &self,
        check: &RunCheck,
        context: &serde_json::Value,
    ) -> Result<Checked, PortError>;

    /// Which of these alarms are firing. A name that does not exist is an error.
    async fn firing(&self, alarms: &[String]) -> Result<BTreeSet<String>, PortError>;
}

/// What keeps reports by itself: CodeBuild those of its builds, ECR those of its images' scans.
pub trait ReportSource {
    /// The reports of one build in one report group. `group` is a name or an ARN, `build` a build's
    /// id (`PROJECT:UUID`) or its ARN.
    async fn build_reports(&self, group: &str, build: &str) -> Result<Sourced, PortError>;

    /// What the scan of one image found.
    async fn image_findings(&self, image: &ImageRef) -> Result<Sourced, PortError>;
}

/// What a source of reports says.
#[derive(Debug, Clone)]
pub enum Sourced {
    /// Not finished: it is worth looking again.
    Pending {
        /// What is not, such as `the scan of shop/web:v1`, and what can be done about it.
        what: String,
    },
    /// Finished. What the source could not make a report of is found too, as
    /// [`Found::Unreadable`].
    Found(Vec<Found>),
}

/// What holds a job's artifacts.
pub trait ArtifactStore {
    /// An artifact's bytes, fetched as they are read. An error of theirs that a caller can do
    /// something about holds a [`PortError`].
    type Bytes: Input + Send + 'static;

    /// Hands the job's input artifacts, in its order, to `work`, which may block while it reads
    /// them, and returns what `work` makes of them. They are fetched with the job's own
    /// credentials. Once the caller has given up waiting, they can be read no further.
    async fn read<T: Send + 'static>(
        &self,
        job: &Job,
        work: impl FnOnce(Vec<Self::Bytes>) -> T + Send + 'static,
    ) -> Result<T, PortError>;

    /// Stores an output artifact with the job's own credentials and key.
    async fn store(&self, job: &Job, artifact: &Artifact, zip: Vec<u8>) -> Result<(), PortError>;
}

/// What keeps the runs that passed a gate, to compare the next one with.
pub trait GateHistory {
    /// What is stored under `stream` now. Nothing, or what has expired, is an empty history; what
    /// cannot be read is [`Memory::Lost`], not an error.
    async fn recall(&self, stream: &Stream) -> Result<Recalled, PortError>;

    /// Stores `memory` in place of what was `seen`, whole or not at all. Refused
    /// ([`crate::Class::Conflict`]) when something else has been stored since.
    async fn remember(
        &self,
        stream: &Stream,
        seen: &Recalled,
        memory: &Memory,
    ) -> Result<(), PortError>;
}

/// What knows the executions of pipelines.
pub trait Executions {
    /// When an execution began: that of a rollback when the execution began whose artifacts it
    /// releases again. None when the pipeline has no such execution, or it is too long ago.
    async fn began(&self, pipeline: &str, execution: &str) -> Result<Option<Timestamp>, PortError>;

    /// What somebody decided at a manual approval action of this execution; none yet is `None`.
    async fn approval(
        &self,
        pipeline: &str,
        execution: &str,
        action: &str,
    ) -> Result<Option<Approved>, PortError>;
}

/// What tells CodePipeline.
pub trait JobReporter {
    /// Answers a job. A job that is closed already is left as it is.
    async fn answer(&self, job: &str, reply: &JobReply) -> Result<(), PortError>;
}

/// The most announcements that are put on the bus at once (PutEvents takes ten entries).
pub const ANNOUNCEMENTS_MAX: usize = 10;

/// What everybody listens to who wants to know of releases.
pub trait EventBus {
    /// Puts these on the bus, at most [`ANNOUNCEMENTS_MAX`]. Returns how many of them, from the
    /// first on, are known to be there: at least one. The others may be there as well, and are to be
    /// put once more.
    async fn put(&self, announcements: &[Announcement]) -> Result<usize, PortError>;
}

/// What keeps measurements.
pub trait Telemetry {
    /// Notes one line of CloudWatch's embedded metric format.
    fn measure(&self, line: &str);
}

/// The one place where time comes from.
pub trait Clock {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Now, as this machine has it, right or wrong. The platform tells by the same clock how long a
    /// run lives.
    fn machine_time(&self) -> Timestamp;

    /// Waits.
    async fn sleep(&self, time: SignedDuration);
}

/// All of them.
pub trait Ports:
    ReleaseLog
    + TrafficTarget
    + Company
    + MetricSource
    + HealthProbe
    + ReportSource
    + ArtifactStore
    + GateHistory
    + Executions
    + JobReporter
    + EventBus
    + Telemetry
    + Clock
{
}

impl<T> Ports for T where
    T: ReleaseLog
        + TrafficTarget
        + Company
        + MetricSource
        + HealthProbe
        + ReportSource
        + ArtifactStore
        + GateHistory
        + Executions
        + JobReporter
        + EventBus
        + Telemetry
        + Clock
{
}
