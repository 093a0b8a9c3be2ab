//! Releases on ECS: services, task sets and rolling services whose tasks are real processes behind the
//! player's load balancer.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws::local::cloudwatch::types::StateValue;
use aws::local::ecs;
use aws::local::ecs::types::{
    DeploymentCircuitBreaker, DeploymentConfiguration, DeploymentStrategy, Service,
};
use cli::load::{self, Load};
use cli::pipeline::event::Event;
use cli::stack::Balancer;
use release::{Phase, Reason};

use crate::Test;
use crate::services::{self, CLUSTER, CONTAINER, PORT, SERVER, behind, is_alone_in, runs};
use crate::world::{Action, Ran, World, nothing};

pub const TESTS: &[Test] = &[
    (
        "the_idle_service_is_put_up_promoted_and_the_old_one_scaled_down",
        services_good,
    ),
    (
        "a_version_that_fails_more_often_in_the_idle_service_goes_back_and_down_again",
        services_bad,
    ),
    (
        "a_service_that_never_becomes_healthy_gets_no_request_and_is_taken_down",
        services_never_ready,
    ),
    (
        "a_service_whose_deployment_ecs_gives_up_is_taken_down_by_ecs_own_event",
        services_given_up,
    ),
    (
        "a_task_set_is_made_promoted_and_the_old_one_deleted",
        task_sets_good,
    ),
    (
        "a_task_set_that_fails_more_often_goes_back_and_is_deleted",
        task_sets_bad,
    ),
    (
        "a_rolling_service_is_promoted_once_ecs_has_rolled_it_out",
        rolling_good,
    ),
    (
        "an_alarm_puts_the_task_definition_before_back_on_a_rolling_service",
        rolling_alarm,
    ),
    (
        "a_rolling_service_that_ecs_itself_puts_back_is_a_release_that_went_back",
        rolling_breaker,
    ),
    (
        "a_service_with_a_strategy_of_ecs_own_is_refused_with_the_advice_to_use_its_hooks",
        native_strategy,
    ),
];

const CANARY: &str = "canary-shift";
/// Tasks of what serves.
const TASKS: i32 = 2;
/// Requests a second while a release runs; tasks are Python.
const RPS: u32 = 60;

/// A shop on ECS: its load balancer, and the family of its task definitions.
struct Shop<'a> {
    world: &'a World,
    name: String,
    ecs: ecs::Client,
    balancer: Balancer,
    alarm: String,
}

impl<'a> Shop<'a> {
    async fn open(world: &'a World) -> anyhow::Result<Self> {
        let name = world.name("shop");
        let ecs = world.stack.ecs();
        // There is one already, or it is made.
        ecs.create_cluster().cluster_name(CLUSTER).send().await?;
        let alarm = format!("{name}-alarm");
        world.make_alarm(&alarm).await?;
        Ok(Self {
            world,
            ecs,
            balancer: world.stack.balancer(&name).await?,
            name,
            alarm,
        })
    }

    /// Registers a version that fails so many percent of its purchases; its ARN.
    async fn version(&self, fails: u32) -> anyhow::Result<String> {
        self.define(fails, 200, &["python3", "-c", SERVER]).await
    }

    async fn define(&self, fails: u32, health: u32, command: &[&str]) -> anyhow::Result<String> {
        let (fails, health) = (fails.to_string(), health.to_string());
        let variables = [("FAILS", fails.as_str()), ("HEALTH", &health)];
        services::define(&self.ecs, &self.name, &variables, command).await
    }

    /// A service of so many tasks, once they serve; its ARN.
    async fn service(
        &self,
        name: &str,
        definition: &str,
        tasks: i32,
        configuration: DeploymentConfiguration,
        group: &str,
    ) -> anyhow::Result<String> {
        let balancers = vec![behind(group)];
        services::make(
            &self.ecs,
            name,
            (definition, tasks),
            configuration,
            balancers,
        )
        .await
    }

    async fn described(&self, name: &str) -> anyhow::Result<Service> {
        services::described(&self.ecs, name).await
    }

    async fn until(&self, name: &str, is_so: impl Fn(&Service) -> bool) -> anyhow::Result<Service> {
        services::until(&self.ecs, name, is_so).await
    }

