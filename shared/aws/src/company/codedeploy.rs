//! Deployment groups of CodeDeploy: what is under way is stopped, and CodeDeploy deploys the last good
//! revision again.

use aws_sdk_codedeploy::types::{DeploymentCreator, DeploymentInfo, DeploymentStatus};
use engine::PortError;
use futures::future::try_join_all;
use release::config::DeploymentGroupArn;

use crate::Aws;
use crate::error::{failed, misconfigured_if, odd_answer};

/// Every status of a deployment that is not over.
const UNDER_WAY: [DeploymentStatus; 5] = [
    DeploymentStatus::Created,
    DeploymentStatus::Queued,
    DeploymentStatus::InProgress,
    DeploymentStatus::Baking,
    DeploymentStatus::Ready,
];

/// The most deployments that are looked at in one call (service model, BatchGetDeployments).
const BATCH_MAX: usize = 25;

/// CodeDeploy's words for what only another configuration can cure.
const MISCONFIGURED: [&str; 4] = [
    "ApplicationDoesNotExistException",
    "DeploymentGroupDoesNotExistException",
    "InvalidApplicationNameException",
    "InvalidDeploymentGroupNameException",
];

/// CodeDeploy's words for a deployment that was over before it could be stopped.
const OVER: [&str; 2] = [
    "DeploymentAlreadyCompletedException",
    "DeploymentDoesNotExistException",
];

/// Looks for the group, by asking for what is under way in it.
pub(super) async fn find(aws: &Aws, group: &DeploymentGroupArn) -> Result<(), PortError> {
    let doing = format!("find deployment group {}", group.as_str());
    let found = under_way(aws, group).await;
    found.map(drop).map_err(|e| PortError { doing, ..e })
}

/// Stops what is under way in the group, but for rollbacks: those are what stopping has led to.
pub(super) async fn stop(aws: &Aws, group: &DeploymentGroupArn) -> Result<(), PortError> {
    let (ids, is_all) = under_way(aws, group).await?;
    let batches = ids.chunks(BATCH_MAX).map(|ids| look_at(aws, group, ids));
    let deployments = try_join_all(batches).await?;
    let to_stop = deployments.iter().flatten().filter(|d| is_forward(d));
    let ids = to_stop.filter_map(DeploymentInfo::deployment_id);
    try_join_all(ids.map(|id| stop_one(aws, group, id))).await?;
    match is_all {
        true => Ok(()),
        false => Err(odd_answer(
            doing(group),
            "there are more under way than one page holds; the next run stops them",
        )),
    }
}

fn doing(group: &DeploymentGroupArn) -> String {
    format!(
        "stop the deployments of group {} of application {}",
        group.name(),
        group.application()
    )
}

fn is_forward(deployment: &DeploymentInfo) -> bool {
    deployment.creator() != Some(&DeploymentCreator::CodeDeployRollback)
}

/// The newest deployments that are not over, and whether these are all.
async fn under_way(
    aws: &Aws,
    group: &DeploymentGroupArn,
) -> Result<(Vec<String>, bool), PortError> {
    let call = aws.codedeploy().list_deployments();
    let call = call
        .application_name(group.application())
        .deployment_group_name(group.name())
        .set_include_only_statuses(Some(UNDER_WAY.to_vec()));
    let page = call.send().await;
    let page = page.map_err(|e| classified(failed(doing(group), e)))?;
    let is_all = page.next_token.is_none();
    Ok((page.deployments.unwrap_or_default(), is_all))
}

async fn look_at(
    aws: &Aws,
    group: &DeploymentGroupArn,
    ids: &[String],
) -> Result<Vec<DeploymentInfo>, PortError> {
    let call = aws.codedeploy().batch_get_deployments();
    let call = call.set_deployment_ids(Some(ids.to_vec()));
    let answer = call.send().await;
    let answer = answer.map_err(|e| classified(failed(doing(group), e)))?;
    Ok(answer.deployments_info.unwrap_or_default())
}

async fn stop_one(aws: &Aws, group: &DeploymentGroupArn, id: &str) -> Result<(), PortError> {
    let call = aws.codedeploy().stop_deployment();
    let call = call.deployment_id(id).auto_rollback_enabled(true);
    match call.send().await {
        Ok(answer) => {
            let status = answer.status().map(|status| status.as_str());
            tracing::info!(deployment = id, status, "deployment alongside stopped");
            Ok(())
        }
        Err(error) => {
            let error = classified(failed(doing(group), error));
            match OVER.iter().any(|code| error.said(code)) {
                true => Ok(()),
                false => Err(error),
            }
        }
    }
}

fn classified(error: PortError) -> PortError {
    misconfigured_if(error, &MISCONFIGURED)
}
