//! CodePipeline's API: JSON 1.1, one operation a call, named in the header `X-Amz-Target`.
//!
//! Signatures are not checked: the player listens on the laptop only. Lengths, patterns and errors are those of
//! AWS's model, so that a function that passes here is not refused there.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use super::declaration::ParseError;
use super::engine::{Engine, Refused};
use super::jobs::JobError;

mod calls;
mod show;

/// What the header begins with.
pub const TARGET: &str = "CodePipeline_20150709.";

/// An error as the SDKs read it.
#[derive(Debug)]
pub struct ApiError {
    /// The exception's name in AWS's model.
    pub kind: &'static str,
    /// In words.
    pub message: String,
}

impl ApiError {
    fn validation(message: impl Into<String>) -> Self {
        Self {
            kind: "ValidationException",
            message: message.into(),
        }
    }
}

impl From<Refused> for ApiError {
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::NoPipeline(_) => "PipelineNotFoundException",
            Refused::NoExecution(_) => "PipelineExecutionNotFoundException",
            Refused::Exists(_) => "PipelineNameInUseException",
            Refused::Start(_) => "ValidationException",
            Refused::Limit(_) => "LimitExceededException",
            Refused::Busy(_) => "ConcurrentPipelineExecutionsLimitExceededException",
            Refused::NotStoppable(_) => "PipelineExecutionNotStoppableException",
            Refused::NoStage(_) => "StageNotFoundException",
            Refused::NoRollback(_) => "UnableToRollbackStageException",
            Refused::Outdated(_) => "PipelineExecutionOutdatedException",
            Refused::NoAction(_) => "ActionNotFoundException",
            Refused::NoApproval => "InvalidApprovalTokenException",
            Refused::Answered => "ApprovalAlreadyCompletedException",
        };
        Self {
            kind,
            message: refused.to_string(),
        }
    }
}

impl From<JobError> for ApiError {
    fn from(error: JobError) -> Self {
        let kind = match error {
            JobError::NotFound => "JobNotFoundException",
            JobError::Closed => "InvalidJobStateException",
        };
        Self {
            kind,
            message: error.to_string(),
        }
    }
}

impl From<ParseError> for ApiError {
    fn from(error: ParseError) -> Self {
        let kind = match error {
            ParseError::Rules(_) => "InvalidStructureException",
            ParseError::Document(_)
            | ParseError::Template(_)
            | ParseError::Shape(_)
            | ParseError::Property { .. } => "ValidationException",
        };
        Self {
            kind,
            message: super::actions::chain(&error),
        }
    }
}

/// Answers one call; `None` when its target is not CodePipeline's.
pub fn answer(engine: &Engine, headers: &HeaderMap, body: &Bytes) -> Option<Response> {
    let operation = headers
        .get("x-amz-target")?
        .to_str()
        .ok()?
        .strip_prefix(TARGET)?;
    let (status, body) = match call(engine, operation, body) {
        Ok(answer) => (StatusCode::OK, answer),
        Err(error) => (
            StatusCode::BAD_REQUEST,
            json!({"__type": error.kind, "message": error.message}),
        ),
    };
    let mut response = (status, body.to_string()).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-amz-json-1.1"),
    );
    if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
        headers.insert("x-amzn-requestid", id);
    }
    Some(response)
}

fn call(engine: &Engine, operation: &str, body: &[u8]) -> Result<Value, ApiError> {
    match operation {
        "PutJobSuccessResult" => calls::put_job_success(engine, read(body)?),
        "PutJobFailureResult" => calls::put_job_failure(engine, read(body)?),
        "CreatePipeline" => calls::create(engine, read(body)?),
        "UpdatePipeline" => calls::update(engine, read(body)?),
        "StartPipelineExecution" => calls::start(engine, read(body)?),
        "StopPipelineExecution" => calls::stop(engine, read(body)?),
        "DisableStageTransition" => calls::disable_transition(engine, read(body)?),
        "EnableStageTransition" => calls::enable_transition(engine, read(body)?),
        "RollbackStage" => calls::roll_back(engine, read(body)?),
        "PutApprovalResult" => calls::put_approval(engine, read(body)?),
        "GetPipeline" => show::pipeline(engine, read(body)?),
        "ListPipelines" => show::pipelines(engine, read(body)?),
        "GetPipelineState" => show::state(engine, read(body)?),
        "GetPipelineExecution" => show::execution(engine, read(body)?),
        "ListPipelineExecutions" => show::executions(engine, read(body)?),
        "ListActionExecutions" => show::actions(engine, read(body)?),
        _ => Err(ApiError {
            kind: "UnknownOperationException",
            message: format!("{operation} is not served on a laptop"),
        }),
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let mut body = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut body).map_err(|error| ApiError {
        kind: "SerializationException",
        message: error.to_string(),
    })
}
