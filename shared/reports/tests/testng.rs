//! TestNG's own reports.

use std::path::Path;

use proptest::prelude::*;
use reports::{Content, ReadError, Report, TestCase, TestReport};

fn report(xml: &str) -> Report {
    reports::read("testng-results.xml", xml.as_bytes(), None).unwrap()
}

fn read(xml: &str) -> TestReport {
    match report(xml).content {
        Content::Tests(tests) => tests,
        content => panic!("another report: {content:?}"),
    }
}

/// A run of one class.
fn of(methods: &str) -> TestReport {
    read(&format!(
        "<testng-results><suite name='s'><test name='t'><class name='shop.Cart'>{methods}</class>\
         </test></suite></testng-results>"
    ))
}

fn totals(report: &TestReport) -> [u64; 6] {
    let totals = report.totals;
    [
        totals.tests,
        totals.passed,
        totals.failed,
        totals.errors,
        totals.skipped,
        totals.flaky,
    ]
}

fn method(attributes: &str, inside: &str) -> String {
    format!("<test-method name='adds' signature='adds()' {attributes}>{inside}</test-method>")
}

const THREW: &str = "<exception class='java.lang.AssertionError'><message><![CDATA[expected 3\nbut]]>\
                     </message></exception>";

fn fixture() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tests");
    std::fs::read_to_string(folder.join("testng-results.xml")).unwrap()
}

#[test]
fn testng_says_what_its_summary_said() {
    // Total tests run: 11, Failures: 2, Skips: 5; Configuration Failures: 1. Two of the skips are
    // attempts of a test that passed on its third; the configuration is the error.
    let report = report(&fixture());
    assert_eq!(report.format.name(), "testng");
    let began = report.provenance.began.unwrap().to_string();
    assert_eq!(began, "2026-11-23T08:30:16Z");
    let Content::Tests(tests) = report.content else {
        panic!("a report of tests")
    };
    assert_eq!(totals(&tests), [10, 4, 2, 1, 3, 1]);
    let ids: Vec<_> = tests.failing.iter().map(TestCase::id).collect();
    let expected = [
        "Command line test::BrokenTest::connect",
        "Command line test::CartTest::alwaysThrows",
        "Command line test::CartTest::countIsSmall(30, thirty)",
    ];
    assert_eq!(ids, expected);
    assert_eq!(tests.failing[0].message, "no database");
    assert_eq!(tests.duration_seconds, 0.015);
}

#[test]
fn a_report_cut_off_anywhere_is_truncated() {
    let text = fixture();
    for length in (1..text.trim_end().len()).step_by(17) {
        let read = reports::read("cut.xml", &text.as_bytes()[..length], None);
        let is_truncated = matches!(read, Err(ReadError::Truncated { .. }));
        // Half a character is no end of a document either.
        let is_broken = !text.is_char_boundary(length) && read.is_err();
        assert!(is_truncated || is_broken, "cut at {length}: {read:?}");
    }
}

#[test]
fn a_status_is_read_and_never_taken_for_a_pass() {
    for (status, expected) in [
        ("PASS", [1, 1, 0, 0, 0, 0]),
        ("FAIL", [1, 0, 1, 0, 0, 0]),
        ("SKIP", [1, 0, 0, 0, 1, 0]),
        ("SUCCESS_PERCENTAGE_FAILURE", [1, 0, 0, 0, 1, 0]),
        ("STARTED", [1, 0, 0, 1, 0, 0]),
        ("", [1, 0, 0, 1, 0, 0]),
    ] {
        let report = of(&method(&format!("status='{status}'"), ""));
        assert_eq!(totals(&report), expected, "{status}");
    }
    assert_eq!(totals(&of("<test-method/>")), [1, 0, 0, 1, 0, 0]);
}

#[test]
fn a_configuration_method_counts_only_when_it_failed() {
    for (status, expected) in [
        ("PASS", [0; 6]),
        ("SKIP", [0; 6]),
        ("FAIL", [1, 0, 0, 1, 0, 0]),
    ] {
        let report = of(&method(
            &format!("is-config='true' status='{status}'"),
            THREW,
        ));
        assert_eq!(totals(&report), expected, "{status}");
    }
}

#[test]
fn attempts_are_one_test_in_whatever_order_they_are_written() {
    let attempt = method("status='SKIP' retried='true'", THREW);
    let attempt_before_7 = method("status='SKIP'", THREW);
    let passed = method("status='PASS'", "");
    let failed = method("status='FAIL'", THREW);
    let skipped = method("status='SKIP'", "");
    for (methods, expected) in [
        ([&attempt, &attempt, &passed], [1, 1, 0, 0, 0, 1]),
        ([&passed, &attempt, &attempt], [1, 1, 0, 0, 0, 1]),
        (
            [&passed, &attempt_before_7, &attempt_before_7],
            [1, 1, 0, 0, 0, 1],
        ),
        ([&attempt_before_7, &failed, &attempt], [1, 0, 1, 0, 0, 0]),
        // Nothing says how it ended.
        ([&attempt, &attempt, &attempt], [1, 0, 1, 0, 0, 0]),
        ([&attempt, &attempt, &skipped], [1, 0, 1, 0, 0, 0]),
        // Invocations of one method, none of them again.
        ([&passed, &failed, &passed], [3, 2, 1, 0, 0, 0]),
        ([&failed, &passed, &failed], [3, 1, 2, 0, 0, 0]),
        ([&passed, &skipped, &passed], [3, 2, 0, 0, 1, 0]),
        (
            [&attempt_before_7, &attempt_before_7, &attempt_before_7],
            [3, 0, 0, 0, 3, 0],
        ),
    ] {
        let xml = methods.map(String::as_str).concat();
        assert_eq!(totals(&of(&xml)), expected, "{xml}");
    }
}

