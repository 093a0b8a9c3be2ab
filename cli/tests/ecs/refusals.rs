//! What the laptop's ECS refuses, in AWS's own kinds of errors; nothing that is sent to it breaks it.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::stage::Stage;

fn definition(change: impl FnOnce(&mut Value)) -> Value {
    let mut definition = json!({
        "family": "web",
        "containerDefinitions": [{
            "name": "web",
            "image": "web:1",
            "command": ["sleep", "300"],
            "portMappings": [{"containerPort": 8080}],
        }],
    });
    change(&mut definition);
    definition
}

fn service(change: impl FnOnce(&mut Value)) -> Value {
    let mut service = json!({
        "cluster": "prod", "serviceName": "api", "taskDefinition": "web", "desiredCount": 0,
    });
    change(&mut service);
    service
}

impl Stage {
    async fn refuses(&self, operation: &str, body: &Value, kind: &str, told: &str) {
        let (status, answer) = self.call(operation, body.to_string()).await;
        let context = format!("{operation} {body} was answered {answer}");
        assert_eq!(status, StatusCode::BAD_REQUEST, "{context}");
        assert_eq!(answer["__type"], kind, "{context}");
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(message.contains(told), "{context}");
    }

    async fn takes(&self, operation: &str, body: &Value) -> Value {
        let (status, answer) = self.call(operation, body.to_string()).await;
        assert_eq!(
            status,
            StatusCode::OK,
            "{operation} {body} was answered {answer}"
        );
        answer
    }

    /// A rolling service `web` and one with task sets, `sets`; both want nothing yet.
    async fn with_services() -> Self {
        let stage = Self::new().await;
        stage
            .takes("RegisterTaskDefinition", &definition(|_| ()))
            .await;
        stage
            .takes(
                "CreateService",
                &service(|it| it["serviceName"] = json!("web")),
            )
            .await;
        for (name, controller) in [("sets", "EXTERNAL"), ("deployed", "CODE_DEPLOY")] {
            let body = service(|it| {
                it["serviceName"] = json!(name);
                it["deploymentController"] = json!({"type": controller});
                if controller == "EXTERNAL" {
                    it["taskDefinition"] = Value::Null;
                }
            });
            stage.takes("CreateService", &body).await;
        }
        stage
    }
}

const INVALID: &str = "InvalidParameterException";
const CLIENT: &str = "ClientException";
const SYNTAX: &str = "SerializationException";

#[tokio::test]
async fn what_is_not_there_is_refused_by_its_kind() {
    let stage = Stage::with_services().await;
    let named = |cluster: &str, service: &str| json!({"cluster": cluster, "service": service});
    let elsewhere = "arn:aws:ecs:us-east-1:000000000000:service/dev/web";
    for (operation, body, kind, told) in [
        (
            "UpdateService",
            named("nowhere", "web"),
            "ClusterNotFoundException",
            "Cluster not found.",
        ),
        (
            "UpdateService",
            named("prod", "none"),
            "ServiceNotFoundException",
            "Service not found.",
        ),
        (
            "UpdateService",
            named("prod", elsewhere),
            "ServiceNotFoundException",
            "Service not found.",
        ),
        (
            "DescribeServices",
            json!({"services": ["web"]}),
            "ClusterNotFoundException",
            "",
        ),
        (
            "DescribeTaskDefinition",
            json!({"taskDefinition": "web:9"}),
            CLIENT,
            "Unable to describe",
        ),
        (
            "CreateService",
            service(|it| it["taskDefinition"] = json!("api")),
            CLIENT,
            "not found",
        ),
        (
            "StopTask",
            json!({"cluster": "prod", "task": "1"}),
            INVALID,
            "task was not found",
        ),
        (
            "RunTask",
            json!({}),
            "UnknownOperationException",
            "RunTask is not served",
        ),
    ] {
        stage.refuses(operation, &body, kind, told).await;
    }
    let asked = json!({"cluster": "prod", "services": ["web", "none"]});
    let answer = stage.takes("DescribeServices", &asked).await;
    let missing = "arn:aws:ecs:us-east-1:000000000000:service/prod/none";
    assert_eq!(answer["services"][0]["serviceName"], "web");
    assert_eq!(
        answer["failures"],
        json!([{"arn": missing, "reason": "MISSING"}])
    );
    stage.player.stop().await;
}

