//! The targets over the wire: a small server that keeps services the way ECS's service model
//! (2014-11-13) says, and one rule with two target groups.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use release::Live;
use release::config::{EcsRolling, EcsServices, EcsTaskSets, ServiceBehind};

use super::*;
use crate::answering;

const HOME: &str = "arn:aws:ecs:eu-west-1:123456789012";
const RULE: &str =
    "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/web/1/2/3";

fn group(name: &str) -> String {
    format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/1")
}

fn definition(short: &str) -> String {
    format!("{HOME}:task-definition/{short}")
}

fn service_arn(name: &str) -> ServiceArn {
    ServiceArn::from(format!("{HOME}:service/prod/{name}"))
}

/// Services by name, and what stands before them.
#[derive(Debug)]
struct World {
    services: BTreeMap<String, Value>,
    /// Of the groups blue and green.
    weights: (u32, u32),
    healthy: (usize, usize),
    /// The status of every task definition that is known.
    definitions: BTreeMap<String, &'static str>,
    /// Instead of every answer to something that changes anything.
    refusal: Option<(u16, Value)>,
    /// Every call that changed something, with its body.
    changes: Vec<(String, Value)>,
}

type Shared = Arc<Mutex<World>>;

/// A service on a deployment that is over.
fn on(definition_of: &str, tasks: i32, behind: &str) -> Value {
    json!({
        "status": "ACTIVE",
        "desiredCount": tasks,
        "runningCount": tasks,
        "deploymentController": {"type": "ECS"},
        "deploymentConfiguration": {"strategy": "ROLLING"},
        "loadBalancers": [{"targetGroupArn": group(behind), "containerName": "web", "containerPort": 80}],
        "deployments": [deployment("PRIMARY", definition_of, tasks, "COMPLETED")],
    })
}

fn deployment(status: &str, definition_of: &str, tasks: i32, state: &str) -> Value {
    json!({
        "status": status,
        "taskDefinition": definition(definition_of),
        "desiredCount": tasks,
        "runningCount": tasks,
        "rolloutState": state,
        "rolloutStateReason": "the reason",
    })
}

fn set_of(id: &str, status: &str, definition_of: &str, behind: &str) -> Value {
    json!({
        "id": id,
        "status": status,
        "taskDefinition": definition(definition_of),
        "computedDesiredCount": 2,
        "runningCount": 2,
        "scale": {"value": 100.0, "unit": "PERCENT"},
        "stabilityStatus": "STEADY_STATE",
        "launchType": "FARGATE",
        "platformVersion": "1.4.0",
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "DISABLED"}},
        "loadBalancers": [{"targetGroupArn": group(behind), "containerName": "web", "containerPort": 80}],
    })
}

fn with_sets(sets: Vec<Value>) -> Value {
    let mut service = on("web:6", 2, "none");
    service["deploymentController"] = json!({"type": "EXTERNAL"});
    service["deployments"] = json!([]);
    service["loadBalancers"] = json!([]);
    service["taskSets"] = json!(sets);
    service
}

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Blue serves `web:6` in two tasks, green is idle on `web:5`; `web` has task sets, `rolling` none.
fn serve() -> (Aws, Shared) {
    let services = [
        ("blue", on("web:6", 2, "blue")),
        ("green", on("web:5", 0, "green")),
        (
            "web",
            with_sets(vec![set_of("ecs-svc/1", "PRIMARY", "web:6", "blue")]),
        ),
        ("rolling", on("web:6", 3, "none")),
    ];
    let definitions = ["web:5", "web:6", "web:7"].map(|name| (definition(name), "ACTIVE"));
    let world = Arc::new(Mutex::new(World {
        services: services.map(|(name, s)| (name.to_owned(), s)).into(),
        weights: (1, 0),
        healthy: (2, 0),
        definitions: definitions.into(),
        refusal: None,
        changes: Vec::new(),
    }));
    let kept = Arc::clone(&world);
    let aws = answering::serve_text(move |call| {
        let mut world = kept.lock().unwrap();
        match call.operation {
            Some(operation) => {
                let (status, answer) = world.ecs(&operation, &call.body);
                (status, answer.to_string())
            }
            None => world.balancer(&call.text),
        }
    });
    (aws, world)
}

