//! What each kind of action does.

mod approval;
mod codebuild;
mod lambda;
mod source;

use std::collections::BTreeMap;

use uuid::Uuid;

use super::artifact::Location;
use super::clock;
use super::declaration::{Action, ActionKind, ArtifactStore};
use super::engine::Shared;
use super::event::Event;
use super::execution::{ActionRecord, ActionRun, ActionStatus, Execution, Failure, Revision};
use super::jobs::Details;

/// AWS shortens the pipeline's and the artifact's name in a key.
const KEY_PIPELINE_CHARS: usize = 20;
const KEY_ARTIFACT_CHARS: usize = 10;
const KEY_RANDOM_CHARS: usize = 7;

/// What an action that succeeded gives.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) details: Details,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) revision: Option<Revision>,
}

/// One run of an action.
pub(super) struct Context<'a> {
    pub(super) shared: &'a Shared,
    pub(super) execution: &'a Execution,
    pub(super) action: &'a Action,
    pub(super) id: Uuid,
    /// With the variables put in.
    pub(super) configuration: BTreeMap<String, String>,
    pub(super) inputs: Vec<Location>,
    pub(super) outputs: Vec<Location>,
    /// Stage and action, as positions in the declaration.
    position: (usize, usize),
}

/// Does the action's work.
pub(super) async fn perform(context: &Context<'_>) -> Result<Done, Failure> {
    match ActionKind::of(&context.action.action_type_id) {
        Some(ActionKind::Source) => source::perform(context).await,
        Some(ActionKind::Build) => codebuild::perform(context).await,
        Some(ActionKind::Approval) => approval::perform(context).await,
        Some(ActionKind::Lambda) => lambda::perform(context).await,
        // The rules refuse such a pipeline; said again, should one slip through.
        None => Err(Failure::configuration(format!(
            "this does not run on a laptop; supported: {}",
            ActionKind::SUPPORTED
        ))),
    }
}

impl<'a> Context<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        execution: &'a Execution,
        position: (usize, usize),
        action: &'a Action,
    ) -> Self {
        let declaration = &execution.registered.pipeline.declaration;
        let bucket = store(execution, &shared.settings.region)
            .map(|store| store.location.clone())
            .unwrap_or_default();
        let output = |name: &str| Location {
            name: name.into(),
            bucket: bucket.clone(),
            key: [
                head(&declaration.name, KEY_PIPELINE_CHARS),
                head(name, KEY_ARTIFACT_CHARS),
                head(&Uuid::new_v4().simple().to_string(), KEY_RANDOM_CHARS),
            ]
            .join("/"),
        };
        let known = execution.record(|record| record.artifacts.clone());
        Self {
            shared,
            execution,
            action,
            id: Uuid::new_v4(),
            configuration: BTreeMap::new(),
            inputs: action
                .input_artifacts
                .iter()
                .filter_map(|artifact| known.get(&artifact.name).cloned())
                .collect(),
            outputs: action
                .output_artifacts
                .iter()
                .map(|artifact| output(&artifact.name))
                .collect(),
            position,
        }
    }

    pub(super) fn stage(&self) -> String {
        self.execution.registered.pipeline.declaration.stages[self.position.0]
            .name
            .clone()
    }

    /// The KMS key of the artifact store, if it has one of its own.
    pub(super) fn kms_key(&self) -> Option<&'a str> {
        store(self.execution, &self.shared.settings.region)?
            .encryption_key
            .as_ref()
            .map(|key| key.id.as_str())
    }

    pub(super) fn setting(&self, key: &str) -> Option<&str> {
        self.configuration.get(key).map(String::as_str)
    }

    /// A line for the follower.
    pub(super) fn say(&self, line: impl Into<String>) {
        let (stage, action) = (self.stage(), self.action.name.clone());
        self.execution.journal.record(Event::Output {
            stage,
            action,
            line: line.into(),
        });
    }

    /// How far the action is.
    pub(super) fn progress(&self, details: Details) {
        let (stage, action) = (self.stage(), self.action.name.clone());
        self.run(|run| run.details = details.clone());
        let Details {
            summary,
            external_execution_id,
            percent,
        } = details;
        self.execution.journal.record(Event::ActionProgress {
            stage,
            action,
            summary,
            external_execution_id,
            percent,
        });
    }

    pub(super) fn record<T>(&self, look: impl FnOnce(&mut ActionRecord) -> T) -> T {
        let (stage, action) = self.position;
        self.execution.record(|record| {
            record.updated = clock::now();
            look(&mut record.stages[stage].actions[action])
        })
    }

    pub(super) fn run(&self, change: impl FnOnce(&mut ActionRun)) {
        self.record(|record| {
            if let Some(run) = &mut record.run {
                change(run);
                run.updated = clock::now();
            }
        });
    }

    /// Makes what the action gave known to the actions after it.
    pub(super) fn succeed(&self, done: Done) {
        self.run(|run| {
            run.status = ActionStatus::Succeeded;
            run.details = done.details;
            run.variables.clone_from(&done.variables);
        });
        self.execution.record(|record| {
            record.revisions.extend(done.revision);
            for output in &self.outputs {
                record.artifacts.insert(output.name.clone(), output.clone());
            }
            if let Some(namespace) = &self.action.namespace {
                record.variables.insert(namespace.clone(), done.variables);
            }
        });
    }
}

fn store<'a>(execution: &'a Execution, region: &str) -> Option<&'a ArtifactStore> {
    let declaration = &execution.registered.pipeline.declaration;
    let by_region = &declaration.artifact_stores;
    declaration
        .artifact_store
        .as_ref()
        .or_else(|| by_region.get(region))
        .or_else(|| by_region.values().next())
}

fn head(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

/// An error of a call, with all its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl From<aws::local::pipeline::CallError> for Failure {
    fn from(error: aws::local::pipeline::CallError) -> Self {
        Self::configuration(chain(&error))
    }
}