#[tokio::test]
async fn a_service_is_changed_only_in_the_way_of_its_controller() {
    let stage = Stage::with_services().await;
    for (name, told) in [("sets", "EXTERNAL"), ("deployed", "CODE_DEPLOY")] {
        for change in [
            json!({"taskDefinition": "web:1"}),
            json!({"forceNewDeployment": true}),
            json!({"loadBalancers": []}),
        ] {
            let mut body = json!({"cluster": "prod", "service": name});
            body.as_object_mut()
                .expect("an object")
                .extend(change.as_object().cloned().expect("an object"));
            stage.refuses("UpdateService", &body, INVALID, told).await;
        }
        let body = json!({"cluster": "prod", "service": name, "desiredCount": 1});
        stage.takes("UpdateService", &body).await;
    }
    let set = json!({"cluster": "prod", "service": "web", "taskDefinition": "web"});
    stage
        .refuses(
            "CreateTaskSet",
            &set,
            INVALID,
            "EXTERNAL deployment controller",
        )
        .await;
    let external = service(|it| it["deploymentController"] = json!({"type": "EXTERNAL"}));
    stage
        .refuses("CreateService", &external, INVALID, "CreateTaskSet")
        .await;
    stage.player.stop().await;
}

#[tokio::test]
async fn native_strategies_are_kept_and_told() {
    let stage = Stage::with_services().await;
    for strategy in ["ROLLING", "BLUE_GREEN", "LINEAR", "CANARY"] {
        let configuration = json!({
            "strategy": strategy,
            "bakeTimeInMinutes": 5,
            "canaryConfiguration": {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 10},
        });
        let body =
            json!({"cluster": "prod", "service": "web", "deploymentConfiguration": configuration});
        let answer = stage.takes("UpdateService", &body).await;
        let told = &answer["service"]["deploymentConfiguration"];
        for member in ["strategy", "bakeTimeInMinutes", "canaryConfiguration"] {
            assert_eq!(told[member], configuration[member]);
        }
        assert_eq!(
            (&told["maximumPercent"], &told["minimumHealthyPercent"]),
            (&json!(200), &json!(100))
        );
    }
    stage.player.stop().await;
}

#[tokio::test]
async fn a_load_balancer_must_lead_somewhere() {
    let stage = Stage::with_services().await;
    let lone = stage.elbv2.create_target_group().name("lone").port(80);
    let lone = lone
        .protocol(aws::local::elbv2::types::ProtocolEnum::Http)
        .target_type(aws::local::elbv2::types::TargetTypeEnum::Ip);
    let lone = lone.send().await.expect("a target group");
    let lone = lone.target_groups()[0].target_group_arn().expect("an ARN");
    let used = stage.balancer.blue.as_str();
    for (group, container, port, told) in [
        (
            used,
            "app",
            8080,
            "The container app does not exist in the task definition.",
        ),
        (
            used,
            "web",
            80,
            "The container web did not have a container port 80 defined.",
        ),
        (
            lone,
            "web",
            8080,
            "does not have an associated load balancer",
        ),
        ("arn:none", "web", 8080, "does not exist"),
        ("", "web", 8080, "targetGroupArn can not be blank"),
    ] {
        let balancer =
            json!({"targetGroupArn": group, "containerName": container, "containerPort": port});
        let body = service(|it| it["loadBalancers"] = json!([balancer]));
        stage.refuses("CreateService", &body, INVALID, told).await;
        let set = json!({
            "cluster": "prod", "service": "sets", "taskDefinition": "web", "loadBalancers": [balancer],
        });
        stage.refuses("CreateTaskSet", &set, INVALID, told).await;
    }
    stage.player.stop().await;
}

/// Members of a service, each with a value that is refused.
fn bad_members() -> Vec<(&'static str, Value, &'static str)> {
    vec![
        ("desiredCount", json!(-1), "must be >= 0"),
        ("desiredCount", json!(11), "lower desiredCount"),
        ("serviceName", json!("a/b"), "letters, digits"),
        ("serviceName", json!("x".repeat(256)), "1 to 255"),
        ("launchType", json!("LAPTOP"), "launchType must be"),
        ("schedulingStrategy", json!("DAEMON"), "REPLICA"),
        ("clientToken", json!("x".repeat(37)), "36"),
        ("healthCheckGracePeriodSeconds", json!(-1), "0 to"),
        (
            "deploymentConfiguration",
            json!({"maximumPercent": 100, "minimumHealthyPercent": 100}),
            "no deployment could move",
        ),
        (
            "deploymentConfiguration",
            json!({"maximumPercent": 5_000}),
            "100 to 1000",
        ),
        (
            "deploymentConfiguration",
            json!({"strategy": "MAGIC"}),
            "strategy must be",
        ),
    ]
}

