//! Lambda's aliases for the laptop: an invocation through an alias goes to the version that the
//! alias' weights choose, which the emulator stores but does not heed.
//!
//! The player serves the one operation that this takes, Invoke, on Lambda's own path; every other
//! one is the emulator's. So functions keep the emulator as `AWS_ENDPOINT_URL_LAMBDA`, and only
//! what is to be divided is sent to the player. What each version did is counted by second for
//! CloudWatch ([`aws::local::invocations`]). Only invocations that are waited for count: of an
//! asynchronous one the player never learns how it ended.

mod traffic;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use aws::local::invocations::Second;
use aws::local::lambda::Client;
use aws::local::lambda::config::http::HttpResponse;
use aws::local::lambda::config::retry::RetryConfig;
use aws::local::lambda::error::SdkError;
use aws::local::lambda::operation::invoke::InvokeOutput;
use aws::local::lambda::types::{InvocationType, LogType};
use aws::local::{SdkConfig, lambda};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use jiff::Timestamp;
use serde::Deserialize;

use traffic::Traffic;

/// The largest payload of an invocation that is waited for, in bytes (Lambda's quota).
const PAYLOAD_BYTES_MAX: usize = 6 << 20;

const EXECUTED_VERSION: HeaderName = HeaderName::from_static("x-amz-executed-version");
const FUNCTION_ERROR: HeaderName = HeaderName::from_static("x-amz-function-error");
const LOG_RESULT: HeaderName = HeaderName::from_static("x-amz-log-result");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// What divides invocations. A clone is the same one.
#[derive(Debug, Clone)]
pub struct Aliases {
    emulator: Client,
    traffic: Arc<Traffic>,
}

impl Aliases {
    /// Divides invocations of the functions in this emulator.
    pub fn new(sdk: &SdkConfig) -> Self {
        // Whoever invokes decides about a second try, which would be a second invocation.
        let config = lambda::config::Builder::from(sdk).retry_config(RetryConfig::disabled());
        Self {
            emulator: Client::from_conf(config.build()),
            traffic: Arc::default(),
        }
    }

    /// Takes the counts of all seconds that are over, oldest first; each is given out once.
    pub fn take_finished_seconds(&self) -> Vec<Second> {
        self.traffic.take_before(Timestamp::now().as_second())
    }

    /// Lambda's path of Invoke.
    pub(crate) fn router(self) -> Router {
        Router::new()
            .route(
                "/2015-03-31/functions/{function}/invocations",
                post(respond),
            )
            .layer(DefaultBodyLimit::max(PAYLOAD_BYTES_MAX))
            .route("/2015-03-31/{*operation}", any(not_served))
            .with_state(self)
    }

    async fn invoke(&self, call: Call, payload: Bytes) -> Result<Response, Response> {
        let through = match call.qualifier.as_deref().filter(|q| is_alias(q)) {
            Some(alias) => Some((alias, self.version_of(&call.function, alias).await?)),
            None => None,
        };
        let version = through.as_ref().map(|(_, version)| version.clone());
        let begun = Instant::now();
        let invoked = self
            .emulator
            .invoke()
            .function_name(&call.function)
            .set_qualifier(version.or(call.qualifier.clone()))
            .invocation_type(call.kind.clone())
            .set_log_type(call.log.clone())
            .set_client_context(call.context.clone())
            .payload(payload.to_vec().into())
            .send()
            .await
            .map_err(refused)?;
        if let Some((alias, version)) = through
            && call.kind == InvocationType::RequestResponse
        {
            let name = function_name(&call.function);
            let failed = invoked.function_error.is_some();
            let now = Timestamp::now().as_second();
            self.traffic
                .count(now, (name, alias), &version, failed, begun.elapsed());
        }
        Ok(answer(invoked))
    }

    /// The version that gets the next invocation through this alias.
    async fn version_of(&self, function: &str, alias: &str) -> Result<String, Response> {
        let call = self.emulator.get_alias().function_name(function);
        let alias = call.name(alias).send().await.map_err(refused)?;
        let routing = alias.routing_config;
        let weights = routing.and_then(|routing| routing.additional_version_weights);
        let version = alias.function_version.unwrap_or_default();
        Ok(choose(
            version,
            weights.unwrap_or_default(),
            fastrand::f64(),
        ))
    }
}

/// The version whose share of 0 to 1 has `dice` in it; what the weights leave is `rest`'s.
fn choose(rest: String, weights: HashMap<String, f64>, mut dice: f64) -> String {
    for (version, weight) in weights {
        if dice < weight {
            return version;
        }
        dice -= weight;
    }
    rest
}

