//! CodeDeploy for the laptop, as far as a release needs it: what is under way in a deployment group,
//! and stopping it.
//!
//! It speaks CodeDeploy's JSON protocol (`AWS_ENDPOINT_URL_CODEDEPLOY`) and deploys nothing: whoever
//! tests a release begins deployments through [`CodeDeploy::begin`]. One goes on until it is stopped or
//! finished; one that is stopped with its rollback leads to a deployment that `codeDeployRollback` made,
//! which is under way for a moment, as on AWS.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::HeaderMap;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::json_api::{self, ApiError, read};
use crate::pipeline::clock;

/// What the header of a call begins with.
const TARGET: &str = "CodeDeploy_20141006.";
/// So many deployments are remembered.
const DEPLOYMENTS_MAX: usize = 1_000;
/// Deployments that one call may describe (CodeDeploy's bound).
const BATCH_MAX: usize = 25;
/// How long a rollback is under way.
const ROLLBACK_TIME: SignedDuration = SignedDuration::from_secs(2);

/// The deployment groups and their deployments. A clone is the same one.
#[derive(Debug, Clone, Default)]
pub struct CodeDeploy(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    /// Application and group.
    groups: BTreeSet<(String, String)>,
    /// Oldest first.
    deployments: Vec<Deployment>,
}

/// One deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// `d-` and nine letters or digits.
    pub id: String,
    /// The application.
    pub application: String,
    /// The deployment group.
    pub group: String,
    /// How it stands.
    pub status: Status,
    /// The deployment that it rolls back.
    pub rolls_back: Option<String>,
    /// When it was made.
    pub created: Timestamp,
}

/// How a deployment stands; the names are the API's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub enum Status {
    /// Under way.
    InProgress,
    /// Ended well.
    Succeeded,
    /// Somebody stopped it.
    Stopped,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListDeployments {
    application_name: String,
    deployment_group_name: String,
    #[serde(default)]
    include_only_statuses: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchGetDeployments {
    deployment_ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StopDeployment {
    deployment_id: String,
    #[serde(default)]
    auto_rollback_enabled: bool,
}

impl CodeDeploy {
    /// Begins a deployment in a group, which is made if there is none; gives its id.
    pub fn begin(&self, application: &str, group: &str) -> String {
        let mut all = self.all();
        all.groups.insert((application.into(), group.into()));
        all.begin(application, group, None)
    }

    /// All deployments, oldest first, as they stand now.
    pub fn deployments(&self) -> Vec<Deployment> {
        self.all().deployments.clone()
    }

    fn all(&self) -> MutexGuard<'_, All> {
        // Every operation checks before it changes anything, so a panic leaves a usable state.
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.finish_rollbacks(clock::now());
        all
    }

    /// Answers one call; `None` when its target is not CodeDeploy's.
    pub(crate) fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Option<Response> {
        let target = headers.get("x-amz-target")?.to_str().ok()?;
        let operation = target.strip_prefix(TARGET)?;
        Some(json_api::answer(self.call(operation, body)))
    }

    fn call(&self, operation: &str, body: &[u8]) -> Result<Value, ApiError> {
        let mut all = self.all();
        match operation {
            "ListDeployments" => all.list(read(body)?),
            "BatchGetDeployments" => all.batch_get(&read(body)?),
            "StopDeployment" => all.stop(&read(body)?),
            _ => Err(ApiError::unknown(operation)),
        }
    }
}

impl All {
    fn begin(&mut self, application: &str, group: &str, rolls_back: Option<String>) -> String {
        let letter = || fastrand::char('A'..='Z');
        let id: String = "d-".chars().chain((0..9).map(|_| letter())).collect();
        if self.deployments.len() >= DEPLOYMENTS_MAX {
            self.deployments.remove(0);
        }
        self.deployments.push(Deployment {
            id: id.clone(),
            application: application.to_owned(),
            group: group.to_owned(),
            status: Status::InProgress,
            rolls_back,
            created: clock::now(),
        });
        id
    }

    fn finish_rollbacks(&mut self, now: Timestamp) {
        let due = |it: &&mut Deployment| {
            let age = now.duration_since(it.created);
            it.status == Status::InProgress && it.rolls_back.is_some() && age >= ROLLBACK_TIME
        };
        let done = self.deployments.iter_mut().filter(due);
        done.for_each(|it| it.status = Status::Succeeded);
    }

    /// The newest first.
    fn list(&self, call: ListDeployments) -> Result<Value, ApiError> {
        let key = (call.application_name, call.deployment_group_name);
        if !self.groups.contains(&key) {
            let told = format!("No Deployment Group found for name: {}", key.1);
            return Err(ApiError::new("DeploymentGroupDoesNotExistException", told));
        }
        let of_group = self.deployments.iter().rev().filter(|it| {
            let wanted = &call.include_only_statuses;
            let is_wanted = wanted.is_empty() || wanted.iter().any(|s| *s == it.status.word());
            is_wanted && (&it.application, &it.group) == (&key.0, &key.1)
        });
        let ids: Vec<_> = of_group.map(|it| it.id.as_str()).collect();
        Ok(json!({ "deployments": ids }))
    }

    fn batch_get(&self, call: &BatchGetDeployments) -> Result<Value, ApiError> {
        if call.deployment_ids.len() > BATCH_MAX {
            let told = format!("at most {BATCH_MAX} deployments can be described");
            return Err(ApiError::new("BatchLimitExceededException", told));
        }
        let found = call.deployment_ids.iter().filter_map(|id| self.named(id));
        let infos: Vec<Value> = found.map(Deployment::to_wire).collect();
        Ok(json!({ "deploymentsInfo": infos }))
    }

    fn named(&self, id: &str) -> Option<&Deployment> {
        self.deployments.iter().find(|it| it.id == id)
    }

    fn stop(&mut self, call: &StopDeployment) -> Result<Value, ApiError> {
        let mut known = self.deployments.iter_mut();
        let found = known.find(|it| it.id == call.deployment_id);
        let found = found.ok_or_else(|| {
            let told = format!("The deployment {} could not be found", call.deployment_id);
            ApiError::new("DeploymentDoesNotExistException", told)
        })?;
        if found.status != Status::InProgress {
            let told = format!("The deployment {} is already completed", found.id);
            return Err(ApiError::new("DeploymentAlreadyCompletedException", told));
        }
        found.status = Status::Stopped;
        let Deployment {
            id,
            application,
            group,
            ..
        } = found.clone();
        if call.auto_rollback_enabled {
            self.begin(&application, &group, Some(id));
        }
        Ok(json!({"status": "Succeeded", "statusMessage": "No more instances to deploy to"}))
    }
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Succeeded => "Succeeded",
            Self::Stopped => "Stopped",
        }
    }
}

impl Deployment {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 stay below 2^53 for 285,000 years"
    )]
    fn to_wire(&self) -> Value {
        let mut told = json!({
            "deploymentId": self.id,
            "applicationName": self.application,
            "deploymentGroupName": self.group,
            "status": self.status,
            "creator": "user",
            "createTime": self.created.as_millisecond() as f64 / 1000.0,
        });
        if let Some(triggering) = &self.rolls_back {
            told["creator"] = "codeDeployRollback".into();
            told["rollbackInfo"] = json!({ "rollbackTriggeringDeploymentId": triggering });
        }
        told
    }
}
