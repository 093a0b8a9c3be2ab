//! What the load balancer knows: balancers, listeners, rules, target groups and targets.
//!
//! Everything is in memory behind one lock. The choice of a target reads the rules under the same
//! lock under which ModifyRule writes them, so new weights count from the very next request.

use std::net::SocketAddr;

use jiff::Timestamp;

use super::arn::{self, Home};
use super::conditions::{Asked, Conditions};
use super::health::{Check, Health, Matcher, Question, Thresholds};
use super::instances::Instances;
use super::rules::Forward;
use super::wire;

#[derive(Debug)]
pub(super) struct State {
    pub(super) home: Home,
    pub(super) random: fastrand::Rng,
    pub(super) load_balancers: Vec<LoadBalancer>,
    pub(super) listeners: Vec<Listener>,
    pub(super) target_groups: Vec<TargetGroup>,
    pub(super) instances: Instances,
}

#[derive(Clone, Debug)]
pub(super) struct LoadBalancer {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) scheme: String,
    pub(super) created: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct Listener {
    pub(super) arn: String,
    pub(super) load_balancer_arn: String,
    pub(super) port: u16,
    /// Ordered by priority; no two are equal.
    pub(super) rules: Vec<Rule>,
    pub(super) default_rule_arn: String,
    pub(super) default: Forward,
}

#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) arn: String,
    pub(super) priority: u32,
    pub(super) conditions: Conditions,
    pub(super) forward: Forward,
    pub(super) tags: Vec<wire::Tag>,
}

#[derive(Clone, Debug)]
pub(super) struct TargetGroup {
    pub(super) arn: String,
    pub(super) name: String,
    pub(super) settings: GroupSettings,
    pub(super) targets: Vec<Target>,
    /// Counts up with every choice: the round robin over the targets.
    pub(super) turn: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupSettings {
    pub(super) kind: Kind,
    pub(super) port: u16,
    pub(super) health_check_path: String,
    pub(super) health_check_interval_seconds: u16,
    pub(super) health_check_timeout_seconds: u16,
    pub(super) thresholds: Thresholds,
    pub(super) matcher: Matcher,
}

/// What the targets of a group are named by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Their addresses.
    Ip,
    /// The ids of EC2 instances, as Auto Scaling groups register them.
    Instance,
}

#[derive(Clone, Debug)]
pub(super) struct Target {
    /// As it was registered.
    pub(super) id: String,
    pub(super) address: SocketAddr,
    pub(super) health: Health,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// The target group as a dimension.
    pub(super) group: String,
    pub(super) target: SocketAddr,
}

impl State {
    pub(super) fn new(home: Home, random: fastrand::Rng, instances: Instances) -> Self {
        Self {
            home,
            random,
            load_balancers: Vec::new(),
            listeners: Vec::new(),
            target_groups: Vec::new(),
            instances,
        }
    }

    /// 16 hexadecimal digits, the form of the ids in ELBv2's ARNs.
    pub(super) fn fresh_id(&mut self) -> String {
        format!("{:016x}", self.random.u64(..))
    }

    /// Chooses the target for a request, or `None` when the chosen group has none.
    ///
    /// First a group by weight, whatever its health (an ALB does not move a sick group's share), then
    /// the next of its healthy targets, or of all its targets when none is healthy: it fails open.
    pub(super) fn choose(&mut self, listener_arn: &str, asked: &Asked<'_>) -> Option<Choice> {
        let listener = self
            .listeners
            .iter()
            .find(|listener| listener.arn == listener_arn)?;
        let forward = listener.forward(asked);
        let weight_total = forward.weight_total();
        if weight_total == 0 {
            return None;
        }
        let share = forward.group_at(self.random.u32(0..weight_total))?;
        self.target_groups
            .iter_mut()
            .find(|group| group.arn == share.group_arn)?
            .choose()
    }

    /// The groups that any rule of this load balancer names, as dimensions, sorted.
    pub(super) fn group_dimensions(&self, load_balancer: &str) -> Vec<String> {
        let mut groups: Vec<_> = self
            .listeners
            .iter()
            .filter(|listener| {
                arn::load_balancer_dimension(&listener.load_balancer_arn) == load_balancer
            })
            .flat_map(Listener::group_arns)
            .map(|arn| arn::target_group_dimension(arn).to_owned())
            .collect();
        groups.sort();
        groups.dedup();
        groups
    }

    /// The load balancers that a group serves: one at most, as on AWS.
    pub(super) fn load_balancer_of_group(&self, group_arn: &str) -> Option<&str> {
        self.listeners
            .iter()
            .find(|listener| listener.group_arns().any(|arn| arn == group_arn))
            .map(|listener| listener.load_balancer_arn.as_str())
    }

