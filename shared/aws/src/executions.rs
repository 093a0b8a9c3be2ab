//! When a pipeline's executions began.

use aws_sdk_codepipeline::operation::list_pipeline_executions::ListPipelineExecutionsOutput;
use aws_sdk_codepipeline::types::{
    ActionCategory, ActionExecutionDetail, ActionExecutionFilter, ActionExecutionStatus,
    PipelineExecutionSummary,
};
use engine::{Class, Executions, PortError};
use jiff::Timestamp;
use release::{Approved, By};

use crate::Aws;
use crate::error::{failed, odd_answer};

/// The most executions of one page (service model, `MaxResults`).
const PAGE_EXECUTIONS: i32 = 100;
/// The most pages that are looked through, the newest execution first.
const PAGES_MAX: usize = 10;

impl Executions for Aws {
    async fn began(&self, pipeline: &str, execution: &str) -> Result<Option<Timestamp>, PortError> {
        let doing = || format!("find out when execution {execution} of {pipeline} began");
        let mut wanted = execution.to_owned();
        let mut from = None;
        for _ in 0..PAGES_MAX {
            let page = self.executions(pipeline, from, &doing).await?;
            if let Some(found) = find(&mut wanted, page.pipeline_execution_summaries()) {
                return start(found, doing).map(Some);
            }
            from = page.next_token;
            if from.is_none() {
                break;
            }
        }
        Ok(None)
    }

    async fn approval(
        &self,
        pipeline: &str,
        execution: &str,
        action: &str,
    ) -> Result<Option<Approved>, PortError> {
        let doing = || format!("read the approval {action} of {pipeline}");
        let filter = ActionExecutionFilter::builder()
            .pipeline_execution_id(execution)
            .build();
        let mut from = None;
        for _ in 0..PAGES_MAX {
            let page = self
                .codepipeline
                .list_action_executions()
                .pipeline_name(pipeline)
                .filter(filter.clone())
                .max_results(PAGE_EXECUTIONS)
                .set_next_token(from)
                .send()
                .await
                .map_err(|error| unknown(failed(doing(), error)))?;
            let mut all = page.action_execution_details().iter();
            let of_it = |detail: &&ActionExecutionDetail| {
                detail.action_name() == Some(action) && is_approval(detail)
            };
            // The newest comes first: a retried action has several.
            if let Some(detail) = all.find(of_it) {
                return Ok(decided(detail));
            }
            from = page.next_token;
            if from.is_none() {
                break;
            }
        }
        Ok(None)
    }
}

fn is_approval(detail: &ActionExecutionDetail) -> bool {
    let kind = detail.input().and_then(|input| input.action_type_id());
    kind.is_none_or(|kind| *kind.category() == ActionCategory::Approval)
}

/// Who decided what; nobody anything while the action is in progress.
fn decided(detail: &ActionExecutionDetail) -> Option<Approved> {
    let is_approved = match detail.status()? {
        ActionExecutionStatus::Succeeded => true,
        ActionExecutionStatus::Failed | ActionExecutionStatus::Abandoned => false,
        _ => return None,
    };
    let result = detail.output().and_then(|output| output.execution_result());
    let said = result.and_then(|result| result.external_execution_summary());
    let when = detail.last_update_time().map(|time| time.as_nanos());
    let at = when.and_then(|nanos| Timestamp::from_nanosecond(nanos).ok())?;
    let who = detail.updated_by().unwrap_or("somebody");
    let why = said.unwrap_or("said nothing");
    Some(Approved {
        is_approved,
        by: By::new(who, why, at),
    })
}

impl Aws {
    async fn executions(
        &self,
        pipeline: &str,
        from: Option<String>,
        doing: &impl Fn() -> String,
    ) -> Result<ListPipelineExecutionsOutput, PortError> {
        let page = self
            .codepipeline
            .list_pipeline_executions()
            .pipeline_name(pipeline)
            .max_results(PAGE_EXECUTIONS)
            .set_next_token(from)
            .send()
            .await;
        page.map_err(|error| unknown(failed(doing(), error)))
    }
}

/// The execution that is wanted. A rollback releases the artifacts of another one again, and with
/// them its reports: then that one is wanted, which began earlier and so comes later in the list.
fn find<'a>(
    wanted: &mut String,
    page: &'a [PipelineExecutionSummary],
) -> Option<&'a PipelineExecutionSummary> {
    page.iter().find(|summary| {
        if summary.pipeline_execution_id() != Some(wanted) {
            return false;
        }
        let rollback = summary.rollback_metadata();
        let target = rollback.and_then(|r| r.rollback_target_pipeline_execution_id());
        target.is_none_or(|target| {
            target.clone_into(wanted);
            false
        })
    })
}

fn start(
    summary: &PipelineExecutionSummary,
    doing: impl Fn() -> String,
) -> Result<Timestamp, PortError> {
    let start = summary
        .start_time()
        .ok_or_else(|| odd_answer(doing(), "the answer has no startTime"))?;
    Timestamp::from_nanosecond(start.as_nanos()).map_err(|e| odd_answer(doing(), &e.to_string()))
}

/// A pipeline that does not exist is the user's mistake.
fn unknown(error: PortError) -> PortError {
    match error.said("PipelineNotFoundException") || error.said("ValidationException") {
        true => PortError::new(
            Class::Misconfigured,
            error.doing,
            "there is no such pipeline in this account and region; correct \"pipeline\" in \
             UserParameters: it is the name of the action's own pipeline",
        ),
        false => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_codepipeline::types::PipelineRollbackMetadata;

    fn execution(id: &str, rolls_back_to: Option<&str>) -> PipelineExecutionSummary {
        let rollback = rolls_back_to.map(|target| {
            let rollback = PipelineRollbackMetadata::builder();
            rollback
                .rollback_target_pipeline_execution_id(target)
                .build()
        });
        let summary = PipelineExecutionSummary::builder().pipeline_execution_id(id);
        summary.set_rollback_metadata(rollback).build()
    }

    /// The execution found over these pages, each a list of `id` or `id>target`.
    fn found(wanted: &str, pages: &[&[&str]]) -> Option<String> {
        let mut wanted = wanted.to_owned();
        pages.iter().find_map(|page| {
            let page = page.iter().map(|text| match text.split_once('>') {
                Some((id, target)) => execution(id, Some(target)),
                None => execution(text, None),
            });
            let page: Vec<_> = page.collect();
            let found = find(&mut wanted, &page)?;
            found.pipeline_execution_id().map(str::to_owned)
        })
    }

    #[test]
    fn an_execution_is_found_on_whatever_page_it_is() {
        let pages: &[&[&str]] = &[&["d", "c"], &["b", "a"]];
        assert_eq!(found("d", pages).as_deref(), Some("d"));
        assert_eq!(found("a", pages).as_deref(), Some("a"));
        assert_eq!(found("x", pages), None);
    }

    #[test]
    fn a_rollback_is_as_old_as_what_it_releases_again() {
        assert_eq!(found("c", &[&["c>a", "b", "a"]]).as_deref(), Some("a"));
        assert_eq!(found("c", &[&["c>a", "b"], &["a"]]).as_deref(), Some("a"));
        assert_eq!(found("c", &[&["c>gone", "b"], &["a"]]), None);
        assert_eq!(found("c", &[&["c>c", "c"]]).as_deref(), Some("c"));
    }
}
