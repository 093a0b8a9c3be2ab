//! Clusters and services: what callers may make of them, and when they may not.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::arn::{DEFAULT_CLUSTER, check_name};
use super::definitions::TaskDefinition;
use super::error::EcsError;
use super::news::News;
use super::schedule::TASKS_PER_SERVICE_MAX;
use super::state::{
    Deployment, Deployments, Fleet, Fleets, Rollout, Service, ServiceStatus, State,
};
use super::wire::{
    self, Controller, CreateService, DeploymentConfiguration, LoadBalancer, Page, Placement, Tag,
    UpdateService, check_one_of,
};
use crate::alb::GroupUse;

const CLUSTERS_MAX: usize = 50;
/// Services, deleted ones too.
const SERVICES_MAX: usize = 100;
/// Services, and clusters, that one call may describe (ECS's bounds).
const DESCRIBED_SERVICES_MAX: usize = 10;
const DESCRIBED_CLUSTERS_MAX: usize = 100;
/// Half of what may run, so that a rolling update has room for the other half.
const DESIRED_COUNT_MAX: u32 = TASKS_PER_SERVICE_MAX / 2;
/// Target groups of one service or task set (ECS's quota).
const LOAD_BALANCERS_MAX: usize = 5;
/// As long as ECS takes them.
const GRACE_SECONDS_MAX: i64 = i32::MAX as i64;
const CLIENT_TOKEN_CHARS_MAX: usize = 36;
const TAGS_MAX: usize = 50;
/// Below 100 a service could never have all its tasks.
const MAXIMUM_PERCENT: RangeInclusive<u32> = 100..=1_000;

const LAUNCH_TYPES: [&str; 4] = ["EC2", "FARGATE", "EXTERNAL", "MANAGED_INSTANCES"];
const STRATEGIES: [&str; 4] = ["ROLLING", "BLUE_GREEN", "LINEAR", "CANARY"];

impl State {
    /// Idempotent, as on AWS.
    pub(super) fn create_cluster(
        &mut self,
        request: wire::CreateCluster,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        let name = request
            .cluster_name
            .unwrap_or_else(|| DEFAULT_CLUSTER.to_owned());
        check_name("Cluster name", &name)?;
        if !self.clusters.contains_key(&name) && self.clusters.len() >= CLUSTERS_MAX {
            return Err(EcsError::limit("clusters", CLUSTERS_MAX));
        }
        self.clusters.entry(name.clone()).or_insert(now);
        Ok(json!({"cluster": self.cluster_to_wire(&name)}))
    }

    pub(super) fn describe_clusters(
        &self,
        mut request: wire::DescribeClusters,
    ) -> Result<Value, EcsError> {
        if request.clusters.len() > DESCRIBED_CLUSTERS_MAX {
            return Err(EcsError::invalid(format!(
                "Clusters cannot have more than {DESCRIBED_CLUSTERS_MAX} elements."
            )));
        }
        if request.clusters.is_empty() {
            request.clusters.push(DEFAULT_CLUSTER.to_owned());
        }
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for given in request.clusters {
            match self.cluster(Some(&given)) {
                Ok(name) => found.push(self.cluster_to_wire(&name)),
                Err(_) => failures.push(missing(&given, self.home.cluster(&given))),
            }
        }
        Ok(json!({"clusters": found, "failures": failures}))
    }

    /// `group_use` tells of the load balancer's target groups.
    pub(super) fn create_service(
        &mut self,
        request: CreateService,
        group_use: impl Fn(&str) -> GroupUse,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        check_name("Service name", &request.service_name)?;
        check_client_token(request.client_token.as_deref())?;
        let key = (cluster, request.service_name.clone());
        if let Some(existing) = self.services.get(&key)
            && existing.status != ServiceStatus::Inactive
        {
            let again = existing.client_token.is_some()
                && existing.client_token == request.client_token
                && existing.status == ServiceStatus::Active;
            if again {
                return Ok(json!({"service": existing.to_wire(&self.home, true, now)}));
            }
            return Err(EcsError::invalid("Creation of service was not idempotent."));
        }
        let service = self.new_service(&key.0, request, group_use, now)?;
        if self.services.len() >= SERVICES_MAX {
            self.services
                .retain(|_, service| service.status != ServiceStatus::Inactive);
        }
        if self.services.len() >= SERVICES_MAX {
            return Err(EcsError::limit("services", SERVICES_MAX));
        }
        let told = service.to_wire(&self.home, true, now);
        self.services.insert(key, service);
        Ok(json!({"service": told}))
    }