impl World {
    fn ecs(&mut self, operation: &str, body: &Value) -> (u16, Value) {
        let named = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
        match operation {
            "DescribeServices" => {
                assert_eq!(body["cluster"], "prod");
                let arn = body["services"][0].as_str().unwrap();
                let found = self.services.get(arn.rsplit('/').next().unwrap());
                (
                    200,
                    json!({"services": found.into_iter().collect::<Vec<_>>()}),
                )
            }
            "DescribeTaskDefinition" => {
                let arn = named("taskDefinition");
                match self.definitions.get(&arn) {
                    Some(status) => {
                        let images = ["web:7", &format!("mesh:2@{DIGEST}")]
                            .map(|i| json!({"name": "c", "image": i}));
                        let told = json!({"taskDefinitionArn": arn, "status": status, "containerDefinitions": images});
                        (200, json!({ "taskDefinition": told }))
                    }
                    None => refusal("ClientException", "Unable to describe task definition."),
                }
            }
            change => {
                if let Some(refusal) = &self.refusal {
                    return refusal.clone();
                }
                self.changes.push((change.to_owned(), body.clone()));
                let name = named("service");
                let service = self.services.get_mut(&name).expect("it was described");
                obey(service, change, body);
                (200, json!({}))
            }
        }
    }

    /// DescribeRules, DescribeTargetHealth and ModifyRule.
    fn balancer(&mut self, call: &str) -> (u16, String) {
        let xml = |operation: &str, result: String| {
            format!(
                "<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>"
            )
        };
        if call.contains("Action=DescribeTargetHealth") {
            let healthy = match call.contains("blue") {
                true => self.healthy.0,
                false => self.healthy.1,
            };
            let host = "<member><TargetHealth><State>healthy</State></TargetHealth></member>";
            let hosts = host.repeat(healthy);
            let result = format!("<TargetHealthDescriptions>{hosts}</TargetHealthDescriptions>");
            return (200, xml("DescribeTargetHealth", result));
        }
        assert!(call.contains("Action=DescribeRules"), "{call}");
        let (blue, green) = self.weights;
        let groups = [("blue", blue), ("green", green)].map(|(name, weight)| {
            let arn = group(name);
            format!(
                "<member><TargetGroupArn>{arn}</TargetGroupArn><Weight>{weight}</Weight></member>"
            )
        });
        let result = format!(
            "<Rules><member><RuleArn>{RULE}</RuleArn><IsDefault>false</IsDefault><Actions><member>\
             <Type>forward</Type><ForwardConfig><TargetGroups>{}</TargetGroups></ForwardConfig>\
             </member></Actions></member></Rules>",
            groups.concat()
        );
        (200, xml("DescribeRules", result))
    }
}

fn refusal(kind: &str, message: &str) -> (u16, Value) {
    (400, json!({"__type": kind, "message": message}))
}

/// What ECS makes of a change, as far as it shows at once.
fn obey(service: &mut Value, change: &str, body: &Value) {
    match change {
        "UpdateService" => {
            if let Some(tasks) = body["desiredCount"].as_i64() {
                service["desiredCount"] = json!(tasks);
            }
            if let Some(arn) = body["taskDefinition"].as_str() {
                let mut before = service["deployments"][0].take();
                before["status"] = json!("ACTIVE");
                let mut new = deployment("PRIMARY", "", 0, "IN_PROGRESS");
                new["taskDefinition"] = json!(arn);
                new["desiredCount"] = service["desiredCount"].clone();
                service["deployments"] = json!([new, before]);
            }
        }
        "CreateTaskSet" => {
            let mut set = set_of("ecs-svc/2", "ACTIVE", "", "green");
            set["taskDefinition"] = body["taskDefinition"].clone();
            set["loadBalancers"] = body["loadBalancers"].clone();
            set["stabilityStatus"] = json!("STABILIZING");
            set["runningCount"] = json!(0);
            service["taskSets"].as_array_mut().unwrap().push(set);
        }
        "UpdateServicePrimaryTaskSet" => {
            for set in service["taskSets"].as_array_mut().unwrap() {
                let is_primary = set["id"] == body["primaryTaskSet"];
                set["status"] = json!(if is_primary { "PRIMARY" } else { "ACTIVE" });
            }
        }
        "DeleteTaskSet" => {
            let sets = service["taskSets"].as_array_mut().unwrap();
            let set = sets.iter_mut().find(|set| set["id"] == body["taskSet"]);
            set.unwrap()["status"] = json!("DRAINING");
        }
        other => panic!("unexpected {other}"),
    }
}

