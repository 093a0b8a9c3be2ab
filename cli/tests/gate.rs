//! `penstock gate`, as a person or another CI runs it.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

const CONFIG: &str = "\
version: 1
gates:
  unit:
    reports: ['reports/*.xml', {path: scan.json, format: sarif}]
    commit-file: commit.txt
    rules:
      max-test-drop: 0%
      max-skipped: {limit: 0%, level: warn}
";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const SCAN: &str = r#"{"version":"2.1.0","runs":[{"tool":{"driver":{"name":"lint"}},"results":[
    {"ruleId":"no-eval","level":"warning","message":{"text":"eval is evil"}}]}]}"#;

fn suite(passed: usize, rest: &str) -> String {
    let cases: String = (0..passed)
        .map(|n| format!("<testcase name='t{n}'/>"))
        .collect();
    format!("<testsuite name='shop'>{cases}{rest}</testsuite>")
}

/// A folder with a configuration and the reports of a build.
fn build(junit: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("penstock.yaml", CONFIG),
        ("out/reports/junit.xml", junit),
        ("out/scan.json", SCAN),
        ("out/commit.txt", COMMIT),
        ("out/node_modules/reports/other.xml", "not a report"),
    ];
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn gate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_penstock"))
        .arg("gate")
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}

#[track_caller]
fn ends(output: &Output, status: i32, parts: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    for part in parts {
        assert!(said.contains(part), "no {part} in: {said}");
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(output)))
}

#[test]
fn the_exit_status_tells_pass_from_fail_from_unusable() {
    let good = build(&suite(3, ""));
    ends(
        &gate(good.path(), &["out"]),
        0,
        &["✓ gate unit passed: 3 tests", "min-tests"],
    );
    let bad = build(&suite(
        3,
        "<testcase name='pays'><failure message='no money'/></testcase>",
    ));
    let parts = [
        "✗ gate unit failed: 4 tests",
        "1 failed, 0 allowed",
        "shop::pays",
        "no money",
    ];
    ends(&gate(bad.path(), &["out"]), 1, &parts);
    for (arguments, part) in [
        (&["nowhere"][..], "could not use nowhere"),
        (&["out", "--config", "no.yaml"], "could not read no.yaml"),
        (
            &["out", "--section", "e2e"],
            "no section 'e2e': `gates` has unit",
        ),
        (
            &["out", "--history", "out"],
            "could not read the history out",
        ),
        (&[], "required"),
        (&["out", "--format", "pdf"], "possible values"),
    ] {
        ends(&gate(good.path(), arguments), 2, &[part]);
    }
    fs::write(
        good.path().join("penstock.yaml"),
        CONFIG.replace("rules", "ruels"),
    )
    .unwrap();
    ends(
        &gate(good.path(), &["out"]),
        2,
        &["did you mean `rules`?", "penstock.yaml:6:5"],
    );
}

#[test]
fn a_folder_a_zip_and_single_files_give_the_same_verdict() {
    let folder = build(&suite(3, "<testcase name='late'><skipped/></testcase>"));
    let zip = folder.path().join("artifact.zip");
    let mut writer = ZipWriter::new(File::create(&zip).unwrap());
    for name in ["reports/junit.xml", "scan.json", "commit.txt"] {
        writer
            .start_file(name, SimpleFileOptions::default())
            .unwrap();
        let text = fs::read(folder.path().join("out").join(name)).unwrap();
        writer.write_all(&text).unwrap();
    }
    writer.finish().unwrap();
    let files = ["out/reports/junit.xml", "out/scan.json", "out/commit.txt"];
    let verdicts = [&["out"][..], &["artifact.zip"], &files].map(|paths| {
        let output = gate(folder.path(), &[paths, &["--format", "json"]].concat());
        ends(&output, 0, &[]);
        let mut verdict = json(&output);
        let files = verdict.as_object_mut().unwrap().remove("files").unwrap();
        let files = files.as_array().unwrap();
        let formats: Vec<_> = files.iter().map(|file| file["format"].clone()).collect();
        assert_eq!(formats, ["junit", "sarif"]);
        verdict
    });
    assert_eq!(verdicts[0], verdicts[1]);
    assert_eq!(verdicts[0], verdicts[2]);
    let verdict = &verdicts[0];
    assert_eq!(verdict["verdict"], "pass");
    assert_eq!(
        verdict["totals"],
        serde_json::json!({"tests": 4, "passed": 3, "failed": 0, "errors": 0, "skipped": 1, "flaky": 0})
    );
    assert_eq!(verdict["findings"]["medium"], 1);
    assert_eq!(verdict["coverage"], Value::Null);
    let rules = verdict["rules"].as_array().unwrap();
    let skipped = rules
        .iter()
        .find(|rule| rule["rule"] == "max-skipped")
        .unwrap();
    assert_eq!(skipped["verdict"], "warn");
    assert_eq!(skipped["why"], "1 of 4 skipped (25.0 %), 0.0 % allowed");
}

