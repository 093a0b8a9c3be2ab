//! Two ECS services behind a rule that take turns, each with tasks that are real HTTP servers.

use aws::local::ecs::Client;
use aws::local::ecs::types::{DeploymentConfiguration, Service};
use cli::stack::Balancer;

use crate::services::{SERVER, behind, define, make, runs, until};
use crate::subject::{Arm, asked};
use crate::world::World;

/// What its tasks answer.
const STABLE: &str = "stable";
const CANDIDATE: &str = "candidate";

/// Two task definitions of a family, whose tasks say which they are.
pub struct Versions {
    pub stable: String,
    pub candidate: String,
}

impl Versions {
    pub async fn define(ecs: &Client, family: &str) -> anyhow::Result<Self> {
        let version = async |answer| {
            let variables = [("VERSION", answer), ("FAILS", "0"), ("HEALTH", "200")];
            define(ecs, family, &variables, &["python3", "-c", SERVER]).await
        };
        Ok(Self {
            stable: version(STABLE).await?,
            candidate: version(CANDIDATE).await?,
        })
    }

    /// What answers behind this load balancer.
    pub async fn answers(&self, url: &str) -> anyhow::Result<Vec<Arm>> {
        asked(url, |said| match said {
            STABLE => Some(Arm::Stable),
            CANDIDATE => Some(Arm::Candidate),
            _ => None,
        })
        .await
    }
}

/// A rule, and the two services.
pub struct Turns {
    ecs: Client,
    pub balancer: Balancer,
    blue: Side,
    green: Side,
    pub versions: Versions,
}

struct Side {
    name: String,
    arn: String,
}

impl Turns {
    /// Blue serves the stable version in one task, green has none.
    pub async fn make(world: &World, name: &str) -> anyhow::Result<Self> {
        let ecs = world.stack.ecs();
        let balancer = world.stack.balancer(name).await?;
        let versions = Versions::define(&ecs, name).await?;
        let side = async |side: &str, tasks, group: &str| {
            let name = format!("{name}-{side}");
            let rolling = DeploymentConfiguration::builder().build();
            let runs = (versions.stable.as_str(), tasks);
            let arn = make(&ecs, &name, runs, rolling, vec![behind(group)]).await?;
            anyhow::Ok(Side { name, arn })
        };
        Ok(Self {
            blue: side("blue", 1, &balancer.blue).await?,
            green: side("green", 0, &balancer.green).await?,
            ecs: ecs.clone(),
            balancer,
            versions,
        })
    }

    pub fn config(&self) -> String {
        let Balancer {
            rule, blue, green, ..
        } = &self.balancer;
        format!(
            "ecs-services: {{services: [{{service: \"{}\", target-group: \"{green}\"}}, \
             {{service: \"{}\", target-group: \"{blue}\"}}], rule: \"{rule}\", task-definition: \"{}\"}}",
            self.green.arn, self.blue.arn, self.versions.candidate
        )
    }

    /// Whose service has all the weight, once it alone has tasks.
    pub async fn live(&self, world: &World) -> anyhow::Result<Arm> {
        let versions = &self.versions;
        let (arm, serving, definition, idle) = match world.weights_of(&self.balancer).await? {
            (1, 0) => (Arm::Stable, &self.blue, &versions.stable, &self.green),
            (0, 1) => (Arm::Candidate, &self.green, &versions.candidate, &self.blue),
            weights => return Ok(Arm::Neither(format!("weights {weights:?}"))),
        };
        let is_down = |it: &Service| (it.desired_count(), it.running_count()) == (0, 0);
        until(&self.ecs, &idle.name, is_down).await?;
        until(&self.ecs, &serving.name, |it| runs(it, definition, 1)).await?;
        Ok(arm)
    }
}
