//! What releases are judged by, under real traffic.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws::local::cloudwatch::primitives::DateTime;
use aws::local::cloudwatch::types::{Dimension, MetricDatum};
use engine::{Clock, MetricSource};
use release::config::Config;

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
];

const CANARY: &str = "canary-shift";

fn slow(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        service.candidate.slows(50);
        let config = service.config();
        let actions = [Action::new(CANARY, "web")];
        let release = async {
            known_speed(world, &service).await?;
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
async fn known_speed(world: &World, service: &Service) -> anyhow::Result<()> {
    let config = Config::parse(&service.config())?;
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
