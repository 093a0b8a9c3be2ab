//! AWS at its worst, on a laptop: microburst, a proxy that knows AWS's protocols, in front of an
//! endpoint. It throttles, breaks off, and loses answers in the form in which AWS's own SDKs expect it.
//!
//! A fault is a [`Rule`]: which requests it is for, how many of them, and what becomes of these. Of the
//! rules that fit a request, only the first that is not used up counts, so a rule without a fault
//! before another one lets that many requests pass first.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::process::{Child, Command};

/// The program, which is found on the stack's PATH.
const PROGRAM: &str = "microburst";
/// It reads AWS's models when it starts.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// So many of the requests for which a rule counted are remembered.
const REMEMBERED: usize = 2_000;

/// What becomes of some requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The service's name in botocore, such as `dynamodb`; any, when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The operation, such as `PutItem`; any, when it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// What must occur in these headers.
    pub headers: BTreeMap<String, String>,
    /// It is used up after so many requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What becomes of them, in microburst's words; nothing, when it is empty.
    #[serde(flatten)]
    pub fault: Map<String, Value>,
}

/// A rule that is in force.
#[derive(Debug, Clone, Deserialize)]
pub struct Active {
    /// Its name in what was [`seen`](Faults::seen).
    pub id: u64,
    /// For how many requests it counted.
    #[serde(default)]
    pub fired_count: u64,
    /// The headers that it asks for.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// A request for which a rule counted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Seen {
    /// When, in seconds since 1970.
    pub ts: f64,
    /// The rule.
    pub rule_id: u64,
    /// The service that it went to.
    pub service: Option<String>,
    /// What it asked for.
    pub operation: Option<String>,
}

/// A running microburst. Dropping it ends it.
#[derive(Debug)]
pub struct Faults {
    _process: Child,
    url: String,
    client: reqwest::Client,
}

impl Faults {
    /// Starts one at this port in front of this endpoint, such as `http://127.0.0.1:4566`. `search` is
    /// the PATH on which the program is, `log` the file that it writes to. Requests arrive at the
    /// endpoint with its own Host, and not with the one that they were signed with.
    ///
    /// # Errors
    /// When it is not there, or does not start.
    pub async fn start(
        port: u16,
        endpoint: &str,
        search: &str,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let output = std::fs::File::create(log).context("could not write microburst's log")?;
        let copy = output.try_clone();
        let process = Command::new(program(search)?)
            .args(["--upstream", endpoint, "--host", "127.0.0.1", "--port"])
            .arg(port.to_string())
            .env_clear()
            .env("PATH", search)
            .stdin(Stdio::null())
            .stdout(copy.context("could not write microburst's log")?)
            .stderr(output)
            .kill_on_drop(true)
            .spawn()
            .context("could not start microburst")?;
        let client = reqwest::Client::builder().no_proxy().build();
        let faults = Self {
            _process: process,
            url: format!("http://{}:{port}", Ipv4Addr::LOCALHOST),
            client: client.context("could not make an HTTP client")?,
        };
        let began = Instant::now();
        while faults.rules().await.is_err() {
            if began.elapsed() > START_TIME_MAX {
                bail!("microburst does not answer; its log is {}", log.display());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(faults)
    }

    /// The endpoint that the functions are told.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Puts these rules into force, after those that are.
    ///
    /// # Errors
    /// When microburst refuses.
    pub async fn add(&self, rules: &[Rule]) -> anyhow::Result<Vec<Active>> {
        let ask = self.client.patch(self.control("rules")).json(rules);
        answered(ask).await.context("could not set faults")
    }

    /// The rules in force, and for how many requests each counted.
    ///
    /// # Errors
    /// When microburst does not answer.
    pub async fn rules(&self) -> anyhow::Result<Vec<Active>> {
        let ask = self.client.get(self.control("rules"));
        answered(ask).await.context("could not read the faults")
    }

    /// Ends the rules that ask for exactly these headers.
    ///
    /// # Errors
    /// When microburst does not answer.
    pub async fn remove(&self, headers: &BTreeMap<String, String>) -> anyhow::Result<()> {
        let these = json!([{"headers": headers}]);
        let ask = self.client.delete(self.control("rules")).json(&these);
        let _removed: Value = answered(ask).await.context("could not end faults")?;
        Ok(())
    }

    /// The last requests for which a rule counted, in order.
    ///
    /// # Errors
    /// When microburst does not answer.
    pub async fn seen(&self) -> anyhow::Result<Vec<Seen>> {
        let last = self.control(&format!("fired?limit={REMEMBERED}"));
        let ask = self.client.get(last);
        answered(ask).await.context("could not read what was seen")
    }

    fn control(&self, what: &str) -> String {
        format!("{}/_microburst/{what}", self.url)
    }
}

/// Where the program is.
fn program(search: &str) -> anyhow::Result<std::path::PathBuf> {
    let mut places = std::env::split_paths(OsStr::new(search)).map(|place| place.join(PROGRAM));
    let found = places.find(|program| program.is_file());
    found.with_context(|| format!("could not find {PROGRAM} on the PATH: run `make setup`"))
}

async fn answered<T: serde::de::DeserializeOwned>(
    ask: reqwest::RequestBuilder,
) -> anyhow::Result<T> {
    let answer = ask.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "microburst said {status}: {text}");
    Ok(serde_json::from_str(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_written_as_microburst_reads_it() {
        let rule = Rule {
            service: Some("dynamodb".into()),
            operation: None,
            headers: BTreeMap::from([("x-amzn-trace-id".into(), "ab".into())]),
            times: Some(2),
            fault: json!({"reset": true})
                .as_object()
                .cloned()
                .unwrap_or_default(),
        };
        let written = json!({
            "service": "dynamodb", "headers": {"x-amzn-trace-id": "ab"}, "times": 2, "reset": true,
        });
        assert_eq!(serde_json::to_value(&rule).expect("JSON"), written);
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_what_puts_it_there() {
        let error = program("/nowhere").unwrap_err().to_string();
        assert!(error.contains("make setup"), "{error}");
    }
}
