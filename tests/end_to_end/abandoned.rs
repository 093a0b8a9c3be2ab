//! A release whose pipeline nobody follows any more.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws::local::cloudwatch::types::StateValue;
use cli::pipeline::event::Event;
use release::{Phase, Reason, ReleaseId};

use crate::Test;
use crate::world::{Action, World};

pub const TESTS: &[Test] = &[(
    "an_alarm_takes_the_traffic_back_also_when_the_pipeline_was_abandoned",
    alarm,
)];

/// For the bridge, the rule, and the function.
const ROLLED_BACK_WITHIN: Duration = Duration::from_secs(60);

/// Nobody but rollback-trigger looks at this release from the moment that the alarm fires.
fn alarm(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config();
        let mut id = None;
        let see = async |event: &Event| {
            if let Event::ActionProgress {
                external_execution_id: Some(release),
                ..
            } = event
                && id.is_none()
            {
                let release = ReleaseId::try_from(release.clone())?;
                let started = world.release(&release).await?.started;
                let execution = started.execution.context("the action passed it")?;
                world.stack.player().engine().stop(&execution, true)?;
                id = Some(release);
            }
            Ok(())
        };
        let actions = [Action::new("canary-shift", "web")];
        let files = [("penstock.yaml", config.as_str())];
        service.under_load(world.run(&files, &actions, see)).await?;
        let id = id.context("the release began")?;
        // The abandoned job's second delivery may still be on its way.
        tokio::time::sleep(Duration::from_secs(2)).await;
        ensure!(world.release(&id).await?.phase == Phase::Shifting);
        world.set_alarm(&service.alarm, StateValue::Alarm).await?;
        let gone_back = async {
            while world.release(&id).await?.phase != Phase::RolledBack {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            anyhow::Ok(())
        };
        let gone_back = tokio::time::timeout(ROLLED_BACK_WITHIN, gone_back).await;
        gone_back.context("rollback-trigger did not roll back")??;
        ensure!(world.weights(&service).await? == (1, 0));
        let because = world.release(&id).await?.because;
        ensure!(
            matches!(because, Some(Reason::AlarmFired { .. })),
            "{because:?}"
        );
        Ok(())
    })
}
