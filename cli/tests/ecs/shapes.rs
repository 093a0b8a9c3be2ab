//! Every answer has the shape that the SDKs' own model of ECS gives it: no member that the model does
//! not know, none missing that it requires, each of its type.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use crate::stage::Stage;

/// Where botocore keeps the model, within a directory of Python's packages.
const MODEL: &str = "botocore/data/ecs/2014-11-13/service-2.json.gz";

/// The operations that the player serves.
const OPERATIONS: [&str; 18] = [
    "CreateCluster",
    "CreateService",
    "CreateTaskSet",
    "DeleteService",
    "DeleteTaskSet",
    "DescribeClusters",
    "DescribeServices",
    "DescribeTaskDefinition",
    "DescribeTaskSets",
    "DescribeTasks",
    "ListServices",
    "ListTaskDefinitions",
    "ListTasks",
    "RegisterTaskDefinition",
    "StopTask",
    "UpdateService",
    "UpdateServicePrimaryTaskSet",
    "UpdateTaskSet",
];

/// botocore's model of a service.
struct Model(Value);

impl Model {
    /// From the project's own Python tools.
    fn of_ecs() -> Self {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let pythons = project.join(".venv/lib").read_dir();
        let pythons = pythons.expect("Python tools: run `make setup`");
        let model: PathBuf = pythons
            .filter_map(|python| Some(python.ok()?.path().join("site-packages").join(MODEL)))
            .find(|model| model.is_file())
            .expect("botocore: run `make setup`");
        let model = GzDecoder::new(File::open(model).expect("the model"));
        Self(serde_json::from_reader(model).expect("the model"))
    }

    /// What is wrong with an operation's `input` or `output`.
    fn faults(&self, operation: &str, side: &str, value: &Value) -> Vec<String> {
        let shape = &self.0["operations"][operation][side]["shape"];
        let mut faults = Vec::new();
        self.check(shape, value, operation, &mut faults);
        faults
    }

    fn check(&self, shape: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let shape = &self.0["shapes"][shape.as_str().expect("a shape's name")];
        let fits = match (shape["type"].as_str().expect("a type"), value) {
            ("structure", Value::Object(members)) => {
                self.check_members(shape, members, at, faults);
                true
            }
            ("list", Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    let at = format!("{at}[{index}]");
                    self.check(&shape["member"]["shape"], item, &at, faults);
                }
                true
            }
            ("map", Value::Object(entries)) => {
                for (key, value) in entries {
                    self.check(
                        &shape["value"]["shape"],
                        value,
                        &format!("{at}.{key}"),
                        faults,
                    );
                }
                true
            }
            ("string", Value::String(_)) => {
                let known = shape["enum"].as_array();
                known.is_none_or(|known| known.contains(value))
            }
            ("integer", Value::Number(number)) => {
                number.as_i64().is_some_and(|it| i32::try_from(it).is_ok())
            }
            ("long", Value::Number(number)) => number.is_i64(),
            ("double" | "float" | "timestamp", Value::Number(_)) | ("boolean", Value::Bool(_)) => {
                true
            }
            (_, _) => false,
        };
        if !fits {
            faults.push(format!("{at}: {value} is no {}", shape["type"]));
        }
    }

    fn check_members(
        &self,
        shape: &Value,
        members: &Map<String, Value>,
        at: &str,
        faults: &mut Vec<String>,
    ) {
        for (name, value) in members {
            match &shape["members"][name]["shape"] {
                Value::Null => faults.push(format!("{at}.{name}: is not in the model")),
                known => self.check(known, value, &format!("{at}.{name}"), faults),
            }
        }
        for required in shape["required"].as_array().into_iter().flatten() {
            let name = required.as_str().expect("a member's name");
            if !members.contains_key(name) {
                faults.push(format!("{at}.{name}: is missing"));
            }
        }
    }
}

/// Calls operations and checks question and answer.
struct Checked {
    stage: Stage,
    model: Model,
    called: BTreeSet<String>,
}

