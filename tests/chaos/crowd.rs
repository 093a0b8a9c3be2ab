//! Many releases at once, half of them good and half of them not.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engine::ReleaseLog;
use futures::{StreamExt, stream};
use release::{Event, Release, ReleaseId};

use crate::Chaos;
use crate::lane::{Lane, Scenario};

/// So many lanes are set up at a time.
const SET_UP: usize = 16;
const SCENARIOS: [Scenario; 4] = [
    Scenario::Quiet,
    Scenario::Alarmed,
    Scenario::Quiet,
    Scenario::Judged,
];

pub fn crowd(chaos: &Chaos) -> anyhow::Result<()> {
    chaos.world.runtime.block_on(async {
        let alone = together(chaos, 1).await?;
        let crowd = together(chaos, chaos.extent.crowd).await?;
        let calls = |of: &Crowd| of.requests as f64 / of.releases as f64;
        println!(
            "{} releases at once, {} of them at the same moment: {:.1} s, one alone {:.1} s; {:.0} requests each, alone {:.0}",
            crowd.releases, crowd.at_once, crowd.took.as_secs_f64(), alone.took.as_secs_f64(),
            calls(&crowd), calls(&alone),
        );
        ensure!(crowd.at_once * 2 > crowd.releases, "they were not at once");
        Ok(())
    })
}

/// What releases that ran together took.
struct Crowd {
    releases: usize,
    /// The most that were active at one moment, by their logs.
    at_once: usize,
    took: Duration,
    /// AWS requests of all functions.
    requests: usize,
}

async fn together(chaos: &Chaos, releases: usize) -> anyhow::Result<Crowd> {
    let scenarios = SCENARIOS.iter().cycle().take(releases);
    let lanes = scenarios.map(|scenario| Lane::make(&chaos.world, &chaos.fleet, *scenario));
    let lanes: Vec<_> = stream::iter(lanes).buffer_unordered(SET_UP).collect().await;
    let lanes = lanes.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let before = requests(chaos)?;
    let began = Instant::now();
    let ended = futures::future::join_all(lanes.iter().map(|lane| lane.run(&chaos.world))).await;
    let took = began.elapsed();
    let (mut broken, mut ids) = (Vec::new(), Vec::new());
    for (lane, ended) in lanes.iter().zip(ended) {
        match ended {
            Ok(ended) => {
                broken.extend(ended.broken);
                ids.push(ended.id);
            }
            Err(error) => broken.push(format!("{:?}: {error:#}", lane.scenario)),
        }
    }
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    for lane in lanes {
        chaos.fleet.take_back(lane);
    }
    Ok(Crowd {
        releases,
        at_once: at_once(chaos, &ids).await?,
        took,
        requests: requests(chaos)? - before,
    })
}

/// The most of these releases that were active at one moment.
async fn at_once(chaos: &Chaos, ids: &[ReleaseId]) -> anyhow::Result<usize> {
    let mut changes = Vec::new();
    for id in ids {
        let events = chaos.world.aws.events::<Option<Release>>(id).await?;
        let (first, last) = (events.first(), events.last());
        changes.push((first.map(Event::at).context("it began")?, 1));
        changes.push((last.map(Event::at).context("it ended")?, -1));
    }
    changes.sort();
    let (mut active, mut most) = (0_isize, 0);
    for (_, change) in changes {
        active += change;
        most = most.max(active);
    }
    Ok(most.unsigned_abs())
}

/// How many AWS requests the functions have sent.
fn requests(chaos: &Chaos) -> anyhow::Result<usize> {
    let recording = std::fs::read(chaos.world.stack.requests())?;
    Ok(recording.iter().filter(|byte| **byte == b'\n').count())
}
