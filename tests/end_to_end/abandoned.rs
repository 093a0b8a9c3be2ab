//! A release whose pipeline nobody follows any more.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws::local::cloudwatch::types::StateValue;
use cli::pipeline::event::Event;
use engine::ReleaseLog;
use release::config::Step;
use release::{Phase, Reason, Release, ReleaseId, Weight};

use crate::Test;
use crate::world::{Action, World};

pub const TESTS: &[Test] = &[
    (
        "an_alarm_takes_the_traffic_back_also_when_the_pipeline_was_abandoned",
        alarm,
    ),
    (
        "a_release_whose_pipeline_went_quiet_goes_back_by_the_sweep_alone",
        quiet,
    ),
    (
        "a_watch_that_the_pipeline_no_longer_follows_is_closed_by_the_sweep",
        watched,
    ),
];

/// For the bridge, the rule and the function; or for the schedule, which comes once a minute.
const OVER_WITHIN: Duration = Duration::from_secs(240);

/// Runs a release, and abandons its pipeline as soon as the release `is_far_enough`.
async fn abandoned(
    world: &World,
    config: &str,
    is_far_enough: impl Fn(&Release) -> bool,
) -> anyhow::Result<ReleaseId> {
    let mut id = None;
    let see = async |event: &Event| {
        if let Event::ActionProgress {
            external_execution_id: Some(release),
            ..
        } = event
            && id.is_none()
        {
            let release_id = ReleaseId::try_from(release.clone())?;
            let release = world.release(&release_id).await?;
            if is_far_enough(&release) {
                let execution = release.started.execution.context("the action passed it")?;
                world.stack.player().engine().stop(&execution, true)?;
                id = Some(release_id);
            }
        }
        Ok(())
    };
    let actions = [Action::new("canary-shift", "web")];
    world
        .run(&[("penstock.yaml", config)], &actions, see)
        .await?;
    // The abandoned job's second delivery may still be on its way.
    tokio::time::sleep(Duration::from_secs(2)).await;
    id.context("the release did not come so far")
}

/// Nobody but the schedule looks at this release once its pipeline is gone.
fn quiet(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service
            .config()
            .replace("    patience:", "    abandon-after: 3s\n    patience:");
        let config = config.replace("{judge: {windows: 3}}", "{wait: 10m}");
        let has_traffic = |release: &Release| release.weight > Weight::ZERO;
        let work = async {
            let id = abandoned(world, &config, has_traffic).await?;
            ensure!(
                world.weights(&service).await?.1 > 0,
                "it went back before it was quiet"
            );
            world.ended(&id, OVER_WITHIN).await.context("by the sweep")
        };
        let release = service.under_load(work).await?;
        ensure!(release.phase == Phase::RolledBack, "{:?}", release.phase);
        ensure!(world.weights(&service).await? == (1, 0));
        ensure!(
            matches!(release.because, Some(Reason::Abandoned { .. })),
            "{:?}",
            release.because
        );
        let left = world.aws.due(jiff::Timestamp::MAX, 1_000).await?;
        ensure!(left.iter().all(|due| due.id != release.started.release));
        Ok(())
    })
}

/// Once the candidate serves nearly everything and is only watched, nobody has to go back for want
/// of a pipeline: the sweep judges on.
fn watched(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config().replace(
            "    patience:",
            "    abandon-after: 3s\n    watch: {for: 8s, tail: 10%}\n    patience:",
        );
        let is_watched = |release: &Release| matches!(release.current_step(), Some(Step::Watch(_)));
        let work = async {
            let id = abandoned(world, &config, is_watched).await?;
            ensure!(
                world.release(&id).await?.is_active(),
                "it was over before its pipeline was"
            );
            world.ended(&id, OVER_WITHIN).await.context("by the sweep")
        };
        let release = service.under_load(work).await?;
        ensure!(release.phase == Phase::Promoted, "{:?}", release.because);
        ensure!(world.weights(&service).await?.0 == 0);
        Ok(())
    })
}

/// Nobody but rollback-trigger looks at this release from the moment that the alarm fires.
fn alarm(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config();
        let begun = abandoned(world, &config, |_| true);
        let id = service.under_load(begun).await?;
        ensure!(world.release(&id).await?.phase == Phase::Shifting);
        world.set_alarm(&service.alarm, StateValue::Alarm).await?;
        world
            .ended(&id, OVER_WITHIN)
            .await
            .context("by rollback-trigger")?;
        ensure!(world.weights(&service).await? == (1, 0));
        let because = world.release(&id).await?.because;
        ensure!(
            matches!(because, Some(Reason::AlarmFired { .. })),
            "{because:?}"
        );
        Ok(())
    })
}
