//! How long it takes from an alarm to the stable weight: told to the event bus, or set at CloudWatch,
//! through the recorder, so that the recording has both ends of each rollback. `bench-rollback` reads it.

use anyhow::{Context, ensure};
use futures::future::join_all;

use crate::Chaos;
use crate::lane::{Lane, Scenario};
use crate::subject::Arm;

/// So many releases are brought to their weight at a time, and then turned round one after the other.
const BATCH: usize = 20;
/// Where the recording stays, in the project.
const KEPT: &str = "target/rollback-requests.jsonl";
/// From one alarm to the next, in seconds: no two rollbacks are under way at a time.
const PAUSE: f64 = 1.2;

pub fn timed(chaos: &Chaos) -> anyhow::Result<()> {
    let world = &chaos.world;
    for first in (0..chaos.extent.timed).step_by(BATCH) {
        let scenario = Scenario::Left;
        let left = world.runtime.block_on(async {
            let released = (0..BATCH).map(async |_| {
                let lane = Lane::make(world, &chaos.fleet, scenario).await?;
                let ran = lane.release(world).await?;
                anyhow::Ok((lane, ran))
            });
            let released = join_all(released).await.into_iter();
            released.collect::<anyhow::Result<Vec<_>>>()
        })?;
        let alarms: Vec<_> = left.iter().map(|(lane, _)| lane.alarm.as_str()).collect();
        tell(chaos, &alarms)?;
        world.runtime.block_on(async {
            for (lane, ran) in &left {
                let id = ran.release.as_ref().context("it is known")?;
                let release = world.release(id).await?;
                ensure!(
                    release.is_back() || !release.is_active(),
                    "{id} is not back"
                );
                ensure!(lane.subject.live(world).await? == Arm::Stable, "{id}");
            }
            anyhow::Ok(())
        })?;
        println!("{} of {}", first + BATCH, chaos.extent.timed);
    }
    let kept = world.project.join(KEPT);
    std::fs::copy(world.stack.requests(), kept).context("could not keep the recording")?;
    Ok(())
}

/// Of each two alarms the one fires, and of the other only the event is put.
fn tell(chaos: &Chaos, alarms: &[&str]) -> anyhow::Result<()> {
    let endpoint = chaos.world.stack.recorded_endpoint();
    let alarms = serde_json::to_string(alarms)?;
    let script = format!(
        "import boto3, datetime, json, time\n\
         events = boto3.client('events', endpoint_url='{endpoint}')\n\
         cloudwatch = boto3.client('cloudwatch', endpoint_url='{endpoint}')\n\
         for number, alarm in enumerate(json.loads('{alarms}')):\n\
         \x20   if number % 2:\n\
         \x20       cloudwatch.set_alarm_state(AlarmName=alarm, StateValue='ALARM', StateReason='timed')\n\
         \x20   else:\n\
         \x20       now = datetime.datetime.now(datetime.timezone.utc).isoformat()\n\
         \x20       state = {{'value': 'ALARM', 'reason': 'timed', 'timestamp': now}}\n\
         \x20       detail = json.dumps({{'alarmName': alarm, 'state': state}})\n\
         \x20       events.put_events(Entries=[{{'Source': 'local.cloudwatch',\n\
         \x20           'DetailType': 'CloudWatch Alarm State Change', 'Detail': detail}}])\n\
         \x20   time.sleep({PAUSE})\n\
         time.sleep(3)"
    );
    chaos.world.boto3(&script)?;
    Ok(())
}
