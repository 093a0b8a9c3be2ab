//! Reads the reports that other projects collected as test data, where they are at hand: in
//! `shared/data/reports` beside the workspace.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use reports::{Content, Format, ReadError, Totals};

type Reason = fn(&ReadError) -> bool;

const TRUNCATED: Reason = |error| matches!(error, ReadError::Truncated { .. });
const ENTITIES: Reason = |error| matches!(error, ReadError::Entities { .. });
const MALFORMED: Reason = |error| matches!(error, ReadError::Malformed { .. });

/// Those that are not read, and why.
const REFUSED: [(&str, Reason); 3] = [
    // Cut off in the middle of what a test printed.
    (
        "action-junit-report/corrupt-junit/e2e-tests/corrupt/target/sf-reports/TEST-test.CorruptTest.xml",
        TRUNCATED,
    ),
    // Attacks through external entities: a document and the DTD that it fetches.
    ("junit-plugin/testXxe-xxe.xml", ENTITIES),
    ("junit-plugin/testXxe-oob.xml", MALFORMED),
];

/// Those that are not JUnit's, their formats, and what they hold. Of the results of .NET each file says
/// the same itself, but for the drafts of NUnit 3, which count an invalid test as skipped.
const OTHERS: [(&str, &str, [u64; 6]); 8] = [
    (
        "test-reporter/dotnet-nunit.xml",
        "nunit",
        [9, 3, 3, 2, 1, 0],
    ),
    // One is inconclusive.
    (
        "test-reporter/external/nunit-sample.xml",
        "nunit",
        [18, 12, 1, 1, 4, 0],
    ),
    ("test-reporter/dotnet-trx.trx", "trx", [11, 5, 5, 0, 1, 0]),
    // Two are clean-ups.
    (
        "test-reporter/dotnet-xunitv3.trx",
        "trx",
        [4, 1, 3, 0, 0, 0],
    ),
    ("test-reporter/empty/dotnet-trx.trx", "trx", [0; 6]),
    (
        "test-reporter/empty/dotnet-trx-empty-test-definitions.trx",
        "trx",
        [0; 6],
    ),
    (
        "test-reporter/external/FluentValidation.Tests.trx",
        "trx",
        [804, 803, 0, 0, 1, 0],
    ),
    (
        "test-reporter/external/SilentNotes.trx",
        "trx",
        [79, 67, 0, 0, 12, 0],
    ),
];

/// What some of the others hold, counted by hand or, where they are long, with Python's XML parser:
/// tests, passed, failed, errors, skipped, flaky.
const COUNTED: [(&str, [u64; 6]); 14] = [
    ("action-junit-report/cunit/testEmpty.xml", [0; 6]),
    (
        "action-junit-report/flaky_retries/flaky_all_failures.xml",
        [1, 0, 1, 0, 0, 0],
    ),
    // It passed before it failed, which no retry does: three tests of one name, as the suite says.
    (
        "action-junit-report/flaky_retries/flaky_success_first.xml",
        [3, 1, 1, 1, 0, 0],
    ),
    (
        "action-junit-report/flaky_retries/flaky_with_classname_file.xml",
        [3, 3, 0, 0, 0, 1],
    ),
    (
        "action-junit-report/issues/testDisabled.xml",
        [22, 6, 4, 2, 10, 0],
    ),
    // Disabled and yet failed.
    (
        "action-junit-report/issues/testFailedDisabled.xml",
        [1, 0, 1, 0, 0, 0],
    ),
    (
        "action-junit-report/junit-server-test/report.xml",
        [3, 2, 0, 0, 1, 1],
    ),
    (
        "action-junit-report/junit-web-test/expectedRetries.xml",
        [7, 5, 1, 0, 1, 1],
    ),
    (
        "action-junit-report/multiple_failures/test_multiple_errors.xml",
        [3, 1, 0, 2, 0, 0],
    ),
    (
        "junit-plugin/gh-237/TEST-io.olamy.AlwaysFailTest.xml",
        [1, 0, 1, 0, 0, 0],
    ),
    (
        "junit-plugin/gh-237/TEST-io.olamy.FlakyTest.xml",
        [1, 1, 0, 0, 0, 1],
    ),
    (
        "junit-plugin/junit-report-nested-testsuites.xml",
        [3, 2, 0, 1, 0, 0],
    ),
    (
        "test-reporter/external/java/pulsar-test-report.xml",
        [808, 793, 1, 0, 14, 0],
    ),
    (
        "test-reporter/external/jest/jest-test-results.xml",
        [4239, 4207, 2, 0, 30, 0],
    ),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/reports")
}

fn is_absent(folder: &Path) -> bool {
    let absent = !folder.is_dir();
    if absent {
        println!("the collected reports are absent: only the fixtures are checked");
    }
    absent
}

