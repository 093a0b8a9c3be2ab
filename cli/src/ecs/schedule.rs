//! Which tasks are started and stopped next: pure decisions on the [`State`], taken again and again.
//!
//! A rolling update starts tasks of the new task definition as far as `maximumPercent` allows, and
//! stops old ones as far as `minimumHealthyPercent` does. A task is healthy when all its target
//! groups say so; one without target groups when it has run for a second.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::news::News;
use super::state::{
    Deployment, Deployments, Fleet, Fleets, Phase, Rollout, Service, ServiceStatus, State, Stop,
    Target, Task, TaskSet, TaskSetStatus,
};
use super::wire::DeploymentConfiguration;
use crate::alb::TargetHealth;

/// Processes of one service, those that are ending among them.
pub(super) const TASKS_PER_SERVICE_MAX: u32 = 20;
/// Processes of all services together.
const TASKS_MAX: u32 = 100;
/// A task without target groups that has run for so long is healthy.
const SETTLED: SignedDuration = SignedDuration::from_secs(1);
/// A task may fail its health checks for so long at its start when the service does not say. On AWS
/// it may not, but there checks are half a minute apart and not half a second.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// What is to be done for one task.
#[derive(Debug, PartialEq)]
pub(super) enum Act {
    /// Give it ports and run it.
    Start(String),
    /// Take it out of its target groups and end it.
    Stop(String, Vec<Target>),
}

impl State {
    /// Sees how the tasks are and decides what is to be done.
    pub(super) fn look(
        &mut self,
        now: Timestamp,
        health: impl Fn(&str, SocketAddr) -> TargetHealth,
    ) -> Vec<Act> {
        let mut acts = std::mem::take(&mut self.asked);
        let processes: u32 = self.services.values().map(Service::processes).sum();
        let mut room = TASKS_MAX.saturating_sub(processes);
        for service in self.services.values_mut() {
            service.observe(now, &health, &mut acts);
            let before = service.processes();
            service.schedule(room, now, &mut acts);
            room = room.saturating_sub(service.processes().saturating_sub(before));
        }
        acts
    }
}

impl Service {
    /// Notes each task's health, and stops those that stay ill.
    fn observe(
        &mut self,
        now: Timestamp,
        health: impl Fn(&str, SocketAddr) -> TargetHealth,
        acts: &mut Vec<Act>,
    ) {
        let grace = self
            .grace_seconds
            .map(|it| SignedDuration::from_secs(it.into()));
        let grace = grace.unwrap_or(GRACE);
        let mut told = Vec::new();
        for fleet in self.fleets_mut() {
            let mut recovered = false;
            let mut ill = Vec::new();
            for task in fleet
                .tasks
                .iter_mut()
                .filter(|it| it.phase == Phase::Running)
            {
                let age = task
                    .started
                    .map_or(SignedDuration::ZERO, |it| now.duration_since(it));
                let sees = |target: &Target| health(&target.group_arn, target.address);
                let healthy = if task.targets.is_empty() {
                    age >= SETTLED
                } else {
                    task.targets
                        .iter()
                        .all(|it| sees(it) == TargetHealth::Healthy)
                };
                recovered |= healthy && !task.healthy;
                task.healthy = healthy;
                let failing = task
                    .targets
                    .iter()
                    .find(|it| sees(it) == TargetHealth::Unhealthy);
                if let Some(failing) = failing.filter(|_| age >= grace) {
                    let group = failing.group_arn.clone();
                    ill.push((task.id.clone(), group));
                }
            }
            if recovered {
                fleet.recovered();
            }
            for (id, group) in ill {
                fleet.failed(now);
                let why = format!("Task failed ELB health checks in (target-group {group})");
                fleet.stop(&id, &Stop::by_scheduler(why), now, acts);
                told.push(format!(
                    "(task {id}) failed ELB health checks in (target-group {group})"
                ));
            }
        }
        for message in told {
            self.tell(now, &message);
        }
    }

