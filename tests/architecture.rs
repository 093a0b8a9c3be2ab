//! Dependencies point one way, and the rules of the house hold, checked over the workspace itself.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each crate may depend on, of ours. A crate that is not here is a function.
const MAY_USE: &[(&str, &[&str])] = &[
    ("penstock-stats", &[]),
    ("penstock-reports", &[]),
    ("penstock-release", &["penstock-stats", "penstock-reports"]),
    // reports: what an artifact's bytes must be able to do. stats: the counts of the in-memory metrics.
    (
        "penstock-engine",
        &["penstock-release", "penstock-reports", "penstock-stats"],
    ),
    (
        "penstock-actions",
        &[
            "penstock-engine",
            "penstock-pages",
            "penstock-release",
            "penstock-reports",
        ],
    ),
    (
        "penstock-aws",
        &[
            "penstock-engine",
            "penstock-release",
            "penstock-reports",
            "penstock-stats",
        ],
    ),
    // stats: the judge's verdicts, and how it writes numbers.
    (
        "penstock-pages",
        &["penstock-release", "penstock-reports", "penstock-stats"],
    ),
    ("penstock-lambda", &["penstock-engine", "penstock-release"]),
    ("penstock-tests", &[]),
];
const FUNCTION_MAY_USE: &[&str] = &["penstock-lambda", "penstock-actions", "penstock-aws"];
/// May use everything, and be used by no one but benchmarks.
const TOOLS: &[&str] = &["penstock", "penstock-bench"];
/// A main.rs of a function is wiring and nothing else.
const MAIN_LINES_MAX: usize = 40;
/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &[
    "utils", "util", "common", "helpers", "helper", "models", "misc",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Normal dependencies, by package.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let all = package["dependencies"].as_array().unwrap().iter();
            let normal = all.filter(|d| d["kind"].is_null());
            let names = normal.map(|d| d["name"].as_str().unwrap().to_owned());
            (
                package["name"].as_str().unwrap().to_owned(),
                names.collect(),
            )
        })
        .collect()
}

/// Every Rust file of the workspace, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && !name.starts_with('.') && name != "target" {
                folders.push(path);
            } else if name.ends_with(".rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 50, "only {} files were found", found.len());
    found
}

#[test]
fn dependencies_point_one_way() {
    let rules: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let all = dependencies();
    for (package, uses) in &all {
        if TOOLS.contains(&package.as_str()) {
            continue;
        }
        let allowed = rules
            .get(package.as_str())
            .copied()
            .unwrap_or(FUNCTION_MAY_USE);
        for used in uses.iter().filter(|name| all.contains_key(*name)) {
            assert!(
                allowed.contains(&used.as_str()),
                "{package} must not depend on {used}"
            );
        }
    }
}

#[test]
fn only_the_aws_crate_imports_the_sdk() {
    for (package, uses) in dependencies() {
        let sdk = uses
            .iter()
            .find(|name| name.starts_with("aws-sdk-") || *name == "aws-config");
        assert!(
            sdk.is_none() || package == "penstock-aws",
            "{package} imports {sdk:?}"
        );
    }
}

#[test]
fn what_decides_knows_no_runtime_and_no_network() {
    let all = dependencies();
    for package in ["penstock-stats", "penstock-reports", "penstock-release"] {
        let effects = ["tokio", "hyper", "reqwest", "tracing", "futures"];
        let found = effects.iter().find(|name| all[package].contains(**name));
        assert_eq!(found, None, "{package} decides and must not act");
    }
}

#[test]
fn time_comes_from_the_clock_alone() {
    for (path, text) in sources() {
        let name = path.display().to_string();
        let decides = name.contains("/shared/") || name.contains("/functions/");
        let exempt = name.contains("/tests")
            || name.ends_with("aws/src/clock.rs")
            || name.contains("aws/src/local/");
        if decides && !exempt {
            for clock in ["SystemTime::now", "Timestamp::now", "Instant::now"] {
                assert!(!text.contains(clock), "{name} asks for the time");
            }
        }
    }
}

#[test]
fn a_functions_main_is_wiring() {
    let functions = std::fs::read_dir(root().join("functions")).unwrap();
    let mut seen = 0;
    for function in functions {
        let main = function.unwrap().path().join("src/main.rs");
        let lines = std::fs::read_to_string(&main).unwrap().lines().count();
        assert!(
            lines <= MAIN_LINES_MAX,
            "{} has {lines} lines",
            main.display()
        );
        seen += 1;
    }
    assert_eq!(
        seen, 5,
        "test-gate, canary-shift, health-check, rollback-trigger, announce"
    );
}

#[test]
fn names_say_something_and_lints_are_silenced_with_a_reason() {
    for (path, text) in sources() {
        let parts = path
            .iter()
            .map(|part| part.to_string_lossy().replace(".rs", ""));
        for part in parts {
            assert!(
                !EMPTY_NAMES.contains(&part.as_str()),
                "{} says nothing",
                path.display()
            );
        }
        let allow = ["#[", "allow("].concat();
        assert!(
            !text.contains(&allow),
            "{}: use expect with a reason",
            path.display()
        );
    }
}
