//! Service deployments: what ECS calls one move of a service to a new revision. A service has one at
//! a time, and here no more than the last one is remembered.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::arn::Home;
use super::error::EcsError;
use super::state::{Deployments, Fleets, Rollout, Service, State, StoppedDeployment};
use super::wire::{Controller, seconds};

/// Deployments that one call may describe (ECS's bound).
const DESCRIBED_MAX: usize = 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListServiceDeployments {
    cluster: Option<String>,
    service: String,
    #[serde(default)]
    status: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeServiceDeployments {
    service_deployment_arns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopServiceDeployment {
    service_deployment_arn: String,
    stop_type: Option<String>,
}

/// The last deployment of a service.
struct Last {
    arn: String,
    status: &'static str,
    created: Timestamp,
    updated: Timestamp,
}

impl State {
    pub(super) fn list_service_deployments(
        &mut self,
        request: &ListServiceDeployments,
    ) -> Result<Value, EcsError> {
        let home = self.home.clone();
        let service = self.active_service(request.cluster.as_deref(), &request.service)?;
        let last = service.last_deployment(&home)?;
        let wanted = request.status.is_empty() || request.status.iter().any(|s| s == last.status);
        let shown: Vec<Value> = wanted
            .then(|| last.to_wire(service, &home))
            .into_iter()
            .collect();
        Ok(json!({ "serviceDeployments": shown }))
    }

    pub(super) fn describe_service_deployments(
        &mut self,
        request: &DescribeServiceDeployments,
    ) -> Result<Value, EcsError> {
        let arns = &request.service_deployment_arns;
        if !(1..=DESCRIBED_MAX).contains(&arns.len()) {
            return Err(EcsError::invalid(format!(
                "serviceDeploymentArns must have 1 to {DESCRIBED_MAX} elements."
            )));
        }
        let home = self.home.clone();
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for arn in arns {
            match self.deployed(arn) {
                Ok((service, last)) => found.push(last.to_wire(service, &home)),
                Err(_) => failures.push(json!({"arn": arn, "reason": "MISSING"})),
            }
        }
        Ok(json!({"serviceDeployments": found, "failures": failures}))
    }

    pub(super) fn stop_service_deployment(
        &mut self,
        request: &StopServiceDeployment,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        let arn = &request.service_deployment_arn;
        if request
            .stop_type
            .as_deref()
            .is_some_and(|kind| kind != "ROLLBACK")
        {
            return Err(EcsError::invalid("stopType must be ROLLBACK."));
        }
        let (service, last) = self.deployed(arn)?;
        if last.status != "IN_PROGRESS" {
            return Err(EcsError::conflict(format!(
                "The service deployment is {} and cannot be stopped.",
                last.status
            )));
        }
        let mut told = Vec::new();
        let Fleets::Deployments(deployments) = &mut service.fleets else {
            return Err(EcsError::service_deployment_not_found());
        };
        deployments.stop(now, &mut told)?;
        for message in told {
            service.tell(now, &message);
        }
        Ok(json!({ "serviceDeploymentArn": arn }))
    }

    /// The service whose last deployment has this ARN.
    fn deployed(&mut self, arn: &str) -> Result<(&mut Service, Last), EcsError> {
        let home = self.home.clone();
        let named = home.deployed_service(arn);
        let (cluster, name) = named.ok_or_else(EcsError::service_deployment_not_found)?;
        let service = self.active_service(Some(cluster), name)?;
        let last = service.last_deployment(&home)?;
        match last.arn == arn {
            true => Ok((service, last)),
            false => Err(EcsError::service_deployment_not_found()),
        }
    }
}

impl Service {
    fn last_deployment(&self, home: &Home) -> Result<Last, EcsError> {
        let deployments = match &self.fleets {
            Fleets::Deployments(deployments) if deployments.controller == Controller::Ecs => {
                deployments
            }
            Fleets::Deployments(_) | Fleets::TaskSets(_) => {
                return Err(EcsError::unsupported(
                    "Service deployments are of services with the ECS deployment controller.",
                ));
            }
        };
        let primary = deployments.all.first();
        let primary = primary.ok_or_else(EcsError::service_deployment_not_found)?;
        let (id, created, status) = match (&deployments.stopped, primary.rollout) {
            (Some(it), Rollout::InProgress) => (&it.id, it.created, "ROLLBACK_IN_PROGRESS"),
            (Some(it), Rollout::Completed) => (&it.id, it.created, "ROLLBACK_SUCCESSFUL"),
            (Some(it), Rollout::Failed) => (&it.id, it.created, "ROLLBACK_FAILED"),
            (None, rollout) => {
                let status = match rollout {
                    Rollout::InProgress => "IN_PROGRESS",
                    Rollout::Completed => "SUCCESSFUL",
                    Rollout::Failed => "STOPPED",
                };
                (&primary.fleet.id, primary.fleet.created, status)
            }
        };
        Ok(Last {
            arn: home.service_deployment(&self.cluster, &self.name, id),
            status,
            created,
            updated: primary.fleet.updated,
        })
    }
}

impl Deployments {
    /// Goes back to what was completed last.
    fn stop(&mut self, now: Timestamp, told: &mut Vec<String>) -> Result<(), EcsError> {
        let primary = self.all.first_mut();
        let primary = primary.ok_or_else(EcsError::service_deployment_not_found)?;
        let stopped = StoppedDeployment {
            id: primary.fleet.id.clone(),
            created: primary.fleet.created,
        };
        if self.completed.is_none() {
            return Err(EcsError::conflict(
                "There is no completed deployment to roll back to.",
            ));
        }
        primary.rollout = Rollout::Failed;
        primary.reason = "ECS deployment stopped by user.".to_owned();
        primary.fleet.updated = now;
        self.go_back("ECS deployment stopped by user", now, told);
        self.stopped = Some(stopped);
        Ok(())
    }
}

impl Last {
    fn to_wire(&self, service: &Service, home: &Home) -> Value {
        json!({
            "serviceDeploymentArn": self.arn,
            "serviceArn": home.service(&service.cluster, &service.name),
            "clusterArn": home.cluster(&service.cluster),
            "status": self.status,
            "createdAt": seconds(self.created),
            "startedAt": seconds(self.created),
            "updatedAt": seconds(self.updated),
        })
    }
}
