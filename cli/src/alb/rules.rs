//! How a rule splits its requests over target groups.
//!
//! Actions are checked here once, so that a [`Forward`] that exists is one AWS would accept.

use std::collections::BTreeSet;

use super::error::ApiError;
use super::query::List;
use super::wire;

/// Most target groups of one forward action (AWS quota).
const GROUPS_MAX: usize = 5;

/// Largest weight of a target group.
const WEIGHT_MAX: u16 = 999;

/// The weight of a group whose weight is not given.
const WEIGHT_DEFAULT: u16 = 1;

/// Longest stickiness: a week.
const STICKINESS_SECONDS_MAX: u32 = 604_800;

/// Largest `Order` of an action.
const ORDER_MAX: u32 = 50_000;

/// A checked forward action: 1 to 5 distinct groups with weights of 0 to 999.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forward {
    order: Option<u32>,
    groups: Vec<Share>,
    stickiness: Stickiness,
}

/// One group's part of a forward action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) group_arn: String,
    pub(super) weight: u16,
}

/// Kept and returned, but not obeyed: the local load balancer sets no cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Stickiness {
    enabled: bool,
    duration_seconds: Option<u32>,
}

impl Forward {
    pub(super) fn groups(&self) -> &[Share] {
        &self.groups
    }

    /// The group that `draw` falls on, for a draw from `0..weight_total()`.
    pub(super) fn group_at(&self, draw: u32) -> Option<&Share> {
        let mut end = 0;
        self.groups.iter().find(|share| {
            end += u32::from(share.weight);
            draw < end
        })
    }

    pub(super) fn weight_total(&self) -> u32 {
        self.groups
            .iter()
            .map(|share| u32::from(share.weight))
            .sum()
    }

    /// Reads an action list, which must be exactly one forward action.
    pub(super) fn from_actions(actions: List<wire::Action>) -> Result<Self, ApiError> {
        let [action]: [wire::Action; 1] = actions.member.try_into().map_err(|_| {
            ApiError::validation("exactly one action must be given, of type 'forward'")
        })?;
        if action.kind != "forward" {
            return Err(ApiError::validation(format!(
                "the local load balancer knows actions of type 'forward' only, not '{}'",
                action.kind
            )));
        }
        if action
            .order
            .is_some_and(|order| !(1..=ORDER_MAX).contains(&order))
        {
            return Err(ApiError::validation(format!(
                "the order of an action must be from 1 to {ORDER_MAX}"
            )));
        }
        let config = action.forward_config.unwrap_or_default();
        let groups = shares(action.target_group_arn, config.target_groups.member)?;
        let stickiness =
            Stickiness::from_wire(config.target_group_stickiness_config.unwrap_or_default())?;
        Ok(Self {
            order: action.order,
            groups,
            stickiness,
        })
    }

    /// The action list as AWS returns it: a single group both by its ARN and as a group with a weight.
    pub(super) fn to_actions(&self) -> List<wire::Action> {
        let target_groups = self.groups.iter().map(|share| wire::TargetGroupTuple {
            target_group_arn: share.group_arn.clone(),
            weight: Some(share.weight.into()),
        });
        let target_group_arn = match self.groups.as_slice() {
            [only] => Some(only.group_arn.clone()),
            _ => None,
        };
        let action = wire::Action {
            kind: "forward".to_owned(),
            order: self.order,
            target_group_arn,
            forward_config: Some(wire::ForwardConfig {
                target_groups: target_groups.collect(),
                target_group_stickiness_config: Some(self.stickiness.to_wire()),
            }),
        };
        List {
            member: vec![action],
        }
    }
}

fn shares(
    single: Option<String>,
    tuples: Vec<wire::TargetGroupTuple>,
) -> Result<Vec<Share>, ApiError> {
    let tuples = match (single, tuples.as_slice()) {
        (Some(arn), []) => vec![wire::TargetGroupTuple {
            target_group_arn: arn,
            weight: None,
        }],
        (Some(arn), [only]) if only.target_group_arn == arn => tuples,
        (Some(_), _) => {
            return Err(ApiError::validation(
                "TargetGroupArn may be given beside ForwardConfig only if it names its one target group",
            ));
        }
        (None, _) => tuples,
    };
    if tuples.is_empty() || tuples.len() > GROUPS_MAX {
        return Err(ApiError::validation(format!(
            "a forward action must have from 1 to {GROUPS_MAX} target groups, not {}",
            tuples.len()
        )));
    }
    let distinct: BTreeSet<_> = tuples
        .iter()
        .map(|tuple| tuple.target_group_arn.as_str())
        .collect();
    if distinct.len() != tuples.len() {
        return Err(ApiError::validation(
            "a target group may be listed only once in a forward action",
        ));
    }
    tuples.into_iter().map(share).collect()
}

