//! The data plane: a listener's port on the loopback address, forwarding HTTP/1.1 with keep-alive on both sides.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Shared;
use super::conditions::Asked;
use super::error::ApiError;
use super::state::Choice;
use super::traffic::Outcome;

/// Most client connections of one listener at once; more wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 1_024;

/// Largest request body that is forwarded.
const REQUEST_BODY_BYTES_MAX: usize = 16 << 20;

/// Largest answer body that is forwarded; a longer one is cut off.
const ANSWER_BODY_BYTES_MAX: usize = 256 << 20;

/// How long a target may take until its answer begins, and a client for its next request (ALB's idle timeout).
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long opening a connection to a target may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How long an unused connection to a target is kept.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause after a failed accept, which usually means that the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Headers that concern one connection only (RFC 9110 §7.6.1).
const HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

type AnyError = Box<dyn std::error::Error + Send + Sync>;
type AnyBody = UnsyncBoxBody<Bytes, AnyError>;

/// The client side of the proxy: one pool of connections for all targets.
pub(super) type Targets = Client<HttpConnector, Limited<Incoming>>;

pub(super) fn targets() -> Targets {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        .build(connector)
}

/// Opens a port on the loopback address.
pub(super) fn open(port: u16) -> Result<TcpListener, ApiError> {
    let taken = |error| {
        ApiError::not_permitted(format!(
            "could not listen on 127.0.0.1:{port}: {error}; choose another Port"
        ))
    };
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(taken)?;
    listener.set_nonblocking(true).map_err(taken)?;
    TcpListener::from_std(listener).map_err(taken)
}

/// One listener as its connections see it.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) listener_arn: String,
    /// The load balancer as a dimension.
    pub(super) load_balancer: String,
    pub(super) port: u16,
}

/// Accepts and serves connections until it is dropped, and they with it.
pub(super) async fn serve(listener: TcpListener, front: Front, shared: Arc<Shared>) {
    let front = Arc::new(front);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        // The semaphore is never closed, so this is the end of nothing.
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let (stream, client) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, port = front.port, "could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (front, shared) = (Arc::clone(&front), Arc::clone(&shared));
        connections.spawn(async move {
            serve_connection(stream, client, &front, &shared).await;
            drop(permit);
        });
    }
}

async fn serve_connection(stream: TcpStream, client: SocketAddr, front: &Front, shared: &Shared) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "could not switch Nagle's algorithm off");
    }
    let service = service_fn(|request| async move {
        Ok::<_, std::convert::Infallible>(answer(request, client, front, shared).await)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(%error, %client, "a client's connection broke off");
    }
}

async fn answer(
    request: Request<Incoming>,
    client: SocketAddr,
    front: &Front,
    shared: &Shared,
) -> Response<AnyBody> {
    if request.body().size_hint().lower() > REQUEST_BODY_BYTES_MAX as u64 {
        return own_answer(StatusCode::PAYLOAD_TOO_LARGE, front, shared);
    }
    let asked = Asked {
        path: request.uri().path(),
        query: request.uri().query().unwrap_or_default(),
        headers: request.headers(),
    };
    let choice = shared.state().choose(&front.listener_arn, &asked);
    let Some(choice) = choice else {
        return own_answer(StatusCode::SERVICE_UNAVAILABLE, front, shared);
    };
    let Some(request) = forwarded(request, &choice, client, front.port) else {
        return own_answer(StatusCode::BAD_REQUEST, front, shared);
    };
    let mut exchange = Exchange {
        shared,
        front,
        group: &choice.group,
        outcome: Outcome::Unanswered,
    };
    let begun = Instant::now();
    match tokio::time::timeout(IDLE_TIMEOUT, shared.targets.request(request)).await {
        Ok(Ok(answer)) => {
            exchange.outcome = Outcome::Answered {
                status: answer.status().as_u16(),
                after: begun.elapsed(),
            };
            returned(answer)
        }
        Ok(Err(error)) => {
            if error.is_connect() {
                exchange.outcome = Outcome::NotConnected;
            }
            tracing::debug!(%error, target = %choice.target, "a target did not answer");
            own_answer(status_of(&error), front, shared)
        }
        Err(_) => own_answer(StatusCode::GATEWAY_TIMEOUT, front, shared),
    }
}

/// A request with a target. It is counted when it is dropped: once, whichever way it ends,
/// and also when the client goes away while the target still thinks.
struct Exchange<'a> {
    shared: &'a Shared,
    front: &'a Front,
    group: &'a str,
    outcome: Outcome,
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        let at = self.shared.now().as_second();
        self.shared
            .traffic
            .count(at, &self.front.load_balancer, self.group, self.outcome);
    }
}

/// The request as the target gets it, or `None` when it has no path to ask for.
fn forwarded(
    request: Request<Incoming>,
    choice: &Choice,
    client: SocketAddr,
    port: u16,
) -> Option<Request<Limited<Incoming>>> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().cloned()?;
    head.uri = Uri::builder()
        .scheme("http")
        .authority(choice.target.to_string())
        .path_and_query(path)
        .build()
        .ok()?;
    head.version = hyper::Version::HTTP_11;
    remove_hop_by_hop(&mut head.headers);
    let earlier = head
        .headers
        .get(&FORWARDED_FOR)
        .and_then(|value| value.to_str().ok());
    let forwarded_for = match earlier {
        Some(earlier) => format!("{earlier}, {}", client.ip()),
        None => client.ip().to_string(),
    };
    head.headers
        .insert(FORWARDED_FOR, HeaderValue::from_str(&forwarded_for).ok()?);
    head.headers.insert(FORWARDED_PORT, HeaderValue::from(port));
    head.headers
        .insert(FORWARDED_PROTO, HeaderValue::from_static("http"));
    Some(Request::from_parts(
        head,
        Limited::new(body, REQUEST_BODY_BYTES_MAX),
    ))
}

/// The target's answer as the client gets it.
fn returned(answer: Response<Incoming>) -> Response<AnyBody> {
    let mut answer = answer.map(|body| Limited::new(body, ANSWER_BODY_BYTES_MAX).boxed_unsync());
    remove_hop_by_hop(answer.headers_mut());
    answer
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The status for a request whose target gave none.
fn status_of(error: &ClientError) -> StatusCode {
    let sources =
        std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| {
            error.source()
        });
    if sources
        .into_iter()
        .any(|error| error.is::<LengthLimitError>())
    {
        StatusCode::PAYLOAD_TOO_LARGE
    } else {
        StatusCode::BAD_GATEWAY
    }
}

/// An answer that no target gave.
fn own_answer(status: StatusCode, front: &Front, shared: &Shared) -> Response<AnyBody> {
    shared.traffic.count_own_answer(
        shared.now().as_second(),
        &front.load_balancer,
        status.as_u16(),
    );
    let text = format!("{status}\n");
    let mut answer = Response::new(
        Full::new(Bytes::from(text))
            .map_err(|never| match never {})
            .boxed_unsync(),
    );
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    answer
        .headers_mut()
        .insert(header::SERVER, HeaderValue::from_static("penstock-alb"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_connection_are_not_forwarded() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "keep-alive, X-Secret-Hop"),
            ("keep-alive", "timeout=5"),
            ("x-secret-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("host", "shop"),
            ("x-custom", "stays"),
        ] {
            headers.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        remove_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["host", "x-custom"]);
    }
}
