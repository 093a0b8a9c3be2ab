//! Waits until every probe is healthy several times in a row, or fails.

use engine::{Action, ActionError, AppendError, Invocation, Job, Ports, look_at};
use jiff::SignedDuration;
use release::check::{AllowedChecks, Check, CheckEvent, ProbeSpec};
use release::{Head, JobReply, ReleaseId};

use crate::artifacts::{self, in_config};

/// The longest that one run waits for its next round before it answers 'not yet'. A minute of
/// waiting in a function costs more than a continuation.
const WAIT_MAX: SignedDuration = SignedDuration::from_secs(10);
/// A round begins only when it is over so long before the run's deadline.
const LEFT_OVER: SignedDuration = SignedDuration::from_secs(8);
/// The most rounds of one run.
const ROUNDS_MAX: usize = 10;

/// The action `health-check`.
#[derive(Debug, Clone, Default)]
pub struct HealthCheck {
    allowed: AllowedChecks,
}

impl HealthCheck {
    /// The environment variable with the stack's parameter AllowedChecks.
    pub const ALLOWED_CHECKS_VARIABLE: &str = "PENSTOCK_ALLOWED_CHECKS";

    /// An action that invokes only functions whose ARN matches one of these patterns, which are
    /// separated by commas; `*` stands for anything. None match when it is empty.
    pub fn new(allowed_checks: &str) -> Self {
        Self {
            allowed: AllowedChecks::parse(allowed_checks),
        }
    }

    /// An action that invokes what the stack's owner allows.
    pub fn from_env() -> Self {
        let allowed = std::env::var(Self::ALLOWED_CHECKS_VARIABLE);
        Self::new(&allowed.unwrap_or_default())
    }

    async fn start(&self, ports: &impl Ports, job: &Job) -> Result<CheckEvent, ActionError> {
        let config = artifacts::config(ports, job).await?;
        let section = job.parameters.section.as_deref();
        let (_, plan) = config.health_check(section).map_err(in_config(job))?;
        let mut functions = plan.probes.iter().filter_map(ProbeSpec::function);
        functions
            .try_for_each(|function| self.allowed.permit(function))
            .map_err(ActionError::Refused)?;
        Ok(CheckEvent::Started {
            at: ports.now(),
            plan: plan.clone(),
        })
    }
}

impl Action for HealthCheck {
    const NAME: &'static str = "health-check";

    async fn run(
        &self,
        ports: &impl Ports,
        call: &Invocation,
        job: &Job,
    ) -> Result<JobReply, ActionError> {
        let id = job.story(Self::NAME)?;
        let mut head: Head<Option<Check>> = ports.load(&id).await?;
        if head.state.is_none() {
            let started = self.start(ports, job).await?;
            head = append(ports, &id, &head, &[started]).await?;
        }
        for _ in 0..ROUNDS_MAX {
            let Some(check) = &head.state else {
                break;
            };
            let wait = check.next_round().duration_since(ports.now());
            let in_time = wait + check.plan.round_time() + LEFT_OVER < call.time_left(ports);
            if check.ended.is_some() || wait > WAIT_MAX || !in_time {
                break;
            }
            if wait > SignedDuration::ZERO {
                ports.sleep(wait).await;
            }
            let probed = look_at(ports, &check.plan.probes).await;
            let events = check.after_round(ports.now(), probed);
            head = append(ports, &id, &head, &events).await?;
        }
        match &head.state {
            Some(check) => Ok(check.reply(&id)),
            None => Err(ActionError::Append(AppendError::Moved)),
        }
    }
}

/// A duplicate of this job that was faster has the same plan: go on from where it is.
async fn append(
    ports: &impl Ports,
    id: &ReleaseId,
    head: &Head<Option<Check>>,
    events: &[CheckEvent],
) -> Result<Head<Option<Check>>, ActionError> {
    match ports.append(id, head, events).await {
        Err(AppendError::Moved) => Ok(ports.load(id).await?),
        stored => Ok(stored?),
    }
}
