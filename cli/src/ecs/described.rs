//! Between what is kept and what the API says about it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::arn::Home;
use super::state::{
    Deployment, Event, Exit, Fleet, Fleets, Phase, Rollout, Service, ServiceStatus, State, Task,
    TaskSet, TaskSetStatus,
};
use super::wire::{DeploymentController, Placement, compact, seconds};

/// Where tasks are said to run unless somebody says otherwise.
const LAUNCH_TYPE: &str = "EC2";

impl State {
    pub(super) fn cluster_to_wire(&self, name: &str) -> Value {
        let services = || self.services.values().filter(|it| it.cluster == name);
        let sum = |of: fn(&Fleet) -> u32| -> u32 {
            services()
                .flat_map(|service| service.fleets().map(of))
                .sum()
        };
        let active = services().filter(|it| it.status == ServiceStatus::Active);
        json!({
            "clusterArn": self.home.cluster(name),
            "clusterName": name,
            "status": "ACTIVE",
            "registeredContainerInstancesCount": 0,
            "runningTasksCount": sum(Fleet::running),
            "pendingTasksCount": sum(Fleet::pending),
            "activeServicesCount": active.count(),
            "statistics": [],
            "tags": [],
            "settings": [{"name": "containerInsights", "value": "disabled"}],
            "capacityProviders": [],
            "defaultCapacityProviderStrategy": [],
        })
    }
}

impl Service {
    pub(super) fn to_wire(&self, home: &Home, with_tags: bool, now: Timestamp) -> Value {
        // What of a service belongs to one of its fleets is told of the primary one.
        let (primary, deployments, task_sets) = match &self.fleets {
            Fleets::Deployments(deployments) => {
                let primary = deployments.all.first();
                let shown = deployments.all.iter().enumerate();
                let shown = shown.map(|(at, it)| it.to_wire(at == 0, self.desired));
                let primary = primary.map(|it| &it.fleet);
                (primary, shown.collect::<Vec<_>>(), None)
            }
            Fleets::TaskSets(sets) => {
                let primary = sets.iter().find(|it| it.status == TaskSetStatus::Primary);
                let shown = sets.iter().map(|it| it.to_wire(home, self, now));
                let shown = shown.collect::<Vec<_>>();
                (primary.map(|it| &it.fleet), Vec::new(), Some(shown))
            }
        };
        let placement = primary.map(|it| it.placement.clone()).unwrap_or_default();
        let status = match self.status {
            ServiceStatus::Active => "ACTIVE",
            ServiceStatus::Draining => "DRAINING",
            ServiceStatus::Inactive => "INACTIVE",
        };
        let controller = DeploymentController {
            kind: self.controller(),
        };
        compact(json!({
            "serviceArn": home.service(&self.cluster, &self.name),
            "serviceName": self.name,
            "clusterArn": home.cluster(&self.cluster),
            "loadBalancers": placement.load_balancers.as_deref().unwrap_or_default(),
            "serviceRegistries": [],
            "status": status,
            "desiredCount": self.desired,
            "runningCount": self.fleets().map(Fleet::running).sum::<u32>(),
            "pendingCount": self.fleets().map(Fleet::pending).sum::<u32>(),
            "launchType": launch_type(&placement),
            "capacityProviderStrategy": placement.capacity_provider_strategy,
            "platformVersion": placement.platform_version,
            "taskDefinition": primary.map(|it| &it.definition.arn),
            "deploymentConfiguration": self.configuration,
            "taskSets": task_sets,
            "deployments": deployments,
            "events": self.events.iter().map(Event::to_wire).collect::<Vec<_>>(),
            "createdAt": seconds(self.created),
            "placementConstraints": [],
            "placementStrategy": [],
            "networkConfiguration": placement.network_configuration,
            "healthCheckGracePeriodSeconds": self.grace_seconds.unwrap_or(0),
            "schedulingStrategy": "REPLICA",
            "deploymentController": controller,
            "tags": with_tags.then_some(&self.tags),
            "enableECSManagedTags": false,
            "propagateTags": "NONE",
            "enableExecuteCommand": false,
        }))
    }
}

impl TaskSet {
    pub(super) fn to_wire(&self, home: &Home, service: &Service, now: Timestamp) -> Value {
        let fleet = &self.fleet;
        let placement = &fleet.placement;
        let status = match self.status {
            TaskSetStatus::Primary => "PRIMARY",
            TaskSetStatus::Active => "ACTIVE",
            TaskSetStatus::Draining => "DRAINING",
        };
        let stability = if self.is_steady(service.desired) {
            "STEADY_STATE"
        } else {
            "STABILIZING"
        };
        compact(json!({
            "id": fleet.id,
            "taskSetArn": home.task_set(&service.cluster, &service.name, &fleet.id),
            "serviceArn": home.service(&service.cluster, &service.name),
            "clusterArn": home.cluster(&service.cluster),
            "externalId": self.external_id,
            "status": status,
            "taskDefinition": fleet.definition.arn,
            "computedDesiredCount": self.computed(service.desired),
            "pendingCount": fleet.pending(),
            "runningCount": fleet.running(),
            "createdAt": seconds(fleet.created),
            "updatedAt": seconds(fleet.updated),
            "launchType": launch_type(placement),
            "capacityProviderStrategy": placement.capacity_provider_strategy,
            "platformVersion": placement.platform_version,
            "networkConfiguration": placement.network_configuration,
            "loadBalancers": placement.load_balancers.as_deref().unwrap_or_default(),
            "serviceRegistries": [],
            "scale": {"value": self.scale, "unit": "PERCENT"},
            "stabilityStatus": stability,
            "stabilityStatusAt": seconds(now),
            "tags": self.tags,
        }))
    }
}

