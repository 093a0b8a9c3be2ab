//! A player, clients of it, and a load balancer in front of whatever a test runs.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws::local::ecs::config::{BehaviorVersion, Credentials, Region};
use aws::local::ecs::types::{
    ContainerDefinition, Deployment, DeploymentCircuitBreaker, DeploymentConfiguration,
    DeploymentRolloutState, DesiredStatus, KeyValuePair, LoadBalancer, PortMapping, Service, Task,
};
use aws::local::{ecs, elbv2};
use penstock::player::{Player, PlayerConfig};
use penstock::stack::Balancer;
use reqwest::StatusCode;
use serde_json::Value;

/// Longest wait for something that takes a few processes' starts.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The port that a container would listen on.
pub const CONTAINER_PORT: u16 = 8080;

/// Answers every request with its version; `/health` with what `HEALTH` says.
pub const SERVER: &str = "
import http.server, os

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        health = self.path == '/health'
        self.send_response(int(os.environ.get('HEALTH', '200')) if health else 200)
        body = os.environ['VERSION'].encode()
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

http.server.ThreadingHTTPServer(('127.0.0.1', int(os.environ['PORT'])), Handler).serve_forever()
";

/// Ends with [`Player::stop`].
pub struct Stage {
    pub player: Player,
    pub ecs: ecs::Client,
    pub elbv2: elbv2::Client,
    pub balancer: Balancer,
    http: reqwest::Client,
}

impl Stage {
    pub async fn new() -> Self {
        let player = Player::start(PlayerConfig {
            port: 0,
            endpoint: "http://127.0.0.1:9".to_owned(),
            ..PlayerConfig::default()
        });
        let player = player.await.expect("a player");
        let credentials = || Credentials::new("test", "test", None, None, "test");
        let region = || Region::new("us-east-1");
        let elbv2 = elbv2::Config::builder()
            .behavior_version(elbv2::config::BehaviorVersion::latest())
            .region(region())
            .credentials_provider(credentials())
            .endpoint_url(player.url())
            .build();
        let ecs = ecs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region())
            .credentials_provider(credentials())
            .endpoint_url(player.url())
            .build();
        let ecs = ecs::Client::from_conf(ecs);
        let elbv2 = elbv2::Client::from_conf(elbv2);
        let balancer = Balancer::create(&elbv2, "shop").await;
        let balancer = balancer.expect("a load balancer");
        let cluster = ecs.create_cluster().cluster_name("prod").send().await;
        cluster.expect("a cluster");
        Self {
            player,
            ecs,
            elbv2,
            balancer,
            http: reqwest::Client::new(),
        }
    }

    /// Calls an operation with a body as it is; status and answer.
    pub async fn call(&self, operation: &str, body: String) -> (StatusCode, Value) {
        let target = format!("AmazonEC2ContainerServiceV20141113.{operation}");
        let call = self.http.post(self.player.url()).body(body);
        let call = call.header("x-amz-target", target);
        let call = call.header("content-type", "application/x-amz-json-1.1");
        let answer = call.send().await.expect("an answer");
        (answer.status(), answer.json().await.expect("JSON"))
    }

    /// Registers a revision of `web` that runs this command; its ARN.
    pub async fn define(&self, command: &[&str], environment: &[(&str, &str)]) -> String {
        let variables = environment
            .iter()
            .map(|(name, value)| KeyValuePair::builder().name(*name).value(*value).build());
        let port = PortMapping::builder().container_port(CONTAINER_PORT.into());
        let container = ContainerDefinition::builder()
            .name("web")
            .image("web:latest")
            .set_command(Some(command.iter().map(|&word| word.to_owned()).collect()))
            .set_environment(Some(variables.collect()))
            .port_mappings(port.build())
            .build();
        let registered = self
            .ecs
            .register_task_definition()
            .family("web")
            .container_definitions(container)
            .send()
            .await
            .expect("a task definition");
        let arn = registered
            .task_definition()
            .and_then(|it| it.task_definition_arn());
        arn.expect("an ARN").to_owned()
    }

    pub async fn version(&self, version: &str) -> String {
        self.define(&["python3", "-c", SERVER], &[("VERSION", version)])
            .await
    }

    pub fn behind(&self, group: &str) -> LoadBalancer {
        LoadBalancer::builder()
            .target_group_arn(group)
            .container_name("web")
            .container_port(CONTAINER_PORT.into())
            .build()
    }

    /// A service of two tasks behind the group that has all traffic.
    pub async fn service(&self, definition: &str, configuration: DeploymentConfiguration) {
        self.ecs
            .create_service()
            .cluster("prod")
            .service_name("web")
            .task_definition(definition)
            .desired_count(2)
            .deployment_configuration(configuration)
            .load_balancers(self.behind(&self.balancer.blue))
            .send()
            .await
            .expect("a service");
    }

    pub async fn deploy(&self, definition: &str) {
        let update = self.ecs.update_service().cluster("prod").service("web");
        let update = update.task_definition(definition).send().await;
        update.expect("an updated service");
    }

    pub async fn described(&self) -> Service {
        let described = self.ecs.describe_services().cluster("prod");
        let described = described.services("web").send().await.expect("services");
        described.services()[0].clone()
    }

    /// Waits until the service is as it is told to be.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Service) -> bool) -> Service {
        let begun = Instant::now();
        loop {
            let service = self.described().await;
            if is_so(&service) {
                return service;
            }
            assert!(begun.elapsed() < PATIENCE, "never {what}: {service:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub async fn until_completed(&self, definition: &str) -> Service {
        let completed = |service: &Service| {
            let [only] = service.deployments() else {
                return false;
            };
            only.rollout_state() == Some(&DeploymentRolloutState::Completed)
                && only.task_definition() == Some(definition)
        };
        self.until(&format!("completed {definition}"), completed)
            .await
    }

    /// Asks through the load balancer: status and body.
    pub async fn ask(&self) -> (StatusCode, String) {
        let answer = self
            .http
            .get(format!("{}/", self.balancer.url))
            .send()
            .await;
        let answer = answer.expect("an answer");
        (answer.status(), answer.text().await.expect("a body"))
    }

    pub async fn answers(&self, times: usize) -> BTreeSet<(StatusCode, String)> {
        let mut answers = BTreeSet::new();
        for _ in 0..times {
            answers.insert(self.ask().await);
        }
        answers
    }

    pub async fn tasks(&self, status: DesiredStatus) -> Vec<Task> {
        let listed = self.ecs.list_tasks().cluster("prod").service_name("web");
        let listed = listed.desired_status(status).send().await.expect("tasks");
        if listed.task_arns().is_empty() {
            return Vec::new();
        }
        let described = self.ecs.describe_tasks().cluster("prod");
        let described = described.set_tasks(listed.task_arns).send().await;
        described.expect("tasks").tasks.unwrap_or_default()
    }
}

pub fn ok(version: &str) -> BTreeSet<(StatusCode, String)> {
    [(StatusCode::OK, version.to_owned())].into()
}

pub fn primary(service: &Service) -> &Deployment {
    &service.deployments()[0]
}

pub fn breaker(rollback: bool) -> DeploymentConfiguration {
    let breaker = DeploymentCircuitBreaker::builder()
        .enable(true)
        .rollback(rollback)
        .build();
    DeploymentConfiguration::builder()
        .deployment_circuit_breaker(breaker)
        .build()
}
