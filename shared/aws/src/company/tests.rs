//! What goes over the wire: a small server that keeps deployments and a pipeline the way the service
//! models of CodeDeploy (2014-10-06), ECS (2014-11-13) and CodePipeline (2015-07-09) say.

use std::sync::{Arc, Mutex};

use engine::{Class, Company, PortError};
use release::config::{Alongside, DeploymentGroupArn, ServiceArn, StageArn};
use serde_json::{Value, json};

use crate::Aws;
use crate::answering::{self, Call};

const SERVICE: &str = "arn:aws:ecs:eu-west-1:123456789012:service/prod/mailer";
const DEPLOYMENT: &str = "arn:aws:ecs:eu-west-1:123456789012:service-deployment/prod/mailer/1";

type Seen = Arc<Mutex<Vec<(String, Value)>>>;

/// Ports whose calls are answered by `answer` and written down.
fn serve(mut answer: impl FnMut(&str, &Value) -> (u16, Value) + Send + 'static) -> (Aws, Seen) {
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    let aws = answering::serve(
        move |Call {
                  operation, body, ..
              }| {
            let operation = operation.expect("it speaks JSON");
            kept.lock().unwrap().push((operation.clone(), body.clone()));
            answer(&operation, &body)
        },
    );
    (aws, seen)
}

/// The calls of this operation.
fn calls(seen: &Seen, operation: &str) -> Vec<Value> {
    let seen = seen.lock().unwrap();
    let of_it = seen.iter().filter(|(name, _)| name == operation);
    of_it.map(|(_, body)| body.clone()).collect()
}

fn refusal(kind: &str) -> (u16, Value) {
    (400, json!({"__type": kind, "message": "so says AWS"}))
}

fn on_one_thread<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().unwrap().block_on(work)
}

fn workers() -> Alongside {
    let arn = "arn:aws:codedeploy:eu-west-1:123456789012:deploymentgroup:shop/workers";
    Alongside::Codedeploy(DeploymentGroupArn::from(arn.to_owned()))
}

fn mailer() -> Alongside {
    Alongside::EcsService(ServiceArn::from(SERVICE.to_owned()))
}

fn stage() -> StageArn {
    StageArn::from("arn:aws:codepipeline:eu-west-1:123456789012:shop/Deploy".to_owned())
}

/// Two deployments that somebody made and one that rolls back; stopping one is answered so.
fn code_deploy(stopped: impl Fn() -> (u16, Value) + Send + 'static) -> (Aws, Seen) {
    serve(move |operation, body| match operation {
        "ListDeployments" => (200, json!({"deployments": ["d-3", "d-2", "d-1"]})),
        "BatchGetDeployments" => {
            let creator = |id: &str| match id {
                "d-3" => "codeDeployRollback",
                _ => "user",
            };
            let ids = body["deploymentIds"].as_array().unwrap().iter();
            let infos = ids.map(|id| {
                let id = id.as_str().unwrap();
                json!({"deploymentId": id, "creator": creator(id), "status": "InProgress"})
            });
            (200, json!({"deploymentsInfo": infos.collect::<Vec<_>>()}))
        }
        "StopDeployment" => stopped(),
        other => panic!("{other}"),
    })
}

#[test]
fn what_codedeploy_has_under_way_is_stopped_with_its_rollback_but_no_rollback_is() {
    let (aws, seen) = code_deploy(|| (200, json!({"status": "Pending", "statusMessage": ""})));
    on_one_thread(aws.stop(&workers())).unwrap();
    let listed = &calls(&seen, "ListDeployments")[0];
    assert_eq!(
        *listed,
        json!({
            "applicationName": "shop",
            "deploymentGroupName": "workers",
            "includeOnlyStatuses": ["Created", "Queued", "InProgress", "Baking", "Ready"],
        })
    );
    let mut stopped = calls(&seen, "StopDeployment");
    stopped.sort_by_key(|call| call["deploymentId"].to_string());
    let expected =
        ["d-1", "d-2"].map(|id| json!({"deploymentId": id, "autoRollbackEnabled": true}));
    assert_eq!(stopped, expected);
}

#[test]
fn a_deployment_that_was_over_before_it_could_be_stopped_is_no_error() {
    for over in [
        "DeploymentAlreadyCompletedException",
        "DeploymentDoesNotExistException",
    ] {
        let (aws, _) = code_deploy(move || refusal(over));
        on_one_thread(aws.stop(&workers())).unwrap();
    }
}

#[test]
fn nothing_under_way_is_nothing_to_stop() {
    let (aws, seen) = serve(|_, _| (200, json!({"deployments": [], "serviceDeployments": []})));
    on_one_thread(aws.stop(&workers())).unwrap();
    on_one_thread(aws.stop(&mailer())).unwrap();
    assert_eq!(seen.lock().unwrap().len(), 2, "it only looks");
}

