//! What a release moves, as the configuration names it.

mod ecs;
mod lambda_alias;
mod test_traffic;

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

pub use ecs::{EcsRolling, EcsServices, EcsTaskSets, ServiceArn, ServiceBehind, TaskDefinition};
pub use lambda_alias::{LambdaAlias, NewVersion, VERSION_FILE_BYTES_MAX};
pub use test_traffic::TestTraffic;

use super::{Metrics, RollbackPolicy, Step};
use crate::{TargetId, Weight};

/// What a release moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetSpec {
    /// A rule of an Application Load Balancer, or a listener's default, that forwards to two weighted
    /// target groups.
    AlbRule(AlbRule),
    /// An alias of a Lambda function that divides invocations between two versions.
    LambdaAlias(LambdaAlias),
    /// Two ECS services behind a rule; the idle one is put up for a release.
    EcsServices(EcsServices),
    /// Two task sets of one ECS service behind a rule; the candidate's is made for a release.
    EcsTaskSets(EcsTaskSets),
    /// An ECS service that moves to a new task definition by itself.
    EcsRolling(EcsRolling),
}

impl TargetSpec {
    /// The name under which the target is held: the ARN of the rule or listener, of the alias, or of a
    /// service without a rule.
    pub fn id(&self) -> TargetId {
        TargetId(match self {
            Self::AlbRule(alb) => alb.rule.clone(),
            Self::LambdaAlias(alias) => alias.arn(),
            Self::EcsServices(ecs) => ecs.rule.clone(),
            Self::EcsTaskSets(ecs) => ecs.rule.clone(),
            Self::EcsRolling(ecs) => ecs.service.to_string(),
        })
    }

    /// The ARNs by which IAM decides who may move the target: those of the rule and of the services,
    /// but of an alias its function's, because UpdateAlias knows no smaller resource.
    pub(super) fn resources(&self) -> Vec<&str> {
        match self {
            Self::AlbRule(alb) => vec![&alb.rule],
            Self::LambdaAlias(alias) => vec![&alias.function],
            Self::EcsServices(ecs) => {
                let services = ecs.services.iter().map(|side| side.service.as_str());
                services.chain([ecs.rule.as_str()]).collect()
            }
            Self::EcsTaskSets(ecs) => vec![ecs.service.as_str(), &ecs.rule],
            Self::EcsRolling(ecs) => vec![ecs.service.as_str()],
        }
    }

    /// The ARNs by which IAM decides who may send it test traffic: its listener, in which a rule is
    /// made, and what stands for that rule, which has no name yet.
    fn test_resources(&self) -> Vec<String> {
        let of_rule = |alb: &AlbRule| vec![alb.listener(), alb.new_rule()];
        match self {
            Self::AlbRule(alb) => of_rule(alb),
            Self::EcsServices(ecs) => of_rule(&ecs.alb()),
            Self::EcsTaskSets(ecs) => of_rule(&ecs.alb()),
            // Their configurations refuse test traffic.
            Self::LambdaAlias(_) | Self::EcsRolling(_) => Vec::new(),
        }
    }

    /// The ECS service in which this side runs; of two that take turns, by its target group.
    pub fn service(&self, arm: &str) -> Option<&ServiceArn> {
        match self {
            Self::AlbRule(_) | Self::LambdaAlias(_) => None,
            Self::EcsServices(ecs) => ecs.behind(arm),
            Self::EcsTaskSets(ecs) => Some(&ecs.service),
            Self::EcsRolling(ecs) => Some(&ecs.service),
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
            Self::EcsServices(ecs) => ecs.task_definition.file(),
            Self::EcsTaskSets(ecs) => ecs.task_definition.file(),
            Self::EcsRolling(ecs) => ecs.task_definition.file(),
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
            Self::EcsServices(ecs) => ecs.task_definition.said(text, &ecs.services[0].service),
            Self::EcsTaskSets(ecs) => ecs.task_definition.said(text, &ecs.service),
            Self::EcsRolling(ecs) => ecs.task_definition.said(text, &ecs.service),
        }
    }

    /// Whether its releases put the candidate up and take the old version down.
    pub fn deploys(&self) -> bool {
        match self {
            Self::AlbRule(_) | Self::LambdaAlias(_) | Self::EcsRolling(_) => false,
            Self::EcsServices(_) | Self::EcsTaskSets(_) => true,
        }
    }

