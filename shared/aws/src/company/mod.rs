//! What goes along with a release. One file a service, one line here.

mod codedeploy;
mod ecs;
mod stage;
#[cfg(test)]
mod tests;

use engine::{Company, PortError};
use release::config::{Alongside, StageArn};

use crate::Aws;

impl Company for Aws {
    async fn find(&self, alongside: &Alongside) -> Result<(), PortError> {
        match alongside {
            Alongside::Codedeploy(group) => codedeploy::find(self, group).await,
            Alongside::EcsService(service) => ecs::find(self, service).await,
        }
    }

    async fn stop(&self, alongside: &Alongside) -> Result<(), PortError> {
        match alongside {
            Alongside::Codedeploy(group) => codedeploy::stop(self, group).await,
            Alongside::EcsService(service) => ecs::stop(self, service).await,
        }
    }

    async fn close_stage(&self, stage: &StageArn, reason: &str) -> Result<(), PortError> {
        stage::close(self, stage, reason).await
    }

    async fn in_stage(&self, stage: &StageArn, execution: &str) -> Result<bool, PortError> {
        stage::runs(self, stage, execution).await
    }

    async fn roll_back_stage(&self, stage: &StageArn, execution: &str) -> Result<(), PortError> {
        stage::roll_back(self, stage, execution).await
    }
}