    fn new_service(
        &self,
        cluster: &str,
        request: CreateService,
        group_use: impl Fn(&str) -> GroupUse,
        now: Timestamp,
    ) -> Result<Service, EcsError> {
        let strategy = request.scheduling_strategy.as_deref();
        check_one_of("schedulingStrategy", strategy, &["REPLICA"])?;
        let desired = desired_count(request.desired_count.unwrap_or(1))?;
        let configuration = request.deployment_configuration.unwrap_or_default();
        check_configuration(&configuration)?;
        check_tags(&request.tags)?;
        let controller = request
            .deployment_controller
            .map_or(Controller::Ecs, |it| it.kind);
        let fleets = match controller {
            Controller::External => {
                if request.task_definition.is_some() || request.placement != Placement::default() {
                    return Err(EcsError::invalid(
                        "Task definition, load balancers, network configuration, launch type and platform version \
                         are given to CreateTaskSet when the deployment controller is EXTERNAL.",
                    ));
                }
                Fleets::TaskSets(Vec::new())
            }
            Controller::Ecs | Controller::CodeDeploy => {
                let given = request.task_definition.as_deref();
                let given =
                    given.ok_or_else(|| EcsError::invalid("TaskDefinition can not be blank."))?;
                let definition = self.definition_to_run(given)?;
                check_placement(&request.placement, &definition, group_use)?;
                let first = Deployment::begun(Fleet::new(definition, request.placement, now));
                Fleets::Deployments(Deployments {
                    controller,
                    news: vec![News::of(&first, now)],
                    all: vec![first],
                    completed: None,
                    stopped: None,
                })
            }
        };
        Ok(Service {
            cluster: cluster.to_owned(),
            name: request.service_name,
            status: ServiceStatus::Active,
            desired,
            configuration,
            grace_seconds: grace_seconds(request.health_check_grace_period_seconds)?,
            tags: request.tags,
            client_token: request.client_token,
            fleets,
            events: VecDeque::new(),
            created: now,
        })
    }

    pub(super) fn update_service(
        &mut self,
        request: UpdateService,
        group_use: impl Fn(&str) -> GroupUse,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        let given = request.task_definition.as_deref();
        let definition = given.map(|given| self.definition_to_run(given));
        let home = self.home.clone();
        let service = self.active_service(request.cluster.as_deref(), &request.service)?;
        let desired = request.desired_count.map(desired_count).transpose()?;
        let grace = grace_seconds(request.health_check_grace_period_seconds)?;
        if let Some(configuration) = &request.deployment_configuration {
            check_configuration(configuration)?;
        }
        let controller = service.controller();
        let redeploys = request.force_new_deployment
            || request.task_definition.is_some()
            || request.placement != Placement::default();
        if redeploys && controller != Controller::Ecs {
            return Err(not_by_update(controller));
        }
        if controller == Controller::External && request.deployment_configuration.is_some() {
            return Err(EcsError::invalid(
                "Cannot update deployment configuration on services with an EXTERNAL deployment controller.",
            ));
        }
        if let Fleets::Deployments(deployments) = &mut service.fleets
            && redeploys
        {
            deployments.update(
                definition.transpose()?,
                request.placement,
                request.force_new_deployment,
                group_use,
                now,
            )?;
        }
        service.desired = desired.unwrap_or(service.desired);
        service.grace_seconds = grace.or(service.grace_seconds);
        if let Some(configuration) = request.deployment_configuration {
            service.configuration = configuration;
        }
        Ok(json!({"service": service.to_wire(&home, true, now)}))
    }

