//! Many releases at once, half of them good and half of them not.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use engine::ReleaseLog;
use futures::future::join_all;
use futures::{StreamExt, stream};
use release::{Event, Release, ReleaseId};

use crate::Chaos;
use crate::lane::{Lane, Scenario};

/// Before the trace's root in a line of the recording, and how many digits of its end are the lane.
const INVOCATION: &str = "\"invocation\":\"";
const DIGITS: usize = 16;
/// So many lanes are set up at a time.
const SET_UP: usize = 16;
/// From one release's beginning to the next one's: a function that is started is a process, and a
/// laptop has only so many processors for them.
const BEGINS_EVERY: Duration = Duration::from_millis(500);
/// How long after the last one has begun the first one goes on.
const TOGETHER: Duration = Duration::from_secs(20);
/// CodePipeline's own, about.
const CONTINUATION_DELAY: Duration = Duration::from_secs(30);
const SCENARIOS: [Scenario; 8] = {
    use Scenario::{Alarmed, Judged, Quiet};
    [
        Quiet, Alarmed, Quiet, Alarmed, Quiet, Alarmed, Quiet, Judged,
    ]
};

pub fn crowd(chaos: &Chaos) -> anyhow::Result<()> {
    let engine = chaos.world.stack.player().engine();
    let usual = match chaos.extent.side_by_side {
        true => None,
        false => Some(engine.continue_after(CONTINUATION_DELAY)),
    };
    let crowd = chaos.world.runtime.block_on(together(chaos));
    usual.map(|usual| engine.continue_after(usual));
    let crowd = crowd?;
    println!(
        "{} releases at once, {} of them at the same moment: {:.1} s, {:.0} AWS requests each",
        crowd.releases,
        crowd.at_once,
        crowd.took.as_secs_f64(),
        crowd.requests as f64 / crowd.releases as f64,
    );
    ensure!(
        crowd.at_once * 4 > crowd.releases * 3,
        "they were not at once"
    );
    Ok(())
}

/// What releases that ran together took.
struct Crowd {
    releases: usize,
    /// The most that were active at one moment, by their logs.
    at_once: usize,
    took: Duration,
    /// AWS requests of all their functions.
    requests: usize,
}

async fn together(chaos: &Chaos) -> anyhow::Result<Crowd> {
    let releases = chaos.extent.crowd;
    let scenarios = SCENARIOS.iter().cycle().take(releases);
    let lanes = scenarios.map(|scenario| Lane::make(&chaos.world, &chaos.fleet, *scenario));
    let lanes: Vec<_> = stream::iter(lanes).buffer_unordered(SET_UP).collect().await;
    let mut lanes = lanes.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    let ramp = BEGINS_EVERY * u32::try_from(releases)?;
    lanes.iter_mut().for_each(|lane| lane.stay(ramp + TOGETHER));
    let began = Instant::now();
    let ran = (0..).zip(&lanes).map(async |(number, lane)| {
        tokio::time::sleep(BEGINS_EVERY * number).await;
        lane.run(&chaos.world).await
    });
    let ended = join_all(ran).await;
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
    let requests = requests(chaos, &lanes)?;
    for lane in lanes {
        chaos.fleet.take_back(lane);
    }
    Ok(Crowd {
        releases,
        at_once: at_once(chaos, &ids).await?,
        took,
        requests,
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

/// How many AWS requests the functions have sent for these lanes.
fn requests(chaos: &Chaos, lanes: &[Lane]) -> anyhow::Result<usize> {
    let recording = std::fs::read_to_string(chaos.world.stack.requests())?;
    let lanes: BTreeSet<_> = lanes.iter().map(|lane| lane.digits.as_str()).collect();
    let is_theirs = |line: &&str| {
        let invocation = line.split_once(INVOCATION).map(|(_, rest)| rest);
        let root = invocation.and_then(|rest| rest.split('"').next());
        let digits = root.and_then(|root| root.get(root.len().checked_sub(DIGITS)?..));
        digits.is_some_and(|digits| lanes.contains(digits))
    };
    Ok(recording.lines().filter(is_theirs).count())
}
