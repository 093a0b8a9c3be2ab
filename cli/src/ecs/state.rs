//! What the laptop's ECS knows: clusters, task definitions, services and their tasks.
//!
//! Everything is in memory behind one lock. A service has fleets: a fleet is the tasks of one task
//! definition, and is either a deployment of ECS's own or a task set of the caller's.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::arn::Home;
use super::definitions::TaskDefinition;
use super::error::EcsError;
use super::news::News;
use super::schedule::Act;
use super::wire::{Controller, DeploymentConfiguration, Placement, Tag};

/// Events of one service; older ones are forgotten (as on AWS).
const EVENTS_MAX: usize = 100;
/// Tasks that have ended and can still be described.
const STOPPED_MAX: usize = 200;
/// After a task that failed the next one waits so long, and twice as long after each that follows.
const REST_MIN: SignedDuration = SignedDuration::from_millis(250);
const REST_MAX: SignedDuration = SignedDuration::from_secs(15);

#[derive(Debug)]
pub(super) struct State {
    pub(super) home: Home,
    /// By name.
    pub(super) clusters: BTreeMap<String, Timestamp>,
    /// By family, oldest revision first.
    pub(super) families: BTreeMap<String, Vec<Arc<TaskDefinition>>>,
    /// By cluster and name.
    pub(super) services: BTreeMap<(String, String), Service>,
    /// Oldest first.
    pub(super) stopped: VecDeque<Stopped>,
    /// What callers ask for beside what the scheduler decides by itself.
    pub(super) asked: Vec<Act>,
}

/// A task that has ended, and whose it was.
#[derive(Debug)]
pub(super) struct Stopped {
    pub(super) cluster: String,
    pub(super) service: String,
    pub(super) fleet: String,
    pub(super) task: Task,
}

#[derive(Debug)]
pub(super) struct Service {
    pub(super) cluster: String,
    pub(super) name: String,
    pub(super) status: ServiceStatus,
    pub(super) desired: u32,
    pub(super) configuration: DeploymentConfiguration,
    pub(super) grace_seconds: Option<u32>,
    pub(super) tags: Vec<Tag>,
    pub(super) client_token: Option<String>,
    pub(super) fleets: Fleets,
    /// Newest first.
    pub(super) events: VecDeque<Event>,
    pub(super) created: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServiceStatus {
    Active,
    /// Deleted, with tasks that have not ended yet.
    Draining,
    /// Deleted.
    Inactive,
}

#[derive(Debug)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) at: Timestamp,
    pub(super) message: String,
}

/// Who replaces tasks, with what there is to replace.
#[derive(Debug)]
pub(super) enum Fleets {
    Deployments(Deployments),
    /// Oldest first.
    TaskSets(Vec<TaskSet>),
}

#[derive(Debug)]
pub(super) struct Deployments {
    /// `Ecs` or `CodeDeploy`.
    pub(super) controller: Controller,
    /// The first is the primary one; the others go.
    pub(super) all: Vec<Deployment>,
    /// The last one that was completed: where a circuit breaker goes back to.
    pub(super) completed: Option<Box<Fleet>>,
    /// What the event bus has not been told yet.
    pub(super) news: Vec<News>,
    /// What is being, or was, rolled back because somebody stopped it; nothing any more once
    /// something else is deployed.
    pub(super) stopped: Option<StoppedDeployment>,
}

/// A service deployment that somebody stopped.
#[derive(Debug)]
pub(super) struct StoppedDeployment {
    /// Of its fleet.
    pub(super) id: String,
    /// When it began.
    pub(super) created: Timestamp,
}

