//! What the sweep reads, by how many releases are active.

use std::time::Instant;

use anyhow::{Context, ensure};
use engine::{ReleaseLog, SWEEP_PAGE, begin};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use release::config::Config;
use release::{Arms, Event, Head, Outcome, Proof, Release, ReleaseId, Started, Weight};

use crate::Test;
use crate::world::World;

pub const TESTS: &[Test] = &[(
    "a_sweep_reads_what_is_due_and_not_what_is_active",
    what_is_due,
)];

/// Set by `make bench-sweep`: how many releases are active, several numbers in ascending order.
const ACTIVE: &str = "PENSTOCK_ACTIVE";
/// How their names begin.
const PREFIX: &str = "active-";
/// Sweeps that are timed; the middle one is told.
const SWEEPS: usize = 15;
/// Releases that are begun at once.
const SIDE_BY_SIDE: usize = 16;

fn what_is_due(world: &World) -> anyhow::Result<()> {
    let active = std::env::var(ACTIVE).unwrap_or_else(|_| "0,100".to_owned());
    let active: Vec<usize> = active
        .split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    world.runtime.block_on(async {
        let mut begun = 0;
        println!("active releases, one sweep in ms, as a multiple of one read of the table");
        for count in active {
            stream::iter(begun..count)
                .map(|number| begin_somewhere(world, number))
                .buffer_unordered(SIDE_BY_SIDE)
                .try_collect::<()>()
                .await?;
            begun = begun.max(count);
            let (sweep_ms, read_ms) = (median(world, swept).await?, median(world, read).await?);
            println!("{begun:>6} {sweep_ms:>8.2} {:>6.1}", sweep_ms / read_ms);
        }
        stream::iter(0..begun)
            .map(|number| end(world, number))
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect::<()>()
            .await?;
        Ok(())
    })
}

/// All that a sweep reads when nothing is due. Other tests' releases may be; these are not.
async fn swept(world: &World) -> anyhow::Result<()> {
    let due = world.aws.due(Timestamp::now(), SWEEP_PAGE).await?;
    let mine = due.iter().filter(|due| due.id.as_str().starts_with(PREFIX));
    ensure!(mine.count() == 0, "{due:?}");
    Ok(())
}

async fn read(world: &World) -> anyhow::Result<()> {
    let nobody = release::TargetId("nobody".to_owned());
    ensure!(world.aws.holder(&nobody).await?.is_none());
    Ok(())
}

async fn median(
    world: &World,
    work: impl AsyncFn(&World) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..SWEEPS {
        let watch = Instant::now();
        work(world).await?;
        times.push(watch.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[SWEEPS / 2])
}

fn active(number: usize) -> anyhow::Result<ReleaseId> {
    Ok(ReleaseId::try_from(format!("{PREFIX}{number}"))?)
}

/// Gives back what such a release holds.
async fn end(world: &World, number: usize) -> anyhow::Result<()> {
    let id = active(number)?;
    let head: Head<Option<Release>> = world.aws.load(&id).await?;
    let proof = Proof {
        weight: Weight::ZERO,
        healthy_hosts: 0,
        candidate_requests: None,
    };
    let ended = Event::Ended {
        at: Timestamp::now(),
        outcome: Outcome::RolledBack,
        proof,
    };
    world.aws.append(&id, &head, &[ended]).await?;
    Ok(())
}

/// A release whose pipeline asks often enough.
async fn begin_somewhere(world: &World, number: usize) -> anyhow::Result<()> {
    let id = active(number)?;
    let arn = |kind: &str| {
        format!("arn:aws:elasticloadbalancing:us-east-1:000000000000:{kind}/x{number}/1")
    };
    let text = format!(
        "version: 1\nreleases: {{web: {{target: {{alb-rule: {{rule: '{}/2/3', target-groups: ['{}', \
         '{}']}}}}, abandon-after: 24h, steps: canary}}}}",
        arn("listener-rule/app"),
        arn("targetgroup/blue"),
        arn("targetgroup/green"),
    );
    begin(&world.aws, &id, started(&id, &text)?).await?;
    Ok(())
}

fn started(id: &ReleaseId, config: &str) -> anyhow::Result<Started> {
    let config = Config::parse(config).map_err(|e| anyhow::anyhow!(e.message))?;
    let plan = config.release(None).ok().context("it has one section")?.1;
    Ok(Started {
        at: Timestamp::now(),
        release: id.clone(),
        execution: None,
        pipeline: None,
        plan: plan.clone(),
        arms: Arms {
            stable: "blue".to_owned(),
            candidate: "green".to_owned(),
        },
        alarms_firing: [].into(),
        images: [].into(),
        warnings: Vec::new(),
        slower_than: [].into(),
        judge: None,
    })
}
