//! Moves traffic to the candidate step by step, judging each window.

use std::collections::BTreeSet;

use engine::{
    Action, ActionError, AppendError, Class, Driven, Invocation, Job, PortError, Ports, begin,
    drive, roll_back,
};
use futures::join;
use jiff::Timestamp;
use pages::ReleasePage;
use release::account::Account;
use release::check::AllowedChecks;
use release::config::{AllowList, FindingPolicy, LIFE_MAX, Plan};
use release::freeze::{self, Frozen};
use release::{Arms, FailureKind, Head, JobReply, Reason, Release, ReleaseId, Started, TargetId};

use crate::artifacts::Inputs;
use crate::company;
use crate::output;

/// The action `canary-shift`.
#[derive(Debug, Clone)]
pub struct CanaryShift {
    allowed: AllowList,
    allowed_checks: AllowedChecks,
}

impl CanaryShift {
    /// The environment variable with the stack's parameter AllowedTargets.
    pub const ALLOWED_TARGETS_VARIABLE: &str = "PENSTOCK_ALLOWED_TARGETS";

    /// The environment variable with the stack's parameter AllowedChecks.
    pub const ALLOWED_CHECKS_VARIABLE: &str = "PENSTOCK_ALLOWED_CHECKS";

    /// An action that moves only targets whose ARN matches one of these patterns, which are
    /// separated by commas; `*` stands for anything. None match when it is empty. Its checks may ask
    /// no function.
    pub fn new(allowed_targets: &str) -> Self {
        Self {
            allowed: AllowList::parse(allowed_targets),
            allowed_checks: AllowedChecks::parse(""),
        }
    }

    /// The same action, whose checks may ask functions whose ARN matches one of these patterns.
    #[must_use]
    pub fn with_checks(self, allowed_checks: &str) -> Self {
        Self {
            allowed_checks: AllowedChecks::parse(allowed_checks),
            ..self
        }
    }

    /// An action that moves what the stack's owner allows.
    pub fn from_env() -> Self {
        let value = |variable| std::env::var(variable).unwrap_or_default();
        Self::new(&value(Self::ALLOWED_TARGETS_VARIABLE))
            .with_checks(&value(Self::ALLOWED_CHECKS_VARIABLE))
    }

    /// Refuses a plan that needs what the stack's owner does not allow, or what the job does not
    /// say.
    fn permit(&self, plan: &Plan, job: &Job) -> Result<(), String> {
        self.allowed.permit(&plan.target)?;
        if plan.test_traffic().is_some() {
            self.allowed.permit_test_traffic(&plan.target)?;
        }
        plan.functions()
            .try_for_each(|function| self.allowed_checks.permit(function))?;
        self.allowed.permit_rollback(&plan.rollback)?;
        company::fits_job(plan, job)?;
        let (pipeline, execution) = (&job.parameters.pipeline, &job.parameters.execution);
        match plan.approval_action() {
            Some(action) if pipeline.is_none() || execution.is_none() => Err(format!(
                "the plan waits for the approval action {action}, but UserParameters do not say of \
                 which execution: add \"pipeline\":\"NAME\" and \
                 \"execution\":\"#{{codepipeline.PipelineExecutionId}}\""
            )),
            Some(_) | None => Ok(()),
        }
    }

    async fn start(
        &self,
        ports: &impl Ports,
        job: &Job,
        id: &ReleaseId,
    ) -> Result<Begun, ActionError> {
        let section = job.parameters.section.clone();
        let read = Inputs::read(ports, job, move |inputs| {
            let plan = inputs.plan(section.as_deref())?;
            let images = match plan.rollback_on_finding {
                FindingPolicy::Critical | FindingPolicy::High => inputs.images()?,
                FindingPolicy::Never => BTreeSet::new(),
            };
            Ok((plan, images))
        });
        let (plan, images) = read.await?;
        let plan = match job.parameters.hotfix.clone() {
            Some(why) => plan.at_once(why),
            None => plan,
        };
        self.permit(&plan, job).map_err(ActionError::Refused)?;
        thaws_in_time(&plan, ports.now()).map_err(ActionError::Refused)?;
        company::find(ports, &plan, job).await?;
        let arms = match ports.arms(&plan.target).await {
            Ok(arms) => arms,
            Err(error) => return Err(busy_or(ports, &plan.target.id(), error.into()).await),
        };
        if arms.stable == arms.candidate {
            let target = plan.target.id();
            // It may serve everything because its own release is not over yet, and may go back.
            if let Some(holder) = ports.holder(&target).await? {
                return Err(ActionError::Append(AppendError::Busy { target, holder }));
            }
            return Ok(Begun::Unchanged(arms.stable));
        }
        match look_before(ports, job, id, (&plan, images), arms).await {
            Ok(started) => {
                started.check_watches().map_err(ActionError::Refused)?;
                Ok(Begun::Release(Box::new(begin(ports, id, started).await?)))
            }
            Err(error) => Err(busy_or(ports, &plan.target.id(), error).await),
        }
    }
}

