//! What a release moves. One file a kind, one line here.

use crate::aliased::Alias;
use crate::ruled::Rule;
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
}

impl Subject {
    /// Under `target` in penstock.yaml.
    pub fn config(&self) -> String {
        match self {
            Self::Rule(rule) => rule.config(),
            Self::Alias(alias) => alias.config(),
        }
    }

    /// As releases name it.
    pub fn target(&self) -> String {
        match self {
            Self::Rule(rule) => rule.balancer.rule.clone(),
            Self::Alias(alias) => alias.target(),
        }
    }

    /// Where it can be asked over HTTP.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Rule(rule) => Some(&rule.balancer.url),
            Self::Alias(_) => None,
        }
    }

    /// What AWS says that it is set to.
    pub async fn live(&self, world: &World) -> anyhow::Result<Arm> {
        match self {
            Self::Rule(rule) => rule.live(world).await,
            Self::Alias(alias) => alias.live(world).await,
        }
    }

    /// What answers some requests.
    pub async fn answers(&self, world: &World) -> anyhow::Result<Vec<Arm>> {
        match self {
            Self::Rule(rule) => rule.answers().await,
            Self::Alias(alias) => alias.answers(world).await,
        }
    }
}
