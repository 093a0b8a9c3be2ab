//! Runs a pipeline in a player and follows it to its end.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::pipeline::api;
use crate::pipeline::event::{Entry, Event, Status};
use crate::pipeline::submit::{self, Submission, Submitted};

mod screen;

pub use screen::{Screen, Style};

/// A longer line in the stream of events is none of ours. In bytes.
const LINE_BYTES_MAX: usize = 4 << 20;
/// The player is on this machine: it takes a connection at once or not at all.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// How an execution ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// How.
    pub status: Status,
    /// Why, where it did not succeed.
    pub message: Option<String>,
}

/// A player, seen from outside.
#[derive(Debug, Clone)]
pub struct Remote {
    client: Client,
    url: String,
}

impl Remote {
    /// A player at this URL.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        // A proxy of the environment would not find this machine's 127.0.0.1.
        let client = Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIME_MAX)
            .build();
        Ok(Self {
            client: client.context("could not make an HTTP client")?,
            url: url.trim_end_matches('/').into(),
        })
    }

    /// Starts an execution.
    ///
    /// # Errors
    /// When the player does not answer or refuses.
    pub async fn submit(&self, submission: &Submission) -> anyhow::Result<Submitted> {
        let asked = self
            .client
            .post(format!("{}{}", self.url, submit::PATH))
            .json(submission)
            .send()
            .await;
        let answer = self.reached(asked)?;
        Ok(good(answer).await?.json().await?)
    }

    /// Follows an execution to its end; `see` gets each event, from the first on.
    ///
    /// # Errors
    /// When the player goes away, or `see` fails.
    pub async fn follow<F>(&self, submitted: &Submitted, mut see: F) -> anyhow::Result<Ending>
    where
        F: AsyncFnMut(&Entry) -> anyhow::Result<()>,
    {
        let path = format!(
            "{}{}/{}/events",
            self.url,
            submit::PATH,
            submitted.execution_id
        );
        let asked = self.client.get(path).send().await;
        let mut stream = good(self.reached(asked)?).await?;
        let mut buffer = Vec::new();
        while let Some(chunk) = stream.chunk().await.context("the player went away")? {
            buffer.extend_from_slice(&chunk);
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = buffer.drain(..=end).collect();
                let entry: Entry = serde_json::from_slice(&line)
                    .context("could not read an event of the player")?;
                see(&entry).await?;
                if let Event::ExecutionEnded { status, message } = entry.event {
                    return Ok(Ending { status, message });
                }
            }
            if buffer.len() > LINE_BYTES_MAX {
                bail!("the player sent an event of more than {LINE_BYTES_MAX} bytes");
            }
        }
        bail!("the player went away before the execution ended")
    }

    /// Answers a manual approval.
    ///
    /// # Errors
    /// When the player does not answer or refuses.
    pub async fn approve(
        &self,
        pipeline: &str,
        question: &Question<'_>,
        approved: bool,
    ) -> anyhow::Result<()> {
        let (status, summary) = match approved {
            true => ("Approved", "approved in the terminal"),
            false => ("Rejected", "refused in the terminal"),
        };
        self.call("PutApprovalResult", json!({
            "pipelineName": pipeline, "stageName": question.stage, "actionName": question.action,
            "token": question.token, "result": {"status": status, "summary": summary},
        }))
        .await?;
        Ok(())
    }

    /// Stops an execution: after its running actions, or at once.
    ///
    /// # Errors
    /// When the player does not answer or refuses.
    pub async fn stop(&self, submitted: &Submitted, abandon: bool) -> anyhow::Result<()> {
        self.call("StopPipelineExecution", json!({
            "pipelineName": submitted.pipeline, "pipelineExecutionId": submitted.execution_id, "abandon": abandon,
        }))
        .await?;
        Ok(())
    }

    async fn call(&self, operation: &str, body: Value) -> anyhow::Result<Value> {
        let asked = self
            .client
            .post(&self.url)
            .header("x-amz-target", format!("{}{operation}", api::TARGET));
        let asked = asked
            .header("content-type", "application/x-amz-json-1.1")
            .body(body.to_string());
        Ok(good(self.reached(asked.send().await)?)
            .await?
            .json()
            .await?)
    }

    fn reached(&self, answer: Result<Response, reqwest::Error>) -> anyhow::Result<Response> {
        answer.with_context(|| {
            format!(
                "could not reach the player at {}; start it with `penstock local`",
                self.url
            )
        })
    }
}

/// The answer, or the player's own words about why not.
async fn good(answer: Response) -> anyhow::Result<Response> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    match body["message"].as_str() {
        Some(message) => bail!("{message}"),
        None => bail!("the player answered {status}"),
    }
}

/// A question of a manual approval.
#[derive(Debug)]
pub struct Question<'a> {
    /// The stage.
    pub stage: &'a str,
    /// The action.
    pub action: &'a str,
    /// What the answer has to name.
    pub token: &'a str,
}

/// Runs a pipeline in the player at `player` and shows how it goes. Ctrl-C stops it after its running actions,
/// a second one at once.
///
/// # Errors
/// When the player does not answer, refuses, or goes away. An execution that fails is no error: see [`Ending`].
pub async fn run(
    player: &str,
    submission: &Submission,
    screen: &mut Screen,
) -> anyhow::Result<Ending> {
    let remote = Remote::new(player)?;
    let submitted = remote.submit(submission).await?;
    screen.begin(&submitted);
    let interrupts = tokio::spawn(stop_on_interrupt(remote.clone(), submitted.clone()));
    let pipeline = submitted.pipeline.as_str();
    let ending = remote
        .follow(&submitted, async |entry| {
            screen.show(entry);
            if let Event::ApprovalNeeded {
                stage,
                action,
                token,
                ..
            } = &entry.event
            {
                let question = Question {
                    stage,
                    action,
                    token,
                };
                answer(&remote, pipeline, &question, screen).await?;
            }
            Ok(())
        })
        .await;
    interrupts.abort();
    screen.end();
    ending
}

async fn answer(
    remote: &Remote,
    pipeline: &str,
    question: &Question<'_>,
    screen: &Screen,
) -> anyhow::Result<()> {
    if !screen.asks() || !io::stdin().is_terminal() {
        screen.note("waiting for PutApprovalResult; nobody can be asked here (--approve answers yes to all)");
        return Ok(());
    }
    let prompt = format!("approve {}/{}? [y/N] ", question.stage, question.action);
    let line = screen.suspended(move || ask(&prompt)).await?;
    let approved = matches!(line.trim().to_lowercase().as_str(), "y" | "yes");
    if let Err(error) = remote.approve(pipeline, question, approved).await {
        screen.note(&format!("the answer was not taken: {error:#}"));
    }
    Ok(())
}

fn ask(prompt: &str) -> io::Result<String> {
    let mut line = String::new();
    print!("{prompt}");
    io::stdout().flush()?;
    io::stdin().read_line(&mut line)?;
    Ok(line)
}

async fn stop_on_interrupt(remote: Remote, submitted: Submitted) {
    for abandon in [false, true] {
        if tokio::signal::ctrl_c().await.is_err() {
            return;
        }
        let said = if abandon {
            "abandoning the running actions"
        } else {
            "stopping after the running actions; Ctrl-C again abandons them"
        };
        eprintln!("{said}");
        if let Err(error) = remote.stop(&submitted, abandon).await {
            eprintln!("could not stop: {error:#}");
        }
    }
    // A third time means it: leave the execution to the player.
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(130);
    }
}
