//! An ECS service that has one version at a time.

use aws::local::ecs::types::DeploymentConfiguration;

use crate::services::{Quiet, idle};
use crate::subject::Arm;
use crate::world::World;

/// A service of one task that ECS moves from task definition to task definition.
pub struct Rolling(Quiet);

impl Rolling {
    /// Runs the stable version.
    pub async fn make(world: &World, name: &str) -> anyhow::Result<Self> {
        let rolling = DeploymentConfiguration::builder().build();
        let ecs = world.stack.ecs();
        let definitions = idle(&ecs, name).await?;
        Ok(Self(Quiet::make(&ecs, name, definitions, rolling).await?))
    }

    pub fn config(&self) -> String {
        let Quiet { arn, candidate, .. } = &self.0;
        format!("ecs-rolling: {{service: \"{arn}\", task-definition: \"{candidate}\"}}")
    }

    pub fn target(&self) -> String {
        self.0.arn.clone()
    }

    /// Once ECS has done what it was told.
    pub async fn live(&self) -> anyhow::Result<Arm> {
        Ok(self.arm(self.0.until_settled().await?))
    }

    /// Nobody sends its tasks requests; but they are there, or not.
    pub async fn answers(&self) -> anyhow::Result<Vec<Arm>> {
        let running = self.0.running().await?;
        Ok(running.into_iter().map(|it| self.arm(it)).collect())
    }

    fn arm(&self, definition: String) -> Arm {
        match definition {
            it if it == self.0.stable => Arm::Stable,
            it if it == self.0.candidate => Arm::Candidate,
            other => Arm::Neither(other),
        }
    }
}
