//! What ECS tells EventBridge of a service's deployments, in the shapes that its developer guide
//! documents.

use aws::local::bus::BusEvent;
use jiff::Timestamp;
use serde_json::json;

use super::state::{Deployment, Fleets, Rollout, State};

/// The source of these events; AWS's own is `aws.ecs`.
const SOURCE: &str = "local.ecs";

/// How a deployment stood at one time.
#[derive(Debug)]
pub(super) struct News {
    deployment: String,
    rollout: Rollout,
    reason: String,
    at: Timestamp,
}

impl News {
    pub(super) fn of(deployment: &Deployment, at: Timestamp) -> Self {
        Self {
            deployment: deployment.fleet.id.clone(),
            rollout: deployment.rollout,
            reason: deployment.reason.clone(),
            at,
        }
    }

    fn event(self, service: String) -> BusEvent {
        let (kind, name) = match self.rollout {
            Rollout::InProgress => ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS"),
            Rollout::Completed => ("INFO", "SERVICE_DEPLOYMENT_COMPLETED"),
            Rollout::Failed => ("ERROR", "SERVICE_DEPLOYMENT_FAILED"),
        };
        BusEvent {
            source: SOURCE.to_owned(),
            detail_type: "ECS Deployment State Change".to_owned(),
            resources: vec![service],
            detail: json!({
                "eventType": kind,
                "eventName": name,
                "deploymentId": self.deployment,
                "updatedAt": self.at,
                "reason": self.reason,
            }),
            at: self.at,
        }
    }
}

impl State {
    /// What has happened to deployments since the last call, in order.
    pub(super) fn take_news(&mut self) -> Vec<BusEvent> {
        let mut events = Vec::new();
        for service in self.services.values_mut() {
            let Fleets::Deployments(deployments) = &mut service.fleets else {
                continue;
            };
            let arn = self.home.service(&service.cluster, &service.name);
            let news = deployments.news.drain(..);
            events.extend(news.map(|news| news.event(arn.clone())));
        }
        events
    }
}
