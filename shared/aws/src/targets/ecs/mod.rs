//! Services of Amazon ECS, in three ways: two that take turns, two task sets of one, and one that ECS
//! itself moves on.
//!
//! Where two sides stand behind a rule, its weights are the release's, and ECS only says whether
//! tasks run: its own idea of which side is primary moves no request.

pub(super) mod rolling;
pub(super) mod services;
pub(super) mod task_sets;

use std::collections::BTreeSet;

use aws_sdk_ecs::config;
use aws_sdk_ecs::types::{
    Deployment, DeploymentControllerType, DeploymentRolloutState, DeploymentStrategy, LoadBalancer,
    Service, TaskDefinition as Definition, TaskDefinitionStatus,
};
use engine::{Class, PortError};
use release::Arms;
use release::Weight;
use release::config::{AlbRule, ServiceArn, TaskDefinition};
use release::gate::digest_of;

use super::alb;
use crate::Aws;
use crate::error::{failed, misconfigured_if, odd_answer};
use crate::not_twice::NotTwice;

/// The status of a service that runs, and of a deployment or task set that is not the main one.
const ACTIVE: &str = "ACTIVE";
/// The status of the main deployment or task set.
const PRIMARY: &str = "PRIMARY";

/// ECS's words for what only another configuration can cure.
const MISCONFIGURED: [&str; 9] = [
    "ClientException",
    "ClusterNotFoundException",
    "InvalidParameterException",
    "PlatformTaskDefinitionIncompatibilityException",
    "PlatformUnknownException",
    "ServiceNotActiveException",
    "ServiceNotFoundException",
    "TaskSetNotFoundException",
    "UnsupportedFeatureException",
];

/// The service as it is, with its deployments and task sets.
async fn describe(aws: &Aws, arn: &ServiceArn) -> Result<Service, PortError> {
    let doing = || format!("look at service {arn}");
    let call = aws.ecs.describe_services().cluster(arn.cluster());
    let answer = call.services(arn.as_str()).send().await;
    let answer = answer.map_err(|e| classified(failed(doing(), e)))?;
    let service = answer.services.and_then(|mut services| services.pop());
    service.ok_or_else(|| {
        let why = "there is no such service; correct `service` in penstock.yaml";
        PortError::new(Class::Misconfigured, doing(), why)
    })
}

/// Refuses a service that is moved by others, or by other means than the target's kind needs.
fn movable(
    arn: &ServiceArn,
    service: &Service,
    needed: &DeploymentControllerType,
) -> Result<(), PortError> {
    let status = service.status().unwrap_or("unknown");
    if status != ACTIVE {
        return Err(refused(
            arn,
            format!("its status is {status}; name a service that is ACTIVE"),
        ));
    }
    let strategy = service
        .deployment_configuration()
        .and_then(|c| c.strategy());
    match strategy {
        None | Some(DeploymentStrategy::Rolling) => {}
        Some(native) => {
            return Err(refused(
                arn,
                format!(
                    "its deployment strategy is {native}, with which ECS itself moves the weights of \
                     the rule, and would undo what a release sets; either set \
                     deploymentConfiguration.strategy to ROLLING, or leave the release to ECS, with \
                     a lifecycle hook at POST_TEST_TRAFFIC_SHIFT for its checks"
                ),
            ));
        }
    }
    let controller = service.deployment_controller().map(|c| c.r#type());
    let controller = controller.unwrap_or(&DeploymentControllerType::Ecs);
    if controller == needed {
        return Ok(());
    }
    let instead = match controller {
        DeploymentControllerType::CodeDeploy => {
            "with which CodeDeploy moves its traffic; release it by a CodeDeploy action, or by a new \
             service, because the controller is chosen when a service is made"
        }
        DeploymentControllerType::External => {
            "which has task sets instead of deployments; name it under ecs-task-sets"
        }
        _ => {
            "and task sets need EXTERNAL, which is chosen when a service is made; make a new service, \
             or name this one under ecs-services or ecs-rolling"
        }
    };
    let why = format!("its deployment controller is {controller}, {instead}");
    Err(refused(arn, why))
}

/// A service that a release cannot begin with.
fn refused(arn: &ServiceArn, why: String) -> PortError {
    PortError::new(Class::Misconfigured, format!("release service {arn}"), why)
}

/// The ARN of what shall run, which ECS must know.
async fn registered(
    aws: &Aws,
    service: &ServiceArn,
    wanted: &TaskDefinition,
) -> Result<String, PortError> {
    let arn = arn_of(service, wanted)?;
    let definition = defined(aws, &arn).await?;
    let doing = || format!("find task definition {arn}");
    match definition.and_then(|t| t.status) {
        Some(TaskDefinitionStatus::Active) => Ok(arn),
        Some(status) => Err(PortError::new(
            Class::Misconfigured,
            doing(),
            format!("its status is {status}; register it again and name the new revision"),
        )),
        None => Err(odd_answer(doing(), "the answer has no status")),
    }
}

/// What ECS knows of a task definition.
async fn defined(aws: &Aws, arn: &str) -> Result<Option<Definition>, PortError> {
    let call = aws.ecs.describe_task_definition();
    let answer = call.task_definition(arn).send().await;
    let answer = answer.map_err(|e| classified(failed(format!("find task definition {arn}"), e)));
    Ok(answer?.task_definition)
}

/// The digests of the images of what shall run, of those that are named by digest.
pub(super) async fn images(
    aws: &Aws,
    service: &ServiceArn,
    wanted: &TaskDefinition,
) -> Result<BTreeSet<String>, PortError> {
    let definition = defined(aws, &arn_of(service, wanted)?).await?;
    let containers = definition.iter().flat_map(|d| d.container_definitions());
    let images = containers.filter_map(|container| digest_of(container.image()?));
    Ok(images.map(str::to_owned).collect())
}

/// The ARN of what shall run.
fn arn_of(service: &ServiceArn, wanted: &TaskDefinition) -> Result<String, PortError> {
    let arn = wanted.arn(service);
    arn.ok_or_else(|| {
        let doing = format!("find the task definition of {service}");
        PortError::new(Class::Permanent, doing, "its file has not been read")
    })
}

/// The deployment that says what the service runs.
fn primary(service: &Service) -> Option<&Deployment> {
    let mut deployments = service.deployments().iter();
    deployments.find(|d| d.status() == Some(PRIMARY))
}

/// Whether ECS has put all of it up.
fn is_complete(deployment: &Deployment) -> bool {
    deployment.rollout_state() == Some(&DeploymentRolloutState::Completed)
        && deployment.desired_count() > 0
        && deployment.running_count() == deployment.desired_count()
}

/// What the service runs, once that is settled: a release has nothing to compare with, and nothing to
/// go back to, in the middle of somebody else's deployment.
fn settled<'a>(arn: &ServiceArn, service: &'a Service) -> Result<&'a str, PortError> {
    let doing = || format!("tell the stable version of service {arn}");
    let primary = primary(service);
    let (Some(primary), Some(runs)) = (primary, primary.and_then(Deployment::task_definition))
    else {
        return Err(odd_answer(doing(), "it has no PRIMARY deployment"));
    };
    match primary.rollout_state() {
        Some(DeploymentRolloutState::Completed) => Ok(runs),
        Some(DeploymentRolloutState::InProgress) => Err(PortError::new(
            Class::Retryable,
            doing(),
            format!("ECS is still deploying {runs}"),
        )),
        state => {
            let state = state.map_or("unknown", DeploymentRolloutState::as_str);
            let reason = primary.rollout_state_reason();
            let reason = reason.unwrap_or("no reason is given");
            Err(PortError::new(
                Class::Misconfigured,
                doing(),
                format!(
                    "the deployment of {runs} is {state} ({reason}); put a version on it that works \
                     with `aws ecs update-service --cluster {} --service {} --task-definition \
                     FAMILY:REVISION`, then retry this stage",
                    arn.cluster(),
                    arn.name()
                ),
            ))
        }
    }
}