    /// Starts at most `room` tasks.
    fn schedule(&mut self, room: u32, now: Timestamp, acts: &mut Vec<Act>) {
        let own_room = TASKS_PER_SERVICE_MAX.saturating_sub(self.processes());
        let room = room.min(own_room);
        let desired = match self.status {
            ServiceStatus::Active => self.desired,
            ServiceStatus::Draining | ServiceStatus::Inactive => 0,
        };
        let mut told = Vec::new();
        match &mut self.fleets {
            Fleets::Deployments(deployments) => {
                deployments.trip_breaker(&self.configuration, desired, now, &mut told);
                let bounds = Bounds::new(desired, &self.configuration);
                deployments.roll(bounds, room, now, acts);
                deployments.complete(desired, now, &mut told);
            }
            Fleets::TaskSets(sets) => scale_task_sets(sets, desired, room, now, acts),
        }
        for message in told {
            self.tell(now, &message);
        }
        if self.status == ServiceStatus::Draining && self.processes() == 0 {
            self.status = ServiceStatus::Inactive;
        }
    }

    fn processes(&self) -> u32 {
        self.fleets().map(Fleet::processes).sum()
    }
}

impl Fleet {
    fn processes(&self) -> u32 {
        u32::try_from(self.tasks.len()).unwrap_or(u32::MAX)
    }

    /// Starts up to so many tasks, unless it rests; how many it started.
    fn grow(&mut self, by: u32, now: Timestamp, acts: &mut Vec<Act>) -> u32 {
        if by == 0 || now < self.rests_until {
            return 0;
        }
        // After a failure one task tries whether it is any better now.
        let by = if self.failures > 0 { by.min(1) } else { by };
        for _ in 0..by {
            let task = Task::new(Arc::clone(&self.definition), now);
            acts.push(Act::Start(task.id.clone()));
            self.tasks.push(task);
        }
        by
    }

    /// Stops so many tasks: those that are not healthy first, then the oldest.
    fn shrink(&mut self, by: u32, now: Timestamp, acts: &mut Vec<Act>) {
        let mut live: Vec<_> = self.tasks.iter().filter(|it| it.is_live()).collect();
        live.sort_by_key(|task| task.healthy);
        let by = usize::try_from(by).unwrap_or(usize::MAX);
        let ids: Vec<_> = live.into_iter().take(by).map(|it| it.id.clone()).collect();
        let why = format!("Scaling activity initiated by (deployment {})", self.id);
        for id in ids {
            self.stop(&id, &Stop::by_scheduler(&why), now, acts);
        }
    }

    fn stop(&mut self, id: &str, why: &Stop, now: Timestamp, acts: &mut Vec<Act>) {
        let task = self.tasks.iter_mut().find(|task| task.id == id);
        if let Some(task) = task.filter(|task| task.is_live()) {
            acts.push(Act::Stop(task.id.clone(), task.targets.clone()));
            task.stop(why.clone(), now);
        }
    }
}

impl Task {
    fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Pending | Phase::Running)
    }
}

/// How many tasks a service may have during a deployment, and how many healthy ones it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bounds {
    desired: u32,
    healthy_min: u32,
    live_max: u32,
}

impl Bounds {
    /// ECS rounds the lower bound up and the upper one down.
    fn new(desired: u32, configuration: &DeploymentConfiguration) -> Self {
        let percent = |percent: u32| u64::from(desired) * u64::from(percent);
        let whole = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            desired,
            healthy_min: whole(percent(configuration.minimum_healthy_percent).div_ceil(100)),
            live_max: whole(percent(configuration.maximum_percent) / 100),
        }
    }
}

/// The tasks of one side of a rolling update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Side {
    live: u32,
    healthy: u32,
}

impl Side {
    fn of(fleet: &Fleet) -> Self {
        Self {
            live: fleet.live(),
            healthy: fleet.healthy(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            live: self.live + other.live,
            healthy: self.healthy + other.healthy,
        }
    }
}

/// The next moves of a rolling update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moves {
    start: u32,
    stop_new: u32,
    stop_old: u32,
}

