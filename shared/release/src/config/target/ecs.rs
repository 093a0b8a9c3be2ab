//! Services of Amazon ECS, as the configuration names them.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::AlbRule;
use crate::Weight;
use crate::config::{Metrics, Step};

/// The longest name of a cluster, a service, a family or a container (ECS's own limit).
const NAME_CHARS_MAX: usize = 255;
/// What a message repeats of a file that names no task definition, in characters.
const SAID_CHARS_MAX: usize = 100;
/// The longest revision that is taken for one; ECS counts them from 1 in 32 bits.
const REVISION_CHARS_MAX: usize = 10;

/// Two services behind one rule: one serves, the other is idle until a release puts it up with the
/// new task definition. Which is which is read from the live weights when a release begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EcsServices {
    /// Both, in any order.
    pub services: [ServiceBehind; 2],
    /// The ARN of what divides the requests between their target groups.
    pub rule: String,
    /// What the candidate runs.
    pub task_definition: TaskDefinition,
}

/// A service and the target group that its tasks register with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServiceBehind {
    /// The service.
    pub service: ServiceArn,
    /// The target group's ARN.
    pub target_group: String,
}

/// One service whose task sets are made and deleted from outside (deployment controller EXTERNAL):
/// the stable one in one target group, the candidate in the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EcsTaskSets {
    /// The service.
    pub service: ServiceArn,
    /// The ARN of what divides the requests between both target groups.
    pub rule: String,
    /// The ARNs of both target groups, in any order.
    pub target_groups: [String; 2],
    /// What the candidate runs.
    pub task_definition: TaskDefinition,
    /// The container that requests go to.
    pub container: String,
    /// Its port, from 1.
    pub port: u16,
}

/// One service that ECS itself moves to a new task definition, task by task. There is no share in
/// between, and no two versions whose requests could be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EcsRolling {
    /// The service.
    pub service: ServiceArn,
    /// What it runs at 100 %; before, and after a rollback, it runs what it ran when the release began.
    pub task_definition: TaskDefinition,
}

/// `arn:aws:ecs:REGION:ACCOUNT:service/CLUSTER/NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ServiceArn(String);

/// Which revision of a task definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskDefinition {
    /// It stands in this file of the input artifacts.
    File(String),
    /// `FAMILY:REVISION`, or its ARN. In a stored plan it always is: what the file said, not the
    /// file, is the release's.
    #[serde(untagged)]
    Named(String),
}

impl EcsServices {
    /// The rule and both target groups.
    pub fn alb(&self) -> AlbRule {
        let [a, b] = &self.services;
        AlbRule {
            rule: self.rule.clone(),
            target_groups: [a.target_group.clone(), b.target_group.clone()],
        }
    }

    /// The service behind this target group.
    pub fn behind(&self, group: &str) -> Option<&ServiceArn> {
        let behind = self.services.iter().find(|s| s.target_group == group);
        behind.map(|side| &side.service)
    }

    pub(super) fn check(&self, steps: &[Step]) -> Result<(), String> {
        let [a, b] = &self.services;
        a.service.check()?;
        b.service.check()?;
        if a.service == b.service {
            return Err(
                "`services` names the same service twice: name the two that take turns; one \
                 service with two target groups is ecs-task-sets"
                    .to_owned(),
            );
        }
        if a.service.home() != b.service.home() {
            return Err(
                "`services` are not of one account and region, but run the same task definition: \
                 name two of the same"
                    .to_owned(),
            );
        }
        self.task_definition.check(&a.service)?;
        self.alb().check(steps)
    }
}

impl EcsTaskSets {
    /// The rule and both target groups.
    pub fn alb(&self) -> AlbRule {
        AlbRule {
            rule: self.rule.clone(),
            target_groups: self.target_groups.clone(),
        }
    }

    pub(super) fn check(&self, steps: &[Step]) -> Result<(), String> {
        self.service.check()?;
        self.task_definition.check(&self.service)?;
        if !is_name(&self.container) {
            return Err(format!(
                "`container` is '{}': write the name of a container of the task definition, 1 to \
                 {NAME_CHARS_MAX} letters, digits, '-' and '_'",
                self.container
            ));
        }
        if self.port == 0 {
            return Err("`port` is 0: write the container's port, 1 to 65535".to_owned());
        }
        self.alb().check(steps)
    }
}

impl EcsRolling {
    pub(super) fn check(&self, steps: &[Step], metrics: &Metrics) -> Result<(), String> {
        self.service.check()?;
        self.task_definition.check(&self.service)?;
        if *metrics != Metrics::default() {
            return Err(
                "`metrics` compare two versions, and a rolling service has one at a time: watch \
                 `alarms` instead, or release by ecs-services or ecs-task-sets"
                    .to_owned(),
            );
        }
        steps.iter().try_for_each(|step| match step {
            Step::SetWeight(Weight::FULL)
            | Step::Wait(_)
            | Step::Watch(_)
            | Step::Approve(_)
            | Step::Probe(_)
            | Step::RunCheck(_) => Ok(()),
            Step::SetWeight(weight) => Err(format!(
                "set-weight: {weight}: ECS replaces the tasks of a rolling service by itself; write \
                 steps: [{{set-weight: 100%}}], and `tail: 0%` in a `watch`, or release by \
                 ecs-services or ecs-task-sets"
            )),
            Step::Judge { .. } => Err(
                "judge: a rolling service has no two versions to compare; watch `alarms` instead, \
                 or release by ecs-services or ecs-task-sets"
                    .to_owned(),
            ),
            Step::HeaderRoute(_) => Err(
                "header-route is for load balancers' rules: a rolling service has one version at a \
                 time; release by ecs-services or ecs-task-sets"
                    .to_owned(),
            ),
        })
    }
}

