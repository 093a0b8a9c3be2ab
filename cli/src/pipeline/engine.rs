//! Runs executions: stages in order, actions by run order.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws::local::bus::Teller;
use futures::future::join_all;
use tokio::sync::{Mutex as Lock, OwnedMutexGuard, watch};
use uuid::Uuid;

use super::actions::{self, Context, Done};
use super::clock;
use super::cloud::Cloud;
use super::declaration::{Action, ExecutionMode, Pipeline};
use super::event::{Event, Status};
use super::execution::{
    ActionRun, ActionStatus, Execution, Failure, Registered, Repository, Start, Stop, Verdict,
};
use super::jobs::{Details, Jobs};
use super::news;
use super::transitions::Transitions;
use super::variables::{Variables, interpolate};

/// So many pipelines are known: more than AWS allows in a region, 1,000, since each test has its own.
const PIPELINES_MAX: usize = 10_000;
/// So many executions are remembered.
const EXECUTIONS_MAX: usize = 100;
/// So many of a pipeline may run at a time, as on AWS.
const RUNNING_MAX: usize = 50;
/// So many of all pipelines may.
const RUNNING_IN_ALL_MAX: usize = 250;
/// A start may give so many variables.
const START_VARIABLES_MAX: usize = 50;

/// How the player behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Region, for ARNs and the build's environment.
    pub region: String,
    /// Account id, for the same.
    pub account: String,
    /// From an answer with a continuation token to the next job.
    pub continuation_delay: Duration,
    /// A function that says nothing for so long has failed.
    pub answer_time_max: Duration,
    /// A Lambda action fails after that, whatever it answers.
    pub action_time_max: Duration,
    /// Every event is delivered twice, as AWS may do.
    pub deliver_twice: bool,
    /// What a build's environment begins with; nothing else is inherited.
    pub build_environment: BTreeMap<String, String>,
    /// Where builds run; each in a new directory, which is removed at its end.
    pub work: PathBuf,
    /// Who is told what happens in executions.
    pub news: Teller,
}

impl Default for Settings {
    /// AWS's times.
    fn default() -> Self {
        Self {
            region: "us-east-1".into(),
            account: "000000000000".into(),
            continuation_delay: Duration::from_secs(30),
            answer_time_max: Duration::from_secs(20 * 60),
            action_time_max: Duration::from_secs(24 * 3600),
            deliver_twice: false,
            build_environment: BTreeMap::new(),
            work: std::env::temp_dir(),
            news: Teller::default(),
        }
    }
}

/// Why a call to the engine was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No such pipeline.
    #[error("there is no pipeline {0}; submit it with `penstock run`, or create it")]
    NoPipeline(String),
    /// No such execution.
    #[error("there is no execution {0}")]
    NoExecution(String),
    /// A pipeline of that name exists.
    #[error("pipeline {0} exists already; update it instead")]
    Exists(String),
    /// A start that the pipeline does not fit.
    #[error("{0}")]
    Start(String),
    /// A bound of the player.
    #[error("{0}")]
    Limit(String),
    /// Too much is running.
    #[error("{0} executions are running; wait for one, or stop one")]
    Busy(usize),
    /// It has ended, or is stopping already.
    #[error("execution {0} cannot be stopped: it has ended, or is stopping")]
    NotStoppable(Uuid),
    /// No such stage.
    #[error("the pipeline has no stage {0}")]
    NoStage(String),
    /// A stage that cannot be rolled back as it is; says why.
    #[error("could not roll the stage back: {0}")]
    NoRollback(String),
    /// An execution of the pipeline as it was before it was changed.
    #[error("execution {0} ran under another version of the pipeline")]
    Outdated(String),
    /// No such action.
    #[error("the stage has no action {0}")]
    NoAction(String),
    /// The token names no question.
    #[error("the token belongs to no approval of this action")]
    NoApproval,
    /// The question was answered.
    #[error("the approval was given or refused already")]
    Answered,
}

/// CodePipeline on a laptop. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Shared>);

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("settings", &self.0.settings)
            .finish_non_exhaustive()
    }
}

