//! Tasks, as callers see them and as their processes report back.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::definitions::TaskDefinition;
use super::error::EcsError;
use super::schedule::Act;
use super::services::missing;
use super::state::{Exit, Phase, Port, State, Stop, Stopped, Target, Task};
use super::wire::{self, Page, check_one_of};

/// Tasks that one call may describe (ECS's bound).
const DESCRIBED_MAX: usize = 100;
/// Longest reason of a StopTask (ECS's bound for what it tells).
const REASON_CHARS_MAX: usize = 255;

impl State {
    pub(super) fn list_tasks(&self, request: &wire::ListTasks) -> Result<Value, EcsError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        let status = request.desired_status.as_deref();
        check_one_of("desiredStatus", status, &["RUNNING", "PENDING", "STOPPED"])?;
        let service = match request.service_name.as_deref() {
            Some(given) => {
                let name = self.home.service_name(given, &cluster);
                let name = name.ok_or_else(EcsError::service_not_found)?;
                if !self
                    .services
                    .contains_key(&(cluster.clone(), name.to_owned()))
                {
                    return Err(EcsError::service_not_found());
                }
                Some(name)
            }
            None => None,
        };
        let is_asked = |it: &Listed| {
            let runs = matches!(it.2.phase, Phase::Pending | Phase::Running);
            let family = request.family.as_deref();
            let starter = request.started_by.as_deref();
            it.0 == (cluster.as_str(), service.unwrap_or(it.0.1))
                && family.is_none_or(|family| family == it.2.definition.family)
                && starter.is_none_or(|starter| starter == it.1)
                && runs == (status != Some("STOPPED"))
        };
        let asked = self.all_tasks().filter(is_asked);
        let arns = asked.map(|(_, _, task)| self.home.task(&cluster, &task.id));
        let page = Page::new(request.max_results, request.next_token.as_deref());
        page.of("taskArns", arns.collect())
    }

    pub(super) fn describe_tasks(&self, request: &wire::DescribeTasks) -> Result<Value, EcsError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        if request.tasks.is_empty() || request.tasks.len() > DESCRIBED_MAX {
            return Err(EcsError::invalid(format!(
                "Tasks must have 1 to {DESCRIBED_MAX} elements."
            )));
        }
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for given in &request.tasks {
            let id = self.home.task_id(given, &cluster);
            let task = self
                .all_tasks()
                .find(|((within, _), _, task)| *within == cluster && Some(task.id.as_str()) == id);
            match task {
                Some((owner, fleet, task)) => found.push(task.to_wire(&self.home, owner, fleet)),
                None => failures.push(missing(given, self.home.task(&cluster, given))),
            }
        }
        Ok(json!({"tasks": found, "failures": failures}))
    }

    /// Ends a task; its service puts another in its place.
    pub(super) fn stop_task(
        &mut self,
        request: wire::StopTask,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        let not_found = || EcsError::invalid("The referenced task was not found.");
        let id = self
            .home
            .task_id(&request.task, &cluster)
            .map(str::to_owned);
        let id = id.ok_or_else(not_found)?;
        let reason = request
            .reason
            .map(|it| it.chars().take(REASON_CHARS_MAX).collect());
        if let Some(task) = self.live_task(&cluster, &id) {
            let act = Act::Stop(id.clone(), task.targets.clone());
            task.stop(Stop::by_user(reason), now);
            self.asked.push(act);
        }
        let mut tasks = self.all_tasks();
        let found = tasks.find(|((within, _), _, task)| *within == cluster && task.id == id);
        let (owner, fleet, task) = found.ok_or_else(not_found)?;
        Ok(json!({"task": task.to_wire(&self.home, owner, fleet)}))
    }

    /// A task of this cluster that runs or is about to.
    fn live_task(&mut self, cluster: &str, id: &str) -> Option<&mut Task> {
        let services = self.services.values_mut();
        services
            .filter(|service| service.cluster == cluster)
            .flat_map(|service| service.fleets_mut().flat_map(|fleet| &mut fleet.tasks))
            .find(|task| task.id == id && matches!(task.phase, Phase::Pending | Phase::Running))
    }

    /// What a task that is to be started runs.
    pub(super) fn pending_definition(&self, id: &str) -> Option<Arc<TaskDefinition>> {
        let (_, _, task) = self.tasks().find(|(_, _, task)| task.id == id)?;
        (task.phase == Phase::Pending).then(|| Arc::clone(&task.definition))
    }

    /// The ports of all tasks that have not ended.
    pub(super) fn ports_in_use(&self) -> HashSet<u16> {
        let ports = self.tasks().flat_map(|(_, _, task)| &task.ports);
        ports.map(|port| port.host_port).collect()
    }

    /// Gives a task its ports; its targets are to be registered. `None` if it is not wanted any more.
    pub(super) fn start_task(
        &mut self,
        id: &str,
        ports: Vec<Port>,
        now: Timestamp,
    ) -> Option<Vec<Target>> {
        for service in self.services.values_mut() {
            let mut started = None;
            for fleet in service.fleets_mut() {
                let placement = &fleet.placement;
                let task = fleet.tasks.iter_mut().find(|task| task.id == id);
                if let Some(task) = task.filter(|task| task.phase == Phase::Pending) {
                    task.start(ports.clone(), placement, now);
                    started = Some(task.targets.clone());
                }
            }
            if let Some(targets) = started {
                service.tell(now, &format!("has started 1 tasks: (task {id})."));
                return Some(targets);
            }
        }
        None
    }

    /// Notes that a task's processes are gone; the targets that nobody has deregistered yet.
    pub(super) fn end_task(&mut self, id: &str, exits: Vec<Exit>, now: Timestamp) -> Vec<Target> {
        let mut ended = None;
        for service in self.services.values_mut() {
            let mut message = None;
            for fleet in service.fleets_mut() {
                let Some(at) = fleet.tasks.iter().position(|task| task.id == id) else {
                    continue;
                };
                let mut task = fleet.tasks.remove(at);
                let by_itself = task.phase != Phase::Stopping;
                let mut targets = Vec::new();
                if by_itself {
                    fleet.failed(now);
                    message = Some(format!("(task {id}) ended by itself: {}", told_end(&exits)));
                    targets.clone_from(&task.targets);
                    task.stop(own_end(&exits), now);
                }
                task.phase = Phase::Stopped;
                task.stopped = Some(now);
                task.exits = exits.clone();
                ended = Some((fleet.id.clone(), task, targets));
            }
            if let Some(message) = message {
                service.tell(now, &message);
            }
            if let Some((fleet, task, targets)) = ended {
                let (cluster, service) = (service.cluster.clone(), service.name.clone());
                self.keep_stopped(Stopped {
                    cluster,
                    service,
                    fleet,
                    task,
                });
                return targets;
            }
        }
        Vec::new()
    }

    /// Those that run and those that are remembered.
    fn all_tasks(&self) -> impl Iterator<Item = Listed<'_>> {
        let live = self.tasks().map(|(service, fleet, task)| {
            let owner = (service.cluster.as_str(), service.name.as_str());
            (owner, fleet.id.as_str(), task)
        });
        let stopped = self.stopped.iter().map(|it| {
            let owner = (it.cluster.as_str(), it.service.as_str());
            (owner, it.fleet.as_str(), &it.task)
        });
        live.chain(stopped)
    }
}

/// A task after its cluster and service, and the id of its fleet.
type Listed<'a> = ((&'a str, &'a str), &'a str, &'a Task);

/// Why a task that nobody stopped has ended.
fn own_end(exits: &[Exit]) -> Stop {
    match exits.iter().find(|exit| exit.code.is_none()) {
        Some(never_ran) => Stop {
            code: "TaskFailedToStart",
            reason: never_ran.reason.clone().unwrap_or_default(),
        },
        None => Stop {
            code: "EssentialContainerExited",
            reason: "Essential container in task exited".to_owned(),
        },
    }
}

/// The same for people: which container it was, and its last words.
fn told_end(exits: &[Exit]) -> String {
    let Some(first) = exits.first() else {
        return "nothing of it ran".to_owned();
    };
    let words = first.reason.as_deref().unwrap_or("it said nothing");
    match first.code {
        Some(code) => format!("container {} exited with {code}: {words}", first.container),
        None => words.to_owned(),
    }
}
