//! ECS for the laptop: services and task sets whose tasks are real processes behind the player's own
//! load balancer, which the emulator has the names of only.
//!
//! It speaks ECS' JSON protocol (`AWS_ENDPOINT_URL_ECS`). A task runs each of its containers' `command`
//! with the container's `environment`; the ports of its port mappings become free ones of the laptop,
//! told as `PORT` (the first) and `PORT_<containerPort>`. With a target group it is a target there,
//! `127.0.0.1` and that port, and is checked like any other.
//!
//! What differs from AWS, on purpose: images are not pulled, so a container without a command is not
//! run; a task starts in the player's own directory and may listen on nothing but loopback; health checks
//! of containers, placement, roles, secrets, volumes and logging are kept and told again, and not heeded;
//! a new task has 10 s to become healthy unless the service says otherwise (AWS: none, but its checks
//! are half a minute apart); draining takes a second; native blue/green, linear and canary
//! strategies are kept, and rolled; task definitions and clusters cannot be deleted; at most 10 tasks
//! of a service are wanted and 20 run, 100 of all services; what is above that waits.

mod arn;
mod definitions;
mod described;
mod error;
mod news;
mod process;
mod schedule;
mod service_deployments;
mod services;
mod state;
mod task_sets;
mod tasks;
mod wire;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws::local::bus::Teller;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::alb::Alb;
use crate::pipeline::clock;
use arn::Home;
use error::EcsError;
use schedule::Act;
use state::{Exit, Port, State, Target};

/// What the header of a call begins with.
const TARGET: &str = "AmazonEC2ContainerServiceV20141113.";
/// Largest call, in bytes: twice the largest task definition.
const CALL_BYTES_MAX: usize = 128 << 10;
/// From one look at all tasks to the next.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// A free port that another task was given already is asked for again so many times.
const PORT_TRIES_MAX: usize = 16;

/// How the laptop's ECS is set up.
#[derive(Debug, Clone)]
pub struct EcsConfig {
    /// The region in the ARNs.
    pub region: String,
    /// The account in the ARNs: 12 digits.
    pub account: String,
    /// What each container's environment begins with.
    pub environment: BTreeMap<String, String>,
    /// Who is told of deployments.
    pub news: Teller,
}

/// The services and what runs of them. A clone is the same one; dropping the last one kills all tasks.
#[derive(Debug, Clone)]
pub struct Ecs {
    shared: Arc<Shared>,
    /// True ends the scheduler, which has the only receiver.
    end: Arc<watch::Sender<bool>>,
}

/// What the API and the scheduler share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    alb: Arc<Alb>,
    environment: BTreeMap<String, String>,
    news: Teller,
    /// Somebody wants the scheduler to look now.
    changed: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Operations check everything before they change anything, so a panic leaves a usable state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ecs {
    /// Starts without any cluster; its tasks become targets of this load balancer. Needs a tokio runtime.
    pub fn start(config: EcsConfig, alb: Arc<Alb>) -> Self {
        let home = Home {
            region: config.region,
            account: config.account,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(home)),
            alb,
            environment: config.environment,
            news: config.news,
            changed: Notify::new(),
        });
        let (end, ended) = watch::channel(false);
        tokio::spawn(Scheduler::new(Arc::clone(&shared)).run(ended));
        Self {
            shared,
            end: Arc::new(end),
        }
    }

    /// Answers one call; `None` when its target is not ECS's.
    pub(crate) fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Option<Response> {
        let target = headers.get("x-amz-target")?.to_str().ok()?;
        let operation = target.strip_prefix(TARGET)?;
        let (status, body) = match self.call(operation, body) {
            Ok(answer) => (StatusCode::OK, answer),
            Err(error) => {
                tracing::debug!(%error, operation, "ECS refused a call");
                let told = json!({"__type": error.kind, "message": error.message});
                (StatusCode::BAD_REQUEST, told)
            }
        };
        let mut response = (status, body.to_string()).into_response();
        let headers = response.headers_mut();
        let kind = HeaderValue::from_static("application/x-amz-json-1.1");
        headers.insert(header::CONTENT_TYPE, kind);
        if let Ok(id) = HeaderValue::from_str(&Uuid::new_v4().to_string()) {
            headers.insert("x-amzn-requestid", id);
        }
        Some(response)
    }

    fn call(&self, operation: &str, body: &[u8]) -> Result<Value, EcsError> {
        if body.len() > CALL_BYTES_MAX {
            return Err(EcsError::client(format!(
                "a call may have at most {CALL_BYTES_MAX} bytes."
            )));
        }
        let now = clock::now();
        let mut state = self.shared.state();
        let group_use = |arn: &str| self.shared.alb.group_use(arn);
        let answer = match operation {
            "CreateCluster" => state.create_cluster(wire::read(body)?, now),
            "DescribeClusters" => state.describe_clusters(wire::read(body)?),
            "RegisterTaskDefinition" => state.register_task_definition(wire::read(body)?, now),
            "DescribeTaskDefinition" => state.describe_task_definition(&wire::read(body)?),
            "ListTaskDefinitions" => state.list_task_definitions(&wire::read(body)?),
            "CreateService" => state.create_service(wire::read(body)?, group_use, now),
            "UpdateService" => state.update_service(wire::read(body)?, group_use, now),
            "DeleteService" => state.delete_service(&wire::read(body)?, now),
            "DescribeServices" => state.describe_services(wire::read(body)?, now),
            "ListServices" => state.list_services(&wire::read(body)?),
            "CreateTaskSet" => state.create_task_set(wire::read(body)?, group_use, now),
            "UpdateTaskSet" => state.update_task_set(&wire::read(body)?, now),
            "DeleteTaskSet" => state.delete_task_set(&wire::read(body)?, now),
            "DescribeTaskSets" => state.describe_task_sets(&wire::read(body)?, now),
            "UpdateServicePrimaryTaskSet" => state.update_primary_task_set(&wire::read(body)?, now),
            "ListServiceDeployments" => state.list_service_deployments(&wire::read(body)?),
            "DescribeServiceDeployments" => state.describe_service_deployments(&wire::read(body)?),
            "StopServiceDeployment" => state.stop_service_deployment(&wire::read(body)?, now),
            "ListTasks" => state.list_tasks(&wire::read(body)?),
            "DescribeTasks" => state.describe_tasks(&wire::read(body)?),
            "StopTask" => state.stop_task(wire::read(body)?, now),
            _ => Err(EcsError::unknown_operation(operation)),
        };
        drop(state);
        self.shared.changed.notify_one();
        answer
    }

    /// Kills every task; returns once they are gone.
    pub async fn stop(&self) {
        self.end.send_replace(true);
        self.end.closed().await;
    }
}