    /// The checks to make now. A group that no rule names is not checked, and forgets what it knew.
    pub(super) fn health_questions(&mut self) -> Vec<Question> {
        let used: Vec<bool> = self
            .target_groups
            .iter()
            .map(|group| self.load_balancer_of_group(&group.arn).is_some())
            .collect();
        let mut questions = Vec::new();
        for (group, used) in self.target_groups.iter_mut().zip(used) {
            if used {
                questions.extend(group.health_questions());
            } else {
                group
                    .targets
                    .iter_mut()
                    .for_each(|target| target.health = Health::new());
            }
        }
        questions
    }

    /// Notes what a check found, unless the target is gone by now.
    pub(super) fn observe_health(&mut self, question: &Question, check: Check) {
        let Some(group) = self
            .target_groups
            .iter_mut()
            .find(|group| group.arn == question.group_arn)
        else {
            return;
        };
        let thresholds = group.settings.thresholds;
        if let Some(target) = group
            .targets
            .iter_mut()
            .find(|target| target.address == question.address)
        {
            target.health.observe(check, thresholds);
        }
    }
}

impl Listener {
    /// The rule with the lowest priority number whose conditions are met, else the default.
    fn forward(&self, asked: &Asked<'_>) -> &Forward {
        self.rules
            .iter()
            .find(|rule| rule.conditions.meet(asked))
            .map_or(&self.default, |rule| &rule.forward)
    }

    pub(super) fn group_arns(&self) -> impl Iterator<Item = &str> {
        let forwards = self
            .rules
            .iter()
            .map(|rule| &rule.forward)
            .chain([&self.default]);
        forwards
            .flat_map(|forward| forward.groups())
            .map(|share| share.group_arn.as_str())
    }
}

impl TargetGroup {
    fn choose(&mut self) -> Option<Choice> {
        let any_healthy = self.targets.iter().any(|target| target.health.is_healthy());
        let usable: Vec<_> = self
            .targets
            .iter()
            .filter(|target| !any_healthy || target.health.is_healthy())
            .collect();
        let turn = self.turn.checked_rem(usable.len())?;
        let choice = Choice {
            group: arn::target_group_dimension(&self.arn).to_owned(),
            target: usable[turn].address,
        };
        self.turn = self.turn.wrapping_add(1);
        Some(choice)
    }

    fn health_questions(&self) -> impl Iterator<Item = Question> {
        self.targets.iter().map(|target| Question {
            group_arn: self.arn.clone(),
            address: target.address,
            path: self.settings.health_check_path.clone(),
            matcher: self.settings.matcher.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(ports: &[u16]) -> TargetGroup {
        TargetGroup {
            arn: "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/blue/1"
                .to_owned(),
            name: "blue".to_owned(),
            settings: GroupSettings {
                kind: Kind::Ip,
                port: 80,
                health_check_path: "/".to_owned(),
                health_check_interval_seconds: 30,
                health_check_timeout_seconds: 5,
                thresholds: Thresholds {
                    healthy: 5,
                    unhealthy: 1,
                },
                matcher: Matcher::parse("200").expect("a matcher"),
            },
            targets: ports
                .iter()
                .map(|port| Target {
                    id: "127.0.0.1".to_owned(),
                    address: ([127, 0, 0, 1], *port).into(),
                    health: Health::new(),
                })
                .collect(),
            turn: 0,
        }
    }

    fn ports(group: &mut TargetGroup, choices: usize) -> Vec<u16> {
        (0..choices)
            .filter_map(|_| group.choose())
            .map(|choice| choice.target.port())
            .collect()
    }

    fn check(group: &mut TargetGroup, port: u16, check: Check) {
        let thresholds = group.settings.thresholds;
        let target = group
            .targets
            .iter_mut()
            .find(|target| target.address.port() == port)
            .expect("a target");
        target.health.observe(check, thresholds);
    }

    #[test]
    fn a_group_takes_its_targets_in_turn() {
        assert_eq!(ports(&mut group(&[1, 2, 3]), 6), [1, 2, 3, 1, 2, 3]);
        assert!(ports(&mut group(&[]), 2).is_empty());
    }

    #[test]
    fn only_healthy_targets_are_chosen_while_there_is_one() {
        let mut group = group(&[1, 2, 3]);
        check(&mut group, 2, Check::Passed);
        assert_eq!(ports(&mut group, 3), [2, 2, 2]);
    }

    #[test]
    fn a_group_without_a_healthy_target_fails_open() {
        let mut group = group(&[1, 2]);
        check(&mut group, 1, Check::Failed);
        check(&mut group, 2, Check::Failed);
        assert_eq!(ports(&mut group, 4), [1, 2, 1, 2]);
    }
}
