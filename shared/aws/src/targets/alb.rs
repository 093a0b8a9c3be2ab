//! A rule of an Application Load Balancer, or a listener's default rule, with two weighted target
//! groups. Only weights change; every other action, and stickiness, is written back as it was read.

mod actions;
mod test_rule;

use aws_sdk_elasticloadbalancingv2::types::{Action, TargetHealthStateEnum};
use engine::{Class, PortError};
use futures::try_join;
use jiff::SignedDuration;
use release::config::AlbRule;
use release::{Arms, Live, Weight};

pub(super) use test_rule::route;

use crate::Aws;
use crate::error::failed;

/// Which group has all the traffic, and which has none.
pub(super) async fn arms(aws: &Aws, alb: &AlbRule) -> Result<Arms, PortError> {
    let actions = actions::read(aws, alb).await?;
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

/// What weights cannot do here, for people to know when a release begins.
pub(super) async fn warnings(aws: &Aws, alb: &AlbRule) -> Result<Vec<String>, PortError> {
    let actions = actions::read(aws, alb).await?;
    let mut sticky = actions::configs(&actions)
        .filter_map(|config| config.target_group_stickiness_config())
        .filter(|stickiness| stickiness.enabled() == Some(true));
    Ok(sticky
        .next()
        .map(|sticky| stays(sticky.duration_seconds().unwrap_or_default()))
        .into_iter()
        .collect())
}

/// A weight divides the clients that have no cookie; the others follow theirs, whatever the weight.
fn stays(seconds: i32) -> String {
    let time = SignedDuration::from_secs(seconds.into());
    format!(
        "the load balancer's stickiness keeps each client for {time:#} with the version that it met: \
         weights divide new clients only; after a rollback those who met the candidate stay with it, \
         after a promotion the others with the old version, until their cookie expires"
    )
}

/// The rule's actions as they were a moment ago.
#[derive(Debug)]
pub struct Reading(Vec<Action>);

/// What [`set_weight`] writes back changed.
pub(super) async fn read(aws: &Aws, alb: &AlbRule) -> Result<Reading, PortError> {
    actions::read(aws, alb).await.map(Reading)
}

/// Sets the weights of both groups, unless they are just now as they should be.
pub(super) async fn set_weight(
    aws: &Aws,
    alb: &AlbRule,
    arms: &Arms,
    weight: Weight,
    read: Option<Reading>,
) -> Result<(), PortError> {
    let mut actions = match read {
        Some(Reading(actions)) => actions,
        None => {
            let actions = actions::read(aws, alb).await?;
            if live_weight(&actions, arms) == Some(weight) {
                return Ok(());
            }
            actions
        }
    };
    let (stable, candidate) = AlbRule::weights(weight);
    for group in actions::groups_mut(&mut actions) {
        let arn = group.target_group_arn.as_deref();
        let new = match arn {
            Some(arn) if arn == arms.stable => stable,
            Some(arn) if arn == arms.candidate => candidate,
            _ => continue,
        };
        group.weight = i32::try_from(new).ok();
    }
    actions::write(aws, alb, actions).await
}

/// The candidate's live weight.
pub(super) async fn weight(aws: &Aws, alb: &AlbRule, arms: &Arms) -> Result<Weight, PortError> {
    let actions = actions::read(aws, alb).await?;
    live_weight(&actions, arms).ok_or_else(|| {
        unsettled(
            alb,
            [&alb.target_groups[0], &alb.target_groups[1]].map(|g| weight_of(&actions, g)),
        )
    })
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

fn weight_of(actions: &[Action], group: &str) -> Option<i32> {
    let tuple = actions::groups(actions).find(|t| t.target_group_arn() == Some(group))?;
    Some(tuple.weight().unwrap_or(0))
}

fn live_weight(actions: &[Action], arms: &Arms) -> Option<Weight> {
    let weight = |arn| weight_of(actions, arn).and_then(|w| u32::try_from(w).ok());
    AlbRule::weight_of(weight(&arms.stable)?, weight(&arms.candidate)?)
}
