//! Two services behind a rule. A release gives the idle one the new task definition and as many tasks
//! as the other has, moves the weights, and scales the side that serves nothing to 0.

use aws_sdk_ecs::types::{Deployment, DeploymentControllerType, Service};
use engine::{Class, PortError};
use futures::try_join;
use release::config::{EcsServices, ServiceArn, ServiceBehind};
use release::{Arms, Live};

use super::{
    all_healthy, arn_of, describe, has_group, is_complete, is_idle, movable, primary, refused,
    registered, settled, update,
};
use crate::Aws;
use crate::targets::alb;

/// The group of the service that serves, and that of the idle one. Both are the task definition where
/// the one that serves runs it already.
pub(in crate::targets) async fn arms(aws: &Aws, target: &EcsServices) -> Result<Arms, PortError> {
    let rule = target.alb();
    let [a, b] = &target.services;
    let (arms, service_a, service_b, wanted) = try_join!(
        alb::arms(aws, &rule),
        describe(aws, &a.service),
        describe(aws, &b.service),
        registered(aws, &a.service, &target.task_definition)
    )?;
    fits(a, &service_a)?;
    fits(b, &service_b)?;
    let (stable, service) = match arms.stable == a.target_group {
        true => (a, &service_a),
        false => (b, &service_b),
    };
    if settled(&stable.service, service)? == wanted {
        return Ok(Arms {
            stable: wanted.clone(),
            candidate: wanted,
        });
    }
    if service.desired_count() < 1 {
        return Err(refused(
            &stable.service,
            "it has all the requests and its desired count is 0, so there is nothing to size the \
             candidate by; scale it up"
                .to_owned(),
        ));
    }
    Ok(arms)
}

fn fits(side: &ServiceBehind, service: &Service) -> Result<(), PortError> {
    movable(&side.service, service, &DeploymentControllerType::Ecs)?;
    if has_group(service.load_balancers(), &side.target_group) {
        return Ok(());
    }
    Err(refused(
        &side.service,
        format!(
            "its tasks do not register with {}; correct `target-group`, or give the service that \
             load balancer",
            side.target_group
        ),
    ))
}

/// Gives the candidate's service the task definition, and the tasks that the stable one has.
pub(in crate::targets) async fn deploy(
    aws: &Aws,
    target: &EcsServices,
    arms: &Arms,
) -> Result<(), PortError> {
    let (stable, candidate) = (
        behind(target, &arms.stable)?,
        behind(target, &arms.candidate)?,
    );
    let wanted = arn_of(candidate, &target.task_definition)?;
    let (serving, idle) = try_join!(describe(aws, stable), describe(aws, candidate))?;
    let runs = primary(&idle).and_then(Deployment::task_definition);
    if runs == Some(&wanted) && idle.desired_count() == serving.desired_count() {
        return Ok(());
    }
    let tasks = Some(serving.desired_count());
    update(aws, candidate, Some(&wanted), tasks).await
}

/// Scales the service of the idle side to 0.
pub(in crate::targets) async fn retire(
    aws: &Aws,
    target: &EcsServices,
    arms: &Arms,
    idle: &str,
) -> Result<(), PortError> {
    let rule = target.alb();
    let arn = behind(target, idle)?;
    let ((), service) = try_join!(is_idle(aws, &rule, arms, idle), describe(aws, arn))?;
    match service.desired_count() {
        0 => Ok(()),
        _ => update(aws, arn, None, Some(0)).await,
    }
}

/// The weights and healthy hosts of the rule, and whether the candidate's service is all up.
pub(in crate::targets) async fn live(
    aws: &Aws,
    target: &EcsServices,
    arms: &Arms,
) -> Result<Live, PortError> {
    let rule = target.alb();
    let candidate = behind(target, &arms.candidate)?;
    let wanted = arn_of(candidate, &target.task_definition)?;
    let (live, service) = try_join!(alb::live(aws, &rule, arms), describe(aws, candidate))?;
    let up = primary(&service).filter(|d| d.task_definition() == Some(&wanted) && is_complete(d));
    Ok(Live {
        candidate_ready: up.is_some_and(|d| all_healthy(d.running_count(), live.candidate_healthy)),
        ..live
    })
}

fn behind<'a>(target: &'a EcsServices, group: &str) -> Result<&'a ServiceArn, PortError> {
    target.behind(group).ok_or_else(|| {
        PortError::new(
            Class::Permanent,
            format!("find the service behind {group}"),
            "the release's target has no such group",
        )
    })
}