impl Moves {
    fn next(bounds: Bounds, new: Side, old: Side) -> Self {
        let missing = bounds.desired.saturating_sub(new.live);
        let room = bounds.live_max.saturating_sub(new.live + old.live);
        let spare = (new.healthy.min(bounds.desired) + old.healthy)
            .saturating_sub(bounds.healthy_min)
            .min(old.healthy);
        Self {
            start: missing.min(room),
            stop_new: new.live.saturating_sub(bounds.desired),
            stop_old: old.live - old.healthy.min(old.live) + spare,
        }
    }
}

impl Deployments {
    fn roll(&mut self, bounds: Bounds, room: u32, now: Timestamp, acts: &mut Vec<Act>) {
        let Some((primary, replaced)) = self.all.split_first_mut() else {
            return;
        };
        let none = Side {
            live: 0,
            healthy: 0,
        };
        let old = replaced.iter().map(|it| Side::of(&it.fleet));
        let old = old.fold(none, Side::and);
        let moves = Moves::next(bounds, Side::of(&primary.fleet), old);
        primary.fleet.shrink(moves.stop_new, now, acts);
        // A deployment that failed starts nothing more, and what served before goes on serving.
        let stalled = primary.rollout == Rollout::Failed && bounds.desired > 0;
        let mut stop = if stalled { 0 } else { moves.stop_old };
        if !stalled {
            primary.fleet.grow(moves.start.min(room), now, acts);
        }
        for deployment in replaced.iter_mut().rev() {
            let some = stop.min(deployment.fleet.live());
            deployment.fleet.shrink(some, now, acts);
            stop -= some;
        }
        let mut is_primary = true;
        self.all
            .retain(|it| std::mem::take(&mut is_primary) || !it.fleet.tasks.is_empty());
    }

    /// The primary deployment is completed when it alone is there, whole and healthy.
    fn complete(&mut self, desired: u32, now: Timestamp, told: &mut Vec<String>) {
        let [primary] = self.all.as_mut_slice() else {
            return;
        };
        let fleet = &primary.fleet;
        if primary.rollout != Rollout::InProgress
            || fleet.healthy() != desired
            || fleet.processes() != desired
        {
            return;
        }
        primary.rollout = Rollout::Completed;
        primary.reason = format!("ECS deployment {} completed.", fleet.id);
        primary.fleet.updated = now;
        self.news.push(News::of(primary, now));
        told.push(format!(
            "(deployment {}) deployment completed.",
            primary.fleet.id
        ));
        told.push("has reached a steady state.".to_owned());
        self.completed = Some(Box::new(primary.fleet.empty()));
    }

    /// Ends a deployment whose tasks keep failing, and goes back if that is asked for.
    fn trip_breaker(
        &mut self,
        configuration: &DeploymentConfiguration,
        desired: u32,
        now: Timestamp,
        told: &mut Vec<String>,
    ) {
        let breaker = &configuration.deployment_circuit_breaker;
        let Some(primary) = self.all.first_mut() else {
            return;
        };
        let trips = breaker.enable
            && primary.rollout == Rollout::InProgress
            && primary.fleet.failures >= failures_max(desired);
        if !trips {
            return;
        }
        primary.rollout = Rollout::Failed;
        primary.reason = "ECS deployment circuit breaker: tasks failed to start.".to_owned();
        primary.fleet.updated = now;
        self.news.push(News::of(primary, now));
        let failed = primary.fleet.id.clone();
        told.push(format!(
            "(deployment {failed}) deployment failed: tasks failed to start."
        ));
        // While it rolls back the former deployment is in progress itself: failing again goes nowhere.
        if breaker.rollback {
            self.go_back("ECS deployment circuit breaker", now, told);
        }
    }

    /// Deploys again what was completed last; false when nothing was.
    pub(super) fn go_back(&mut self, why: &str, now: Timestamp, told: &mut Vec<String>) -> bool {
        let Some(former) = self.completed.take() else {
            return false;
        };
        told.push(format!("rolling back to (deployment {}).", former.id));
        let listed = self.all.iter().position(|it| it.fleet.id == former.id);
        let mut fleet = listed.map_or(*former, |at| self.all.remove(at).fleet);
        fleet.failures = 0;
        fleet.updated = now;
        let reason = format!("{why}: rolling back to deploymentId {}.", fleet.id);
        let back = Deployment {
            fleet,
            rollout: Rollout::InProgress,
            reason,
        };
        self.news.push(News::of(&back, now));
        self.all.insert(0, back);
        true
    }
}

