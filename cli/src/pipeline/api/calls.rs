//! The operations that change something.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::ApiError;
use crate::pipeline::clock;
use crate::pipeline::declaration::Pipeline;
use crate::pipeline::engine::{Engine, Refused};
use crate::pipeline::execution::{Start, Verdict};
use crate::pipeline::jobs::{Answer, Details};
use crate::pipeline::variables::is_key;

const TOKEN_CHARS_MAX: usize = 2048;
const SUMMARY_CHARS_MAX: usize = 2048;
const EXTERNAL_ID_CHARS_MAX: usize = 1500;
const CHANGE_ID_CHARS_MAX: usize = 100;
const MESSAGE_CHARS_MAX: usize = 5000;
const APPROVAL_CHARS_MAX: usize = 512;
const TRANSITION_REASON_CHARS_MAX: usize = 300;
const START_VALUE_CHARS_MAX: usize = 1000;
const PERCENT_MAX: u8 = 100;
/// All output variables of an action together.
const OUTPUT_BYTES_MAX: usize = 122_880;

/// The kinds of failure that a job may report.
const FAILURE_TYPES: [&str; 6] = [
    "JobFailed",
    "ConfigurationError",
    "PermissionError",
    "RevisionOutOfSync",
    "RevisionUnavailable",
    "SystemUnavailable",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobSuccess {
    job_id: String,
    continuation_token: Option<String>,
    #[serde(default)]
    execution_details: ExecutionDetails,
    current_revision: Option<CurrentRevision>,
    #[serde(default)]
    output_variables: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ExecutionDetails {
    summary: Option<String>,
    external_execution_id: Option<String>,
    percent_complete: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CurrentRevision {
    revision: String,
    change_identifier: String,
    revision_summary: Option<String>,
}

pub(super) fn put_job_success(engine: &Engine, job: JobSuccess) -> Result<Value, ApiError> {
    let details = &job.execution_details;
    job_id(&job.job_id)?;
    length(
        "continuationToken",
        job.continuation_token.as_deref(),
        1..=TOKEN_CHARS_MAX,
    )?;
    length(
        "executionDetails.summary",
        details.summary.as_deref(),
        1..=SUMMARY_CHARS_MAX,
    )?;
    let external = details.external_execution_id.as_deref();
    length(
        "executionDetails.externalExecutionId",
        external,
        1..=EXTERNAL_ID_CHARS_MAX,
    )?;
    if let Some(revision) = &job.current_revision {
        length(
            "currentRevision.revision",
            Some(&revision.revision),
            1..=EXTERNAL_ID_CHARS_MAX,
        )?;
        length(
            "currentRevision.changeIdentifier",
            Some(&revision.change_identifier),
            1..=CHANGE_ID_CHARS_MAX,
        )?;
        length(
            "currentRevision.revisionSummary",
            revision.revision_summary.as_deref(),
            1..=SUMMARY_CHARS_MAX,
        )?;
    }
    let percent = details.percent_complete.map(|percent| {
        u8::try_from(percent)
            .ok()
            .filter(|percent| *percent <= PERCENT_MAX)
            .ok_or_else(|| {
                ApiError::validation(format!(
                    "executionDetails.percentComplete is {percent}; it must be 0 to {PERCENT_MAX}"
                ))
            })
    });
    output_variables(&job)?;
    let answer = Answer::Success {
        details: Details {
            summary: job.execution_details.summary,
            external_execution_id: job.execution_details.external_execution_id,
            percent: percent.transpose()?,
        },
        continuation_token: job.continuation_token,
        variables: job.output_variables,
    };
    engine.jobs().answer(&job.job_id, answer)?;
    Ok(json!({}))
}

fn output_variables(job: &JobSuccess) -> Result<(), ApiError> {
    let variables = &job.output_variables;
    if !variables.is_empty() && job.continuation_token.is_some() {
        return Err(ApiError::validation(
            "outputVariables and continuationToken exclude each other: give the variables with the last answer",
        ));
    }
    if let Some(key) = variables.keys().find(|key| !is_key(key)) {
        return Err(ApiError::validation(format!(
            "outputVariables: `{key}` must match [A-Za-z0-9@\\-_]+"
        )));
    }
    let bytes: usize = variables
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if bytes > OUTPUT_BYTES_MAX {
        return Err(ApiError {
            kind: "OutputVariablesSizeExceededException",
            message: format!(
                "outputVariables have {bytes} bytes; at most {OUTPUT_BYTES_MAX} are taken"
            ),
        });
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobFailure {
    job_id: String,
    failure_details: FailureDetails,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FailureDetails {
    #[serde(rename = "type")]
    kind: String,
    message: String,
    external_execution_id: Option<String>,
}

pub(super) fn put_job_failure(engine: &Engine, job: JobFailure) -> Result<Value, ApiError> {
    let FailureDetails {
        kind,
        message,
        external_execution_id,
    } = job.failure_details;
    job_id(&job.job_id)?;
    one_of("failureDetails.type", &kind, &FAILURE_TYPES)?;
    length(
        "failureDetails.message",
        Some(&message),
        1..=MESSAGE_CHARS_MAX,
    )?;
    length(
        "failureDetails.externalExecutionId",
        external_execution_id.as_deref(),
        1..=EXTERNAL_ID_CHARS_MAX,
    )?;
    engine.jobs().answer(
        &job.job_id,
        Answer::Failure {
            code: kind,
            message,
            external_execution_id,
        },
    )?;
    Ok(json!({}))
}

#[derive(Deserialize)]
pub(super) struct Declared {
    pipeline: Value,
}

pub(super) fn create(engine: &Engine, call: Declared) -> Result<Value, ApiError> {
    let pipeline = Pipeline::from_api(call.pipeline)?;
    let name = &pipeline.declaration.name;
    if engine.pipeline(name).is_ok() {
        return Err(Refused::Exists(name.clone()).into());
    }
    let registered = engine.register(pipeline, None)?;
    Ok(json!({"pipeline": registered.pipeline.declaration}))
}

pub(super) fn update(engine: &Engine, call: Declared) -> Result<Value, ApiError> {
    let mut pipeline = Pipeline::from_api(call.pipeline)?;
    // The API knows no build projects: those of the template stay.
    pipeline.projects = engine
        .pipeline(&pipeline.declaration.name)?
        .pipeline
        .projects
        .clone();
    let registered = engine.register(pipeline, None)?;
    Ok(json!({"pipeline": registered.pipeline.declaration}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StartCall {
    name: String,
    #[serde(default)]
    variables: Vec<StartVariable>,
    #[serde(default)]
    source_revisions: Vec<SourceRevision>,
    client_request_token: Option<String>,
}

#[derive(Deserialize)]
struct StartVariable {
    name: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SourceRevision {
    action_name: String,
    revision_value: String,
}

pub(super) fn start(engine: &Engine, call: StartCall) -> Result<Value, ApiError> {
    for variable in &call.variables {
        length(
            &format!("variable {}", variable.name),
            Some(&variable.value),
            1..=START_VALUE_CHARS_MAX,
        )?;
    }
    let start = Start {
        variables: call
            .variables
            .into_iter()
            .map(|variable| (variable.name, variable.value))
            .collect(),
        revisions: call
            .source_revisions
            .into_iter()
            .map(|source| (source.action_name, source.revision_value))
            .collect(),
        approve: false,
        token: call.client_request_token,
    };
    let execution = engine.start(&call.name, start)?;
    Ok(json!({"pipelineExecutionId": execution.id.to_string()}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopCall {
    pipeline_name: String,
    pipeline_execution_id: String,
    #[serde(default)]
    abandon: bool,
    reason: Option<String>,
}

pub(super) fn stop(engine: &Engine, call: StopCall) -> Result<Value, ApiError> {
    engine.pipeline(&call.pipeline_name)?;
    length("reason", call.reason.as_deref(), 0..=200)?;
    let execution = engine.stop(&call.pipeline_execution_id, call.abandon)?;
    Ok(json!({"pipelineExecutionId": execution.id.to_string()}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransitionCall {
    pipeline_name: String,
    stage_name: String,
    transition_type: String,
    reason: Option<String>,
}

pub(super) fn disable_transition(engine: &Engine, call: TransitionCall) -> Result<Value, ApiError> {
    transition(engine, &call)?;
    let reason = call.reason.unwrap_or_default();
    length("reason", Some(&reason), 1..=TRANSITION_REASON_CHARS_MAX)?;
    let allowed = |c: char| c.is_ascii_alphanumeric() || "!@ ().*?-".contains(c);
    if !reason.chars().all(allowed) {
        return Err(ApiError::validation(
            "reason must match [a-zA-Z0-9!@ \\(\\)\\.\\*\\?\\-]+",
        ));
    }
    let transitions = engine.transitions();
    transitions.disable(&call.pipeline_name, &call.stage_name, reason);
    Ok(json!({}))
}

pub(super) fn enable_transition(engine: &Engine, call: TransitionCall) -> Result<Value, ApiError> {
    transition(engine, &call)?;
    let transitions = engine.transitions();
    transitions.enable(&call.pipeline_name, &call.stage_name);
    Ok(json!({}))
}

/// Refuses what names no stage, and outbound transitions, which the player has none of.
fn transition(engine: &Engine, call: &TransitionCall) -> Result<(), ApiError> {
    one_of("transitionType", &call.transition_type, &["Inbound"])?;
    let registered = engine.pipeline(&call.pipeline_name)?;
    let mut stages = registered.pipeline.declaration.stages.iter();
    match stages.any(|stage| stage.name == call.stage_name) {
        true => Ok(()),
        false => Err(Refused::NoStage(call.stage_name.clone()).into()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RollbackCall {
    pipeline_name: String,
    stage_name: String,
    target_pipeline_execution_id: String,
}

pub(super) fn roll_back(engine: &Engine, call: RollbackCall) -> Result<Value, ApiError> {
    let target = &call.target_pipeline_execution_id;
    let execution = engine.roll_back(&call.pipeline_name, &call.stage_name, target)?;
    Ok(json!({"pipelineExecutionId": execution.id.to_string()}))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ApprovalCall {
    pipeline_name: String,
    stage_name: String,
    action_name: String,
    result: ApprovalResult,
    token: String,
}

#[derive(Deserialize)]
struct ApprovalResult {
    status: String,
    summary: String,
}

pub(super) fn put_approval(engine: &Engine, call: ApprovalCall) -> Result<Value, ApiError> {
    let ApprovalResult { status, summary } = call.result;
    one_of("result.status", &status, &["Approved", "Rejected"])?;
    length("result.summary", Some(&summary), 0..=APPROVAL_CHARS_MAX)?;
    let verdict = Verdict {
        approved: status == "Approved",
        summary,
    };
    engine.approve(
        &call.pipeline_name,
        &call.stage_name,
        &call.action_name,
        &call.token,
        verdict,
    )?;
    Ok(json!({"approvedAt": super::show::seconds(clock::now())}))
}

fn length(
    what: &str,
    value: Option<&str>,
    allowed: std::ops::RangeInclusive<usize>,
) -> Result<(), ApiError> {
    match value.map(|value| value.chars().count()) {
        Some(chars) if !allowed.contains(&chars) => {
            let (least, most) = allowed.into_inner();
            Err(ApiError::validation(format!(
                "{what} has {chars} characters; it must have {least} to {most}"
            )))
        }
        Some(_) | None => Ok(()),
    }
}

fn one_of(what: &str, value: &str, allowed: &[&str]) -> Result<(), ApiError> {
    match allowed.contains(&value) {
        true => Ok(()),
        false => Err(ApiError::validation(format!(
            "{what} is `{value}`; it must be one of {}",
            allowed.join(", ")
        ))),
    }
}

/// Lower-case hex, as AWS's model has it.
fn job_id(id: &str) -> Result<(), ApiError> {
    let lengths = id.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    let letters = id
        .chars()
        .all(|letter| matches!(letter, '0'..='9' | 'a'..='f' | '-'));
    match lengths && letters {
        true => Ok(()),
        false => Err(ApiError::validation(
            "jobId must match [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        )),
    }
}
