//! What functions ask AWS for, as it went over the wire: a port in front of an endpoint that passes
//! everything on unchanged and writes each request down, one JSON object a line.
//!
//! `tests/aws_requests` checks such a recording against AWS's own model of its services, and
//! `bench-calls` counts round trips in it. What must not be kept is not written: no signature, no
//! credential, and of objects and payloads only the length.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::deaths::{Deaths, Doomed, Moment};

/// Largest request that is passed on: more than any call of AWS that a function makes may have.
const REQUEST_BYTES_MAX: usize = 32 << 20;
/// Largest answer that is passed on.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Largest recording. What comes after is passed on and not recorded, and the last line says so.
const RECORDING_BYTES_MAX: usize = 256 << 20;
/// How long an unused connection is kept.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// The headers that say what is asked for, in the protocols of AWS. No other is written down.
const RECORDED_HEADERS: [&str; 13] = [
    "accept",
    "content-type",
    "if-match",
    "if-none-match",
    "range",
    "smithy-protocol",
    "x-amz-checksum-mode",
    "x-amz-invocation-type",
    "x-amz-log-type",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-server-side-encryption",
    "x-amz-server-side-encryption-aws-kms-key-id",
    "x-amz-target",
];

/// The file that requests are written to. Several recorders may write to one.
#[derive(Debug)]
pub struct Recording(Mutex<Lines>);

#[derive(Debug)]
struct Lines {
    file: File,
    /// Bytes that it may still grow by.
    left: usize,
}

impl Recording {
    /// Begins a new recording.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn create(path: &Path) -> anyhow::Result<Arc<Self>> {
        let file = File::create(path).context("could not make the recording of AWS requests")?;
        let left = RECORDING_BYTES_MAX;
        Ok(Arc::new(Self(Mutex::new(Lines { file, left }))))
    }

    /// A line that cannot be written is missed by who reads the recording, not by the function.
    fn write(&self, exchange: &Exchange) {
        let Ok(mut line) = serde_json::to_string(exchange) else {
            return;
        };
        line.push('\n');
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.left == 0 {
            return;
        }
        if line.len() > lines.left {
            line = "{\"left_off\":\"the recording is full\"}\n".to_owned();
            lines.left = line.len();
        }
        lines.left -= line.len();
        if let Err(error) = lines.file.write_all(line.as_bytes()) {
            tracing::warn!(%error, "could not record an AWS request");
        }
    }
}

/// A port in front of an endpoint. Dropping it closes the port.
#[derive(Debug)]
pub struct Recorder {
    url: String,
    server: JoinHandle<()>,
}

/// How a recorder passes requests on, other than unchanged and at once.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// No answer is given sooner after its request.
    pub answer_time_min: Duration,
    /// For a recorder behind something that gives requests another Host than they were signed with,
    /// and takes what it can out of the percent-encoding of their paths: each gets this Host back, and
    /// its path as the SDKs write it.
    pub signed_host: Option<HeaderValue>,
    /// Who sends some of these requests dies of it.
    pub deaths: Arc<Deaths>,
}

impl Recorder {
    /// Opens a port in front of this endpoint, such as `http://127.0.0.1:4566`.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(
        endpoint: &str,
        recording: &Arc<Recording>,
        manner: Manner,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("could not open a port to record AWS requests at")?;
        let address = listener
            .local_addr()
            .context("could not open a port to record AWS requests at")?;
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "could not switch Nagle's algorithm off");
            }
        });
        let passing = Passing {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            recording: Arc::clone(recording),
            client: client(),
            manner,
        };
        let router = Router::new().fallback(arrived).with_state(passing);
        let server = tokio::spawn(async {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the port that records AWS requests failed");
            }
        });
        Ok(Self {
            url: format!("http://{address}"),
            server,
        })
    }

    /// The endpoint that the functions are told.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Upstream = Client<HttpConnector, Full<Bytes>>;

fn client() -> Upstream {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .build(connector)
}

#[derive(Clone)]
struct Passing {
    endpoint: String,
    recording: Arc<Recording>,
    client: Upstream,
    manner: Manner,
}

/// Passes a request on, unless its sender is to die of it.
async fn arrived(State(passing): State<Passing>, request: Request) -> Response {
    match passing.manner.deaths.next(request.headers()) {
        // Who has gone away ends what was done for it, but not what it has set going.
        Some(doomed) => tokio::spawn(passed_on_and_killed(passing, request, doomed))
            .await
            .unwrap_or_else(|_panic| StatusCode::BAD_GATEWAY.into_response()),
        None => pass_on(passing, request).await,
    }
}

/// Kills the sender before its request is passed on, or after, as it is planned.
async fn passed_on_and_killed(passing: Passing, request: Request, doomed: Doomed) -> Response {
    let authorization = text(request.headers(), "authorization");
    let service = authorization.and_then(signed_for);
    let deaths = Arc::clone(&passing.manner.deaths);
    let (killed, answer) = match doomed.death.moment {
        Moment::Before => (doomed.kill().await, None),
        Moment::Meanwhile => {
            let killed = doomed.kill().await;
            (killed, Some(pass_on(passing, request).await))
        }
        Moment::After => {
            let answer = pass_on(passing, request).await;
            (doomed.kill().await, Some(answer))
        }
    };
    match killed {
        Ok(()) => deaths.note(doomed.death, service.as_deref()),
        Err(error) => tracing::warn!("{error:#}"),
    }
    answer.unwrap_or_else(|| StatusCode::BAD_GATEWAY.into_response())
}