    /// Blue serves this version in two tasks, green has nothing.
    async fn blue_and_green(&self, definition: &str) -> anyhow::Result<Pair> {
        let (blue, green) = (
            format!("{}-blue", self.name),
            format!("{}-green", self.name),
        );
        let rolling = || DeploymentConfiguration::builder().build();
        let Balancer {
            blue: to_blue,
            green: to_green,
            ..
        } = &self.balancer;
        Ok(Pair {
            blue_arn: self
                .service(&blue, definition, TASKS, rolling(), to_blue)
                .await?,
            green_arn: self
                .service(&green, definition, 0, rolling(), to_green)
                .await?,
            blue,
            green,
        })
    }

    /// Its penstock.yaml: quick steps, one-second windows.
    fn config(&self, target: &str) -> String {
        self.with_steps(
            target,
            "[{set-weight: 20%}, {judge: {windows: 2}}, {set-weight: 50%}, {judge: {windows: 2}}, {set-weight: 100%}]",
        )
    }

    fn with_steps(&self, target: &str, steps: &str) -> String {
        let alarm = &self.alarm;
        format!(
            "version: 1\nreleases:\n  shop:\n    target:\n      {target}\n    steps: {steps}\n\
             \x20   window: 1s\n    settle: 2s\n    patience: 40s\n    retire-after: 3s\n    alarms: [{alarm}]\n"
        )
    }

    /// The target of two services; the version stands in a file.
    fn services_target(&self, pair: &Pair) -> String {
        let Balancer {
            rule, blue, green, ..
        } = &self.balancer;
        format!(
            "ecs-services: {{services: [{{service: \"{}\", target-group: \"{green}\"}}, {{service: \"{}\", \
             target-group: \"{blue}\"}}], rule: \"{rule}\", task-definition: {{file: td.txt}}}}",
            pair.green_arn, pair.blue_arn
        )
    }

    /// Releases this version under load.
    async fn release(&self, config: &str, version: &str) -> anyhow::Result<Ran> {
        self.release_and(config, version, nothing).await
    }

    async fn release_and(
        &self,
        config: &str,
        version: &str,
        see: impl AsyncFnMut(&Event) -> anyhow::Result<()>,
    ) -> anyhow::Result<Ran> {
        let files = [("penstock.yaml", config), ("td.txt", version)];
        let actions = [Action::new(CANARY, "shop")];
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let load = Load {
            url: format!("{}/buy", self.balancer.url).parse()?,
            rps: RPS.try_into()?,
            duration: Duration::from_secs(300),
        };
        let load = tokio::spawn(load::run(load, async {
            let _told_or_dropped = stopped.await;
        }));
        let ran = self.world.run(&files, &actions, see).await;
        let _load_is_over = stop.send(());
        load.await??;
        ran
    }

    /// The live weights of blue and green.
    async fn weights(&self) -> anyhow::Result<(i32, i32)> {
        self.world.weights_of(&self.balancer).await
    }

    async fn phase(&self, ran: &Ran) -> anyhow::Result<(Phase, Option<Reason>)> {
        let id = ran.release.clone().context("it has an id")?;
        let release = self.world.release(&id).await?;
        Ok((release.phase, release.because))
    }
}

/// Two services that take turns, by name and ARN.
struct Pair {
    blue: String,
    green: String,
    blue_arn: String,
    green_arn: String,
}

fn services_good(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let shop = Shop::open(world).await?;
        let pair = shop.blue_and_green(&shop.version(0).await?).await?;
        let config = shop.config(&shop.services_target(&pair));
        let new = shop.version(0).await?;
        let ran = shop.release(&config, &new).await?;
        ran.succeeded()?;
        ensure!(shop.weights().await? == (0, 1), "green serves");
        shop.until(&pair.green, |s| runs(s, &new, TASKS)).await?;
        let old = shop.described(&pair.blue).await?;
        ensure!(old.desired_count() == 0, "blue is scaled down: {old:?}");
        ensure!(shop.phase(&ran).await?.0 == Phase::Promoted);
        let again = shop.release(&config, &new).await?;
        again.succeeded()?;
        ensure!(again.variables["verdict"] == "unchanged", "{again:?}");
        // The other way round: blue is idle now.
        let newer = shop.version(0).await?;
        shop.release(&config, &newer).await?.succeeded()?;
        ensure!(shop.weights().await? == (1, 0), "blue serves again");
        shop.until(&pair.blue, |s| runs(s, &newer, TASKS)).await?;
        let old = shop.described(&pair.green).await?;
        ensure!(old.desired_count() == 0, "green is scaled down: {old:?}");
        Ok(())
    })
}