#[test]
fn what_is_missing_or_cut_off_fails_and_never_passes() {
    for (junit, part) in [
        ("", "reports/junit.xml: it is empty"),
        ("<testsuite>", "it is cut off"),
        ("<testsuite/>", "the report has no tests"),
        ("<html/>", "no format matched"),
    ] {
        ends(&gate(build(junit).path(), &["out"]), 1, &[part]);
    }
    let folder = build(&suite(1, ""));
    fs::remove_file(folder.path().join("out/reports/junit.xml")).unwrap();
    ends(
        &gate(folder.path(), &["out"]),
        1,
        &["matches 'reports/*.xml'"],
    );
    fs::write(folder.path().join("a.zip"), b"PK\x03\x04 and no more").unwrap();
    ends(
        &gate(folder.path(), &["a.zip"]),
        2,
        &["could not use a.zip"],
    );
}

#[test]
fn a_format_that_a_later_glob_names_holds() {
    let folder = build(&suite(3, ""));
    let later = "reports: ['reports/*.xml', {path: reports/junit.xml, format: trx}, ";
    let config = CONFIG.replace("reports: ['reports/*.xml', ", later);
    fs::write(folder.path().join("penstock.yaml"), config).unwrap();
    ends(&gate(folder.path(), &["out"]), 1, &["junit.xml as trx"]);
}

#[test]
fn modules_with_the_same_paths_do_not_cover_for_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let lcov = |lines: u32, hits: u32| {
        let lines = (1..=lines).map(|line| format!("DA:{line},{hits}\n"));
        format!(
            "SF:src/index.js\n{}end_of_record\n",
            lines.collect::<String>()
        )
    };
    let config = "version: 1\ngates:\n  unit:\n    reports: ['**/lcov.info']\n";
    let files = [
        ("penstock.yaml", config.to_owned()),
        ("cart/coverage/lcov.info", lcov(10, 1)),
        ("shop/coverage/lcov.info", lcov(30, 0)),
    ];
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    ends(&gate(folder.path(), &["."]), 0, &["25.0 % of the lines"]);
    let both = ["cart/coverage/lcov.info", "shop/coverage/lcov.info"];
    ends(&gate(folder.path(), &both), 0, &["25.0 % of the lines"]);
}

#[cfg(unix)]
#[test]
fn links_and_names_that_are_no_text_fail_and_are_never_skipped() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let secret = tempfile::tempdir().unwrap();
    fs::write(secret.path().join("junit.xml"), suite(99, "")).unwrap();
    let ends = |change: &dyn Fn(&Path), parts: &[&str]| {
        let folder = build(&suite(3, ""));
        change(&folder.path().join("out"));
        let output = gate(folder.path(), &["out"]);
        ends(&output, 1, parts);
        assert!(!said(&output).contains("99"), "{}", said(&output));
    };
    let link = "it is a symbolic link, which is not followed";
    ends(
        &|out| symlink(secret.path().join("junit.xml"), out.join("reports/b.xml")).unwrap(),
        &[link, "reports/b.xml"],
    );
    ends(
        &|out| {
            fs::remove_dir_all(out.join("reports")).unwrap();
            symlink(secret.path(), out.join("reports")).unwrap();
        },
        &[link],
    );
    ends(
        &|out| {
            fs::remove_file(out.join("commit.txt")).unwrap();
            symlink(secret.path().join("junit.xml"), out.join("commit.txt")).unwrap();
        },
        &[link, "commit.txt"],
    );
    ends(
        &|out| {
            let name = OsStr::from_bytes(b"reports/caf\xe9.xml");
            fs::write(out.join(name), suite(2, "<testcase><failure/></testcase>")).unwrap();
        },
        &["its name is not UTF-8"],
    );
}

