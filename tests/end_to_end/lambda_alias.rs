//! Releases of a Lambda alias, under real invocations that the player divides by the alias' weights.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use aws::local::lambda;
use cli::pipeline::event::Event;
use engine::{Clock, Invocation, ReleaseLog, roll_back};
use release::{Phase, TargetId};

use crate::Test;
use crate::function::{Function, emulator};
use crate::world::{Action, Ran, World, nothing};

pub const TESTS: &[Test] = &[
    (
        "a_new_version_behind_an_alias_is_published_and_promoted",
        good,
    ),
    (
        "a_version_behind_an_alias_that_fails_more_often_goes_back_by_itself",
        bad,
    ),
    (
        "a_version_that_the_alias_serves_already_is_no_release",
        unchanged,
    ),
    (
        "an_alias_is_moved_to_the_version_that_the_build_wrote_down",
        from_a_file,
    ),
    (
        "an_alias_that_somebody_else_moves_is_left_alone_until_it_is_put_back",
        moved_by_somebody_else,
    ),
    (
        "an_alias_that_is_divided_already_begins_no_release",
        divided,
    ),
    (
        "a_second_release_of_a_busy_alias_is_told_who_holds_it",
        busy,
    ),
    (
        "an_alias_of_a_function_that_is_not_allowed_is_not_touched",
        not_allowed,
    ),
];

/// How long a release may take to end once its alias is as it was.
const OVER_WITHIN_S: u32 = 60;
const CANARY: &str = "canary-shift";
/// Invocations at once while a release runs.
const CALLERS: usize = 6;
/// From one invocation of a caller to its next.
const CALL_PAUSE: Duration = Duration::from_millis(20);

impl Function {
    /// Its penstock.yaml: quick steps, one-second windows.
    fn config(&self, version: &str) -> String {
        let arn = &self.arn;
        format!(
            "version: 1\n\
             releases:\n  shop:\n    target:\n      lambda-alias: {{function: \"{arn}\", alias: live, version: {version}}}\n\
             \x20   steps: [{{set-weight: 20%}}, {{judge: {{windows: 2}}}}, {{set-weight: 50%}}, {{judge: {{windows: 2}}}}, {{set-weight: 100%}}]\n\
             \x20   window: 1s\n    settle: 2s\n    patience: 60s\n    metrics: {{errors: {{}}}}\n"
        )
    }

    /// Invokes the alias while `work` runs; also the versions that answered.
    async fn under_load<T>(
        &self,
        world: &World,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(T, BTreeSet<String>)> {
        let over = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (over, client) = (Arc::clone(&over), world.stack.invoking());
                tokio::spawn(call_until(over, client, format!("{}:live", self.arn)))
            })
            .collect();
        let done = work.await;
        over.store(true, Ordering::Relaxed);
        let mut versions = BTreeSet::new();
        for caller in callers {
            versions.extend(caller.await??);
        }
        Ok((done?, versions))
    }
}

/// Invokes again and again; the versions that answered.
async fn call_until(
    over: Arc<AtomicBool>,
    client: lambda::Client,
    alias: String,
) -> anyhow::Result<BTreeSet<String>> {
    let mut versions = BTreeSet::new();
    while !over.load(Ordering::Relaxed) {
        let invoked = client.invoke().function_name(&alias).send().await?;
        versions.extend(invoked.executed_version);
        tokio::time::sleep(CALL_PAUSE).await;
    }
    Ok(versions)
}

async fn release(world: &World, files: &[(&str, &str)]) -> anyhow::Result<Ran> {
    world
        .run(files, &[Action::new(CANARY, "shop")], nothing)
        .await
}

