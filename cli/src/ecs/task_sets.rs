//! Task sets: a service's tasks by the hand of whoever deploys it (controller `EXTERNAL`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::arn::Home;
use super::error::EcsError;
use super::services::{check_client_token, check_placement, check_tags, missing};
use super::state::{Fleet, Fleets, Service, State, TaskSet, TaskSetStatus};
use super::wire::{self, CreateTaskSet, NamedTaskSet, Scale, check_one_of};
use crate::alb::GroupUse;

/// Task sets of one service (AWS has such a quota, and does not say how many).
const TASK_SETS_MAX: usize = 5;
/// Longest external id.
const EXTERNAL_ID_CHARS_MAX: usize = 1_024;

impl State {
    /// The same client token again is the same task set. `group_use` tells of the load balancer's groups.
    pub(super) fn create_task_set(
        &mut self,
        request: CreateTaskSet,
        group_use: impl Fn(&str) -> GroupUse,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        check_client_token(request.client_token.as_deref())?;
        check_tags(&request.tags)?;
        check_external_id(request.external_id.as_deref())?;
        let scale = request.scale.as_ref().map_or(Ok(100.0), Scale::percent)?;
        let definition = self.definition_to_run(&request.task_definition);
        let home = self.home.clone();
        let service = self.active_service(Some(&request.cluster), &request.service)?;
        let sets = service.task_sets()?;
        let token = request.client_token.as_ref();
        let is_same = |set: &TaskSet| token.is_some() && set.client_token.as_ref() == token;
        if let Some(existing) = sets.iter().find(|set| is_same(set)) {
            return Ok(json!({"taskSet": existing.to_wire(&home, service, now)}));
        }
        let definition = definition?;
        check_placement(&request.placement, &definition, group_use)?;
        if sets.len() >= TASK_SETS_MAX {
            return Err(EcsError::limit("task sets of a service", TASK_SETS_MAX));
        }
        let set = TaskSet {
            fleet: Fleet::new(definition, request.placement, now),
            scale,
            status: TaskSetStatus::Active,
            external_id: request.external_id,
            client_token: request.client_token,
            tags: request.tags,
        };
        let told = set.to_wire(&home, service, now);
        service.task_sets_mut()?.push(set);
        Ok(json!({"taskSet": told}))
    }

    pub(super) fn update_task_set(
        &mut self,
        request: &wire::UpdateTaskSet,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        let scale = request.scale.percent()?;
        self.change_task_set(&request.named, now, |set| {
            set.scale = scale;
            Ok(())
        })
    }

    pub(super) fn delete_task_set(
        &mut self,
        request: &wire::DeleteTaskSet,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        self.change_task_set(&request.named, now, |set| {
            if set.scale > 0.0 && !request.force {
                return Err(EcsError::invalid(
                    "The task set cannot be deleted while it is scaled above 0. Scale it to 0, or use force.",
                ));
            }
            set.status = TaskSetStatus::Draining;
            Ok(())
        })
    }

    /// A label and nothing else: requests go where the load balancer's weights send them.
    pub(super) fn update_primary_task_set(
        &mut self,
        request: &wire::UpdatePrimaryTaskSet,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        let named = NamedTaskSet {
            cluster: request.cluster.clone(),
            service: request.service.clone(),
            task_set: request.primary_task_set.clone(),
        };
        let told = self.change_task_set(&named, now, |set| {
            set.status = TaskSetStatus::Primary;
            Ok(())
        })?;
        let service = self.active_service(Some(&request.cluster), &request.service)?;
        for set in service.task_sets_mut()? {
            let is_this = told["taskSet"]["id"] == set.fleet.id.as_str();
            if set.status == TaskSetStatus::Primary && !is_this {
                set.status = TaskSetStatus::Active;
            }
        }
        Ok(told)
    }

    pub(super) fn describe_task_sets(
        &mut self,
        request: &wire::DescribeTaskSets,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        for include in &request.include {
            check_one_of("include", Some(include), &["TAGS"])?;
        }
        let home = self.home.clone();
        let service = self.active_service(Some(&request.cluster), &request.service)?;
        let sets = service.task_sets()?;
        if request.task_sets.len() > TASK_SETS_MAX {
            return Err(EcsError::invalid(format!(
                "Task sets cannot have more than {TASK_SETS_MAX} elements."
            )));
        }
        let with_tags = !request.include.is_empty();
        let told = |set: &TaskSet| {
            let mut told = set.to_wire(&home, service, now);
            if let Some(members) = told.as_object_mut().filter(|_| !with_tags) {
                members.remove("tags");
            }
            told
        };
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        if request.task_sets.is_empty() {
            found.extend(sets.iter().map(told));
        }
        for given in &request.task_sets {
            match position(sets, given, service, &home) {
                Some(at) => found.push(told(&sets[at])),
                None => {
                    let arn = home.task_set(&service.cluster, &service.name, given);
                    failures.push(missing(given, arn));
                }
            }
        }
        Ok(json!({"taskSets": found, "failures": failures}))
    }

    /// Changes a task set that is not being deleted.
    fn change_task_set(
        &mut self,
        named: &NamedTaskSet,
        now: Timestamp,
        change: impl FnOnce(&mut TaskSet) -> Result<(), EcsError>,
    ) -> Result<Value, EcsError> {
        let home = self.home.clone();
        let service = self.active_service(Some(&named.cluster), &named.service)?;
        let at = position(service.task_sets()?, &named.task_set, service, &home);
        let at = at.ok_or_else(EcsError::task_set_not_found)?;
        let set = &mut service.task_sets_mut()?[at];
        if set.status == TaskSetStatus::Draining {
            return Err(EcsError::invalid("The task set is being deleted."));
        }
        change(set)?;
        set.fleet.updated = now;
        let told = service.task_sets()?[at].to_wire(&home, service, now);
        Ok(json!({"taskSet": told}))
    }
}

impl Service {
    fn task_sets(&self) -> Result<&[TaskSet], EcsError> {
        match &self.fleets {
            Fleets::TaskSets(sets) => Ok(sets),
            Fleets::Deployments(_) => Err(not_external()),
        }
    }

    fn task_sets_mut(&mut self) -> Result<&mut Vec<TaskSet>, EcsError> {
        match &mut self.fleets {
            Fleets::TaskSets(sets) => Ok(sets),
            Fleets::Deployments(_) => Err(not_external()),
        }
    }
}

fn not_external() -> EcsError {
    EcsError::invalid("Task sets belong to services with an EXTERNAL deployment controller.")
}

/// Where a task set is, of its id or its ARN.
fn position(sets: &[TaskSet], given: &str, service: &Service, home: &Home) -> Option<usize> {
    sets.iter().position(|set| {
        let id = &set.fleet.id;
        given == id || given == home.task_set(&service.cluster, &service.name, id)
    })
}

fn check_external_id(id: Option<&str>) -> Result<(), EcsError> {
    match id {
        Some(id) if id.len() > EXTERNAL_ID_CHARS_MAX => Err(EcsError::invalid(format!(
            "externalId must be at most {EXTERNAL_ID_CHARS_MAX} characters."
        ))),
        Some(_) | None => Ok(()),
    }
}