#[test]
fn more_than_a_page_of_deployments_is_left_to_the_next_run() {
    let (aws, _) = serve(|operation, _| match operation {
        "ListDeployments" => (200, json!({"deployments": ["d-1"], "nextToken": "more"})),
        "BatchGetDeployments" => (
            200,
            json!({"deploymentsInfo": [{"deploymentId": "d-1", "creator": "user"}]}),
        ),
        "StopDeployment" => (200, json!({"status": "Succeeded"})),
        other => panic!("{other}"),
    });
    let error = on_one_thread(aws.stop(&workers())).unwrap_err();
    assert_eq!(error.class, Class::Retryable, "{error}");
}

#[test]
fn what_is_not_there_is_the_configurations_mistake() {
    for (alongside, kind) in [
        (workers(), "DeploymentGroupDoesNotExistException"),
        (workers(), "ApplicationDoesNotExistException"),
        (mailer(), "ServiceNotFoundException"),
        (mailer(), "ClusterNotFoundException"),
    ] {
        let (aws, _) = serve(move |_, _| refusal(kind));
        for error in [
            on_one_thread(aws.find(&alongside)).unwrap_err(),
            on_one_thread(aws.stop(&alongside)).unwrap_err(),
        ] {
            assert_eq!(error.class, Class::Misconfigured, "{kind}: {error}");
            assert!(error.to_string().contains("mailer") || error.to_string().contains("workers"));
        }
    }
}

/// One deployment of a service that goes forward until it is stopped, which is answered so; then it is
/// listed no more, if it was stopped.
fn ecs(stopped: (u16, Value), is_stopped: bool) -> (Aws, Seen) {
    let mut goes_forward = true;
    serve(move |operation, _| match operation {
        "ListServiceDeployments" => {
            let all = goes_forward.then(|| json!({"serviceDeploymentArn": DEPLOYMENT}));
            (
                200,
                json!({"serviceDeployments": all.into_iter().collect::<Vec<_>>()}),
            )
        }
        "StopServiceDeployment" => {
            goes_forward = !is_stopped;
            stopped.clone()
        }
        other => panic!("{other}"),
    })
}

#[test]
fn what_ecs_deploys_is_stopped_with_its_rollback() {
    let (aws, seen) = ecs((200, json!({"serviceDeploymentArn": DEPLOYMENT})), true);
    on_one_thread(aws.stop(&mailer())).unwrap();
    let listed = json!({
        "cluster": "prod", "service": SERVICE, "status": ["PENDING", "IN_PROGRESS"],
    });
    assert_eq!(calls(&seen, "ListServiceDeployments"), [listed]);
    let stopped = json!({"serviceDeploymentArn": DEPLOYMENT, "stopType": "ROLLBACK"});
    assert_eq!(calls(&seen, "StopServiceDeployment"), [stopped]);
}

#[test]
fn a_service_deployment_that_somebody_else_stopped_is_no_error_and_one_that_goes_on_is_tried_again()
{
    for kind in ["ConflictException", "ServiceDeploymentNotFoundException"] {
        let (aws, _) = ecs(refusal(kind), true);
        on_one_thread(aws.stop(&mailer())).unwrap();
    }
    let (aws, _) = ecs(refusal("ConflictException"), false);
    let error = on_one_thread(aws.stop(&mailer())).unwrap_err();
    assert_eq!(error.class, Class::Retryable, "{error}");
}

// ---------------------------------------------------------------- the stage

/// A pipeline whose stage was entered last by this execution, in this status and of this type.
fn state(execution: &str, status: &str, kind: &str) -> Value {
    json!({"pipelineName": "shop", "stageStates": [
        {"stageName": "Source", "latestExecution": {"pipelineExecutionId": "none", "status": "Succeeded"}},
        {"stageName": "Deploy", "latestExecution": {
            "pipelineExecutionId": execution, "status": status, "type": kind,
        }},
    ]})
}

fn pipeline(states: Vec<Value>, newest: Value, rolled_back: (u16, Value)) -> (Aws, Seen) {
    let (mut states, mut now) = (states.into_iter(), json!({}));
    serve(move |operation, _| match operation {
        "GetPipelineState" => {
            if let Some(next) = states.next() {
                now = next;
            }
            (200, now.clone())
        }
        "ListPipelineExecutions" => (200, json!({"pipelineExecutionSummaries": newest})),
        "RollbackStage" => rolled_back.clone(),
        "DisableStageTransition" => (200, json!({})),
        other => panic!("{other}"),
    })
}

fn roll_back(aws: &Aws) -> Result<(), PortError> {
    on_one_thread(aws.roll_back_stage(&stage(), "ours"))
}