fn wanted(short: &str) -> TaskDefinition {
    TaskDefinition::Named(short.to_owned())
}

fn two_services() -> EcsServices {
    let behind = |name: &str| ServiceBehind {
        service: service_arn(name),
        target_group: group(name),
    };
    EcsServices {
        services: [behind("blue"), behind("green")],
        rule: RULE.to_owned(),
        task_definition: wanted("web:7"),
    }
}

fn task_sets() -> EcsTaskSets {
    EcsTaskSets {
        service: service_arn("web"),
        rule: RULE.to_owned(),
        target_groups: [group("blue"), group("green")],
        task_definition: wanted("web:7"),
        container: "web".to_owned(),
        port: 80,
    }
}

fn rolling_service() -> EcsRolling {
    EcsRolling {
        service: service_arn("rolling"),
        task_definition: wanted("web:7"),
    }
}

fn blue_to_green() -> Arms {
    Arms {
        stable: group("blue"),
        candidate: group("green"),
    }
}

fn change(world: &Shared, name: &str, key: &str, value: Value) {
    let mut world = world.lock().unwrap();
    let service = world.services.get_mut(name).unwrap();
    match service.pointer_mut(key) {
        Some(old) => *old = value,
        None => service[key.trim_start_matches('/')] = value,
    }
}

fn operations(world: &Shared) -> Vec<String> {
    let world = world.lock().unwrap();
    world.changes.iter().map(|(name, _)| name.clone()).collect()
}

