//! llvm-cov's JSON.

use std::collections::BTreeMap;

use proptest::prelude::*;
use reports::{Content, CoverageReport, Ratio, ReadError, Report};
use serde_json::{Value, json};

fn export(files: Value) -> Value {
    json!({"data": [{"files": files, "totals": {}}], "type": "llvm.coverage.json.export", "version": "2.0.1"})
}

fn try_read(json: &Value) -> Result<Report, ReadError> {
    reports::read("coverage.json", json.to_string().as_bytes(), None)
}

fn read(json: &Value) -> CoverageReport {
    let report = try_read(json).unwrap();
    assert_eq!(report.format.name(), "llvm-cov");
    match report.content {
        Content::Coverage(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

fn lines(segments: Value) -> Vec<(u32, bool)> {
    let report = read(&export(json!([{"filename": "a.rs", "segments": segments}])));
    let (_, file) = report.files().next().unwrap();
    file.map().lines().collect()
}

#[test]
fn a_region_goes_on_until_the_next_segment() {
    let segments = json!([[2, 5, 1, true, true, false], [4, 2, 0, false, false, false]]);
    assert_eq!(lines(segments), [(2, true), (3, true), (4, true)]);
}

#[test]
fn a_line_ran_when_any_region_on_it_did() {
    // `if a { return; }` of which the body never ran.
    let segments = json!([
        [1, 1, 5, true, true, false],
        [2, 8, 0, true, true, false],
        [2, 20, 5, true, false, false],
        [4, 2, 0, false, false, false],
    ]);
    assert_eq!(
        lines(segments),
        [(1, true), (2, true), (3, true), (4, true)]
    );
}

#[test]
fn a_body_that_never_ran_did_not_run_on_its_own_lines() {
    let segments = json!([
        [1, 1, 5, true, true, false],
        [2, 8, 0, true, true, false],
        [4, 6, 5, true, false, false],
        [5, 2, 0, false, false, false],
    ]);
    assert_eq!(
        lines(segments),
        [(1, true), (2, true), (3, false), (4, false), (5, true)]
    );
}

#[test]
fn what_is_skipped_or_between_regions_cannot_run() {
    let segments = json!([
        [1, 1, 1, true, true, false],
        [2, 2, 0, false, false, false],
        // Code that the preprocessor took out.
        [5, 1, 0, false, true, false],
        [7, 1, 0, false, false, false],
        [9, 1, 3, true, true, false],
        [9, 9, 0, false, false, false],
    ]);
    assert_eq!(lines(segments), [(1, true), (2, true), (9, true)]);
}

#[test]
fn a_gap_is_counted_as_what_goes_on_and_not_as_what_begins() {
    let segments = json!([
        [1, 1, 2, true, true, false],
        [2, 9, 0, true, true, true],
        [4, 1, 2, true, true, false],
        [5, 1, 0, false, false, false],
    ]);
    assert_eq!(
        lines(segments),
        [(1, true), (2, true), (3, false), (4, true), (5, true)]
    );
}

#[test]
fn the_summary_counts_where_it_differs() {
    let segments = json!([[1, 1, 1, true, true, false], [2, 9, 0, false, false, false]]);
    let summary = json!({
        "lines": {"count": 5, "covered": 4, "percent": 80.0},
        "branches": {"count": 6, "covered": 1, "notcovered": 5},
    });
    let file = json!({"filename": "a.rs", "segments": segments, "summary": summary});
    let report = read(&export(json!([file])));
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(4, 5), Ratio::new(1, 6))
    );
    let (_, file) = report.files().next().unwrap();
    assert_eq!(file.map().lines().count(), 2);
}

#[test]
fn the_conditions_of_each_instance_of_a_template_count_once() {
    let branches = json!([
        [3, 5, 3, 9, 1, 0, 0, 0, 4],
        [3, 5, 3, 9, 0, 7, 0, 0, 4],
        [3, 15, 3, 19, 0, 0, 0, 0, 4],
    ]);
    let report = read(&export(json!([{"filename": "a.h", "branches": branches}])));
    assert_eq!(report.branches(), Ratio::new(2, 4));
}

#[test]
fn a_long_report_is_detected_by_its_files() {
    let region = json!([1, 1, 1, true, true, false]);
    let many = vec![region; 5_000];
    for first in ["branches", "expansions", "segments"] {
        let file = json!({first: many.clone(), "filename": "a.rs"});
        assert!(try_read(&export(json!([file]))).is_ok(), "{first}");
    }
}

#[test]
fn what_every_report_has_is_missed_and_what_is_out_of_order_is_refused() {
    let export_type = "llvm.coverage.json.export";
    for lacking in [
        json!({"type": export_type}),
        json!({"data": {}, "type": export_type}),
        json!({"data": [{}], "type": export_type}),
        json!({"data": [{"files": 1}], "type": export_type}),
        export(json!([{"segments": []}])),
        export(
            json!([{"filename": "a", "segments": [[9, 1, 1, true, true], [8, 1, 1, true, true]]}]),
        ),
    ] {
        let error = try_read(&lacking).unwrap_err();
        assert!(
            matches!(error, ReadError::Malformed { .. }),
            "{lacking}: {error}"
        );
    }
}

#[test]
fn odd_values_are_bounded_or_passed_over() {
    for segments in [
        json!([[], ["x", null], [[], {}], [1], [2, 3]]),
        json!([[1, 1, -5, true, true, false]]),
        json!({"a": 1}),
        json!([[1, 1, 1, "true", 1, null, 7, 8]]),
    ] {
        assert!(
            lines(segments.clone()).iter().all(|(_, ran)| !ran),
            "{segments}"
        );
    }
    // Nothing is marked between, so this takes no time.
    let far = json!([
        [1, 1, 0, false, false, false],
        [u64::MAX, 1, 0, false, false, false]
    ]);
    assert_eq!(lines(far), []);
    let far = json!([
        [1, 1, 1, true, true, false],
        [u64::MAX, 1, 0, false, false, false]
    ]);
    let error = try_read(&export(json!([{"filename": "a", "segments": far}]))).unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
    for branches in [
        json!([[]]),
        json!([[-1, 2, 3, 4, 1, 1]]),
        json!([[1e300, 0, 0, 0, 0, 0]]),
    ] {
        let report = try_read(&export(json!([{"filename": "a", "branches": branches}])));
        let is_bounded = matches!(report, Ok(_) | Err(ReadError::TooLarge { .. }));
        assert!(is_bounded, "{report:?}");
    }
}

proptest! {
    #[test]
    fn functions_of_whole_lines_are_read_as_they_ran(
        files in prop::collection::btree_map(
            "src/[a-z]{1,3}[.]rs",
            prop::collection::vec((1..4u64, 1..5u64, 0..3u64), 1..8),
            1..5,
        ),
    ) {
        let mut expected: BTreeMap<&str, Vec<(u32, bool)>> = BTreeMap::new();
        let files: Vec<_> = files.iter().map(|(path, functions)| {
            let mut line = 1;
            let mut segments = Vec::new();
            let lines = expected.entry(path).or_default();
            for (gap, length, count) in functions {
                line += gap;
                segments.push(json!([line, 1, count, true, true, false]));
                let end = line + length;
                segments.push(json!([end, 2, 0, false, false, false]));
                lines.extend((line..=end).map(|line| (line as u32, *count > 0)));
                line = end;
            }
            json!({"filename": path, "segments": segments})
        }).collect();
        let report = read(&export(json!(files)));
        prop_assert_eq!(report.files().count(), expected.len());
        for (path, file) in report.files() {
            let lines: Vec<_> = file.map().lines().collect();
            prop_assert_eq!(&lines, &expected[path], "{}", path);
        }
    }
}
