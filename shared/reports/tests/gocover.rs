//! Go's coverage profiles.

use std::fmt::Write;

use proptest::prelude::*;
use reports::{Content, CoverageReport, Ratio, ReadError};

fn try_read(profile: &str) -> Result<CoverageReport, ReadError> {
    let gocover = Some("gocover".parse().unwrap());
    match reports::read("c.out", profile.as_bytes(), gocover)?.content {
        Content::Coverage(report) => Ok(report),
        content => panic!("another report: {content:?}"),
    }
}

fn read(profile: &str) -> CoverageReport {
    let detected = reports::read("c.out", profile.as_bytes(), None).unwrap();
    assert_eq!(detected.format.name(), "gocover");
    try_read(profile).unwrap()
}

fn lines(report: &CoverageReport) -> Vec<(u32, bool)> {
    let (_, file) = report.files().next().unwrap();
    file.map().lines().collect()
}

#[test]
fn statements_are_counted_and_lines_are_marked() {
    let report = read(
        "mode: set\nx.org/a/a.go:3.20,5.9 2 1\nx.org/a/a.go:5.9,7.3 4 0\nx.org/a/a.go:9.2,9.10 1 0\n",
    );
    assert_eq!(report.lines(), Ratio::new(2, 7));
    let expected = [
        (3, true),
        (4, true),
        (5, true),
        (6, false),
        (7, false),
        (9, false),
    ];
    assert_eq!(lines(&report), expected);
    assert_eq!(report.branches(), Ratio::default());
}

#[test]
fn a_block_of_several_test_binaries_counts_once_and_ran_when_it_ran_in_any() {
    let report = read("mode: count\na.go:1.1,2.2 3 0\na.go:1.1,2.2 3 7\na.go:1.1,2.2 3 0\n");
    assert_eq!(report.lines(), Ratio::new(3, 3));
    let error = try_read("mode: set\na.go:1.1,2.2 3 0\na.go:1.1,2.2 4 1\n").unwrap_err();
    assert!(
        matches!(error, ReadError::Malformed { at, .. } if at.line == 3),
        "{error}"
    );
}

#[test]
fn profiles_put_one_behind_the_other_are_one() {
    let report =
        read("mode: set\na.go:1.1,2.2 3 0\n\nmode: atomic\na.go:1.1,2.2 3 1\nb.go:1.1,2.2 1 0\n");
    assert_eq!(report.lines(), Ratio::new(3, 4));
}

#[test]
fn a_block_without_statements_marks_no_line() {
    let report = read("mode: set\na.go:1.10,1.12 0 0\n");
    assert_eq!((report.lines(), lines(&report)), (Ratio::new(0, 0), vec![]));
}

#[test]
fn a_profile_without_blocks_is_a_report_of_nothing() {
    assert_eq!(read("mode: atomic\n").lines(), Ratio::default());
}

#[test]
fn a_path_may_hold_blanks_and_colons() {
    let report = read("mode: set\nC:/my code/a.go:1.1,2.2 3 1\r\n");
    assert_eq!(report.files().next().unwrap().0, "C:/my code/a.go");
}

#[test]
fn what_is_no_block_is_broken_and_what_has_no_end_is_cut_off() {
    for line in [
        "a.go",
        "a.go:1.1,2.2",
        "a.go:1.1,2.2 1",
        "a.go:1,2 1 1",
        "a.go:1.1,2.2 -1 1",
        "a.go:1.1,2.2 1 x",
        "a.go:1.1,99999999999.2 1 1",
        "1.1,2.2 1 1",
        "mode: other",
    ] {
        let error = try_read(&format!("mode: set\n{line}\n")).unwrap_err();
        assert!(
            matches!(error, ReadError::Malformed { at, .. } if at.line == 2),
            "{line}: {error}"
        );
        let error = try_read(&format!("mode: set\n{line}")).unwrap_err();
        assert!(
            matches!(error, ReadError::Truncated { .. }),
            "{line}: {error}"
        );
    }
    let error = try_read("a.go:1.1,2.2 1 1\n").unwrap_err();
    assert!(
        matches!(error, ReadError::Malformed { at, .. } if at.line == 1),
        "{error}"
    );
}

#[test]
fn blocks_that_overlap_cost_no_more_than_their_lines() {
    let mut profile = "mode: set\n".to_owned();
    for column in 0..20_000 {
        writeln!(profile, "a.go:1.{column},50000.1 1 {}", column % 2).unwrap();
    }
    let report = read(&profile);
    assert_eq!(report.lines(), Ratio::new(10_000, 20_000));
    let error = try_read("mode: set\na.go:1.1,4294967295.1 1 1\n").unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        files in prop::collection::btree_map(
            "x[.]org/[a-z]{1,3}[.]go",
            prop::collection::btree_map((1..90u32, 1..80u32), (0..5u32, 1..5u64, 0..2u32), 1..20),
            1..6,
        ),
    ) {
        let mut profile = "mode: count\n".to_owned();
        for (path, blocks) in &files {
            for (&(line, column), (more, statements, count)) in blocks {
                let end = line + more;
                writeln!(profile, "{path}:{line}.{column},{end}.99 {statements} {count}").unwrap();
            }
        }
        let report = read(&profile);
        prop_assert_eq!(report.files().count(), files.len());
        for (path, file) in report.files() {
            let (mut sum, mut ran) = (0, 0);
            let mut lines = std::collections::BTreeMap::new();
            for (&(line, _), &(more, statements, count)) in &files[path] {
                sum += statements;
                ran += if count > 0 { statements } else { 0 };
                for line in line..=line + more {
                    *lines.entry(line).or_insert(false) |= count > 0;
                }
            }
            prop_assert_eq!(file.lines(), Ratio::new(ran, sum));
            prop_assert!(file.map().lines().eq(lines));
        }
    }
}