#[derive(Debug)]
pub(super) struct Deployment {
    pub(super) fleet: Fleet,
    pub(super) rollout: Rollout,
    pub(super) reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rollout {
    InProgress,
    Completed,
    Failed,
}

#[derive(Debug)]
pub(super) struct TaskSet {
    pub(super) fleet: Fleet,
    /// Percent of the service's desired count, 0 to 100.
    pub(super) scale: f64,
    pub(super) status: TaskSetStatus,
    pub(super) external_id: Option<String>,
    pub(super) client_token: Option<String>,
    pub(super) tags: Vec<Tag>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskSetStatus {
    Primary,
    Active,
    /// Deleted, with tasks that have not ended yet.
    Draining,
}

/// The tasks of one task definition behind the same target groups.
#[derive(Debug)]
pub(super) struct Fleet {
    /// `ecs-svc/` and 19 digits.
    pub(super) id: String,
    pub(super) definition: Arc<TaskDefinition>,
    pub(super) placement: Placement,
    /// Those that have not ended, oldest first.
    pub(super) tasks: Vec<Task>,
    /// In a row; a task that becomes healthy ends the row.
    pub(super) failures: u32,
    /// No task is started before.
    pub(super) rests_until: Timestamp,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
}

#[derive(Debug)]
pub(super) struct Task {
    /// 32 hexadecimal digits.
    pub(super) id: String,
    pub(super) definition: Arc<TaskDefinition>,
    pub(super) phase: Phase,
    /// As the last look saw it; never when it does not run.
    pub(super) healthy: bool,
    pub(super) ports: Vec<Port>,
    pub(super) targets: Vec<Target>,
    pub(super) exits: Vec<Exit>,
    pub(super) created: Timestamp,
    pub(super) started: Option<Timestamp>,
    pub(super) stopping: Option<Timestamp>,
    pub(super) stopped: Option<Timestamp>,
    pub(super) stop: Option<Stop>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Wanted, and not started yet.
    Pending,
    Running,
    /// Told to end.
    Stopping,
    Stopped,
}

/// A container's port, and the real one that its process listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) container: String,
    pub(super) container_port: u16,
    pub(super) host_port: u16,
}

/// A task as the load balancer knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) group_arn: String,
    pub(super) address: SocketAddr,
}

/// How a container's process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) container: String,
    /// 128 and the signal's number, for one that a signal ended; none if it never ran.
    pub(super) code: Option<i32>,
    pub(super) reason: Option<String>,
}

/// Why a task ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) code: &'static str,
    pub(super) reason: String,
}

impl Stop {
    /// The service needs it no longer, or replaces it.
    pub(super) fn by_scheduler(reason: impl Into<String>) -> Self {
        Self {
            code: "ServiceSchedulerInitiated",
            reason: reason.into(),
        }
    }

    pub(super) fn by_user(reason: Option<String>) -> Self {
        Self {
            code: "UserInitiated",
            reason: reason.unwrap_or_else(|| "Task stopped by user".to_owned()),
        }
    }
}

impl State {
    pub(super) fn new(home: Home) -> Self {
        Self {
            home,
            clusters: BTreeMap::new(),
            families: BTreeMap::new(),
            services: BTreeMap::new(),
            stopped: VecDeque::new(),
            asked: Vec::new(),
        }
    }

    /// The name of an existing cluster.
    pub(super) fn cluster(&self, given: Option<&str>) -> Result<String, EcsError> {
        self.home
            .cluster_name(given)
            .filter(|name| self.clusters.contains_key(*name))
            .map(str::to_owned)
            .ok_or_else(EcsError::cluster_not_found)
    }

    /// A service that is not deleted.
    pub(super) fn active_service(
        &mut self,
        cluster: Option<&str>,
        given: &str,
    ) -> Result<&mut Service, EcsError> {
        let cluster = self.cluster(cluster)?;
        let name = self.home.service_name(given, &cluster);
        let name = name.ok_or_else(EcsError::service_not_found)?.to_owned();
        let service = self.services.get_mut(&(cluster, name));
        let service = service.ok_or_else(EcsError::service_not_found)?;
        match service.status {
            ServiceStatus::Active => Ok(service),
            ServiceStatus::Draining | ServiceStatus::Inactive => {
                Err(EcsError::service_not_active())
            }
        }
    }

    /// Tasks that have not ended, with the services and fleets that they belong to.
    pub(super) fn tasks(&self) -> impl Iterator<Item = (&Service, &Fleet, &Task)> {
        self.services.values().flat_map(|service| {
            let fleets = service.fleets();
            fleets.flat_map(move |fleet| fleet.tasks.iter().map(move |task| (service, fleet, task)))
        })
    }

    pub(super) fn keep_stopped(&mut self, stopped: Stopped) {
        self.stopped.push_back(stopped);
        while self.stopped.len() > STOPPED_MAX {
            self.stopped.pop_front();
        }
    }
}

impl Service {
    pub(super) fn controller(&self) -> Controller {
        match &self.fleets {
            Fleets::Deployments(deployments) => deployments.controller,
            Fleets::TaskSets(_) => Controller::External,
        }
    }