#[tokio::test]
async fn a_service_with_a_value_out_of_range_is_refused() {
    let stage = Stage::with_services().await;
    for (member, value, told) in bad_members() {
        let body = service(|it| it[member] = value);
        stage.refuses("CreateService", &body, INVALID, told).await;
    }
    for (member, value) in [
        ("desiredCount", json!(1e300)),
        ("deploymentConfiguration", json!({"maximumPercent": -1})),
    ] {
        let body = service(|it| it[member] = value);
        stage.refuses("CreateService", &body, SYNTAX, "").await;
    }
    stage.player.stop().await;
}

#[tokio::test]
async fn a_question_out_of_range_is_refused() {
    let stage = Stage::with_services().await;
    let of_prod = |member: &str, value: Value| json!({"cluster": "prod", member: value});
    for scale in [
        json!({"value": 100.1, "unit": "PERCENT"}),
        json!({"value": -0.1, "unit": "PERCENT"}),
        json!({"value": 1, "unit": "TASKS"}),
    ] {
        let set =
            json!({"cluster": "prod", "service": "sets", "taskDefinition": "web", "scale": scale});
        stage
            .refuses("CreateTaskSet", &set, INVALID, "must be")
            .await;
    }
    for (operation, body, told) in [
        ("DescribeServices", of_prod("services", json!([])), "empty"),
        (
            "DescribeServices",
            of_prod("services", json!(vec!["web"; 11])),
            "more than 10",
        ),
        (
            "DescribeTasks",
            of_prod("tasks", json!(vec!["1"; 101])),
            "1 to 100",
        ),
        (
            "ListTasks",
            of_prod("nextToken", json!("x")),
            "Invalid token",
        ),
        ("ListTasks", of_prod("maxResults", json!(0)), "maxResults"),
        (
            "CreateCluster",
            json!({"clusterName": "no spaces"}),
            "Cluster name",
        ),
    ] {
        stage.refuses(operation, &body, INVALID, told).await;
    }
    stage.player.stop().await;
}

#[tokio::test]
async fn a_task_definition_that_nobody_could_run_is_refused() {
    let stage = Stage::with_services().await;
    let twice = definition(|it| {
        let container = it["containerDefinitions"][0].clone();
        it["containerDefinitions"] = json!([container, container]);
    });
    let with = |member: &'static str, value: Value| {
        definition(move |it| it["containerDefinitions"][0][member] = value)
    };
    for (body, kind, told) in [
        (
            definition(|it| it["family"] = json!("a b")),
            INVALID,
            "Family must be",
        ),
        (
            definition(|it| it["containerDefinitions"] = json!([])),
            CLIENT,
            "1 to 10 containers",
        ),
        (twice, CLIENT, "duplicate 'web'"),
        (with("image", json!("")), CLIENT, "image"),
        (with("essential", json!(false)), CLIENT, "must be essential"),
        (
            with("portMappings", json!([{"containerPort": 70_000}])),
            SYNTAX,
            "containerPort",
        ),
        (with("stopTimeout", json!(121)), CLIENT, "at most 120"),
        (with("command", json!("sleep")), SYNTAX, "command"),
        (
            with("command", json!(["x".repeat(70_000)])),
            CLIENT,
            "65536",
        ),
    ] {
        stage
            .refuses("RegisterTaskDefinition", &body, kind, told)
            .await;
    }
    stage.player.stop().await;
}

#[tokio::test]
async fn no_body_whatsoever_breaks_the_player() {
    let stage = Stage::with_services().await;
    let deep = "[".repeat(100_000);
    let long = format!("{{\"cluster\": \"{}\"}}", "x".repeat(200_000));
    for operation in [
        "CreateService",
        "DescribeServices",
        "RegisterTaskDefinition",
        "CreateTaskSet",
    ] {
        for body in [
            "",
            "null",
            "[]",
            "{",
            "\"web\"",
            "{\"cluster\": 1}",
            "\u{0}",
            &deep,
            &long,
        ] {
            let (status, answer) = stage.call(operation, body.to_owned()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{operation}: {answer}");
            let kind = answer["__type"].as_str().expect("a kind");
            assert!([SYNTAX, CLIENT].contains(&kind), "{operation}: {answer}");
        }
    }
    let asked = json!({"cluster": "prod", "services": ["web"]});
    stage.takes("DescribeServices", &asked).await;
    stage.player.stop().await;
}
