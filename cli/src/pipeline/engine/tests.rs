//! The engine in one process: git and the shell are real, the account is a fake, functions answer through the API.

use std::path::Path;
use std::process::Command;

use async_trait::async_trait;
use aws::local::bus::{BusEvent, Teller};
use aws::local::pipeline::{CallError, JobCredentials};
use axum::body::{Bytes, to_bytes};
use axum::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::*;
use crate::pipeline::{Scope, api};

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Default)]
struct Fake {
    objects: Mutex<HashMap<String, Vec<u8>>>,
    policies: Mutex<Vec<String>>,
    invoked: Mutex<Option<mpsc::UnboundedSender<Value>>>,
}

#[async_trait]
impl Cloud for Fake {
    async fn invoke(&self, function: &str, event: Vec<u8>) -> Result<(), CallError> {
        if function == "missing" {
            return Err(CallError::NoFunction(function.into()));
        }
        let event = serde_json::from_slice::<Value>(&event).unwrap();
        lock(&self.invoked)
            .as_ref()
            .unwrap()
            .send(event["CodePipeline.job"].clone())
            .unwrap();
        Ok(())
    }

    async fn ensure_bucket(&self, _bucket: &str) -> Result<(), CallError> {
        Ok(())
    }

    async fn put(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        _kms_key: Option<&str>,
    ) -> Result<(), CallError> {
        lock(&self.objects).insert(format!("{bucket}/{key}"), std::fs::read(file)?);
        Ok(())
    }

    async fn get(
        &self,
        bucket: &str,
        key: &str,
        file: &Path,
        _bytes_max: u64,
    ) -> Result<(), CallError> {
        let object = lock(&self.objects)[&format!("{bucket}/{key}")].clone();
        Ok(std::fs::write(file, object)?)
    }

    async fn job_credentials(
        &self,
        _name: &str,
        policy: &str,
    ) -> Result<JobCredentials, CallError> {
        lock(&self.policies).push(policy.into());
        Ok(JobCredentials {
            access_key_id: "ASIA".into(),
            secret_access_key: "secret".into(),
            session_token: "token".into(),
            expires_ms: 1,
        })
    }
}

/// A player without a port.
struct Stand {
    engine: Engine,
    cloud: Arc<Fake>,
    jobs: mpsc::UnboundedReceiver<Value>,
    repository: tempfile::TempDir,
}

impl Stand {
    fn new(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings {
            continuation_delay: Duration::from_millis(10),
            ..Settings::default()
        };
        settings
            .build_environment
            .insert("PATH".into(), std::env::var("PATH").unwrap());
        change(&mut settings);
        let (sender, jobs) = mpsc::unbounded_channel();
        let cloud = Arc::new(Fake {
            invoked: Mutex::new(Some(sender)),
            ..Fake::default()
        });
        let repository = tempfile::tempdir().unwrap();
        std::fs::create_dir(repository.path().join("ci")).unwrap();
        std::fs::write(repository.path().join("ci/buildspec.yml"), BUILDSPEC).unwrap();
        for arguments in [
            "init --quiet --initial-branch trunk",
            "add .",
            "-c user.name=a -c user.email=a@b commit --quiet -m first",
        ] {
            let git = Command::new("git")
                .arg("-C")
                .arg(repository.path())
                .args(arguments.split(' '))
                .status();
            assert!(git.unwrap().success());
        }
        Self {
            engine: Engine::new(settings, cloud.clone()),
            cloud,
            jobs,
            repository,
        }
    }

    /// Starts a pipeline whose source is the stand's repository.
    fn start(&self, pipeline: Pipeline, approve: bool) -> Arc<Execution> {
        let name = pipeline.declaration.name.clone();
        let repository = Repository {
            path: self.repository.path().into(),
            revision: None,
        };
        self.engine
            .register(pipeline, Some([("App".to_owned(), repository)].into()))
            .unwrap();
        self.engine
            .start(
                &name,
                Start {
                    approve,
                    ..Start::default()
                },
            )
            .unwrap()
    }

    async fn job(&mut self) -> Value {
        tokio::time::timeout(PATIENCE, self.jobs.recv())
            .await
            .expect("no function was invoked")
            .unwrap()
    }

