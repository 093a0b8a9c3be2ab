//! One GET. Redirects are not followed: a health check that lands elsewhere checks something else.

use std::error::Error;
use std::sync::OnceLock;

use engine::{Class, PortError};
use release::check::{HttpProbe, Probed};
use reqwest::{Client, Response, redirect::Policy};

/// The most of a body that is read.
const BODY_BYTES_MAX: usize = 256 * 1024;

pub(super) async fn probe(http: &HttpProbe) -> Result<Probed, PortError> {
    let look = async {
        let answer = client()?.get(&http.url).send().await?;
        let status = answer.status().as_u16();
        let body = match http.body_contains {
            Some(_) => read(answer).await?,
            None => String::new(),
        };
        Ok::<_, reqwest::Error>((status, body))
    };
    let unhealthy = |detail: String| Probed {
        healthy: false,
        detail: format!("{} {detail}", http.url),
    };
    Ok(
        match tokio::time::timeout(http.timeout.unsigned_abs(), look).await {
            Err(_) => unhealthy(format!("did not answer within {:#}", http.timeout)),
            Ok(Err(error)) if error.is_builder() => {
                let doing = format!("probe {}", http.url);
                return Err(PortError::new(Class::Misconfigured, doing, error));
            }
            Ok(Err(error)) => unhealthy(format!("did not answer: {}", innermost(&error))),
            Ok(Ok((status, _))) if status != http.status => {
                unhealthy(format!("answered {status}, not {}", http.status))
            }
            Ok(Ok((status, body))) => match &http.body_contains {
                Some(text) if !body.contains(text) => {
                    unhealthy(format!("answered {status} without '{text}' in its body"))
                }
                Some(_) | None => Probed {
                    healthy: true,
                    detail: format!("{} answered {status}", http.url),
                },
            },
        },
    )
}

/// Made when first used: reading the trusted certificates is most of a function's start.
fn client() -> Result<&'static Client, reqwest::Error> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    match CLIENT.get() {
        Some(client) => Ok(client),
        None => {
            let client = Client::builder().redirect(Policy::none()).build()?;
            Ok(CLIENT.get_or_init(|| client))
        }
    }
}

async fn read(mut answer: Response) -> Result<String, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        let room = BODY_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == BODY_BYTES_MAX {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// reqwest says 'error sending request'; the cause says why.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.last().map_or_else(String::new, ToString::to_string)
}
