//! What goes along with a release: it is stopped, closed and rolled back when the release goes back.

use futures::future::join_all;
use release::Release;
use release::config::PipelinePolicy;

use super::could_observe;
use crate::{Class, PortError, Ports};

/// Stops all deployments alongside, side by side. What may still work is tried again together with
/// the others, which have been stopped by then; only what never will is left to be told.
pub(super) async fn stop(ports: &impl Ports, release: &Release) -> Result<(), PortError> {
    let alongside = release.plan().rollback.alongside.iter();
    let stopped = join_all(alongside.map(|one| ports.stop(one))).await;
    let mut never: Vec<PortError> = Vec::new();
    for error in stopped.into_iter().filter_map(Result::err) {
        match error.class.may_pass() {
            true => return Err(error),
            false => never.push(error),
        }
    }
    all_of(never).map_or(Ok(()), Err)
}

/// One error that tells all of these.
fn all_of(errors: Vec<PortError>) -> Option<PortError> {
    errors.into_iter().reduce(|first, next| {
        let said = match &first.cause {
            Some(cause) => format!("{cause}; {next}"),
            None => next.to_string(),
        };
        PortError::new(first.class, first.doing, said)
    })
}

/// Closes the stage, or rolls it back.
pub(super) async fn hold_stage(ports: &impl Ports, release: &Release) -> Result<(), PortError> {
    match (
        &release.plan().rollback.pipeline,
        &release.started.execution,
    ) {
        (Some(PipelinePolicy::DisableTransition(stage)), _) => {
            let reason = release.transition_reason();
            ports.close_stage(stage, &reason).await
        }
        (Some(PipelinePolicy::RollBackStage(stage)), Some(execution)) => {
            ports.roll_back_stage(stage, execution).await
        }
        (Some(PipelinePolicy::RollBackStage(stage)), None) => Err(PortError::new(
            Class::Misconfigured,
            format!("roll {stage} back"),
            "the release does not know its execution; add \"execution\":\
             \"#{codepipeline.PipelineExecutionId}\" to UserParameters",
        )),
        (None, _) => Ok(()),
    }
}

/// Whether the release's execution is still in the stage whose end it waits for, if it waits.
pub(super) async fn in_stage(ports: &impl Ports, release: &Release) -> Option<bool> {
    let (stage, execution) = (release.awaits_stage()?, release.started.execution.as_ref()?);
    could_observe("the stage", ports.in_stage(stage, execution).await)
}