    /// Whether the candidate must be up before a release begins, because nothing in it puts it up.
    pub fn needs_candidate(&self) -> bool {
        match self {
            Self::AlbRule(_) | Self::LambdaAlias(_) => true,
            Self::EcsServices(_) | Self::EcsTaskSets(_) | Self::EcsRolling(_) => false,
        }
    }

    /// Whether a part of the requests can go to the candidate.
    pub fn divides(&self) -> bool {
        match self {
            Self::AlbRule(_)
            | Self::LambdaAlias(_)
            | Self::EcsServices(_)
            | Self::EcsTaskSets(_) => true,
            Self::EcsRolling(_) => false,
        }
    }

    /// Whether the target may put the stable version back by itself, as ECS's circuit breaker does. A
    /// weight that differs from the log's is then no late answer, and is not set once more.
    pub fn may_turn_back(&self) -> bool {
        match self {
            Self::AlbRule(_)
            | Self::LambdaAlias(_)
            | Self::EcsServices(_)
            | Self::EcsTaskSets(_) => false,
            Self::EcsRolling(_) => true,
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
            Self::EcsServices(ecs) => ecs.check(steps),
            Self::EcsTaskSets(ecs) => ecs.check(steps),
            Self::EcsRolling(ecs) => ecs.check(steps, metrics),
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
    /// The ARN of a rule, or of a listener, which means its default rule.
    pub rule: String,
    /// The ARNs of both target groups, in any order.
    pub target_groups: [String; 2],
}

/// The largest weight of a target group (ELBv2 `TargetGroupTuple.Weight`).
const ALB_WEIGHT_MAX: u32 = 999;

impl AlbRule {
    fn check(&self, steps: &[Step]) -> Result<(), String> {
        if Place::of(&self.rule).is_none() {
            return Err(format!(
                "`rule` is '{}': write the ARN of a listener rule, \
                 arn:aws:elasticloadbalancing:REGION:ACCOUNT:listener-rule/app/NAME/ID/ID/ID, or, \
                 for its default rule, that of a listener, ...:listener/app/NAME/ID/ID",
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
        let place = Place::of(&self.rule);
        place.map(|place| place.balancer).unwrap_or_default()
    }

    /// Whether it is a listener's default rule, which is named by the listener's ARN.
    pub fn is_default(&self) -> bool {
        Place::of(&self.rule).is_some_and(|place| place.rule.is_none())
    }

    /// The ARN of the listener that it belongs to.
    pub fn listener(&self) -> String {
        let place = Place::of(&self.rule);
        place.map(|p| p.within("listener")).unwrap_or_default()
    }

    /// What a pattern for IAM must match that allows any rule of its listener.
    fn new_rule(&self) -> String {
        let place = Place::of(&self.rule);
        let rules = place.map(|p| p.within("listener-rule")).unwrap_or_default();
        format!("{rules}/*")
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

/// What the ARN of a rule or of a listener says.
struct Place<'a> {
    /// `arn:aws:elasticloadbalancing:REGION:ACCOUNT`.
    home: &'a str,
    /// `app/NAME/ID`.
    balancer: &'a str,
    /// The listener's id.
    listener: &'a str,
    /// The rule's id; none in a listener's ARN.
    rule: Option<&'a str>,
}

impl<'a> Place<'a> {
    fn of(arn: &'a str) -> Option<Self> {
        let (home, path) = arn.rsplit_once(':')?;
        let ids: Vec<&str> = path.split('/').collect();
        let (kind, name, id, listener, rule) = match ids[..] {
            [kind @ "listener-rule", "app", name, id, listener, rule] => {
                (kind, name, id, listener, Some(rule))
            }
            [kind @ "listener", "app", name, id, listener] => (kind, name, id, listener, None),
            _ => return None,
        };
        let begin = kind.len() + 1;
        let balancer = path.get(begin..begin + "app//".len() + name.len() + id.len())?;
        let known = home.starts_with("arn:") && home.contains(":elasticloadbalancing:");
        let whole = ids.iter().all(|id| !id.is_empty());
        (known && whole).then_some(Self {
            home,
            balancer,
            listener,
            rule,
        })
    }

    /// What the ARN of its listener, or of all that is in it, begins with; `kind` says which.
    fn within(&self, kind: &str) -> String {
        format!("{}:{kind}/{}/{}", self.home, self.balancer, self.listener)
    }
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

    /// Refuses a target of which an ARN matches no pattern: of its rule, of an alias' function, of
    /// each of its services.
    pub fn permit(&self, target: &TargetSpec) -> Result<(), String> {
        let resources = target.resources();
        let Some(arn) = resources.iter().find(|arn| !self.allows(arn)) else {
            return Ok(());
        };
        Err(format!(
            "target {arn} is not allowed: the stack's parameter AllowedTargets has '{}'; deploy the \
             stack with a pattern that matches, or correct the target in penstock.yaml",
            self.0.join(",")
        ))
    }

    /// Refuses test traffic where a release may not make, and take away, the rule that it needs.
    ///
    /// # Errors
    /// Says which patterns are missing.
    pub fn permit_test_traffic(&self, target: &TargetSpec) -> Result<(), String> {
        let missing: Vec<String> = target
            .test_resources()
            .into_iter()
            .filter(|arn| !self.allows(arn))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "header-route is not allowed at {}: it makes a rule of the listener; deploy the stack with \
             {} in its parameter AllowedTargets, which has '{}', or leave `header-route` out of the \
             steps",
            target.id(),
            missing.join(" and "),
            self.0.join(",")
        ))
    }

    /// Refuses a rollback that stops a deployment, or holds a stage, whose ARN matches no pattern.
    ///
    /// # Errors
    /// Says which pattern is missing.
    pub fn permit_rollback(&self, rollback: &RollbackPolicy) -> Result<(), String> {
        match rollback.resources().find(|arn| !self.allows(arn)) {
            None => Ok(()),
            Some(arn) => Err(format!(
                "`rollback` names {arn}, which is not allowed: the stack's parameter AllowedTargets \
                 has '{}'; deploy the stack with a pattern that matches, or correct the ARN in \
                 penstock.yaml",
                self.0.join(",")
            )),
        }
    }

    fn allows(&self, arn: &str) -> bool {
        self.0.iter().any(|p| WildMatch::new(p).matches(arn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alb(rule: &str) -> AlbRule {
        let group = |name| format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{name}/1");
        AlbRule {
            rule: rule.to_owned(),
            target_groups: [group("blue"), group("green")],
        }
    }

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
    fn test_traffic_needs_the_listener_and_any_rule_of_it() {
        let home = "arn:aws:elasticloadbalancing:eu-west-1:1";
        let target = TargetSpec::AlbRule(alb(&format!("{home}:listener-rule/app/shop/1/2/3")));
        let (listener, rules) = (
            format!("{home}:listener/app/shop/1/2"),
            format!("{home}:listener-rule/app/shop/1/2/*"),
        );
        for (missing, patterns) in [
            (vec![], format!("{listener},{rules}")),
            (vec![], "arn:*:listener*/app/shop/*".to_owned()),
            (vec![&listener], rules.clone()),
            (
                vec![&rules],
                format!("{listener},{home}:listener-rule/app/shop/1/2/3"),
            ),
            (vec![&listener, &rules], String::new()),
        ] {
            let permitted = AllowList::parse(&patterns).permit_test_traffic(&target);
            let error = permitted.err().unwrap_or_default();
            assert_eq!(error.is_empty(), missing.is_empty(), "{patterns}: {error}");
            assert!(missing.iter().all(|arn| error.contains(*arn)), "{error}");
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
    fn the_load_balancer_and_the_listener_are_told_from_either_arn() {
        let home = "arn:aws:elasticloadbalancing:eu-west-1:1";
        let listener = format!("{home}:listener/app/shop/1f/2");
        for (arn, is_default) in [
            (format!("{home}:listener-rule/app/shop/1f/2/3"), false),
            (listener.clone(), true),
        ] {
            let alb = alb(&arn);
            assert_eq!(alb.check(&[]), Ok(()), "{arn}");
            assert_eq!(alb.load_balancer(), "app/shop/1f");
            assert_eq!(alb.listener(), listener);
            assert_eq!(alb.is_default(), is_default);
        }
    }

    #[test]
    fn what_is_neither_a_rule_nor_a_listener_of_such_a_load_balancer_is_refused() {
        let home = "arn:aws:elasticloadbalancing:eu-west-1:1";
        for path in [
            "listener/net/shop/1/2",
            "listener/app/shop/1",
            "listener/app/shop/1/2/3",
            "listener/app//1/2",
            "listener-rule/app/shop/1/2",
            "listener-rule/app/shop/1/2/",
            "loadbalancer/app/shop/1",
            "",
        ] {
            let error = alb(&format!("{home}:{path}")).check(&[]).unwrap_err();
            assert!(error.contains("...:listener/app/NAME/ID/ID"), "{error}");
        }
        assert!(
            alb("arn:aws:ecs:eu-west-1:1:listener/app/shop/1/2")
                .check(&[])
                .is_err()
        );
    }
}
