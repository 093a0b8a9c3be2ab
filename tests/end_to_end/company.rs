//! What goes along with a release, and goes back with it: deployments of CodeDeploy and of ECS, and the
//! stage of the pipeline.

use anyhow::{Context, ensure};
use aws::local::cloudwatch::types::StateValue;
use aws::local::ecs::types::ServiceDeploymentStatus;
use cli::codedeploy::Status as Deployed;
use cli::pipeline::event::Event;
use release::Release;

use crate::Test;
use crate::services::{Quiet, idle};
use crate::stage_rollback::{self, CANARY, stage, with_rollback};
use crate::world::{Action, STAGE, World};

pub const TESTS: &[Test] = &[
    (
        "the_company_of_a_release_that_goes_back_is_stopped_and_its_stage_closed",
        stopped_and_closed,
    ),
    (
        "the_company_of_a_release_that_goes_back_is_its_stage_too_which_is_rolled_back",
        stage_rollback::rolled_back,
    ),
];

fn stopped_and_closed(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let player = world.stack.player();
        let name = world.name("shop");
        let ecs = world.stack.ecs();
        let definitions = idle(&ecs, &name).await?;
        let mailer = Quiet::make_stuck(&ecs, &name, definitions).await?;
        mailer.deploy().await?;
        let workers = player.codedeploy().begin(&name, "workers");
        let group =
            format!("arn:aws:codedeploy:us-east-1:000000000000:deploymentgroup:{name}/workers");
        let config = with_rollback(
            &service,
            &format!(
                "{{alongside: [{{codedeploy: \"{group}\"}}, {{ecs-service: \"{}\"}}], \
                 pipeline: {{disable-transition: \"{}\"}}}}",
                mailer.arn,
                stage()
            ),
        );
        let mut due = true;
        let see = async |event: &Event| {
            if due && matches!(event, Event::ActionProgress { .. }) {
                due = false;
                world.set_alarm(&service.alarm, StateValue::Alarm).await?;
            }
            Ok(())
        };
        let actions = [Action::new(CANARY, "web")];
        let files = [("penstock.yaml", config.as_str())];
        let ran = service.under_load(world.run(&files, &actions, see)).await?;
        let alarm = format!("rolled back: alarm '{}' fired", service.alarm);
        ran.failed("JobFailed", &[&alarm])?;
        ensure!(world.weights(&service).await? == (1, 0));
        let release = world
            .release(ran.release.as_ref().context("it began")?)
            .await?;
        ensure!(release.left_behind.is_empty(), "{:?}", release.left_behind);

        let deployments = player.codedeploy().deployments();
        let of_it = deployments.iter().filter(|it| it.application == name);
        let of_it: Vec<_> = of_it
            .map(|it| (it.status, it.rolls_back.as_ref()))
            .collect();
        ensure!(of_it.len() == 2, "no rollback was stopped: {of_it:?}");
        ensure!(of_it[0] == (Deployed::Stopped, None), "{of_it:?}");
        ensure!(of_it[1].1 == Some(&workers), "{of_it:?}");
        let back = [
            ServiceDeploymentStatus::RollbackInProgress,
            ServiceDeploymentStatus::RollbackSuccessful,
        ];
        mailer.until_deployment(&back).await?;

        let disabled = player
            .engine()
            .transitions()
            .disabled(pipeline_of(&release)?, STAGE);
        let reason = disabled.context("the stage is open")?.reason;
        let said = format!("Penstock- release {} went back", release.started.release);
        ensure!(reason.starts_with(&said), "{reason}");
        ensure!(reason == release.transition_reason(), "{reason}");
        Ok(())
    })
}

fn pipeline_of(release: &Release) -> anyhow::Result<&str> {
    let policy = release.plan().rollback.pipeline.as_ref();
    Ok(policy.context("it has a policy")?.stage().pipeline())
}
