//! The `penstock` command itself.

use std::path::PathBuf;
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use cli::pipeline::event::Event;
use serde_json::Value;

use crate::Test;
use crate::world::{ARTIFACTS, Action, World};

pub const TESTS: &[Test] = &[
    (
        "check_tells_a_good_configuration_from_a_bad_one_by_its_exit_status",
        check,
    ),
    ("status_shows_a_release_from_its_log", status),
    ("abort_takes_the_traffic_back_by_hand", abort),
    (
        "a_release_that_went_back_is_told_and_replayed_from_its_log",
        report_and_replay,
    ),
    (
        "a_release_obeys_what_is_ordered_by_hand_and_remembers_who_did",
        by_hand,
    ),
    ("run_ends_with_the_pipelines_own_success", run),
];

/// The compiled command, beside the tests.
pub fn penstock(world: &World) -> Command {
    let mut command = Command::new(world.project.join("target/debug/penstock"));
    command
        .env("NO_COLOR", "1")
        .env(
            "AWS_ENDPOINT_URL",
            world.stack.sdk().endpoint_url().unwrap_or_default(),
        )
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1");
    command
}

pub fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

fn file(name: &str, content: &str) -> anyhow::Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(name);
    std::fs::write(&path, content)?;
    Ok((folder, path))
}

fn check(world: &World) -> anyhow::Result<()> {
    let good = "version: 1\ngates:\n  unit:\n    reports: [a.xml]\n";
    let (_folder, path) = file("penstock.yaml", good)?;
    let output = penstock(world).arg("check").arg(&path).output()?;
    ensure!(output.status.success(), "{}", text(&output));
    let (_folder, path) = file("penstock.yaml", &good.replace("reports", "reprots"))?;
    let output = penstock(world).arg("check").arg(&path).output()?;
    ensure!(output.status.code() == Some(1), "{}", text(&output));
    ensure!(
        text(&output).contains("did you mean `reports`?"),
        "{}",
        text(&output)
    );
    let output = penstock(world)
        .args(["check", "--json"])
        .arg(&path)
        .output()?;
    let said: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(said["error"]["line"] == 4, "{said}");
    Ok(())
}

fn status(world: &World) -> anyhow::Result<()> {
    let id = world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config();
        let files = [("penstock.yaml", config.as_str())];
        let nothing = async |_: &Event| Ok(());
        let actions = [Action::new("canary-shift", "web")];
        let run = world.run(&files, &actions, nothing);
        service
            .under_load(run)
            .await?
            .release
            .context("it has an id")
    })?;
    let table = world.stack.table();
    let output = penstock(world)
        .args(["status", id.as_str(), "--table", table])
        .output()?;
    ensure!(
        output.status.success() && text(&output).contains("promoted"),
        "{}",
        text(&output)
    );
    let output = penstock(world)
        .args(["status", id.as_str(), "--table", table, "--json"])
        .output()?;
    let release: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(release["weight"] == "100%", "{release}");
    let output = penstock(world)
        .args(["status", "web-none", "--table", table])
        .output()?;
    ensure!(!output.status.success() && text(&output).contains("there is no release web-none"));
    Ok(())
}

fn abort(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let config = service.config();
        let actions = [Action::new("canary-shift", "web")];
        let mut due = true;
        let see = async |event: &Event| {
            if let (
                Event::ActionProgress {
                    external_execution_id: Some(id),
                    ..
                },
                true,
            ) = (event, due)
            {
                due = false;
                let mut abort = penstock(world);
                abort.args([
                    "abort",
                    id,
                    "--table",
                    world.stack.table(),
                    "--because",
                    "blank page",
                ]);
                abort.env(
                    "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2",
                    world.stack.player().url(),
                );
                let output = tokio::task::spawn_blocking(move || abort.output()).await??;
                ensure!(output.status.success(), "{}", text(&output));
                ensure!(
                    world.weights(&service).await? == (1, 0),
                    "the traffic is back at once"
                );
            }
            Ok(())
        };
        let ran = service
            .under_load(world.run(&[("penstock.yaml", &config)], &actions, see))
            .await?;
        ran.failed(
            "JobFailed",
            &["rolled back: arn:aws:iam::", " asked for it: blank page"],
        )
    })
}

fn report_and_replay(world: &World) -> anyhow::Result<()> {
    let (id, config) = world.runtime.block_on(async {
        let service = world.service().await?;
        service.candidate.fails(30);
        let config = service.config();
        let mut shift = Action::new("canary-shift", "web");
        shift.output = true;
        let nothing = async |_: &Event| Ok(());
        let (files, actions) = ([("penstock.yaml", config.as_str())], [shift]);
        let run = world.run(&files, &actions, nothing);
        let ran = service.under_load(run).await?;
        ran.failed("JobFailed", &["rolled back: the candidate is worse"])?;
        anyhow::Ok((ran.release.context("it has an id")?, config))
    })?;
    stored_report(world, id.as_str())?;
    let (folder, config_path) = file("penstock.yaml", &config)?;
    let table = ["--table", world.stack.table()];
    let of_release = |command: &str, more: &[&str]| {
        let mut penstock = penstock(world);
        penstock.current_dir(folder.path());
        penstock.args([command, id.as_str()]).args(table).args(more);
        penstock.output()
    };
    let output = of_release("report", &["-o", "report.html"])?;
    ensure!(output.status.success(), "{}", text(&output));
    let html = std::fs::read_to_string(folder.path().join("report.html"))?;
    let title = format!("<title>Rolled back: {id}</title>");
    ensure!(
        html.contains(&title) && html.contains("Rollback decided"),
        "{html}"
    );
    let output = of_release("replay", &["--config", &config_path.to_string_lossy()])?;
    ensure!(
        output.status.code() == Some(0) && text(&output).contains("decides the same: rolled back"),
        "{}",
        text(&output)
    );
    // From a file, without AWS.
    let log = of_release("report", &["--format", "log", "-o", "log.jsonl"])?;
    ensure!(log.status.success(), "{}", text(&log));
    let mut offline = penstock(world);
    offline
        .current_dir(folder.path())
        .env_remove("AWS_ENDPOINT_URL");
    let output = offline.args(["replay", "log.jsonl"]).output()?;
    ensure!(output.status.code() == Some(0), "{}", text(&output));
    Ok(())
}

