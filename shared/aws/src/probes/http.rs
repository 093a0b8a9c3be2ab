//! URLs that must be answered as expected.
//!
//! Whoever writes `penstock.yaml` chooses the URL, so what is asked is decided by its address: a name
//! is resolved once, every address it has is judged, and only these are connected to. The same holds
//! for each redirect. Certificates are always verified, no proxy is used, nothing is unpacked, and of
//! an answer no more is held than a head of some 400 KiB, which hyper allows, and
//! [`BODY_BYTES_MAX`] of its body.

use std::error::Error;
use std::sync::OnceLock;

use engine::Clock;
use futures::future::join_all;
use jiff::SignedDuration;
use release::check::address::refusal;
use release::check::{BODY_BYTES_MAX, HttpProbe, Method, Probed, literal, shown};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, LOCATION};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};

use crate::Aws;

/// The most headers of an answer; hyper's own limit, written down.
const HEADERS_MAX: usize = 100;

/// Asks all URLs side by side.
pub(super) async fn probe(aws: &Aws, http: &HttpProbe) -> Probed {
    let looks = http.urls().map(|url| look(aws, http, url));
    let seen = join_all(looks).await;
    match &seen[..] {
        [one] => one.clone(),
        several => together(several),
    }
}

fn together(seen: &[Probed]) -> Probed {
    let bad: Vec<_> = seen.iter().filter(|probed| !probed.healthy).collect();
    let count = seen.len();
    let Some(first) = bad.first() else {
        return Probed::healthy(format!("all {count} URLs answered as they should"));
    };
    let detail = format!("{} of {count} URLs: {}", bad.len(), first.detail);
    match bad.iter().any(|probed| probed.hopeless) {
        true => Probed::hopeless(detail),
        false => Probed::unhealthy(detail),
    }
}

async fn look(aws: &Aws, http: &HttpProbe, url: &str) -> Probed {
    let began = aws.now();
    let answer = tokio::time::timeout(http.timeout.unsigned_abs(), ask(aws, http, url)).await;
    let took = aws.now().duration_since(began);
    let name = shown(url);
    match answer {
        Err(_) => Probed::unhealthy(format!("{name} did not answer within {:#}", http.timeout)),
        Ok(Err(Unanswered::Refused(why))) => {
            Probed::hopeless(format!("{name} was not asked: {why}"))
        }
        Ok(Err(Unanswered::Failed(why))) => Probed::unhealthy(format!("{name} {why}")),
        Ok(Ok(answer)) => match lacks(http, &answer, took) {
            Some(lack) => Probed::unhealthy(format!("{name} answered {lack}")),
            None => Probed::healthy(format!("{name} answered {}", answer.status)),
        },
    }
}

/// What of an answer is judged.
struct Answer {
    status: u16,
    headers: HeaderMap,
    /// The beginning of it, when something is expected of it.
    body: Vec<u8>,
    /// Whether that is all of it.
    whole: bool,
}

/// Why there is no answer.
enum Unanswered {
    /// The address is one that is not asked; looking again is in vain.
    Refused(String),
    /// Finishes 'URL ...'.
    Failed(String),
}

/// What an answer lacks, if anything; finishes 'URL answered ...'.
fn lacks(http: &HttpProbe, answer: &Answer, took: SignedDuration) -> Option<String> {
    let status = answer.status;
    if !http.status.contains(status) {
        return Some(format!("{status}, not {}", http.status));
    }
    for (name, text) in &http.headers {
        let mut values = answer.headers.get_all(name).iter();
        let has = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text.as_str());
        if !values.any(|value| has(value.as_bytes())) {
            return Some(format!("{status} without '{text}' in a header {name}"));
        }
    }
    if let Some(lack) = http.expected().unmet(&answer.body, answer.whole) {
        return Some(format!("{status}, but its body {lack}"));
    }
    let limit = http.slower_than.filter(|limit| took > *limit)?;
    let took = took.as_millis();
    Some(format!("{status} after {took} ms, slower than {limit:#}"))
}

/// Asks, and follows redirects as far as the probe says.
async fn ask(aws: &Aws, http: &HttpProbe, url: &str) -> Result<Answer, Unanswered> {
    let first = Url::parse(url).map_err(|e| Unanswered::Refused(e.to_string()))?;
    let mut at = first.clone();
    for redirects in 0..=http.redirects {
        let hop = send(aws, http, &at, at.origin() == first.origin()).await;
        let answer = match hop {
            // Where a server sends its clients is nothing that penstock.yaml can mend.
            Err(Unanswered::Refused(why)) if redirects > 0 => {
                return Err(Unanswered::Failed(format!(
                    "led to {}: {why}",
                    shown(at.as_str())
                )));
            }
            hop => hop?,
        };
        match next(&at, &answer)? {
            Some(to) if http.redirects > 0 => at = to,
            Some(_) | None => return read(http, answer).await,
        }
    }
    let most = http.redirects;
    Err(Unanswered::Failed(format!(
        "led to more than {most} redirects"
    )))
}

