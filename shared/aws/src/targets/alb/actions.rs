//! The actions of a rule, or a listener's default actions: read, and written back changed.

use aws_sdk_elasticloadbalancingv2::config;
use aws_sdk_elasticloadbalancingv2::types::{Action, ForwardActionConfig, TargetGroupTuple};
use engine::{Class, PortError};
use release::config::AlbRule;

use crate::Aws;
use crate::error::{failed, odd_answer};
use crate::not_twice::NotTwice;

/// All of them, in AWS's order.
pub(super) async fn read(aws: &Aws, alb: &AlbRule) -> Result<Vec<Action>, PortError> {
    match alb.is_default() {
        true => of_listener(aws, alb).await,
        false => of_rule(aws, alb).await,
    }
}

async fn of_listener(aws: &Aws, alb: &AlbRule) -> Result<Vec<Action>, PortError> {
    let doing = || format!("read listener {}", alb.rule);
    let call = aws.elb.describe_listeners().listener_arns(&alb.rule);
    let answer = call.send().await.map_err(|e| failed(doing(), e));
    let answer = answer.map_err(|error| missing(error, "ListenerNotFound"))?;
    match answer.listeners.unwrap_or_default().pop() {
        Some(listener) => Ok(listener.default_actions.unwrap_or_default()),
        None => Err(odd_answer(doing(), "the answer has no listener")),
    }
}

async fn of_rule(aws: &Aws, alb: &AlbRule) -> Result<Vec<Action>, PortError> {
    let doing = || format!("read rule {}", alb.rule);
    let call = aws.elb.describe_rules().rule_arns(&alb.rule);
    let answer = call.send().await.map_err(|e| failed(doing(), e));
    let answer = answer.map_err(|error| missing(error, "RuleNotFound"))?;
    match answer.rules.unwrap_or_default().pop() {
        Some(rule) if rule.is_default == Some(true) => Err(is_default(alb)),
        Some(rule) => Ok(rule.actions.unwrap_or_default()),
        None => Err(odd_answer(doing(), "the answer has no rule")),
    }
}

/// ModifyRule refuses default rules, and a target must not have two names.
pub(super) fn is_default(alb: &AlbRule) -> PortError {
    PortError::new(
        Class::Misconfigured,
        format!("release rule {}", alb.rule),
        format!(
            "it is its listener's default rule; write the listener's ARN instead, {}",
            alb.listener()
        ),
    )
}

/// What is not there has a wrong name in the configuration.
fn missing(error: PortError, code: &str) -> PortError {
    let class = match error.said(code) {
        true => Class::Misconfigured,
        false => error.class,
    };
    PortError { class, ..error }
}

/// Writes all of them back. Of a listener, its certificates, policies and protocol are not sent,
/// which leaves them as they are.
pub(super) async fn write(
    aws: &Aws,
    alb: &AlbRule,
    mut actions: Vec<Action>,
) -> Result<(), PortError> {
    for action in &mut actions {
        // With several groups the short form must be absent.
        if action.forward_config.is_some() {
            action.target_group_arn = None;
        }
        // The secret is not shown, so it cannot be written back; it can be kept.
        if let Some(oidc) = &mut action.authenticate_oidc_config {
            oidc.use_existing_client_secret = Some(true);
        }
    }
    let actions = Some(actions);
    if alb.is_default() {
        let call = aws.elb.modify_listener().listener_arn(&alb.rule);
        let call = call.set_default_actions(actions).customize();
        let written = call.config_override(not_twice()).send().await;
        written.map(drop).map_err(|e| failed(writing(alb), e))
    } else {
        let call = aws.elb.modify_rule().rule_arn(&alb.rule);
        let call = call.set_actions(actions).customize();
        let written = call.config_override(not_twice()).send().await;
        written.map(drop).map_err(|e| failed(writing(alb), e))
    }
}

fn not_twice() -> config::Builder {
    config::Builder::new().retry_classifier(NotTwice)
}

fn writing(alb: &AlbRule) -> String {
    format!("set the weights of {}", alb.rule)
}

/// The target groups that requests are divided between, with their weights.
pub(super) fn groups(actions: &[Action]) -> impl Iterator<Item = &TargetGroupTuple> {
    configs(actions).flat_map(ForwardActionConfig::target_groups)
}

/// The same, to be changed.
pub(super) fn groups_mut(actions: &mut [Action]) -> impl Iterator<Item = &mut TargetGroupTuple> {
    let configs = actions.iter_mut().filter_map(|a| a.forward_config.as_mut());
    configs.filter_map(|c| c.target_groups.as_mut()).flatten()
}

/// How requests are forwarded; a rule has one such action at most.
pub(super) fn configs(actions: &[Action]) -> impl Iterator<Item = &ForwardActionConfig> {
    actions.iter().filter_map(Action::forward_config)
}
