//! What goes along with a release, and goes back with it: deployments of CodeDeploy and of ECS, and the
//! stage of the pipeline.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws::local::cloudwatch::types::StateValue;
use aws::local::ecs::types::ServiceDeploymentStatus;
use cli::codedeploy::Status as Deployed;
use cli::pipeline::event::{Event, Status};
use cli::pipeline::execution::{Execution, Repository, Start};
use cli::pipeline::submit::Submission;
use cli::run::Remote;
use release::{Phase, Release, ReleaseId};
use tempfile::TempDir;

use crate::Test;
use crate::services::{Quiet, idle};
use crate::world::{Action, PIPELINE, STAGE, Service, World, commit, declaration};

pub const TESTS: &[Test] = &[
    (
        "the_company_of_a_release_that_goes_back_is_stopped_and_its_stage_closed",
        stopped_and_closed,
    ),
    (
        "the_company_of_a_release_that_goes_back_is_its_stage_too_which_is_rolled_back",
        rolled_back,
    ),
];

const CANARY: &str = "canary-shift";
/// For the bridge, the rule and the function; for the schedule, which comes once a minute; and for
/// a release after that.
const OVER_WITHIN: Duration = Duration::from_secs(300);

/// The service's configuration, with this under `rollback`.
fn with_rollback(service: &Service, rollback: &str) -> String {
    let rollback = format!("    rollback: {rollback}\nhealth-checks:");
    service.config().replacen("health-checks:", &rollback, 1)
}

fn stage() -> String {
    format!("arn:aws:codepipeline:us-east-1:000000000000:{PIPELINE}/{STAGE}")
}

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

/// Nobody but the schedule looks at a release whose action has failed.
fn rolled_back(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let pipeline = world.name("pipeline");
        let stage = stage().replace(PIPELINE, &pipeline);
        let config = with_rollback(
            &service,
            &format!("{{pipeline: {{roll-back-stage: \"{stage}\"}}}}"),
        );
        let repository = TempDir::with_prefix("penstock-source-")?;
        commit(repository.path(), &[("penstock.yaml", &config)])?;
        let source = Repository {
            path: repository.path().to_owned(),
            revision: None,
        };
        let submission = Submission {
            declaration: declaration(&pipeline, &[Action::new(CANARY, "web")], None, false),
            sources: [("App".to_owned(), source)].into(),
            ..Submission::default()
        };
        let work = async {
            let engine = world.stack.player().engine();
            let remote = Remote::new(&world.stack.player().url())?;
            let first = remote.submit(&submission).await?;
            let first = engine.execution(&first.execution_id)?;
            ensure!(end(&first).await?.0 == Status::Succeeded, "green serves");
            ensure!(world.weights(&service).await? == (0, 1));

            commit(repository.path(), &[("penstock.yaml", &config)])?;
            let second = engine.start(&pipeline, Start::default())?;
            world.until_shifted(&service, &second).await?;
            world.set_alarm(&service.alarm, StateValue::Alarm).await?;
            let (status, message) = end(&second).await?;
            ensure!(status == Status::Failed, "it went back");
            ensure!(world.weights(&service).await? == (0, 1));

            let rollback = async {
                loop {
                    let all = engine.executions(&pipeline);
                    if let Some(rollback) = all.into_iter().find(|e| e.rollback.is_some()) {
                        return rollback;
                    }
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
            };
            let rollback = tokio::time::timeout(OVER_WITHIN, rollback).await;
            let rollback = rollback.context("the stage was not rolled back")?;
            let target = rollback.rollback.map(|rollback| rollback.target);
            ensure!(target == Some(first.id), "to what succeeded last");
            let (status, _) = end(&rollback).await?;
            ensure!(status == Status::Succeeded, "it is released again");
            ensure!(
                world.weights(&service).await? == (1, 0),
                "blue has the old version"
            );
            let rollbacks = engine.executions(&pipeline);
            let rollbacks = rollbacks.iter().filter(|e| e.rollback.is_some());
            ensure!(rollbacks.count() == 1, "it is rolled back once");
            let told = message.rsplit_once("; release ");
            let (_, id) = told.with_context(|| format!("it names no release: {message}"))?;
            let release = world.release(&ReleaseId::try_from(id.to_owned())?).await?;
            ensure!(release.phase == Phase::RolledBack, "{:?}", release.phase);
            ensure!(release.left_behind.is_empty(), "{:?}", release.left_behind);
            Ok(())
        };
        service.under_load(work).await
    })
}

/// How it ended, and why.
async fn end(execution: &Execution) -> anyhow::Result<(Status, String)> {
    let ended = tokio::time::timeout(OVER_WITHIN, execution.end()).await;
    let (status, message) = ended.context("the execution did not end")?;
    Ok((status, message.unwrap_or_default()))
}
