//! Services that ECS deploys itself, by whatever strategy: what is under way is stopped, and ECS goes
//! back to the service revision before.

use aws_sdk_ecs::types::{
    ServiceDeploymentBrief, ServiceDeploymentStatus, StopServiceDeploymentStopType,
};
use engine::{Class, PortError};
use futures::future::try_join_all;
use release::config::ServiceArn;

use crate::Aws;
use crate::error::{failed, misconfigured_if, odd_answer};

/// Every status of a deployment that goes forward. One that is being rolled back is left alone.
const UNDER_WAY: [ServiceDeploymentStatus; 2] = [
    ServiceDeploymentStatus::Pending,
    ServiceDeploymentStatus::InProgress,
];

/// ECS's words for what only another configuration can cure.
const MISCONFIGURED: [&str; 5] = [
    "ClusterNotFoundException",
    "InvalidParameterException",
    "ServiceNotActiveException",
    "ServiceNotFoundException",
    "UnsupportedFeatureException",
];

/// What became of one deployment.
enum Stopped {
    /// It is being rolled back, or was over.
    Yes,
    /// ECS says that it cannot be now.
    Conflict(PortError),
}

/// Looks for the service, by asking for what is under way of it.
pub(super) async fn find(aws: &Aws, service: &ServiceArn) -> Result<(), PortError> {
    let doing = format!("find service {service}, which is alongside");
    let found = under_way(aws, service).await;
    found.map(drop).map_err(|e| PortError { doing, ..e })
}

/// Stops the service's deployments that go forward; ECS has one at a time.
pub(super) async fn stop(aws: &Aws, service: &ServiceArn) -> Result<(), PortError> {
    let under_way = under_way(aws, service).await?;
    let stopped = try_join_all(under_way.iter().map(|arn| stop_one(aws, service, arn))).await?;
    let conflict = stopped.into_iter().find_map(|stopped| match stopped {
        Stopped::Yes => None,
        Stopped::Conflict(error) => Some(error),
    });
    // Where somebody else has stopped it meanwhile, all is well.
    match conflict {
        Some(error) if !self::under_way(aws, service).await?.is_empty() => Err(error),
        Some(_) | None => Ok(()),
    }
}

fn doing(service: &ServiceArn) -> String {
    format!("stop the deployment of service {service}")
}

async fn under_way(aws: &Aws, service: &ServiceArn) -> Result<Vec<String>, PortError> {
    let call = aws.ecs.list_service_deployments();
    let call = call
        .cluster(service.cluster())
        .service(service.as_str())
        .set_status(Some(UNDER_WAY.to_vec()));
    let page = call.send().await;
    let page = page.map_err(|e| classified(failed(doing(service), e)))?;
    let arn = |brief: ServiceDeploymentBrief| {
        let why = "a deployment in the answer has no serviceDeploymentArn";
        let arn = brief.service_deployment_arn;
        arn.ok_or_else(|| odd_answer(doing(service), why))
    };
    let briefs = page.service_deployments.unwrap_or_default();
    briefs.into_iter().map(arn).collect()
}

async fn stop_one(aws: &Aws, service: &ServiceArn, arn: &str) -> Result<Stopped, PortError> {
    let call = aws.ecs.stop_service_deployment();
    let call = call
        .service_deployment_arn(arn)
        .stop_type(StopServiceDeploymentStopType::Rollback);
    let error = match call.send().await {
        Ok(_) => {
            tracing::info!(deployment = arn, "deployment alongside stopped");
            return Ok(Stopped::Yes);
        }
        Err(error) => classified(failed(doing(service), error)),
    };
    if error.said("ServiceDeploymentNotFoundException") {
        return Ok(Stopped::Yes);
    }
    match error.said("ConflictException") {
        true => Ok(Stopped::Conflict(PortError {
            class: Class::Retryable,
            ..error
        })),
        false => Err(error),
    }
}

fn classified(error: PortError) -> PortError {
    misconfigured_if(error, &MISCONFIGURED)
}