    async fn call(&self, operation: &str, body: Value) -> Result<Value, String> {
        let mut headers = HeaderMap::new();
        let target = format!("{}{operation}", api::TARGET);
        headers.insert("x-amz-target", HeaderValue::from_str(&target).unwrap());
        let response = api::answer(&self.engine, &headers, &Bytes::from(body.to_string())).unwrap();
        let good = response.status().is_success();
        let body: Value =
            serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap())
                .unwrap();
        if good {
            Ok(body)
        } else {
            Err(body["__type"].as_str().unwrap().to_owned())
        }
    }

    async fn succeed(&self, job: &Value) -> Result<Value, String> {
        self.call("PutJobSuccessResult", json!({"jobId": job["id"]}))
            .await
    }
}

async fn end(execution: &Execution) -> (Status, String) {
    let (status, message) = tokio::time::timeout(PATIENCE, execution.end())
        .await
        .expect("it never ended");
    (status, message.unwrap_or_default())
}

const BUILDSPEC: &str = "
version: 0.2
env: {exported-variables: [TAG]}
phases:
  build: {commands: ['TAG=v-$CODEBUILD_BUILD_NUMBER-$MODE', 'echo built > out.txt']}
artifacts: {files: [out.txt]}
";

fn sample() -> Pipeline {
    Pipeline::parse(include_str!("../testdata/release.yaml"), &Scope::default()).unwrap()
}

/// A pipeline with a source, and a stage with these actions.
fn with(mode: &str, actions: Value) -> Pipeline {
    let kind = |category: &str, provider: &str| json!({"category": category, "owner": "AWS", "provider": provider, "version": "1"});
    let source = json!({"name": "App", "actionTypeId": kind("Source", "S3"), "outputArtifacts": [{"name": "Src"}]});
    Pipeline::from_api(json!({
        "name": "p", "roleArn": "r", "pipelineType": "V2", "executionMode": mode, "artifactStore": {"location": "b"},
        "stages": [{"name": "Source", "actions": [source]}, {"name": "Work", "actions": actions}],
    }))
    .unwrap()
}

fn lambda(name: &str, run_order: u16) -> Value {
    json!({"name": name, "runOrder": run_order, "configuration": {"FunctionName": name},
           "actionTypeId": {"category": "Invoke", "owner": "AWS", "provider": "Lambda", "version": "1"}})
}

#[tokio::test]
async fn a_continuation_is_a_new_job_and_variables_reach_the_function() {
    let mut stand = Stand::new(|_| {});
    let execution = stand.start(sample(), true);
    let first = stand.job().await;
    let parameters = first["data"]["actionConfiguration"]["configuration"]["UserParameters"]
        .as_str()
        .unwrap();
    let parameters: Value = serde_json::from_str(parameters).unwrap();
    let commit = execution.record(|record| record.revisions[0].id.clone());
    assert_eq!(
        parameters,
        json!({"exec": execution.id.to_string(), "pct": "10", "commit": commit})
    );
    assert_eq!(first["data"].get("continuationToken"), None);

    let goes_on = json!({"jobId": first["id"], "continuationToken": "t1",
                         "executionDetails": {"summary": "10 %", "percentComplete": 10}});
    stand
        .call("PutJobSuccessResult", goes_on.clone())
        .await
        .unwrap();
    assert_eq!(
        stand
            .call("PutJobSuccessResult", goes_on)
            .await
            .unwrap_err(),
        "InvalidJobStateException"
    );
    let second = stand.job().await;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(second["data"]["continuationToken"], "t1");
    let state = stand
        .call("GetPipelineState", json!({"name": "release"}))
        .await
        .unwrap();
    let shift = &state["stageStates"][2]["actionStates"][1]["latestExecution"];
    assert_eq!(
        (&shift["summary"], &shift["percentComplete"]),
        (&json!("10 %"), &json!(10))
    );

    stand.succeed(&second).await.unwrap();
    assert_eq!(end(&execution).await, (Status::Succeeded, String::new()));
    let exported = execution.record(|record| record.variables["Build"]["TAG"].clone());
    assert_eq!(exported, "v-1-fast");
}

