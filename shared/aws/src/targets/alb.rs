//! A rule of an Application Load Balancer with two weighted target groups. Only weights change;
//! every other action, and stickiness, is written back as it was read.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ForwardActionConfig, TargetGroupTuple, TargetHealthStateEnum,
};
use engine::{Class, PortError};
use futures::try_join;
use release::config::{AlbRule, TestTraffic};
use release::{Arms, Live, Weight};

use crate::Aws;
use crate::error::{failed, odd_answer};

/// Which group has all the traffic, and which has none.
pub(super) async fn arms(aws: &Aws, alb: &AlbRule) -> Result<Arms, PortError> {
    let actions = actions(aws, alb).await?;
    let [a, b] = &alb.target_groups;
    let weights = [weight_of(&actions, a), weight_of(&actions, b)];
    let (stable, candidate) = match weights {
        [Some(1..), Some(0)] => (a, b),
        [Some(0), Some(1..)] => (b, a),
        _ => return Err(unsettled(alb, weights)),
    };
    Ok(Arms {
        stable: stable.clone(),
        candidate: candidate.clone(),
    })
}

fn unsettled(alb: &AlbRule, weights: [Option<i32>; 2]) -> PortError {
    let said = alb
        .target_groups
        .iter()
        .zip(weights)
        .map(|(group, weight)| match weight {
            Some(weight) => format!("{group} has weight {weight}"),
            None => format!("{group} is not in the rule's forward action"),
        })
        .collect::<Vec<_>>()
        .join(", ");
    PortError::new(
        Class::Misconfigured,
        format!("tell the stable version from the candidate at {}", alb.rule),
        format!(
            "{said}; let the rule forward to both, all weight on the one that serves now and 0 on \
             the other, then retry this stage"
        ),
    )
}

/// Sets the weights of both groups, unless they are as they should be.
pub(super) async fn set_weight(
    aws: &Aws,
    alb: &AlbRule,
    arms: &Arms,
    weight: Weight,
) -> Result<(), PortError> {
    let mut actions = actions(aws, alb).await?;
    if live_weight(&actions, arms) == Some(weight) {
        return Ok(());
    }
    let (stable, candidate) = AlbRule::weights(weight);
    for group in forwards_mut(&mut actions) {
        let arn = group.target_group_arn.as_deref();
        let new = match arn {
            Some(arn) if arn == arms.stable => stable,
            Some(arn) if arn == arms.candidate => candidate,
            _ => continue,
        };
        group.weight = i32::try_from(new).ok();
    }
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
    let call = aws.elb.modify_rule().rule_arn(&alb.rule);
    let modified = call.set_actions(Some(actions)).send().await;
    modified
        .map(drop)
        .map_err(|e| failed(format!("set the weights of {}", alb.rule), e))
}

/// The candidate's live weight.
pub(super) async fn weight(aws: &Aws, alb: &AlbRule, arms: &Arms) -> Result<Weight, PortError> {
    let actions = actions(aws, alb).await?;
    live_weight(&actions, arms).ok_or_else(|| {
        unsettled(
            alb,
            [&alb.target_groups[0], &alb.target_groups[1]].map(|g| weight_of(&actions, g)),
        )
    })
}

/// Sends test traffic to the candidate, or no longer.
pub(super) async fn route(
    _aws: &Aws,
    alb: &AlbRule,
    _arms: &Arms,
    test: Option<&TestTraffic>,
) -> Result<(), PortError> {
    match test {
        None => Ok(()),
        Some(test) => Err(PortError::new(
            Class::Permanent,
            format!("route {test} at {}", alb.rule),
            "not implemented yet",
        )),
    }
}

/// The live weight, and the healthy hosts of both groups.
pub(super) async fn live(aws: &Aws, alb: &AlbRule, arms: &Arms) -> Result<Live, PortError> {
    let (weight, stable_healthy, candidate_healthy) = try_join!(
        weight(aws, alb, arms),
        healthy_hosts(aws, &arms.stable),
        healthy_hosts(aws, &arms.candidate)
    )?;
    Ok(Live {
        weight,
        stable_healthy,
        candidate_healthy,
        candidate_ready: candidate_healthy > 0,
    })
}

async fn actions(aws: &Aws, alb: &AlbRule) -> Result<Vec<Action>, PortError> {
    let doing = || format!("read rule {}", alb.rule);
    let call = aws.elb.describe_rules().rule_arns(&alb.rule);
    let answer = call.send().await.map_err(|e| failed(doing(), e));
    let rule = answer.map_err(|mut error| {
        if error.said("RuleNotFound") {
            error.class = Class::Misconfigured;
        }
        error
    })?;
    let mut rules = rule.rules.unwrap_or_default();
    match rules.pop() {
        Some(rule) if rule.is_default == Some(true) => Err(PortError::new(
            Class::Misconfigured,
            doing(),
            "it is the listener's default rule, which ModifyRule does not take; make a rule with a \
             condition such as path-pattern /* and name that",
        )),
        Some(rule) => Ok(rule.actions.unwrap_or_default()),
        None => Err(odd_answer(doing(), "the answer has no rule")),
    }
}

async fn healthy_hosts(aws: &Aws, group: &str) -> Result<u32, PortError> {
    let call = aws.elb.describe_target_health().target_group_arn(group);
    let answer = call.send().await;
    let answer = answer.map_err(|e| failed(format!("count the healthy hosts of {group}"), e))?;
    let states = answer.target_health_descriptions().iter();
    let healthy = states
        .filter_map(|d| d.target_health()?.state())
        .filter(|state| **state == TargetHealthStateEnum::Healthy);
    Ok(u32::try_from(healthy.count()).unwrap_or(u32::MAX))
}

fn forwards(actions: &[Action]) -> impl Iterator<Item = &TargetGroupTuple> {
    let configs = actions.iter().filter_map(Action::forward_config);
    configs.flat_map(ForwardActionConfig::target_groups)
}

fn forwards_mut(actions: &mut [Action]) -> impl Iterator<Item = &mut TargetGroupTuple> {
    let configs = actions.iter_mut().filter_map(|a| a.forward_config.as_mut());
    configs.filter_map(|c| c.target_groups.as_mut()).flatten()
}

fn weight_of(actions: &[Action], group: &str) -> Option<i32> {
    let tuple = forwards(actions).find(|t| t.target_group_arn() == Some(group))?;
    Some(tuple.weight().unwrap_or(0))
}

fn live_weight(actions: &[Action], arms: &Arms) -> Option<Weight> {
    let weight = |arn| weight_of(actions, arn).and_then(|w| u32::try_from(w).ok());
    AlbRule::weight_of(weight(&arms.stable)?, weight(&arms.candidate)?)
}
