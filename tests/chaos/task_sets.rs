//! An ECS service behind a rule whose candidate is a task set that a release makes.

use aws::local::ecs::Client;
use cli::stack::Balancer;

use crate::services::{CONTAINER, PORT, behind, is_alone_in, make_with_task_set, until};
use crate::subject::Arm;
use crate::turns::Versions;
use crate::world::World;

/// A rule, and the service.
pub struct TaskSets {
    ecs: Client,
    pub balancer: Balancer,
    name: String,
    arn: String,
    pub versions: Versions,
}

impl TaskSets {
    /// Whose one task set serves the stable version in one task.
    pub async fn make(world: &World, name: &str) -> anyhow::Result<Self> {
        let ecs = world.stack.ecs();
        let balancer = world.stack.balancer(name).await?;
        let versions = Versions::define(&ecs, name).await?;
        let to_blue = behind(&balancer.blue);
        Ok(Self {
            arn: make_with_task_set(&ecs, name, (&versions.stable, 1), to_blue).await?,
            name: name.to_owned(),
            ecs,
            balancer,
            versions,
        })
    }

    pub fn config(&self) -> String {
        let Balancer {
            rule, blue, green, ..
        } = &self.balancer;
        let (service, candidate) = (&self.arn, &self.versions.candidate);
        format!(
            "ecs-task-sets: {{service: \"{service}\", rule: \"{rule}\", target-groups: [\"{blue}\", \"{green}\"], \
             task-definition: \"{candidate}\", container: {CONTAINER}, port: {PORT}}}"
        )
    }

    /// Which version has all the weight, once its task set is the only one.
    pub async fn live(&self, world: &World) -> anyhow::Result<Arm> {
        let (arm, definition) = match world.weights_of(&self.balancer).await? {
            (1, 0) => (Arm::Stable, &self.versions.stable),
            (0, 1) => (Arm::Candidate, &self.versions.candidate),
            weights => return Ok(Arm::Neither(format!("weights {weights:?}"))),
        };
        until(&self.ecs, &self.name, |it| is_alone_in(it, definition, 1)).await?;
        Ok(arm)
    }
}