#[tokio::test]
async fn a_job_may_touch_its_own_artifacts_only() {
    let mut stand = Stand::new(|_| {});
    let execution = stand.start(sample(), true);
    let job = stand.job().await;
    let at = &job["data"]["inputArtifacts"][0]["location"]["s3Location"];
    let object = format!(
        "{}/{}",
        at["bucketName"].as_str().unwrap(),
        at["objectKey"].as_str().unwrap()
    );
    assert!(lock(&stand.cloud.objects).contains_key(&object));
    let policy: Value = serde_json::from_str(&lock(&stand.cloud.policies)[0]).unwrap();
    let allowed = json!([{"Effect": "Allow", "Action": ["s3:GetObject", "s3:GetObjectVersion"],
                          "Resource": [format!("arn:aws:s3:::{object}")]}]);
    assert_eq!(policy["Statement"], allowed);
    stand.succeed(&job).await.unwrap();
    end(&execution).await;
}

#[tokio::test]
async fn actions_of_one_run_order_run_together_and_a_failure_lets_the_others_finish() {
    let mut stand = Stand::new(|_| {});
    let execution = stand.start(
        with(
            "QUEUED",
            json!([lambda("a", 1), lambda("b", 1), lambda("c", 2)]),
        ),
        false,
    );
    let (first, second) = (stand.job().await, stand.job().await);
    let failed = json!({"jobId": first["id"], "failureDetails": {"type": "JobFailed", "message": "5xx 3.1 %"}});
    stand.call("PutJobFailureResult", failed).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!execution.ended(), "the other action was not waited for");
    stand.succeed(&second).await.unwrap();
    let (status, message) = end(&execution).await;
    assert_eq!(status, Status::Failed);
    assert!(message.ends_with(": 5xx 3.1 %"), "{message}");
    assert!(
        stand.jobs.try_recv().is_err(),
        "an action after the failure began"
    );
}

#[tokio::test]
async fn a_failing_build_fails_the_execution_and_tells_its_last_lines() {
    let stand = Stand::new(|_| {});
    let mut pipeline = sample();
    let spec = "version: 0.2\nphases: {build: {commands: ['echo expected 4, got 5', 'false']}}\n";
    let project = pipeline.projects.get_mut("compile").unwrap();
    project.buildspec = crate::pipeline::declaration::BuildspecSource::Inline(spec.into());
    let execution = stand.start(pipeline, true);
    let (status, message) = end(&execution).await;
    assert_eq!(status, Status::Failed);
    assert!(
        message.starts_with("Build/Compile: phase build: error while executing command: false"),
        "{message}"
    );
    assert!(message.ends_with("\nexpected 4, got 5"), "{message}");
}

#[tokio::test]
async fn an_event_may_come_twice_and_is_the_same_job() {
    let mut stand = Stand::new(|settings| settings.deliver_twice = true);
    let execution = stand.start(with("QUEUED", json!([lambda("a", 1)])), false);
    let (first, second) = (stand.job().await, stand.job().await);
    assert_eq!(first, second);
    stand.succeed(&first).await.unwrap();
    assert_eq!(
        stand.succeed(&second).await.unwrap_err(),
        "InvalidJobStateException"
    );
    assert_eq!(end(&execution).await.0, Status::Succeeded);
}

#[tokio::test]
async fn a_silent_function_fails_its_action_and_its_late_answer_is_refused() {
    let mut stand = Stand::new(|settings| settings.answer_time_max = Duration::from_millis(50));
    let execution = stand.start(with("QUEUED", json!([lambda("a", 1)])), false);
    let job = stand.job().await;
    let (status, message) = end(&execution).await;
    assert_eq!(status, Status::Failed);
    assert!(
        message.contains("function a gave no answer within 0 seconds"),
        "{message}"
    );
    assert_eq!(
        stand.succeed(&job).await.unwrap_err(),
        "InvalidJobStateException"
    );
}

