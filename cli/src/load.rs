//! `penstock load`: steady traffic for a release on a laptop.
//!
//! The generator is open-loop: requests begin on schedule whether or not earlier ones were answered,
//! as visitors do. A slow service therefore shows as a slow service and not as less traffic. What
//! the bound on open requests keeps from being sent is counted as skipped, never hidden.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::HOST;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// Most requests open at once.
const OPEN_REQUESTS_MAX: usize = 512;

/// Most requests a second.
pub const RPS_MAX: u32 = 10_000;

/// How long a request may take, body included; also how long the end may be delayed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest answer body that is read; the rest breaks the connection off.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Send requests to a service on this machine, at a steady rate whatever it answers.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Example:\n  penstock load http://127.0.0.1:8080/checkout --rps 300 --for 60s"
)]
pub struct Load {
    /// Address to request, on this machine only: http://127.0.0.1:8080/checkout
    pub url: Uri,
    /// Requests a second.
    #[arg(long, default_value = "100")]
    pub rps: NonZeroU32,
    /// How long to go on, like 60s or 5m.
    #[arg(long = "for", default_value = "60s", value_parser = duration)]
    pub duration: Duration,
}

/// What came of it. `sent` is the sum of `answers` and `failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were begun.
    pub sent: u64,
    /// Answers by status class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub answers: [u64; 5],
    /// Requests without a whole answer: refused, broken off, or out of time.
    pub failed: u64,
    /// Requests that were due while too many were open.
    pub skipped: u64,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

/// Why no load was sent.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The URL is not one that the generator can ask.
    #[error("could not send load to '{0}': give an address like http://127.0.0.1:8080/path")]
    Url(Uri),
    /// The rate is beyond what the generator keeps up with.
    #[error("could not send {0} requests a second: --rps goes up to {RPS_MAX}")]
    Rate(NonZeroU32),
    /// The host has no address.
    #[error("could not find an address of '{host}'")]
    Resolve {
        /// The host in the URL.
        host: String,
        /// What the resolver says.
        #[source]
        source: std::io::Error,
    },
    /// The host is another machine, or the name also means one.
    #[error(
        "could not send load to '{host}', which is {address}: load is only for this machine; use 127.0.0.1"
    )]
    NotLoopback {
        /// The host in the URL.
        host: String,
        /// An address that is not loopback.
        address: SocketAddr,
    },
    /// The name resolves to nothing.
    #[error("could not find an address of '{0}'")]
    NoAddress(String),
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 {
            self.sent as f64 / seconds
        } else {
            0.0
        };
        write!(f, "{} requests in {seconds:.1} s ({rate:.0}/s):", self.sent)?;
        for (class, count) in (1..).zip(self.answers).filter(|(_, count)| *count > 0) {
            write!(f, " {class}xx {count},")?;
        }
        write!(f, " failed {}, skipped {}", self.failed, self.skipped)
    }
}

/// Sends the load until its time is over or `stop` completes, then waits for the open requests.
///
/// # Errors
/// When the URL is not a plain HTTP address of this machine. Requests that fail are no error; they are counted.
pub async fn run(load: Load, stop: impl Future<Output = ()>) -> Result<Totals, LoadError> {
    if load.rps.get() > RPS_MAX {
        return Err(LoadError::Rate(load.rps));
    }
    let sender = Sender::new(&load.url).await?;
    let begun = Instant::now();
    let end = tokio::time::sleep(load.duration);
    let mut due = tokio::time::interval(Duration::from_secs(1) / load.rps.get());
    // After a pause the missed requests follow at once: the schedule is what matters.
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut open = JoinSet::new();
    let mut totals = Totals::default();
    tokio::pin!(end, stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = &mut end => break,
            Some(ended) = open.join_next() => totals.note(ended.ok().flatten()),
            _ = due.tick() => {
                if open.len() < OPEN_REQUESTS_MAX {
                    let sender = sender.clone();
                    open.spawn(async move { sender.send().await });
                    totals.sent += 1;
                } else {
                    totals.skipped += 1;
                }
            }
        }
    }
    while let Some(ended) = open.join_next().await {
        totals.note(ended.ok().flatten());
    }
    totals.elapsed = begun.elapsed();
    Ok(totals)
}