    pub(super) fn delete_service(
        &mut self,
        request: &wire::DeleteService,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        let home = self.home.clone();
        let service = self.active_service(request.cluster.as_deref(), &request.service)?;
        if !request.force {
            if let Fleets::TaskSets(sets) = &service.fleets
                && !sets.is_empty()
            {
                return Err(EcsError::invalid(
                    "The service cannot be stopped while it has task sets. Delete them first, or use force.",
                ));
            }
            if service.desired > 0 {
                return Err(EcsError::invalid(
                    "The service cannot be stopped while it is scaled above 0.",
                ));
            }
        }
        service.status = ServiceStatus::Draining;
        service.desired = 0;
        Ok(json!({"service": service.to_wire(&home, true, now)}))
    }

    pub(super) fn describe_services(
        &self,
        request: wire::DescribeServices,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        if request.services.is_empty() {
            return Err(EcsError::invalid("Services cannot be empty."));
        }
        if request.services.len() > DESCRIBED_SERVICES_MAX {
            return Err(EcsError::invalid(format!(
                "Services cannot have more than {DESCRIBED_SERVICES_MAX} elements."
            )));
        }
        let with_tags = request.include.iter().any(|it| it == "TAGS");
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for given in &request.services {
            let name = self.home.service_name(given, &cluster);
            let service = name.and_then(|it| self.services.get(&(cluster.clone(), it.to_owned())));
            match service {
                Some(service) => found.push(service.to_wire(&self.home, with_tags, now)),
                None => failures.push(missing(given, self.home.service(&cluster, given))),
            }
        }
        Ok(json!({"services": found, "failures": failures}))
    }

    pub(super) fn list_services(&self, request: &wire::ListServices) -> Result<Value, EcsError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        let active = self.services.values().filter(|service| {
            service.cluster == cluster && service.status == ServiceStatus::Active
        });
        let arns = active.map(|it| self.home.service(&cluster, &it.name));
        let page = Page::new(request.max_results, request.next_token.as_deref());
        page.of("serviceArns", arns.collect())
    }
}

impl Deployment {
    fn begun(fleet: Fleet) -> Self {
        Self {
            reason: format!("ECS deployment {} in progress.", fleet.id),
            rollout: Rollout::InProgress,
            fleet,
        }
    }
}

impl Deployments {
    /// Begins a deployment, if anything is to run that does not, or in another way.
    fn update(
        &mut self,
        definition: Option<Arc<TaskDefinition>>,
        placement: Placement,
        force: bool,
        group_use: impl Fn(&str) -> GroupUse,
        now: Timestamp,
    ) -> Result<(), EcsError> {
        let Some(primary) = self.all.first().map(|it| &it.fleet) else {
            return Ok(());
        };
        let definition = definition.unwrap_or_else(|| primary.definition.clone());
        let placement = placement.over(&primary.placement);
        check_placement(&placement, &definition, group_use)?;
        if !force && definition == primary.definition && placement == primary.placement {
            return Ok(());
        }
        self.stopped = None;
        let deployment = Deployment::begun(Fleet::new(definition, placement, now));
        self.news.push(News::of(&deployment, now));
        self.all.insert(0, deployment);
        Ok(())
    }
}

/// A thing that a Describe call did not find. A name is told as the ARN that it would have.
pub(super) fn missing(given: &str, arn: String) -> Value {
    let arn = if given.starts_with("arn:") {
        given.to_owned()
    } else {
        arn
    };
    json!({"arn": arn, "reason": "MISSING"})
}

fn not_by_update(controller: Controller) -> EcsError {
    let told = match controller {
        Controller::CodeDeploy => {
            "Unable to update task definition on services with a CODE_DEPLOY deployment controller. \
             Use AWS CodeDeploy to trigger a new deployment."
        }
        Controller::Ecs | Controller::External => {
            "Unable to update task definition on services with an EXTERNAL deployment controller. \
             Use CreateTaskSet to deploy another one."
        }
    };
    EcsError::invalid(told)
}