#[tokio::test]
async fn a_function_that_does_not_exist_says_so() {
    let stand = Stand::new(|_| {});
    let execution = stand.start(with("QUEUED", json!([lambda("missing", 1)])), false);
    let (_, message) = end(&execution).await;
    assert!(
        message.contains("function missing does not exist"),
        "{message}"
    );
}

#[tokio::test]
async fn stopping_waits_for_what_runs_and_abandoning_does_not() {
    let mut stand = Stand::new(|_| {});
    let actions = json!([lambda("a", 1), lambda("b", 2)]);
    let waits = stand.start(with("PARALLEL", actions.clone()), false);
    let job = stand.job().await;
    let stop = |execution: &Execution, abandon| json!({"pipelineName": "p", "pipelineExecutionId": execution.id.to_string(), "abandon": abandon});
    stand
        .call("StopPipelineExecution", stop(&waits, false))
        .await
        .unwrap();
    assert_eq!(waits.status(), Status::Stopping);
    let again = stand
        .call("StopPipelineExecution", stop(&waits, false))
        .await;
    assert_eq!(again.unwrap_err(), "PipelineExecutionNotStoppableException");
    stand.succeed(&job).await.unwrap();
    assert_eq!(end(&waits).await.0, Status::Stopped);

    let abandoned = stand.start(with("PARALLEL", actions), false);
    let job = stand.job().await;
    stand
        .call("StopPipelineExecution", stop(&abandoned, true))
        .await
        .unwrap();
    assert_eq!(end(&abandoned).await.0, Status::Stopped);
    assert_eq!(
        stand.succeed(&job).await.unwrap_err(),
        "InvalidJobStateException"
    );
    let shown = stand
        .call(
            "ListActionExecutions",
            json!({"pipelineName": "p", "maxResults": 1}),
        )
        .await
        .unwrap();
    assert_eq!(shown["actionExecutionDetails"][0]["status"], "Abandoned");
}

#[tokio::test]
async fn a_stage_holds_one_execution_and_a_newer_one_replaces_the_one_that_waits() {
    let mut stand = Stand::new(|_| {});
    let pipeline = with("SUPERSEDED", json!([lambda("a", 1)]));
    let first = stand.start(pipeline.clone(), false);
    let job = stand.job().await;
    let second = stand.start(pipeline.clone(), false);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        stand.jobs.try_recv().is_err(),
        "two executions in one stage"
    );
    let third = stand.start(pipeline, false);
    assert_eq!(end(&second).await.0, Status::Superseded);
    stand.succeed(&job).await.unwrap();
    assert_eq!(end(&first).await.0, Status::Succeeded);
    let job = stand.job().await;
    stand.succeed(&job).await.unwrap();
    assert_eq!(end(&third).await.0, Status::Succeeded);
}

