//! The fixtures, each written by a real tool, say what the tool's own summary said.

use std::path::Path;

use reports::{Content, CoverageReport, Ratio, ReadError, TestReport, Totals};

const FIXTURES: &[&str] = &[
    "coveragepy.xml",
    "gcovr.xml",
    "istanbul.xml",
    "nextest.xml",
    "node.xml",
    "pytest-collection-error.xml",
    "pytest-no-tests.xml",
    "pytest.xml",
    "unittest.xml",
];

fn bytes(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    std::fs::read(folder.join(name)).unwrap()
}

fn tests(name: &str) -> TestReport {
    match reports::read(name, bytes(name).as_slice(), None)
        .unwrap()
        .content
    {
        Content::Tests(report) => report,
        content => panic!("{name} is another report: {content:?}"),
    }
}

fn coverage(name: &str) -> CoverageReport {
    match reports::read(name, bytes(name).as_slice(), None)
        .unwrap()
        .content
    {
        Content::Coverage(report) => report,
        content => panic!("{name} is another report: {content:?}"),
    }
}

#[test]
fn pytest_counts_a_broken_teardown_as_the_same_test_and_a_rerun_as_another_case() {
    // pytest says: 2 failed, 5 passed, 1 skipped, 1 xfailed, 2 errors, 1 rerun. One of the errors
    // is of a test that had failed; the first attempt of the rerun looks like a test that passed.
    let report = tests("pytest.xml");
    let expected = Totals {
        tests: 11,
        passed: 6,
        failed: 2,
        errors: 1,
        skipped: 2,
        flaky: 0,
    };
    assert_eq!(report.totals, expected);
    assert!(report.duration_seconds > 0.0);
    let messages: Vec<_> = report
        .failing
        .iter()
        .map(|case| &case.message[..])
        .collect();
    let expected = [
        "AssertionError: naïve #x1B[31mexpectation#x1B[0m & <tag>",
        "failed on setup with \"RuntimeError: fixture broke\"",
        "AssertionError: the call failed",
    ];
    assert_eq!(messages, expected);
}

#[test]
fn pytest_without_tests_is_a_report_of_zero_tests() {
    assert_eq!(tests("pytest-no-tests.xml").totals, Totals::default());
}

#[test]
fn pytest_that_cannot_import_a_file_is_an_error() {
    let totals = tests("pytest-collection-error.xml").totals;
    assert_eq!((totals.tests, totals.errors), (1, 1));
}

#[test]
fn unittest_says_what_its_summary_said() {
    // FAILED (failures=1, errors=2, skipped=1)
    let expected = Totals {
        tests: 6,
        passed: 2,
        failed: 1,
        errors: 2,
        skipped: 1,
        flaky: 0,
    };
    let report = tests("unittest.xml");
    assert_eq!(report.totals, expected);
    let last = report.failing.last().unwrap();
    assert_eq!(
        (&last.name[..], &last.message[..]),
        ("setUpClass (test_ut.Broken)", "no database")
    );
}

#[test]
fn node_counts_each_test_once_whatever_its_nesting() {
    // A test with subtests is written as a suite, so Node's own `fail 4` counts it, and we do not.
    let report = tests("node.xml");
    let expected = Totals {
        tests: 7,
        passed: 2,
        failed: 3,
        errors: 0,
        skipped: 2,
        flaky: 0,
    };
    assert_eq!(report.totals, expected);
    let thrown = &report.failing[1];
    assert_eq!(
        (&thrown.suite[..], &thrown.name[..]),
        ("nested", "throws red")
    );
}

#[test]
fn nextest_counts_a_test_that_passed_on_its_third_attempt_as_flaky() {
    // 3 tests run: 2 passed (1 flaky), 1 failed, 1 skipped; those skipped are not written.
    let expected = Totals {
        tests: 3,
        passed: 2,
        failed: 1,
        errors: 0,
        skipped: 0,
        flaky: 1,
    };
    let report = tests("nextest.xml");
    assert_eq!(report.totals, expected);
    assert!((0.01..10.0).contains(&report.duration_seconds));
    assert!(
        report.failing[0]
            .message
            .starts_with("thread 'tests::always_fails'")
    );
}

#[test]
fn coverage_counted_from_the_lines_is_what_each_tool_counted() {
    for (name, lines, branches) in [
        ("coveragepy.xml", Ratio::new(7, 10), Ratio::new(4, 6)),
        ("gcovr.xml", Ratio::new(4, 5), Ratio::new(6, 10)),
        ("istanbul.xml", Ratio::new(11, 14), Ratio::new(3, 5)),
    ] {
        let report = coverage(name);
        assert_eq!(
            (report.lines(), report.branches()),
            (lines, branches),
            "{name}"
        );
    }
}

#[test]
fn a_report_cut_off_anywhere_is_truncated_and_never_a_report() {
    for name in FIXTURES {
        let bytes = bytes(name);
        let whole = bytes.trim_ascii_end().len();
        // Every place of a short report; a step that hits every kind of place of a long one.
        let step = if whole < 1500 { 1 } else { 17 };
        for length in (0..whole).step_by(step) {
            match reports::read(name, &bytes[..length], None) {
                Err(ReadError::Truncated { .. }) => {}
                Err(ReadError::Empty { .. }) if length == 0 => {}
                other => panic!("{name} cut at {length}: {other:?}"),
            }
        }
    }
}

#[test]
fn every_fixture_is_read_here() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".xml"))
        .collect();
    names.sort();
    assert_eq!(names, FIXTURES);
}