impl Totals {
    /// Counts a request that ended with this status, or with none.
    fn note(&mut self, status: Option<u16>) {
        let class = status.and_then(|status| usize::from(status / 100).checked_sub(1));
        match class.and_then(|class| self.answers.get_mut(class)) {
            Some(count) => *count += 1,
            None => self.failed += 1,
        }
    }
}

/// Sends one and the same request again and again over kept connections.
#[derive(Clone)]
struct Sender {
    client: Client<HttpConnector, Empty<Bytes>>,
    target: Uri,
    host: String,
}

impl Sender {
    async fn new(url: &Uri) -> Result<Self, LoadError> {
        let wrong = || LoadError::Url(url.clone());
        let host = url
            .authority()
            .filter(|_| url.scheme_str() == Some("http"))
            .ok_or_else(wrong)?;
        let address = loopback(host.host(), host.port_u16().unwrap_or(80)).await?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let target = format!("http://{address}{path}")
            .parse()
            .map_err(|_| wrong())?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(OPEN_REQUESTS_MAX)
            .build(connector);
        Ok(Self {
            client,
            target,
            host: host.as_str().to_owned(),
        })
    }

    /// The status of a request whose answer was read to its end.
    async fn send(&self) -> Option<u16> {
        let request = Request::get(self.target.clone())
            .header(HOST, &self.host)
            .body(Empty::new())
            .ok()?;
        let exchange = async {
            let answer = self.client.request(request).await.ok()?;
            let status = answer.status().as_u16();
            // A connection is used again only after its answer was read.
            Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .ok()?;
            Some(status)
        };
        tokio::time::timeout(REQUEST_TIMEOUT, exchange)
            .await
            .ok()
            .flatten()
    }
}

/// The address of a host all of whose addresses are loopback.
async fn loopback(host: &str, port: u16) -> Result<SocketAddr, LoadError> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let resolve = |source| LoadError::Resolve {
        host: host.to_owned(),
        source,
    };
    let addresses: Vec<_> = tokio::net::lookup_host((name, port))
        .await
        .map_err(resolve)?
        .collect();
    if let Some(address) = addresses.iter().find(|address| !address.ip().is_loopback()) {
        return Err(LoadError::NotLoopback {
            host: host.to_owned(),
            address: *address,
        });
    }
    // A laptop's services listen on 127.0.0.1; localhost may mean ::1 as well.
    let address = addresses
        .iter()
        .find(|address| address.is_ipv4())
        .or(addresses.first());
    address
        .copied()
        .ok_or_else(|| LoadError::NoAddress(host.to_owned()))
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = text
        .parse::<jiff::SignedDuration>()
        .map_err(|error| error.to_string())?;
    Duration::try_from(duration).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(url: &str) -> Load {
        Load {
            url: url.parse().expect("a URL"),
            rps: NonZeroU32::MIN,
            duration: Duration::from_secs(1),
        }
    }

    #[tokio::test]
    async fn load_goes_to_this_machine_only() {
        for url in [
            "http://192.0.2.1/",
            "http://[2001:db8::1]/",
            "http://0.0.0.0/",
        ] {
            let refused = run(load(url), std::future::ready(())).await;
            assert!(
                matches!(refused, Err(LoadError::NotLoopback { .. })),
                "{url}: {refused:?}"
            );
        }
        for url in ["https://127.0.0.1/", "/checkout"] {
            let refused = run(load(url), std::future::ready(())).await;
            assert!(
                matches!(refused, Err(LoadError::Url(_))),
                "{url}: {refused:?}"
            );
        }
        for url in [
            "http://127.0.0.1:9/",
            "http://[::1]:9/",
            "http://127.8.8.8:9/",
        ] {
            let accepted = run(load(url), std::future::ready(())).await;
            assert_eq!(accepted.expect("totals").sent, 0, "{url}");
        }
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert!(duration("-1s").is_err());
        assert!(duration("soon").is_err());
    }

    #[test]
    fn totals_name_only_the_classes_that_occurred() {
        let totals = Totals {
            sent: 10,
            answers: [0, 7, 0, 0, 2],
            failed: 1,
            skipped: 0,
            elapsed: Duration::from_secs(2),
        };
        assert_eq!(
            totals.to_string(),
            "10 requests in 2.0 s (5/s): 2xx 7, 5xx 2, failed 1, skipped 0"
        );
    }
}
