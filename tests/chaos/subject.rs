//! What a release moves. One file a kind, one line here.

use anyhow::ensure;

use crate::aliased::Alias;
use crate::rolling::Rolling;
use crate::ruled::Rule;
use crate::task_sets::TaskSets;
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

impl Arm {
    /// Refuses any other: a target serves the next release as its last one has left it.
    pub fn must_be_stable(self) -> anyhow::Result<()> {
        ensure!(self == Self::Stable, "{self:?} has all the traffic");
        Ok(())
    }
}

/// Requests that are sent when all is over.
const REQUESTS: usize = 8;

/// Which versions answer here, by what they say.
pub async fn asked(url: &str, arm: impl Fn(&str) -> Option<Arm>) -> anyhow::Result<Vec<Arm>> {
    let client = reqwest::Client::new();
    let url = format!("{url}/version");
    let mut answers = Vec::new();
    for _ in 0..REQUESTS {
        let answer = client.get(&url).send().await?.error_for_status()?;
        let said = answer.text().await?;
        answers.push(arm(&said).unwrap_or(Arm::Neither(said)));
    }
    Ok(answers)
}

/// The target of a release.
pub enum Subject {
    Rule(Rule),
    Alias(Alias),
    Service(Rolling),
    Services(Turns),
    TaskSets(TaskSets),
}

impl Subject {
    /// Under `target` in penstock.yaml.
    pub fn config(&self) -> String {
        match self {
            Self::Rule(rule) => rule.config(),
            Self::Alias(alias) => alias.config(),
            Self::Service(service) => service.config(),
            Self::Services(services) => services.config(),
            Self::TaskSets(sets) => sets.config(),
        }
    }

    /// As releases name it.
    pub fn target(&self) -> String {
        match self {
            Self::Rule(rule) => rule.balancer.rule.clone(),
            Self::Alias(alias) => alias.target(),
            Self::Service(service) => service.target(),
            Self::Services(services) => services.balancer.rule.clone(),
            Self::TaskSets(sets) => sets.balancer.rule.clone(),
        }
    }

    /// Where it can be asked over HTTP.
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::Rule(rule) => Some(&rule.balancer.url),
            Self::Services(services) => Some(&services.balancer.url),
            Self::TaskSets(sets) => Some(&sets.balancer.url),
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
            Self::TaskSets(sets) => sets.live(world).await,
        }
    }

    /// What answers some requests, or would.
    pub async fn answers(&self, world: &World) -> anyhow::Result<Vec<Arm>> {
        match self {
            Self::Rule(rule) => rule.answers().await,
            Self::Alias(alias) => alias.answers(world).await,
            Self::Service(service) => service.answers().await,
            Self::Services(services) => services.versions.answers(&services.balancer.url).await,
            Self::TaskSets(sets) => sets.versions.answers(&sets.balancer.url).await,
        }
    }
}
