//! Invokes a Lambda function and waits for its answers.
//!
//! As on AWS the event is queued, so that it may come twice; the answer is an API call with the job's id; an answer
//! with a continuation token ends the job and begins a new one, with a new id, after a while.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use super::{Context, Done};
use crate::pipeline::artifact::Location;
use crate::pipeline::cloud::Cloud;
use crate::pipeline::engine::{LateCopies, Shared};
use crate::pipeline::execution::Failure;
use crate::pipeline::jobs::Answer;
use aws::local::pipeline::JobCredentials;

/// One action makes at most so many jobs: one a second for a day.
const JOBS_MAX: u32 = 24 * 3600;

pub(super) async fn perform(context: &Context<'_>) -> Result<Done, Failure> {
    let settings = &context.shared.settings;
    let deadline = Instant::now() + settings.action_time_max;
    let late = |_| {
        Failure::job(format!(
            "not finished within {}",
            spoken(settings.action_time_max)
        ))
    };
    timeout_at(deadline, jobs(context)).await.map_err(late)?
}

async fn jobs(context: &Context<'_>) -> Result<Done, Failure> {
    let settings = &context.shared.settings;
    let function = context.setting("FunctionName").unwrap_or_default();
    if let Some(output) = context.outputs.first() {
        context.shared.cloud.ensure_bucket(&output.bucket).await?;
    }
    let mut token = None;
    for _ in 0..JOBS_MAX {
        let (id, answer) = context.shared.jobs.open();
        deliver(context, function, id, token.as_deref()).await?;
        let silent = || {
            Failure::job(format!(
                "function {function} gave no answer within {}; look into its log: does it fail, may it call \
                 codepipeline:PutJobSuccessResult, and does AWS_ENDPOINT_URL_CODEPIPELINE lead to this player?",
                spoken(settings.answer_time_max)
            ))
        };
        match timeout(settings.answer_time_max, answer)
            .await
            .map_err(|_| silent())?
            .map_err(|_| silent())?
        {
            Answer::Success {
                continuation_token: Some(next),
                details,
                ..
            } => {
                context.progress(details);
                token = Some(next);
                sleep(context.shared.continuation_delay()).await;
            }
            Answer::Success {
                continuation_token: None,
                details,
                variables,
            } => {
                return Ok(Done {
                    details,
                    variables,
                    revision: None,
                });
            }
            Answer::Failure {
                code,
                message,
                external_execution_id,
            } => {
                context.run(|run| run.details.external_execution_id = external_execution_id);
                return Err(Failure { code, message });
            }
        }
    }
    Err(Failure::job(format!("not finished after {JOBS_MAX} jobs")))
}

/// Queues the job's event for the function.
async fn deliver(
    context: &Context<'_>,
    function: &str,
    id: Uuid,
    token: Option<&str>,
) -> Result<(), Failure> {
    let Shared {
        cloud, settings, ..
    } = context.shared;
    let credentials = cloud
        .job_credentials(&federated_name(id), &policy(context))
        .await?;
    let event = event(context, id, &credentials, token);
    let event = serde_json::to_vec(&event)
        .map_err(|error| Failure::job(format!("could not write the event: {error}")))?;
    for _ in 0..if settings.deliver_twice { 2 } else { 1 } {
        cloud.invoke(function, event.clone()).await?;
    }
    if let Some(late) = context.shared.late_copies() {
        deliver_late(cloud, function, &event, late);
    }
    Ok(())
}

/// Whether the job is still open then, and what has come after it, is nobody's concern.
fn deliver_late(cloud: &Arc<dyn Cloud>, function: &str, event: &[u8], late: LateCopies) {
    for _ in 0..late.copies {
        let (cloud, function, event) = (cloud.clone(), function.to_owned(), event.to_vec());
        let delay = late.within.mul_f64(fastrand::f64());
        tokio::spawn(async move {
            sleep(delay).await;
            if let Err(error) = cloud.invoke(&function, event).await {
                tracing::warn!(%error, "could not deliver an event once more");
            }
        });
    }
}

fn spoken(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=119 => format!("{seconds} seconds"),
        seconds @ 120..=7199 => format!("{} minutes", seconds / 60),
        seconds => format!("{} hours", seconds / 3600),
    }
}

/// A name for the session, within STS's 32 characters.
fn federated_name(job: Uuid) -> String {
    job.simple().to_string()
}

/// The event, as AWS documents it.
fn event(
    context: &Context<'_>,
    id: Uuid,
    credentials: &JobCredentials,
    token: Option<&str>,
) -> Value {
    let mut configuration = Map::new();
    for key in ["FunctionName", "UserParameters"] {
        if let Some(value) = context.setting(key) {
            configuration.insert(key.into(), value.into());
        }
    }
    let mut data = json!({
        "actionConfiguration": {"configuration": configuration},
        "inputArtifacts": artifacts(&context.inputs),
        "outputArtifacts": artifacts(&context.outputs),
        "artifactCredentials": {
            "accessKeyId": credentials.access_key_id,
            "secretAccessKey": credentials.secret_access_key,
            "sessionToken": credentials.session_token,
            "expirationTime": credentials.expires_ms,
        },
    });
    if let Some(token) = token {
        data["continuationToken"] = token.into();
    }
    if let Some(key) = context.kms_key() {
        data["encryptionKey"] = json!({"id": key, "type": "KMS"});
    }
    json!({"CodePipeline.job": {"id": id.to_string(), "accountId": context.shared.settings.account, "data": data}})
}

fn artifacts(locations: &[Location]) -> Vec<Value> {
    let artifact = |location: &Location| {
        json!({
            "name": location.name,
            "revision": null,
            "location": {"type": "S3", "s3Location": {"bucketName": location.bucket, "objectKey": location.key}},
        })
    };
    locations.iter().map(artifact).collect()
}

/// What the job's credentials may do: read its inputs, write its outputs, use the key. Nothing else.
fn policy(context: &Context<'_>) -> String {
    let objects = |locations: &[Location]| -> Vec<String> {
        locations
            .iter()
            .map(|at| format!("arn:aws:s3:::{}/{}", at.bucket, at.key))
            .collect()
    };
    let mut statements = Vec::new();
    for (actions, resources) in [
        (
            ["s3:GetObject", "s3:GetObjectVersion"].as_slice(),
            objects(&context.inputs),
        ),
        (["s3:PutObject"].as_slice(), objects(&context.outputs)),
    ] {
        if !resources.is_empty() {
            statements.push(json!({"Effect": "Allow", "Action": actions, "Resource": resources}));
        }
    }
    if statements.is_empty() {
        // A policy needs a statement: without artifacts there is nothing that the job may do.
        statements.push(json!({"Effect": "Deny", "Action": "*", "Resource": "*"}));
    } else if let Some(key) = context.kms_key() {
        let key = if key.starts_with("arn:") { key } else { "*" };
        let actions = ["kms:Decrypt", "kms:GenerateDataKey", "kms:DescribeKey"];
        statements.push(json!({"Effect": "Allow", "Action": actions, "Resource": key}));
    }
    json!({"Version": "2012-10-17", "Statement": statements}).to_string()
}
