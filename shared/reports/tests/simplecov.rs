//! SimpleCov's dialects.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reports::{Content, CoverageReport, Ratio, ReadError, Report};
use serde_json::{Value, json};

fn try_read(json: &Value) -> Result<Report, ReadError> {
    reports::read("coverage.json", json.to_string().as_bytes(), None)
}

fn read(json: &Value) -> CoverageReport {
    let report = try_read(json).unwrap();
    assert_eq!(report.format.name(), "simplecov", "{json}");
    match report.content {
        Content::Coverage(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

/// After the samples that simplecov_json_formatter comes with.
fn formatted() -> Value {
    json!({
        "meta": {"simplecov_version": "0.22.0"},
        "coverage": {
            "/app/lib/cart.rb": {
                "lines": [null, 1, 0, "ignored", 2, null],
                "branches": [
                    {"type": "then", "start_line": 3, "end_line": 3, "coverage": 0},
                    {"type": "else", "start_line": 5, "end_line": 5, "coverage": 2, "inline": true},
                    {"type": "then", "start_line": 4, "end_line": 4, "coverage": "ignored"},
                ],
            },
        },
        "groups": {"coverage": {"lines": {"covered_percent": 50.0}}},
    })
}

#[test]
fn lines_that_cannot_run_or_are_ignored_do_not_count() {
    let report = read(&formatted());
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(2, 3), Ratio::new(1, 2))
    );
    let (path, file) = report.files().next().unwrap();
    assert_eq!(path, "/app/lib/cart.rb");
    assert!(file.map().lines().eq([(2, true), (3, false), (5, true)]));
}

#[test]
fn commands_are_merged() {
    let branches = |hits: [u32; 2]| {
        json!({"[:if, 0, 3, 4, 9, 7]": {
            "[:then, 1, 4, 6, 4, 20]": hits[0],
            "[:else, 2, 5, 4, 8, 11]": hits[1],
        }})
    };
    let file = |lines: Value, hits| json!({"a.rb": {"lines": lines, "branches": branches(hits)}});
    let report = read(&json!({
        "RSpec (1/2)": {"coverage": file(json!([1, 0, 0, null]), [1, 0]), "timestamp": 1795423463},
        "coverage of Cucumber 1.0": {"coverage": file(json!([0, 1, 0, null]), [0, 1]), "timestamp": 1},
    }));
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(2, 3), Ratio::new(2, 2))
    );
}

#[test]
fn before_0_18_a_file_was_the_array_of_its_lines() {
    let report = read(&json!({"RSpec": {"coverage": {"/app/a.rb": [1, null, 0]}, "timestamp": 9}}));
    assert_eq!(report.lines(), Ratio::new(1, 2));
}

#[test]
fn a_condition_in_another_writing_still_counts() {
    let branches = json!({"if": {"then": 1, "else": 0}, "case": {"when": 1, "else": null}});
    let report =
        read(&json!({"RSpec": {"coverage": {"a.rb": {"lines": [1], "branches": branches}}}}));
    assert_eq!(report.branches(), Ratio::new(2, 4));
}

#[test]
fn each_kind_is_detected_whatever_the_order_of_its_keys() {
    // serde_json writes keys in order, so `meta` comes last here.
    assert_eq!(read(&formatted()).files().count(), 1);
    let many: Vec<_> = (0..20_000).collect();
    for late in [
        json!({"coverage": {"a.rb": {"lines": many}}, "meta": {"simplecov_version": "0.22.0"}}),
        json!({"Unit Tests": {"coverage": {"a.rb": {"lines": many}}, "timestamp": 1}}),
        json!({"RSpec": {"coverage": {}, "timestamp": 1}}),
        json!({"coverage": {}, "meta": {"simplecov_version": "0.22.0"}}),
    ] {
        read(&late);
    }
    for other in [
        json!({"coverage": {"a.js": {"1": 0}}}),
        json!({"/a.coverage": {"path": "/a.coverage", "statementMap": {}, "s": {}}}),
        json!({"total": {"lines": {"total": 1, "covered": 1}}}),
        json!([]),
        json!({}),
    ] {
        let error = try_read(&other).unwrap_err();
        assert!(
            matches!(error, ReadError::NoFormat { .. }),
            "{other}: {error}"
        );
    }
}

#[test]
fn what_every_report_has_is_missed() {
    let simplecov = Some("simplecov".parse().unwrap());
    for lacking in [
        json!({}),
        json!([]),
        json!({"RSpec": {"timestamp": 1}}),
        json!({"RSpec": {"coverage": 85.0}}),
        json!({"RSpec": {"coverage": {"a.rb": {}}}}),
        json!({"RSpec": {"coverage": {"a.rb": {"lines": {}}}}}),
        json!({"RSpec": {"coverage": {"a.rb": 1}}}),
        json!({"coverage": {"a.rb": null}}),
    ] {
        let text = lacking.to_string();
        let error = reports::read("c.json", text.as_bytes(), simplecov).unwrap_err();
        assert!(
            matches!(error, ReadError::Malformed { .. }),
            "{lacking}: {error}"
        );
    }
}

#[test]
fn the_first_command_is_when_it_began() {
    let command = |at: u64| json!({"coverage": {}, "timestamp": at});
    let report = try_read(&json!({"a": command(1795423464), "b": command(1795423463)})).unwrap();
    let expected = "2026-11-23T08:44:23Z".parse().unwrap();
    assert_eq!(report.provenance.began, Some(expected));
}

#[test]
fn a_line_beyond_the_bound_is_refused() {
    let mut lines = vec![Value::Null; 1_000_000];
    let report = |lines: &[Value]| try_read(&json!({"RSpec": {"coverage": {"a.rb": lines}}}));
    lines.push(Value::Null);
    assert!(report(&lines).is_ok());
    lines.push(json!(1));
    assert!(matches!(report(&lines), Err(ReadError::TooLarge { .. })));
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        files in prop::collection::btree_map(
            "/app/[a-z.]{1,4}[.]rb",
            (
                prop::collection::vec(prop::option::of(0..3u32), 1..30),
                prop::collection::btree_map(1..30u32, prop::collection::vec(0..3u32, 1..4), 0..4),
            ),
            1..6,
        ),
    ) {
        let coverage: BTreeMap<_, _> = files.iter().map(|(path, (lines, conditions))| {
            let branches: BTreeMap<_, _> = conditions.iter().map(|(line, hits)| {
                let ways = hits.iter().enumerate();
                let ways: BTreeMap<_, _> = ways
                    .map(|(way, hits)| (format!("[:when, {way}, {line}, 1, {line}, 9]"), hits))
                    .collect();
                (format!("[:case, 0, {line}, 0, {line}, 9]"), ways)
            }).collect();
            (path, json!({"lines": lines, "branches": branches}))
        }).collect();
        let report = read(&json!({"RSpec": {"coverage": coverage, "timestamp": 1}}));
        prop_assert_eq!(report.files().count(), files.len());
        for (path, file) in report.files() {
            let (lines, conditions) = &files[path];
            let run = (1..).zip(lines).filter_map(|(line, hits)| Some((line, (*hits)? > 0)));
            prop_assert!(file.map().lines().eq(run));
            let ways: Vec<_> = conditions.values().flatten().collect();
            let ran = ways.iter().filter(|hits| ***hits > 0).count() as u64;
            prop_assert_eq!(file.branches(), Ratio::new(ran, ways.len() as u64));
        }
    }
}
