//! `penstock report` and `penstock replay`, the real command, on the log of a release that the real
//! loop drove through an in-memory world.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use engine::fakes::{Run, World};
use engine::{Invocation, begin, drive};
use futures::FutureExt;
use jiff::SignedDuration;
use release::config::Config;
use release::{Arms, Head, Release, ReleaseId, Started};
use serde_json::Value;
use tempfile::TempDir;

const CONFIG: &str = "
version: 1
releases:
  web:
    target:
      alb-rule:
        rule: arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/shop/1/2/3
        target-groups:
          - arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/blue/1
          - arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/green/2
    steps: [{set-weight: 10%}, {judge: {windows: 5}}, {set-weight: 50%}, {judge: {windows: 5}}, {set-weight: 100%}]
    settle: 0s
    judge: {alpha: 0.000001}
";

/// A release whose candidate fails so often, driven until it is over; its log as a file, and its
/// configuration.
struct Released {
    folder: TempDir,
}

impl Released {
    fn with_failures(share: f64) -> Self {
        let world = World::default();
        world.change().candidate_fails = share;
        let id = ReleaseId::for_job("web", "1").unwrap();
        let config = Config::parse(CONFIG).unwrap();
        let started = Started {
            at: world.look().now,
            release: id.clone(),
            execution: None,
            pipeline: None,
            plan: config.release(None).unwrap().1.clone(),
            arms: Arms {
                stable: "blue".to_owned(),
                candidate: "green".to_owned(),
            },
            alarms_firing: Default::default(),
            images: Default::default(),
            warnings: Vec::new(),
            slower_than: Default::default(),
            judge: None,
        };
        let call = |world: &World| {
            Invocation::new("run", world.look().now + SignedDuration::from_secs(60))
        };
        let ports = Run::new(&world, call(&world));
        let mut head: Head<Option<Release>> =
            begin(&ports, &id, started).now_or_never().unwrap().unwrap();
        for _ in 0..60 {
            let call = call(&world);
            let ports = Run::new(&world, call.clone());
            let driven = drive(&ports, &call, &id, head).now_or_never().unwrap();
            if !driven.unwrap().release.is_active() {
                break;
            }
            world.pass(SignedDuration::from_mins(1));
            let ports = Run::new(&world, call);
            head = engine::ReleaseLog::load(&ports, &id)
                .now_or_never()
                .unwrap()
                .unwrap();
        }
        let lines = world.look().logs.values().next().unwrap().clone();
        let lines: Vec<_> = lines.iter().map(Value::to_string).collect();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("web.jsonl"), lines.join("\n") + "\n").unwrap();
        std::fs::write(folder.path().join("penstock.yaml"), CONFIG).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }
}