    pub(super) fn fleets(&self) -> Box<dyn Iterator<Item = &Fleet> + '_> {
        match &self.fleets {
            Fleets::Deployments(it) => Box::new(it.all.iter().map(|it| &it.fleet)),
            Fleets::TaskSets(sets) => Box::new(sets.iter().map(|it| &it.fleet)),
        }
    }

    pub(super) fn fleets_mut(&mut self) -> Box<dyn Iterator<Item = &mut Fleet> + '_> {
        match &mut self.fleets {
            Fleets::Deployments(it) => Box::new(it.all.iter_mut().map(|it| &mut it.fleet)),
            Fleets::TaskSets(sets) => Box::new(sets.iter_mut().map(|it| &mut it.fleet)),
        }
    }

    pub(super) fn tell(&mut self, at: Timestamp, message: &str) {
        self.events.push_front(Event {
            id: uuid::Uuid::new_v4().to_string(),
            at,
            message: format!("(service {}) {message}", self.name),
        });
        self.events.truncate(EVENTS_MAX);
    }
}

impl Fleet {
    pub(super) fn new(
        definition: Arc<TaskDefinition>,
        placement: Placement,
        now: Timestamp,
    ) -> Self {
        Self {
            id: fresh_id(),
            definition,
            placement,
            tasks: Vec::new(),
            failures: 0,
            rests_until: now,
            created: now,
            updated: now,
        }
    }

    /// The same fleet without its tasks, as it would be put up again.
    pub(super) fn empty(&self) -> Self {
        Self {
            id: self.id.clone(),
            definition: Arc::clone(&self.definition),
            placement: self.placement.clone(),
            tasks: Vec::new(),
            failures: 0,
            rests_until: self.rests_until,
            created: self.created,
            updated: self.updated,
        }
    }

    pub(super) fn running(&self) -> u32 {
        count(&self.tasks, |task| task.phase == Phase::Running)
    }

    pub(super) fn pending(&self) -> u32 {
        count(&self.tasks, |task| task.phase == Phase::Pending)
    }

    /// Running or about to.
    pub(super) fn live(&self) -> u32 {
        self.running() + self.pending()
    }

    pub(super) fn healthy(&self) -> u32 {
        count(&self.tasks, |task| task.healthy)
    }

    /// A task of it ended by itself, or was not fit to live.
    pub(super) fn failed(&mut self, now: Timestamp) {
        let doublings = self.failures.min(16);
        let rest = REST_MIN.saturating_mul(1 << doublings).min(REST_MAX);
        self.failures = self.failures.saturating_add(1);
        self.rests_until = now.checked_add(rest).unwrap_or(now);
    }

    /// A task of it became healthy.
    pub(super) fn recovered(&mut self) {
        self.failures = 0;
    }
}

impl Task {
    pub(super) fn new(definition: Arc<TaskDefinition>, now: Timestamp) -> Self {
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            definition,
            phase: Phase::Pending,
            healthy: false,
            ports: Vec::new(),
            targets: Vec::new(),
            exits: Vec::new(),
            created: now,
            started: None,
            stopping: None,
            stopped: None,
            stop: None,
        }
    }

    /// Gives it its ports, and with them its place in the target groups.
    pub(super) fn start(&mut self, ports: Vec<Port>, placement: &Placement, now: Timestamp) {
        let balancers = placement.load_balancers.iter().flatten();
        self.targets = balancers
            .filter_map(|it| {
                let port = ports.iter().find(|port| {
                    port.container == it.container_name && port.container_port == it.container_port
                })?;
                Some(Target {
                    group_arn: it.target_group_arn.clone(),
                    address: (Ipv4Addr::LOCALHOST, port.host_port).into(),
                })
            })
            .collect();
        self.ports = ports;
        self.phase = Phase::Running;
        self.started = Some(now);
    }

    /// Tells it to end. The first reason is the one that counts.
    pub(super) fn stop(&mut self, stop: Stop, now: Timestamp) {
        self.phase = Phase::Stopping;
        self.healthy = false;
        self.stopping.get_or_insert(now);
        self.stop.get_or_insert(stop);
    }
}

fn count(tasks: &[Task], which: impl Fn(&Task) -> bool) -> u32 {
    let found = tasks.iter().filter(|task| which(task)).count();
    u32::try_from(found).unwrap_or(u32::MAX)
}

/// The form of the ids of deployments and task sets.
fn fresh_id() -> String {
    format!("ecs-svc/{:019}", fastrand::u64(..10_u64.pow(19)))
}
