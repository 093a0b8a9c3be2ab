//! A pipeline's stage that is rolled back with a release.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws::local::cloudwatch::types::StateValue;
use cli::pipeline::event::Status;
use cli::pipeline::execution::{Execution, Repository, Start};
use cli::pipeline::submit::Submission;
use cli::run::Remote;
use release::{Phase, Release, ReleaseId};
use tempfile::TempDir;

use crate::world::{Action, PIPELINE, STAGE, Service, World, commit, declaration};

pub const CANARY: &str = "canary-shift";
/// For the bridge, the rule and the function; for the schedule, which comes once a minute, and again
/// for each call that fails for good; and for a release after that.
const OVER_WITHIN: Duration = Duration::from_secs(900);

/// The service's configuration, with this under `rollback`.
pub fn with_rollback(service: &Service, rollback: &str) -> String {
    let rollback = format!("    rollback: {rollback}\nhealth-checks:");
    service.config().replacen("health-checks:", &rollback, 1)
}

/// The stage of every pipeline here, whose name stands in for the pipeline's.
pub fn stage() -> String {
    format!("arn:aws:codepipeline:us-east-1:000000000000:{PIPELINE}/{STAGE}")
}

/// A second release goes back, and its stage with it, exactly once. Nobody but the schedule looks at a
/// release whose action has failed.
pub fn rolled_back(world: &World) -> anyhow::Result<()> {
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
            let told = message.rsplit_once("; release ");
            let (_, id) = told.with_context(|| format!("it names no release: {message}"))?;
            let release = over(world, &ReleaseId::try_from(id.to_owned())?).await?;
            let rollbacks = engine.executions(&pipeline);
            let rollbacks = rollbacks.iter().filter(|e| e.rollback.is_some());
            ensure!(rollbacks.count() == 1, "it is rolled back once");
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

/// The release, once it is over.
async fn over(world: &World, id: &ReleaseId) -> anyhow::Result<Release> {
    let over = async {
        loop {
            let release = world.release(id).await?;
            if !release.is_active() {
                return anyhow::Ok(release);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let over = tokio::time::timeout(OVER_WITHIN, over).await;
    over.with_context(|| format!("{id} is not over"))?
}
