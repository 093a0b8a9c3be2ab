//! The operations that show something.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ApiError;
use crate::pipeline::artifact::Location;
use crate::pipeline::engine::{Engine, Refused};
use crate::pipeline::event::Status;
use crate::pipeline::execution::{ActionRun, ActionStatus, Execution};
use crate::pipeline::transitions::Disabled;

/// A page has at most so many items; AWS's bound.
const PAGE_MAX: usize = 100;

/// A time as JSON 1.1 writes it: seconds since 1970.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 stay below 2^53 for 285,000 years"
)]
pub(super) fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
    version: Option<u32>,
}

pub(super) fn pipeline(engine: &Engine, call: Named) -> Result<Value, ApiError> {
    let registered = engine.pipeline(&call.name)?;
    let declaration = &registered.pipeline.declaration;
    if call
        .version
        .is_some_and(|version| version != declaration.version)
    {
        let message = format!(
            "only version {} of {} is kept on a laptop",
            declaration.version, call.name
        );
        return Err(ApiError {
            kind: "PipelineVersionNotFoundException",
            message,
        });
    }
    let settings = engine.settings();
    Ok(json!({
        "pipeline": declaration,
        "metadata": {
            "pipelineArn": format!("arn:aws:codepipeline:{}:{}:{}", settings.region, settings.account, declaration.name),
            "created": seconds(registered.created),
            "updated": seconds(registered.updated),
        },
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    max_results: Option<usize>,
    next_token: Option<String>,
}

impl Page {
    /// One page of the items under `key`; the token is the position of the next one.
    fn of(&self, key: &str, items: Vec<Value>) -> Result<Value, ApiError> {
        let from: usize = match &self.next_token {
            Some(token) => token.parse().map_err(|_| ApiError {
                kind: "InvalidNextTokenException",
                message: "the token belongs to no earlier page".into(),
            })?,
            None => 0,
        };
        let to = from
            .saturating_add(self.max_results.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX))
            .min(items.len());
        let mut answer = Map::new();
        if to < items.len() {
            answer.insert("nextToken".into(), to.to_string().into());
        }
        answer.insert(
            key.into(),
            items.get(from..to).unwrap_or_default().to_vec().into(),
        );
        Ok(answer.into())
    }
}

pub(super) fn pipelines(engine: &Engine, page: Page) -> Result<Value, ApiError> {
    let shown = engine.pipelines().into_iter().map(|registered| {
        let declaration = &registered.pipeline.declaration;
        json!({
            "name": declaration.name,
            "version": declaration.version,
            "pipelineType": declaration.pipeline_type,
            "executionMode": declaration.execution_mode,
            "created": seconds(registered.created),
            "updated": seconds(registered.updated),
        })
    });
    page.of("pipelines", shown.collect())
}

pub(super) fn state(engine: &Engine, call: Named) -> Result<Value, ApiError> {
    let registered = engine.pipeline(&call.name)?;
    let executions = engine.executions(&call.name);
    let declaration = &registered.pipeline.declaration;
    let stages = declaration.stages.iter().map(|stage| {
        let actions = stage.actions.iter().map(|action| action.name.as_str());
        let disabled = engine.transitions().disabled(&call.name, &stage.name);
        let mut state = stage_state(&executions, &stage.name, actions);
        state["inboundTransitionState"] = transition(disabled);
        state
    });
    let stages: Vec<Value> = stages.collect();
    Ok(json!({
        "pipelineName": declaration.name,
        "pipelineVersion": declaration.version,
        "stageStates": stages,
        "created": seconds(registered.created),
        "updated": seconds(registered.updated),
    }))
}

fn stage_state<'a>(
    executions: &[Arc<Execution>],
    stage: &str,
    actions: impl Iterator<Item = &'a str>,
) -> Value {
    // An older version of the pipeline may have had other stages, so that names decide and not positions.
    let entered = executions.iter().find_map(|execution| {
        let stages = &execution.registered.pipeline.declaration.stages;
        let position = stages
            .iter()
            .position(|candidate| candidate.name == stage)?;
        let status = execution.record(|record| record.stages[position].status)?;
        Some((execution, position, status))
    });
    let states = actions.map(|name| {
        let mut state = json!({"actionName": name});
        if let Some(shown) =
            entered.and_then(|(execution, position, _)| action_state(execution, position, name))
        {
            state["latestExecution"] = shown;
        }
        state
    });
    let states: Vec<Value> = states.collect();
    let mut state = json!({
        "stageName": stage,
        "actionStates": states,
    });
    if let Some((execution, _, status)) = entered {
        state["latestExecution"] = json!({
            "pipelineExecutionId": execution.id.to_string(),
            "status": status,
            "type": kind(execution),
        });
    }
    state
}

fn transition(disabled: Option<Disabled>) -> Value {
    match disabled {
        None => json!({"enabled": true}),
        Some(Disabled { reason, at }) => {
            json!({"enabled": false, "disabledReason": reason, "lastChangedAt": seconds(at)})
        }
    }
}

fn kind(execution: &Execution) -> &'static str {
    match execution.rollback {
        Some(_) => "ROLLBACK",
        None => "STANDARD",
    }
}