fn services_bad(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let shop = Shop::open(world).await?;
        let old = shop.version(0).await?;
        let pair = shop.blue_and_green(&old).await?;
        let config = shop.config(&shop.services_target(&pair));
        let ran = shop.release(&config, &shop.version(50).await?).await?;
        ran.failed(
            "JobFailed",
            &[
                "rolled back: the candidate is worse: errors ",
                "the stable version serves 100% again from 2 healthy hosts",
            ],
        )?;
        ensure!(shop.weights().await? == (1, 0), "blue serves as before");
        let blue = shop.described(&pair.blue).await?;
        ensure!(runs(&blue, &old, TASKS), "{blue:?}");
        let green = shop.described(&pair.green).await?;
        ensure!(green.desired_count() == 0, "green is down again: {green:?}");
        Ok(())
    })
}

fn services_never_ready(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let shop = Shop::open(world).await?;
        let pair = shop.blue_and_green(&shop.version(0).await?).await?;
        let config = shop.config(&shop.services_target(&pair)) + "    ready-within: 6s\n";
        let ill = shop.define(0, 500, &["python3", "-c", SERVER]).await?;
        let mut shifted = false;
        let ran = shop.release_and(&config, &ill, async |event: &Event| {
            shifted |= said(event).is_some_and(|said| said.starts_with("candidate at 20%"));
            Ok(())
        });
        ran.await?.failed("JobFailed", &["rolled back: "])?;
        ensure!(!shifted, "an ill candidate got requests");
        ensure!(shop.weights().await? == (1, 0));
        let green = shop.described(&pair.green).await?;
        ensure!(green.desired_count() == 0, "green is down again: {green:?}");
        Ok(())
    })
}

/// Without the event the release would wait for its tasks for a quarter of an hour.
fn services_given_up(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let shop = Shop::open(world).await?;
        let pair = shop.blue_and_green(&shop.version(0).await?).await?;
        let update = shop.ecs.update_service().cluster(CLUSTER);
        let update = update.service(&pair.green);
        update
            .deployment_configuration(with_breaker()?)
            .send()
            .await?;
        let config = shop.config(&shop.services_target(&pair));
        let broken = shop.define(0, 200, &["sh", "-c", "exit 3"]).await?;
        let ran = shop.release(&config, &broken).await?;
        let told = format!("the deployment of service {CLUSTER}/{}", pair.green);
        ran.failed("JobFailed", &["rolled back: ", &told, "circuit breaker"])?;
        ensure!(shop.weights().await? == (1, 0), "blue serves as before");
        let green = shop.described(&pair.green).await?;
        ensure!(green.desired_count() == 0, "green is down again: {green:?}");
        Ok(())
    })
}

/// The summary of a job that goes on.
fn said(event: &Event) -> Option<&str> {
    match event {
        Event::ActionProgress { summary, .. } => summary.as_deref(),
        _ => None,
    }
}

/// A service whose one task set serves this version behind blue; its target.
async fn with_task_set(shop: &Shop<'_>, definition: &str) -> anyhow::Result<String> {
    let Balancer {
        rule, blue, green, ..
    } = &shop.balancer;
    let runs = (definition, TASKS);
    let arn = services::make_with_task_set(&shop.ecs, &shop.name, runs, behind(blue)).await?;
    Ok(format!(
        "ecs-task-sets: {{service: \"{arn}\", rule: \"{rule}\", target-groups: [\"{blue}\", \"{green}\"], \
         task-definition: {{file: td.txt}}, container: {CONTAINER}, port: {PORT}}}"
    ))
}

/// Waits until the only task set is this version's, and the primary one.
async fn is_alone(shop: &Shop<'_>, definition: &str) -> anyhow::Result<()> {
    let alone = |service: &Service| is_alone_in(service, definition, TASKS);
    shop.until(&shop.name, alone).await.map(drop)
}

fn task_sets_good(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let shop = Shop::open(world).await?;
        let target = with_task_set(&shop, &shop.version(0).await?).await?;
        let new = shop.version(0).await?;
        let ran = shop.release(&shop.config(&target), &new).await?;
        ran.succeeded()?;
        ensure!(shop.weights().await? == (0, 1), "green serves");
        is_alone(&shop, &new).await
    })
}