impl ServiceArn {
    /// The service's cluster, by name.
    pub fn cluster(&self) -> &str {
        self.parts().map_or("", |(_, cluster, _)| cluster)
    }

    /// The service's name.
    pub fn name(&self) -> &str {
        self.parts().map_or(&self.0, |(_, _, name)| name)
    }

    /// The whole ARN.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `arn:aws:ecs:REGION:ACCOUNT`: what everything of ECS in the service's account begins with.
    fn home(&self) -> Option<&str> {
        self.parts().map(|(home, _, _)| home)
    }

    fn parts(&self) -> Option<(&str, &str, &str)> {
        let (home, path) = self.0.split_once(":service/")?;
        let (cluster, name) = path.split_once('/')?;
        Some((home, cluster, name))
    }

    pub(in crate::config) fn check(&self) -> Result<(), String> {
        let known = self.parts().is_some_and(|(home, cluster, name)| {
            is_home(home) && is_name(cluster) && is_name(name)
        });
        if known {
            return Ok(());
        }
        Err(format!(
            "`service` is '{self}': write the service's ARN in its long form, which has the cluster, \
             arn:aws:ecs:REGION:ACCOUNT:service/CLUSTER/NAME"
        ))
    }
}

impl fmt::Display for ServiceArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for ServiceArn {
    fn from(arn: String) -> Self {
        Self(arn)
    }
}

impl TaskDefinition {
    /// Its ARN, in the account and region of `service`. `None` while only a file is known, or when
    /// it is none of that account and region.
    pub fn arn(&self, service: &ServiceArn) -> Option<String> {
        match self {
            Self::File(_) => None,
            Self::Named(text) => arn_of(text, service),
        }
    }

    /// The file that must be read first.
    pub(super) fn file(&self) -> Option<&str> {
        match self {
            Self::File(path) => Some(path),
            Self::Named(_) => None,
        }
    }

    /// Takes what the file says: `web:7`, or the ARN of a task definition in the account and region
    /// of `service`.
    ///
    /// # Errors
    /// Says what the text is and what to write instead.
    pub(super) fn said(&mut self, text: &str, service: &ServiceArn) -> Result<(), String> {
        let Self::File(path) = self else {
            return Ok(());
        };
        let text = text.trim();
        if arn_of(text, service).is_none() {
            return Err(format!(
                "{path} says '{}': let the build write a task definition with its revision into it, \
                 such as web:7, or the ARN of one in the account and region of {service}",
                text.escape_debug().take(SAID_CHARS_MAX).collect::<String>()
            ));
        }
        *self = Self::Named(text.to_owned());
        Ok(())
    }

    fn check(&self, service: &ServiceArn) -> Result<(), String> {
        match self {
            Self::File(path) if path.trim().is_empty() => Err(
                "`task-definition` names no file: write {file: task-definition.txt}, a path in the \
                 input artifacts"
                    .to_owned(),
            ),
            Self::Named(text) if arn_of(text, service).is_none() => Err(format!(
                "`task-definition` is '{text}': write it with its revision, such as web:7, or the \
                 ARN of one in the service's account and region; a family alone would be another \
                 one tomorrow"
            )),
            Self::File(_) | Self::Named(_) => Ok(()),
        }
    }
}

/// The ARN of a task definition that is named by `FAMILY:REVISION`, or by that ARN.
fn arn_of(text: &str, service: &ServiceArn) -> Option<String> {
    let all = format!("{}:task-definition/", service.home()?);
    let short = match text.starts_with("arn:") {
        true => text.strip_prefix(&all)?,
        false => text,
    };
    let (family, revision) = short.split_once(':')?;
    let from_one = !revision.starts_with('0') && revision.len() <= REVISION_CHARS_MAX;
    (is_name(family) && from_one && is_number(revision)).then(|| all + short)
}

/// `arn:aws:ecs:REGION:ACCOUNT`.
fn is_home(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    matches!(parts[..], ["arn", _, "ecs", region, account] if !region.is_empty() && is_number(account))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=NAME_CHARS_MAX).contains(&text.len()) && text.bytes().all(plain)
}

impl<'de> Deserialize<'de> for TaskDefinition {
    /// `FAMILY:REVISION`, an ARN, or `{file: PATH}`.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyForm)
    }
}

struct AnyForm;

impl<'de> Visitor<'de> for AnyForm {
    type Value = TaskDefinition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a task definition such as web:7, its ARN, or {file: task-definition.txt}")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<TaskDefinition, E> {
        Ok(TaskDefinition::Named(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<TaskDefinition, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct InFile {
            file: String,
        }
        let in_file = InFile::deserialize(MapAccessDeserializer::new(map))?;
        Ok(TaskDefinition::File(in_file.file))
    }
}

#[cfg(test)]
mod tests;