fn good(world: &World) -> anyhow::Result<()> {
    let function = Function::create(world)?;
    function.upload(world, 0)?;
    world.runtime.block_on(async {
        let config = function.config("published");
        let files = [("penstock.yaml", config.as_str())];
        let (ran, versions) = function.under_load(world, release(world, &files)).await?;
        ran.succeeded()?;
        ensure!(function.alias(world).await? == ("2".to_owned(), Vec::new()));
        let answered: Vec<_> = versions.iter().map(String::as_str).collect();
        ensure!(answered == ["1", "2"], "both answered: {answered:?}");
        let said = ran.summaries.join("\n");
        ensure!(
            said.contains("promoted: the candidate serves 100% from version 2;"),
            "{said}"
        );
        let id = ran.release.clone().context("it has an id")?;
        let release = world.release(&id).await?;
        ensure!(release.phase == Phase::Promoted);
        let target = TargetId(format!("{}:live", function.arn));
        ensure!(
            world.aws.holder(&target).await?.is_none(),
            "the alias is free"
        );
        // Nothing has been uploaded since: the same job again finds the same version.
        let again = release_well(world, &files).await?;
        ensure!(again.variables["verdict"] == "unchanged", "{again:?}");
        Ok(())
    })
}

fn bad(world: &World) -> anyhow::Result<()> {
    let function = Function::create(world)?;
    function.upload(world, 40)?;
    world.runtime.block_on(async {
        let config = function.config("published");
        let files = [("penstock.yaml", config.as_str())];
        let (ran, _) = function.under_load(world, release(world, &files)).await?;
        ran.failed(
            "JobFailed",
            &[
                "rolled back: the candidate is worse: errors ",
                "the stable version serves 100% again from version 1;",
            ],
        )?;
        ensure!(function.alias(world).await? == ("1".to_owned(), Vec::new()));
        let id = ran.release.clone().context("it has an id")?;
        ensure!(world.release(&id).await?.phase == Phase::RolledBack);
        Ok(())
    })
}

/// A release that ends well.
async fn release_well(world: &World, files: &[(&str, &str)]) -> anyhow::Result<Ran> {
    let ran = release(world, files).await?;
    ran.succeeded()?;
    Ok(ran)
}

fn unchanged(world: &World) -> anyhow::Result<()> {
    let function = Function::create(world)?;
    world.runtime.block_on(async {
        let config = function.config("1");
        let ran = release_well(world, &[("penstock.yaml", &config)]).await?;
        let said = ran.summaries.join("\n");
        ensure!(
            said.contains("nothing to move: version 1 serves everything already"),
            "{said}"
        );
        ensure!(function.alias(world).await? == ("1".to_owned(), Vec::new()));
        Ok(())
    })
}

fn from_a_file(world: &World) -> anyhow::Result<()> {
    let function = Function::create(world)?;
    function.upload(world, 0)?;
    world.runtime.block_on(async {
        let config = function.config("{file: out/version.txt}");
        let ran = release(world, &[("penstock.yaml", &config)]).await?;
        ran.failed(
            "ConfigurationError",
            &["no out/version.txt in the input artifacts (SourceOut)"],
        )?;
        let version = function.publish(world).await?;
        let named = format!("{}:{version}\n", function.arn);
        let files = [
            ("penstock.yaml", config.as_str()),
            ("out/version.txt", named.as_str()),
        ];
        let (ran, _) = function.under_load(world, release(world, &files)).await?;
        ran.succeeded()?;
        ensure!(function.alias(world).await? == (version, Vec::new()));
        Ok(())
    })
}