fn task_sets_bad(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let shop = Shop::open(world).await?;
        let old = shop.version(0).await?;
        let target = with_task_set(&shop, &old).await?;
        let bad = shop.version(50).await?;
        let ran = shop.release(&shop.config(&target), &bad).await?;
        ran.failed("JobFailed", &["rolled back: the candidate is worse"])?;
        ensure!(shop.weights().await? == (1, 0), "blue serves as before");
        is_alone(&shop, &old).await
    })
}

/// A rolling service on this version, and its target.
async fn rolling(
    shop: &Shop<'_>,
    definition: &str,
    configuration: DeploymentConfiguration,
) -> anyhow::Result<String> {
    let blue = &shop.balancer.blue;
    let service = shop.service(&shop.name, definition, TASKS, configuration, blue);
    let arn = service.await?;
    Ok(format!(
        "ecs-rolling: {{service: \"{arn}\", task-definition: {{file: td.txt}}}}"
    ))
}

fn with_breaker() -> anyhow::Result<DeploymentConfiguration> {
    let breaker = DeploymentCircuitBreaker::builder()
        .enable(true)
        .rollback(true)
        .build();
    let configuration = DeploymentConfiguration::builder();
    Ok(configuration.deployment_circuit_breaker(breaker).build())
}

fn rolling_good(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let shop = Shop::open(world).await?;
        let target = rolling(&shop, &shop.version(0).await?, with_breaker()?).await?;
        let config = shop.with_steps(&target, "[{set-weight: 100%}]");
        let new = shop.version(0).await?;
        let ran = shop.release(&config, &new).await?;
        ran.succeeded()?;
        let said = ran.summaries.join("\n");
        let serving = format!("promoted: the candidate serves 100% from 2 tasks of {new}");
        ensure!(said.contains(&serving), "{said}");
        let service = shop.described(&shop.name).await?;
        ensure!(runs(&service, &new, TASKS), "{service:?}");
        let again = shop.release(&config, &new).await?;
        again.succeeded()?;
        ensure!(again.variables["verdict"] == "unchanged", "{again:?}");
        Ok(())
    })
}

fn rolling_alarm(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let shop = Shop::open(world).await?;
        let old = shop.version(0).await?;
        let target = rolling(&shop, &old, with_breaker()?).await?;
        let config = shop.with_steps(
            &target,
            "[{set-weight: 100%}]\n    watch: {for: 60s, tail: 0%}",
        );
        let mut due = true;
        let see = async |event: &Event| {
            if due && said(event).is_some_and(|said| said.starts_with("candidate at 100%")) {
                due = false;
                world.set_alarm(&shop.alarm, StateValue::Alarm).await?;
            }
            Ok(())
        };
        let new = shop.version(0).await?;
        let ran = shop.release_and(&config, &new, see).await?;
        let alarm = format!("rolled back: alarm '{}' fired", shop.alarm);
        ran.failed("JobFailed", &[&alarm])?;
        shop.until(&shop.name, |s| runs(s, &old, TASKS)).await?;
        Ok(())
    })
}

fn rolling_breaker(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let shop = Shop::open(world).await?;
        let old = shop.version(0).await?;
        let target = rolling(&shop, &old, with_breaker()?).await?;
        let config = shop.with_steps(&target, "[{set-weight: 100%}]");
        let broken = shop.define(0, 200, &["sh", "-c", "exit 3"]).await?;
        let ran = shop.release(&config, &broken).await?;
        ran.failed("JobFailed", &["rolled back: the "])?;
        // Whichever was faster: ECS's event, or the release's own look at its target.
        let because = shop.phase(&ran).await?.1;
        ensure!(
            matches!(because, Some(Reason::TurnedBack | Reason::Happened { .. })),
            "{because:?}"
        );
        shop.until(&shop.name, |s| runs(s, &old, TASKS)).await?;
        ensure!(shop.phase(&ran).await?.0 == Phase::RolledBack);
        Ok(())
    })
}

fn native_strategy(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let shop = Shop::open(world).await?;
        let native = DeploymentConfiguration::builder()
            .strategy(DeploymentStrategy::Canary)
            .build();
        let target = rolling(&shop, &shop.version(0).await?, native).await?;
        let config = shop.with_steps(&target, "[{set-weight: 100%}]");
        let ran = shop.release(&config, &shop.version(0).await?).await?;
        ran.failed(
            "ConfigurationError",
            &[
                "its deployment strategy is CANARY",
                "a lifecycle hook at POST_TEST_TRAFFIC_SHIFT",
            ],
        )
    })
}
