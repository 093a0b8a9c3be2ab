//! One execution of a pipeline, as the API and a follower see it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use super::artifact::Location;
use super::clock;
use super::declaration::Pipeline;
use super::event::{Event, Journal, Status};
use super::jobs::Details;
use super::variables::Variables;

/// A pipeline that the player knows, in one version.
#[derive(Debug)]
pub struct Registered {
    /// Its declaration and build projects.
    pub pipeline: Pipeline,
    /// The repository of each source action.
    pub sources: BTreeMap<String, Repository>,
    /// When it was first registered.
    pub created: Timestamp,
    /// When this version was.
    pub updated: Timestamp,
}

/// A local git repository that a source action reads.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Repository {
    /// Its directory, absolute.
    pub path: std::path::PathBuf,
    /// What is checked out; `HEAD` where it is not said.
    pub revision: Option<String>,
}

/// How an execution begins.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Pipeline-level variables; they win over the defaults.
    pub variables: BTreeMap<String, String>,
    /// Revisions by source action; they win over those of the repositories.
    pub revisions: BTreeMap<String, String>,
    /// Manual approvals are given without asking.
    pub approve: bool,
    /// Two starts with one token are one start.
    pub token: Option<String>,
}

/// Whether an execution should go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It should.
    No,
    /// No new action; what runs may finish.
    Wait,
    /// At once; what runs is left alone.
    Abandon,
}

/// One execution.
#[derive(Debug)]
pub struct Execution {
    /// Its id.
    pub id: Uuid,
    /// Rises with each start of the player's executions.
    pub number: u64,
    /// The pipeline, in the version in which it was started.
    pub registered: Arc<Registered>,
    /// How it began.
    pub start: Start,
    /// What it rolls back, if it is a rollback.
    pub rollback: Option<Rollback>,
    /// When it began.
    pub started: Timestamp,
    /// What happened.
    pub journal: Journal,
    pub(super) stop: watch::Sender<Stop>,
    record: Mutex<Record>,
}

/// What a rollback is about: one stage, run again with what an earlier execution had there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollback {
    /// The stage's position.
    pub stage: usize,
    /// The execution whose revisions, artifacts and variables it has.
    pub target: Uuid,
}

/// How an execution stands.
#[derive(Debug)]
pub struct Record {
    /// How it stands.
    pub status: Status,
    /// Why, where it did not succeed.
    pub message: Option<String>,
    /// When something last changed.
    pub updated: Timestamp,
    /// The stages, in order.
    pub stages: Vec<StageRecord>,
    /// What the sources gave.
    pub revisions: Vec<Revision>,
    /// Variables that have a value.
    pub variables: Variables,
    /// Artifacts that exist, by name.
    pub artifacts: BTreeMap<String, Location>,
}

/// How a stage stands.
#[derive(Debug)]
pub struct StageRecord {
    /// `None` until it begins.
    pub status: Option<Status>,
    /// Its actions, in the order of the declaration.
    pub actions: Vec<ActionRecord>,
}

/// How an action stands.
#[derive(Debug, Default)]
pub struct ActionRecord {
    /// `None` until it begins.
    pub run: Option<ActionRun>,
}

/// An action that has begun.
#[derive(Debug)]
pub struct ActionRun {
    /// The id of this run.
    pub id: Uuid,
    /// How it stands.
    pub status: ActionStatus,
    /// When it began.
    pub started: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Its words about itself.
    pub details: Details,
    /// Why it failed.
    pub failure: Option<Failure>,
    /// Its configuration, with the variables put in.
    pub configuration: BTreeMap<String, String>,
    /// What it read.
    pub inputs: Vec<Location>,
    /// What it wrote.
    pub outputs: Vec<Location>,
    /// Its output variables.
    pub variables: BTreeMap<String, String>,
    /// The question that it asks, if it waits for a person.
    pub approval: Option<Approval>,
}

/// How an action's run stands; the names are the API's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum ActionStatus {
    /// Running.
    InProgress,
    /// Left alone.
    Abandoned,
    /// Ended well.
    Succeeded,
    /// Ended badly.
    Failed,
}

/// Why an action failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// `JobFailed`, `ConfigurationError` ..
    pub code: String,
    /// In words.
    pub message: String,
}