/// One request to one address.
async fn send(
    aws: &Aws,
    http: &HttpProbe,
    url: &Url,
    with_headers: bool,
) -> Result<Response, Unanswered> {
    let own = url.port_or_known_default();
    let own = own.is_some_and(|port| aws.probing.own_ports.contains(&port));
    let private_too = http.allow_private && aws.probing.private_too && !own;
    // A name is judged when it is resolved; an address that stands in the URL is not resolved.
    if let Some(why) = literal(url).and_then(|address| refusal(address, private_too)) {
        return Err(Unanswered::Refused(why));
    }
    let client = client(private_too).map_err(|e| failed(&e))?;
    let request = match http.method {
        Method::Get => client.get(url.clone()),
        Method::Head => client.head(url.clone()),
    };
    let request = match with_headers {
        true => with(request, http),
        false => request,
    };
    request.send().await.map_err(|e| failed(&e))
}

fn with(request: RequestBuilder, http: &HttpProbe) -> RequestBuilder {
    let headers = http.request_headers.iter();
    headers.fold(request, |request, (name, text)| {
        request.header(name, text.to_send())
    })
}

/// Where an answer sends its client, if it does.
fn next(at: &Url, answer: &Response) -> Result<Option<Url>, Unanswered> {
    let redirects = [301, 302, 303, 307, 308].contains(&answer.status().as_u16());
    let Some(to) = answer.headers().get(LOCATION).filter(|_| redirects) else {
        return Ok(None);
    };
    let to = to.to_str().ok().and_then(|to| at.join(to).ok());
    let odd = |why: &str| Err(Unanswered::Failed(format!("led {why}")));
    match to {
        Some(to) if !["http", "https"].contains(&to.scheme()) => odd("to what is no http"),
        Some(to) if at.scheme() == "https" && to.scheme() == "http" => odd("from https to http"),
        Some(to) => Ok(Some(to)),
        None => odd("to what is no URL"),
    }
}

/// Reads what is judged, and no more.
async fn read(http: &HttpProbe, mut answer: Response) -> Result<Answer, Unanswered> {
    let mut read = Answer {
        status: answer.status().as_u16(),
        headers: std::mem::take(answer.headers_mut()),
        body: Vec::new(),
        whole: true,
    };
    if http.expected().is_nothing() {
        return Ok(read);
    }
    while let Some(chunk) = answer.chunk().await.map_err(|e| failed(&e))? {
        let room = BODY_BYTES_MAX - read.body.len();
        read.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            read.whole = false;
            break;
        }
    }
    Ok(read)
}

/// A client for public addresses, or for private ones as well. Each is made when first used: reading
/// the trusted certificates is most of a function's start. Connections are not kept, so that a
/// server that accepts no more of them is noticed, and that each is to an address that was judged
/// just now.
fn client(private_too: bool) -> Result<&'static Client, reqwest::Error> {
    static CLIENTS: [OnceLock<Client>; 2] = [const { OnceLock::new() }; 2];
    let made = &CLIENTS[usize::from(private_too)];
    match made.get() {
        Some(client) => Ok(client),
        None => {
            let client = Client::builder()
                .dns_resolver(Judged { private_too })
                .redirect(Policy::none())
                .no_proxy()
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate()
                .http1_only()
                .http1_max_headers(HEADERS_MAX)
                .pool_max_idle_per_host(0)
                .referer(false)
                .user_agent("penstock")
                .build()?;
            Ok(made.get_or_init(|| client))
        }
    }
}

/// Resolves names to addresses that may be asked. One that may not is an error even when the name has
/// others as well: such a name is not what it seems.
#[derive(Debug, Clone, Copy)]
struct Judged {
    private_too: bool,
}

/// Why a name was not resolved.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

impl Resolve for Judged {
    fn resolve(&self, name: Name) -> Resolving {
        let private_too = self.private_too;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let found: Vec<_> = found.collect();
            let mut refusals = found.iter().filter_map(|at| refusal(at.ip(), private_too));
            match refusals.next() {
                Some(why) => Err(Refused(why).into()),
                None => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

/// reqwest says 'error sending request'; the causes say why.
fn failed(error: &(dyn Error + 'static)) -> Unanswered {
    let causes = || std::iter::successors(Some(error), |&error| error.source());
    if let Some(refused) = causes().find_map(|cause| cause.downcast_ref::<Refused>()) {
        return Unanswered::Refused(refused.0.clone());
    }
    let innermost = causes()
        .last()
        .map_or_else(String::new, ToString::to_string);
    Unanswered::Failed(format!("did not answer: {innermost}"))
}

#[cfg(test)]
mod tests;