/// Passes one request on with its own Host, which is signed, and its answer back.
async fn pass_on(passing: Passing, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, REQUEST_BYTES_MAX).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut written = Written {
        recording: &passing.recording,
        exchange: Exchange::begin(&head, &body),
    };
    let path = match &passing.manner.signed_host {
        Some(_) => as_signed(&head.uri),
        None => head
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .into(),
    };
    let Ok(uri) = format!("{}{path}", passing.endpoint).parse::<Uri>() else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    head.uri = uri;
    forget_connection(&mut head.headers);
    if let Some(host) = passing.manner.signed_host {
        head.headers.insert(header::HOST, host);
    }
    let request = hyper::Request::from_parts(head, Full::new(body));
    let soonest = Instant::now() + passing.manner.answer_time_min;
    let answer = async {
        let (head, body) = passing.client.request(request).await.ok()?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.ok()?;
        Some((head, body.to_bytes()))
    };
    let Some((mut head, body)) = answer.await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    tokio::time::sleep_until(soonest).await;
    written.exchange.status = Some(head.status.as_u16());
    forget_connection(&mut head.headers);
    Response::from_parts(head, Body::from(body))
}

/// Headers that concern one connection only; a body that was read whole has a length, and no chunks.
fn forget_connection(headers: &mut HeaderMap) {
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// An exchange that is written down when it is over: once, however it ends, also when the function
/// went away in the middle.
struct Written<'a> {
    recording: &'a Recording,
    exchange: Exchange,
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        self.exchange.ended_us = Timestamp::now().as_microsecond();
        self.recording.write(&self.exchange);
    }
}

/// One request and how it was answered: a line of the recording.
#[derive(Debug, Serialize)]
struct Exchange {
    /// When it had arrived, in microseconds since 1970.
    began_us: i64,
    /// When its answer was there.
    ended_us: i64,
    /// The service that it was signed for, such as `dynamodb`.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// The function that sent it, by the name that its SDK gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    function: Option<String>,
    /// The root of its trace: one for each invocation.
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation: Option<String>,
    method: String,
    /// Path and query.
    uri: String,
    headers: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    body: Sent,
    /// Absent when there was no answer, or when nobody was there any more to take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
}

/// A body as it is written down.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Sent {
    /// UTF-8.
    Body(String),
    /// Anything else, in hexadecimal digits.
    BodyHex(String),
    /// The length of what must not be kept.
    BodyBytes(usize),
}

impl Exchange {
    fn begin(head: &hyper::http::request::Parts, body: &Bytes) -> Self {
        let now = Timestamp::now().as_microsecond();
        let text = |name: &str| text(&head.headers, name);
        let recorded = RECORDED_HEADERS.iter();
        let headers = recorded.filter_map(|name| Some((*name, text(name)?.to_owned())));
        let service = text("authorization").and_then(signed_for);
        Self {
            began_us: now,
            ended_us: now,
            function: text("x-amz-user-agent").and_then(app_name),
            invocation: text("x-amzn-trace-id").and_then(trace_root),
            method: head.method.to_string(),
            uri: without_signature(&head.uri),
            headers: headers.collect(),
            body: sent(service.as_deref(), head.uri.path(), body),
            service,
            status: None,
        }
    }
}

/// The header of this name, when it is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The service in `.. Credential=KEY/20260101/us-east-1/dynamodb/aws4_request, ..`.
fn signed_for(authorization: &str) -> Option<String> {
    let (scope, _signature) = authorization.split_once("/aws4_request")?;
    Some(scope.rsplit('/').next()?.to_owned())
}

/// What stands behind `app/` in what the SDK says of itself.
pub(crate) fn app_name(user_agent: &str) -> Option<String> {
    let mut words = user_agent.split(' ');
    Some(words.find_map(|word| word.strip_prefix("app/"))?.to_owned())
}

/// The root in `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=..`.
pub(crate) fn trace_root(header: &str) -> Option<String> {
    let mut fields = header.split(';');
    let root = fields.find_map(|field| field.trim().strip_prefix("Root="))?;
    Some(root.to_owned())
}

/// Path and query as an SDK sends them, which leaves no character of a path's parts unencoded that RFC
/// 3986 reserves.
fn as_signed(uri: &Uri) -> String {
    let mut written = String::with_capacity(uri.path().len());
    for character in uri.path().chars() {
        match character {
            ':' | '@' | '!' | '$' | '&' | '\'' | '(' | ')' | '*' | '+' | ',' | ';' | '=' => {
                written.push_str(&format!("%{:02X}", u32::from(character)));
            }
            other => written.push(other),
        }
    }
    if let Some(query) = uri.query() {
        written.push('?');
        written.push_str(query);
    }
    written
}

