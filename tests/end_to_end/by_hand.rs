//! A release watched and steered from a terminal: found by a part of its id or its target.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, ensure};
use cli::pipeline::event::Event;
use serde_json::Value;

use crate::Test;
use crate::tools::{penstock, text};
use crate::world::{Action, Service, World};

pub const TESTS: &[Test] = &[
    (
        "a_watched_release_is_told_line_by_line_until_it_is_promoted",
        watched_promotion,
    ),
    (
        "a_watch_ends_with_1_when_the_release_went_back",
        watched_rollback,
    ),
    (
        "orders_find_their_release_by_its_target_and_by_a_part_of_its_id",
        ordered_by_target,
    ),
    ("releases_are_listed_newest_first", listed),
];

/// Waits for approval, then for somebody to skip its wait.
const WAITING: &str =
    "steps: [{set-weight: 10%}, {approve: 5m}, {set-weight: 50%}, {wait: 10m}, {set-weight: 100%}]";

fn config(service: &Service, steps: &str) -> anyhow::Result<String> {
    let config = service.config();
    let planned = config.lines().find(|line| line.contains("steps:"));
    let planned = planned.context("the configuration has steps")?.trim();
    Ok(config.replacen(planned, steps, 1))
}

/// `penstock` with this command for this release or target, and the reason 'a test' where one is needed.
fn command(world: &World, name: &str, of: &str, more: &[&str]) -> Command {
    let mut command = penstock(world);
    command.args([name, of, "--table", world.stack.table()]);
    command.args(more);
    command.env(
        "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2",
        world.stack.player().url(),
    );
    command
}

/// Gives an order, and what the command said.
async fn order(world: &World, name: &str, of: &str) -> anyhow::Result<String> {
    let mut command = command(world, name, of, &["--because", "a test"]);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    ensure!(output.status.success(), "{name}: {}", text(&output));
    Ok(text(&output))
}

/// `penstock status --watch` while a release goes on, without a terminal.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn begin(world: &World, of: &str) -> anyhow::Result<Self> {
        let mut watch = command(world, "status", of, &["--watch", "--every", "1s"]);
        let mut child = watch.stdout(Stdio::piped()).spawn()?;
        let stdout = child.stdout.take().context("it has an output")?;
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _nobody_listens_any_more = send.send(line);
            }
        });
        Ok(Self { child, lines })
    }

    /// The exit status, and everything that it said.
    fn end(mut self) -> anyhow::Result<(Option<i32>, String)> {
        let status = self.child.wait()?;
        let lines: Vec<_> = self.lines.iter().collect();
        Ok((status.code(), lines.join("\n")))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped_already = self.child.wait();
    }
}

/// Runs a release while somebody watches it from its first progress on; the watch's end.
async fn watched(
    world: &World,
    service: &Service,
    config: &str,
) -> anyhow::Result<(Option<i32>, String)> {
    let mut watching = None;
    let see = async |event: &Event| {
        if let Event::ActionProgress {
            external_execution_id: Some(id),
            ..
        } = event
            && watching.is_none()
        {
            watching = Some(Watching::begin(world, id)?);
        }
        Ok(())
    };
    let actions = [Action::new("canary-shift", "web")];
    let files = [("penstock.yaml", config)];
    service.under_load(world.run(&files, &actions, see)).await?;
    let watching = watching.context("the release made progress")?;
    tokio::task::spawn_blocking(move || watching.end()).await?
}

fn watched_promotion(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let (status, said) = watched(world, &service, &service.config()).await?;
        ensure!(status == Some(0), "{status:?}: {said}");
        for part in [
            "The release began for pipeline execution ",
            "Candidate to 10%, in place ",
            " windows, candidate at ",
            "Promoted: the target reads 100%",
        ] {
            ensure!(said.contains(part), "no '{part}' in:\n{said}");
        }
        let began = said.matches("The release began").count();
        ensure!(began == 1, "each fact is told once:\n{said}");
        Ok(())
    })
}

fn watched_rollback(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        service.candidate.fails(60);
        let (status, said) = watched(world, &service, &service.config()).await?;
        ensure!(status == Some(1), "{status:?}: {said}");
        ensure!(said.contains("Rolled back: the target reads 0%"), "{said}");
        Ok(())
    })
}