fn desired_count(given: i64) -> Result<u32, EcsError> {
    if given < 0 {
        return Err(EcsError::invalid("Desired count must be >= 0."));
    }
    u32::try_from(given)
        .ok()
        .filter(|count| *count <= DESIRED_COUNT_MAX)
        .ok_or_else(|| {
            EcsError::invalid(format!(
                "a laptop runs at most {DESIRED_COUNT_MAX} tasks of a service; lower desiredCount."
            ))
        })
}

fn grace_seconds(given: Option<i64>) -> Result<Option<u32>, EcsError> {
    let range: RangeInclusive<i64> = 0..=GRACE_SECONDS_MAX;
    match given {
        Some(given) if !range.contains(&given) => Err(EcsError::invalid(
            "healthCheckGracePeriodSeconds must be 0 to 2147483647.",
        )),
        given => Ok(given.and_then(|given| u32::try_from(given).ok())),
    }
}

fn check_configuration(configuration: &DeploymentConfiguration) -> Result<(), EcsError> {
    check_one_of("strategy", Some(&configuration.strategy), &STRATEGIES)?;
    let (most, least) = (
        configuration.maximum_percent,
        configuration.minimum_healthy_percent,
    );
    if !MAXIMUM_PERCENT.contains(&most) || least > 100 {
        return Err(EcsError::invalid(format!(
            "maximumPercent must be {} to {} and minimumHealthyPercent at most 100.",
            MAXIMUM_PERCENT.start(),
            MAXIMUM_PERCENT.end()
        )));
    }
    if most <= least {
        return Err(EcsError::invalid(
            "maximumPercent must be greater than minimumHealthyPercent, or no deployment could move.",
        ));
    }
    Ok(())
}

pub(super) fn check_client_token(token: Option<&str>) -> Result<(), EcsError> {
    match token {
        Some(token) if token.len() > CLIENT_TOKEN_CHARS_MAX => Err(EcsError::invalid(format!(
            "clientToken must be at most {CLIENT_TOKEN_CHARS_MAX} characters."
        ))),
        Some(_) | None => Ok(()),
    }
}

pub(super) fn check_tags(tags: &[Tag]) -> Result<(), EcsError> {
    if tags.len() > TAGS_MAX {
        return Err(EcsError::invalid(format!("at most {TAGS_MAX} tags.")));
    }
    Ok(())
}

/// Each load balancer leads to a port of a container, through a group that somebody sends requests to.
pub(super) fn check_placement(
    placement: &Placement,
    definition: &TaskDefinition,
    group_use: impl Fn(&str) -> GroupUse,
) -> Result<(), EcsError> {
    check_one_of(
        "launchType",
        placement.launch_type.as_deref(),
        &LAUNCH_TYPES,
    )?;
    let balancers = placement.load_balancers.as_deref().unwrap_or_default();
    if balancers.len() > LOAD_BALANCERS_MAX {
        return Err(EcsError::invalid(format!(
            "load balancers can have at most {LOAD_BALANCERS_MAX} items."
        )));
    }
    for balancer in balancers {
        check_balancer(balancer, definition, &group_use)?;
    }
    Ok(())
}

fn check_balancer(
    balancer: &LoadBalancer,
    definition: &TaskDefinition,
    group_use: impl Fn(&str) -> GroupUse,
) -> Result<(), EcsError> {
    let LoadBalancer {
        target_group_arn: group,
        container_name: name,
        container_port: port,
        ..
    } = balancer;
    if group.is_empty() {
        return Err(EcsError::invalid(
            "targetGroupArn can not be blank: a laptop has no classic load balancers.",
        ));
    }
    let container = definition.container(name).ok_or_else(|| {
        EcsError::invalid(format!(
            "The container {name} does not exist in the task definition."
        ))
    })?;
    if !container.ports.contains(port) {
        return Err(EcsError::invalid(format!(
            "The container {name} did not have a container port {port} defined."
        )));
    }
    match group_use(group) {
        GroupUse::Used => Ok(()),
        GroupUse::Unused => Err(EcsError::invalid(format!(
            "The target group with targetGroupArn {group} does not have an associated load balancer."
        ))),
        GroupUse::Missing => Err(EcsError::invalid(format!(
            "The target group with targetGroupArn {group} does not exist."
        ))),
    }
}