#[test]
fn a_skip_that_was_asked_for_is_not_an_attempt() {
    let asked = "<exception class='org.testng.SkipException'><message>later</message></exception>";
    let methods = [method("status='SKIP'", asked), method("status='PASS'", "")];
    assert_eq!(totals(&of(&methods.concat())), [2, 1, 0, 0, 1, 0]);
}

#[test]
fn attempts_with_other_parameters_are_other_tests() {
    let with = |status: &str, values: [&str; 2]| {
        let values =
            values.map(|value| format!("<param><value><![CDATA[{value}]]></value></param>"));
        let params = format!("<params>{}</params>", values.concat());
        let attributes = format!("status='{status}' retried='{}'", status == "SKIP");
        method(&attributes, &params)
    };
    let tries = with("SKIP", ["1", "23"]);
    for (other, expected) in [
        (with("PASS", ["1", "23"]), [1, 1, 0, 0, 0, 1]),
        (with("PASS", ["12", "3"]), [2, 1, 1, 0, 0, 0]),
        (with("PASS", ["1", "2"]), [2, 1, 1, 0, 0, 0]),
    ] {
        let report = of(&[tries.clone(), other.clone()].concat());
        assert_eq!(totals(&report), expected, "{other}");
    }
    let null = method(
        "status='FAIL'",
        "<params><param><value is-null='true'/></param></params>",
    );
    assert_eq!(of(&null).failing[0].name, "adds(null)");
}

#[test]
fn a_test_of_another_name_is_not_a_retry() {
    let tries = method("status='SKIP' retried='true'", THREW);
    let passed = method("status='PASS'", "");
    let xml = format!(
        "<testng-results><suite><test name='a'><class name='c'>{tries}</class></test>\
         <test name='b'><class name='c'>{passed}</class></test></suite></testng-results>"
    );
    assert_eq!(totals(&read(&xml)), [2, 1, 1, 0, 0, 0]);
}

#[test]
fn a_run_that_says_it_failed_is_believed_when_no_method_is_listed() {
    let failed = "<testng-results total='3' passed='0' failed='3' skipped='0'/>";
    assert_eq!(totals(&read(failed)), [3, 0, 3, 0, 0, 0]);
    let passed = "<testng-results total='3' passed='3' failed='0'/>";
    assert_eq!(totals(&read(passed)), [0; 6]);
    let listed = format!(
        "<testng-results failed='9'><suite><test><class>{}</class></test></suite></testng-results>",
        method("status='FAIL'", "")
    );
    assert_eq!(totals(&read(&listed)), [1, 0, 1, 0, 0, 0]);
}

#[test]
fn a_time_with_the_name_of_its_zone_is_read_when_that_is_utc() {
    for (zone, began) in [("UTC", Some("2026-11-02T10:00:00Z")), ("IST", None)] {
        let xml = format!(
            "<testng-results><suite started-at='2026-11-02T10:00:00 {zone}'/></testng-results>"
        );
        let read = report(&xml).provenance.began.map(|at| at.to_string());
        assert_eq!(read.as_deref(), began, "{zone}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        classes in prop::collection::vec(prop::collection::vec((0..3usize, 0..3usize), 0..8), 0..6),
    ) {
        let mut expected = [0; 6];
        let mut body = String::new();
        for (number, class) in classes.iter().enumerate() {
            let mut methods = String::new();
            for (name, &(outcome, attempts)) in class.iter().enumerate() {
                let status = ["PASS", "FAIL", "SKIP"][outcome];
                // A test that was skipped had no attempts.
                let attempts = if status == "SKIP" { 0 } else { attempts };
                methods += &format!("<test-method name='{name}' status='{status}'/>");
                let attempt = format!("<test-method name='{name}' status='SKIP' retried='true'/>");
                methods += &attempt.repeat(attempts);
                expected[0] += 1;
                expected[[1, 2, 4][outcome]] += 1;
                expected[5] += u64::from(status == "PASS" && attempts > 0);
            }
            body += &format!("<class name='{number}'>{methods}</class>");
        }
        let xml = format!("<testng-results><suite><test>{body}</test></suite></testng-results>");
        prop_assert_eq!(totals(&read(&xml)), expected);
    }
}
