//! Task definitions: what of them is kept, and what of them a laptop can run.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::arn::check_name;
use super::error::EcsError;
use super::state::State;
use super::wire::{self, Page, seconds};

/// Containers of one task definition (ECS's quota).
const CONTAINERS_MAX: usize = 10;
/// Bytes of one task definition (ECS's quota).
const DEFINITION_BYTES_MAX: usize = 64 << 10;
/// Revisions of all families together.
const DEFINITIONS_MAX: usize = 1_000;
/// What a container may take to end after SIGTERM, unless it says otherwise, and at most (as on Fargate).
const STOP_TIMEOUT_SECONDS: u64 = 30;
const STOP_TIMEOUT_SECONDS_MAX: u64 = 120;

/// What is kept of a registration and told again, whether the laptop heeds it or not.
const MEMBERS: [&str; 17] = [
    "containerDefinitions",
    "cpu",
    "enableFaultInjection",
    "ephemeralStorage",
    "executionRoleArn",
    "family",
    "inferenceAccelerators",
    "ipcMode",
    "memory",
    "networkMode",
    "pidMode",
    "placementConstraints",
    "proxyConfiguration",
    "requiresCompatibilities",
    "runtimePlatform",
    "taskRoleArn",
    "volumes",
];

/// One revision of a family.
#[derive(Debug, PartialEq)]
pub(super) struct TaskDefinition {
    pub(super) arn: String,
    pub(super) family: String,
    pub(super) revision: u32,
    pub(super) containers: Vec<Container>,
    /// As it was registered, with AWS's defaults.
    content: Map<String, Value>,
    registered: Timestamp,
}

/// One container: a process, when it has a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) image: String,
    /// The entry point's words and the command's; none where the image's own was meant.
    pub(super) command: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    /// When it ends, the task ends.
    pub(super) essential: bool,
    /// The ports that it would listen on in a container.
    pub(super) ports: Vec<u16>,
    pub(super) stop_timeout: Duration,
}

impl TaskDefinition {
    pub(super) fn container(&self, name: &str) -> Option<&Container> {
        self.containers.iter().find(|it| it.name == name)
    }

