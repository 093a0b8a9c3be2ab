//! The laptop's ECS, seen from outside: through the Rust SDK, and through a load balancer in front of
//! tasks that are real processes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws::local::ecs::config::{BehaviorVersion, Credentials, Region};
use aws::local::ecs::error::ProvideErrorMetadata;
use aws::local::ecs::types::{
    ContainerDefinition, Deployment, DeploymentCircuitBreaker, DeploymentConfiguration,
    DeploymentRolloutState, DesiredStatus, KeyValuePair, LoadBalancer, PortMapping, Service, Task,
};
use aws::local::{ecs, elbv2};
use penstock::player::{Player, PlayerConfig};
use penstock::stack::Balancer;
use reqwest::StatusCode;

/// Longest wait for something that takes a few processes' starts.
const PATIENCE: Duration = Duration::from_secs(60);
/// The port that a container would listen on.
const CONTAINER_PORT: u16 = 8080;

/// Answers every request with its version; `/health` with what `HEALTH` says.
const SERVER: &str = "
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

/// A player, clients of it, and a load balancer in front of whatever a test runs.
struct Stage {
    player: Player,
    ecs: ecs::Client,
    balancer: Balancer,
    http: reqwest::Client,
}

impl Stage {
    async fn new() -> Self {
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
            balancer,
            http: reqwest::Client::new(),
        }
    }

    /// Registers a revision of `web` that runs this command; its ARN.
    async fn define(&self, command: &[&str], environment: &[(&str, &str)]) -> String {
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

    async fn version(&self, version: &str) -> String {
        self.define(&["python3", "-c", SERVER], &[("VERSION", version)])
            .await
    }

    fn behind(&self, group: &str) -> LoadBalancer {
        LoadBalancer::builder()
            .target_group_arn(group)
            .container_name("web")
            .container_port(CONTAINER_PORT.into())
            .build()
    }

    /// A service of two tasks behind the group that has all traffic.
    async fn service(&self, definition: &str, configuration: DeploymentConfiguration) {
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

    async fn deploy(&self, definition: &str) {
        let update = self.ecs.update_service().cluster("prod").service("web");
        let update = update.task_definition(definition).send().await;
        update.expect("an updated service");
    }

    async fn described(&self) -> Service {
        let described = self.ecs.describe_services().cluster("prod");
        let described = described.services("web").send().await.expect("services");
        described.services()[0].clone()
    }

    /// Waits until the service is as it is told to be.
    async fn until(&self, what: &str, is_so: impl Fn(&Service) -> bool) -> Service {
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

    async fn until_completed(&self, definition: &str) -> Service {
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
    async fn ask(&self) -> (StatusCode, String) {
        let answer = self
            .http
            .get(format!("{}/", self.balancer.url))
            .send()
            .await;
        let answer = answer.expect("an answer");
        (answer.status(), answer.text().await.expect("a body"))
    }

    async fn answers(&self, times: usize) -> BTreeSet<(StatusCode, String)> {
        let mut answers = BTreeSet::new();
        for _ in 0..times {
            answers.insert(self.ask().await);
        }
        answers
    }

    async fn tasks(&self, status: DesiredStatus) -> Vec<Task> {
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

fn ok(version: &str) -> BTreeSet<(StatusCode, String)> {
    [(StatusCode::OK, version.to_owned())].into()
}

fn primary(service: &Service) -> &Deployment {
    &service.deployments()[0]
}

fn breaker(rollback: bool) -> DeploymentConfiguration {
    let breaker = DeploymentCircuitBreaker::builder()
        .enable(true)
        .rollback(rollback)
        .build();
    DeploymentConfiguration::builder()
        .deployment_circuit_breaker(breaker)
        .build()
}

#[tokio::test]
async fn a_service_comes_up_and_serves_through_its_target_group() {
    let stage = Stage::new().await;
    let definition = stage.version("one").await;
    stage
        .service(&definition, DeploymentConfiguration::builder().build())
        .await;
    let begun = stage.described().await;
    assert_eq!(
        primary(&begun).rollout_state(),
        Some(&DeploymentRolloutState::InProgress)
    );
    let service = stage.until_completed(&definition).await;
    assert_eq!((service.running_count(), service.pending_count()), (2, 0));
    assert_eq!(service.task_definition(), Some(definition.as_str()));
    assert_eq!(
        service.service_arn(),
        Some("arn:aws:ecs:us-east-1:000000000000:service/prod/web")
    );
    assert_eq!(stage.answers(10).await, ok("one"));
    let tasks = stage.tasks(DesiredStatus::Running).await;
    let ports: BTreeSet<_> = tasks
        .iter()
        .flat_map(|task| task.containers()[0].network_bindings())
        .map(|binding| (binding.container_port(), binding.host_port()))
        .collect();
    assert_eq!(ports.len(), 2, "each task has a port of its own: {ports:?}");
    stage.player.stop().await;
}

#[tokio::test]
async fn a_rolling_update_answers_every_request_until_only_the_new_version_does() {
    let stage = Stage::new().await;
    let one = stage.version("one").await;
    stage
        .service(&one, DeploymentConfiguration::builder().build())
        .await;
    stage.until_completed(&one).await;
    let two = stage.version("two").await;
    stage.deploy(&two).await;
    let both = stage.described().await;
    let states: Vec<_> = both
        .deployments()
        .iter()
        .map(|it| {
            (
                it.status().expect("a status"),
                it.task_definition().expect("an ARN"),
            )
        })
        .collect();
    assert_eq!(
        states,
        [("PRIMARY", two.as_str()), ("ACTIVE", one.as_str())]
    );
    let mut seen = BTreeSet::new();
    let mut rolled = Box::pin(stage.until_completed(&two));
    loop {
        tokio::select! {
            _ = &mut rolled => break,
            answer = stage.ask() => seen.insert(answer),
        };
    }
    drop(rolled);
    let expected: BTreeSet<_> = ok("one").union(&ok("two")).cloned().collect();
    assert!(seen.is_subset(&expected), "{seen:?}");
    assert_eq!(stage.answers(10).await, ok("two"));
    let old = stage.tasks(DesiredStatus::Stopped).await;
    assert!(old.iter().all(|task| {
        task.stop_code()
            .is_some_and(|code| code.as_str() == "ServiceSchedulerInitiated")
    }));
    assert_eq!(old.len(), 2);
    stage.player.stop().await;
}

#[tokio::test]
async fn the_circuit_breaker_goes_back_to_what_was_completed() {
    let stage = Stage::new().await;
    let one = stage.version("one").await;
    stage.service(&one, breaker(true)).await;
    let before = stage.until_completed(&one).await;
    let bad = stage
        .define(&["sh", "-c", "echo no database; exit 3"], &[])
        .await;
    stage.deploy(&bad).await;
    let back = |service: &Service| {
        let reason = primary(service).rollout_state_reason().unwrap_or_default();
        reason.contains("rolling back") && service.deployments().len() > 1
            || primary(service).task_definition() == Some(one.as_str())
    };
    stage.until("rolling back", back).await;
    let after = stage.until_completed(&one).await;
    assert_eq!(primary(&after).id(), primary(&before).id());
    assert_eq!(stage.answers(10).await, ok("one"));
    let told: Vec<_> = after
        .events()
        .iter()
        .filter_map(|it| it.message())
        .collect();
    for expected in [
        "container web exited with 3: no database",
        "deployment failed: tasks failed to start",
        "rolling back to (deployment ecs-svc/",
    ] {
        assert!(
            told.iter().any(|it| it.contains(expected)),
            "{expected}: {told:#?}"
        );
    }
    let ended = stage.tasks(DesiredStatus::Stopped).await;
    let container = ended[0].containers()[0].clone();
    assert_eq!(
        (container.exit_code(), container.reason()),
        (Some(3), Some("no database"))
    );
    stage.player.stop().await;
}

#[tokio::test]
async fn a_deployment_that_never_becomes_healthy_fails_and_the_old_one_serves_on() {
    let stage = Stage::new().await;
    let one = stage.version("one").await;
    stage.service(&one, breaker(false)).await;
    stage.until_completed(&one).await;
    let update = stage.ecs.update_service().cluster("prod").service("web");
    let update = update.health_check_grace_period_seconds(2);
    let ill = [("VERSION", "two"), ("HEALTH", "500")];
    let ill = stage.define(&["python3", "-c", SERVER], &ill).await;
    update
        .task_definition(&ill)
        .send()
        .await
        .expect("an update");
    let failed = |service: &Service| {
        primary(service).rollout_state() == Some(&DeploymentRolloutState::Failed)
    };
    let service = stage.until("failed", failed).await;
    assert_eq!(primary(&service).task_definition(), Some(ill.as_str()));
    assert!(primary(&service).failed_tasks() >= 3);
    assert_eq!(service.deployments()[1].running_count(), 2);
    let ended = stage.tasks(DesiredStatus::Stopped).await;
    let reason = ended.iter().find_map(|task| task.stopped_reason());
    let reason = reason.expect("a reason");
    assert!(reason.contains("failed ELB health checks"), "{reason}");
    stage.player.stop().await;
}

#[tokio::test]
async fn a_task_that_dies_is_replaced() {
    let stage = Stage::new().await;
    let one = stage.version("one").await;
    stage
        .service(&one, DeploymentConfiguration::builder().build())
        .await;
    stage.until_completed(&one).await;
    let victim = stage.tasks(DesiredStatus::Running).await[0].clone();
    let stopped = stage.ecs.stop_task().cluster("prod");
    let stopped = stopped.task(victim.task_arn().expect("an ARN"));
    stopped
        .reason("a test")
        .send()
        .await
        .expect("a stopped task");
    let one_less = |service: &Service| {
        let events = service.events().iter().filter_map(|it| it.message());
        let started = events.filter(|it| it.contains("has started"));
        started.count() == 3 && service.running_count() == 2
    };
    stage.until("replaced", one_less).await;
    let running = stage.tasks(DesiredStatus::Running).await;
    assert!(
        running
            .iter()
            .all(|task| task.task_arn() != victim.task_arn())
    );
    assert_eq!(stage.answers(6).await, ok("one"));
    stage.player.stop().await;
}

#[tokio::test]
async fn no_task_outlives_the_player() {
    let stage = Stage::new().await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path");
    let script = "trap '' TERM; echo $$ >> \"$FILE\"; while :; do sleep 0.1; done";
    let stubborn = stage
        .define(&["bash", "-c", script], &[("FILE", path)])
        .await;
    let created = stage
        .ecs
        .create_service()
        .cluster("prod")
        .service_name("web");
    let created = created.task_definition(&stubborn).desired_count(2);
    created.send().await.expect("a service");
    stage.until_completed(&stubborn).await;
    stage.player.stop().await;
    let pids = std::fs::read_to_string(path).expect("process ids");
    assert_eq!(pids.lines().count(), 2);
    for pid in pids.lines() {
        let begun = Instant::now();
        let runs = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
            stat.is_ok_and(|stat| !stat.contains(") Z "))
        };
        while runs() {
            assert!(begun.elapsed() < PATIENCE, "{pid} still runs");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_service_is_scaled_to_nothing_and_deleted() {
    let stage = Stage::new().await;
    let one = stage.version("one").await;
    stage
        .service(&one, DeploymentConfiguration::builder().build())
        .await;
    stage.until_completed(&one).await;
    let delete = || stage.ecs.delete_service().cluster("prod").service("web");
    let refused = delete().send().await.expect_err("a refusal");
    assert_eq!(refused.code(), Some("InvalidParameterException"));
    let update = stage.ecs.update_service().cluster("prod").service("web");
    update.desired_count(0).send().await.expect("an update");
    stage
        .until("empty", |service| service.running_count() == 0)
        .await;
    let deleted = delete().send().await.expect("a deleted service");
    let status = deleted
        .service()
        .and_then(|it| it.status())
        .map(str::to_owned);
    assert!(
        matches!(status.as_deref(), Some("DRAINING" | "INACTIVE")),
        "{status:?}"
    );
    stage
        .until("inactive", |service| service.status() == Some("INACTIVE"))
        .await;
    let update = stage.ecs.update_service().cluster("prod").service("web");
    let refused = update.desired_count(1).send().await.expect_err("a refusal");
    assert_eq!(refused.code(), Some("ServiceNotActiveException"));
    stage
        .service(&one, DeploymentConfiguration::builder().build())
        .await;
    stage.until_completed(&one).await;
    stage.player.stop().await;
}