impl Task {
    /// The cluster and service that it belongs to, and the id of its fleet.
    pub(super) fn to_wire(
        &self,
        home: &Home,
        (cluster, service): (&str, &str),
        fleet: &str,
    ) -> Value {
        let desired = match self.phase {
            Phase::Pending | Phase::Running => "RUNNING",
            Phase::Stopping | Phase::Stopped => "STOPPED",
        };
        let containers = self.definition.containers.iter();
        let containers = containers
            .filter(|container| !container.command.is_empty())
            .map(|container| self.container_to_wire(home, cluster, &container.name));
        compact(json!({
            "attachments": [],
            "attributes": [],
            "clusterArn": home.cluster(cluster),
            "connectivity": "CONNECTED",
            "containers": containers.collect::<Vec<_>>(),
            "createdAt": seconds(self.created),
            "desiredStatus": desired,
            "enableExecuteCommand": false,
            "group": format!("service:{service}"),
            "healthStatus": "UNKNOWN",
            "lastStatus": self.last_status(),
            "launchType": LAUNCH_TYPE,
            "overrides": {"containerOverrides": []},
            "startedAt": self.started.map(seconds),
            "startedBy": fleet,
            "stopCode": self.stop.as_ref().map(|it| it.code),
            "stoppedAt": self.stopped.map(seconds),
            "stoppedReason": self.stop.as_ref().map(|it| &it.reason),
            "stoppingAt": self.stopping.map(seconds),
            "tags": [],
            "taskArn": home.task(cluster, &self.id),
            "taskDefinitionArn": self.definition.arn,
            "version": 1,
        }))
    }

    fn last_status(&self) -> &'static str {
        match self.phase {
            Phase::Pending => "PENDING",
            Phase::Running => "RUNNING",
            Phase::Stopping if self.targets.is_empty() => "STOPPING",
            Phase::Stopping => "DEACTIVATING",
            Phase::Stopped => "STOPPED",
        }
    }

    fn container_to_wire(&self, home: &Home, cluster: &str, name: &str) -> Value {
        let ports = self.ports.iter().filter(|port| port.container == name);
        let bindings = ports.map(|port| {
            json!({
                "bindIP": "127.0.0.1",
                "containerPort": port.container_port,
                "hostPort": port.host_port,
                "protocol": "tcp",
            })
        });
        let exit = self
            .exits
            .iter()
            .find(|exit: &&Exit| exit.container == name);
        let image = self.definition.container(name).map(|it| &it.image);
        compact(json!({
            "containerArn": home.container(cluster, &self.id, name),
            "taskArn": home.task(cluster, &self.id),
            "name": name,
            "image": image,
            "lastStatus": if exit.is_some() { "STOPPED" } else { self.last_status() },
            "exitCode": exit.and_then(|it| it.code),
            "reason": exit.and_then(|it| it.reason.as_ref()),
            "networkBindings": bindings.collect::<Vec<_>>(),
            "networkInterfaces": [],
            "healthStatus": "UNKNOWN",
        }))
    }
}

impl Deployment {
    fn to_wire(&self, is_primary: bool, desired: u32) -> Value {
        let fleet = &self.fleet;
        let rollout = match self.rollout {
            Rollout::InProgress => "IN_PROGRESS",
            Rollout::Completed => "COMPLETED",
            Rollout::Failed => "FAILED",
        };
        compact(json!({
            "id": fleet.id,
            "status": if is_primary { "PRIMARY" } else { "ACTIVE" },
            "taskDefinition": fleet.definition.arn,
            "desiredCount": if is_primary { desired } else { fleet.live() },
            "pendingCount": fleet.pending(),
            "runningCount": fleet.running(),
            "failedTasks": fleet.failures,
            "createdAt": seconds(fleet.created),
            "updatedAt": seconds(fleet.updated),
            "launchType": launch_type(&fleet.placement),
            "capacityProviderStrategy": fleet.placement.capacity_provider_strategy,
            "platformVersion": fleet.placement.platform_version,
            "networkConfiguration": fleet.placement.network_configuration,
            "rolloutState": rollout,
            "rolloutStateReason": self.reason,
        }))
    }
}

impl Event {
    fn to_wire(&self) -> Value {
        json!({"id": self.id, "createdAt": seconds(self.at), "message": self.message})
    }
}

/// None for tasks that a capacity provider places.
fn launch_type(placement: &Placement) -> Option<&str> {
    let placed = placement.capacity_provider_strategy.is_some();
    let given = placement.launch_type.as_deref();
    given.or((!placed).then_some(LAUNCH_TYPE))
}
