//! The shapes of the ELBv2 API, as far as the local load balancer knows them.
//!
//! Names follow the API reference (`rename_all = "PascalCase"`). What a request may carry and a laptop
//! has no use for (subnets, security groups, tags but those of rules) is ignored, as is the signature.

use serde::{Deserialize, Serialize};

use super::query::{List, parsed};

/// Where to go on in a long list.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Page {
    pub(super) marker: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) page_size: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateLoadBalancer {
    pub(super) name: String,
    #[serde(rename = "Type")]
    pub(super) kind: Option<String>,
    pub(super) scheme: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeLoadBalancers {
    #[serde(default)]
    pub(super) load_balancer_arns: List<String>,
    #[serde(default)]
    pub(super) names: List<String>,
    #[serde(flatten)]
    pub(super) page: Page,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LoadBalancers {
    pub(super) load_balancers: List<LoadBalancer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_marker: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LoadBalancer {
    pub(super) load_balancer_arn: String,
    #[serde(rename = "DNSName")]
    pub(super) dns_name: String,
    pub(super) created_time: String,
    pub(super) load_balancer_name: String,
    pub(super) scheme: String,
    pub(super) state: LoadBalancerState,
    #[serde(rename = "Type")]
    pub(super) kind: &'static str,
    pub(super) ip_address_type: &'static str,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct LoadBalancerState {
    pub(super) code: &'static str,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateTargetGroup {
    pub(super) name: String,
    pub(super) target_type: Option<String>,
    pub(super) protocol: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) port: Option<u16>,
    pub(super) health_check_protocol: Option<String>,
    pub(super) health_check_port: Option<String>,
    pub(super) health_check_path: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) health_check_interval_seconds: Option<u16>,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) health_check_timeout_seconds: Option<u16>,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) healthy_threshold_count: Option<u16>,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) unhealthy_threshold_count: Option<u16>,
    pub(super) matcher: Option<Matcher>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Matcher {
    pub(super) http_code: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeTargetGroups {
    pub(super) load_balancer_arn: Option<String>,
    #[serde(default)]
    pub(super) target_group_arns: List<String>,
    #[serde(default)]
    pub(super) names: List<String>,
    #[serde(flatten)]
    pub(super) page: Page,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TargetGroups {
    pub(super) target_groups: List<TargetGroup>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_marker: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TargetGroup {
    pub(super) target_group_arn: String,
    pub(super) target_group_name: String,
    pub(super) protocol: &'static str,
    pub(super) protocol_version: &'static str,
    pub(super) port: u16,
    pub(super) health_check_protocol: &'static str,
    pub(super) health_check_port: &'static str,
    pub(super) health_check_enabled: bool,
    pub(super) health_check_path: String,
    pub(super) health_check_interval_seconds: u16,
    pub(super) health_check_timeout_seconds: u16,
    pub(super) healthy_threshold_count: u16,
    pub(super) unhealthy_threshold_count: u16,
    pub(super) matcher: Matcher,
    pub(super) load_balancer_arns: List<String>,
    pub(super) target_type: String,
    pub(super) ip_address_type: &'static str,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateListener {
    pub(super) load_balancer_arn: String,
    pub(super) protocol: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) port: Option<u16>,
    #[serde(default)]
    pub(super) default_actions: List<Action>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ModifyListener {
    pub(super) listener_arn: String,
    pub(super) protocol: Option<String>,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) port: Option<u16>,
    pub(super) default_actions: Option<List<Action>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeListeners {
    pub(super) load_balancer_arn: Option<String>,
    #[serde(default)]
    pub(super) listener_arns: List<String>,
    #[serde(flatten)]
    pub(super) page: Page,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listeners {
    pub(super) listeners: List<Listener>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_marker: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listener {
    pub(super) listener_arn: String,
    pub(super) load_balancer_arn: String,
    pub(super) port: u16,
    pub(super) protocol: &'static str,
    pub(super) default_actions: List<Action>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CreateRule {
    pub(super) listener_arn: String,
    #[serde(default)]
    pub(super) conditions: List<Condition>,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) priority: Option<u32>,
    #[serde(default)]
    pub(super) actions: List<Action>,
    #[serde(default)]
    pub(super) tags: List<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ModifyRule {
    pub(super) rule_arn: String,
    pub(super) conditions: Option<List<Condition>>,
    pub(super) actions: Option<List<Action>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeRules {
    pub(super) listener_arn: Option<String>,
    #[serde(default)]
    pub(super) rule_arns: List<String>,
    #[serde(flatten)]
    pub(super) page: Page,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Rules {
    pub(super) rules: List<Rule>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_marker: Option<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Rule {
    pub(super) rule_arn: String,
    /// A number, or `default`: a string on AWS, too.
    pub(super) priority: String,
    pub(super) conditions: List<Condition>,
    pub(super) actions: List<Action>,
    pub(super) is_default: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Condition {
    pub(super) field: Option<String>,
    #[serde(default, skip_serializing_if = "List::is_empty")]
    pub(super) values: List<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) path_pattern_config: Option<Values>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_header_config: Option<HttpHeader>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) query_string_config: Option<QueryString>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Values {
    #[serde(default)]
    pub(super) values: List<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HttpHeader {
    #[serde(default)]
    pub(super) http_header_name: String,
    #[serde(default)]
    pub(super) values: List<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueryString {
    #[serde(default)]
    pub(super) values: List<KeyValue>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeyValue {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteRule {
    pub(super) rule_arn: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeTags {
    #[serde(default)]
    pub(super) resource_arns: List<String>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagDescriptions {
    pub(super) tag_descriptions: List<TagDescription>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TagDescription {
    pub(super) resource_arn: String,
    pub(super) tags: List<Tag>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Action {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(default, deserialize_with = "parsed")]
    pub(super) order: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_group_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) forward_config: Option<ForwardConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ForwardConfig {
    #[serde(default)]
    pub(super) target_groups: List<TargetGroupTuple>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_group_stickiness_config: Option<Stickiness>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TargetGroupTuple {
    pub(super) target_group_arn: String,
    /// Signed, so that -1 is out of range and not a syntax error.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(default, deserialize_with = "parsed")]
    pub(super) weight: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Stickiness {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(default, deserialize_with = "parsed")]
    pub(super) enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(default, deserialize_with = "parsed")]
    pub(super) duration_seconds: Option<i64>,
}

/// The request of both RegisterTargets and DeregisterTargets.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ChangeTargets {
    pub(super) target_group_arn: String,
    #[serde(default)]
    pub(super) targets: List<Target>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Target {
    pub(super) id: String,
    #[serde(default, deserialize_with = "parsed")]
    pub(super) port: Option<u16>,
}

/// An answer without content.
#[derive(Debug, Serialize)]
pub(super) struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DescribeTargetHealth {
    pub(super) target_group_arn: String,
    #[serde(default)]
    pub(super) targets: List<Target>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TargetHealthDescriptions {
    pub(super) target_health_descriptions: List<TargetHealthDescription>,
}

#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TargetHealthDescription {
    pub(super) target: Target,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) health_check_port: Option<String>,
    pub(super) target_health: TargetHealth,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TargetHealth {
    pub(super) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
}
