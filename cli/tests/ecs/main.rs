//! The laptop's ECS, seen from outside: through the Rust SDK, and through a load balancer in front of
//! tasks that are real processes.

mod refusals;
mod shapes;
mod stage;
mod task_sets;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use aws::local::ecs::error::ProvideErrorMetadata;
use aws::local::ecs::types::{
    DeploymentConfiguration, DeploymentRolloutState, DesiredStatus, Service,
};

use stage::{PATIENCE, SERVER, Stage, breaker, ok, primary};

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
    assert!(old.len() >= 2, "both old tasks were stopped");
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
async fn a_service_deployment_that_is_stopped_goes_back_to_what_was_completed_and_says_so() {
    let stage = Stage::new().await;
    let one = stage.version("one").await;
    let plain = || DeploymentConfiguration::builder().build();
    stage.service(&one, plain()).await;
    stage.until_completed(&one).await;
    let bad = stage.define(&["sh", "-c", "exit 3"], &[]).await;
    stage.deploy(&bad).await;
    let last = async || {
        let list = stage.ecs.list_service_deployments().cluster("prod");
        let listed = list.service("web").send().await.unwrap();
        let brief = &listed.service_deployments()[0];
        let arn = brief.service_deployment_arn().unwrap().to_owned();
        (arn, brief.status().unwrap().as_str().to_owned())
    };
    let (arn, status) = last().await;
    assert_eq!(status, "IN_PROGRESS");
    let stop = async |arn: &str| {
        let stop = stage.ecs.stop_service_deployment();
        stop.service_deployment_arn(arn).send().await
    };
    stop(&arn).await.unwrap();
    let again = stop(&arn).await.unwrap_err();
    assert_eq!(again.code(), Some("ConflictException"));
    let (same, status) = last().await;
    // The old tasks never went, so that it may be back already.
    assert_eq!(same, arn);
    assert!(status.starts_with("ROLLBACK_"), "{status}");
    stage.until_completed(&one).await;
    assert_eq!(
        last().await,
        (arn.clone(), "ROLLBACK_SUCCESSFUL".to_owned())
    );
    assert_eq!(stage.answers(10).await, ok("one"));
    let describe = stage.ecs.describe_service_deployments();
    let described = describe.service_deployment_arns(&arn).send().await.unwrap();
    let described = &described.service_deployments()[0];
    assert_eq!(described.service_deployment_arn(), Some(arn.as_str()));
    // What is deployed next is a deployment of its own.
    let two = stage.version("two").await;
    stage.deploy(&two).await;
    assert_ne!(last().await.0, arn);
    let unknown = stop(&arn).await.unwrap_err();
    assert_eq!(unknown.code(), Some("ServiceDeploymentNotFoundException"));
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
    let replaced = |service: &Service| {
        let events = service.events().iter().filter_map(|it| it.message());
        let started = events.filter(|it| it.contains("has started"));
        started.count() >= 3 && service.running_count() == 2
    };
    stage.until("replaced", replaced).await;
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