/// Looks at all services again and again, and does what the look says. It owns the tasks: when it is
/// dropped, they are killed.
struct Scheduler {
    shared: Arc<Shared>,
    running: JoinSet<(String, Vec<Exit>)>,
    /// How to end a task, by its id.
    stops: HashMap<String, watch::Sender<bool>>,
}

impl Scheduler {
    fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            running: JoinSet::new(),
            stops: HashMap::new(),
        }
    }

    /// Runs until `end` is true or nobody can make it so.
    async fn run(mut self, mut end: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.shared.changed.notified() => {}
                _ = end.wait_for(|end| *end) => break,
                Some(ended) = self.running.join_next() => {
                    if let Ok((id, exits)) = ended {
                        self.ended(&id, exits);
                    }
                }
            }
            self.look();
        }
        self.running.shutdown().await;
    }

    fn look(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let acts = state.look(clock::now(), |group, target| {
            shared.alb.target_health(group, target)
        });
        for event in state.take_news() {
            shared.news.say(event);
        }
        for act in acts {
            match act {
                Act::Start(id) => self.start(&mut state, id),
                Act::Stop(id, targets) => self.stop(&mut state, &id, targets),
            }
        }
    }

    fn start(&mut self, state: &mut State, id: String) {
        let Some(definition) = state.pending_definition(&id) else {
            return;
        };
        let mut taken = state.ports_in_use();
        let mut ports = Vec::new();
        for container in &definition.containers {
            for container_port in &container.ports {
                let Some(host_port) = free_port(&taken) else {
                    state.end_task(&id, vec![no_port(container.name.clone())], clock::now());
                    return;
                };
                taken.insert(host_port);
                ports.push(Port {
                    container: container.name.clone(),
                    container_port: *container_port,
                    host_port,
                });
            }
        }
        let Some(targets) = state.start_task(&id, ports.clone(), clock::now()) else {
            return;
        };
        for target in &targets {
            if let Err(refused) = self.shared.alb.register(&target.group_arn, target.address) {
                tracing::warn!("could not register task {id}: {refused}");
            }
        }
        let (stop, stopped) = watch::channel(false);
        self.stops.insert(id.clone(), stop);
        let environment = self.shared.environment.clone();
        let containers = definition.containers.clone();
        self.running.spawn(async move {
            let exits = process::run(containers, &ports, &environment, stopped).await;
            (id, exits)
        });
    }

    fn stop(&self, state: &mut State, id: &str, targets: Vec<Target>) {
        let drains = !targets.is_empty();
        self.deregister(targets);
        let Some(stop) = self.stops.get(id).cloned() else {
            // It was never started.
            state.end_task(id, Vec::new(), clock::now());
            return;
        };
        tokio::spawn(async move {
            if drains {
                tokio::time::sleep(process::DRAIN).await;
            }
            stop.send_replace(true);
        });
    }

    fn ended(&mut self, id: &str, exits: Vec<Exit>) {
        self.stops.remove(id);
        let targets = self.shared.state().end_task(id, exits, clock::now());
        self.deregister(targets);
    }

    fn deregister(&self, targets: Vec<Target>) {
        for target in targets {
            if let Err(refused) = self
                .shared
                .alb
                .deregister(&target.group_arn, target.address)
            {
                tracing::warn!("could not deregister {}: {refused}", target.address);
            }
        }
    }
}

/// The exit of a container that there is no port for.
fn no_port(container: String) -> Exit {
    Exit {
        container,
        code: None,
        reason: Some("CannotStartContainerError: could not find a free port".to_owned()),
    }
}

/// A port that nobody listens on and no task was given.
fn free_port(taken: &HashSet<u16>) -> Option<u16> {
    (0..PORT_TRIES_MAX).find_map(|_| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        let port = listener.local_addr().ok()?.port();
        (!taken.contains(&port)).then_some(port)
    })
}
