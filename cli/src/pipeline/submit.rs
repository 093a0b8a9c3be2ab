//! The player's own door: a pipeline and its sources go in, an execution and its events come out.
//!
//! `POST /_penstock/executions` with a [`Submission`] gives a [`Submitted`];
//! `GET /_penstock/executions/{id}/events` streams [`Entry`](super::event::Entry)s, one JSON object a line, from the first on.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::actions::chain;
use super::declaration::{ActionKind, ParseError, Pipeline};
use super::document::DOCUMENT_BYTES_MAX;
use super::engine::{Engine, Refused};
use super::event::Event;
use super::execution::{Repository, Start};
use super::template::Scope;

/// The path of the endpoints.
pub const PATH: &str = "/_penstock/executions";

/// A template as a JSON text is at most six times as long as itself.
const BODY_BYTES_MAX: usize = 6 * DOCUMENT_BYTES_MAX + (64 << 10);

/// What to run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Submission {
    /// The text of a template, or of `get-pipeline`.
    pub declaration: String,
    /// The template's parameters.
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    /// The repository of each source action.
    #[serde(default)]
    pub sources: BTreeMap<String, Repository>,
    /// Pipeline-level variables.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Manual approvals are given without asking.
    #[serde(default)]
    pub approve: bool,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Submitted {
    /// The pipeline's name.
    pub pipeline: String,
    /// The execution's id.
    pub execution_id: String,
}

/// Why a submission was refused.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// No legal pipeline.
    #[error("could not read the pipeline")]
    Parse(#[from] ParseError),
    /// The sources do not fit the pipeline.
    #[error("{0}")]
    Sources(String),
    /// The engine's word.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// Registers a pipeline and starts an execution of it.
///
/// # Errors
/// [`SubmitError`].
pub fn submit(engine: &Engine, submission: Submission) -> Result<Submitted, SubmitError> {
    let settings = engine.settings();
    let scope = Scope {
        parameters: submission.parameters,
        region: settings.region.clone(),
        account: settings.account.clone(),
        ..Scope::default()
    };
    let pipeline = Pipeline::parse(&submission.declaration, &scope)?;
    check_sources(&pipeline, &submission.sources)?;
    let name = pipeline.declaration.name.clone();
    engine.register(pipeline, Some(submission.sources))?;
    let start = Start {
        variables: submission.variables,
        approve: submission.approve,
        ..Start::default()
    };
    let execution = engine.start(&name, start)?;
    Ok(Submitted {
        pipeline: name,
        execution_id: execution.id.to_string(),
    })
}

fn check_sources(
    pipeline: &Pipeline,
    given: &BTreeMap<String, Repository>,
) -> Result<(), SubmitError> {
    let actions = pipeline
        .declaration
        .stages
        .iter()
        .flat_map(|stage| &stage.actions);
    let wanted =
        actions.filter(|action| ActionKind::of(&action.action_type_id) == Some(ActionKind::Source));
    let wanted: BTreeSet<&str> = wanted.map(|action| action.name.as_str()).collect();
    if let Some(name) = wanted.iter().find(|name| !given.contains_key(**name)) {
        return Err(SubmitError::Sources(format!(
            "source action {name} has no repository; pass --source {name}=PATH[@REV]"
        )));
    }
    if let Some(name) = given.keys().find(|name| !wanted.contains(name.as_str())) {
        let wanted = wanted.into_iter().collect::<Vec<_>>().join(", ");
        return Err(SubmitError::Sources(format!(
            "the pipeline has no source action {name}; it has {wanted}"
        )));
    }
    let missing = given
        .iter()
        .find(|(_, repository)| !repository.path.is_absolute() || !repository.path.is_dir());
    match missing {
        Some((name, repository)) => {
            let path = repository.path.display();
            Err(SubmitError::Sources(format!(
                "the repository of {name}, {path}, is not the absolute path of a directory"
            )))
        }
        None => Ok(()),
    }
}

/// The endpoints.
pub fn router(engine: Engine) -> Router {
    Router::new()
        .route(PATH, post(post_execution))
        .route(&format!("{PATH}/{{id}}/events"), get(get_events))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(engine)
}

/// `Json` takes `application/json` only, which no page of another origin can send unasked: a build runs commands.
async fn post_execution(
    State(engine): State<Engine>,
    Json(submission): Json<Submission>,
) -> Response {
    match submit(&engine, submission) {
        Ok(submitted) => Json(submitted).into_response(),
        Err(error) => refused(StatusCode::BAD_REQUEST, &error),
    }
}

async fn get_events(State(engine): State<Engine>, Path(id): Path<String>) -> Response {
    let execution = match engine.execution(&id) {
        Ok(execution) => execution,
        Err(error) => return refused(StatusCode::NOT_FOUND, &error),
    };
    let lines = async_stream::stream! {
        let mut sequence = 0;
        loop {
            let entry = execution.journal.entry(sequence).await;
            sequence = entry.sequence + 1;
            if let Ok(mut line) = serde_json::to_vec(&entry) {
                line.push(b'\n');
                yield Ok::<_, Infallible>(Bytes::from(line));
            }
            if matches!(entry.event, Event::ExecutionEnded { .. }) {
                break;
            }
        }
    };
    (
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines),
    )
        .into_response()
}

fn refused(status: StatusCode, error: &dyn std::error::Error) -> Response {
    (status, Json(serde_json::json!({"message": chain(error)}))).into_response()
}
