//! A stage of a pipeline: closed to further executions, or rolled back.

use aws_sdk_codepipeline::types::{
    ExecutionType, PipelineExecutionFilter, PipelineExecutionSummary, StageExecution,
    StageExecutionStatus, StageTransitionType, SucceededInStageFilter,
};
use engine::{Class, PortError};
use release::config::StageArn;

use crate::Aws;
use crate::error::{failed, misconfigured_if, odd_answer};

/// CodePipeline's words for what only another configuration can cure.
const MISCONFIGURED: [&str; 2] = ["PipelineNotFoundException", "StageNotFoundException"];

/// Disables the inbound transition; once more is harmless, and the last reason counts.
pub(super) async fn close(aws: &Aws, stage: &StageArn, reason: &str) -> Result<(), PortError> {
    let call = aws.codepipeline.disable_stage_transition();
    let call = call
        .pipeline_name(stage.pipeline())
        .stage_name(stage.name())
        .transition_type(StageTransitionType::Inbound)
        .reason(reason);
    let closed = call.send().await;
    closed.map_err(|e| classified(failed(format!("close {stage}"), e)))?;
    tracing::info!(%stage, reason, "inbound transition disabled");
    Ok(())
}

/// Whether this execution is the last that entered the stage, and has not ended in it.
pub(super) async fn runs(aws: &Aws, stage: &StageArn, execution: &str) -> Result<bool, PortError> {
    let doing = || format!("look at {stage}");
    let latest = latest(aws, stage, &doing).await?;
    Ok(latest.is_some_and(|latest| latest.pipeline_execution_id() == execution && is_on(&latest)))
}

fn is_on(latest: &StageExecution) -> bool {
    match latest.status() {
        StageExecutionStatus::InProgress | StageExecutionStatus::Stopping => true,
        StageExecutionStatus::Cancelled
        | StageExecutionStatus::Failed
        | StageExecutionStatus::Stopped
        | StageExecutionStatus::Succeeded
        | StageExecutionStatus::Skipped => false,
        // Whatever AWS may add is not known to have ended.
        _ => true,
    }
}

/// Rolls the stage back to what succeeded in it last. Each rollback is an execution, so the stage is
/// looked at first: one that a rollback has entered already has been rolled back.
pub(super) async fn roll_back(
    aws: &Aws,
    stage: &StageArn,
    execution: &str,
) -> Result<(), PortError> {
    let doing = || format!("roll {stage} back");
    let refused = |why: String| PortError::new(Class::Permanent, doing(), why);
    match latest(aws, stage, &doing).await? {
        Some(latest) if latest.pipeline_execution_id() == execution && is_on(&latest) => {
            return Err(refused(
                "it still runs; once it has ended, roll it back in the console, or retry it".into(),
            ));
        }
        Some(latest) if latest.pipeline_execution_id() == execution => {}
        Some(latest) if is_rollback(&latest) => return Ok(()),
        Some(latest) => {
            return Err(refused(format!(
                "execution {} has entered it since, and is what counts there now",
                latest.pipeline_execution_id()
            )));
        }
        None => return Err(refused("no execution has entered it".into())),
    }
    let Some(target) = last_success(aws, stage, &doing).await? else {
        return Err(refused(
            "no execution has succeeded in it since the pipeline was changed last, so there is \
             nothing to roll back to"
                .into(),
        ));
    };
    let call = aws.codepipeline.rollback_stage();
    let call = call
        .pipeline_name(stage.pipeline())
        .stage_name(stage.name())
        .target_pipeline_execution_id(&target);
    let Err(error) = call.send().await else {
        tracing::info!(%stage, target, "stage rolled back");
        return Ok(());
    };
    let error = classified(failed(doing(), error));
    // An attempt whose answer was lost has put a rollback into the stage, which refuses the next.
    match latest(aws, stage, &doing).await {
        Ok(Some(latest)) if latest.pipeline_execution_id() != execution && is_rollback(&latest) => {
            Ok(())
        }
        Ok(_) | Err(_) => Err(error),
    }
}

fn is_rollback(latest: &StageExecution) -> bool {
    latest.r#type() == Some(&ExecutionType::Rollback)
}

/// What entered the stage last.
async fn latest(
    aws: &Aws,
    stage: &StageArn,
    doing: &impl Fn() -> String,
) -> Result<Option<StageExecution>, PortError> {
    let call = aws.codepipeline.get_pipeline_state();
    let state = call.name(stage.pipeline()).send().await;
    let state = state.map_err(|e| classified(failed(doing(), e)))?;
    let mut stages = state.stage_states.unwrap_or_default().into_iter();
    let found = stages.find(|state| state.stage_name() == Some(stage.name()));
    match found {
        Some(state) => Ok(state.latest_execution),
        None => Err(PortError::new(
            Class::Misconfigured,
            doing(),
            "the pipeline has no such stage; correct `rollback.pipeline` in penstock.yaml",
        )),
    }
}

/// The execution to go back to: a rollback cannot be one, so of a rollback the one it went back to.
async fn last_success(
    aws: &Aws,
    stage: &StageArn,
    doing: &impl Fn() -> String,
) -> Result<Option<String>, PortError> {
    let succeeded = SucceededInStageFilter::builder().stage_name(stage.name());
    let filter = PipelineExecutionFilter::builder().succeeded_in_stage(succeeded.build());
    let call = aws.codepipeline.list_pipeline_executions();
    let call = call
        .pipeline_name(stage.pipeline())
        .filter(filter.build())
        .max_results(1);
    let page = call.send().await;
    let page = page.map_err(|e| classified(failed(doing(), e)))?;
    let newest = page.pipeline_execution_summaries().first();
    let target = newest.map(|newest| {
        let target = target_of(newest);
        target.ok_or_else(|| odd_answer(doing(), "an execution in the answer has no id"))
    });
    target.transpose()
}

fn target_of(summary: &PipelineExecutionSummary) -> Option<String> {
    let rollback = summary.rollback_metadata();
    let back_to = rollback.and_then(|r| r.rollback_target_pipeline_execution_id());
    let target = back_to.or(summary.pipeline_execution_id());
    target.map(str::to_owned)
}

fn classified(error: PortError) -> PortError {
    let mut error = misconfigured_if(error, &MISCONFIGURED);
    if error.said("ConflictException") {
        // The pipeline is being changed, or another call is at work on it.
        error.class = Class::Conflict;
    }
    error
}