/// The action's output artifact says how the release ended.
fn stored_report(world: &World, id: &str) -> anyhow::Result<()> {
    let script = format!(
        "import boto3, io, json, zipfile\n\
         s3 = boto3.client('s3')\n\
         keys = [o['Key'] for o in s3.list_objects_v2(Bucket='{ARTIFACTS}')['Contents'] if '/Out0/' in o['Key']]\n\
         for o in (s3.get_object(Bucket='{ARTIFACTS}', Key=k) for k in keys):\n\
         \x20   zip = zipfile.ZipFile(io.BytesIO(o['Body'].read()))\n\
         \x20   end = json.load(zip.open('result.json')).get('end', {{}})\n\
         \x20   if end.get('started', {{}}).get('release') == '{id}':\n\
         \x20       print(end['phase'], *zip.namelist(), 'Rolled back' in zip.read('report.html').decode())"
    );
    let stored = world.boto3(&script)?;
    ensure!(
        stored == "rolled-back report.html result.json True",
        "the report is stored as: {stored}"
    );
    Ok(())
}

fn by_hand(world: &World) -> anyhow::Result<()> {
    world.runtime.block_on(async {
        let service = world.service().await?;
        let steps = "steps: [{set-weight: 10%}, {approve: 5m}, {set-weight: 50%}, {wait: 10m}, {set-weight: 100%}]";
        let config = service.config();
        let planned = config.lines().find(|line| line.contains("steps:"));
        let planned = planned.context("the configuration has steps")?.trim();
        let config = config.replacen(planned, steps, 1);
        // What is ordered as soon as the action says so.
        let mut orders = [
            ("waiting for approval", "hold"),
            ("held by arn:aws:iam::", "resume"),
            ("waiting for approval", "approve"),
            ("candidate at 50%, step 4 of 5: waiting for another", "skip-wait"),
        ]
        .into_iter()
        .peekable();
        let see = async |event: &Event| {
            if let Event::ActionProgress {
                external_execution_id: Some(id),
                summary: Some(summary),
                ..
            } = event
                && let Some((_, order)) = orders.next_if(|(said, _)| summary.contains(said))
            {
                let mut give = penstock(world);
                give.args([order, id, "--table", world.stack.table(), "--because", "a test"]);
                let output = tokio::task::spawn_blocking(move || give.output()).await??;
                ensure!(output.status.success(), "{order}: {}", text(&output));
            }
            Ok(())
        };
        let actions = [Action::new("canary-shift", "web")];
        let ran = service
            .under_load(world.run(&[("penstock.yaml", &config)], &actions, see))
            .await?;
        ran.succeeded()?;
        ensure!(orders.next().is_none(), "not every order was due");
        let id = ran.release.context("it has an id")?;
        let mut late = penstock(world);
        late.args(["hold", &id.to_string(), "--table", world.stack.table(), "--because", "late"]);
        let output = late.output()?;
        ensure!(
            !output.status.success() && text(&output).contains("is promoted already"),
            "{}",
            text(&output)
        );
        Ok(())
    })
}

fn run(world: &World) -> anyhow::Result<()> {
    let declaration = |function: &str| {
        format!(
            r#"{{"pipeline":{{"name":"{}","roleArn":"arn:aws:iam::000000000000:role/p","artifactStore":{{"type":"S3","location":"test-artifacts"}},"stages":[
            {{"name":"Source","actions":[{{"name":"App","actionTypeId":{{"category":"Source","owner":"AWS","provider":"CodeCommit","version":"1"}},"configuration":{{"RepositoryName":"a","BranchName":"main"}},"outputArtifacts":[{{"name":"S"}}]}}]}},
            {{"name":"Gate","actions":[{{"name":"Gate","actionTypeId":{{"category":"Invoke","owner":"AWS","provider":"Lambda","version":"1"}},"configuration":{{"FunctionName":"{function}"}},"inputArtifacts":[{{"name":"S"}}]}}]}}]}}}}"#,
            world.name("cli")
        )
    };
    let repository = tempfile::tempdir()?;
    let report = r#"<testsuite><testcase name="a"/></testsuite>"#;
    crate::world::commit(
        repository.path(),
        &[
            (
                "penstock.yaml",
                "version: 1\ngates:\n  unit:\n    reports: [r.xml]\n",
            ),
            ("r.xml", report),
        ],
    )?;
    for (function, succeeds, part) in [
        ("penstock-test-gate", true, "test gate passed: 1 tests"),
        (
            "penstock-health-check",
            false,
            "the file has no `health-checks`",
        ),
    ] {
        let (_folder, pipeline) = file("pipeline.json", &declaration(function))?;
        let output = penstock(world)
            .arg("run")
            .arg(&pipeline)
            .arg("--source")
            .arg(format!("App={}", repository.path().display()))
            .args(["--player", &world.stack.player().url()])
            .output()?;
        ensure!(
            output.status.success() == succeeds,
            "{function}: {}",
            text(&output)
        );
        ensure!(
            text(&output).contains(part),
            "{function}: {}",
            text(&output)
        );
    }
    Ok(())
}