/// Copies of a job's event that come late: beside the jobs that follow, after the action's end, and in
/// the middle of what comes then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateCopies {
    /// How many of each event.
    pub copies: u32,
    /// Each comes at a random moment within this time.
    pub within: Duration,
}

pub(super) struct Shared {
    pub(super) settings: Settings,
    late_copies: Mutex<Option<LateCopies>>,
    /// From an answer with a continuation token to the next job.
    continuation_delay: Mutex<Duration>,
    pub(super) cloud: Arc<dyn Cloud>,
    pub(super) jobs: Jobs,
    /// Numbers builds.
    pub(super) builds: AtomicU64,
    starts: AtomicU64,
    pipelines: Mutex<BTreeMap<String, Arc<Registered>>>,
    executions: Mutex<VecDeque<Arc<Execution>>>,
    gates: Mutex<HashMap<(String, String), Arc<Gate>>>,
    pub(super) transitions: Transitions,
}

impl Engine {
    /// An engine that works in this account.
    pub fn new(settings: Settings, cloud: Arc<dyn Cloud>) -> Self {
        Self(Arc::new(Shared {
            continuation_delay: Mutex::new(settings.continuation_delay),
            settings,
            late_copies: Mutex::default(),
            cloud,
            jobs: Jobs::default(),
            builds: AtomicU64::new(0),
            starts: AtomicU64::new(0),
            pipelines: Mutex::default(),
            executions: Mutex::default(),
            gates: Mutex::default(),
            transitions: Transitions::default(),
        }))
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.0.settings
    }

    /// From now on events come late as well, or no longer.
    pub fn deliver_late(&self, copies: Option<LateCopies>) {
        *lock(&self.0.late_copies) = copies;
    }

    /// From now on so much time passes from an answer with a continuation token to the next job; what
    /// did before.
    pub fn continue_after(&self, delay: Duration) -> Duration {
        std::mem::replace(&mut lock(&self.0.continuation_delay), delay)
    }

    /// The jobs that functions answer.
    pub fn jobs(&self) -> &Jobs {
        &self.0.jobs
    }

    /// Makes a pipeline known, or a new version of it. Without `sources` those of the version before stay.
    ///
    /// # Errors
    /// [`Refused::Limit`].
    pub fn register(
        &self,
        mut pipeline: Pipeline,
        sources: Option<BTreeMap<String, Repository>>,
    ) -> Result<Arc<Registered>, Refused> {
        let mut pipelines = lock(&self.0.pipelines);
        let name = pipeline.declaration.name.clone();
        let before = pipelines.get(&name);
        if before.is_none() && pipelines.len() >= PIPELINES_MAX {
            return Err(Refused::Limit(format!(
                "the player knows {PIPELINES_MAX} pipelines already"
            )));
        }
        pipeline.declaration.version =
            before.map_or(1, |before| before.pipeline.declaration.version + 1);
        let now = clock::now();
        let registered = Arc::new(Registered {
            pipeline,
            sources: sources.unwrap_or_else(|| {
                before
                    .map(|before| before.sources.clone())
                    .unwrap_or_default()
            }),
            created: before.map_or(now, |before| before.created),
            updated: now,
        });
        pipelines.insert(name, registered.clone());
        Ok(registered)
    }

    /// A pipeline by its name.
    ///
    /// # Errors
    /// [`Refused::NoPipeline`].
    pub fn pipeline(&self, name: &str) -> Result<Arc<Registered>, Refused> {
        lock(&self.0.pipelines)
            .get(name)
            .cloned()
            .ok_or_else(|| Refused::NoPipeline(name.into()))
    }

    /// All pipelines, by name.
    pub fn pipelines(&self) -> Vec<Arc<Registered>> {
        lock(&self.0.pipelines).values().cloned().collect()
    }

    /// The executions of a pipeline, the newest first.
    pub fn executions(&self, pipeline: &str) -> Vec<Arc<Execution>> {
        let executions = lock(&self.0.executions);
        let of_it = |execution: &&Arc<Execution>| {
            execution.registered.pipeline.declaration.name == pipeline
        };
        executions.iter().rev().filter(of_it).cloned().collect()
    }

