use std::cell::Cell;
use std::path::Path;

use engine::Heard;
use engine::fakes::{Run, World};
use release::sources::OutsideEvent;
use release::{FailureKind, TRIES_MAX};
use serde_json::json;

use super::*;

fn sample(name: &str) -> Value {
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let text = std::fs::read_to_string(events.join(name)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// An action that does as it is told.
struct Told(fn(&Job) -> Result<JobReply, ActionError>);

impl Action for Told {
    const NAME: &'static str = "told";

    async fn run(
        &self,
        _: &impl Ports,
        _: &Invocation,
        job: &Job,
    ) -> Result<JobReply, ActionError> {
        (self.0)(job)
    }
}

fn context() -> Context {
    let soon = Timestamp::now() + SignedDuration::from_secs(60);
    let mut context = Context::default();
    context.invoked_function_arn =
        "arn:aws:lambda:eu-west-1:123456789012:function:penstock-rollback-trigger".to_owned();
    context.deadline = u64::try_from(soon.as_millisecond()).unwrap();
    context
}

/// Handles one event; the answers that CodePipeline got.
async fn answers(event: &Value, act: fn(&Job) -> Result<JobReply, ActionError>) -> Vec<JobReply> {
    let world = World::default();
    world.change().now = Timestamp::now();
    let run = Run::new(&world, invocation(&context(), Timestamp::now()));
    handle_job(&Told(act), &run, event, &context())
        .await
        .unwrap();
    let state = world.look();
    state
        .answers
        .iter()
        .map(|(_, reply)| reply.clone())
        .collect()
}

fn failure(replies: &[JobReply]) -> (FailureKind, &str) {
    match replies {
        [JobReply::Fail { kind, message }] => (*kind, message),
        other => panic!("not one failure: {other:?}"),
    }
}

#[test]
fn every_sample_job_is_read_with_its_section_and_artifacts() {
    for (name, section, continued, outputs) in [
        ("test-gate.json", Some("unit"), false, 1),
        ("canary-shift.json", Some("web"), false, 0),
        ("canary-shift-continued.json", Some("web"), true, 0),
        ("health-check.json", Some("web"), false, 0),
    ] {
        let Decoded::Job(job, token) = decode(&sample(name)) else {
            panic!("{name} was refused");
        };
        assert_eq!(job.parameters.section.as_deref(), section, "{name}");
        assert_eq!(token.is_some(), continued, "{name}");
        assert_eq!(
            (job.inputs.len(), job.outputs.len()),
            (1, outputs),
            "{name}"
        );
        assert_eq!(job.encryption_key.is_some(), outputs == 1, "{name}");
        assert_eq!(job.credentials.secret_access_key, "example-secret");
    }
}

#[test]
fn a_continuation_has_the_story_of_the_job_that_began_it() {
    let story = |name| match decode(&sample(name)) {
        Decoded::Job(job, _) => job.story("canary-shift").unwrap(),
        Decoded::Refused { .. } | Decoded::NotAJob => panic!("{name} was refused"),
    };
    assert_eq!(
        story("canary-shift.json"),
        story("canary-shift-continued.json")
    );
}

#[test]
fn nothing_that_prints_a_job_prints_its_credentials() {
    let Decoded::Job(job, _) = decode(&sample("canary-shift.json")) else {
        panic!("refused");
    };
    let printed = format!("{job:?} {job:#?}");
    for secret in ["example-secret", "example-token", "ASIAEXAMPLE"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[tokio::test]
async fn a_broken_job_is_answered_with_what_is_wrong_and_no_secret() {
    let pointer = "/CodePipeline.job/data/actionConfiguration/configuration/UserParameters";
    for (path, value, part) in [
        (
            pointer,
            json!("{\"sectoin\":\"web\"}"),
            "unknown field `sectoin`",
        ),
        (
            pointer,
            json!("web"),
            "write for example {\"section\":\"web\"",
        ),
        (pointer, json!("[]"), "write for example"),
        (
            "/CodePipeline.job/data/artifactCredentials",
            json!({"secretAccessKey": 7}),
            "artifactCredentials",
        ),
        (
            "/CodePipeline.job/data/artifactCredentials/sessionToken",
            json!(["tops3cret"]),
            "artifactCredentials",
        ),
        (
            "/CodePipeline.job/data/inputArtifacts",
            json!([{"name": "a"}]),
            "location",
        ),
        (
            "/CodePipeline.job/data/continuationToken",
            json!("a b"),
            "'a b' is not a token",
        ),
    ] {
        let mut event = sample("canary-shift.json");
        match event.pointer_mut(path) {
            Some(place) => *place = value,
            None => event["CodePipeline.job"]["data"]["continuationToken"] = value,
        }
        let replies = answers(&event, |_| panic!("it must not run")).await;
        let (kind, message) = failure(&replies);
        assert_eq!(kind, FailureKind::ConfigurationError);
        assert!(message.contains(part), "{path}: {message}");
        assert!(!message.contains("s3cret"), "{message}");
    }
}

#[tokio::test]
async fn an_event_that_is_no_job_is_dropped() {
    for event in [
        json!({}),
        json!([]),
        json!(null),
        json!({"CodePipeline.job": {"id": 3}}),
    ] {
        assert_eq!(answers(&event, |_| panic!("it must not run")).await, []);
    }
}

#[tokio::test]
async fn every_error_becomes_the_answer_that_fits_it() {
    fn port(class: engine::Class) -> ActionError {
        ActionError::Port(PortError::new(class, "do it", "no"))
    }
    use engine::Class;
    let event = sample("canary-shift.json");
    let replies = answers(&event, |_| Err(ActionError::Refused("write x".into()))).await;
    assert_eq!(
        failure(&replies),
        (FailureKind::ConfigurationError, "write x")
    );
    let replies = answers(&event, |_| Err(port(Class::Misconfigured))).await;
    assert_eq!(failure(&replies).0, FailureKind::ConfigurationError);
    let replies = answers(&event, |_| Err(port(Class::Denied))).await;
    assert_eq!(failure(&replies).0, FailureKind::PermissionError);
    let replies = answers(&event, |_| Err(port(Class::Permanent))).await;
    let (kind, message) = failure(&replies);
    assert_eq!(kind, FailureKind::JobFailed);
    assert!(
        message.ends_with("release web-0f0e0d0c-1111-4222-8333-444455556666"),
        "{message}"
    );
    for act in [
        (|_| Err(port(Class::Conflict))) as fn(&Job) -> _,
        |_| Err(port(Class::Retryable)),
        |_| panic!("a bug"),
    ] {
        let replies = answers(&event, act).await;
        let [JobReply::Continue { token, .. }] = replies.as_slice() else {
            panic!("it must be tried again: {replies:?}");
        };
        assert_eq!(
            token.to_string(),
            "web-0f0e0d0c-1111-4222-8333-444455556666~1"
        );
    }
}

#[tokio::test]
async fn nothing_is_tried_again_for_ever() {
    let mut event = sample("canary-shift.json");
    let fault = |_: &Job| Err(try_again("reach it"));
    for _ in 0..TRIES_MAX - 1 {
        let replies = answers(&event, fault).await;
        let [JobReply::Continue { token, .. }] = replies.as_slice() else {
            panic!("given up too early: {replies:?}");
        };
        event["CodePipeline.job"]["data"]["continuationToken"] = json!(token.to_string());
    }
    let replies = answers(&event, fault).await;
    let (kind, message) = failure(&replies);
    assert_eq!(kind, FailureKind::SystemUnavailable);
    assert!(message.contains("may still be active"), "{message}");
}

/// A trigger that counts.
#[derive(Default)]
struct Counts(Cell<usize>);

impl Trigger for Counts {
    const NAME: &'static str = "counts";

    async fn run(
        &self,
        _: &impl Ports,
        _: &Invocation,
        event: &OutsideEvent<'_>,
    ) -> Result<(), PortError> {
        assert!(!event.id.is_empty());
        self.0.set(self.0.get() + 1);
        Ok(())
    }
}

/// How often the trigger is reached by this event.
async fn reached(event: &Value, context: &Context, stand_ins: &str) -> usize {
    let world = World::default();
    let run = Run::new(&world, invocation(context, Timestamp::now()));
    let trigger = Counts::default();
    let stand_ins = StandIns::parse(stand_ins);
    handle_event(&trigger, &run, event, context, &stand_ins)
        .await
        .unwrap();
    trigger.0.get()
}

/// The samples that are events, by name.
fn sample_events() -> Vec<(String, Value)> {
    let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let files = std::fs::read_dir(events).unwrap().map(Result::unwrap);
    // What is announced is what comes out, and has a folder of its own.
    let files = files.filter(|file| file.file_type().unwrap().is_file());
    let names = files.map(|file| file.file_name().into_string().unwrap());
    let samples = names.map(|name| (sample(&name), name));
    samples
        .filter(|(event, _)| event["detail-type"].is_string())
        .map(|(event, name)| (name, event))
        .collect()
}

#[tokio::test]
async fn only_events_of_a_trusted_source_reach_the_trigger() {
    for (source, stand_ins, reaches) in [
        ("aws.cloudwatch", "", 1),
        ("local.cloudwatch", "", 0),
        ("local.cloudwatch", "local.ecs", 0),
        ("local.cloudwatch", "local.ecs, local.cloudwatch", 1),
        ("aws.ecs", "local.ecs, local.cloudwatch", 0),
        ("a.tool", "a.tool", 0),
        ("", "", 0),
    ] {
        let mut event = sample("alarm-metric.json");
        event["source"] = json!(source);
        let count = reached(&event, &context(), stand_ins).await;
        assert_eq!(count, reaches, "'{source}' with '{stand_ins}'");
    }
}

#[tokio::test]
async fn only_events_of_the_functions_own_account_and_region_reach_the_trigger() {
    for (name, event) in sample_events() {
        assert_eq!(reached(&event, &context(), "").await, 1, "{name}");
        for (field, other) in [("account", "210987654321"), ("region", "us-east-1")] {
            let mut event = event.clone();
            event[field] = json!(other);
            assert_eq!(reached(&event, &context(), "").await, 0, "{name}: {other}");
        }
        for arn in ["", "function-arn", "arn:aws:lambda:::function:penstock"] {
            let mut context = context();
            context.invoked_function_arn = arn.to_owned();
            assert_eq!(reached(&event, &context, "").await, 0, "{name} in '{arn}'");
        }
    }
}

#[tokio::test]
async fn what_is_no_event_is_dropped() {
    let sound = sample("alarm-metric.json");
    for (field, value) in [
        ("id", json!(7)),
        ("time", json!("noon")),
        ("time", json!("\u{1b}[2J".repeat(10_000))),
        ("detail-type", Value::Null),
        ("resources", json!("one")),
        ("source", json!(["aws.cloudwatch"])),
    ] {
        let mut event = sound.clone();
        event[field] = value;
        assert_eq!(reached(&event, &context(), "").await, 0, "{field}");
        event.as_object_mut().unwrap().remove(field);
        let may_be_absent = usize::from(matches!(field, "resources" | "time"));
        assert_eq!(reached(&event, &context(), "").await, may_be_absent);
    }
    for event in [json!({"no": "event"}), json!([]), json!(null), json!("x")] {
        assert_eq!(reached(&event, &context(), "").await, 0, "{event}");
    }
}

#[test]
fn every_sample_in_events_is_an_input_of_some_function() {
    let quiet = ["alarm-cleared.json", "sweep.json"];
    let samples = sample_events();
    for (name, event) in &samples {
        let envelope = Envelope::open(event).unwrap();
        let request = release::sources::read(&envelope.event()).unwrap();
        assert_eq!(request.is_some(), !quiet.contains(&name.as_str()), "{name}");
    }
    assert_eq!(samples.len(), 18, "a new sample wants its test");
}

#[test]
fn a_run_without_a_deadline_of_its_own_still_gets_some_time() {
    let now = Timestamp::now();
    let mut context = context();
    let real = invocation(&context, now).deadline;
    assert_eq!(
        real.as_millisecond(),
        i64::try_from(context.deadline).unwrap()
    );
    context.deadline = 600_000;
    assert_eq!(invocation(&context, now).deadline, now + LIFE_BY_HAND);
}

/// A listener that comes so far.
struct Hears(usize);

impl Listener for Hears {
    const NAME: &'static str = "hears";

    async fn run(&self, _: &impl Ports, _: &Invocation, records: &[Value]) -> Heard {
        let stopped = || PortError::new(engine::Class::Retryable, "announce", "throttled");
        Heard {
            done: self.0,
            stopped_by: (self.0 < records.len()).then(stopped),
        }
    }
}

#[tokio::test]
async fn what_was_not_heard_is_handed_over_again_and_nothing_else() {
    let record = sample("announce.json")["Records"][0].clone();
    let numbered = |number: &str| {
        let mut record = record.clone();
        record["dynamodb"]["SequenceNumber"] = json!(number);
        record
    };
    let event = json!({"Records": [numbered("7"), numbered("8"), numbered("9")]});
    let world = World::default();
    let run = Run::new(&world, invocation(&context(), Timestamp::now()));
    let hear =
        async |done, event: &Value| handle_records(&Hears(done), &run, event, &context()).await;
    let failures = |numbers: &[&str]| {
        let failures = numbers.iter().map(|n| json!({"itemIdentifier": n}));
        json!({"batchItemFailures": failures.collect::<Vec<_>>()})
    };
    assert_eq!(hear(3, &event).await.unwrap(), failures(&[]));
    assert_eq!(hear(2, &event).await.unwrap(), failures(&["9"]));
    assert_eq!(hear(1, &event).await.unwrap(), failures(&["8"]));
    hear(0, &event).await.unwrap_err();
    // Without a number Lambda could not be told where to go on.
    let nameless = json!({"Records": [numbered("7"), {}]});
    hear(1, &nameless).await.unwrap_err();
    for nothing in [json!({}), json!([]), json!({"Records": 7}), json!(null)] {
        assert_eq!(hear(0, &nothing).await.unwrap(), failures(&[]));
    }
}
