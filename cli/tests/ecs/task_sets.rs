//! Services whose tasks the caller deploys, task set by task set.

use std::time::Instant;

use aws::local::ecs::error::ProvideErrorMetadata;
use aws::local::ecs::types::{
    DeploymentController, DeploymentControllerType, DesiredStatus, Scale, ScaleUnit,
    StabilityStatus, TaskSet,
};
use aws::local::elbv2::types::{Action, ActionTypeEnum};

use crate::stage::{PATIENCE, Stage, ok};

impl Stage {
    async fn external(&self) {
        let controller = DeploymentController::builder()
            .r#type(DeploymentControllerType::External)
            .build()
            .expect("a controller");
        let service = self
            .ecs
            .create_service()
            .cluster("prod")
            .service_name("web");
        let service = service.desired_count(2).deployment_controller(controller);
        service.send().await.expect("a service");
    }

    async fn put_up(&self, definition: &str, group: &str, percent: f64) -> TaskSet {
        let set = self.ecs.create_task_set().cluster("prod").service("web");
        let set = set
            .task_definition(definition)
            .scale(scale(percent))
            .external_id("release-1")
            .load_balancers(self.behind(group));
        let set = set.send().await.expect("a task set");
        set.task_set.expect("a task set")
    }

    async fn scaled(&self, id: &str, percent: f64) -> TaskSet {
        let set = self.ecs.update_task_set().cluster("prod").service("web");
        let set = set.task_set(id).scale(scale(percent)).send().await;
        set.expect("a task set").task_set.expect("a task set")
    }

    async fn make_primary(&self, id: &str) {
        let made = self.ecs.update_service_primary_task_set();
        let made = made.cluster("prod").service("web").primary_task_set(id);
        made.send().await.expect("a primary task set");
    }

    async fn task_sets(&self) -> Vec<TaskSet> {
        let sets = self.ecs.describe_task_sets().cluster("prod").service("web");
        let sets = sets.send().await.expect("task sets");
        sets.task_sets.unwrap_or_default()
    }

    async fn until_sets(&self, what: &str, are_so: impl Fn(&[TaskSet]) -> bool) {
        let begun = Instant::now();
        loop {
            let sets = self.task_sets().await;
            if are_so(&sets) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "never {what}: {sets:#?}");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    }

    async fn send_all_to(&self, group: &str) {
        let forward = Action::builder()
            .r#type(ActionTypeEnum::Forward)
            .target_group_arn(group)
            .build();
        let rule = self.elbv2.modify_rule().rule_arn(&self.balancer.rule);
        rule.actions(forward).send().await.expect("a modified rule");
    }
}

fn scale(percent: f64) -> Scale {
    Scale::builder()
        .value(percent)
        .unit(ScaleUnit::Percent)
        .build()
}

fn is_steady(set: &TaskSet) -> bool {
    set.stability_status() == Some(&StabilityStatus::SteadyState)
}

#[tokio::test]
async fn a_task_set_is_put_up_beside_another_and_the_weights_decide_who_is_asked() {
    let stage = Stage::new().await;
    let (one, two) = (stage.version("one").await, stage.version("two").await);
    stage.external().await;
    let blue = stage.put_up(&one, &stage.balancer.blue, 100.0).await;
    assert_eq!(blue.status(), Some("ACTIVE"));
    assert_eq!(blue.stability_status(), Some(&StabilityStatus::Stabilizing));
    let blue = blue.id().expect("an id").to_owned();
    stage
        .until_sets("steady", |sets| sets.iter().all(is_steady))
        .await;
    stage.make_primary(&blue).await;
    let service = stage.described().await;
    assert_eq!(service.task_definition(), Some(one.as_str()));
    assert_eq!(
        (service.running_count(), service.deployments().len()),
        (2, 0)
    );
    assert_eq!(stage.answers(6).await, ok("one"));

    let green = stage.put_up(&two, &stage.balancer.green, 50.0).await;
    assert_eq!(green.computed_desired_count(), 1);
    let green = green.id().expect("an id").to_owned();
    stage
        .until_sets("steady", |sets| {
            sets.len() == 2 && sets.iter().all(is_steady)
        })
        .await;
    let green_counts = stage.scaled(&green, 75.0).await;
    assert_eq!(
        green_counts.computed_desired_count(),
        2,
        "one and a half is rounded up"
    );
    assert!(!is_steady(&green_counts));
    stage
        .until_sets("steady", |sets| sets.iter().all(is_steady))
        .await;
    assert_eq!(stage.tasks(DesiredStatus::Running).await.len(), 4);
    assert_eq!(
        stage.answers(6).await,
        ok("one"),
        "the weights decide, not the task sets"
    );
    stage.send_all_to(&stage.balancer.green).await;
    assert_eq!(stage.answers(6).await, ok("two"));
    stage.player.stop().await;
}

