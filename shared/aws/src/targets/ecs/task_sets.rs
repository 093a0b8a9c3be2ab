//! Two task sets of one service, whose deployment controller is EXTERNAL: a release makes the
//! candidate's in the free target group, moves the weights, and deletes the one that serves nothing.
//!
//! Which task set ECS calls PRIMARY moves no request; but ECS shows its task definition as the
//! service's, and does not delete it.

use aws_sdk_ecs::types::{
    DeploymentControllerType, LoadBalancer, Scale, ScaleUnit, Service, StabilityStatus, TaskSet,
};
use engine::PortError;
use futures::try_join;
use release::config::{EcsTaskSets, ServiceArn};
use release::{Arms, Live};
use uuid::Uuid;

use super::{
    PRIMARY, all_healthy, arn_of, classified, describe, has_group, is_idle, movable, refused,
    registered,
};
use crate::Aws;
use crate::error::{failed, odd_answer};
use crate::targets::alb;

/// The status of a task set that is being deleted.
const DRAINING: &str = "DRAINING";
/// What tells people who made a task set.
const EXTERNAL_ID: &str = "penstock";
/// All tasks that the service is to have, in percent.
const WHOLE: f64 = 100.0;

/// The group of the task set that serves, and the free one. Both are the task definition where the
/// one that serves runs it already.
pub(in crate::targets) async fn arms(aws: &Aws, target: &EcsTaskSets) -> Result<Arms, PortError> {
    let rule = target.alb();
    let (arms, service, wanted) = try_join!(
        alb::arms(aws, &rule),
        describe(aws, &target.service),
        registered(aws, &target.service, &target.task_definition)
    )?;
    movable(
        &target.service,
        &service,
        &DeploymentControllerType::External,
    )?;
    let stable = the_one(&target.service, &service, &arms.stable)?;
    if stable.task_definition() == Some(&wanted) {
        return Ok(Arms {
            stable: wanted.clone(),
            candidate: wanted,
        });
    }
    let other = of_group(&service, &arms.candidate).find(|set| !is_wanted(set, &wanted));
    if let Some(other) = other {
        return Err(left_over(&target.service, other, &arms.candidate));
    }
    Ok(arms)
}

fn left_over(service: &ServiceArn, set: &TaskSet, group: &str) -> PortError {
    let id = set.id().unwrap_or_default();
    refused(
        service,
        format!(
            "its task set {id} ({} at {} %) is in {group}, which must be free for the candidate; \
             delete it with `aws ecs delete-task-set --cluster {} --service {} --task-set {id} \
             --force`",
            set.task_definition().unwrap_or("no task definition"),
            set.scale().map_or(0.0, Scale::value),
            service.cluster(),
            service.name()
        ),
    )
}

/// Whether it is what a release of this task definition would make.
fn is_wanted(set: &TaskSet, wanted: &str) -> bool {
    let whole = |scale: &Scale| scale.value() >= WHOLE;
    set.task_definition() == Some(wanted) && set.scale().is_some_and(whole)
}

/// The service's task sets in this target group, without those that are going.
fn of_group<'a>(service: &'a Service, group: &'a str) -> impl Iterator<Item = &'a TaskSet> {
    let sets = service.task_sets().iter();
    sets.filter(move |set| set.status() != Some(DRAINING) && has_group(set.load_balancers(), group))
}

/// The task set that serves this group.
fn the_one<'a>(
    arn: &ServiceArn,
    service: &'a Service,
    group: &'a str,
) -> Result<&'a TaskSet, PortError> {
    let mut sets = of_group(service, group);
    match (sets.next(), sets.next()) {
        (Some(set), None) => Ok(set),
        (None, _) => Err(refused(
            arn,
            format!(
                "it has no task set in {group}, to which all requests go; create one there, with \
                 the version that shall serve until the release"
            ),
        )),
        (Some(_), Some(_)) => Err(refused(
            arn,
            format!("it has several task sets in {group}; delete all but the one that serves"),
        )),
    }
}