/// So many failures in a row open the circuit breaker: half the desired count, 3 to 200.
fn failures_max(desired: u32) -> u32 {
    desired.div_ceil(2).clamp(3, 200)
}

impl TaskSet {
    /// The service's desired count times the scale, rounded up.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the scale is 0 to 100, so this is 0 to the desired count"
    )]
    pub(super) fn computed(&self, desired: u32) -> u32 {
        match self.status {
            TaskSetStatus::Draining => 0,
            TaskSetStatus::Primary | TaskSetStatus::Active => {
                (f64::from(desired) * self.scale / 100.0).ceil() as u32
            }
        }
    }

    /// Whether it has exactly the tasks that it is to have, and all are healthy.
    pub(super) fn is_steady(&self, desired: u32) -> bool {
        let computed = self.computed(desired);
        self.fleet.healthy() == computed && self.fleet.processes() == computed
    }
}

fn scale_task_sets(
    sets: &mut Vec<TaskSet>,
    desired: u32,
    mut room: u32,
    now: Timestamp,
    acts: &mut Vec<Act>,
) {
    for set in sets.iter_mut() {
        let (wanted, live) = (set.computed(desired), set.fleet.live());
        let missing = wanted.saturating_sub(live).min(room);
        room -= set.fleet.grow(missing, now, acts);
        set.fleet.shrink(live.saturating_sub(wanted), now, acts);
    }
    sets.retain(|it| it.status != TaskSetStatus::Draining || !it.fleet.tasks.is_empty());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bounds() -> impl Strategy<Value = Bounds> {
        (0_u32..=10, 0_u32..=100, 100_u32..=300).prop_map(|(desired, least, most)| {
            let configuration = DeploymentConfiguration {
                maximum_percent: most,
                minimum_healthy_percent: least,
                ..DeploymentConfiguration::default()
            };
            Bounds::new(desired, &configuration)
        })
    }

    fn side() -> impl Strategy<Value = Side> {
        (0_u32..=10)
            .prop_flat_map(|live| (Just(live), 0..=live))
            .prop_map(|(live, healthy)| Side { live, healthy })
    }

    proptest! {
        #[test]
        fn a_rolling_update_keeps_to_both_of_its_bounds(bounds in bounds(), new in side(), old in side()) {
            let moves = Moves::next(bounds, new, old);
            let live = new.live + old.live;
            prop_assert!(live + moves.start <= bounds.live_max.max(live));
            prop_assert!(new.live + moves.start <= bounds.desired.max(new.live));
            prop_assert!(moves.stop_new <= new.live && moves.stop_old <= old.live);
            let healthy_stopped = moves.stop_old.saturating_sub(old.live - old.healthy);
            let left = new.healthy.min(bounds.desired) + old.healthy - healthy_stopped;
            prop_assert!(healthy_stopped == 0 || left >= bounds.healthy_min);
        }

        #[test]
        fn a_rolling_update_comes_to_its_end_when_its_bounds_leave_room(bounds in bounds(), old in 0_u32..=10) {
            prop_assume!(bounds.live_max > bounds.healthy_min || bounds.desired == 0);
            let (mut new, mut old) = (Side { live: 0, healthy: 0 }, Side { live: old, healthy: old });
            for _ in 0..50 {
                let moves = Moves::next(bounds, new, old);
                new.live = new.live + moves.start - moves.stop_new;
                new.healthy = new.live;
                old.live -= moves.stop_old;
                old.healthy = old.live;
            }
            prop_assert_eq!((new.live, old.live), (bounds.desired, 0));
        }
    }

    #[test]
    fn half_of_the_tasks_but_at_least_three_may_fail() {
        for (desired, failures) in [(0, 3), (1, 3), (6, 3), (7, 4), (10, 5), (1_000, 200)] {
            assert_eq!(failures_max(desired), failures);
        }
    }
}
