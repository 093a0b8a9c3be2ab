//! An ECS service: steady, and on the expected task definition. Steadiness alone says little: after
//! ECS's own rollback a service is steady again on the old one.

use aws_sdk_ecs::types::{Deployment, DeploymentRolloutState, Service};
use engine::{Class, PortError};
use release::check::{EcsProbe, Probed};

use crate::Aws;
use crate::error::failed;

pub(super) async fn probe(aws: &Aws, probe: &EcsProbe) -> Result<Probed, PortError> {
    let doing = || {
        format!(
            "read service {} of cluster {}",
            probe.service, probe.cluster
        )
    };
    let call = aws.ecs.describe_services().cluster(&probe.cluster);
    let answer = call.services(&probe.service).send().await;
    let answer = answer.map_err(|e| failed(doing(), e))?;
    match answer.services() {
        [service, ..] => Ok(judge(service, probe)),
        [] => Err(PortError::new(
            Class::Misconfigured,
            doing(),
            "there is no such service; correct `ecs-service` in penstock.yaml",
        )),
    }
}

fn judge(service: &Service, probe: &EcsProbe) -> Probed {
    let primary = service
        .deployments()
        .iter()
        .find(|d| d.status() == Some("PRIMARY"));
    let is_expected = |d: &&Deployment| match (&probe.task_definition, d.task_definition()) {
        (Some(expected), Some(running)) => {
            running == expected || running.ends_with(&format!("/{expected}"))
        }
        (expected, _) => expected.is_none(),
    };
    let on_expected = primary.filter(is_expected).is_some();
    let rolled_out = primary.and_then(Deployment::rollout_state);
    let settled = service.deployments().len() == 1
        && service.running_count() == service.desired_count()
        && service.pending_count() == 0
        && matches!(rolled_out, None | Some(DeploymentRolloutState::Completed));
    let running = primary
        .and_then(Deployment::task_definition)
        .unwrap_or("nothing");
    let detail = format!(
        "{} runs {} of {} tasks of {running}",
        probe.service,
        service.running_count(),
        service.desired_count()
    );
    match (
        on_expected && settled && service.desired_count() > 0,
        &probe.task_definition,
    ) {
        (true, _) => Probed::healthy(detail),
        (false, Some(expected)) if !on_expected => {
            Probed::unhealthy(format!("{detail}, not of {expected}"))
        }
        (false, _) => Probed::unhealthy(format!("{detail} and is not steady yet")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(task_definition: &str, running: i32, state: DeploymentRolloutState) -> Service {
        let deployment = Deployment::builder()
            .status("PRIMARY")
            .task_definition(format!(
                "arn:aws:ecs:eu-west-1:1:task-definition/{task_definition}"
            ))
            .rollout_state(state);
        Service::builder()
            .desired_count(2)
            .running_count(running)
            .deployments(deployment.build())
            .build()
    }

    #[test]
    fn only_a_steady_service_on_the_expected_task_definition_is_healthy() {
        let probe = EcsProbe {
            cluster: "prod".to_owned(),
            service: "web".to_owned(),
            task_definition: Some("web:7".to_owned()),
        };
        let completed = DeploymentRolloutState::Completed;
        for (healthy, service) in [
            (true, service("web:7", 2, completed.clone())),
            (false, service("web:6", 2, completed.clone())),
            (false, service("web:17", 2, completed.clone())),
            (false, service("web:7", 1, completed)),
            (
                false,
                service("web:7", 2, DeploymentRolloutState::InProgress),
            ),
            (false, Service::builder().build()),
        ] {
            assert_eq!(judge(&service, &probe).healthy, healthy, "{service:?}");
        }
    }
}
