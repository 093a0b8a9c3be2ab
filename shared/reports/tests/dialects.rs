//! JUnit's XML as each tool writes it, counted as the tool itself counted.

use std::fs;
use std::path::{Path, PathBuf};

use reports::{Content, ReadError, TestReport};

/// Tests, passed, failed, errors, skipped, flaky of each fixture; README.md there says what the tool
/// said of the same run.
const COUNTED: &[(&str, [u64; 6])] = &[
    ("tests/ant-junit.xml", [7, 2, 2, 2, 1, 0]),
    ("tests/behave-junit.xml", [6, 2, 1, 2, 1, 0]),
    // Of the tests that failed two may.
    ("tests/catch2-junit.xml", [6, 2, 1, 1, 2, 0]),
    // The program that is missing is an error: CTest counts 4 failed.
    ("tests/ctest.xml", [8, 2, 3, 1, 2, 0]),
    ("tests/cucumber-junit.xml", [9, 4, 4, 0, 1, 0]),
    ("tests/gotestsum.xml", [2, 2, 0, 0, 0, 1]),
    // One of those skipped is disabled. The suite whose set-up failed is not written.
    ("tests/gtest.xml", [9, 3, 3, 0, 3, 0]),
    ("tests/jest-junit-suite-errors.xml", [9, 5, 2, 1, 1, 0]),
    // The file that could not be loaded is not written, and the test to be written looks passed.
    ("tests/jest-junit.xml", [8, 5, 2, 0, 1, 0]),
    ("tests/junit5-console.xml", [9, 4, 1, 2, 2, 0]),
    // Those skipped are not written.
    ("tests/mocha-junit.xml", [7, 4, 3, 0, 0, 0]),
    ("tests/mocha-xunit.xml", [9, 4, 3, 0, 2, 0]),
    // A risky test is an error, an incomplete one is skipped.
    ("tests/phpunit.xml", [9, 3, 1, 3, 2, 0]),
    // The flaky one looks passed.
    ("tests/playwright-junit.xml", [9, 4, 3, 0, 2, 0]),
    // Those to be done are not written.
    ("tests/prove-junit.xml", [7, 2, 3, 0, 2, 0]),
    // One that failed and whose clean-up broke is one test, and the first attempt looks passed.
    ("tests/pytest-xdist.xml", [17, 8, 4, 2, 3, 0]),
    ("tests/robot-xunit.xml", [4, 1, 2, 0, 1, 0]),
    // RSpec says that an error occurred, and the file does not.
    ("tests/rspec-load-error.xml", [0; 6]),
    ("tests/rspec.xml", [10, 3, 4, 0, 3, 0]),
    ("tests/surefire-flaky.xml", [7, 4, 1, 1, 1, 2]),
    ("tests/surefire-parameterized.xml", [3, 2, 1, 0, 0, 0]),
    // One skip is of a test that depends on one that failed, which looks like any error.
    ("tests/testng-junit.xml", [8, 4, 1, 2, 1, 1]),
    // A file that could not be loaded and a set-up that broke are failed cases.
    ("tests/vitest-junit.xml", [12, 5, 4, 0, 3, 0]),
    ("findings/eslint-junit.xml", [7, 2, 5, 0, 0, 0]),
    // Two findings of one rule in one file have one name.
    ("findings/ruff-junit.xml", [7, 0, 7, 0, 0, 0]),
];

fn path(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    folder.join(name)
}

fn tests(name: &str) -> TestReport {
    let report = reports::read(name, fs::File::open(path(name)).unwrap(), None).unwrap();
    assert_eq!(report.format.name(), "junit", "{name}");
    match report.content {
        Content::Tests(tests) => tests,
        content => panic!("{name} is another report: {content:?}"),
    }
}

#[test]
fn each_tool_s_report_counts_as_the_tool_counted() {
    for (name, expected) in COUNTED {
        let totals = tests(name).totals;
        let counted = [
            totals.tests,
            totals.passed,
            totals.failed,
            totals.errors,
            totals.skipped,
            totals.flaky,
        ];
        assert_eq!(counted, *expected, "{name}");
    }
}

#[test]
fn each_report_cut_off_anywhere_is_truncated() {
    for (name, _) in COUNTED {
        let text = fs::read_to_string(path(name)).unwrap();
        let text = text.trim_end();
        // A step that hits every kind of place.
        for length in (1..text.len())
            .step_by(53)
            .filter(|&at| text.is_char_boundary(at))
        {
            let read = reports::read(name, &text.as_bytes()[..length], None);
            let is_truncated = matches!(read, Err(ReadError::Truncated { .. }));
            assert!(is_truncated, "{name} cut at {length}: {read:?}");
        }
    }
}

#[test]
fn a_phpunit_failure_is_told_by_what_was_wrong_and_not_by_its_name() {
    let report = tests("tests/phpunit.xml");
    let messages: Vec<_> = report
        .failing
        .iter()
        .map(|case| &case.message[..])
        .collect();
    assert_eq!(messages[1], "RuntimeException: thrown");
    assert!(
        messages
            .iter()
            .all(|message| !message.starts_with("CartTest::")),
        "{messages:?}"
    );
}

#[test]
fn what_a_tool_could_not_load_is_listed_where_the_file_has_it() {
    for (name, listed) in [
        ("tests/jest-junit-suite-errors.xml", "jest/broken.test.js"),
        ("tests/vitest-junit.xml", "broken.test.js"),
    ] {
        let report = tests(name);
        let is_listed = report.failing.iter().any(|case| case.name == listed);
        assert!(is_listed, "{name}: {:?}", report.failing);
    }
}
