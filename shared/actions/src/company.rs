//! What goes along with a release, before it begins: whether it is the job's own, and there at all.

use engine::{ActionError, AppendError, Class, Job, PortError, Ports};
use futures::future::try_join_all;
use release::config::{PipelinePolicy, Plan};
use release::{Head, Phase, Release};

/// Refuses to hold the stage of another pipeline, and to roll one back without knowing in which
/// execution.
pub(crate) fn fits_job(plan: &Plan, job: &Job) -> Result<(), String> {
    let Some(policy) = &plan.rollback.pipeline else {
        return Ok(());
    };
    let (stage, parameters) = (policy.stage(), &job.parameters);
    match &parameters.pipeline {
        Some(pipeline) if pipeline != stage.pipeline() => {
            return Err(format!(
                "`rollback.pipeline` names {stage}, but UserParameters say that the pipeline is \
                 {pipeline}: correct one of them; a release holds its own pipeline only"
            ));
        }
        Some(_) | None => {}
    }
    match policy {
        PipelinePolicy::RollBackStage(_) if parameters.execution.is_none() => Err(format!(
            "{stage} can be rolled back only once the release's execution has left it, and \
             UserParameters do not say which one that is: add \
             \"execution\":\"#{{codepipeline.PipelineExecutionId}}\""
        )),
        PipelinePolicy::RollBackStage(_) | PipelinePolicy::DisableTransition(_) => Ok(()),
    }
}

/// Finds everything that would have to be stopped or held: a name that is wrong, or a right that is
/// missing, is better known now than when the release goes back.
pub(crate) async fn find(ports: &impl Ports, plan: &Plan, job: &Job) -> Result<(), PortError> {
    let alongside = plan.rollback.alongside.iter();
    try_join_all(alongside.map(|one| ports.find(one))).await?;
    let Some(policy) = &plan.rollback.pipeline else {
        return Ok(());
    };
    let (stage, execution) = (policy.stage(), &job.parameters.execution);
    let execution = execution.as_deref().unwrap_or_default();
    let is_in_it = ports.in_stage(stage, execution).await?;
    match policy {
        // CodePipeline may be late in telling, so this is looked at again by a further job.
        PipelinePolicy::RollBackStage(_) if !is_in_it => Err(PortError::new(
            Class::Conflict,
            format!("begin a release that may have to roll {stage} back"),
            format!(
                "execution {execution} is not in it; `rollback.pipeline` must name the action's own \
                 stage"
            ),
        )),
        PipelinePolicy::RollBackStage(_) | PipelinePolicy::DisableTransition(_) => Ok(()),
    }
}

/// A release on its way back gives its target free soon: whoever wants it next, which may be the
/// rollback of its own stage, is asked to come again instead of failing.
pub(crate) async fn unless_it_goes_back(ports: &impl Ports, error: ActionError) -> ActionError {
    let ActionError::Append(AppendError::Busy { holder, target }) = &error else {
        return error;
    };
    match ports.load::<Option<Release>>(holder).await {
        Ok(Head {
            state: Some(release),
            ..
        }) if release.phase == Phase::RollingBack => ActionError::Port(PortError::new(
            Class::Conflict,
            format!("begin yet: {target} is held by release {holder}, which is on its way back"),
            "wait until it is over",
        )),
        Ok(_) | Err(_) => error,
    }
}
