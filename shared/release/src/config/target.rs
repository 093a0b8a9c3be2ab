//! What a release moves, as the configuration names it.

mod lambda_alias;
mod test_traffic;

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

pub use lambda_alias::{LambdaAlias, NewVersion, VERSION_FILE_BYTES_MAX};
pub use test_traffic::TestTraffic;

use super::{Metrics, Step};
use crate::{TargetId, Weight};

/// What a release moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSpec {
    /// A rule of an Application Load Balancer that forwards to two weighted target groups.
    AlbRule(AlbRule),
    /// An alias of a Lambda function that divides invocations between two versions.
    LambdaAlias(LambdaAlias),
}

impl TargetSpec {
    /// The name under which the target is held: the ARN of the rule, or of the alias.
    pub fn id(&self) -> TargetId {
        match self {
            Self::AlbRule(alb) => TargetId(alb.rule.clone()),
            Self::LambdaAlias(alias) => TargetId(alias.arn()),
        }
    }

    /// The ARN by which IAM decides who may move the target: a rule's own, but an alias' function's,
    /// because UpdateAlias knows no smaller resource.
    fn resource(&self) -> &str {
        match self {
            Self::AlbRule(alb) => &alb.rule,
            Self::LambdaAlias(alias) => &alias.function,
        }
    }

    /// The file of the input artifacts that must be read before a release of this target can begin.
    pub fn version_file(&self) -> Option<&str> {
        match self {
            Self::AlbRule(_) => None,
            Self::LambdaAlias(alias) => match &alias.version {
                NewVersion::File(path) => Some(path),
                NewVersion::Published | NewVersion::Number(_) => None,
            },
        }
    }

    /// Takes what [`TargetSpec::version_file`] says; a target that names no file needs none.
    ///
    /// # Errors
    /// Says what the text is and what to write instead.
    pub fn version_said(&mut self, text: &str) -> Result<(), String> {
        match self {
            Self::AlbRule(_) => Ok(()),
            Self::LambdaAlias(alias) => alias.version_said(text),
        }
    }

    /// Whether its releases put the candidate up and take the old version down.
    pub fn deploys(&self) -> bool {
        match self {
            Self::AlbRule(_) | Self::LambdaAlias(_) => false,
        }
    }

    /// Refuses what is no such target, steps that this kind of target cannot take, and metrics that
    /// ask for what it has not.
    pub(super) fn check(&self, steps: &[Step], metrics: &Metrics) -> Result<(), String> {
        match self {
            Self::AlbRule(alb) => alb.check(steps),
            // Lambda takes every weight.
            Self::LambdaAlias(alias) => {
                if steps.iter().any(|s| matches!(s, Step::HeaderRoute(_))) {
                    return Err(
                        "header-route is for load balancers: an alias cannot tell one \
                                request from another; test the version by its number instead, \
                                with run-check"
                            .to_owned(),
                    );
                }
                alias.check(metrics)
            }
        }
    }
}

/// A load balancer rule and the two target groups between which it moves.
///
/// Which of them is stable and which is the candidate is read from the live weights when a release
/// begins, so the same configuration serves every release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AlbRule {
    /// The rule's ARN.
    pub rule: String,
    /// The ARNs of both target groups, in any order.
    pub target_groups: [String; 2],
}

/// The largest weight of a target group (ELBv2 `TargetGroupTuple.Weight`).
const ALB_WEIGHT_MAX: u32 = 999;

impl AlbRule {
    fn check(&self, steps: &[Step]) -> Result<(), String> {
        if load_balancer_of(&self.rule).is_none() {
            return Err(format!(
                "`rule` is '{}': write the ARN of a listener rule, \
                 arn:aws:elasticloadbalancing:REGION:ACCOUNT:listener-rule/app/NAME/ID/ID/ID",
                self.rule
            ));
        }
        for group in &self.target_groups {
            if !group.starts_with("arn:") || !group.contains(":targetgroup/") {
                return Err(format!(
                    "`target-groups` has '{group}': write the ARN of a target group, \
                     arn:aws:elasticloadbalancing:REGION:ACCOUNT:targetgroup/NAME/ID"
                ));
            }
        }
        if self.target_groups[0] == self.target_groups[1] {
            return Err(
                "`target-groups` names the same group twice: name the two groups that take turns"
                    .to_owned(),
            );
        }
        steps.iter().try_for_each(|step| match step {
            Step::SetWeight(weight) if Self::nearest(*weight) != *weight => Err(format!(
                "set-weight: {weight}: a load balancer divides requests by two weights of at most \
                 999; the nearest possible is {}",
                Self::nearest(*weight)
            )),
            Step::SetWeight(_)
            | Step::Judge { .. }
            | Step::Wait(_)
            | Step::Watch(_)
            | Step::Approve(_)
            | Step::Probe(_)
            | Step::RunCheck(_)
            | Step::HeaderRoute(_) => Ok(()),
        })
    }

    /// The `LoadBalancer` dimension of its metrics: `app/NAME/ID`.
    pub fn load_balancer(&self) -> &str {
        load_balancer_of(&self.rule).unwrap_or_default()
    }

    /// The weight that the load balancer has when it is told to set this one.
    fn nearest(weight: Weight) -> Weight {
        let (stable, candidate) = Self::weights(weight);
        Self::weight_of(stable, candidate).unwrap_or(weight)
    }