#[tokio::test]
async fn another_task_set_is_made_primary_and_the_old_one_taken_down() {
    let stage = Stage::new().await;
    let (one, two) = (stage.version("one").await, stage.version("two").await);
    stage.external().await;
    let blue = stage.put_up(&one, &stage.balancer.blue, 50.0).await;
    let blue = blue.id().expect("an id").to_owned();
    stage.make_primary(&blue).await;
    let green = stage.put_up(&two, &stage.balancer.green, 50.0).await;
    stage.make_primary(green.id().expect("an id")).await;
    let statuses: Vec<_> = stage
        .task_sets()
        .await
        .into_iter()
        .map(|it| it.status)
        .collect();
    assert_eq!(
        statuses,
        [Some("ACTIVE".to_owned()), Some("PRIMARY".to_owned())]
    );
    assert_eq!(
        stage.described().await.task_definition(),
        Some(two.as_str())
    );
    let delete = || {
        let delete = stage.ecs.delete_task_set().cluster("prod").service("web");
        delete.task_set(&blue)
    };
    let refused = delete().send().await.expect_err("a refusal");
    assert_eq!(refused.code(), Some("InvalidParameterException"));
    stage.scaled(&blue, 0.0).await;
    stage
        .until_sets("steady", |sets| sets.iter().all(is_steady))
        .await;
    let deleted = delete().send().await.expect("a deleted task set");
    assert_eq!(
        deleted.task_set().and_then(TaskSet::status),
        Some("DRAINING")
    );
    stage.until_sets("gone", |sets| sets.len() == 1).await;
    let refused = delete().send().await.expect_err("a refusal");
    assert_eq!(refused.code(), Some("TaskSetNotFoundException"));
    stage.player.stop().await;
}

#[tokio::test]
async fn a_task_set_that_serves_is_deleted_by_force_and_its_tasks_end() {
    let stage = Stage::new().await;
    let one = stage.version("one").await;
    stage.external().await;
    let blue = stage.put_up(&one, &stage.balancer.blue, 100.0).await;
    stage
        .until_sets("steady", |sets| sets.iter().all(is_steady))
        .await;
    let delete = stage.ecs.delete_task_set().cluster("prod").service("web");
    let delete = delete.set_task_set(blue.task_set_arn).force(true);
    delete.send().await.expect("a deleted task set");
    stage.until_sets("gone", <[TaskSet]>::is_empty).await;
    assert!(stage.tasks(DesiredStatus::Running).await.is_empty());
    assert_eq!(stage.tasks(DesiredStatus::Stopped).await.len(), 2);
    stage.player.stop().await;
}

#[tokio::test]
async fn asking_again_with_the_same_token_is_the_same_task_set() {
    let stage = Stage::new().await;
    let one = stage.version("one").await;
    stage.external().await;
    let ask = |token: &'static str| {
        let set = stage.ecs.create_task_set().cluster("prod").service("web");
        let set = set.task_definition(&one).scale(scale(0.0));
        async move {
            let made = set.client_token(token).send().await.expect("a task set");
            made.task_set.and_then(|set| set.id).expect("an id")
        }
    };
    let first = ask("a").await;
    assert_eq!(ask("a").await, first);
    assert_ne!(ask("b").await, first);
    assert_eq!(stage.task_sets().await.len(), 2);
    stage.player.stop().await;
}