/// Tells ECS what the service shall run, in how many tasks; what is left out stays.
async fn update(
    aws: &Aws,
    arn: &ServiceArn,
    task_definition: Option<&str>,
    tasks: Option<i32>,
) -> Result<(), PortError> {
    let call = aws.ecs.update_service();
    let updated = call
        .cluster(arn.cluster())
        .service(arn.name())
        .set_task_definition(task_definition.map(str::to_owned))
        .set_desired_count(tasks)
        .customize()
        .config_override(config::Builder::new().retry_classifier(NotTwice))
        .send()
        .await;
    let doing = || match (task_definition, tasks) {
        (Some(definition), _) => format!("deploy {definition} to service {arn}"),
        (None, Some(tasks)) => format!("scale service {arn} to {tasks}"),
        (None, None) => format!("update service {arn}"),
    };
    updated
        .map(drop)
        .map_err(|e| classified(failed(doing(), e)))
}

/// Whether one of these is this target group.
fn has_group(balancers: &[LoadBalancer], group: &str) -> bool {
    let mut groups = balancers.iter().map(LoadBalancer::target_group_arn);
    groups.any(|arn| arn == Some(group))
}

/// Whether all tasks that run are healthy hosts of their group.
fn all_healthy(running: i32, healthy: u32) -> bool {
    u32::try_from(running).is_ok_and(|running| running > 0 && healthy >= running)
}

/// Refuses to take down a side that requests go to, whoever has sent them there.
async fn is_idle(aws: &Aws, rule: &AlbRule, arms: &Arms, idle: &str) -> Result<(), PortError> {
    let weight = alb::weight(aws, rule, arms).await?;
    let unused = match idle == arms.stable {
        true => Weight::FULL,
        false => Weight::ZERO,
    };
    if weight == unused {
        return Ok(());
    }
    Err(PortError::new(
        Class::Misconfigured,
        format!("take down what is behind {idle}"),
        format!(
            "the candidate has {weight} of the requests again, so it is not idle: somebody else has \
             moved {}",
            rule.rule
        ),
    ))
}

/// What ECS's own words for an error mean here.
fn classified(error: PortError) -> PortError {
    let mut error = misconfigured_if(error, &MISCONFIGURED);
    let said = error.cause.as_ref().map(ToString::to_string);
    if let Some(said) = said.filter(|said| said.contains("iam:PassRole")) {
        error.class = Class::Denied;
        error.cause = Some(
            format!("{said}; add the task's roles to the stack's parameter PassedRoles").into(),
        );
    }
    error
}

#[cfg(test)]
mod tests;