    /// The weights (stable, candidate), each 0..=999, whose ratio is nearest to `weight`.
    pub fn weights(weight: Weight) -> (u32, u32) {
        let share = f64::from(weight.basis_points()) / f64::from(Weight::FULL.basis_points());
        if weight == Weight::ZERO {
            return (1, 0);
        }
        if weight == Weight::FULL {
            return (0, 1);
        }
        let off = |(stable, candidate): (u32, u32)| {
            (f64::from(candidate) / f64::from(stable + candidate) - share).abs()
        };
        (1..=ALB_WEIGHT_MAX)
            .filter_map(|candidate| {
                let stable = (f64::from(candidate) * (1.0 - share) / share).round();
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "the range is checked before the cast"
                )]
                (1.0..=f64::from(ALB_WEIGHT_MAX))
                    .contains(&stable)
                    .then_some((stable as u32, candidate))
            })
            .min_by(|a, b| off(*a).total_cmp(&off(*b)))
            // Below 0.1 %, or above 99.9 %, no such pair is near.
            .unwrap_or(if share < 0.5 {
                (ALB_WEIGHT_MAX, 1)
            } else {
                (1, ALB_WEIGHT_MAX)
            })
    }

    /// The weight that these live weights amount to, to the nearest basis point; `None` when both
    /// are 0.
    pub fn weight_of(stable: u32, candidate: u32) -> Option<Weight> {
        let sum = u64::from(stable) + u64::from(candidate);
        if sum == 0 {
            return None;
        }
        let points = (u64::from(candidate) * 10_000 + sum / 2) / sum;
        u16::try_from(points)
            .ok()
            .and_then(|p| Weight::from_basis_points(p).ok())
    }
}

fn load_balancer_of(rule: &str) -> Option<&str> {
    let (head, tail) = rule.split_once(":listener-rule/")?;
    let name_and_ids: Vec<&str> = tail.split('/').collect();
    let [kind @ "app", name, balancer, _listener, _rule] = name_and_ids[..] else {
        return None;
    };
    let known = head.starts_with("arn:") && head.contains(":elasticloadbalancing:");
    known.then(|| &tail[..kind.len() + name.len() + balancer.len() + 2])
}

/// The targets that the stack's owner lets releases move: ARNs in which `*` stands for anything.
///
/// Whoever edits the pipeline must not be able to steer the function's role at another team's
/// service.
#[derive(Debug, Clone)]
pub struct AllowList(Vec<String>);

impl AllowList {
    /// Patterns separated by commas, as the stack's parameter has them.
    pub fn parse(text: &str) -> Self {
        let patterns = text.split(',').map(str::trim).filter(|p| !p.is_empty());
        Self(patterns.map(str::to_owned).collect())
    }

    /// Refuses a target that no pattern matches: the ARN of an ALB's rule, or of an alias' function.
    pub fn permit(&self, target: &TargetSpec) -> Result<(), String> {
        let arn = target.resource();
        if self.0.iter().any(|p| WildMatch::new(p).matches(arn)) {
            return Ok(());
        }
        Err(format!(
            "target {arn} is not allowed: the stack's parameter AllowedTargets has '{}'; deploy the \
             stack with a pattern that matches, or correct the target in penstock.yaml",
            self.0.join(",")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_weight_that_a_plan_may_have_survives_the_load_balancer() {
        let all = (0..=10_000).map(|points| Weight::from_basis_points(points).unwrap());
        let (possible, not): (Vec<_>, Vec<_>) = all.partition(|w| AlbRule::nearest(*w) == *w);
        for weight in &possible {
            let (stable, candidate) = AlbRule::weights(*weight);
            assert!(stable <= ALB_WEIGHT_MAX && candidate <= ALB_WEIGHT_MAX);
            assert_eq!(AlbRule::weight_of(stable, candidate), Some(*weight));
        }
        for weight in not {
            let nearest = AlbRule::nearest(weight);
            assert!(
                possible.contains(&nearest),
                "the advice for {weight}, {nearest}, is no good"
            );
        }
        for percent in 0..=100 {
            let weight = Weight::from_basis_points(percent * 100).unwrap();
            assert!(possible.contains(&weight), "{weight} is a whole percent");
        }
    }

    #[test]
    fn only_what_the_stacks_owner_allows_can_be_moved() {
        let rule = "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/shop/1/2/3";
        let target = TargetSpec::AlbRule(AlbRule {
            rule: rule.to_owned(),
            target_groups: ["a".to_owned(), "b".to_owned()],
        });
        for (allowed, patterns) in [
            (true, rule.to_owned()),
            (true, "arn:x, arn:*:listener-rule/app/shop/*".to_owned()),
            (false, "arn:*:listener-rule/app/sho/*".to_owned()),
            (false, String::new()),
        ] {
            let permitted = AllowList::parse(&patterns).permit(&target);
            assert_eq!(permitted.is_ok(), allowed, "{patterns}: {permitted:?}");
        }
    }

    #[test]
    fn an_alias_is_allowed_by_its_function_as_in_iam() {
        let target = TargetSpec::LambdaAlias(LambdaAlias {
            function: "arn:aws:lambda:eu-west-1:1:function:shop".to_owned(),
            alias: "live".to_owned(),
            version: NewVersion::Published,
        });
        for (allowed, patterns) in [
            (true, "arn:aws:lambda:eu-west-1:1:function:shop"),
            (true, "arn:x,arn:aws:lambda:*:1:function:sho*"),
            (false, "arn:aws:lambda:eu-west-1:1:function:shop:live"),
            (false, "arn:aws:lambda:eu-west-1:1:function:sho"),
        ] {
            let permitted = AllowList::parse(patterns).permit(&target);
            assert_eq!(permitted.is_ok(), allowed, "{patterns}: {permitted:?}");
        }
    }

    #[test]
    fn the_load_balancers_dimension_is_the_arns_tail() {
        let rule = AlbRule {
            rule: "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/shop/1f/2/3".into(),
            target_groups: [String::new(), String::new()],
        };
        assert_eq!(rule.load_balancer(), "app/shop/1f");
    }
}