    /// An execution by its id.
    ///
    /// # Errors
    /// [`Refused::NoExecution`].
    pub fn execution(&self, id: &str) -> Result<Arc<Execution>, Refused> {
        let found = lock(&self.0.executions)
            .iter()
            .find(|execution| execution.id.to_string() == id)
            .cloned();
        found.ok_or_else(|| Refused::NoExecution(id.into()))
    }

    /// Starts an execution. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Refused`] when the pipeline is unknown, the variables do not fit it, or too much is running.
    pub fn start(&self, pipeline: &str, start: Start) -> Result<Arc<Execution>, Refused> {
        let registered = self.pipeline(pipeline)?;
        let mut variables = Variables::new();
        variables.insert(
            "variables".into(),
            start_variables(&registered.pipeline, &start.variables)?,
        );
        let mut executions = lock(&self.0.executions);
        let again = |execution: &&Arc<Execution>| {
            start.token.is_some() && execution.start.token == start.token
        };
        if let Some(started) = executions.iter().find(again) {
            return Ok(started.clone());
        }
        make_room(&mut executions, pipeline)?;
        let number = self.0.starts.fetch_add(1, Ordering::Relaxed);
        let execution = Execution::new(number, registered, start, variables);
        Ok(self.run(&mut executions, execution))
    }

    /// Starts a rollback of a stage to an execution that succeeded in it. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Refused`] where CodePipeline refuses.
    pub fn roll_back(
        &self,
        pipeline: &str,
        stage: &str,
        target: &str,
    ) -> Result<Arc<Execution>, Refused> {
        let declaration = &self.pipeline(pipeline)?.pipeline.declaration;
        let mut stages = declaration.stages.iter();
        let position = stages.position(|known| known.name == stage);
        let position = position.ok_or_else(|| Refused::NoStage(stage.into()))?;
        let refused = |why: &str| Err(Refused::NoRollback(why.into()));
        if position == 0 {
            return refused("it is the source stage");
        }
        if declaration.execution_mode == ExecutionMode::Parallel {
            return refused("the pipeline's execution mode is PARALLEL");
        }
        let entered = self.executions(pipeline);
        let mut entered = entered.iter().filter_map(|e| e.status_in(stage));
        if entered.any(|status| matches!(status, Status::InProgress | Status::Stopping)) {
            return refused("an execution is in it");
        }
        let target = self.execution(target)?;
        let of_target = &target.registered.pipeline.declaration;
        if of_target.name != pipeline {
            return Err(Refused::NoExecution(target.id.to_string()));
        }
        if of_target.version != declaration.version {
            return Err(Refused::Outdated(target.id.to_string()));
        }
        if target.rollback.is_some() {
            return refused("the target is itself a rollback");
        }
        if target.status_in(stage) != Some(Status::Succeeded) {
            return refused("the target has not succeeded in it");
        }
        let mut executions = lock(&self.0.executions);
        make_room(&mut executions, pipeline)?;
        let number = self.0.starts.fetch_add(1, Ordering::Relaxed);
        let rollback = Execution::rolling_back(number, &target, position);
        Ok(self.run(&mut executions, rollback))
    }

    fn run(
        &self,
        executions: &mut VecDeque<Arc<Execution>>,
        execution: Execution,
    ) -> Arc<Execution> {
        let execution = Arc::new(execution);
        let own = BTreeMap::from([("PipelineExecutionId".to_owned(), execution.id.to_string())]);
        execution.record(|record| record.variables.insert("codepipeline".into(), own));
        executions.push_back(execution.clone());
        tokio::spawn(supervise(self.0.clone(), execution.clone()));
        let (shared, told) = (self.0.clone(), execution.clone());
        tokio::spawn(async move { news::tell(&shared.settings, &told).await });
        execution
    }

    /// The inbound transitions of the stages.
    pub fn transitions(&self) -> &Transitions {
        &self.0.transitions
    }

