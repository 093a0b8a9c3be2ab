//! What the player's small JSON services have in common: how they read a call, and how they refuse one.

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An error as the SDKs read it.
#[derive(Debug)]
pub(crate) struct ApiError {
    kind: &'static str,
    message: String,
}

impl ApiError {
    /// An error of this type of the service's model.
    pub(crate) fn new(kind: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    /// The service has this operation, or has not; the player has it not.
    pub(crate) fn unknown(operation: &str) -> Self {
        let told = format!("{operation} is not served on a laptop");
        Self::new("UnknownOperationException", told)
    }
}

/// A call's parameters.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::new("SerializationException", error.to_string()))
}

/// An answer, in AWS's JSON 1.1.
pub(crate) fn answer(answer: Result<Value, ApiError>) -> Response {
    let (status, body) = match answer {
        Ok(answer) => (StatusCode::OK, answer),
        Err(ApiError { kind, message }) => (
            StatusCode::BAD_REQUEST,
            json!({"__type": kind, "message": message}),
        ),
    };
    let kind = [(header::CONTENT_TYPE, "application/x-amz-json-1.1")];
    (status, kind, body.to_string()).into_response()
}