#[test]
fn a_history_is_begun_compared_with_and_kept_when_the_gate_fails() {
    let arguments = |run| ["out", "--history", "history.json", "--run", run];
    let folder = build(&suite(10, ""));
    ends(
        &gate(folder.path(), &arguments("1")),
        0,
        &["there is no earlier run that passed"],
    );
    let junit = folder.path().join("out/reports/junit.xml");
    fs::write(&junit, suite(9, "")).unwrap();
    let before = fs::read(folder.path().join("history.json")).unwrap();
    ends(
        &gate(folder.path(), &arguments("2")),
        1,
        &["9 ran, 10 did before", "shop lost 1"],
    );
    assert_eq!(
        fs::read(folder.path().join("history.json")).unwrap(),
        before
    );
    fs::write(&junit, suite(11, "")).unwrap();
    ends(
        &gate(folder.path(), &arguments("3")),
        0,
        &["11 ran, 10 did before"],
    );
    let history: Value =
        serde_json::from_slice(&fs::read(folder.path().join("history.json")).unwrap()).unwrap();
    let runs: Vec<_> = history["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["run"])
        .collect();
    assert_eq!(runs, ["1", "3"]);
    fs::write(folder.path().join("history.json"), "{").unwrap();
    ends(
        &gate(folder.path(), &arguments("4")),
        2,
        &["could not read the history"],
    );
}

#[test]
fn runs_that_end_at_once_are_all_remembered() {
    const RUNS: usize = 8;
    let folder = build(&suite(10, ""));
    let started: Vec<_> = (0..RUNS)
        .map(|run| {
            Command::new(env!("CARGO_BIN_EXE_penstock"))
                .args(["gate", "out", "--history", "history.json", "--run"])
                .arg(run.to_string())
                .current_dir(folder.path())
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut run in started {
        assert!(run.wait().unwrap().success());
    }
    let history = fs::read(folder.path().join("history.json")).unwrap();
    let history: Value = serde_json::from_slice(&history).unwrap();
    assert_eq!(history["points"].as_array().unwrap().len(), RUNS);
}

#[test]
fn no_output_carries_a_control_character_or_markup_out_of_a_report() {
    let hostile = "<testcase name='a&#x1b;[2Jb&#x7;&lt;script&gt;alert(1)&lt;/script&gt;'>\
                   <failure message=']]&gt;&#x1b;]0;title&#x7;&lt;img src=x&gt;'/></testcase>";
    let folder = build(&suite(1, hostile));
    for format in ["text", "json", "markdown", "html"] {
        let output = gate(folder.path(), &["out", "--format", format]);
        ends(&output, 1, &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        let control = text
            .chars()
            .find(|c| c.is_control() && !matches!(c, '\n' | '\t'));
        assert_eq!(control, None, "{format}");
        // In Markdown such a name stands as code, which shared/pages' own laws are about.
        if format == "html" {
            assert!(!text.contains("<script>alert") && !text.contains("<img src=x"));
        }
    }
}

#[test]
fn the_commit_is_compared_with_the_one_given() {
    let folder = build(&suite(1, ""));
    let config = CONFIG.replace("rules:", "rules:\n      same-commit: fail");
    fs::write(folder.path().join("penstock.yaml"), config).unwrap();
    ends(
        &gate(folder.path(), &["out", "--commit", COMMIT]),
        0,
        &["same-commit"],
    );
    let other = gate(folder.path(), &["out", "--commit", "fedcba9876543210"]);
    ends(&other, 1, &["the release is of fedcba9876543210"]);
}