fn share(tuple: wire::TargetGroupTuple) -> Result<Share, ApiError> {
    let weight = tuple.weight.unwrap_or(WEIGHT_DEFAULT.into());
    let weight = u16::try_from(weight)
        .ok()
        .filter(|weight| *weight <= WEIGHT_MAX)
        .ok_or_else(|| {
            ApiError::validation(format!(
                "the weight of a target group must be from 0 to {WEIGHT_MAX}, not {weight}"
            ))
        })?;
    Ok(Share {
        group_arn: tuple.target_group_arn,
        weight,
    })
}

impl Stickiness {
    fn from_wire(config: wire::Stickiness) -> Result<Self, ApiError> {
        let enabled = config.enabled.unwrap_or(false);
        let out_of_range = || {
            ApiError::validation(format!(
                "DurationSeconds of the target group stickiness must be from 1 to {STICKINESS_SECONDS_MAX}"
            ))
        };
        let duration_seconds = config
            .duration_seconds
            .map(|seconds| {
                let seconds = u32::try_from(seconds).ok();
                seconds
                    .filter(|seconds| (1..=STICKINESS_SECONDS_MAX).contains(seconds))
                    .ok_or_else(out_of_range)
            })
            .transpose()?;
        if enabled && duration_seconds.is_none() {
            return Err(out_of_range());
        }
        Ok(Self {
            enabled,
            duration_seconds,
        })
    }

    fn to_wire(self) -> wire::Stickiness {
        wire::Stickiness {
            enabled: Some(self.enabled),
            duration_seconds: self.duration_seconds.map(i64::from),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forward(weights: &[i64]) -> Result<Forward, ApiError> {
        let target_groups = weights
            .iter()
            .enumerate()
            .map(|(n, weight)| wire::TargetGroupTuple {
                target_group_arn: format!("arn:{n}"),
                weight: Some(*weight),
            })
            .collect();
        Forward::from_actions(List {
            member: vec![wire::Action {
                kind: "forward".to_owned(),
                forward_config: Some(wire::ForwardConfig {
                    target_groups,
                    ..Default::default()
                }),
                ..Default::default()
            }],
        })
    }

    #[test]
    fn weights_and_the_number_of_groups_have_limits() {
        for (weights, accepted) in [
            (&[0][..], true),
            (&[999], true),
            (&[1000], false),
            (&[-1], false),
            (&[], false),
            (&[1; 5], true),
            (&[1; 6], false),
        ] {
            assert_eq!(forward(weights).is_ok(), accepted, "{weights:?}");
        }
    }

    #[test]
    fn a_single_group_may_be_named_twice_but_not_two_ways() {
        let tuple = |arn: &str| wire::TargetGroupTuple {
            target_group_arn: arn.to_owned(),
            weight: Some(3),
        };
        let arn = || Some("arn:a".to_owned());
        assert_eq!(
            shares(arn(), vec![]).expect("by its ARN")[0].weight,
            WEIGHT_DEFAULT
        );
        assert_eq!(
            shares(arn(), vec![tuple("arn:a")]).expect("the same")[0].weight,
            3
        );
        assert!(shares(arn(), vec![tuple("arn:b")]).is_err());
        assert!(shares(None, vec![tuple("arn:a"), tuple("arn:a")]).is_err());
    }

    #[test]
    fn enabled_stickiness_needs_a_duration_within_a_week() {
        let stickiness = |enabled, duration_seconds| {
            Stickiness::from_wire(wire::Stickiness {
                enabled: Some(enabled),
                duration_seconds,
            })
            .is_ok()
        };
        assert!(stickiness(true, Some(604_800)));
        assert!(stickiness(false, None));
        assert!(!stickiness(true, None));
        assert!(!stickiness(true, Some(604_801)));
        assert!(!stickiness(true, Some(0)));
    }

    proptest! {
        #[test]
        fn every_draw_falls_on_a_group_in_proportion_to_its_weight(weights in prop::collection::vec(0_i64..=999, 1..=5)) {
            let forward = forward(&weights).expect("a forward action");
            let mut hits = vec![0; weights.len()];
            for draw in 0..forward.weight_total() {
                let share = forward.group_at(draw).expect("a group");
                let group: usize = share.group_arn["arn:".len()..].parse().expect("a number");
                hits[group] += 1;
            }
            prop_assert_eq!(hits, weights);
            prop_assert_eq!(forward.group_at(forward.weight_total()), None);
        }

        #[test]
        fn an_action_list_written_and_read_again_is_the_same(
            weights in prop::collection::vec(0_i64..=999, 1..=5),
            order in prop::option::of(1..=ORDER_MAX),
            duration in prop::option::of(1..=STICKINESS_SECONDS_MAX),
        ) {
            let mut written = forward(&weights).expect("a forward action");
            written.order = order;
            written.stickiness = Stickiness { enabled: duration.is_some(), duration_seconds: duration };
            prop_assert_eq!(Forward::from_actions(written.to_actions()).expect("its own words"), written);
        }
    }
}