fn trigger(execution: &Execution) -> Value {
    match execution.rollback {
        Some(_) => json!({"triggerType": "ManualRollback"}),
        None => json!({"triggerType": "StartPipelineExecution"}),
    }
}

fn rollback_metadata(execution: &Execution) -> Option<Value> {
    let rollback = execution.rollback?;
    Some(json!({"rollbackTargetPipelineExecutionId": rollback.target.to_string()}))
}

fn action_state(execution: &Execution, stage: usize, action: &str) -> Option<Value> {
    let actions = &execution.registered.pipeline.declaration.stages[stage].actions;
    let position = actions
        .iter()
        .position(|candidate| candidate.name == action)?;
    execution.record(|record| {
        let run = record.stages[stage].actions[position].run.as_ref()?;
        let mut state = json!({
            "actionExecutionId": run.id.to_string(),
            "status": run.status,
            "lastStatusChange": seconds(run.updated),
        });
        let token = run
            .approval
            .as_ref()
            .filter(|_| run.status == ActionStatus::InProgress);
        let failure = run.failure.as_ref();
        set(&mut state, "summary", run.details.summary.clone());
        set(
            &mut state,
            "externalExecutionId",
            run.details.external_execution_id.clone(),
        );
        set(&mut state, "percentComplete", run.details.percent);
        set(
            &mut state,
            "token",
            token.map(|approval| approval.token.clone()),
        );
        set(
            &mut state,
            "errorDetails",
            failure.map(|f| json!({"code": f.code, "message": f.message})),
        );
        Some(state)
    })
}

