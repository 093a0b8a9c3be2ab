//! The rule that sends test traffic to the candidate.
//!
//! It stands right before the rule that the release moves, in no other rule's way: with that rule's
//! conditions and one more, with its actions but for the target group. What the release moves stays
//! as it is. Its tag tells it from the rules of others, and which target it belongs to.

mod conditions;

use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, Rule, RuleCondition, Tag};
use engine::{Class, PortError};
use release::Arms;
use release::config::{AlbRule, TestTraffic};

use super::actions;
use crate::Aws;
use crate::error::{failed, odd_answer};

/// The key of the tag; its value is the release's target. The roles in `template.yaml` may delete
/// no rule without it.
const TAG: &str = "penstock:release-target";
/// The most rules on one page of DescribeRules (ELBv2 `PageSize`).
const PAGE_SIZE: i32 = 400;
/// The most pages of one listener's rules. A load balancer has 100 rules unless its quota is raised.
const PAGES_MAX: usize = 5;
/// The most resources that one DescribeTags takes.
const TAGGED_MAX: usize = 20;
/// The priority that the default rule would have: one after the last (ELBv2 `RulePriority`).
const PRIORITY_OF_DEFAULT: i32 = 50_001;
/// The most strings that all conditions of one rule compare with (ELBv2's quota).
const COMPARISONS_MAX: usize = 5;

/// Lets requests with `test` reach the candidate, and no others; with none, nobody is let past the
/// weights. Absolute: what an earlier call, or an earlier release of this target, left is made use
/// of or taken away.
pub(in crate::targets) async fn route(
    aws: &Aws,
    alb: &AlbRule,
    arms: &Arms,
    test: Option<&TestTraffic>,
) -> Result<(), PortError> {
    let rules = rules(aws, alb).await?;
    let mut left = left_over(aws, alb, &rules).await?;
    let wanted = match test {
        Some(test) => Some(Wanted::new(alb, arms, &rules, &left, test)?),
        None => None,
    };
    let right = wanted
        .as_ref()
        .and_then(|w| left.iter().position(|r| w.is(r)));
    if let Some(right) = right {
        left.swap_remove(right);
    }
    for rule in left {
        delete(aws, rule.rule_arn().unwrap_or_default()).await?;
    }
    match wanted {
        Some(wanted) if right.is_none() => wanted.create(aws, alb).await,
        Some(_) | None => Ok(()),
    }
}

/// Every rule of the listener.
async fn rules(aws: &Aws, alb: &AlbRule) -> Result<Vec<Rule>, PortError> {
    let listener = alb.listener();
    let doing = || format!("read the rules of {listener}");
    let mut all = Vec::new();
    let mut marker = None;
    for _ in 0..PAGES_MAX {
        let call = aws.elb.describe_rules().listener_arn(&listener);
        let call = call.page_size(PAGE_SIZE).set_marker(marker);
        let page = call.send().await.map_err(|e| failed(doing(), e))?;
        all.extend(page.rules.unwrap_or_default());
        marker = page.next_marker;
        if marker.is_none() {
            return Ok(all);
        }
    }
    let most = PAGE_SIZE * i32::try_from(PAGES_MAX).unwrap_or(i32::MAX);
    Err(PortError::new(
        Class::Misconfigured,
        doing(),
        format!("it has more than {most}; leave `header-route` out of the steps"),
    ))
}

/// The rules that an earlier call, or an earlier release of this target, made.
async fn left_over<'r>(
    aws: &Aws,
    alb: &AlbRule,
    rules: &'r [Rule],
) -> Result<Vec<&'r Rule>, PortError> {
    // Most listeners have no rule that looks like one, and then nobody need ask for tags.
    let alike: Vec<&Rule> = rules
        .iter()
        .filter(|rule| rule.is_default != Some(true) && rule.rule_arn() != Some(&alb.rule))
        .filter(|rule| {
            only_group(rule).is_some_and(|g| alb.target_groups.iter().any(|own| own == g))
        })
        .collect();
    let mut found = Vec::new();
    for alike in alike.chunks(TAGGED_MAX) {
        let arns = alike
            .iter()
            .filter_map(|rule| rule.rule_arn().map(str::to_owned));
        let call = aws
            .elb
            .describe_tags()
            .set_resource_arns(Some(arns.collect()));
        let answer = call.send().await;
        let answer = answer.map_err(|e| failed("read the tags of rules", e))?;
        let ours = |tag: &Tag| tag.key() == Some(TAG) && tag.value() == Some(&alb.rule);
        let tagged = answer.tag_descriptions().iter();
        let tagged: Vec<_> = tagged
            .filter(|described| described.tags().iter().any(ours))
            .filter_map(|described| described.resource_arn())
            .collect();
        let is_tagged = |rule: &&&Rule| rule.rule_arn().is_some_and(|arn| tagged.contains(&arn));
        found.extend(alike.iter().filter(is_tagged));
    }
    Ok(found)
}