/// The path and the query, without what a presigned URL is signed with.
fn without_signature(uri: &Uri) -> String {
    let pairs = uri.query().into_iter().flat_map(|query| query.split('&'));
    let kept = pairs.filter(|pair| !pair.to_ascii_lowercase().starts_with("x-amz-"));
    let kept: Vec<_> = kept.collect();
    match kept.is_empty() {
        true => uri.path().to_owned(),
        false => format!("{}?{}", uri.path(), kept.join("&")),
    }
}

/// Objects are people's artifacts, and what a function is invoked with may be a job with credentials.
fn sent(service: Option<&str>, path: &str, body: &Bytes) -> Sent {
    if service.is_none() || service == Some("s3") || path.ends_with("/invocations") {
        return Sent::BodyBytes(body.len());
    }
    match std::str::from_utf8(body) {
        Ok(text) => Sent::Body(text.to_owned()),
        Err(_binary) => Sent::BodyHex(body.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is recorded of a request with these headers.
    fn recorded(uri: &str, headers: &[(&'static str, &str)], body: &'static [u8]) -> String {
        let mut request = hyper::Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        let exchange = Exchange::begin(&head, &Bytes::from_static(body));
        serde_json::to_string(&exchange).expect("JSON")
    }

    const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=ASIAKEY/20260101/us-east-1/SERVICE/aws4_request, \
                          SignedHeaders=host, Signature=5167a7u2e";

    #[test]
    fn a_request_is_recorded_with_who_sent_it_in_which_invocation() {
        let line = recorded(
            "/",
            &[
                ("authorization", &SIGNED.replace("SERVICE", "dynamodb")),
                ("x-amz-target", "DynamoDB_20120810.Query"),
                (
                    "x-amz-user-agent",
                    "aws-sdk-rust/1.3 app/penstock-canary-shift",
                ),
                ("x-amzn-trace-id", "Root=1-abc-def;Parent=0;Sampled=0"),
            ],
            b"{\"TableName\":\"log\"}",
        );
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(line["service"], "dynamodb");
        assert_eq!(line["function"], "penstock-canary-shift");
        assert_eq!(line["invocation"], "1-abc-def");
        assert_eq!(line["headers"]["x-amz-target"], "DynamoDB_20120810.Query");
        assert_eq!(line["body"], "{\"TableName\":\"log\"}");
    }

    #[test]
    fn no_credential_and_no_signature_is_recorded() {
        let secrets = [
            "ASIAKEY",
            "5167a7u2e",
            "SESSION",
            "CUSTOMERKEY",
            "SIGNED-URL",
        ];
        let line = recorded(
            "/bucket/key?x-id=GetObject&X-Amz-Signature=SIGNED-URL&X-Amz-Security-Token=SESSION",
            &[
                ("authorization", &SIGNED.replace("SERVICE", "s3")),
                ("x-amz-security-token", "SESSION"),
                ("x-amz-server-side-encryption-customer-key", "CUSTOMERKEY"),
            ],
            b"",
        );
        for secret in secrets {
            assert!(!line.contains(secret), "{secret} is in {line}");
        }
        assert!(line.contains("/bucket/key?x-id=GetObject\""), "{line}");
    }

    #[test]
    fn of_objects_and_payloads_only_the_length_is_recorded() {
        for (service, uri) in [
            ("s3", "/bucket/key"),
            ("lambda", "/2015-03-31/functions/check/invocations"),
        ] {
            let signed = SIGNED.replace("SERVICE", service);
            let line = recorded(uri, &[("authorization", &signed)], b"artifact");
            assert!(line.contains("\"body_bytes\":8"), "{line}");
            assert!(!line.contains("artifact"), "{line}");
        }
        let unsigned = recorded("/", &[], b"artifact");
        assert!(!unsigned.contains("artifact"), "{unsigned}");
    }

    #[test]
    fn a_path_is_written_as_it_was_signed_whoever_has_decoded_it() {
        let signed =
            "/functions/arn%3Aaws%3Alambda%3Aus-east-1%3A1%3Afunction%3Ax/aliases/live?a=b%3Ac";
        for arrived in [signed, &signed.replacen("%3A", ":", 6)] {
            let arrived: Uri = arrived.parse().expect("a URI");
            assert_eq!(as_signed(&arrived), signed);
        }
    }

    #[test]
    fn what_is_no_text_is_recorded_in_hexadecimal_digits() {
        let signed = SIGNED.replace("SERVICE", "monitoring");
        let line = recorded("/", &[("authorization", &signed)], b"\xa1\xff");
        assert!(line.contains("\"body_hex\":\"a1ff\""), "{line}");
    }

    #[test]
    fn a_full_recording_says_so_once_and_grows_no_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("requests.jsonl");
        let recording = Recording::create(&path).expect("a recording");
        recording.0.lock().expect("a lock").left = 10;
        let (head, ()) = hyper::Request::new(()).into_parts();
        for _ in 0..3 {
            recording.write(&Exchange::begin(&head, &Bytes::new()));
        }
        let text = std::fs::read_to_string(&path).expect("the recording");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("left_off"), "{text}");
    }
}