/// What an action's first job comes to.
enum Begun {
    /// A release: this job's, or that of its duplicate.
    Release(Box<Head<Option<Release>>>),
    /// What would be the candidate serves everything already; its name.
    Unchanged(String),
}

/// A commit that changes no code makes no new version, and that fails no pipeline.
fn unchanged(id: &ReleaseId, serving: &str) -> JobReply {
    JobReply::Succeed {
        summary: format!("nothing to move: version {serving} serves everything already"),
        outputs: [("verdict", "unchanged"), ("release", id.as_str())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    }
}

/// A release that begins in a freeze waits for its end, unless that leaves it too little time.
fn thaws_in_time(plan: &Plan, now: Timestamp) -> Result<(), String> {
    let frozen = match &plan.hotfix {
        Some(_) => None,
        None => freeze::frozen(&plan.freeze, now),
    };
    let Some(Frozen { until, because }) = frozen else {
        return Ok(());
    };
    let needed = until.duration_since(now).saturating_add(plan.longest());
    match needed > LIFE_MAX {
        true => Err(format!(
            "frozen until {until:.0}: {because}; that is later than this release could wait for. \
             Retry the stage then, or pass \"hotfix\" with a reason if it cannot wait"
        )),
        false => Ok(()),
    }
}

/// A target that another release is moving looks unsettled; that release is the better answer.
async fn busy_or(ports: &impl Ports, target: &TargetId, error: ActionError) -> ActionError {
    match ports.holder(target).await {
        Ok(Some(holder)) => ActionError::Append(AppendError::Busy {
            target: target.clone(),
            holder,
        }),
        Ok(None) | Err(_) => error,
    }
}

/// What must be known, and in order, before a release may begin.
async fn look_before(
    ports: &impl Ports,
    job: &Job,
    id: &ReleaseId,
    (plan, mut images): (&Plan, BTreeSet<String>),
    arms: Arms,
) -> Result<Started, ActionError> {
    let live = ports.live(&plan.target, &arms).await?;
    if live.candidate_healthy == 0 && plan.target.needs_candidate() {
        return Err(ActionError::Refused(format!(
            "the candidate {} has no healthy host, or is not active: its share of the requests would \
             go into errors; deploy the new version there first",
            arms.candidate
        )));
    }
    let mut warnings = ports.warnings(&plan.target).await?;
    if live.stable_healthy == 0 {
        // Such a release may be the repair, so it is not refused.
        warnings.push(format!(
            "the stable version {} has no healthy host: there is nothing to compare with, and a \
             rollback would go back to that",
            arms.stable
        ));
    }
    match plan.rollback_on_finding {
        FindingPolicy::Critical | FindingPolicy::High => {
            images.extend(ports.images(&plan.target).await?);
        }
        FindingPolicy::Never => {}
    }
    // Before the alarms are read: one that fires in between must count as having fired since.
    let at = ports.now();
    let alarms_firing = match plan.alarms.as_slice() {
        [] => Default::default(),
        alarms => ports.firing(alarms).await?,
    };
    let percentiles = plan.metrics.percentiles();
    let slower_than = match percentiles.is_empty() {
        true => Default::default(),
        false => {
            let (target, stable) = (&plan.target, &arms.stable);
            ports.percentiles(target, stable, &percentiles, at).await?
        }
    };
    Ok(Started {
        at,
        release: id.clone(),
        execution: job.parameters.execution.clone(),
        pipeline: job.parameters.pipeline.clone(),
        plan: plan.clone(),
        arms,
        alarms_firing,
        images,
        warnings,
        slower_than,
        judge: Some(plan.judge_config()),
    })
}

impl Action for CanaryShift {
    const NAME: &'static str = "canary-shift";

    async fn run(
        &self,
        ports: &impl Ports,
        call: &Invocation,
        job: &Job,
    ) -> Result<JobReply, ActionError> {
        let id = job.story(Self::NAME)?;
        let mut head: Head<Option<Release>> = ports.load(&id).await?;
        if head.state.is_none() {
            head = match self.start(ports, job, &id).await {
                Ok(Begun::Release(begun)) => *begun,
                Ok(Begun::Unchanged(serving)) => {
                    let reply = unchanged(&id, &serving);
                    let result = serde_json::json!({"verdict": "unchanged", "version": serving});
                    let files = async || Ok(vec![("result.json", output::result_json(&result)?)]);
                    return with_report(reply, output::store(ports, job, files).await);
                }
                // A duplicate of this job was faster and has moved traffic: go on with its release.
                Err(error) => match ports.load(&id).await {
                    Ok(begun) if begun.seq > 0 => begun,
                    Ok(_) | Err(_) => return Err(company::unless_it_goes_back(ports, error).await),
                },
            };
        }
        let until = head.state.as_ref().map(|r| r.left_alone_until(ports.now()));
        let (driven, ()) = join!(drive(ports, call, &id, head), beat(ports, &id, until));
        let driven = match driven {
            Ok(driven) => driven,
            Err(error) if error.class.may_pass() => return Err(error.into()),
            Err(error) => give_up(ports, call, &id, error).await?,
        };
        let reply = driven.release.reply(&driven.because);
        // One that only waits for its stage has been told of already.
        if matches!(reply, JobReply::Continue { .. }) {
            return Ok(reply);
        }
        with_report(reply, store_report(ports, job, &id).await)
    }
}

/// Tells the sweep that the release's pipeline is alive. If that fails, the next job tells it.
async fn beat(ports: &impl Ports, id: &ReleaseId, until: Option<Timestamp>) {
    let Some(until) = until else { return };
    if let Err(error) = ports.beat(id, ports.now(), until).await {
        tracing::warn!(%error, "the sweep does not know that the pipeline is alive");
    }
}

/// The answer, once the report is stored. It is over whatever becomes of its report, which a further
/// job stores where that may help.
fn with_report(reply: JobReply, stored: Result<(), PortError>) -> Result<JobReply, ActionError> {
    match stored {
        Ok(()) => Ok(reply),
        Err(error) if error.class.may_pass() => Err(PortError {
            doing: format!(
                "{}, for a release that is over: {}",
                error.doing,
                told(&reply)
            ),
            ..error
        }
        .into()),
        Err(error) => Ok(without_report(&reply, &error)),
    }
}

/// Stores what the release did, and why, as the output artifact: of one that was rolled back as
/// well, since that is the one that somebody will look into.
async fn store_report(ports: &impl Ports, job: &Job, id: &ReleaseId) -> Result<(), PortError> {
    let files = async || {
        let events = ports.events::<Option<Release>>(id).await?;
        let account = Account::of(&events).ok_or_else(|| {
            let why = "its log does not begin with a beginning";
            PortError::new(Class::Permanent, format!("tell the story of {id}"), why)
        })?;
        let page = ReleasePage {
            account: &account,
            pipeline: job.parameters.pipeline.as_deref(),
            made: ports.now(),
        };
        Ok(vec![
            ("report.html", page.html()),
            ("result.json", output::result_json(&account)?),
        ])
    };
    output::store(ports, job, files).await
}

/// An action that succeeds without its output artifact would let a later one fail over it, and
/// nobody would know why: it fails, and says how the release ended and what is missing.
fn without_report(reply: &JobReply, error: &PortError) -> JobReply {
    let ended = told(reply);
    JobReply::Fail {
        kind: FailureKind::JobFailed,
        message: format!("{ended}; but its report is not in the output artifact: {error}"),
    }
}

fn told(reply: &JobReply) -> &str {
    match reply {
        JobReply::Continue { summary, .. } | JobReply::Succeed { summary, .. } => summary,
        JobReply::Fail { message, .. } => message,
    }
}

/// A release that cannot go on goes back: no traffic stays on a version that nobody moves. Until it
/// is back the pipeline is asked to come again.
async fn give_up(
    ports: &impl Ports,
    call: &Invocation,
    id: &ReleaseId,
    error: PortError,
) -> Result<Driven, ActionError> {
    let why = error.to_string();
    let because = |_: &Release| Some(Reason::Stuck { why: why.clone() });
    match roll_back(ports, call, id, because).await {
        Ok(Some(driven)) => Ok(driven),
        Ok(None) => Err(error.into()),
        Err(again) => Err(PortError {
            class: Class::Retryable,
            ..again
        }
        .into()),
    }
}
