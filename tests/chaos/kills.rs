//! Releases while their functions are killed in the middle.

use std::time::Duration;

use anyhow::ensure;
use fastrand::Rng;
use futures::{StreamExt, stream};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::Chaos;
use crate::lane::{Ended, Lane, Scenario};

/// So many releases at a time.
const LANES: usize = 20;
/// From one kill to the next, in milliseconds.
const PAUSE_MS: std::ops::Range<u64> = 500..2_500;
/// So many for each release: what is killed forever never ends.
const KILLS_EACH: usize = 5;
/// Of so many releases some are surely met while a function of theirs is at work: a function that has
/// just used the processor may have answered before the signal reaches it.
const SURELY_AT_WORK: usize = 50;
/// Who has used the processor within this time is at work.
const WATCHED: Duration = Duration::from_millis(30);
/// What the emulator says of a function that went away while it was at work.
const DIED_AT_WORK: &str = "Warm provided-runtime execution error";

pub fn killed(chaos: &Chaos) -> anyhow::Result<()> {
    chaos.world.runtime.block_on(async {
        let before = died_at_work(chaos)?;
        let scenarios = chaos
            .extent
            .killed_scenarios
            .iter()
            .cycle()
            .take(chaos.extent.killed);
        let releases = scenarios.map(|scenario| release(chaos, *scenario));
        let releases = stream::iter(releases)
            .buffer_unordered(LANES)
            .collect::<Vec<_>>();
        let mut kills = 0;
        let ended = tokio::select! {
            ended = releases => ended,
            () = keep_killing(chaos, &mut kills) => Vec::new(),
        };
        let at_work = died_at_work(chaos)? - before;
        println!(
            "{} releases, {kills} kills, {at_work} of them of functions at work",
            ended.len()
        );
        let broken: Vec<_> = ended.into_iter().flatten().collect();
        ensure!(broken.is_empty(), "{}", broken.join("\n"));
        ensure!(kills > 0, "nothing was killed");
        let is_sure = chaos.extent.killed >= SURELY_AT_WORK;
        ensure!(at_work > 0 || !is_sure, "nothing was killed at work");
        Ok(())
    })
}

/// Never ends, but kills no more once it has killed often enough.
async fn keep_killing(chaos: &Chaos, kills: &mut usize) {
    let mut rng = Rng::with_seed(chaos.seed.wrapping_add(2));
    let enough = chaos.extent.killed * KILLS_EACH;
    while *kills < enough {
        tokio::time::sleep(Duration::from_millis(rng.u64(PAUSE_MS))).await;
        let pids = chaos.world.stack.function_processes();
        let before: Vec<_> = pids.into_iter().map(|pid| (pid, ticks(pid))).collect();
        tokio::time::sleep(WATCHED).await;
        let at_work = before.into_iter().filter(|(pid, then)| ticks(*pid) > *then);
        let at_work: Vec<_> = at_work.collect();
        if let Some((pid, _)) = rng.choice(&at_work)
            && kill(*pid, Signal::SIGKILL).is_ok()
        {
            *kills += 1;
        }
    }
    std::future::pending().await
}

/// The processor time that a process has used; `None` when it is gone.
fn ticks(pid: Pid) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    let mut times = after.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(user + system)
}

async fn release(chaos: &Chaos, scenario: Scenario) -> Vec<String> {
    let released = async {
        let lane = Lane::make(&chaos.world, &chaos.fleet, scenario).await?;
        let ended = lane.run(&chaos.world).await?;
        if ended.broken.is_empty() {
            chaos.fleet.take_back(lane);
        }
        anyhow::Ok(ended)
    };
    match released.await {
        Ok(Ended { broken, .. }) => broken,
        Err(error) => vec![format!("{scenario:?}: {error:#}")],
    }
}

fn died_at_work(chaos: &Chaos) -> anyhow::Result<usize> {
    let log = std::fs::read_to_string(chaos.world.stack.emulator_log())?;
    Ok(log
        .lines()
        .filter(|line| line.contains(DIED_AT_WORK))
        .count())
}
