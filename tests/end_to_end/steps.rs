//! Steps that ask somebody or something, freeze windows, hotfixes, and what watches a release at its
//! end.

use std::time::Duration;

use anyhow::{Context, ensure};
use cli::pipeline::event::Event as Seen;
use engine::{Clock, ReleaseLog};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use release::{Effect, Event, Phase, Release, ReleaseId, Weight};

use crate::Test;
use crate::probes::function;
use crate::world::{APPROVAL, Action, Service, World, nothing};

pub const TESTS: &[Test] = &[
    (
        "a_release_asks_probes_functions_and_people_and_leaves_a_tail_while_it_is_watched",
        every_step,
    ),
    (
        "a_release_that_its_check_fails_never_gets_a_request",
        check_fails,
    ),
    (
        "a_frozen_release_waits_for_the_end_of_the_freeze",
        frozen_for_a_while,
    ),
    (
        "a_freeze_that_ends_too_late_fails_at_once_and_a_hotfix_passes_it",
        frozen_for_too_long,
    ),
];

/// A service's configuration with other steps, and more keys of its release.
fn with_steps(service: &Service, steps: &str, more: &str) -> anyhow::Result<String> {
    let config = service.config();
    let planned = config.lines().find(|line| line.contains("steps:"));
    let planned = planned.context("the configuration has steps")?;
    Ok(config.replacen(planned, &format!("    steps: {steps}\n    {more}"), 1))
}

fn canary_shift(more: &str) -> Action {
    let parameters = format!(
        "{{\"section\": \"web\", \"pipeline\": \"PIPELINE\", \"execution\": \
         \"#{{codepipeline.PipelineExecutionId}}\"{more}}}"
    );
    Action::with_parameters("canary-shift", &parameters)
}

fn every_step(world: &World) -> anyhow::Result<()> {
    let asked = function(world, "check-smoke")?;
    world.runtime.block_on(async {
        let service = world.service().await?;
        let steps = format!(
            "[{{probe: {{probes: [{{http: {{url: \"http://127.0.0.1:{}/health\", body-contains: ok, \
             allow-private: true}}}}], in-a-row: 2}}}}, {{run-check: {{function: '{asked}', payload: {{}}}}}}, \
             {{set-weight: 10%}}, {{approve: {{within: 2m, action: {APPROVAL}}}}}, {{judge: {{windows: \
             2}}}}, {{set-weight: 100%}}]",
            service.candidate.port
        );
        let config = with_steps(&service, &steps, "watch: {for: 3s}")?;
        let mut tails = 0;
        let see = async |event: &Seen| {
            if let Seen::ApprovalNeeded { token, stage, .. } = event {
                // Somebody comes once the release waits for them, or a little earlier.
                tokio::time::sleep(Duration::from_secs(6)).await;
                world.boto3(&format!(
                    "import boto3\n\
                     client = boto3.client('codepipeline')\n\
                     name = next(p['name'] for p in client.list_pipelines()['pipelines'] if any(\n\
                     \x20   a.get('token') == '{token}' for s in client.get_pipeline_state(name=p['name'])['stageStates']\n\
                     \x20   for a in [b.get('latestExecution', {{}}) for b in s['actionStates']]))\n\
                     client.put_approval_result(pipelineName=name, stageName='{stage}', actionName='{APPROVAL}',\n\
                     \x20   token='{token}', result={{'summary': 'the graphs are fine', 'status': 'Approved'}})"
                ))?;
            }
            let (blue, green) = world.weights(&service).await?;
            tails += u32::from(green == 19 * blue);
            Ok(())
        };
        let files = [("penstock.yaml", config.as_str())];
        let actions = [canary_shift("")];
        let ran = service
            .under_load(world.run_with_approval(&files, &actions, see))
            .await?;
        ran.succeeded()?;
        ensure!(tails > 0, "the old version never had 5 %: {ran:#?}");
        let release = world.release(ran.release.as_ref().context("no release")?).await?;
        ensure!(release.phase == Phase::Promoted);
        ensure!(world.weights(&service).await? == (0, 1));
        let said = ran.summaries.join("\n");
        for part in ["checking for another", "waiting for approval"] {
            ensure!(said.contains(part), "nobody was told '{part}': {said}");
        }
        let told = serde_json::to_string(&world.facts(&release.started.release).await?)?;
        for part in ["asked by web-", "the graphs are fine", "\"event\":\"checked\""] {
            ensure!(told.contains(part), "the log has no '{part}': {told}");
        }
        Ok(())
    })
}