/// The names of all `.xml` and `.trx` files below `folder`, relative to `root`.
fn names(root: &Path, folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            names(root, &path, into);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "xml" || extension == "trx")
        {
            let name = path.strip_prefix(root).unwrap();
            into.push(name.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn each_is_read_in_its_format_or_refused_for_its_reason() {
    let root = folder();
    if is_absent(&root) {
        return;
    }
    let mut found = Vec::new();
    names(&root, &root, &mut found);
    let mut read = 0;
    for name in &found {
        let report = reports::read(name, File::open(root.join(name)).unwrap(), None);
        let reason = REFUSED.iter().find(|(refused, _)| refused == name);
        match (report, reason) {
            (Ok(report), None) => {
                let other = OTHERS.iter().find(|(other, ..)| other == name);
                let format = other.map_or("junit", |(_, format, _)| format);
                assert_eq!(report.format.name(), format, "{name}");
                read += 1;
            }
            (Err(error), Some((_, is_reason))) if is_reason(&error) => {}
            (report, _) => panic!("{name}: {report:?}"),
        }
    }
    assert_eq!(read + REFUSED.len(), found.len());
}

#[test]
fn those_counted_by_other_means_are_counted_alike() {
    let root = folder();
    if is_absent(&root) {
        return;
    }
    let counted = COUNTED.map(|(name, totals)| (name, "junit", totals));
    for (name, format, [tests, passed, failed, errors, skipped, flaky]) in
        counted.into_iter().chain(OTHERS)
    {
        let format: Format = format.parse().unwrap();
        let file = File::open(root.join(name)).unwrap();
        let Content::Tests(report) = reports::read(name, file, Some(format)).unwrap().content
        else {
            panic!("{name} is no coverage report")
        };
        let expected = Totals {
            tests,
            passed,
            failed,
            errors,
            skipped,
            flaky,
        };
        assert_eq!(report.totals, expected, "{name}");
    }
}

type Counted = (&'static str, [u64; 6]);

/// The files that are neither `.xml` nor `.trx`: the format, and what they hold by their own summaries
/// or, where there is none, counted with Python's JSON parser; or why they are not read.
const JSON: [(&str, Result<Counted, Reason>); 9] = [
    (
        "test-reporter/dart-json.json",
        Ok(("dart", [6, 1, 1, 3, 1, 0])),
    ),
    ("test-reporter/empty/dart-json.json", Ok(("dart", [0; 6]))),
    // It has no `done`, and a test in it has no end.
    (
        "test-reporter/external/flutter/provider-test-results.json",
        Err(TRUNCATED),
    ),
    (
        "test-reporter/golang-json.json",
        Ok(("gotest", [12, 5, 6, 0, 1, 0])),
    ),
    (
        "test-reporter/mocha-json.json",
        Ok(("mocha-json", [6, 1, 4, 0, 1, 0])),
    ),
    (
        "test-reporter/empty/mocha-json.json",
        Ok(("mocha-json", [0; 6])),
    ),
    (
        "test-reporter/external/mocha/mocha-test-results.json",
        Ok(("mocha-json", [839, 833, 0, 0, 6, 0])),
    ),
    // RSpec's own format; its JUnit reports are read.
    (
        "test-reporter/rspec-json.json",
        Err(|error| matches!(error, ReadError::NoFormat { .. })),
    ),
    (
        "test-reporter/empty/rspec-json.json",
        Err(|error| matches!(error, ReadError::NoFormat { .. })),
    ),
];

/// The names of all files below `folder` that are no XML and no page about them.
fn other_names(root: &Path, folder: &Path, into: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            other_names(root, &path, into);
        } else if !matches!(extension, Some("xml" | "trx" | "md")) {
            let name = path.strip_prefix(root).unwrap();
            into.push(name.to_str().unwrap().to_owned());
        }
    }
}

#[test]
fn each_that_is_no_xml_is_counted_as_its_summary_does_or_refused_for_its_reason() {
    let root = folder();
    if is_absent(&root) {
        return;
    }
    let mut found = Vec::new();
    other_names(&root, &root, &mut found);
    let mut expected: Vec<_> = JSON.iter().map(|(name, _)| *name).collect();
    found.sort();
    expected.sort_unstable();
    assert_eq!(found, expected);
    for (name, expected) in JSON {
        let report = reports::read(name, File::open(root.join(name)).unwrap(), None);
        match (report, expected) {
            (Ok(report), Ok((format, [tests, passed, failed, errors, skipped, flaky]))) => {
                assert_eq!(report.format.name(), format, "{name}");
                let Content::Tests(report) = report.content else {
                    panic!("{name} is not of tests")
                };
                let expected = Totals {
                    tests,
                    passed,
                    failed,
                    errors,
                    skipped,
                    flaky,
                };
                assert_eq!(report.totals, expected, "{name}");
            }
            (Err(error), Err(is_reason)) if is_reason(&error) => {}
            (report, _) => panic!("{name}: {report:?}"),
        }
    }
}
