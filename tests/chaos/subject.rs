//! What a release moves. One file a kind, one line here.

use crate::aliased::Alias;
use crate::rolling::Rolling;
use crate::ruled::Rule;
use crate::turns::Turns;
use crate::world::World;

/// A version that has all the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arm {
    Stable,
    Candidate,
    /// What has it instead, or how it is divided.
    Neither(String),
}

/// The target of a release.
pub enum Subject {
    Rule(Rule),
    Alias(Alias),
    Service(Rolling),
    Services(Turns),
}

impl Subject {
    /// Under `target` in penstock.yaml.
    pub fn config(&self) -> String {
        match self {
            Self::Rule(rule) => rule.config(),
            Self::Alias(alias) => alias.config(),
            Self::Service(service) => service.config(),
            Self::Services(services) => services.config(),
        }
    }

    /// As releases name it.
    pub fn target(&self) -> String {
        match self {
            Self::Rule(rule) => rule.balancer.rule.clone(),
            Self::Alias(alias) => alias.target(),
            Self::Service(service) => service.target(),
            Self::Services(services) => services.balancer.rule.clone(),
        }
    }

    /// Where it can be asked over HTTP.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Rule(rule) => Some(&rule.balancer.url),
            Self::Services(services) => Some(&services.balancer.url),
            Self::Alias(_) | Self::Service(_) => None,
        }
    }

    /// What AWS says that it is set to.
    pub async fn live(&self, world: &World) -> anyhow::Result<Arm> {
        match self {
            Self::Rule(rule) => rule.live(world).await,
            Self::Alias(alias) => alias.live(world).await,
            Self::Service(service) => service.live().await,
            Self::Services(services) => services.live(world).await,
        }
    }

    /// What answers some requests, or would.
    pub async fn answers(&self, world: &World) -> anyhow::Result<Vec<Arm>> {
        match self {
            Self::Rule(rule) => rule.answers().await,
            Self::Alias(alias) => alias.answers(world).await,
            Self::Service(service) => service.answers().await,
            Self::Services(services) => services.answers().await,
        }
    }
}