    /// Stops an execution: after its running actions, or at once.
    ///
    /// # Errors
    /// [`Refused::NoExecution`], [`Refused::NotStoppable`].
    pub fn stop(&self, id: &str, abandon: bool) -> Result<Arc<Execution>, Refused> {
        let execution = self.execution(id)?;
        let wanted = if abandon { Stop::Abandon } else { Stop::Wait };
        let before = *execution.stop.borrow();
        // Waiting may still become abandoning.
        if execution.ended() || before == wanted || before == Stop::Abandon {
            return Err(Refused::NotStoppable(execution.id));
        }
        execution.record(|record| record.status = Status::Stopping);
        execution.journal.record(Event::ExecutionStopping);
        execution.stop.send_replace(wanted);
        Ok(execution)
    }

    /// Abandons all that runs, and waits for it.
    pub async fn stop_all(&self) {
        let running: Vec<_> = lock(&self.0.executions)
            .iter()
            .filter(|execution| !execution.ended())
            .cloned()
            .collect();
        for execution in &running {
            execution.stop.send_replace(Stop::Abandon);
        }
        join_all(running.iter().map(|execution| execution.end())).await;
    }

    /// Answers a manual approval.
    ///
    /// # Errors
    /// [`Refused`] when there is no such question, or it was answered.
    pub fn approve(
        &self,
        pipeline: &str,
        stage: &str,
        action: &str,
        token: &str,
        verdict: Verdict,
    ) -> Result<(), Refused> {
        let declaration = &self.pipeline(pipeline)?.pipeline.declaration;
        let place = declaration
            .stages
            .iter()
            .find(|candidate| candidate.name == stage);
        let place = place.ok_or_else(|| Refused::NoStage(stage.into()))?;
        if !place
            .actions
            .iter()
            .any(|candidate| candidate.name == action)
        {
            return Err(Refused::NoAction(action.into()));
        }
        for execution in self.executions(pipeline) {
            let answer = execution.record(|record| {
                let runs = record
                    .stages
                    .iter_mut()
                    .flat_map(|stage| &mut stage.actions);
                let mut approvals =
                    runs.filter_map(|action| action.run.as_mut()?.approval.as_mut());
                approvals
                    .find(|approval| approval.token == token)
                    .map(|approval| approval.answer.take())
            });
            match answer {
                None => {}
                Some(Some(sender)) => return sender.send(verdict).map_err(|_| Refused::Answered),
                Some(None) => return Err(Refused::Answered),
            }
        }
        Err(Refused::NoApproval)
    }
}

impl Shared {
    pub(super) fn late_copies(&self) -> Option<LateCopies> {
        *lock(&self.late_copies)
    }

    pub(super) fn continuation_delay(&self) -> Duration {
        *lock(&self.continuation_delay)
    }
}