/// One Invoke, as it was asked for.
struct Call {
    /// A name or an ARN, without a qualifier.
    function: String,
    qualifier: Option<String>,
    kind: InvocationType,
    log: Option<LogType>,
    context: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameters {
    qualifier: Option<String>,
}

async fn respond(
    State(aliases): State<Aliases>,
    Path(function): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
    payload: Bytes,
) -> Response {
    let header = |name: &str| Some(headers.get(name)?.to_str().ok()?.to_owned());
    let (function, in_name) = without_qualifier(&function);
    let call = Call {
        function: function.to_owned(),
        qualifier: parameters.qualifier.or(in_name.map(str::to_owned)),
        kind: header("x-amz-invocation-type")
            .map_or(InvocationType::RequestResponse, |kind| kind.as_str().into()),
        log: header("x-amz-log-type").map(|log| log.as_str().into()),
        context: header("x-amz-client-context"),
    };
    let answer = aliases.invoke(call, payload).await;
    answer.unwrap_or_else(|refused| refused)
}

/// Every other operation of Lambda's.
async fn not_served() -> Response {
    let told = "of Lambda the player serves Invoke only; send this to the emulator";
    let body = serde_json::json!({"Type": "User", "Message": told}).to_string();
    let kind = [(ERROR_TYPE, "InvalidRequestContentException")];
    (StatusCode::BAD_REQUEST, kind, body).into_response()
}

/// Splits `shop:live` and `arn:..:function:shop:live`; an ARN, whole or partial, without a
/// qualifier has an even number of colons.
fn without_qualifier(function: &str) -> (&str, Option<&str>) {
    let colons = function.bytes().filter(|byte| *byte == b':').count();
    match function.rsplit_once(':') {
        Some((function, qualifier)) if colons % 2 == 1 => (function, Some(qualifier)),
        Some(_) | None => (function, None),
    }
}

fn function_name(function: &str) -> &str {
    function.rsplit(':').next().unwrap_or(function)
}

/// Versions are numbers or `$LATEST`; aliases are neither.
fn is_alias(qualifier: &str) -> bool {
    let version = qualifier.bytes().all(|byte| byte.is_ascii_digit());
    !version && qualifier != "$LATEST"
}

fn answer(invoked: InvokeOutput) -> Response {
    let payload = invoked.payload.map(|blob| blob.into_inner());
    let mut answer = Response::new(Body::from(payload.unwrap_or_default()));
    let status = u16::try_from(invoked.status_code).ok();
    *answer.status_mut() = status
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::OK);
    for (name, value) in [
        (EXECUTED_VERSION, invoked.executed_version),
        (FUNCTION_ERROR, invoked.function_error),
        (LOG_RESULT, invoked.log_result),
    ] {
        let value = value.and_then(|value| HeaderValue::try_from(value).ok());
        if let Some(value) = value {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
}

/// The emulator's own refusal, word for word; a gateway's when it says nothing.
fn refused<E: std::error::Error + Send + Sync + 'static>(
    error: SdkError<E, HttpResponse>,
) -> Response {
    let Some(raw) = error.raw_response() else {
        tracing::debug!(error = engine::chain(&error), "the emulator did not answer");
        return (StatusCode::BAD_GATEWAY, "the emulator does not answer\n").into_response();
    };
    let body = raw.body().bytes().unwrap_or_default().to_vec();
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() =
        StatusCode::from_u16(raw.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = raw.headers().get(ERROR_TYPE.as_str());
    if let Some(kind) = kind.and_then(|kind| HeaderValue::try_from(kind).ok()) {
        answer.headers_mut().insert(ERROR_TYPE, kind);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_in_every_way_that_lambda_takes() {
        let arn = "arn:aws:lambda:eu-west-1:123456789012:function:shop";
        for (text, name, qualifier) in [
            ("shop", "shop", None),
            ("shop:live", "shop", Some("live")),
            ("123456789012:function:shop", "shop", None),
            ("123456789012:function:shop:8", "shop", Some("8")),
            (arn, "shop", None),
            (&format!("{arn}:live"), "shop", Some("live")),
        ] {
            let (function, found) = without_qualifier(text);
            assert_eq!((function_name(function), found), (name, qualifier));
        }
        assert!(is_alias("live") && is_alias("v8") && !is_alias("8") && !is_alias("$LATEST"));
    }

    #[test]
    fn every_version_gets_its_share_and_no_more() {
        let draws = 10_000;
        for share in [0.0, 0.0001, 0.1, 0.5, 1.0] {
            let weights = HashMap::from([("8".to_owned(), share)]);
            let of_8 = (0..draws)
                .map(|draw| f64::from(draw) / f64::from(draws))
                .filter(|dice| choose("7".to_owned(), weights.clone(), *dice) == "8")
                .count();
            assert_eq!(of_8 as f64, share * f64::from(draws));
        }
    }
}
