//! A listener rule that divides requests between two versions, each a real HTTP server.

use cli::stack::Balancer;

use crate::subject::{Arm, asked};
use crate::world::{Version, World};

/// The address of every target.
const HOST: &str = "127.0.0.1";

/// A rule with a load balancer of its own.
pub struct Rule {
    pub balancer: Balancer,
    /// The ports of the stable version and of the candidate.
    pub ports: (u16, u16),
}

impl Rule {
    /// Of which the stable version has all.
    pub async fn make(
        world: &World,
        name: &str,
        (stable, candidate): (&Version, &Version),
    ) -> anyhow::Result<Self> {
        let balancer = world.stack.balancer(name).await?;
        let elbv2 = world.stack.elbv2();
        for (group, version) in [(&balancer.blue, stable), (&balancer.green, candidate)] {
            version.register(&elbv2, group, HOST).await?;
        }
        let ports = (stable.port, candidate.port);
        Ok(Self { balancer, ports })
    }

    pub fn config(&self) -> String {
        let Balancer {
            rule, blue, green, ..
        } = &self.balancer;
        format!("alb-rule: {{rule: \"{rule}\", target-groups: [\"{green}\", \"{blue}\"]}}")
    }

    pub async fn live(&self, world: &World) -> anyhow::Result<Arm> {
        Ok(match world.weights_of(&self.balancer).await? {
            (1, 0) => Arm::Stable,
            (0, 1) => Arm::Candidate,
            weights => Arm::Neither(format!("weights {weights:?}")),
        })
    }

    pub async fn answers(&self) -> anyhow::Result<Vec<Arm>> {
        asked(&self.balancer.url, |port| match port.parse::<u16>() {
            Ok(port) if port == self.ports.0 => Some(Arm::Stable),
            Ok(port) if port == self.ports.1 => Some(Arm::Candidate),
            Ok(_) | Err(_) => None,
        })
        .await
    }
}