#[tokio::test]
async fn an_approval_waits_for_the_answer_with_its_token() {
    let stand = Stand::new(|_| {});
    let ask = json!([{"name": "Ask", "configuration": {"CustomData": "ship it?"},
                      "actionTypeId": {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}}]);
    let execution = stand.start(with("QUEUED", ask), false);
    let token = loop {
        let state = stand
            .call("GetPipelineState", json!({"name": "p"}))
            .await
            .unwrap();
        if let Some(token) =
            state["stageStates"][1]["actionStates"][0]["latestExecution"]["token"].as_str()
        {
            break token.to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let answer = |token: &str| {
        json!({"pipelineName": "p", "stageName": "Work", "actionName": "Ask", "token": token,
               "result": {"status": "Rejected", "summary": "on a Friday?"}})
    };
    let wrong = stand.call("PutApprovalResult", answer("other")).await;
    assert_eq!(wrong.unwrap_err(), "InvalidApprovalTokenException");
    stand
        .call("PutApprovalResult", answer(&token))
        .await
        .unwrap();
    let again = stand.call("PutApprovalResult", answer(&token)).await;
    assert_eq!(again.unwrap_err(), "ApprovalAlreadyCompletedException");
    assert_eq!(
        end(&execution).await,
        (Status::Failed, "Work/Ask: rejected: on a Friday?".into())
    );
}

#[tokio::test]
async fn a_variable_that_no_action_gave_fails_the_action_and_names_those_that_exist() {
    let stand = Stand::new(|_| {});
    let mut action = lambda("a", 1);
    action["configuration"]["UserParameters"] = "#{codepipeline.Id}".into();
    let execution = stand.start(with("QUEUED", json!([action])), false);
    let (_, message) = end(&execution).await;
    assert!(
        message.contains("#{codepipeline.Id} has no value; codepipeline has PipelineExecutionId"),
        "{message}"
    );
}

#[tokio::test]
async fn an_answer_that_aws_would_refuse_is_refused() {
    let mut stand = Stand::new(|_| {});
    let execution = stand.start(with("QUEUED", json!([lambda("a", 1)])), false);
    let job = stand.job().await;
    let long = "x".repeat(2049);
    let cases = [
        (
            "PutJobSuccessResult",
            json!({"executionDetails": {"summary": long}}),
            "ValidationException",
        ),
        (
            "PutJobSuccessResult",
            json!({"executionDetails": {"summary": ""}}),
            "ValidationException",
        ),
        (
            "PutJobSuccessResult",
            json!({"executionDetails": {"percentComplete": 101}}),
            "ValidationException",
        ),
        (
            "PutJobSuccessResult",
            json!({"executionDetails": {"percentComplete": "1"}}),
            "SerializationException",
        ),
        (
            "PutJobSuccessResult",
            json!({"continuationToken": long}),
            "ValidationException",
        ),
        (
            "PutJobSuccessResult",
            json!({"continuationToken": "t", "outputVariables": {"a": "b"}}),
            "ValidationException",
        ),
        (
            "PutJobSuccessResult",
            json!({"outputVariables": {"a b": "c"}}),
            "ValidationException",
        ),
        (
            "PutJobSuccessResult",
            json!({"outputVariables": {"a": "x".repeat(122_880)}}),
            "OutputVariablesSizeExceededException",
        ),
        (
            "PutJobSuccessResult",
            json!({"jobId": "nonsense"}),
            "ValidationException",
        ),
        (
            "PutJobSuccessResult",
            json!({"jobId": Uuid::new_v4().to_string()}),
            "JobNotFoundException",
        ),
        (
            "PutJobFailureResult",
            json!({"failureDetails": {"type": "Oops", "message": "m"}}),
            "ValidationException",
        ),
        (
            "PutJobFailureResult",
            json!({"failureDetails": {"type": "JobFailed", "message": ""}}),
            "ValidationException",
        ),
        ("PutJobFailureResult", json!({}), "SerializationException"),
        (
            "RetryStageExecution",
            json!({}),
            "UnknownOperationException",
        ),
    ];
    for (operation, mut body, refused) in cases {
        if body.get("jobId").is_none() {
            body["jobId"] = job["id"].clone();
        }
        assert_eq!(
            stand.call(operation, body.clone()).await.unwrap_err(),
            refused,
            "{operation} {body}"
        );
    }
    stand.succeed(&job).await.unwrap();
    assert_eq!(
        end(&execution).await.0,
        Status::Succeeded,
        "a refused answer closed the job"
    );
}

#[tokio::test]
async fn a_start_gives_the_variables_that_the_pipeline_declares() {
    let stand = Stand::new(|_| {});
    stand.engine.register(sample(), None).unwrap();
    let start = |variables: Value| json!({"name": "release", "variables": variables});
    let unknown = stand
        .call(
            "StartPipelineExecution",
            start(json!([{"name": "Percnt", "value": "5"}])),
        )
        .await;
    assert_eq!(unknown.unwrap_err(), "ValidationException");
    let mut body = start(json!([{"name": "Percent", "value": "5"}]));
    body["clientRequestToken"] = "once".into();
    let started = stand
        .call("StartPipelineExecution", body.clone())
        .await
        .unwrap();
    assert_eq!(
        stand.call("StartPipelineExecution", body).await.unwrap(),
        started,
        "one token, two executions"
    );
    let id = &started["pipelineExecutionId"];
    let execution = stand.engine.execution(id.as_str().unwrap()).unwrap();
    let (_, message) = end(&execution).await;
    assert!(
        message.contains("pass --source App=PATH[@REV]"),
        "{message}"
    );
    let shown = json!({"pipelineName": "release", "pipelineExecutionId": id});
    let shown = stand.call("GetPipelineExecution", shown).await.unwrap();
    assert_eq!(
        shown["pipelineExecution"]["variables"],
        json!([{"name": "Percent", "resolvedValue": "5"}])
    );
}

/// What the event bus is told until this execution's end: what each event is about, and its state.
async fn told(news: &mut mpsc::Receiver<BusEvent>) -> Vec<String> {
    let mut told = Vec::new();
    loop {
        let event = tokio::time::timeout(PATIENCE, news.recv()).await;
        let BusEvent {
            source,
            detail_type,
            detail,
            resources,
            at: _,
        } = event.expect("the bus is told of the end").unwrap();
        assert_eq!(source, "local.codepipeline");
        assert_eq!(resources, ["arn:aws:codepipeline:us-east-1:000000000000:p"]);
        assert_eq!(detail["pipeline"], "p");
        let level = detail_type.strip_prefix("CodePipeline ").unwrap();
        let level = level.strip_suffix(" Execution State Change").unwrap();
        let state = detail["state"].as_str().unwrap();
        told.push(match level {
            "Pipeline" => state.to_owned(),
            "Stage" => format!("{} {state}", detail["stage"].as_str().unwrap()),
            _ => {
                assert_eq!(detail["type"]["owner"], "AWS");
                format!("{} {state}", detail["action"].as_str().unwrap())
            }
        });
        if level == "Pipeline" && !["STARTED", "STOPPING"].contains(&state) {
            return told;
        }
    }
}

#[tokio::test]
async fn the_event_bus_is_told_of_the_pipeline_its_stages_and_its_actions() {
    let (teller, mut news) = Teller::new();
    let mut stand = Stand::new(|settings| settings.news = teller);
    let actions = json!([lambda("a", 1), lambda("b", 2)]);
    let execution = stand.start(with("PARALLEL", actions), false);
    let job = stand.job().await;
    stand.succeed(&job).await.unwrap();
    stand.job().await;
    stand.engine.stop(&execution.id.to_string(), true).unwrap();
    let told = told(&mut news).await;
    let end = &told[told.len() - 7..];
    let expected = [
        "a STARTED",
        "a SUCCEEDED",
        "b STARTED",
        "STOPPING",
        "b ABANDONED",
    ];
    assert_eq!(end[..5], expected, "{told:?}");
    assert!(end[5].ends_with(" STOPPED"), "{told:?}");
    assert_eq!(told.last().unwrap(), "STOPPED");
    assert_eq!(told[0], "STARTED");
}

/// Waits until it stands so in the stage.
async fn until_in(execution: &Execution, stage: &str, wanted: Option<Status>) {
    let wait = async {
        while execution.status_in(stage) != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("never so");
}

async fn fail(stand: &Stand, job: &Value) {
    let failed =
        json!({"jobId": job["id"], "failureDetails": {"type": "JobFailed", "message": "no"}});
    stand.call("PutJobFailureResult", failed).await.unwrap();
}

fn transition(reason: Option<&str>) -> Value {
    let mut call = json!({"pipelineName": "p", "stageName": "Work", "transitionType": "Inbound"});
    if let Some(reason) = reason {
        call["reason"] = reason.into();
    }
    call
}

#[tokio::test]
async fn nobody_enters_a_stage_whose_transition_is_disabled_until_it_is_enabled_again() {
    let mut stand = Stand::new(|_| {});
    let first = stand.start(with("QUEUED", json!([lambda("a", 1)])), false);
    let job = stand.job().await;
    // This one waits at the stage that the first is in.
    let second = stand.engine.start("p", Start::default()).unwrap();
    until_in(&second, "Source", Some(Status::Succeeded)).await;
    let disable = transition(Some("went back (5xx)"));
    stand.call("DisableStageTransition", disable).await.unwrap();
    fail(&stand, &job).await;
    assert_eq!(end(&first).await.0, Status::Failed);
    let third = stand.engine.start("p", Start::default()).unwrap();
    until_in(&third, "Source", Some(Status::Succeeded)).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        (second.status_in("Work"), third.status_in("Work")),
        (None, None)
    );
    let state = stand.call("GetPipelineState", json!({"name": "p"})).await;
    let inbound = state.unwrap()["stageStates"][1]["inboundTransitionState"].clone();
    assert_eq!(
        (&inbound["enabled"], &inbound["disabledReason"]),
        (&json!(false), &json!("went back (5xx)"))
    );
    let enable = transition(None);
    stand.call("EnableStageTransition", enable).await.unwrap();
    // Whichever of the two is the first to notice.
    for _ in 0..2 {
        let job = stand.job().await;
        stand.succeed(&job).await.unwrap();
    }
    for execution in [&second, &third] {
        assert_eq!(end(execution).await.0, Status::Succeeded);
    }
}

#[tokio::test]
async fn a_transition_is_disabled_only_with_a_reason_in_codepipelines_characters() {
    let mut stand = Stand::new(|_| {});
    let execution = stand.start(with("QUEUED", json!([lambda("a", 1)])), false);
    let long = "x".repeat(301);
    for reason in [None, Some("a: b"), Some("a_b"), Some("50 %"), Some(&*long)] {
        let refused = stand
            .call("DisableStageTransition", transition(reason))
            .await;
        assert_eq!(refused.unwrap_err(), "ValidationException", "{reason:?}");
    }
    let job = stand.job().await;
    stand.succeed(&job).await.unwrap();
    end(&execution).await;
}

#[tokio::test]
async fn a_rollback_runs_one_stage_again_with_what_the_target_had() {
    let mut stand = Stand::new(|_| {});
    let good = stand.start(with("QUEUED", json!([lambda("a", 1)])), false);
    let job = stand.job().await;
    stand.succeed(&job).await.unwrap();
    end(&good).await;
    let bad = stand.engine.start("p", Start::default()).unwrap();
    let job = stand.job().await;
    let roll_back = json!({"pipelineName": "p", "stageName": "Work",
                           "targetPipelineExecutionId": good.id.to_string()});
    let early = stand.call("RollbackStage", roll_back.clone()).await;
    assert_eq!(early.unwrap_err(), "UnableToRollbackStageException");
    fail(&stand, &job).await;
    end(&bad).await;

    let filter =
        json!({"pipelineName": "p", "filter": {"succeededInStage": {"stageName": "Work"}}});
    let listed = stand
        .call("ListPipelineExecutions", filter.clone())
        .await
        .unwrap();
    let listed = &listed["pipelineExecutionSummaries"];
    assert_eq!(listed[0]["pipelineExecutionId"], good.id.to_string());
    assert_eq!(listed.as_array().unwrap().len(), 1);

    let answer = stand.call("RollbackStage", roll_back).await.unwrap();
    let id = answer["pipelineExecutionId"].as_str().unwrap();
    let rollback = stand.engine.execution(id).unwrap();
    let job = stand.job().await;
    assert_eq!(rollback.status_in("Source"), None, "it begins in its stage");
    let state = stand
        .call("GetPipelineState", json!({"name": "p"}))
        .await
        .unwrap();
    let latest = &state["stageStates"][1]["latestExecution"];
    assert_eq!(
        (&latest["type"], &latest["pipelineExecutionId"]),
        (&json!("ROLLBACK"), &json!(id))
    );
    stand.succeed(&job).await.unwrap();
    assert_eq!(end(&rollback).await.0, Status::Succeeded);
    let revisions = |execution: &Execution| execution.record(|record| record.revisions.clone());
    assert_eq!(revisions(&rollback), revisions(&good));
    let newest = stand.call("ListPipelineExecutions", filter).await.unwrap();
    let newest = &newest["pipelineExecutionSummaries"][0];
    assert_eq!(newest["executionType"], "ROLLBACK");
    assert_eq!(
        newest["rollbackMetadata"]["rollbackTargetPipelineExecutionId"],
        good.id.to_string()
    );
    let target = json!({"pipelineName": "p", "stageName": "Work", "targetPipelineExecutionId": id});
    let refused = stand.call("RollbackStage", target).await;
    assert_eq!(refused.unwrap_err(), "UnableToRollbackStageException");
}