impl Checked {
    async fn call(&mut self, operation: &str, body: Value) -> Value {
        assert_eq!(self.model.faults(operation, "input", &body), [""; 0]);
        let (status, answer) = self.stage.call(operation, body.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{operation}: {answer}");
        assert_eq!(
            self.model.faults(operation, "output", &answer),
            [""; 0],
            "{answer:#}"
        );
        self.called.insert(operation.to_owned());
        answer
    }

    fn of_service(&self, service: &str, more: Value) -> Value {
        let mut body = json!({"cluster": "prod", "service": service});
        let members = body.as_object_mut().expect("an object");
        members.extend(more.as_object().cloned().expect("an object"));
        body
    }

    async fn definitions(&mut self) {
        let body = json!({
            "family": "web",
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "executionRoleArn": "arn:aws:iam::000000000000:role/execution",
            "containerDefinitions": [{
                "name": "web",
                "image": "web:1",
                "command": ["sh", "-c", "sleep 300"],
                "environment": [{"name": "A", "value": "1"}],
                "portMappings": [{"containerPort": 8080, "protocol": "tcp"}],
                "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "web"}},
                "stopTimeout": 2,
            }],
        });
        let first = self.call("RegisterTaskDefinition", body.clone()).await;
        let again = self.call("RegisterTaskDefinition", body).await;
        assert_eq!(first["taskDefinition"]["revision"], 1);
        assert_eq!(again["taskDefinition"]["revision"], 2);
        let latest = json!({"taskDefinition": "web"});
        let latest = self.call("DescribeTaskDefinition", latest).await;
        assert_eq!(latest["taskDefinition"], again["taskDefinition"]);
        let page = json!({"familyPrefix": "web", "sort": "DESC", "maxResults": 1});
        let page = self.call("ListTaskDefinitions", page).await;
        assert_eq!(
            page["taskDefinitionArns"][0],
            again["taskDefinition"]["taskDefinitionArn"]
        );
        assert_eq!(page["nextToken"], "1");
    }

    fn balancer(&self) -> Value {
        json!({
            "targetGroupArn": self.stage.balancer.blue,
            "containerName": "web",
            "containerPort": 8080,
        })
    }

    async fn rolling_service(&mut self) {
        let network =
            json!({"awsvpcConfiguration": {"subnets": ["subnet-1"], "assignPublicIp": "ENABLED"}});
        let body = json!({
            "cluster": "prod",
            "serviceName": "web",
            "taskDefinition": "web:1",
            "desiredCount": 2,
            "launchType": "FARGATE",
            "platformVersion": "LATEST",
            "loadBalancers": [self.balancer()],
            "networkConfiguration": network,
            "healthCheckGracePeriodSeconds": 60,
            "deploymentConfiguration": {
                "deploymentCircuitBreaker": {"enable": true, "rollback": true},
                "alarms": {"alarmNames": ["a"], "enable": false, "rollback": false},
            },
            "tags": [{"key": "team", "value": "shop"}],
        });
        self.call("CreateService", body).await;
        self.stage
            .until("running", |service| service.running_count() == 2)
            .await;
        let update = self.of_service("web", json!({"taskDefinition": "web:2"}));
        self.call("UpdateService", update).await;
        let asked = json!({"cluster": "prod", "services": ["web", "none"], "include": ["TAGS"]});
        let told = self.call("DescribeServices", asked).await;
        assert_eq!(told["services"][0]["deployments"][1]["status"], "ACTIVE");
        self.call("ListServices", json!({"cluster": "prod"})).await;
    }

    async fn tasks(&mut self) {
        let listed = self
            .call(
                "ListTasks",
                json!({"cluster": "prod", "serviceName": "web"}),
            )
            .await;
        let tasks = listed["taskArns"].as_array().cloned().expect("ARNs");
        let task = tasks.first().cloned().expect("a task");
        let asked = json!({"cluster": "prod", "tasks": [task, "none"]});
        self.call("DescribeTasks", asked.clone()).await;
        let stop = json!({"cluster": "prod", "task": task, "reason": "a test"});
        self.call("StopTask", stop).await;
        self.stage
            .until("another task", |service| service.events().len() > 4)
            .await;
        let ended = self.call("DescribeTasks", asked).await;
        assert_eq!(ended["tasks"][0]["desiredStatus"], "STOPPED");
        let body = self.of_service("web", json!({"force": true}));
        self.call("DeleteService", body).await;
    }

    async fn task_sets(&mut self) {
        let body = json!({
            "cluster": "prod",
            "serviceName": "sets",
            "desiredCount": 1,
            "deploymentController": {"type": "EXTERNAL"},
        });
        self.call("CreateService", body).await;
        let set = json!({
            "taskDefinition": "web",
            "externalId": "release-1",
            "loadBalancers": [self.balancer()],
            "scale": {"value": 50.0, "unit": "PERCENT"},
            "tags": [{"key": "team", "value": "shop"}],
        });
        let set = self
            .call("CreateTaskSet", self.of_service("sets", set))
            .await;
        let id = set["taskSet"]["id"].clone();
        let primary = self.of_service("sets", json!({"primaryTaskSet": id}));
        self.call("UpdateServicePrimaryTaskSet", primary).await;
        let scale = json!({"taskSet": id, "scale": {"value": 0.0, "unit": "PERCENT"}});
        self.call("UpdateTaskSet", self.of_service("sets", scale))
            .await;
        let asked = self.of_service("sets", json!({"taskSets": [id, "none"]}));
        let told = self.call("DescribeTaskSets", asked).await;
        assert_eq!(told["failures"][0]["reason"], "MISSING");
        assert_eq!(told["taskSets"][0]["tags"], Value::Null);
        let asked = self.of_service("sets", json!({"include": ["TAGS"]}));
        let told = self.call("DescribeTaskSets", asked).await;
        assert_eq!(told["taskSets"][0]["tags"][0]["key"], "team");
        let asked = json!({"cluster": "prod", "services": ["sets"]});
        self.call("DescribeServices", asked).await;
        let gone = self.of_service("sets", json!({"taskSet": id}));
        self.call("DeleteTaskSet", gone).await;
    }
}

#[tokio::test]
async fn every_answer_has_the_shape_of_the_sdks_model() {
    let mut checked = Checked {
        stage: Stage::new().await,
        model: Model::of_ecs(),
        called: BTreeSet::new(),
    };
    let cluster = json!({"clusterName": "prod"});
    checked.call("CreateCluster", cluster).await;
    let clusters = json!({"clusters": ["prod", "none"]});
    checked.call("DescribeClusters", clusters).await;
    checked.definitions().await;
    checked.rolling_service().await;
    checked.tasks().await;
    checked.task_sets().await;
    assert!(checked.called.iter().eq(OPERATIONS), "{:?}", checked.called);
    checked.stage.player.stop().await;
}

#[test]
fn the_check_finds_what_does_not_fit_the_model() {
    let model = Model::of_ecs();
    for (answer, fault) in [
        (
            json!({"service": {"servceName": "web"}}),
            "is not in the model",
        ),
        (
            json!({"service": {"desiredCount": 1.5}}),
            "is no \"integer\"",
        ),
        (
            json!({"service": {"desiredCount": null}}),
            "is no \"integer\"",
        ),
        (
            json!({"service": {"launchType": "LAPTOP"}}),
            "is no \"string\"",
        ),
        (
            json!({"service": {"createdAt": "today"}}),
            "is no \"timestamp\"",
        ),
        (
            json!({"service": {"deploymentController": {}}}),
            "type: is missing",
        ),
    ] {
        let faults = model.faults("CreateService", "output", &answer);
        assert!(faults.len() == 1 && faults[0].contains(fault), "{faults:?}");
    }
}
