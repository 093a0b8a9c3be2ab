//! What releases are judged by, under real traffic.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws::local::cloudwatch::primitives::DateTime;
use aws::local::cloudwatch::types::{Dimension, MetricDatum};
use engine::{Clock, MetricSource, ReleaseLog};
use release::account::Account;
use release::config::Config;
use release::{Phase, Reason, Release};
use stats::Verdict;

use crate::Test;
use crate::world::{Action, Ran, Service, World, nothing};

pub const TESTS: &[Test] = &[
    (
        "a_slow_version_goes_back_though_it_answers_everything",
        slow,
    ),
    (
        "a_version_that_is_worse_by_a_teams_own_metric_goes_back",
        own_metric,
    ),
    ("every_verdict_is_reached_by_real_traffic", every_verdict),
];

const CANARY: &str = "canary-shift";

fn slow(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        service.candidate.slows(50);
        let metrics = "    metrics: {errors: , 'slow:p90': , 'slow:p99': }\n    window: 1s";
        let config = service.config().replacen("    window: 1s", metrics, 1);
        let actions = [Action::new(CANARY, "web")];
        let release = async {
            known_speed(world, &service, &config).await?;
            world
                .run(&[("penstock.yaml", &config)], &actions, nothing)
                .await
        };
        let ran = service.under_load(release).await?;
        ran.failed(
            "JobFailed",
            &["rolled back: the candidate is worse: slow:p9", "evidence"],
        )?;
        ensure!(world.weights(&service).await? == (1, 0));
        let release = world.release(&ran.release.context("it has an id")?).await?;
        let errors = release
            .judge
            .metric("errors")
            .context("errors were judged")?;
        ensure!(errors.canary().count > 0 && errors.canary().bad == 0);
        Ok(())
    })
}

/// Waits until CloudWatch knows how fast the stable version is.
async fn known_speed(world: &World, service: &Service, config: &str) -> anyhow::Result<()> {
    let config = Config::parse(config)?;
    let (_, plan) = config.release(None)?;
    let percentiles = plan.metrics.percentiles();
    for _ in 0..100 {
        let (stable, now) = (&service.balancer.blue, world.aws.now());
        let known = world
            .aws
            .percentiles(&plan.target, stable, &percentiles, now)
            .await?;
        if known.len() == percentiles.len() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    anyhow::bail!("nobody knows how fast the stable version is")
}

fn own_metric(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let query = |metric: &str| {
            format!("{{namespace: Shop, metric: {metric}, dimensions: {{Version: '${{version}}'}}}}")
        };
        let metrics = format!(
            "    metrics:\n      errors:\n      payments:\n        total: {}\n        bad: {}\n    window: 1s",
            query("Payments"),
            query("PaymentsFailed"),
        );
        let config = service.config().replacen("    window: 1s", &metrics, 1);
        let actions = [Action::new(CANARY, "web")];
        let payments = publish_payments(world, &service);
        let files = [("penstock.yaml", config.as_str())];
        let run = world.run(&files, &actions, nothing);
        let ran = tokio::select! {
            ended = payments => ended?,
            ran = service.under_load(run) => ran?,
        };
        ran.failed(
            "JobFailed",
            &["rolled back: the candidate is worse: payments ", "against none"],
        )?;
        let release = world.release(&ran.release.context("it has an id")?).await?;
        let errors = release.judge.metric("errors").context("errors were judged")?;
        ensure!(errors.canary().bad == 0 && errors.baseline().bad == 0);
        ensure!(world.weights(&service).await? == (1, 0));
        Ok(())
    })
}

fn every_verdict(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        // The same failures in both versions, and many: it takes few requests to show that.
        let same = Failing {
            stable: 30,
            candidate: 30,
            step: "{set-weight: 50%}, {judge: {windows: 60}}",
        };
        let worse = Failing {
            stable: 20,
            candidate: 35,
            step: "{set-weight: 10%}, {judge: {windows: 60}}",
        };
        let fine = Failing {
            stable: 0,
            candidate: 0,
            step: "{set-weight: 10%}, {judge: {windows: 4}}",
        };
        let (same, worse, fine) = tokio::try_join!(
            judged(world, &same),
            judged(world, &worse),
            judged(world, &fine)
        )?;
        for (account, phase, expected) in [
            (
                &same,
                Phase::Promoted,
                [Verdict::Inconclusive, Verdict::Promote],
            ),
            (
                &worse,
                Phase::RolledBack,
                [Verdict::Hold, Verdict::Rollback],
            ),
            (
                &fine,
                Phase::Promoted,
                [Verdict::Inconclusive, Verdict::Continue],
            ),
        ] {
            let verdicts: Vec<_> = account.windows.iter().map(|w| w.verdict).collect();
            ensure!(
                account.end.phase == phase,
                "{:?} {verdicts:?}",
                account.end.because
            );
            for verdict in expected {
                ensure!(verdicts.contains(&verdict), "no {verdict:?}: {verdicts:?}");
            }
        }
        let early = same
            .moments
            .iter()
            .any(|moment| matches!(moment.because, Some(Reason::EarlyPromotion { .. })));
        ensure!(early && same.windows.len() < 60, "{:#?}", same.moments);
        Ok(())
    })
}

/// How many percent of the purchases fail at each version, and how long the candidate is judged.
struct Failing {
    stable: u32,
    candidate: u32,
    step: &'static str,
}

/// The account of a release of such versions under real traffic.
async fn judged(world: &World, failing: &Failing) -> anyhow::Result<Account> {
    let service = world.service().await?;
    service.stable.fails(failing.stable);
    service.candidate.fails(failing.candidate);
    let config = service.config();
    let planned = config.lines().find(|line| line.contains("steps:"));
    let planned = planned.context("the configuration has steps")?.trim();
    let steps = format!("steps: [{}, {{set-weight: 100%}}]", failing.step);
    let config = config.replacen(planned, &steps, 1);
    let (files, actions) = (
        [("penstock.yaml", config.as_str())],
        [Action::new(CANARY, "web")],
    );
    let run = world.run(&files, &actions, nothing);
    let ran = service.under_load(run).await?;
    let id = ran.release.context("it has an id")?;
    let events = world.aws.events::<Option<Release>>(&id).await?;
    Account::of(&events).context("the log begins with the release's beginning")
}

/// Says for each second, as the shop itself would, how many payments each version took and lost.
async fn publish_payments(world: &World, service: &Service) -> anyhow::Result<Ran> {
    let name = |arn: &str| arn.split('/').nth(1).map(str::to_owned).context("an ARN");
    let versions = [
        (name(&service.balancer.blue)?, 0.0),
        (name(&service.balancer.green)?, 30.0),
    ];
    loop {
        let now = DateTime::from_secs(world.aws.now().as_second());
        let data = versions.iter().flat_map(|(version, failed)| {
            let dimension = Dimension::builder().name("Version").value(version).build();
            [("Payments", 100.0), ("PaymentsFailed", *failed)].map(|(metric, value)| {
                MetricDatum::builder()
                    .metric_name(metric)
                    .dimensions(dimension.clone())
                    .timestamp(now)
                    .value(value)
                    .storage_resolution(1)
                    .build()
            })
        });
        let put = world.cloudwatch.put_metric_data().namespace("Shop");
        put.set_metric_data(Some(data.collect())).send().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