fn check_fails(world: &World) -> anyhow::Result<()> {
    let asked = function(world, "check-smoke")?;
    world.runtime.block_on(async {
        let service = world.service().await?;
        let steps = format!(
            "[{{run-check: {{function: '{asked}', payload: {{verdict: fail}}}}}}, {{set-weight: 10%}}, \
             {{judge: {{windows: 2}}}}, {{set-weight: 100%}}]"
        );
        let config = with_steps(&service, &steps, "")?;
        let files = [("penstock.yaml", config.as_str())];
        let ran = world.run(&files, &[canary_shift("")], nothing).await?;
        ran.failed("JobFailed", &["the check failed: asked by web-"])?;
        ensure!(world.weights(&service).await? == (1, 0));
        let id = ran.release.context("no release")?;
        let raised = |event: &Event| {
            matches!(event, Event::Intended { effect: Effect::SetWeight(weight), .. } if *weight > Weight::ZERO)
        };
        ensure!(!world.facts(&id).await?.iter().any(raised));
        // Nobody may be asked whom the stack's owner does not allow.
        let config = with_steps(&service, &steps.replace("check-smoke", "smoke"), "")?;
        let files = [("penstock.yaml", config.as_str())];
        let ran = world.run(&files, &[canary_shift("")], nothing).await?;
        ran.failed("ConfigurationError", &["AllowedChecks", "smoke"])
    })
}

/// A freeze from a minute ago on, for so long from now on.
fn freeze(world: &World, lasts: Duration) -> anyhow::Result<(Timestamp, String)> {
    let now = world.aws.now();
    let until = now + lasts;
    let local = |at: Timestamp| {
        at.to_zoned(TimeZone::UTC)
            .datetime()
            .strftime("%Y-%m-%dT%H:%M:%S")
            .to_string()
    };
    let text = format!(
        "freeze: [{{from: '{}', until: '{}', because: the big sale}}]",
        local(now - Duration::from_secs(60)),
        local(until)
    );
    Ok((until, text))
}

const STEPS: &str = "[{set-weight: 10%}, {judge: {windows: 2}}, {set-weight: 100%}]";

fn frozen_for_a_while(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let (until, frozen) = freeze(world, Duration::from_secs(12))?;
        let config = with_steps(&service, STEPS, &frozen)?;
        let files = [("penstock.yaml", config.as_str())];
        let see = async |_: &Seen| {
            // To the second, because the configuration is written to the second.
            let now = world.aws.now();
            let is_over = now.as_second() >= until.as_second();
            let weights = world.weights(&service).await?;
            ensure!(
                is_over || weights == (1, 0),
                "raised in a freeze: {weights:?}"
            );
            Ok(())
        };
        let actions = [canary_shift("")];
        let ran = service.under_load(world.run(&files, &actions, see)).await?;
        ran.succeeded()?;
        let said = ran.summaries.join("\n");
        ensure!(said.contains("frozen until"), "{said}");
        ensure!(said.contains("the big sale"), "{said}");
        let release = world
            .release(ran.release.as_ref().context("no release")?)
            .await?;
        ensure!(release.weight == Weight::FULL);
        Ok(())
    })
}

fn frozen_for_too_long(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let (_, frozen) = freeze(world, Duration::from_secs(30 * 3600))?;
        let config = with_steps(&service, STEPS, &frozen)?;
        let files = [("penstock.yaml", config.as_str())];
        let ran = world.run(&files, &[canary_shift("")], nothing).await?;
        ran.failed(
            "ConfigurationError",
            &["frozen until", "the big sale", "hotfix"],
        )?;
        ensure!(world.weights(&service).await? == (1, 0));
        let hotfix = canary_shift(", \"hotfix\": \"SHOP-12: nobody can pay\"");
        let ran = service
            .under_load(world.run(&files, &[hotfix], nothing))
            .await?;
        ran.succeeded()?;
        ensure!(world.weights(&service).await? == (0, 1));
        let id = ran.release.as_ref().context("no release")?;
        let release = world.release(id).await?;
        let why = release.plan().hotfix.as_deref();
        ensure!(why == Some("SHOP-12: nobody can pay"), "{why:?}");
        Ok(())
    })
}

impl World {
    /// Every fact of a release, as its log has them.
    pub async fn facts(&self, id: &ReleaseId) -> anyhow::Result<Vec<Event>> {
        Ok(self.aws.events::<Option<Release>>(id).await?)
    }
}