/// Makes the candidate's task set like the stable one, but for what it runs, unless there is one.
pub(in crate::targets) async fn deploy(
    aws: &Aws,
    target: &EcsTaskSets,
    arms: &Arms,
) -> Result<(), PortError> {
    let wanted = arn_of(&target.service, &target.task_definition)?;
    let service = describe(aws, &target.service).await?;
    if of_group(&service, &arms.candidate).any(|set| is_wanted(set, &wanted)) {
        return Ok(());
    }
    let stable = the_one(&target.service, &service, &arms.stable)?;
    let strategy = stable.capacity_provider_strategy.clone();
    let strategy = strategy.filter(|strategy| !strategy.is_empty());
    // ECS takes one of the two, and tells both.
    let launch_type = match strategy {
        Some(_) => None,
        None => stable.launch_type.clone(),
    };
    let behind = LoadBalancer::builder()
        .target_group_arn(&arms.candidate)
        .container_name(&target.container)
        .container_port(i32::from(target.port));
    let scale = Scale::builder().unit(ScaleUnit::Percent).value(WHOLE);
    let call = aws.ecs.create_task_set();
    let created = call
        .cluster(target.service.cluster())
        .service(target.service.name())
        .task_definition(&wanted)
        .external_id(EXTERNAL_ID)
        // An attempt whose answer was lost is repeated by the SDK with the same token.
        .client_token(Uuid::new_v4().to_string())
        .load_balancers(behind.build())
        .set_network_configuration(stable.network_configuration.clone())
        .set_service_registries(stable.service_registries.clone())
        .set_capacity_provider_strategy(strategy)
        .set_launch_type(launch_type)
        .set_platform_version(stable.platform_version.clone())
        .scale(scale.build())
        .send()
        .await;
    let doing = || {
        format!(
            "create a task set of {wanted} in service {}",
            target.service
        )
    };
    created
        .map(drop)
        .map_err(|e| classified(failed(doing(), e)))
}

/// Deletes the task sets of the idle side, once the other one is primary.
pub(in crate::targets) async fn retire(
    aws: &Aws,
    target: &EcsTaskSets,
    arms: &Arms,
    idle: &str,
) -> Result<(), PortError> {
    let rule = target.alb();
    let arn = &target.service;
    let ((), service) = try_join!(is_idle(aws, &rule, arms, idle), describe(aws, arn))?;
    let idle_sets: Vec<_> = of_group(&service, idle).collect();
    if idle_sets.is_empty() {
        return Ok(());
    }
    let serving = match idle == arms.stable {
        true => &arms.candidate,
        false => &arms.stable,
    };
    let serving = the_one(arn, &service, serving)?;
    if serving.status() != Some(PRIMARY) {
        make_primary(aws, arn, id(serving)?).await?;
    }
    for set in idle_sets {
        delete(aws, arn, id(set)?).await?;
    }
    Ok(())
}

async fn make_primary(aws: &Aws, arn: &ServiceArn, id: &str) -> Result<(), PortError> {
    let call = aws.ecs.update_service_primary_task_set();
    let call = call.cluster(arn.cluster()).service(arn.name());
    let made = call.primary_task_set(id).send().await;
    let doing = || format!("make task set {id} of service {arn} the primary one");
    made.map(drop).map_err(|e| classified(failed(doing(), e)))
}

async fn delete(aws: &Aws, arn: &ServiceArn, id: &str) -> Result<(), PortError> {
    let call = aws.ecs.delete_task_set();
    let call = call.cluster(arn.cluster()).service(arn.name());
    // Without force ECS deletes only what has been scaled to 0 before.
    let deleted = call.task_set(id).force(true).send().await;
    let doing = || format!("delete task set {id} of service {arn}");
    match deleted.map_err(|e| classified(failed(doing(), e))) {
        Err(error) if !error.said("TaskSetNotFoundException") => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn id(set: &TaskSet) -> Result<&str, PortError> {
    let id = set.id();
    id.ok_or_else(|| odd_answer("tell task sets apart", "one has no id"))
}

/// The weights and healthy hosts of the rule, and whether the candidate's task set is all up.
pub(in crate::targets) async fn live(
    aws: &Aws,
    target: &EcsTaskSets,
    arms: &Arms,
) -> Result<Live, PortError> {
    let rule = target.alb();
    let wanted = arn_of(&target.service, &target.task_definition)?;
    let (live, service) = try_join!(alb::live(aws, &rule, arms), describe(aws, &target.service))?;
    let is_up = |set: &TaskSet| {
        is_wanted(set, &wanted)
            && set.stability_status() == Some(&StabilityStatus::SteadyState)
            && set.running_count() == set.computed_desired_count()
            && all_healthy(set.running_count(), live.candidate_healthy)
    };
    Ok(Live {
        candidate_ready: of_group(&service, &arms.candidate).any(is_up),
        ..live
    })
}