/// The target group of a rule that forwards everything to one.
fn only_group(rule: &Rule) -> Option<&str> {
    let forward = rule
        .actions()
        .iter()
        .find(|a| a.r#type == Some(ActionTypeEnum::Forward))?;
    let config = forward.forward_config();
    match config
        .map(|config| config.target_groups())
        .unwrap_or_default()
    {
        [only] => only.target_group_arn(),
        [] => forward.target_group_arn(),
        [_, _, ..] => None,
    }
}

async fn delete(aws: &Aws, rule: &str) -> Result<(), PortError> {
    let deleted = aws.elb.delete_rule().rule_arn(rule).send().await;
    match deleted.map_err(|e| failed(format!("delete the rule of test traffic {rule}"), e)) {
        Err(error) if !error.said("RuleNotFound") => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// The rule as it should be.
struct Wanted {
    conditions: Vec<RuleCondition>,
    priority: i32,
    /// What the release moves, for its actions and transforms.
    moved: Rule,
    candidate: String,
}

impl Wanted {
    fn new(
        alb: &AlbRule,
        arms: &Arms,
        rules: &[Rule],
        left: &[&Rule],
        test: &TestTraffic,
    ) -> Result<Self, PortError> {
        let is_moved = |rule: &&Rule| match alb.is_default() {
            true => rule.is_default == Some(true),
            false => rule.rule_arn() == Some(&alb.rule),
        };
        let moved = rules.iter().find(is_moved);
        let moved = moved.ok_or_else(|| refused(alb, "its listener has no such rule"))?;
        let after = match moved.is_default {
            Some(true) if alb.is_default() => Some(PRIORITY_OF_DEFAULT),
            Some(true) => return Err(actions::is_default(alb)),
            Some(false) | None => moved.priority().and_then(|p| p.parse().ok()),
        };
        let after: i32 = after.ok_or_else(|| odd_answer(doing(alb), "it has no priority"))?;
        let priority = after - 1;
        let is_there = |rule: &&Rule| rule.priority() == Some(&priority.to_string());
        let stays = |rule: &&Rule| !left.iter().any(|l| l.rule_arn() == rule.rule_arn());
        let in_the_way = rules.iter().filter(stays).any(|rule| is_there(&rule));
        if priority < 1 || in_the_way {
            return Err(no_room(alb, after));
        }
        let mut conditions = conditions::kept(moved.conditions());
        conditions.push(conditions::of(test));
        let comparisons = conditions::comparisons(&conditions);
        if comparisons > COMPARISONS_MAX {
            let own = comparisons - test.comparisons();
            return Err(refused(
                alb,
                &format!(
                    "with its own {own} values and those of `header-route` a rule would compare \
                     {comparisons}, and a load balancer takes {COMPARISONS_MAX}; shorten one of them"
                ),
            ));
        }
        if moved
            .actions()
            .iter()
            .any(|a| a.authenticate_oidc_config.is_some())
        {
            return Err(refused(
                alb,
                "it asks for a login by OpenID Connect, whose client secret cannot be read, so no \
                 other rule can ask for the same; leave `header-route` out of the steps",
            ));
        }
        Ok(Self {
            conditions,
            priority,
            moved: moved.clone(),
            candidate: arms.candidate.clone(),
        })
    }

    fn is(&self, rule: &Rule) -> bool {
        let others = |rule: &Rule| -> Vec<Action> {
            let others = rule.actions().iter();
            let others = others.filter(|a| a.r#type != Some(ActionTypeEnum::Forward));
            others.cloned().collect()
        };
        only_group(rule) == Some(&self.candidate)
            && rule.priority() == Some(&self.priority.to_string())
            && conditions::same(rule.conditions(), &self.conditions)
            && others(rule) == others(&self.moved)
            && rule.transforms() == self.moved.transforms()
    }

    async fn create(self, aws: &Aws, alb: &AlbRule) -> Result<(), PortError> {
        let actions = self.moved.actions.unwrap_or_default().into_iter();
        let actions = actions.map(|action| match action.r#type {
            Some(ActionTypeEnum::Forward) => Action::builder()
                .r#type(ActionTypeEnum::Forward)
                .set_order(action.order)
                .target_group_arn(&self.candidate)
                .build(),
            _ => action,
        });
        let tag = Tag::builder().key(TAG).value(&alb.rule).build();
        let call = aws.elb.create_rule();
        let call = call
            .listener_arn(alb.listener())
            .priority(self.priority)
            .set_conditions(Some(self.conditions))
            .set_actions(Some(actions.collect()))
            .set_transforms(self.moved.transforms.filter(|t| !t.is_empty()))
            .tags(tag);
        let created = call.send().await.map_err(|e| failed(doing(alb), e));
        created.map(drop).map_err(|error| PortError {
            class: match error.said("TooManyRules") {
                true => Class::Misconfigured,
                // Somebody was faster; the next look says what is there now.
                false if error.said("PriorityInUse") => Class::Retryable,
                false => error.class,
            },
            ..error
        })
    }
}

fn doing(alb: &AlbRule) -> String {
    format!("make a rule for test traffic before {}", alb.rule)
}

fn refused(alb: &AlbRule, why: &str) -> PortError {
    PortError::new(Class::Misconfigured, doing(alb), why)
}

/// Any earlier priority would let test traffic past a rule that comes before the release's.
fn no_room(alb: &AlbRule, after: i32) -> PortError {
    let why = match alb.is_default() {
        true => format!(
            "the last priority, {}, is taken; give the rule that has it another with `aws elbv2 \
             set-rule-priorities`, or leave `header-route` out of the steps",
            after - 1
        ),
        false => format!(
            "it has priority {after}, and none right before it is free; give it a later one with \
             `aws elbv2 set-rule-priorities --rule-priorities RuleArn={},Priority=NUMBER`, or leave \
             `header-route` out of the steps",
            alb.rule
        ),
    };
    refused(alb, &why)
}
