//! The edge of every function: logging, decoding with secrets redacted, answering.
//!
//! Every path of an action answers CodePipeline, and the handler then returns `Ok`: an `Err` would
//! make Lambda run the same event again, so it is kept for answers that could not be given.

mod answer;
mod envelope;
mod job_event;
mod logging;

use std::panic::AssertUnwindSafe;

use engine::{Action, ActionError, Invocation, Job, Listener, PortError, Ports, Trigger};
use futures::FutureExt;
use jiff::{SignedDuration, Timestamp};
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use release::sources::{Home, StandIns};
use release::{JobReply, Token};
use serde_json::{Value, json};
use tracing::Instrument;

use crate::answer::{answer_of, try_again};
use crate::envelope::Envelope;
use crate::job_event::{Decoded, decode};

/// Kept back from a function's time for its answer.
const ANSWER_TIME: SignedDuration = SignedDuration::from_secs(5);
/// How long a run lives that was started by hand, without a deadline.
const LIFE_BY_HAND: SignedDuration = SignedDuration::from_secs(60);
/// The environment variable with the sources that stand in for those of AWS, separated by commas:
/// `local.cloudwatch` for `aws.cloudwatch`. Empty on AWS.
pub const EXTRA_SOURCES_VARIABLE: &str = "PENSTOCK_EXTRA_EVENT_SOURCES";

/// Serves a pipeline action for as long as Lambda wants.
pub async fn serve<A: Action, P: Ports>(action: A, ports: P) -> Result<(), Error> {
    logging::start();
    let (action, ports) = (&action, &ports);
    let handle = |event: LambdaEvent<Value>| async move {
        let LambdaEvent { payload, context } = event;
        Ok::<(), Error>(handle_job(action, ports, &payload, &context).await?)
    };
    lambda_runtime::run(service_fn(handle)).await
}

/// Serves a trigger of outside events for as long as Lambda wants.
pub async fn serve_events<T: Trigger, P: Ports>(trigger: T, ports: P) -> Result<(), Error> {
    logging::start();
    let (trigger, ports) = (&trigger, &ports);
    let stand_ins = std::env::var(EXTRA_SOURCES_VARIABLE).unwrap_or_default();
    let stand_ins = &StandIns::parse(&stand_ins);
    let handle = |event: LambdaEvent<Value>| async move {
        let LambdaEvent { payload, context } = event;
        Ok::<(), Error>(handle_event(trigger, ports, &payload, &context, stand_ins).await?)
    };
    lambda_runtime::run(service_fn(handle)).await
}

/// Serves what hears the release log's stream, for as long as Lambda wants.
pub async fn serve_stream<L: Listener, P: Ports>(listener: L, ports: P) -> Result<(), Error> {
    logging::start();
    let (listener, ports) = (&listener, &ports);
    let handle = |event: LambdaEvent<Value>| async move {
        let LambdaEvent { payload, context } = event;
        Ok::<Value, Error>(handle_records(listener, ports, &payload, &context).await?)
    };
    lambda_runtime::run(service_fn(handle)).await
}

/// Decodes, runs and answers one job.
async fn handle_job<A: Action>(
    action: &A,
    ports: &impl Ports,
    event: &Value,
    context: &Context,
) -> Result<(), PortError> {
    let call = invocation(context, ports.machine_time());
    let (job, token) = match decode(event) {
        Decoded::Job(job, token) => (job, token),
        Decoded::Refused { job, why } => {
            tracing::error!(job, why, "job refused");
            return ports.answer(&job, &answer::refused(why)).await;
        }
        Decoded::NotAJob => {
            tracing::error!("event dropped: it is no CodePipeline job, so nobody waits for it");
            return Ok(());
        }
    };
    let story = job.story(A::NAME);
    let release = story.as_ref().map_or("-", |id| id.as_str());
    let span = tracing::info_span!("job", release, job = job.id);
    async {
        tracing::info!(continued = job.token.is_some(), "job begins");
        let reply = match story {
            Ok(id) => {
                let token = token.unwrap_or(Token::of(id));
                let outcome = run_in_time(action, ports, &call, &job).await;
                outcome.unwrap_or_else(|error| answer_of(error, &token))
            }
            Err(error) => answer::refused(ActionError::from(error).to_string()),
        };
        ports.answer(&job.id, &reply).await
    }
    .instrument(span)
    .await
}