#[test]
fn a_stage_is_closed_by_its_inbound_transition_with_the_reason() {
    let (aws, seen) = pipeline(vec![], json!([]), (200, json!({})));
    on_one_thread(aws.close_stage(&stage(), "Penstock- too slow")).unwrap();
    let expected = json!({
        "pipelineName": "shop",
        "stageName": "Deploy",
        "transitionType": "Inbound",
        "reason": "Penstock- too slow",
    });
    assert_eq!(calls(&seen, "DisableStageTransition"), [expected]);
}

#[test]
fn an_execution_is_in_its_stage_until_it_has_ended_there_or_another_has_entered() {
    for (execution, status, expected) in [
        ("ours", "InProgress", true),
        ("ours", "Stopping", true),
        ("ours", "a status of tomorrow", true),
        ("ours", "Failed", false),
        ("ours", "Stopped", false),
        ("ours", "Succeeded", false),
        ("theirs", "InProgress", false),
    ] {
        let answer = state(execution, status, "STANDARD");
        let (aws, _) = pipeline(vec![answer], json!([]), (200, json!({})));
        let is_in_it = on_one_thread(aws.in_stage(&stage(), "ours")).unwrap();
        assert_eq!(is_in_it, expected, "{execution} {status}");
    }
}

#[test]
fn a_stage_is_rolled_back_to_what_succeeded_in_it_last() {
    let rolls_back = json!({
        "pipelineExecutionId": "rollback",
        "executionType": "ROLLBACK",
        "rollbackMetadata": {"rollbackTargetPipelineExecutionId": "good"},
    });
    for newest in [json!({"pipelineExecutionId": "good"}), rolls_back] {
        let failed = state("ours", "Failed", "STANDARD");
        let done = (200, json!({"pipelineExecutionId": "new"}));
        let (aws, seen) = pipeline(vec![failed], json!([newest]), done);
        roll_back(&aws).unwrap();
        let filter = json!({"succeededInStage": {"stageName": "Deploy"}});
        assert_eq!(calls(&seen, "ListPipelineExecutions")[0]["filter"], filter);
        let expected = json!({
            "pipelineName": "shop",
            "stageName": "Deploy",
            "targetPipelineExecutionId": "good",
        });
        assert_eq!(calls(&seen, "RollbackStage"), [expected]);
    }
}

#[test]
fn a_stage_that_was_rolled_back_already_is_not_rolled_back_once_more() {
    let entered = state("rollback", "InProgress", "ROLLBACK");
    let (aws, seen) = pipeline(vec![entered.clone()], json!([]), (200, json!({})));
    roll_back(&aws).unwrap();
    assert_eq!(calls(&seen, "RollbackStage").len(), 0);
    // The answer to the first attempt was lost, and the second was refused.
    let states = vec![state("ours", "Failed", "STANDARD"), entered];
    let newest = json!([{"pipelineExecutionId": "good"}]);
    let (aws, _) = pipeline(states, newest, refusal("UnableToRollbackStageException"));
    roll_back(&aws).unwrap();
}

#[test]
fn a_stage_that_cannot_be_rolled_back_says_why_and_whether_it_is_worth_another_try() {
    let good = json!([{"pipelineExecutionId": "good"}]);
    let failed = state("ours", "Failed", "STANDARD");
    for (latest, newest, refused, class, why) in [
        (
            state("ours", "InProgress", "STANDARD"),
            &good,
            "",
            Class::Permanent,
            "it still runs",
        ),
        (
            state("theirs", "Failed", "STANDARD"),
            &good,
            "",
            Class::Permanent,
            "execution theirs has entered",
        ),
        (
            failed.clone(),
            &json!([]),
            "",
            Class::Permanent,
            "nothing to roll back to",
        ),
        (
            failed.clone(),
            &good,
            "ConflictException",
            Class::Conflict,
            "so says AWS",
        ),
        (
            failed.clone(),
            &good,
            "UnableToRollbackStageException",
            Class::Permanent,
            "so says AWS",
        ),
        (
            failed.clone(),
            &good,
            "PipelineExecutionOutdatedException",
            Class::Permanent,
            "so says AWS",
        ),
    ] {
        let (aws, _) = pipeline(vec![latest], newest.clone(), refusal(refused));
        let error = roll_back(&aws).unwrap_err();
        assert_eq!(error.class, class, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
fn a_stage_or_a_pipeline_that_is_not_there_is_the_configurations_mistake() {
    let none = json!({"stageStates": [{"stageName": "Source"}]});
    let (aws, _) = pipeline(vec![none], json!([]), (200, json!({})));
    let error = on_one_thread(aws.in_stage(&stage(), "ours")).unwrap_err();
    assert_eq!(error.class, Class::Misconfigured, "{error}");
    for kind in ["PipelineNotFoundException", "StageNotFoundException"] {
        let (aws, _) = serve(move |_, _| refusal(kind));
        let error = on_one_thread(aws.close_stage(&stage(), "x")).unwrap_err();
        assert_eq!(error.class, Class::Misconfigured, "{error}");
    }
}