fn set(object: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object[key] = value.into();
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecutionCall {
    pipeline_name: String,
    pipeline_execution_id: String,
}

pub(super) fn execution(engine: &Engine, call: ExecutionCall) -> Result<Value, ApiError> {
    engine.pipeline(&call.pipeline_name)?;
    let execution = engine.execution(&call.pipeline_execution_id)?;
    let declaration = &execution.registered.pipeline.declaration;
    if declaration.name != call.pipeline_name {
        return Err(Refused::NoExecution(call.pipeline_execution_id).into());
    }
    let shown = execution.record(|record| {
        let revisions = record.revisions.iter().map(|revision| {
            json!({"name": revision.artifact, "revisionId": revision.id, "revisionSummary": revision.summary})
        });
        let revisions: Vec<Value> = revisions.collect();
        let variables = record.variables.get("variables").into_iter().flatten();
        let variables: Vec<Value> =
            variables.map(|(name, value)| json!({"name": name, "resolvedValue": value})).collect();
        let mut shown = json!({
            "pipelineName": declaration.name,
            "pipelineVersion": declaration.version,
            "pipelineExecutionId": execution.id.to_string(),
            "status": record.status,
            "artifactRevisions": revisions,
            "variables": variables,
            "executionMode": declaration.execution_mode,
            "executionType": kind(&execution),
            "trigger": trigger(&execution),
        });
        set(&mut shown, "rollbackMetadata", rollback_metadata(&execution));
        set(&mut shown, "statusSummary", record.message.clone());
        shown
    });
    Ok(json!({"pipelineExecution": shown}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExecutionsCall {
    pipeline_name: String,
    #[serde(default)]
    filter: ExecutionFilter,
    #[serde(flatten)]
    page: Page,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecutionFilter {
    succeeded_in_stage: Option<SucceededInStage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SucceededInStage {
    stage_name: String,
}

impl ExecutionFilter {
    /// Of these, those that succeeded in the stage under this version of the pipeline.
    fn takes(&self, execution: &Execution, version: u32) -> bool {
        let Some(SucceededInStage { stage_name }) = &self.succeeded_in_stage else {
            return true;
        };
        execution.registered.pipeline.declaration.version == version
            && execution.status_in(stage_name) == Some(Status::Succeeded)
    }
}

pub(super) fn executions(engine: &Engine, call: ExecutionsCall) -> Result<Value, ApiError> {
    let declaration = &engine.pipeline(&call.pipeline_name)?.pipeline.declaration;
    let shown = engine
        .executions(&declaration.name)
        .into_iter()
        .filter(|execution| call.filter.takes(execution, declaration.version))
        .map(|execution| {
            let (status, updated, message) =
                execution.record(|record| (record.status, record.updated, record.message.clone()));
            let mut shown = json!({
                "pipelineExecutionId": execution.id.to_string(),
                "status": status,
                "startTime": seconds(execution.started),
                "lastUpdateTime": seconds(updated),
                "executionMode": execution.registered.pipeline.declaration.execution_mode,
                "executionType": kind(&execution),
                "trigger": trigger(&execution),
            });
            set(
                &mut shown,
                "rollbackMetadata",
                rollback_metadata(&execution),
            );
            set(&mut shown, "statusSummary", message);
            shown
        });
    call.page.of("pipelineExecutionSummaries", shown.collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActionsCall {
    pipeline_name: String,
    #[serde(default)]
    filter: Filter,
    #[serde(flatten)]
    page: Page,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Filter {
    pipeline_execution_id: Option<String>,
}

pub(super) fn actions(engine: &Engine, call: ActionsCall) -> Result<Value, ApiError> {
    engine.pipeline(&call.pipeline_name)?;
    let mut executions = engine.executions(&call.pipeline_name);
    if let Some(id) = &call.filter.pipeline_execution_id {
        executions.retain(|execution| execution.id.to_string() == *id);
        if executions.is_empty() {
            return Err(Refused::NoExecution(id.clone()).into());
        }
    }
    let shown = executions
        .iter()
        .flat_map(|execution| action_details(execution));
    call.page.of("actionExecutionDetails", shown.collect())
}

/// The actions of one execution, the newest first.
fn action_details(execution: &Execution) -> Vec<Value> {
    let declaration = &execution.registered.pipeline.declaration;
    execution.record(|record| {
        let mut runs = Vec::new();
        for (stage, stage_record) in declaration.stages.iter().zip(&record.stages) {
            for (action, action_record) in stage.actions.iter().zip(&stage_record.actions) {
                runs.extend(
                    action_record
                        .run
                        .as_ref()
                        .map(|run| (&stage.name, action, run)),
                );
            }
        }
        runs.sort_by_key(|(_, _, run)| std::cmp::Reverse(run.started));
        let details = runs.into_iter().map(|(stage, action, run)| {
            let mut detail = json!({
                "pipelineExecutionId": execution.id.to_string(),
                "actionExecutionId": run.id.to_string(),
                "pipelineVersion": declaration.version,
                "stageName": stage,
                "actionName": action.name,
                "startTime": seconds(run.started),
                "lastUpdateTime": seconds(run.updated),
                "status": run.status,
                "input": {
                    "actionTypeId": action.action_type_id,
                    "configuration": action.configuration,
                    "resolvedConfiguration": run.configuration,
                    "inputArtifacts": run.inputs.iter().map(artifact).collect::<Vec<_>>(),
                },
                "output": output(run),
            });
            set(&mut detail["input"], "namespace", action.namespace.clone());
            detail
        });
        details.collect()
    })
}

fn output(run: &ActionRun) -> Value {
    let mut result = json!({});
    set(
        &mut result,
        "externalExecutionId",
        run.details.external_execution_id.clone(),
    );
    set(
        &mut result,
        "externalExecutionSummary",
        run.details.summary.clone(),
    );
    let failure = run.failure.as_ref();
    set(
        &mut result,
        "errorDetails",
        failure.map(|f| json!({"code": f.code, "message": f.message})),
    );
    json!({
        "outputArtifacts": run.outputs.iter().map(artifact).collect::<Vec<_>>(),
        "executionResult": result,
        "outputVariables": run.variables,
    })
}

fn artifact(location: &Location) -> Value {
    json!({"name": location.name, "s3location": {"bucket": location.bucket, "key": location.key}})
}