fn ordered_by_target(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = config(&service, WAITING)?;
        let rule = service.balancer.rule.clone();
        let part = rule.rsplit('/').next().unwrap_or_default().to_owned();
        // What is ordered as soon as the action says so, and how the release is named.
        let mut orders = [
            ("waiting for approval", "hold", rule.clone()),
            ("held by arn:aws:iam::", "resume", part.clone()),
            ("waiting for approval", "approve", rule.clone()),
            (
                "step 4 of 5: waiting for another",
                "skip-wait",
                part.clone(),
            ),
        ]
        .into_iter()
        .peekable();
        let see = async |event: &Event| {
            if let Event::ActionProgress {
                external_execution_id: Some(id),
                summary: Some(summary),
                ..
            } = event
                && let Some((_, name, of)) = orders.next_if(|(said, ..)| summary.contains(said))
            {
                let said = order(world, name, &of).await?;
                ensure!(said.contains(id.as_str()), "{name} {of}: {said}");
                shown(world, name, &of).await?;
            }
            Ok(())
        };
        let actions = [Action::new("canary-shift", "web")];
        let ran = service
            .under_load(world.run(&[("penstock.yaml", &config)], &actions, see))
            .await?;
        ran.succeeded()?;
        ensure!(orders.next().is_none(), "not every order was due");
        // The log knows who ordered what, and why.
        let id = ran.release.context("it has an id")?;
        let mut report = command(world, "report", id.as_str(), &["--format", "log"]);
        let log = text(&report.output()?);
        let ordered = log
            .lines()
            .filter(|line| line.contains(r#""event":"ordered""#));
        let ordered: Vec<_> = ordered.collect();
        ensure!(ordered.len() == 4, "{log}");
        for line in ordered {
            ensure!(
                line.contains(r#""who":"arn:aws:iam::"#) && line.contains("a test"),
                "{line}"
            );
        }
        Ok(())
    })
}

/// What `penstock status` says after an order, with the release named in the same way.
async fn shown(world: &World, ordered: &str, of: &str) -> anyhow::Result<()> {
    let expected = match ordered {
        "hold" => "penstock resume: held by arn:aws:iam::",
        "resume" => "approval: penstock approve; given up in ",
        _ => "weight ",
    };
    let mut status = command(world, "status", of, &[]);
    let output = tokio::task::spawn_blocking(move || status.output()).await??;
    let said = text(&output);
    ensure!(
        output.status.success() && said.contains(expected),
        "{ordered}: {said}"
    );
    Ok(())
}

fn listed(world: &World) -> anyhow::Result<()> {
    let (service, id) = world.runtime.block_on(async {
        let service = world.service().await?;
        let config = config(&service, WAITING)?;
        let rule = service.balancer.rule.clone();
        let mut active = None;
        let see = async |event: &Event| {
            if let Event::ActionProgress {
                summary: Some(summary),
                ..
            } = event
                && summary.contains("waiting for approval")
                && active.is_none()
            {
                let list = releases(world, &rule, &["--active"])?;
                ensure!(
                    list[0]["phase"] == "shifting" && list[0]["weight"] == "10%",
                    "{list}"
                );
                active = Some(list);
                let said = order(world, "abort", &rule).await?;
                ensure!(said.contains("rolled back"), "{said}");
            }
            Ok(())
        };
        let actions = [Action::new("canary-shift", "web")];
        let files = [("penstock.yaml", config.as_str())];
        let ran = service.under_load(world.run(&files, &actions, see)).await?;
        ran.failed("JobFailed", &["asked for it: a test"])?;
        anyhow::Ok((service, ran.release.context("it has an id")?))
    })?;
    let rule = &service.balancer.rule;
    let list = releases(world, rule, &[])?;
    ensure!(list.as_array().is_some_and(|all| all.len() == 1), "{list}");
    ensure!(
        list[0]["release"] == id.as_str() && list[0]["phase"] == "rolled-back",
        "{list}"
    );
    ensure!(releases(world, rule, &["--active"])? == Value::Array(Vec::new()));
    let all = releases(world, "arn:aws:*", &[])?;
    let began = all.as_array().context("a list")?.iter();
    let began: Vec<_> = began
        .filter_map(|release| release["began"].as_str())
        .collect();
    ensure!(
        began.is_sorted_by(|a, b| a >= b),
        "not the newest first: {began:?}"
    );

    let mut table = penstock(world);
    table.args(["releases", "--table", world.stack.table(), "--target", rule]);
    let said = text(&table.output()?);
    ensure!(
        said.contains("PHASE") && said.contains("asked for it: a test"),
        "{said}"
    );
    let mut nothing = command(world, "status", "no-such-target", &[]);
    let output = nothing.output()?;
    ensure!(
        !output.status.success() && text(&output).contains("there is no release no-such-target"),
        "{}",
        text(&output)
    );
    Ok(())
}

/// What `penstock releases` says of releases of this target.
fn releases(world: &World, target: &str, more: &[&str]) -> anyhow::Result<Value> {
    let mut list = penstock(world);
    list.args([
        "releases",
        "--table",
        world.stack.table(),
        "--format",
        "json",
    ]);
    list.args(["--target", target]).args(more);
    let output = list.output()?;
    ensure!(output.status.success(), "{}", text(&output));
    Ok(serde_json::from_slice(&output.stdout)?)
}
