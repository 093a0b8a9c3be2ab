//! What goes along with a release: a deployment of CodeDeploy, one of ECS, and a stage of the pipeline.

use aws::local::ecs::types::ServiceDeploymentStatus;
use cli::codedeploy::Deployment;
use release::Release;

use crate::services::Quiet;
use crate::world::{PIPELINE, STAGE, World};

/// CodeDeploy's group.
const GROUP: &str = "workers";
/// An ECS deployment that was stopped with its rollback.
const BACK: [ServiceDeploymentStatus; 2] = [
    ServiceDeploymentStatus::RollbackInProgress,
    ServiceDeploymentStatus::RollbackSuccessful,
];

/// Deployments that are under way until somebody stops them.
pub struct Company {
    /// CodeDeploy's application.
    application: String,
    /// The deployment in it.
    pub deployment: String,
    mailer: Quiet,
}

impl Company {
    /// Begins a deployment of an application of this name, and one of this service.
    pub async fn begin(world: &World, name: &str, mailer: Quiet) -> anyhow::Result<Self> {
        let application = format!("shop-{name}");
        mailer.deploy().await?;
        Ok(Self {
            deployment: world.stack.player().codedeploy().begin(&application, GROUP),
            application,
            mailer,
        })
    }

    /// What a release has under `rollback` in penstock.yaml.
    pub fn config(&self) -> String {
        let (application, mailer) = (&self.application, &self.mailer.arn);
        format!(
            "{{alongside: [\
             {{codedeploy: \"arn:aws:codedeploy:us-east-1:000000000000:deploymentgroup:{application}/{GROUP}\"}}, \
             {{ecs-service: \"{mailer}\"}}], \
             pipeline: {{disable-transition: \"arn:aws:codepipeline:us-east-1:000000000000:{PIPELINE}/{STAGE}\"}}}}"
        )
    }

    /// ECS's word that it goes back may come when another release is on its way: so no other has this
    /// service.
    pub async fn end(&self) -> anyhow::Result<()> {
        self.mailer.delete().await
    }

    /// All deployments of the application, oldest first.
    pub fn deployments(&self, world: &World) -> Vec<Deployment> {
        let all = world.stack.player().codedeploy().deployments().into_iter();
        all.filter(|it| it.application == self.application)
            .collect()
    }

    /// Waits until ECS goes back.
    pub async fn until_back(&self) -> anyhow::Result<()> {
        self.mailer.until_deployment(&BACK).await
    }
}

/// Why the stage that a release holds is closed, if it is.
pub fn closed(world: &World, release: &Release) -> Option<String> {
    let policy = release.plan().rollback.pipeline.as_ref()?;
    let (pipeline, stage) = (policy.stage().pipeline(), policy.stage().name());
    let transitions = world.stack.player().engine().transitions();
    Some(transitions.disabled(pipeline, stage)?.reason)
}