impl Failure {
    /// What the user can put right.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self {
            code: "ConfigurationError".into(),
            message: message.into(),
        }
    }

    /// Work that failed.
    pub fn job(message: impl Into<String>) -> Self {
        Self {
            code: "JobFailed".into(),
            message: message.into(),
        }
    }
}

/// A question to a person.
#[derive(Debug)]
pub struct Approval {
    /// What the answer has to name.
    pub token: String,
    /// Where the answer goes; `None` once it is given.
    pub answer: Option<oneshot::Sender<Verdict>>,
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Approved or rejected.
    pub approved: bool,
    /// In words.
    pub summary: String,
}

/// What a source gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// The artifact's name.
    pub artifact: String,
    /// The commit.
    pub id: String,
    /// Its message.
    pub summary: String,
}

impl Execution {
    pub(super) fn new(
        number: u64,
        registered: Arc<Registered>,
        start: Start,
        variables: Variables,
    ) -> Self {
        let stages = registered
            .pipeline
            .declaration
            .stages
            .iter()
            .map(|stage| StageRecord {
                status: None,
                actions: stage
                    .actions
                    .iter()
                    .map(|_| ActionRecord::default())
                    .collect(),
            });
        let now = clock::now();
        let record = Record {
            status: Status::InProgress,
            message: None,
            updated: now,
            stages: stages.collect(),
            revisions: Vec::new(),
            variables,
            artifacts: BTreeMap::new(),
        };
        Self {
            id: Uuid::new_v4(),
            number,
            registered,
            start,
            rollback: None,
            started: now,
            journal: Journal::default(),
            stop: watch::Sender::new(Stop::No),
            record: Mutex::new(record),
        }
    }

    /// A rollback of the stage at this position to `target`, which succeeded in it.
    pub(super) fn rolling_back(number: u64, target: &Self, stage: usize) -> Self {
        let (revisions, variables, artifacts) = target.record(|record| {
            (
                record.revisions.clone(),
                record.variables.clone(),
                record.artifacts.clone(),
            )
        });
        let start = Start {
            token: None,
            ..target.start.clone()
        };
        let rollback = Self::new(number, target.registered.clone(), start, variables);
        rollback.record(|record| (record.revisions, record.artifacts) = (revisions, artifacts));
        Self {
            rollback: Some(Rollback {
                stage,
                target: target.id,
            }),
            ..rollback
        }
    }

    /// The positions of the stages that it runs: all of them, but of a rollback one.
    pub(super) fn stages(&self) -> std::ops::Range<usize> {
        match self.rollback {
            Some(Rollback { stage, .. }) => stage..stage.saturating_add(1),
            None => 0..self.registered.pipeline.declaration.stages.len(),
        }
    }

    /// How it stands in the stage of this name; `None` until it enters it.
    pub fn status_in(&self, stage: &str) -> Option<Status> {
        let stages = &self.registered.pipeline.declaration.stages;
        let position = stages.iter().position(|known| known.name == stage)?;
        self.record(|record| record.stages[position].status)
    }

    /// Looks at, or changes, how it stands.
    pub fn record<T>(&self, look: impl FnOnce(&mut Record) -> T) -> T {
        look(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        self.record(|record| record.status)
    }

    /// Has it ended?
    pub fn ended(&self) -> bool {
        !matches!(self.status(), Status::InProgress | Status::Stopping)
    }

    /// Waits until it has ended; gives its status and why it did not succeed.
    pub async fn end(&self) -> (Status, Option<String>) {
        let mut sequence = 0;
        loop {
            let entry = self.journal.entry(sequence).await;
            sequence = entry.sequence + 1;
            if let Event::ExecutionEnded { status, message } = entry.event {
                return (status, message);
            }
        }
    }

    pub(super) fn finish(&self, status: Status, message: Option<String>) {
        self.record(|record| {
            record.status = status;
            record.message.clone_from(&message);
            record.updated = clock::now();
        });
        self.journal
            .record(Event::ExecutionEnded { status, message });
    }

    /// Waits until it should stop in this way, or a more urgent one.
    pub(super) async fn stopped(&self, abandon_only: bool) {
        let mut stop = self.stop.subscribe();
        let wanted = |stop: &Stop| match stop {
            Stop::No => false,
            Stop::Wait => !abandon_only,
            Stop::Abandon => true,
        };
        if stop.wait_for(wanted).await.is_err() {
            std::future::pending::<()>().await; // the sender lives in `self`: never
        }
    }
}