#[track_caller]
fn misconfigured<T: std::fmt::Debug>(result: Result<T, PortError>, parts: &[&str]) {
    let error = result.unwrap_err();
    assert_eq!(error.class, Class::Misconfigured, "{error}");
    let said = error.to_string();
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[tokio::test]
async fn the_idle_service_is_put_up_as_large_as_the_other_and_only_once() {
    let (aws, world) = serve();
    let target = two_services();
    let arms = services::arms(&aws, &target).await.unwrap();
    assert_eq!(arms, blue_to_green());
    for _ in 0..2 {
        services::deploy(&aws, &target, &arms).await.unwrap();
    }
    let changes = world.lock().unwrap().changes.clone();
    let expected = json!({
        "cluster": "prod",
        "service": "green",
        "taskDefinition": definition("web:7"),
        "desiredCount": 2,
    });
    assert_eq!(changes, [("UpdateService".to_owned(), expected)]);
}

#[tokio::test]
async fn a_candidate_is_ready_once_ecs_has_rolled_it_out_and_its_group_is_healthy() {
    let (aws, world) = serve();
    let (target, arms) = (two_services(), blue_to_green());
    let green = |running: i32, definition_of: &str, state: &str| {
        let mut service = on(definition_of, 2, "green");
        service["deployments"] = json!([deployment("PRIMARY", definition_of, 2, state)]);
        service["deployments"][0]["runningCount"] = json!(running);
        service
    };
    for (ready, service, healthy) in [
        (true, green(2, "web:7", "COMPLETED"), 2),
        (false, green(2, "web:7", "COMPLETED"), 1),
        (false, green(2, "web:7", "IN_PROGRESS"), 2),
        (false, green(1, "web:7", "COMPLETED"), 2),
        (false, green(2, "web:5", "COMPLETED"), 2),
        (false, on("web:7", 0, "green"), 2),
    ] {
        {
            let mut world = world.lock().unwrap();
            world.services.insert("green".to_owned(), service.clone());
            world.healthy.1 = healthy;
        }
        let seen = services::live(&aws, &target, &arms).await.unwrap();
        let expected = Live {
            weight: Weight::ZERO,
            stable_healthy: 2,
            candidate_healthy: u32::try_from(healthy).unwrap(),
            candidate_ready: ready,
        };
        assert_eq!(seen, expected, "{service}");
    }
}

#[tokio::test]
async fn the_service_that_serves_nothing_is_scaled_to_nothing_and_no_other() {
    let (aws, world) = serve();
    let (target, arms) = (two_services(), blue_to_green());
    world.lock().unwrap().weights = (0, 1);
    for _ in 0..2 {
        services::retire(&aws, &target, &arms, &arms.stable)
            .await
            .unwrap();
    }
    let changes = world.lock().unwrap().changes.clone();
    let expected = json!({"cluster": "prod", "service": "blue", "desiredCount": 0});
    assert_eq!(changes, [("UpdateService".to_owned(), expected)]);
    let serving = services::retire(&aws, &target, &arms, &arms.candidate).await;
    misconfigured(serving, &["so it is not idle: somebody else has moved"]);
    assert_eq!(operations(&world).len(), 1);
}

#[tokio::test]
async fn a_version_that_is_served_already_is_no_release() {
    let (aws, _) = serve();
    let both = |arms: Arms| (arms.stable, arms.candidate);
    let web_6 = (definition("web:6"), definition("web:6"));
    let mut target = two_services();
    target.task_definition = wanted("web:6");
    assert_eq!(both(services::arms(&aws, &target).await.unwrap()), web_6);
    let mut target = task_sets();
    target.task_definition = wanted("web:6");
    assert_eq!(both(task_sets::arms(&aws, &target).await.unwrap()), web_6);
    let mut target = rolling_service();
    target.task_definition = wanted("web:6");
    assert_eq!(both(rolling::arms(&aws, &target).await.unwrap()), web_6);
}

#[tokio::test]
async fn what_ecs_or_codedeploy_moves_is_refused_with_what_to_do_instead() {
    for strategy in ["BLUE_GREEN", "LINEAR", "CANARY"] {
        let (aws, world) = serve();
        for name in ["green", "web", "rolling"] {
            let strategy = json!(strategy);
            change(&world, name, "/deploymentConfiguration/strategy", strategy);
        }
        let hook = "a lifecycle hook at POST_TEST_TRAFFIC_SHIFT";
        let parts = [
            strategy,
            hook,
            "set deploymentConfiguration.strategy to ROLLING",
        ];
        misconfigured(services::arms(&aws, &two_services()).await, &parts);
        misconfigured(task_sets::arms(&aws, &task_sets()).await, &parts);
        misconfigured(rolling::arms(&aws, &rolling_service()).await, &parts);
    }
    for (controller, of_services, of_task_sets) in [
        (
            "CODE_DEPLOY",
            "by a CodeDeploy action",
            "by a CodeDeploy action",
        ),
        ("EXTERNAL", "name it under ecs-task-sets", ""),
        ("ECS", "", "task sets need EXTERNAL"),
    ] {
        let (aws, world) = serve();
        for name in ["green", "web", "rolling"] {
            let controller = json!({ "type": controller });
            change(&world, name, "/deploymentController", controller);
        }
        if !of_services.is_empty() {
            let arms = services::arms(&aws, &two_services()).await;
            misconfigured(arms, &["service/prod/green", of_services]);
            let arms = rolling::arms(&aws, &rolling_service()).await;
            misconfigured(arms, &["service/prod/rolling", of_services]);
        }
        if !of_task_sets.is_empty() {
            misconfigured(task_sets::arms(&aws, &task_sets()).await, &[of_task_sets]);
        }
    }
}

#[tokio::test]
async fn a_target_that_is_not_there_or_does_not_fit_is_named_with_its_fix() {
    let (aws, world) = serve();
    let mut elsewhere = two_services();
    elsewhere.services[1].service = service_arn("gone");
    misconfigured(
        services::arms(&aws, &elsewhere).await,
        &["service/prod/gone", "there is no such service"],
    );
    let mut unknown = rolling_service();
    unknown.task_definition = wanted("web:9");
    misconfigured(
        rolling::arms(&aws, &unknown).await,
        &["task-definition/web:9", "Unable to describe"],
    );
    let web_7 = definition("web:7");
    world.lock().unwrap().definitions.insert(web_7, "INACTIVE");
    misconfigured(
        rolling::arms(&aws, &rolling_service()).await,
        &["its status is INACTIVE; register it again"],
    );
    for (name, key, value, said) in [
        (
            "green",
            "/status",
            json!("DRAINING"),
            "its status is DRAINING",
        ),
        (
            "green",
            "/loadBalancers",
            json!([]),
            "its tasks do not register with arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/green/1",
        ),
        ("blue", "/desiredCount", json!(0), "its desired count is 0"),
        (
            "blue",
            "/deployments/0/rolloutState",
            json!("FAILED"),
            "is FAILED (the reason); put a version on it that works",
        ),
    ] {
        let (aws, world) = serve();
        change(&world, name, key, value);
        misconfigured(services::arms(&aws, &two_services()).await, &[said]);
        assert!(operations(&world).is_empty());
    }
}

#[tokio::test]
async fn somebody_elses_deployment_is_waited_for() {
    let (aws, world) = serve();
    for name in ["blue", "rolling"] {
        let state = json!("IN_PROGRESS");
        change(&world, name, "/deployments/0/rolloutState", state);
    }
    for error in [
        services::arms(&aws, &two_services()).await.unwrap_err(),
        rolling::arms(&aws, &rolling_service()).await.unwrap_err(),
    ] {
        assert_eq!(error.class, Class::Retryable, "{error}");
        assert!(error.to_string().contains("still deploying"), "{error}");
    }
}

#[tokio::test]
async fn a_task_set_is_made_like_the_stable_one_and_only_once() {
    let (aws, world) = serve();
    let target = task_sets();
    let arms = task_sets::arms(&aws, &target).await.unwrap();
    assert_eq!(arms, blue_to_green());
    for _ in 0..2 {
        task_sets::deploy(&aws, &target, &arms).await.unwrap();
    }
    let mut changes = world.lock().unwrap().changes.clone();
    assert_eq!(changes.len(), 1, "{changes:?}");
    let (operation, mut body) = changes.pop().unwrap();
    assert_eq!(operation, "CreateTaskSet");
    let token = body["clientToken"].take();
    assert!(
        token.as_str().is_some_and(|token| token.len() == 36),
        "{token}"
    );
    let expected = json!({
        "cluster": "prod",
        "service": "web",
        "taskDefinition": definition("web:7"),
        "externalId": "penstock",
        "clientToken": null,
        "loadBalancers": [{"targetGroupArn": group("green"), "containerName": "web", "containerPort": 80}],
        "networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "DISABLED"}},
        "launchType": "FARGATE",
        "platformVersion": "1.4.0",
        "scale": {"value": 100.0, "unit": "PERCENT"},
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn capacity_providers_of_the_stable_task_set_take_the_place_of_its_launch_type() {
    let (aws, world) = serve();
    let spot = json!([{"capacityProvider": "FARGATE_SPOT", "weight": 1, "base": 0}]);
    let mut set = set_of("ecs-svc/1", "PRIMARY", "web:6", "blue");
    set["capacityProviderStrategy"] = spot.clone();
    change(&world, "web", "/taskSets", json!([set]));
    task_sets::deploy(&aws, &task_sets(), &blue_to_green())
        .await
        .unwrap();
    let body = world.lock().unwrap().changes[0].1.clone();
    assert_eq!(body["capacityProviderStrategy"], spot);
    assert_eq!(body["launchType"], Value::Null);
}

#[tokio::test]
async fn a_task_set_is_ready_once_it_is_steady_whole_and_healthy() {
    let (aws, world) = serve();
    let (target, arms) = (task_sets(), blue_to_green());
    let steady = || set_of("ecs-svc/2", "ACTIVE", "web:7", "green");
    let but = |key: &str, value: Value| {
        let mut set = steady();
        set[key] = value;
        set
    };
    for (ready, set, healthy) in [
        (true, steady(), 2),
        (false, steady(), 1),
        (false, but("stabilityStatus", json!("STABILIZING")), 2),
        (false, but("runningCount", json!(1)), 2),
        (false, but("status", json!("DRAINING")), 2),
        (
            false,
            but("scale", json!({"value": 50.0, "unit": "PERCENT"})),
            2,
        ),
        (false, set_of("ecs-svc/2", "ACTIVE", "web:5", "green"), 2),
        (false, set_of("ecs-svc/2", "ACTIVE", "web:7", "blue"), 2),
    ] {
        world.lock().unwrap().healthy.1 = healthy;
        let stable = set_of("ecs-svc/1", "PRIMARY", "web:6", "blue");
        change(&world, "web", "/taskSets", json!([stable, set]));
        let seen = task_sets::live(&aws, &target, &arms).await.unwrap();
        assert_eq!(seen.candidate_ready, ready, "{set}");
    }
}

#[tokio::test]
async fn after_a_promotion_the_candidates_task_set_is_primary_before_the_old_one_goes() {
    let (aws, world) = serve();
    let (target, arms) = (task_sets(), blue_to_green());
    task_sets::deploy(&aws, &target, &arms).await.unwrap();
    world.lock().unwrap().weights = (0, 1);
    for _ in 0..2 {
        task_sets::retire(&aws, &target, &arms, &arms.stable)
            .await
            .unwrap();
    }
    let changes = world.lock().unwrap().changes.split_off(1);
    let primary = json!({"cluster": "prod", "service": "web", "primaryTaskSet": "ecs-svc/2"});
    let deleted =
        json!({"cluster": "prod", "service": "web", "taskSet": "ecs-svc/1", "force": true});
    let expected = [
        ("UpdateServicePrimaryTaskSet".to_owned(), primary),
        ("DeleteTaskSet".to_owned(), deleted),
    ];
    assert_eq!(changes, expected);
}

#[tokio::test]
async fn after_a_rollback_only_the_candidates_task_set_goes() {
    let (aws, world) = serve();
    let (target, arms) = (task_sets(), blue_to_green());
    task_sets::deploy(&aws, &target, &arms).await.unwrap();
    task_sets::retire(&aws, &target, &arms, &arms.candidate)
        .await
        .unwrap();
    assert_eq!(operations(&world), ["CreateTaskSet", "DeleteTaskSet"]);
    let serving = task_sets::retire(&aws, &target, &arms, &arms.stable).await;
    misconfigured(serving, &["not idle"]);
}

#[tokio::test]
async fn task_sets_that_are_in_the_way_are_named_with_what_removes_them() {
    let stable = || set_of("ecs-svc/1", "PRIMARY", "web:6", "blue");
    for (sets, said) in [
        (
            vec![],
            "it has no task set in arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/blue/1",
        ),
        (vec![stable(), stable()], "it has several task sets in"),
        (
            vec![stable(), set_of("ecs-svc/9", "ACTIVE", "web:5", "green")],
            "aws ecs delete-task-set --cluster prod --service web --task-set ecs-svc/9 --force",
        ),
    ] {
        let (aws, world) = serve();
        change(&world, "web", "/taskSets", json!(sets));
        misconfigured(task_sets::arms(&aws, &task_sets()).await, &[said]);
    }
    let (aws, world) = serve();
    let going = set_of("ecs-svc/9", "DRAINING", "web:5", "green");
    change(&world, "web", "/taskSets", json!([stable(), going]));
    assert_eq!(
        task_sets::arms(&aws, &task_sets()).await.unwrap(),
        blue_to_green()
    );
}

fn six_to_seven() -> Arms {
    Arms {
        stable: definition("web:6"),
        candidate: definition("web:7"),
    }
}

#[tokio::test]
async fn a_rolling_service_is_deployed_at_once_and_put_back_at_once() {
    let (aws, world) = serve();
    let target = rolling_service();
    let arms = rolling::arms(&aws, &target).await.unwrap();
    assert_eq!(arms, six_to_seven());
    for weight in [Weight::ZERO, Weight::FULL, Weight::FULL, Weight::ZERO] {
        rolling::set_weight(&aws, &target, &arms, weight)
            .await
            .unwrap();
        assert_eq!(rolling::weight(&aws, &target, &arms).await.unwrap(), weight);
    }
    let changes = world.lock().unwrap().changes.clone();
    let update = |short: &str| {
        let body =
            json!({"cluster": "prod", "service": "rolling", "taskDefinition": definition(short)});
        ("UpdateService".to_owned(), body)
    };
    assert_eq!(changes, [update("web:7"), update("web:6")]);
    let half = Weight::from_basis_points(5_000).unwrap();
    assert!(
        rolling::set_weight(&aws, &target, &arms, half)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_rolling_candidate_counts_once_ecs_has_rolled_it_out() {
    let (aws, world) = serve();
    let (target, arms) = (rolling_service(), six_to_seven());
    let new = |state: &str| deployment("PRIMARY", "web:7", 3, state);
    let old = deployment("ACTIVE", "web:6", 1, "COMPLETED");
    for (deployments, weight, stable, candidate) in [
        (json!([new("IN_PROGRESS"), old]), Weight::FULL, 1, 0),
        (json!([new("FAILED"), old]), Weight::FULL, 1, 0),
        (json!([new("COMPLETED")]), Weight::FULL, 0, 3),
        // ECS's own circuit breaker has put the old one back.
        (
            json!([deployment("PRIMARY", "web:6", 3, "COMPLETED")]),
            Weight::ZERO,
            3,
            0,
        ),
    ] {
        change(&world, "rolling", "/deployments", deployments.clone());
        let seen = rolling::live(&aws, &target, &arms).await.unwrap();
        let expected = Live {
            weight,
            stable_healthy: stable,
            candidate_healthy: candidate,
            candidate_ready: weight == Weight::ZERO || candidate > 0,
        };
        assert_eq!(seen, expected, "{deployments}");
    }
}

#[tokio::test]
async fn a_service_that_somebody_else_deploys_to_is_left_alone_and_named() {
    let (aws, world) = serve();
    let (target, arms) = (rolling_service(), six_to_seven());
    let other = json!(definition("web:5"));
    change(&world, "rolling", "/deployments/0/taskDefinition", other);
    let put_back = "aws ecs update-service --cluster prod --service rolling --task-definition \
                    arn:aws:ecs:eu-west-1:123456789012:task-definition/web:6";
    let set = rolling::set_weight(&aws, &target, &arms, Weight::ZERO).await;
    misconfigured(set, &["somebody else has deployed", "web:5", put_back]);
    assert!(operations(&world).is_empty());
}

#[tokio::test]
async fn what_a_deployment_meets_is_classified() {
    for (kind, message, class, said) in [
        (
            "AccessDeniedException",
            "not authorized to perform: iam:PassRole on resource: r",
            Class::Denied,
            "parameter PassedRoles",
        ),
        (
            "ClientException",
            "not authorized to perform: iam:PassRole on resource: r",
            Class::Denied,
            "parameter PassedRoles",
        ),
        (
            "InvalidParameterException",
            "no",
            Class::Misconfigured,
            "deploy arn:aws:ecs:eu-west-1:123456789012:task-definition/web:7 to service",
        ),
        (
            "ServiceNotActiveException",
            "no",
            Class::Misconfigured,
            "no",
        ),
        (
            "ThrottlingException",
            "slow down",
            Class::Retryable,
            "slow down",
        ),
    ] {
        let (aws, world) = serve();
        world.lock().unwrap().refusal = Some(refusal(kind, message));
        let deployed = services::deploy(&aws, &two_services(), &blue_to_green()).await;
        let error = deployed.unwrap_err();
        assert_eq!(error.class, class, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[tokio::test]
async fn a_task_set_that_is_gone_already_needs_no_deleting() {
    let (aws, world) = serve();
    let (target, arms) = (task_sets(), blue_to_green());
    task_sets::deploy(&aws, &target, &arms).await.unwrap();
    world.lock().unwrap().refusal = Some(refusal("TaskSetNotFoundException", "gone"));
    task_sets::retire(&aws, &target, &arms, &arms.candidate)
        .await
        .unwrap();
}

#[tokio::test]
async fn images_that_a_task_definition_names_by_digest_are_known() {
    let (aws, _world) = serve();
    let target = rolling_service();
    let found = images(&aws, &target.service, &target.task_definition).await;
    assert_eq!(found.unwrap(), [DIGEST.to_owned()].into());
}