    fn to_wire(&self) -> Value {
        let mut told = self.content.clone();
        for (key, value) in [
            ("taskDefinitionArn", json!(self.arn)),
            ("revision", json!(self.revision)),
            ("status", json!("ACTIVE")),
            ("compatibilities", json!(["EXTERNAL", "EC2", "FARGATE"])),
            ("registeredAt", json!(seconds(self.registered))),
        ] {
            told.insert(key.to_owned(), value);
        }
        Value::Object(told)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Registration {
    family: String,
    #[serde(default)]
    container_definitions: Vec<ContainerDefinition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerDefinition {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    entry_point: Vec<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: Vec<Variable>,
    essential: Option<bool>,
    #[serde(default)]
    port_mappings: Vec<PortMapping>,
    stop_timeout: Option<u64>,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PortMapping {
    container_port: u16,
}

impl ContainerDefinition {
    fn checked(self) -> Result<Container, EcsError> {
        check_name("a container's name", &self.name)?;
        if self.image.is_empty() {
            return Err(EcsError::client(
                "Container.image should not be null or empty.",
            ));
        }
        let stop_timeout = self.stop_timeout.unwrap_or(STOP_TIMEOUT_SECONDS);
        if stop_timeout > STOP_TIMEOUT_SECONDS_MAX {
            return Err(EcsError::client(format!(
                "stopTimeout must be at most {STOP_TIMEOUT_SECONDS_MAX} seconds."
            )));
        }
        let variables = self.environment.into_iter();
        Ok(Container {
            name: self.name,
            image: self.image,
            command: [self.entry_point, self.command].concat(),
            environment: variables.map(|it| (it.name, it.value)).collect(),
            essential: self.essential.unwrap_or(true),
            ports: self
                .port_mappings
                .iter()
                .map(|mapping| mapping.container_port)
                .collect(),
            stop_timeout: Duration::from_secs(stop_timeout),
        })
    }
}

impl State {
    pub(super) fn register_task_definition(
        &mut self,
        mut request: Map<String, Value>,
        now: Timestamp,
    ) -> Result<Value, EcsError> {
        request.retain(|member, _| MEMBERS.contains(&member.as_str()));
        let size = Value::Object(request.clone()).to_string().len();
        if size > DEFINITION_BYTES_MAX {
            return Err(EcsError::client(format!(
                "Actual length: '{size}'. Max allowed length is '{DEFINITION_BYTES_MAX}' bytes."
            )));
        }
        let registration: Registration = wire::parsed(Value::Object(request.clone()))?;
        let family = registration.family;
        check_name("Family", &family)?;
        let containers = checked_containers(registration.container_definitions)?;
        if self.families.values().map(Vec::len).sum::<usize>() >= DEFINITIONS_MAX {
            return Err(EcsError::limit("task definitions", DEFINITIONS_MAX));
        }
        fill_in_defaults(&mut request);
        let revisions = self.families.entry(family.clone()).or_default();
        let revision = u32::try_from(revisions.len() + 1).unwrap_or(u32::MAX);
        let definition = TaskDefinition {
            arn: self.home.task_definition(&family, revision),
            family,
            revision,
            containers,
            content: request,
            registered: now,
        };
        let told = definition.to_wire();
        revisions.push(Arc::new(definition));
        Ok(json!({"taskDefinition": told, "tags": []}))
    }

    pub(super) fn describe_task_definition(
        &self,
        request: &wire::DescribeTaskDefinition,
    ) -> Result<Value, EcsError> {
        let found = self
            .find_definition(&request.task_definition)
            .ok_or_else(|| EcsError::client("Unable to describe task definition."))?;
        Ok(json!({"taskDefinition": found.to_wire(), "tags": []}))
    }

    pub(super) fn list_task_definitions(
        &self,
        request: &wire::ListTaskDefinitions,
    ) -> Result<Value, EcsError> {
        let wanted = |family: &str| {
            let prefix = request.family_prefix.as_deref();
            prefix.is_none_or(|prefix| prefix == family)
        };
        let families = self.families.iter().filter(|(family, _)| wanted(family));
        let mut arns: Vec<_> = families
            .flat_map(|(_, revisions)| revisions.iter().map(|it| it.arn.clone()))
            .collect();
        match request.sort.as_deref() {
            None | Some("ASC") => {}
            Some("DESC") => arns.reverse(),
            Some(_) => return Err(EcsError::invalid("sort must be ASC or DESC.")),
        }
        let page = Page::new(request.max_results, request.next_token.as_deref());
        page.of("taskDefinitionArns", arns)
    }

    /// The definition that a service or a task set is to run.
    pub(super) fn definition_to_run(&self, given: &str) -> Result<Arc<TaskDefinition>, EcsError> {
        self.find_definition(given)
            .cloned()
            .ok_or_else(|| EcsError::client("TaskDefinition not found."))
    }

    /// The revision that is named, or else the family's latest.
    fn find_definition(&self, given: &str) -> Option<&Arc<TaskDefinition>> {
        let (family, revision) = self.home.family_and_revision(given)?;
        let revisions = self.families.get(family)?;
        match revision {
            None => revisions.last(),
            Some(revision) => revisions.iter().find(|it| it.revision == revision),
        }
    }
}

fn checked_containers(definitions: Vec<ContainerDefinition>) -> Result<Vec<Container>, EcsError> {
    if definitions.is_empty() || definitions.len() > CONTAINERS_MAX {
        return Err(EcsError::client(format!(
            "Container list must have 1 to {CONTAINERS_MAX} containers."
        )));
    }
    let containers = definitions
        .into_iter()
        .map(ContainerDefinition::checked)
        .collect::<Result<Vec<_>, _>>()?;
    if !containers.iter().any(|container| container.essential) {
        return Err(EcsError::client(
            "At least one container must be essential.",
        ));
    }
    for (index, container) in containers.iter().enumerate() {
        if containers[..index]
            .iter()
            .any(|it| it.name == container.name)
        {
            return Err(EcsError::client(format!(
                "Container.name contains duplicate '{}'.",
                container.name
            )));
        }
    }
    Ok(containers)
}

/// What AWS tells even of a definition that says nothing about it.
fn fill_in_defaults(definition: &mut Map<String, Value>) {
    for list in ["volumes", "placementConstraints"] {
        definition.entry(list).or_insert_with(|| json!([]));
    }
    let containers = definition.get_mut("containerDefinitions");
    let containers = containers.and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        let Some(container) = container.as_object_mut() else {
            continue;
        };
        for (member, default) in [
            ("cpu", json!(0)),
            ("essential", json!(true)),
            ("portMappings", json!([])),
            ("environment", json!([])),
            ("mountPoints", json!([])),
            ("volumesFrom", json!([])),
        ] {
            container.entry(member).or_insert(default);
        }
    }
}
