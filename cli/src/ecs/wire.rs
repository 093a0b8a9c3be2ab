//! The requests of the ECS API, as far as a laptop heeds them; what it has no use for is ignored, as
//! is the signature. Counts are signed, so that -1 is out of range and not a syntax error.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::error::EcsError;

/// The longest page of a list (ECS's bound).
const PAGE_MAX: usize = 100;

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, EcsError> {
    let mut body = serde_json::Deserializer::from_slice(body);
    serde_path_to_error::deserialize(&mut body)
        .map_err(|error| EcsError::serialization(error.to_string()))
}

pub(super) fn parsed<T: DeserializeOwned>(value: Value) -> Result<T, EcsError> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| EcsError::serialization(error.to_string()))
}

/// A time as JSON 1.1 writes it: seconds since 1970.
#[expect(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 stay below 2^53 for 285,000 years"
)]
pub(super) fn seconds(time: Timestamp) -> f64 {
    time.as_millisecond() as f64 / 1000.0
}

/// An object without the members that have no value, which AWS leaves out.
pub(super) fn compact(mut object: Value) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.retain(|_, value| !value.is_null());
    }
    object
}

/// A value, where there is one, is one of these.
pub(super) fn check_one_of(
    member: &str,
    given: Option<&str>,
    known: &[&str],
) -> Result<(), EcsError> {
    match given {
        Some(given) if !known.contains(&given) => Err(EcsError::invalid(format!(
            "{member} must be one of {}.",
            known.join(", ")
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Which part of a list a call asks for.
pub(super) struct Page<'a> {
    max_results: Option<i64>,
    next_token: Option<&'a str>,
}

impl<'a> Page<'a> {
    pub(super) fn new(max_results: Option<i64>, next_token: Option<&'a str>) -> Self {
        Self {
            max_results,
            next_token,
        }
    }

    /// One page of the items under `key`; the token is the position of the next one.
    pub(super) fn of(&self, key: &str, items: Vec<String>) -> Result<Value, EcsError> {
        let size = usize::try_from(self.max_results.unwrap_or(PAGE_MAX as i64)).ok();
        let size = size
            .filter(|size| (1..=PAGE_MAX).contains(size))
            .ok_or_else(|| EcsError::invalid(format!("maxResults must be 1 to {PAGE_MAX}.")))?;
        let from: usize = self
            .next_token
            .unwrap_or("0")
            .parse()
            .map_err(|_| EcsError::invalid("Invalid token."))?;
        let end = from.saturating_add(size);
        let next = (end < items.len()).then(|| end.to_string());
        let page: Vec<_> = items.into_iter().skip(from).take(size).collect();
        Ok(compact(json!({key: page, "nextToken": next})))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateCluster {
    pub(super) cluster_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeClusters {
    #[serde(default)]
    pub(super) clusters: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeTaskDefinition {
    pub(super) task_definition: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTaskDefinitions {
    pub(super) family_prefix: Option<String>,
    pub(super) sort: Option<String>,
    pub(super) max_results: Option<i64>,
    pub(super) next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateService {
    pub(super) cluster: Option<String>,
    pub(super) service_name: String,
    pub(super) task_definition: Option<String>,
    pub(super) desired_count: Option<i64>,
    pub(super) client_token: Option<String>,
    pub(super) scheduling_strategy: Option<String>,
    pub(super) deployment_controller: Option<DeploymentController>,
    pub(super) deployment_configuration: Option<DeploymentConfiguration>,
    pub(super) health_check_grace_period_seconds: Option<i64>,
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
    #[serde(flatten)]
    pub(super) placement: Placement,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateService {
    pub(super) cluster: Option<String>,
    pub(super) service: String,
    pub(super) task_definition: Option<String>,
    pub(super) desired_count: Option<i64>,
    #[serde(default)]
    pub(super) force_new_deployment: bool,
    pub(super) deployment_configuration: Option<DeploymentConfiguration>,
    pub(super) health_check_grace_period_seconds: Option<i64>,
    #[serde(flatten)]
    pub(super) placement: Placement,
}

/// Where tasks run and who reaches them: of a deployment or of a task set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Placement {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) load_balancers: Option<Vec<LoadBalancer>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) network_configuration: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) launch_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) capacity_provider_strategy: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform_version: Option<String>,
}

impl Placement {
    /// This one where it says something, and else what was.
    pub(super) fn over(self, former: &Self) -> Self {
        let former = former.clone();
        Self {
            load_balancers: self.load_balancers.or(former.load_balancers),
            network_configuration: self.network_configuration.or(former.network_configuration),
            launch_type: self.launch_type.or(former.launch_type),
            capacity_provider_strategy: self
                .capacity_provider_strategy
                .or(former.capacity_provider_strategy),
            platform_version: self.platform_version.or(former.platform_version),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadBalancer {
    #[serde(default)]
    pub(super) target_group_arn: String,
    #[serde(default)]
    pub(super) container_name: String,
    #[serde(default)]
    pub(super) container_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advanced_configuration: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct DeploymentController {
    #[serde(rename = "type")]
    pub(super) kind: Controller,
}

/// Who replaces a service's tasks by those of another task definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Controller {
    /// ECS itself, deployment by deployment.
    Ecs,
    /// CodeDeploy, which a laptop does not have.
    CodeDeploy,
    /// The caller, by task sets.
    External,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeploymentConfiguration {
    #[serde(default = "maximum_percent")]
    pub(super) maximum_percent: u32,
    #[serde(default = "minimum_healthy_percent")]
    pub(super) minimum_healthy_percent: u32,
    #[serde(default = "rolling")]
    pub(super) strategy: String,
    #[serde(default)]
    pub(super) deployment_circuit_breaker: CircuitBreaker,
    /// Kept and told again: alarms, hooks, and how a native canary would go.
    #[serde(flatten)]
    pub(super) more: Map<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct CircuitBreaker {
    pub(super) enable: bool,
    pub(super) rollback: bool,
    #[serde(flatten)]
    pub(super) more: Map<String, Value>,
}

fn maximum_percent() -> u32 {
    200
}

fn minimum_healthy_percent() -> u32 {
    100
}

fn rolling() -> String {
    "ROLLING".to_owned()
}

impl Default for DeploymentConfiguration {
    fn default() -> Self {
        Self {
            maximum_percent: maximum_percent(),
            minimum_healthy_percent: minimum_healthy_percent(),
            strategy: rolling(),
            deployment_circuit_breaker: CircuitBreaker::default(),
            more: Map::new(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Deserialize)]
pub(super) struct DescribeServices {
    pub(super) cluster: Option<String>,
    #[serde(default)]
    pub(super) services: Vec<String>,
    #[serde(default)]
    pub(super) include: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct DeleteService {
    pub(super) cluster: Option<String>,
    pub(super) service: String,
    #[serde(default)]
    pub(super) force: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListServices {
    pub(super) cluster: Option<String>,
    pub(super) max_results: Option<i64>,
    pub(super) next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTasks {
    pub(super) cluster: Option<String>,
    pub(super) service_name: Option<String>,
    pub(super) family: Option<String>,
    pub(super) desired_status: Option<String>,
    pub(super) started_by: Option<String>,
    pub(super) max_results: Option<i64>,
    pub(super) next_token: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct DescribeTasks {
    pub(super) cluster: Option<String>,
    #[serde(default)]
    pub(super) tasks: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct StopTask {
    pub(super) cluster: Option<String>,
    pub(super) task: String,
    pub(super) reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateTaskSet {
    pub(super) cluster: String,
    pub(super) service: String,
    pub(super) task_definition: String,
    pub(super) external_id: Option<String>,
    pub(super) scale: Option<Scale>,
    pub(super) client_token: Option<String>,
    #[serde(default)]
    pub(super) tags: Vec<Tag>,
    #[serde(flatten)]
    pub(super) placement: Placement,
}

/// How much of the service's desired count a task set is to have.
#[derive(Deserialize)]
pub(super) struct Scale {
    value: f64,
    unit: Option<String>,
}

impl Scale {
    /// 0 to 100.
    pub(super) fn percent(&self) -> Result<f64, EcsError> {
        check_one_of("unit", self.unit.as_deref(), &["PERCENT"])?;
        if (0.0..=100.0).contains(&self.value) {
            Ok(self.value)
        } else {
            Err(EcsError::invalid("scale must be 0 to 100 percent."))
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NamedTaskSet {
    pub(super) cluster: String,
    pub(super) service: String,
    pub(super) task_set: String,
}

#[derive(Deserialize)]
pub(super) struct UpdateTaskSet {
    #[serde(flatten)]
    pub(super) named: NamedTaskSet,
    pub(super) scale: Scale,
}

#[derive(Deserialize)]
pub(super) struct DeleteTaskSet {
    #[serde(flatten)]
    pub(super) named: NamedTaskSet,
    #[serde(default)]
    pub(super) force: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdatePrimaryTaskSet {
    pub(super) cluster: String,
    pub(super) service: String,
    pub(super) primary_task_set: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeTaskSets {
    pub(super) cluster: String,
    pub(super) service: String,
    #[serde(default)]
    pub(super) task_sets: Vec<String>,
    #[serde(default)]
    pub(super) include: Vec<String>,
}
