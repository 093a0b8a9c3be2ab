//! Events that come again, late and in any order: beside the jobs that follow, after the end of their
//! release, and in the middle of the next release of the same target.

use std::time::Duration;

use anyhow::ensure;
use aws::local::cloudwatch::types::StateValue;
use cli::pipeline::engine::LateCopies;
use engine::Clock;
use futures::future::join_all;
use futures::join;
use jiff::Timestamp;

use crate::Chaos;
use crate::lane::{Lane, Scenario, trigger};
use crate::laws;

/// A release takes some ten seconds, so that copies come in the middle of the next one.
const LATE: LateCopies = LateCopies {
    copies: 3,
    within: Duration::from_secs(25),
};
/// From one copy of an alarm's event to the next.
const PAUSE: Duration = Duration::from_secs(1);
/// Two releases of one target, one after the other.
const SCENARIOS: [[Scenario; 2]; 2] = [
    [Scenario::Alarmed, Scenario::Promoted],
    [Scenario::Judged, Scenario::Judged],
];

pub fn late(chaos: &Chaos) -> anyhow::Result<()> {
    chaos.world.runtime.block_on(async {
        let engine = chaos.world.stack.player().engine();
        engine.deliver_late(Some(LATE));
        let scenarios = SCENARIOS.iter().cycle().take(chaos.extent.late);
        let lanes = join_all(scenarios.map(|scenarios| one_after_the_other(chaos, *scenarios)));
        let lanes = lanes.await;
        engine.deliver_late(None);
        let broken: Vec<_> = lanes.into_iter().flatten().collect();
        ensure!(broken.is_empty(), "{}", broken.join("\n"));
        println!(
            "{} targets, two releases each, every event {} times",
            chaos.extent.late,
            1 + LATE.copies
        );
        Ok(())
    })
}

/// While the second release is on its way, the first one's alarm is told again and again.
async fn one_after_the_other(chaos: &Chaos, scenarios: [Scenario; 2]) -> Vec<String> {
    let [first, second] = scenarios;
    let world = &chaos.world;
    let released = async {
        let mut lane = Lane::make(world, &chaos.fleet, first).await?;
        let mut ended = vec![lane.run(world).await?];
        let fired = world.aws.now();
        world.set_alarm(&lane.alarm, StateValue::Ok).await?;
        lane.scenario = second;
        let (next, told) = join!(lane.run(world), tell_again(chaos, &lane, fired));
        told?;
        ended.push(next?);
        // What is still on its way finds a release that is over.
        tokio::time::sleep(LATE.within).await;
        let mut broken = Vec::new();
        for ended in &ended[..1] {
            broken.extend(ended.broken.clone());
        }
        if let Some(last) = ended.last() {
            broken.extend(laws::broken(world, &lane, &last.id, &last.ending).await?);
        }
        anyhow::Ok(broken)
    };
    let broken = released.await;
    broken.unwrap_or_else(|error| vec![format!("{scenarios:?}: {error:#}")])
}

/// The event of an alarm that fired at this time, as often as a release has seconds.
async fn tell_again(chaos: &Chaos, lane: &Lane, fired: Timestamp) -> anyhow::Result<()> {
    let event = serde_json::json!({
        "version": "0",
        "id": "00000000-0000-0000-0000-000000000000",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "local.cloudwatch",
        "account": "000000000000",
        "time": fired.to_string(),
        "region": "us-east-1",
        "resources": [format!("arn:aws:cloudwatch:us-east-1:000000000000:alarm:{}", lane.alarm)],
        "detail": {
            "alarmName": lane.alarm,
            "state": {"value": "ALARM", "reason": "long ago", "timestamp": fired.to_string()},
        },
    });
    for _ in 0..LATE.within.as_secs() {
        trigger(&chaos.world, &event).await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}