/// Refuses one more where too many run, and forgets the oldest where too many are remembered.
fn make_room(executions: &mut VecDeque<Arc<Execution>>, pipeline: &str) -> Result<(), Refused> {
    let running = executions.iter().filter(|execution| !execution.ended());
    let of_it = running
        .clone()
        .filter(|execution| execution.registered.pipeline.declaration.name == pipeline);
    for (running, most) in [
        (of_it.count(), RUNNING_MAX),
        (running.count(), RUNNING_IN_ALL_MAX),
    ] {
        if running >= most {
            return Err(Refused::Busy(running));
        }
    }
    if executions.len() >= EXECUTIONS_MAX
        && let Some(oldest) = executions.iter().position(|execution| execution.ended())
    {
        executions.remove(oldest);
    }
    Ok(())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_variables(
    pipeline: &Pipeline,
    given: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Refused> {
    let declared = &pipeline.declaration.variables;
    if given.len() > START_VARIABLES_MAX {
        return Err(Refused::Start(format!(
            "a start takes at most {START_VARIABLES_MAX} variables"
        )));
    }
    if let Some(name) = given
        .keys()
        .find(|name| !declared.iter().any(|variable| variable.name == **name))
    {
        return Err(Refused::Start(format!(
            "the pipeline declares no variable {name}; add it to its Variables"
        )));
    }
    let value =
        |name: &str, default: &Option<String>| given.get(name).cloned().or_else(|| default.clone());
    let bound = declared.iter().map(|variable| {
        let value = value(&variable.name, &variable.default_value);
        let value = value.ok_or_else(|| {
            Refused::Start(format!(
                "variable {0} has no default: give it a value",
                variable.name
            ))
        })?;
        Ok((variable.name.clone(), value))
    });
    bound.collect()
}

/// Lets one execution at a time into a stage, and lets a newer one replace one that waits.
struct Gate {
    lock: Arc<Lock<()>>,
    newest: watch::Sender<u64>,
}

enum Entry {
    In(Option<OwnedMutexGuard<()>>),
    Superseded,
}

async fn enter(shared: &Shared, execution: &Execution, stage: &str) -> Entry {
    let declaration = &execution.registered.pipeline.declaration;
    let transition = shared.transitions.inbound(&declaration.name, stage);
    // A rollback begins in its stage, so it comes through no transition.
    let opened = async {
        match execution.rollback {
            Some(_) => {}
            None => transition.opened().await,
        }
    };
    if declaration.execution_mode == ExecutionMode::Parallel {
        opened.await;
        return Entry::In(None);
    }
    let key = (declaration.name.clone(), stage.to_owned());
    let new_gate = || {
        Arc::new(Gate {
            lock: Arc::default(),
            newest: watch::Sender::new(0),
        })
    };
    let gate = lock(&shared.gates)
        .entry(key)
        .or_insert_with(new_gate)
        .clone();
    let mut newest = gate.newest.subscribe();
    gate.newest.send_if_modified(|newest| {
        let newer = execution.number > *newest;
        *newest = execution.number.max(*newest);
        newer
    });
    let superseded = async {
        let replaced = declaration.execution_mode == ExecutionMode::Superseded;
        if !replaced
            || newest
                .wait_for(|newest| *newest > execution.number)
                .await
                .is_err()
        {
            std::future::pending::<()>().await;
        }
    };
    let entered = async {
        opened.await;
        loop {
            let guard = gate.lock.clone().lock_owned().await;
            if execution.rollback.is_some() || transition.is_open() {
                return guard;
            }
            // It was closed while the stage was taken.
            drop(guard);
            transition.opened().await;
        }
    };
    tokio::select! {
        biased;
        guard = entered => Entry::In(Some(guard)),
        () = superseded => Entry::Superseded,
    }
}

/// Runs an execution in a task of its own, so that even a panic ends it in the eyes of its followers.
async fn supervise(shared: Arc<Shared>, execution: Arc<Execution>) {
    let run = tokio::spawn({
        let execution = execution.clone();
        async move { run(&shared, &execution).await }
    });
    match run.await {
        Ok((status, message)) => execution.finish(status, message),
        Err(error) => execution.finish(Status::Failed, Some(format!("the player failed: {error}"))),
    }
}

async fn run(shared: &Shared, execution: &Execution) -> (Status, Option<String>) {
    let stages = &execution.registered.pipeline.declaration.stages;
    for position in execution.stages() {
        let stage = &stages[position];
        let _inside = tokio::select! {
            biased;
            () = execution.stopped(false) => return (Status::Stopped, None),
            entry = enter(shared, execution, &stage.name) => match entry {
                Entry::In(guard) => guard,
                Entry::Superseded => return (Status::Superseded, Some("a newer execution took its place".into())),
            },
        };
        execution.record(|record| record.stages[position].status = Some(Status::InProgress));
        execution.journal.record(Event::StageStarted {
            stage: stage.name.clone(),
        });
        let (status, message) = run_stage(shared, execution, position).await;
        execution.record(|record| {
            record.stages[position].status = Some(status);
            record.updated = clock::now();
        });
        execution.journal.record(Event::StageEnded {
            stage: stage.name.clone(),
            status,
        });
        if status != Status::Succeeded {
            return (status, message);
        }
    }
    (Status::Succeeded, None)
}

async fn run_stage(
    shared: &Shared,
    execution: &Execution,
    position: usize,
) -> (Status, Option<String>) {
    let stage = &execution.registered.pipeline.declaration.stages[position];
    let mut groups: BTreeMap<u16, Vec<(usize, &Action)>> = BTreeMap::new();
    for (index, action) in stage.actions.iter().enumerate() {
        groups
            .entry(action.run_order)
            .or_default()
            .push((index, action));
    }
    for group in groups.into_values() {
        if *execution.stop.borrow() != Stop::No {
            return (Status::Stopped, None);
        }
        let runs = group
            .iter()
            .map(|(index, action)| run_action(shared, execution, (position, *index), action));
        let ends = join_all(runs).await;
        if ends.iter().any(|end| matches!(end, End::Abandoned)) {
            return (Status::Stopped, None);
        }
        let failed = ends.into_iter().find_map(|end| match end {
            End::Failed(message) => Some(message),
            End::Succeeded | End::Abandoned => None,
        });
        if failed.is_some() {
            return (Status::Failed, failed);
        }
    }
    (Status::Succeeded, None)
}

enum End {
    Succeeded,
    Failed(String),
    Abandoned,
}

async fn run_action(
    shared: &Shared,
    execution: &Execution,
    position: (usize, usize),
    action: &Action,
) -> End {
    let stage = execution.registered.pipeline.declaration.stages[position.0]
        .name
        .clone();
    let begun = tokio::time::Instant::now();
    let name = action.name.clone();
    let mut context = Context::new(shared, execution, position, action);
    context.record(|record| record.run = Some(new_run(&context)));
    execution.journal.record(Event::ActionStarted {
        stage: stage.clone(),
        action: name.clone(),
        provider: action.action_type_id.provider.clone(),
    });
    let result = match resolved(execution, action) {
        Err(failure) => Err(failure),
        Ok(configuration) => {
            context.run(|run| run.configuration.clone_from(&configuration));
            context.configuration = configuration;
            tokio::select! {
                biased;
                () = execution.stopped(true) => {
                    context.run(|run| run.status = ActionStatus::Abandoned);
                    execution.journal.record(Event::ActionAbandoned { stage, action: name });
                    return End::Abandoned;
                }
                result = actions::perform(&context) => result,
            }
        }
    };
    conclude(&context, result, begun.elapsed())
}

/// Makes an action's end known.
fn conclude(context: &Context<'_>, result: Result<Done, Failure>, took: Duration) -> End {
    let (stage, action) = (context.stage(), context.action.name.clone());
    let journal = &context.execution.journal;
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match result {
        Ok(done) => {
            let summary = done.details.summary.clone();
            let variables = done.variables.clone();
            context.succeed(done);
            journal.record(Event::ActionSucceeded {
                stage,
                action,
                summary,
                milliseconds,
                variables,
            });
            End::Succeeded
        }
        Err(failure) => {
            context.run(|run| {
                run.status = ActionStatus::Failed;
                run.failure = Some(failure.clone());
            });
            let Failure { code, message } = failure;
            let told = format!("{stage}/{action}: {message}");
            journal.record(Event::ActionFailed {
                stage,
                action,
                code,
                message,
                milliseconds,
            });
            End::Failed(told)
        }
    }
}

fn new_run(context: &Context<'_>) -> ActionRun {
    let now = clock::now();
    ActionRun {
        id: context.id,
        status: ActionStatus::InProgress,
        started: now,
        updated: now,
        details: Details::default(),
        failure: None,
        configuration: BTreeMap::new(),
        inputs: context.inputs.clone(),
        outputs: context.outputs.clone(),
        variables: BTreeMap::new(),
        approval: None,
    }
}

fn resolved(execution: &Execution, action: &Action) -> Result<BTreeMap<String, String>, Failure> {
    let variables = execution.record(|record| record.variables.clone());
    let resolve = |(key, value): (&String, &String)| match interpolate(value, &variables) {
        Ok(value) => Ok((key.clone(), value)),
        Err(error) => Err(Failure::configuration(format!(
            "could not resolve {key}: {error}"
        ))),
    };
    action.configuration.iter().map(resolve).collect()
}

#[cfg(test)]
mod tests;