fn penstock(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command.current_dir(folder).args(arguments);
    command.env("NO_COLOR", "1").env_remove("PENSTOCK_TABLE");
    command
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_report_is_a_page_of_its_own_that_says_how_the_release_ended() {
    for (share, heading) in [(0.0, "Promoted"), (0.05, "Rolled back")] {
        let released = Released::with_failures(share);
        let folder = released.folder.path();
        let output = penstock(folder, &["report", "web.jsonl", "-o", "report.html"]);
        assert!(output.status.success(), "{}", err(&output));
        let html = std::fs::read_to_string(released.path("report.html")).unwrap();
        assert!(html.contains(&format!("<title>{heading}: web-1</title>")));
        let printed = penstock(folder, &["report", "web.jsonl"]);
        assert!(out(&printed).starts_with("<!doctype html>"));
    }
}

#[test]
fn a_report_for_programs_has_each_window_and_each_decision() {
    let released = Released::with_failures(0.05);
    let output = penstock(
        released.folder.path(),
        &["report", "web.jsonl", "--format", "json"],
    );
    let told: Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(told["end"]["phase"], "rolled-back");
    assert_eq!(
        told["windows"][0]["metrics"]["errors"]["canary"]["count"],
        200
    );
    let moments = told["moments"].as_array().unwrap();
    let decided = moments
        .iter()
        .find(|m| m["what"]["kind"] == "rollback-decided");
    let decided = decided.unwrap();
    assert_eq!(decided["who"], "judge");
    assert_eq!(decided["because"]["reason"], "regression");
}

#[test]
fn a_log_that_was_exported_is_read_again_from_a_file_or_a_pipe() {
    let released = Released::with_failures(0.0);
    let folder = released.folder.path();
    let exported = penstock(folder, &["report", "web.jsonl", "--format", "log"]);
    assert!(exported.status.success());
    let mut again = command(folder, &["report", "-", "--format", "log"]);
    let again = again.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut again = again.unwrap();
    again
        .stdin
        .take()
        .unwrap()
        .write_all(&exported.stdout)
        .unwrap();
    assert_eq!(again.wait_with_output().unwrap().stdout, exported.stdout);
}

#[test]
fn under_its_own_configuration_a_replay_agrees_and_exits_with_0() {
    for share in [0.0, 0.05] {
        let released = Released::with_failures(share);
        let output = penstock(released.folder.path(), &["replay", "web.jsonl"]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{}{}",
            out(&output),
            err(&output)
        );
        assert!(out(&output).starts_with("= The other plan decides the same: "));
    }
}

#[test]
fn under_a_stricter_configuration_a_replay_shows_where_they_part_and_exits_with_1() {
    let released = Released::with_failures(0.01);
    released.write("strict.yaml", &CONFIG.replace("0.000001", "0.05"));
    let arguments = ["replay", "web.jsonl", "--config", "strict.yaml"];
    let output = penstock(released.folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    let text = out(&output);
    for part in [
        "≠ The other plan decides otherwise from ",
        "Recorded: rolled back at ",
        "candidate requests earlier: the candidate is worse",
        "the requests are those that were served at the recorded weights",
        "≠ ",
        "rollback",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let json = penstock(
        released.folder.path(),
        &[&arguments[..], &["--format", "json"]].concat(),
    );
    let replay: Value = serde_json::from_str(&out(&json)).unwrap();
    let requests = |side: &str| replay[side]["candidate_requests"].as_u64().unwrap();
    assert!(requests("other") < requests("recorded"), "{replay}");
}

#[test]
fn what_cannot_be_used_is_named_with_the_fix() {
    let released = Released::with_failures(0.0);
    let folder = released.folder.path();
    let log = std::fs::read_to_string(released.path("web.jsonl")).unwrap();
    released.write("cut.jsonl", &log[..log.len() - 20]);
    released.write("tail.jsonl", log.split_once('\n').unwrap().1);
    released.write("empty.jsonl", "");
    released.write(
        "typo.yaml",
        &CONFIG.replace("judge: {alpha", "judge: {alfa"),
    );
    std::fs::write(released.path("binary.jsonl"), [0xff, 0xfe, 0]).unwrap();
    let lines = log.lines().count();
    for (arguments, status, part) in [
        (
            &["report", "cut.jsonl"][..],
            1,
            format!("line {lines} of the log"),
        ),
        (&["report", "tail.jsonl"], 1, "a log begins with".to_owned()),
        (&["report", "empty.jsonl"], 1, "it has no events".to_owned()),
        (
            &["report", "binary.jsonl"],
            1,
            "could not read binary.jsonl".to_owned(),
        ),
        (&["report", "web-1"], 1, "ReleaseLogTable".to_owned()),
        (
            &["report", "no/such/file"],
            1,
            "there is no file no/such/file".to_owned(),
        ),
        (&["replay", "cut.jsonl"], 2, "--format log".to_owned()),
        (
            &["replay", "web.jsonl", "--config", "typo.yaml"],
            2,
            "did you mean `alpha`?".to_owned(),
        ),
        (
            &["replay", "web.jsonl", "--config", "none.yaml"],
            2,
            "--config".to_owned(),
        ),
        (
            &["replay", "web.jsonl", "--section", "shop"],
            2,
            "`releases` has web".to_owned(),
        ),
    ] {
        let output = penstock(folder, arguments);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{arguments:?}: {}",
            err(&output)
        );
        assert!(
            err(&output).contains(&part),
            "{arguments:?}: {}",
            err(&output)
        );
        assert!(output.stdout.is_empty());
    }
}
