//! What the player's ECS asks of the load balancer: its tasks are targets like any others.

use std::net::SocketAddr;

use super::Alb;
use super::state::{State, TargetGroup};
use super::wire;

/// A target's health, as far as whoever put it there must act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetHealth {
    /// Gets requests.
    Healthy,
    /// Fails its checks.
    Unhealthy,
    /// Not known yet, or nobody asks: no rule names its group.
    Waiting,
}

/// Whether requests can come through a target group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupUse {
    /// A rule or a listener names it.
    Used,
    /// It exists, and nothing names it.
    Unused,
    /// There is no such group.
    Missing,
}

impl Alb {
    pub(crate) fn group_use(&self, group_arn: &str) -> GroupUse {
        let state = self.shared.state();
        if group(&state, group_arn).is_none() {
            GroupUse::Missing
        } else if state.load_balancer_of_group(group_arn).is_none() {
            GroupUse::Unused
        } else {
            GroupUse::Used
        }
    }

    pub(crate) fn register(&self, group_arn: &str, target: SocketAddr) -> Result<(), String> {
        let done = self
            .shared
            .state()
            .register_targets(change(group_arn, target));
        done.map(|_| ())
            .map_err(|refused| refused.message().to_owned())
    }

    pub(crate) fn deregister(&self, group_arn: &str, target: SocketAddr) -> Result<(), String> {
        let done = self
            .shared
            .state()
            .deregister_targets(change(group_arn, target));
        done.map(|_| ())
            .map_err(|refused| refused.message().to_owned())
    }

    pub(crate) fn target_health(&self, group_arn: &str, target: SocketAddr) -> TargetHealth {
        let state = self.shared.state();
        let found = group(&state, group_arn)
            .and_then(|group| group.targets.iter().find(|it| it.address == target));
        match found.map(|target| target.health.to_wire().state) {
            Some("healthy") => TargetHealth::Healthy,
            Some("unhealthy") => TargetHealth::Unhealthy,
            Some(_) | None => TargetHealth::Waiting,
        }
    }
}

fn group<'a>(state: &'a State, arn: &str) -> Option<&'a TargetGroup> {
    state.target_groups.iter().find(|group| group.arn == arn)
}

fn change(group_arn: &str, target: SocketAddr) -> wire::ChangeTargets {
    let target = wire::Target {
        id: target.ip().to_string(),
        port: Some(target.port()),
    };
    wire::ChangeTargets {
        target_group_arn: group_arn.to_owned(),
        targets: [target].into_iter().collect(),
    }
}