fn moved_by_somebody_else(world: &World) -> anyhow::Result<()> {
    let function = Function::create(world)?;
    function.upload(world, 0)?;
    world.runtime.block_on(async {
        let config = function.config("published");
        let config = config.replace("patience: 60s", "patience: 5s");
        let mut due = true;
        let see = async |event: &Event| {
            if let Event::ActionProgress {
                summary: Some(summary),
                ..
            } = event
                && due
                && summary.starts_with("candidate at 20%")
            {
                due = false;
                // A hotfix past the pipeline: version 3.
                function.upload(world, 1)?;
                let hotfix = function.publish(world).await?;
                function.move_by_hand(world, &hotfix).await?;
            }
            Ok(())
        };
        let actions = [Action::new(CANARY, "shop")];
        let files = [("penstock.yaml", config.as_str())];
        let (ran, _) = function
            .under_load(world, world.run(&files, &actions, see))
            .await?;
        ran.failed(
            "SystemUnavailable",
            &["gave up after 20 tries", "may still be active"],
        )?;
        let three = ("3".to_owned(), Vec::new());
        ensure!(function.alias(world).await? == three, "the hotfix stays");
        // Of two deliveries of a job the one that waits for the other may answer, so: the log.
        let alias = format!("{}:live to 0%: somebody else has moved", function.arn);
        world.logged("this run has no answer of its own", |line| {
            let said = line["error"].as_str().unwrap_or_default();
            said.contains(&alias)
                && said.contains("the alias: it has version 3, while this release moves it from")
                && said.contains("--function-version 1 --routing-config")
        })?;
        let id = ran.release.clone().context("it has an id")?;
        ensure!(world.release(&id).await?.phase == Phase::RollingBack);
        function.move_by_hand(world, "1").await?;
        // Its metrics have yet to show it.
        for _ in 0..OVER_WITHIN_S {
            let call = Invocation::new("by hand", world.aws.now() + Duration::from_secs(30));
            let ended = roll_back(&world.aws, &call, &id, |_| None).await?;
            if ended.is_some_and(|driven| driven.release.phase == Phase::RolledBack) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        anyhow::bail!("it is not over: {:?}", world.release(&id).await?.phase)
    })
}

fn divided(world: &World) -> anyhow::Result<()> {
    let function = Function::create(world)?;
    world.runtime.block_on(async {
        let weights = [("1".to_owned(), 0.5)].into();
        let half = lambda::types::AliasRoutingConfiguration::builder()
            .set_additional_version_weights(Some(weights))
            .build();
        function.upload(world, 0)?;
        let version = function.publish(world).await?;
        let update = emulator(world).update_alias();
        let update = update.function_name(&function.arn).name("live");
        let update = update.function_version(&version).routing_config(half);
        update.send().await?;
        let config = function.config("published");
        let ran = release(world, &[("penstock.yaml", &config)]).await?;
        ran.failed(
            "ConfigurationError",
            &[
                "it has version 2, with a share of 0.5 to version 1; point it to one published version",
                "aws lambda update-alias",
            ],
        )
    })
}

fn busy(world: &World) -> anyhow::Result<()> {
    let function = Function::create(world)?;
    function.upload(world, 0)?;
    world.runtime.block_on(async {
        let config = function.config("published");
        let actions = [Action::new(CANARY, "shop")];
        let files = [("penstock.yaml", config.as_str())];
        let mut second = None;
        let see = async |event: &Event| {
            if let (
                Event::ActionProgress {
                    external_execution_id: Some(id),
                    ..
                },
                None,
            ) = (event, &second)
            {
                let ran = Box::pin(world.run(&files, &actions, nothing)).await?;
                ran.failed("JobFailed", &[&format!("is held by release {id},")])?;
                second = Some(ran);
            }
            Ok(())
        };
        let (first, _) = function
            .under_load(world, world.run(&files, &actions, see))
            .await?;
        ensure!(second.is_some(), "the second release ran");
        first.succeeded()
    })
}

fn not_allowed(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let function = Function {
            name: "other".to_owned(),
            arn: "arn:aws:lambda:us-east-1:000000000000:function:other".to_owned(),
        };
        let config = function.config("published");
        let ran = release(world, &[("penstock.yaml", &config)]).await?;
        ran.failed(
            "ConfigurationError",
            &[
                &format!("target {} is not allowed", function.arn),
                "function:shop*",
            ],
        )
    })
}