/// A run that panics or takes too long is tried again by a further job, like one that met a fault.
async fn run_in_time<A: Action>(
    action: &A,
    ports: &impl Ports,
    call: &Invocation,
    job: &Job,
) -> Result<JobReply, ActionError> {
    let run = AssertUnwindSafe(action.run(ports, call, job)).catch_unwind();
    let left = call.time_left(ports) - ANSWER_TIME;
    match tokio::time::timeout(left.max(SignedDuration::ZERO).unsigned_abs(), run).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_panic)) => Err(try_again("finish this run: it panicked")),
        Err(_elapsed) => Err(try_again("finish this run in the function's time")),
    }
}

/// Heeds an event that may be believed. One that may not is logged and dropped: delivering it again
/// would not help.
async fn handle_event<T: Trigger>(
    trigger: &T,
    ports: &impl Ports,
    event: &Value,
    context: &Context,
    stand_ins: &StandIns,
) -> Result<(), PortError> {
    let envelope = match Envelope::open(event) {
        Ok(envelope) => envelope,
        Err(why) => {
            tracing::error!(why, "event dropped: it is no EventBridge event");
            return Ok(());
        }
    };
    let event = envelope.event();
    let span = envelope.span();
    async {
        let Some(home) = Home::of_function(&context.invoked_function_arn) else {
            tracing::error!("event dropped: Lambda does not say in which account this runs");
            return Ok(());
        };
        if let Err(why) = event.trusted(&home, stand_ins) {
            tracing::error!(%why, "event dropped");
            return Ok(());
        }
        let call = invocation(context, ports.machine_time());
        let result = Box::pin(trigger.run(ports, &call, &event)).await;
        result.inspect_err(|error| tracing::error!(%error, "event to be delivered again"))
    }
    .instrument(span)
    .await
}

/// Hands one batch over. What was not dealt with is asked for again: by the record's number where
/// something was, by failing where nothing was, so that Lambda counts an error.
///
/// Source: "Configuring partial batch response with DynamoDB and Lambda" in the Lambda developer
/// guide: Lambda goes on with the lowest sequence number in `batchItemFailures`.
async fn handle_records<L: Listener>(
    listener: &L,
    ports: &impl Ports,
    event: &Value,
    context: &Context,
) -> Result<Value, PortError> {
    let Some(records) = event.get("Records").and_then(Value::as_array) else {
        tracing::error!("event dropped: it is no batch of a stream's records");
        return Ok(failures(&[]));
    };
    let call = invocation(context, ports.machine_time());
    let heard = Box::pin(listener.run(ports, &call, records)).await;
    let Some(error) = heard.stopped_by else {
        return Ok(failures(&[]));
    };
    let number = |record: &Value| {
        let number = record.pointer("/dynamodb/SequenceNumber");
        number.and_then(Value::as_str).map(str::to_owned)
    };
    tracing::error!(%error, done = heard.done, "records to be handed over again");
    match records.get(heard.done).and_then(number) {
        Some(number) if heard.done > 0 => Ok(failures(&[number])),
        Some(_) | None => Err(error),
    }
}

fn failures(numbers: &[String]) -> Value {
    let failures = numbers.iter().map(|n| json!({"itemIdentifier": n}));
    json!({"batchItemFailures": failures.collect::<Vec<_>>()})
}

/// The request id alone would not do: a duplicate delivery has the same one.
fn invocation(context: &Context, now: Timestamp) -> Invocation {
    let millis = i64::try_from(context.deadline).unwrap_or(i64::MAX);
    let deadline = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX);
    let owner = format!("{}-{:016x}", context.request_id, fastrand::u64(..));
    // `cargo lambda watch` gives an instant in 1970; Lambda never gives one that has passed.
    match deadline > now {
        true => Invocation::new(owner, deadline),
        false => Invocation::new(owner, now + LIFE_BY_HAND),
    }
}

#[cfg(test)]
mod tests;
