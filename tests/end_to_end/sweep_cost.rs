//! What the sweep costs, by how many releases are active and by how many nobody looks after.

use std::time::Instant;

use anyhow::{Context, ensure};
use aws::local::lambda;
use aws::local::lambda::primitives::Blob;
use cli::stack::{Balancer, STACK};
use engine::{ReleaseLog, SWEEP_PAGE, begin};
use futures::{StreamExt, TryStreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use release::config::Config;
use release::{Arms, Event, Head, Outcome, Proof, Release, ReleaseId, Started, Weight};

use crate::Test;
use crate::world::{World, sweep_event};

pub const TESTS: &[Test] = &[
    (
        "a_sweep_reads_what_is_due_and_not_what_is_active",
        what_is_due,
    ),
    (
        "a_sweep_takes_back_what_nobody_looks_after",
        what_is_abandoned,
    ),
];

/// Set by `make bench-sweep`: how many releases are active, several numbers in ascending order.
const ACTIVE: &str = "PENSTOCK_ACTIVE";
/// The same: how many releases are due at once, several numbers.
const DUE: &str = "PENSTOCK_DUE";
/// How long ago their pipelines have asked.
const QUIET: SignedDuration = SignedDuration::from_mins(20);
/// Where each of them is.
const STEPS: &str = "[{set-weight: 50%}, {wait: 30m}, {set-weight: 100%}]";
/// How their names begin.
const PREFIX: &str = "active-";
/// Sweeps that are timed; the middle one is told.
const SWEEPS: usize = 15;
/// Releases that are begun at once.
const SIDE_BY_SIDE: usize = 16;

fn what_is_due(world: &World) -> anyhow::Result<()> {
    let counts = numbers(ACTIVE, "0,100")?;
    world.runtime.block_on(async {
        let mut begun = 0;
        println!("active releases, one sweep in ms, as a multiple of one read of the table");
        for count in counts {
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
            .map(async |number| end(world, &active(number)?).await)
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect::<()>()
            .await?;
        Ok(())
    })
}

fn numbers(variable: &str, otherwise: &str) -> anyhow::Result<Vec<usize>> {
    let text = std::env::var(variable).unwrap_or_else(|_| otherwise.to_owned());
    let numbers = text.split(',').map(str::parse);
    numbers
        .collect::<Result<_, _>>()
        .with_context(|| format!("{variable}={text}"))
}

/// Releases whose first weight is live, and whoever set it died before it could say so.
fn what_is_abandoned(world: &World) -> anyhow::Result<()> {
    let counts = numbers(DUE, "0,4")?;
    world.runtime.block_on(async {
        println!("due releases, one sweep in ms, each of them in ms, AWS requests of each");
        for count in counts {
            let releases = stream::iter(0..count)
                .map(async |_| {
                    let name = world.name("due");
                    let balancer = world.stack.balancer(&name).await?;
                    let id = ReleaseId::try_from(name)?;
                    let Balancer {
                        rule, blue, green, ..
                    } = &balancer;
                    balancer.divide(&world.stack.elbv2(), (1, 1)).await?;
                    let text = config([rule, blue, green], "10m", STEPS);
                    let mut started = started(&id, &text)?;
                    started.at = Timestamp::now() - QUIET;
                    started.arms = Arms {
                        stable: blue.clone(),
                        candidate: green.clone(),
                    };
                    begin(&world.aws, &id, started).await?;
                    anyhow::Ok((id, balancer))
                })
                .buffer_unordered(SIDE_BY_SIDE)
                .try_collect::<Vec<_>>()
                .await?;
            let before = requests(world)?;
            let watch = Instant::now();
            sweep(world).await?;
            let sweep_ms = watch.elapsed().as_secs_f64() * 1e3;
            let calls = requests(world)? - before;
            for (_, balancer) in &releases {
                let weights = world.weights_of(balancer).await?;
                ensure!(weights == (1, 0), "{weights:?}");
            }
            let of_each = |all: f64| all / count.max(1) as f64;
            println!(
                "{count:>6} {sweep_ms:>8.0} {:>8.1} {:>6.1}",
                of_each(sweep_ms),
                of_each(calls as f64)
            );
            for (id, _) in &releases {
                end(world, id).await?;
            }
        }
        Ok(())
    })
}

/// One run of the compiled function, as the schedule asks for it.
async fn sweep(world: &World) -> anyhow::Result<()> {
    let lambda = lambda::Client::new(world.stack.sdk());
    let invoke = lambda
        .invoke()
        .function_name(format!("{STACK}-rollback-trigger"))
        .payload(Blob::new(sweep_event("sweep-cost").to_string()));
    let answer = invoke.send().await?;
    let error = answer.function_error();
    ensure!(error.is_none(), "{error:?}: {:?}", answer.payload());
    Ok(())
}

/// How many AWS requests the functions have sent.
fn requests(world: &World) -> anyhow::Result<usize> {
    let recording = std::fs::read(world.stack.requests())?;
    Ok(recording.iter().filter(|byte| **byte == b'\n').count())
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
async fn end(world: &World, id: &ReleaseId) -> anyhow::Result<()> {
    let head: Head<Option<Release>> = world.aws.load(id).await?;
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
    world.aws.append(id, &head, &[ended]).await?;
    Ok(())
}

/// A release whose pipeline asks often enough.
async fn begin_somewhere(world: &World, number: usize) -> anyhow::Result<()> {
    let id = active(number)?;
    let arn = |kind: &str| {
        format!("arn:aws:elasticloadbalancing:us-east-1:000000000000:{kind}/x{number}/1")
    };
    let rule = format!("{}/2/3", arn("listener-rule/app"));
    let groups = ["blue", "green"].map(|side| arn(&format!("targetgroup/{side}")));
    let text = config([&rule, &groups[0], &groups[1]], "24h", "canary");
    begin(&world.aws, &id, started(&id, &text)?).await?;
    Ok(())
}

fn config([rule, blue, green]: [&str; 3], abandon_after: &str, steps: &str) -> String {
    format!(
        "version: 1\nreleases: {{web: {{target: {{alb-rule: {{rule: '{rule}', target-groups: \
         ['{blue}', '{green}']}}}}, abandon-after: {abandon_after}, steps: {steps}}}}}"
    )
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
