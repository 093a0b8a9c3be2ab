//! One service that ECS moves from task definition to task definition. The candidate has nothing or
//! everything: 100 % is to deploy it, 0 % is to deploy what ran before.
//!
//! ECS says at once what a service shall run, and only in time that it does: so the weight is read
//! from the first, and a candidate's tasks count only when ECS has rolled it out. Where ECS's own
//! circuit breaker puts the old one back, the weight is 0 again.

use aws_sdk_ecs::types::{Deployment, DeploymentControllerType, Service};
use engine::{Class, PortError};
use futures::try_join;
use release::config::EcsRolling;
use release::{Arms, Live, Weight};

use super::{describe, is_complete, movable, primary, registered, settled, update};
use crate::Aws;

/// What runs, and what shall: task definitions' ARNs.
pub(in crate::targets) async fn arms(aws: &Aws, target: &EcsRolling) -> Result<Arms, PortError> {
    let (service, candidate) = try_join!(
        describe(aws, &target.service),
        registered(aws, &target.service, &target.task_definition)
    )?;
    movable(&target.service, &service, &DeploymentControllerType::Ecs)?;
    let stable = settled(&target.service, &service)?.to_owned();
    Ok(Arms { stable, candidate })
}

/// Deploys what shall run at this weight, unless the service is to run that already.
pub(in crate::targets) async fn set_weight(
    aws: &Aws,
    target: &EcsRolling,
    arms: &Arms,
    weight: Weight,
) -> Result<(), PortError> {
    let arn = &target.service;
    let wanted = match weight {
        Weight::ZERO => &arms.stable,
        Weight::FULL => &arms.candidate,
        _ => {
            return Err(PortError::new(
                Class::Permanent,
                format!("give the candidate {weight} of service {arn}"),
                "a rolling service has one version at a time",
            ));
        }
    };
    if weight_of(target, &describe(aws, arn).await?, arms)? == weight {
        return Ok(());
    }
    update(aws, arn, Some(wanted), None).await
}

/// All or nothing, by what the service is to run.
pub(in crate::targets) async fn weight(
    aws: &Aws,
    target: &EcsRolling,
    arms: &Arms,
) -> Result<Weight, PortError> {
    weight_of(target, &describe(aws, &target.service).await?, arms)
}

/// The weight, the tasks of the stable version, and those of the candidate once it is rolled out.
pub(in crate::targets) async fn live(
    aws: &Aws,
    target: &EcsRolling,
    arms: &Arms,
) -> Result<Live, PortError> {
    let service = describe(aws, &target.service).await?;
    let rolled_out = primary(&service).is_some_and(is_complete);
    let weight = weight_of(target, &service, arms)?;
    Ok(Live {
        weight,
        stable_healthy: tasks_of(&service, &arms.stable),
        candidate_healthy: match rolled_out {
            true => tasks_of(&service, &arms.candidate),
            false => 0,
        },
        // Nothing has to be up before ECS is told to put it up.
        candidate_ready: weight == Weight::ZERO || rolled_out,
    })
}

fn weight_of(target: &EcsRolling, service: &Service, arms: &Arms) -> Result<Weight, PortError> {
    let runs = primary(service).and_then(Deployment::task_definition);
    match runs {
        Some(runs) if runs == arms.stable => Ok(Weight::ZERO),
        Some(runs) if runs == arms.candidate => Ok(Weight::FULL),
        runs => Err(moved(target, arms, runs.unwrap_or("nothing"))),
    }
}

fn moved(target: &EcsRolling, arms: &Arms, runs: &str) -> PortError {
    let arn = &target.service;
    PortError::new(
        Class::Misconfigured,
        format!("tell which version service {arn} runs"),
        format!(
            "somebody else has deployed {runs}, while this release moves it from {stable} to \
             {candidate}; to end this release put it back with `aws ecs update-service --cluster {} \
             --service {} --task-definition {stable}`, then `penstock abort` the release; whatever \
             else deploys to this service must not do so during a release",
            arn.cluster(),
            arn.name(),
            stable = arms.stable,
            candidate = arms.candidate,
        ),
    )
}

/// The running tasks of all deployments of this task definition.
fn tasks_of(service: &Service, task_definition: &str) -> u32 {
    let deployments = service.deployments().iter();
    let of_it = deployments.filter(|d| d.task_definition() == Some(task_definition));
    let running = of_it.filter_map(|d| u32::try_from(d.running_count()).ok());
    running.fold(0, u32::saturating_add)
}
