//! The reports of .NET: TRX, NUnit's of versions 2 and 3, xUnit.net's of versions 1 and 2.
//!
//! What is written here by hand follows the tools' documents: .NET itself is not to be had where the
//! fixtures are made. Reports of real runs are `nunit2.xml`, those of other writers in the fixtures,
//! and those that `collected.rs` reads.

use std::path::Path;

use proptest::prelude::*;
use reports::{Content, Format, ReadError, Report, TestCase, TestReport};

fn report(xml: &str) -> Report {
    reports::read("out.xml", xml.as_bytes(), None).unwrap()
}

fn tests_of(report: Report) -> TestReport {
    match report.content {
        Content::Tests(tests) => tests,
        content => panic!("another report: {content:?}"),
    }
}

fn read(xml: &str) -> TestReport {
    tests_of(report(xml))
}

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tests");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Tests, passed, failed, errors, skipped, flaky.
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

fn ids(cases: &[TestCase]) -> Vec<String> {
    cases.iter().map(TestCase::id).collect()
}

fn trx(results: &str, summary: &str) -> TestReport {
    read(&format!(
        "<TestRun xmlns='http://microsoft.com/schemas/VisualStudio/TeamTest/2010'>\
         <Results>{results}</Results>{summary}</TestRun>"
    ))
}

#[test]
fn each_fixture_is_detected_as_its_own_format() {
    for (name, format) in [
        ("jest.trx", "trx"),
        ("nunit2.xml", "nunit"),
        ("pytest-nunit.xml", "nunit"),
    ] {
        assert_eq!(report(&fixture(name)).format.name(), format, "{name}");
    }
}

#[test]
fn an_assembly_in_a_deep_folder_is_told_by_its_file() {
    let path = format!("/{}/shop.dll", "deep/".repeat(100));
    let nunit = format!(
        "<test-run><test-suite type='Assembly' name='{path}'><test-case name='a' result='Failed'/>\
         </test-suite></test-run>"
    );
    let xunit = format!(
        "<assemblies><assembly name='{path}'><test name='a' result='Fail'/></assembly></assemblies>"
    );
    for xml in [nunit, xunit] {
        assert_eq!(ids(&read(&xml).failing), ["shop.dll::a"]);
    }
}

#[test]
fn an_assembly_without_a_date_is_a_manifest_and_no_report() {
    let tests = "<assembly name='a.dll' run-date='2026-11-02' run-time='10:00:00'/>";
    assert_eq!(report(tests).format.name(), "xunit");
    for manifest in [
        "<assembly manifestVersion='1.0'/>",
        "<assembly><id>bin</id></assembly>",
    ] {
        let error = reports::read("app.manifest", manifest.as_bytes(), None).unwrap_err();
        assert!(matches!(error, ReadError::NoFormat { .. }), "{error}");
    }
}

#[test]
fn a_report_cut_off_anywhere_is_truncated() {
    let xunit = format!("<?xml version='1.0'?>{}", xunit_of(&["Pass", "Fail"]));
    for text in [
        fixture("jest.trx"),
        fixture("nunit2.xml"),
        fixture("pytest-nunit.xml"),
        xunit,
    ] {
        let whole = text.trim_end().len();
        for length in (1..whole).step_by(if whole < 1500 { 1 } else { 17 }) {
            let read = reports::read("cut.xml", &text.as_bytes()[..length], None);
            assert!(
                matches!(read, Err(ReadError::Truncated { .. })),
                "cut at {length}: {read:?}"
            );
        }
    }
}

// TRX

#[test]
fn jest_s_trx_says_what_its_counters_said() {
    // total=9 executed=7 passed=4 failed=2 error=1: the broken file is a failed result.
    let report = report(&fixture("jest.trx"));
    let began = report.provenance.began.unwrap().to_string();
    assert_eq!(began, "2026-11-23T08:38:18.907Z");
    let tests = tests_of(report);
    assert_eq!(totals(&tests), [9, 4, 3, 0, 2, 0]);
    assert_eq!(tests.failing[0].suite, "cart.test.js");
    assert_eq!(tests.failing[0].classname, "prices");
    assert!((tests.duration_seconds - 0.241).abs() < 1e-9);
}

#[test]
fn a_trx_outcome_is_read_by_its_meaning_and_never_taken_for_a_pass() {
    for (outcome, expected) in [
        ("Passed", [1, 1, 0, 0, 0, 0]),
        ("PassedButRunAborted", [1, 1, 0, 0, 0, 0]),
        ("Completed", [1, 1, 0, 0, 0, 0]),
        ("Warning", [1, 1, 0, 0, 0, 0]),
        ("Failed", [1, 0, 1, 0, 0, 0]),
        ("Error", [1, 0, 0, 1, 0, 0]),
        ("Timeout", [1, 0, 0, 1, 0, 0]),
        ("Aborted", [1, 0, 0, 1, 0, 0]),
        ("NotRunnable", [1, 0, 0, 1, 0, 0]),
        ("Disconnected", [1, 0, 0, 1, 0, 0]),
        ("InProgress", [1, 0, 0, 1, 0, 0]),
        ("NotExecuted", [1, 0, 0, 0, 1, 0]),
        ("Pending", [1, 0, 0, 0, 1, 0]),
        ("Inconclusive", [1, 0, 0, 0, 1, 0]),
        ("Whatever", [1, 0, 0, 1, 0, 0]),
        ("", [1, 0, 0, 1, 0, 0]),
    ] {
        let result = format!("<UnitTestResult testName='t' outcome='{outcome}'/>");
        assert_eq!(totals(&trx(&result, "")), expected, "{outcome}");
    }
    assert_eq!(totals(&trx("<UnitTestResult/>", "")), [1, 0, 0, 1, 0, 0]);
    let other = "<GenericTestResult testName='g' outcome='Failed'/>";
    assert_eq!(totals(&trx(other, "")), [1, 0, 1, 0, 0, 0]);
}

#[test]
fn a_data_driven_trx_test_counts_by_its_rows() {
    let driven = |outcome: &str, rows: &[&str]| {
        let rows = rows.iter().enumerate().map(|(number, outcome)| {
            format!("<UnitTestResult testName='t' dataRowInfo='{number}' outcome='{outcome}'/>")
        });
        trx(
            &format!(
                "<UnitTestResult testName='t' resultType='DataDrivenTest' outcome='{outcome}'>\
                 <Output><ErrorInfo><Message>one failed</Message></ErrorInfo></Output>\
                 <InnerResults>{}</InnerResults></UnitTestResult>",
                rows.collect::<String>()
            ),
            "",
        )
    };
    let report = driven("Failed", &["Passed", "Failed"]);
    assert_eq!(totals(&report), [2, 1, 1, 0, 0, 0]);
    assert_eq!(ids(&report.failing), ["t [1]"]);
    assert_eq!(
        totals(&driven("Passed", &["Passed", "Passed"])),
        [2, 2, 0, 0, 0, 0]
    );
    // The clean-up of the whole failed.
    let report = driven("Failed", &["Passed", "Passed"]);
    assert_eq!(totals(&report), [3, 2, 1, 0, 0, 0]);
    assert_eq!(report.failing[0].message, "one failed");
    assert_eq!(totals(&driven("Failed", &[])), [1, 0, 1, 0, 0, 0]);
}

#[test]
fn a_trx_run_that_says_it_failed_is_believed_only_when_no_result_failed() {
    let counters = "<ResultSummary outcome='Failed'><Counters failed='2' error='1' timeout='1'/>\
                    </ResultSummary>";
    let crashed = "<ResultSummary outcome='Failed'><RunInfos>\
                   <RunInfo outcome='Warning'><Text>slow</Text></RunInfo>\
                   <RunInfo outcome='Error'><Text>\n the host crashed\nat x</Text></RunInfo>\
                   </RunInfos></ResultSummary>";
    let passed = "<UnitTestResult testName='p' outcome='Passed'/>";
    let failed = "<UnitTestResult testName='f' outcome='Failed'/>";
    for (results, summary, expected) in [
        ("", counters, [4, 0, 2, 2, 0, 0]),
        (failed, counters, [1, 0, 1, 0, 0, 0]),
        ("", crashed, [1, 0, 0, 1, 0, 0]),
        (passed, crashed, [2, 1, 0, 1, 0, 0]),
        (failed, crashed, [1, 0, 1, 0, 0, 0]),
        (
            passed,
            "<ResultSummary outcome='PassedButRunAborted'/>",
            [2, 1, 0, 1, 0, 0],
        ),
        (
            passed,
            "<ResultSummary outcome='Aborted'/>",
            [2, 1, 0, 1, 0, 0],
        ),
        (
            "",
            "<ResultSummary outcome='Completed'><Counters total='9' passed='9'/></ResultSummary>",
            [0; 6],
        ),
        (
            passed,
            "<ResultSummary outcome='Warning'/>",
            [1, 1, 0, 0, 0, 0],
        ),
    ] {
        let report = trx(results, summary);
        assert_eq!(totals(&report), expected, "{results} {summary}");
    }
    assert_eq!(trx("", crashed).failing[0].message, "the host crashed");
}

#[test]
fn a_trx_result_is_told_by_the_class_that_is_defined_before_or_after_it() {
    let result = "<Results><UnitTestResult testId='1' testName='Shop.CartTests.Adds' outcome='Failed'>\
                  <Output><StdOut>x</StdOut><ErrorInfo><Message>Expected 3\nwas 2</Message>\
                  <StackTrace>at</StackTrace></ErrorInfo></Output></UnitTestResult></Results>";
    let defined = r"<TestDefinitions><UnitTest id='1' storage='C:\build\shop.tests.dll'>
                    <TestMethod className='Shop.CartTests, Shop.Tests, Version=1.0'/></UnitTest>
                    </TestDefinitions>";
    for parts in [[result, defined], [defined, result]] {
        let report = read(&format!("<TestRun>{}</TestRun>", parts.concat()));
        assert_eq!(
            ids(&report.failing),
            ["shop.tests.dll::Shop.CartTests::Adds"]
        );
        assert_eq!(report.failing[0].message, "Expected 3");
        assert_eq!(report.suites["Shop.CartTests"], 1);
    }
}

#[test]
fn two_trx_results_of_one_test_are_not_retries() {
    let result = |outcome: &str| {
        format!("<UnitTestResult testId='1' testName='theory' outcome='{outcome}'/>")
    };
    let report = trx(&[result("Failed"), result("Passed")].concat(), "");
    assert_eq!(totals(&report), [2, 1, 1, 0, 0, 0]);
}

#[test]
fn a_trx_run_takes_the_time_from_its_start_to_its_finish_or_else_that_of_its_results() {
    let results = "<UnitTestResult outcome='Passed' duration='00:00:01.5'/>\
                   <UnitTestResult outcome='Passed' duration='00:01:00'/>\
                   <UnitTestResult outcome='Passed' duration='soon'/>";
    for (times, seconds) in [
        (
            "<Times start='2026-11-02T10:00:00+01:00' finish='2026-11-02T09:00:05Z'/>",
            5.0,
        ),
        (
            "<Times start='2026-11-02T10:00:00Z' finish='2026-11-02T09:00:05Z'/>",
            61.5,
        ),
        ("<Times start='0001-01-01T00:00:00'/>", 61.5),
        ("", 61.5),
    ] {
        assert_eq!(trx(results, times).duration_seconds, seconds, "{times}");
    }
}

// NUnit

#[test]
fn nunit_2_says_what_its_console_said_and_counts_a_broken_clean_up() {
    // Tests run: 10, Errors: 1, Failures: 4, Inconclusive: 1; not run: 4, Invalid: 1, Ignored: 2,
    // Skipped: 1. The invalid one is an error here, the inconclusive one is skipped, and the
    // clean-up of LeakingTests, which the console lists as a failure, is one more.
    let report = report(&fixture("nunit2.xml"));
    let began = report.provenance.began.unwrap().to_string();
    assert_eq!(began, "2026-11-23T08:46:04Z");
    let tests = tests_of(report);
    assert_eq!(totals(&tests), [15, 4, 4, 3, 4, 0]);
    assert_eq!(tests.duration_seconds, 0.106);
    let expected = [
        "shop.tests.dll::Shop.Tests.BrokenTests::NeverRuns",
        "shop.tests.dll::Shop.Tests.BrokenTests::NeverRunsEither",
        "shop.tests.dll::Shop.Tests.CartTests::the thirtieth. really",
        "shop.tests.dll::Shop.Tests.CartTests::Fails",
        "shop.tests.dll::Shop.Tests.CartTests::NotRunnable",
        "shop.tests.dll::Shop.Tests.CartTests::Throws",
        "shop.tests.dll::Shop.Tests.LeakingTests",
    ];
    assert_eq!(ids(&tests.failing), expected);
    assert_eq!(tests.failing[3].message, "a <count> & \"more\"");
    assert_eq!(tests.suites["Shop.Tests.CartTests"], 7);
}

#[test]
fn pytest_in_nunit_s_format_says_what_pytest_said() {
    // 2 failed, 5 passed, 1 skipped, 1 xfailed, 2 errors; the file: passed=5 failed=4 skipped=1. One
    // error is of a test that had passed, and the one expected to fail counts as passed.
    let tests = read(&fixture("pytest-nunit.xml"));
    assert_eq!(totals(&tests), [10, 5, 4, 0, 1, 0]);
    let told = tests.others.iter().map(|case| &case.message[..]);
    let told: Vec<_> = told.filter(|message| !message.is_empty()).collect();
    assert_eq!(told, ["Skipped: not on this platform"]);
    assert_eq!(
        tests.failing[0].id(),
        "test_cart.py::test_cart.py::test_fails"
    );
}

fn nunit3(inside: &str) -> TestReport {
    read(&format!(
        "<test-run result='Passed'><test-suite type='Assembly' name='/build/shop.dll'>{inside}\
         </test-suite></test-run>"
    ))
}

#[test]
fn an_nunit_result_is_read_in_both_versions() {
    for (attributes, expected) in [
        ("result='Passed'", [1, 1, 0, 0, 0, 0]),
        ("result='Failed'", [1, 0, 1, 0, 0, 0]),
        ("result='Failed' label='Error'", [1, 0, 0, 1, 0, 0]),
        ("result='Failed' label='Invalid'", [1, 0, 0, 1, 0, 0]),
        ("result='Failed' label='Cancelled'", [1, 0, 0, 1, 0, 0]),
        (
            "result='Failed' label='Test exceeded Timeout value 1ms.'",
            [1, 0, 1, 0, 0, 0],
        ),
        ("result='Failed' site='SetUp'", [1, 0, 0, 1, 0, 0]),
        ("result='Failed' site='TearDown'", [1, 0, 0, 1, 0, 0]),
        ("result='Failed' site='Parent'", [1, 0, 0, 1, 0, 0]),
        ("result='Skipped' label='Ignored'", [1, 0, 0, 0, 1, 0]),
        ("result='Skipped' label='Explicit'", [1, 0, 0, 0, 1, 0]),
        ("result='Inconclusive'", [1, 0, 0, 0, 1, 0]),
        ("result='Warning'", [1, 0, 0, 0, 1, 0]),
        (
            "result='Success' executed='True' success='True'",
            [1, 1, 0, 0, 0, 0],
        ),
        (
            "result='Failure' executed='True' success='False'",
            [1, 0, 1, 0, 0, 0],
        ),
        (
            "result='Error' executed='True' success='False'",
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "result='Cancelled' executed='True' success='False'",
            [1, 0, 0, 1, 0, 0],
        ),
        (
            "result='Inconclusive' executed='True' success='False'",
            [1, 0, 0, 0, 1, 0],
        ),
        ("result='Ignored' executed='False'", [1, 0, 0, 0, 1, 0]),
        ("result='NotRunnable' executed='False'", [1, 0, 0, 1, 0, 0]),
        ("executed='True' success='True'", [1, 1, 0, 0, 0, 0]),
        ("executed='True' success='False'", [1, 0, 1, 0, 0, 0]),
        ("executed='False'", [1, 0, 0, 0, 1, 0]),
        ("result='Odd'", [1, 0, 0, 1, 0, 0]),
        ("", [1, 0, 0, 1, 0, 0]),
    ] {
        let case = format!("<test-case name='t' {attributes}/>");
        assert_eq!(totals(&nunit3(&case)), expected, "{attributes}");
        let second = format!(
            "<test-results><test-suite><results>{case}</results></test-suite></test-results>"
        );
        assert_eq!(totals(&read(&second)), expected, "{attributes}");
    }
}

#[test]
fn an_nunit_suite_that_failed_is_an_error_only_when_nothing_in_it_failed() {
    let passed = "<test-case name='p' result='Passed'/>";
    let failed = "<test-case name='f' result='Failed' site='Parent'/>";
    let fixture = |inside: &str, site: &str| {
        let child = format!(
            "<test-suite type='TestFixture' name='Cart' result='Failed' site='{site}'>\
             <failure><message>broke</message></failure>{inside}</test-suite>"
        );
        nunit3(&format!(
            "<test-suite type='TestSuite' name='Shop' result='Failed' site='Child'>{child}</test-suite>"
        ))
    };
    assert_eq!(totals(&fixture(failed, "SetUp")), [1, 0, 0, 1, 0, 0]);
    for (inside, site, expected) in [
        ("", "SetUp", [1, 0, 0, 1, 0, 0]),
        (passed, "TearDown", [2, 1, 0, 1, 0, 0]),
    ] {
        let report = fixture(inside, site);
        assert_eq!(totals(&report), expected, "{site}");
        assert_eq!(report.failing[0].id(), "shop.dll::Shop.Cart");
        assert_eq!(report.failing[0].message, "broke");
    }
    let claims = nunit3("<test-suite type='TestFixture' name='Cart' result='Passed' passed='9'/>");
    assert_eq!(totals(&claims), [0; 6]);
}

#[test]
fn an_nunit_run_that_says_it_failed_is_believed_when_no_case_is_listed() {
    for (root, expected) in [
        ("<test-run result='Failed' failed='3'/>", [3, 0, 3, 0, 0, 0]),
        ("<test-run result='Failed' failed='0'/>", [1, 0, 0, 1, 0, 0]),
        ("<test-run result='Passed' total='9' passed='9'/>", [0; 6]),
        (
            "<test-results failures='2' errors='1' invalid='1'/>",
            [4, 0, 2, 2, 0, 0],
        ),
        ("<test-results total='9' failures='0' errors='0'/>", [0; 6]),
        ("<test-results failures='many' errors='-1'/>", [0; 6]),
    ] {
        assert_eq!(totals(&read(root)), expected, "{root}");
    }
}

#[test]
fn an_nunit_3_run_began_when_it_says_and_took_what_it_says() {
    let xml = "<test-run start-time='2026-11-02 10:00:00Z' duration='2.5'>\
               <test-suite start-time='2026-11-02T10:00:01Z' duration='9'>\
               <test-case name='a' result='Passed' duration='0.25'/></test-suite></test-run>";
    let report = report(xml);
    let began = report.provenance.began.unwrap().to_string();
    assert_eq!(began, "2026-11-02T10:00:00Z");
    let tests = tests_of(report);
    assert_eq!(tests.duration_seconds, 2.5);
    assert_eq!(tests.others[0].seconds, Some(0.25));
}

// xUnit.net

/// One assembly of tests with these results.
fn xunit_of(results: &[&str]) -> String {
    let tests = results.iter().enumerate().map(|(number, result)| {
        format!(
            "<test name='Shop.CartTests.Adds(count: {number})' type='Shop.CartTests' method='Adds' \
             time='0.25' result='{result}'><failure exception-type='X'><message>Expected 3\nwas 2\
             </message><stack-trace>at</stack-trace></failure></test>"
        )
    });
    format!(
        "<assemblies schema-version='3' start-rtf='2026-11-02T10:00:00.5+00:00'>\
         <assembly name='/build/shop.tests.dll' run-date='2026-11-02' run-time='10:00:01' \
         time='1.5' total='9' passed='9'><errors/><collection name='Test collection'>{}\
         </collection></assembly></assemblies>",
        tests.collect::<String>()
    )
}

#[test]
fn an_xunit_result_is_read_and_never_taken_for_a_pass() {
    for (result, expected) in [
        ("Pass", [1, 1, 0, 0, 0, 0]),
        ("Fail", [1, 0, 1, 0, 0, 0]),
        ("Skip", [1, 0, 0, 0, 1, 0]),
        ("NotRun", [1, 0, 0, 0, 1, 0]),
        ("Odd", [1, 0, 0, 1, 0, 0]),
        ("", [1, 0, 0, 1, 0, 0]),
    ] {
        assert_eq!(totals(&read(&xunit_of(&[result]))), expected, "{result}");
    }
    let without = "<assemblies><assembly><test name='a'/></assembly></assemblies>";
    assert_eq!(totals(&read(without)), [1, 0, 0, 1, 0, 0]);
}

#[test]
fn an_xunit_test_is_told_by_its_assembly_class_and_name() {
    let report = report(&xunit_of(&["Fail", "Pass"]));
    let began = report.provenance.began.unwrap().to_string();
    assert_eq!(began, "2026-11-02T10:00:00.5Z");
    let tests = tests_of(report);
    assert_eq!(
        ids(&tests.failing),
        ["shop.tests.dll::Shop.CartTests::Adds(count: 0)"]
    );
    assert_eq!(tests.failing[0].message, "Expected 3");
    assert_eq!(tests.duration_seconds, 1.5);
}

#[test]
fn two_xunit_tests_of_one_name_are_not_retries() {
    let test = |result: &str| format!("<test name='a' type='A' result='{result}'/>");
    let both = [test("Fail"), test("Pass")].concat();
    let xml =
        format!("<assemblies><assembly><collection>{both}</collection></assembly></assemblies>");
    assert_eq!(totals(&read(&xml)), [2, 1, 1, 0, 0, 0]);
}

#[test]
fn each_xunit_error_of_an_assembly_counts_as_one() {
    let xml = "<assemblies><assembly name='a.dll' errors='2' failed='0'><errors>\
               <error type='test-class-cleanup' name='Shop.CartTests'><failure><message>still open\
               </message></failure></error><error type='fatal'/></errors>\
               <collection><test name='a' result='Pass'/></collection></assembly></assemblies>";
    let report = read(xml);
    assert_eq!(totals(&report), [3, 1, 0, 2, 0, 0]);
    assert_eq!(
        ids(&report.failing),
        ["a.dll::test-class-cleanup Shop.CartTests", "a.dll::fatal"]
    );
    assert_eq!(report.failing[0].message, "still open");
}

#[test]
fn an_xunit_assembly_that_says_it_failed_is_believed_when_nothing_in_it_did() {
    for (attributes, expected) in [
        ("failed='2' errors='1'", [3, 0, 2, 1, 0, 0]),
        ("total='9' passed='9'", [0; 6]),
        ("failed='x'", [0; 6]),
    ] {
        let xml = format!("<assemblies><assembly name='a.dll' {attributes}/></assemblies>");
        assert_eq!(totals(&read(&xml)), expected, "{attributes}");
    }
}

#[test]
fn version_1_of_xunit_s_format_is_read_too() {
    let xml = "<assembly name='C:\\build\\shop.dll' run-date='2010-01-02' run-time='10:00:00' \
               failed='1'><class name='Shop.Cart' time='1.5' failed='1'>\
               <test name='Shop.Cart.Adds' type='Shop.Cart' method='Adds' result='Fail' time='1'>\
               <failure><message>broke</message></failure></test>\
               <test name='Shop.Cart.Later' type='Shop.Cart' result='Skip'><reason><message>not yet\
               </message></reason></test></class></assembly>";
    let tests = read(xml);
    assert_eq!(totals(&tests), [2, 0, 1, 0, 1, 0]);
    assert_eq!(ids(&tests.failing), ["shop.dll::Shop.Cart::Adds"]);
    assert_eq!(tests.others[0].message, "not yet");
    assert_eq!(tests.duration_seconds, 1.5);
}

/// What each writer calls a test that passed, failed, broke or was skipped; xUnit.net has no broken
/// ones.
const WORDS: [(&str, [&str; 4]); 3] = [
    ("trx", ["Passed", "Failed", "Error", "NotExecuted"]),
    ("nunit", ["Success", "Failure", "Error", "Ignored"]),
    ("xunit", ["Pass", "Fail", "Broken", "Skip"]),
];

/// A suite for each list, written in a format.
fn write(format: &str, suites: &[Vec<usize>], words: [&str; 4]) -> String {
    let mut body = String::new();
    for (number, suite) in suites.iter().enumerate() {
        let cases = suite.iter().enumerate().map(|(case, &outcome)| {
            let word = words[outcome];
            match format {
                "trx" => format!("<UnitTestResult testName='{number}.{case}' outcome='{word}'/>"),
                "nunit" => format!("<test-case name='{number}.{case}' result='{word}'/>"),
                _ => format!("<test name='{number}.{case}' result='{word}'/>"),
            }
        });
        let cases: String = cases.collect();
        body += &match format {
            "trx" => cases,
            "nunit" => {
                format!("<test-suite name='{number}'><results>{cases}</results></test-suite>")
            }
            _ => format!("<assembly name='{number}'><collection>{cases}</collection></assembly>"),
        };
    }
    match format {
        "trx" => format!("<TestRun><Results>{body}</Results></TestRun>"),
        "nunit" => format!("<test-results>{body}</test-results>"),
        _ => format!("<assemblies>{body}</assemblies>"),
    }
}

/// Pieces of the documents above and of TestNG's and Checkstyle's, to make up odd ones.
const PIECES: [&str; 40] = [
    "<TestRun>",
    "</TestRun>",
    "<Results>",
    "</Results>",
    "<UnitTestResult testId='1' outcome='Failed'>",
    "</UnitTestResult>",
    "<InnerResults>",
    "</InnerResults>",
    "<ErrorInfo><Message>a",
    "</Message></ErrorInfo>",
    "<UnitTest id='1' storage='\\'>",
    "<TestMethod className=','/>",
    "</UnitTest>",
    "<Counters failed='99999999999999999999'/>",
    "<Times start='x' finish='-1'/>",
    "<RunInfo outcome='Error'><Text>",
    "</Text></RunInfo>",
    "<test-run>",
    "</test-run>",
    "<test-suite type='Assembly' name='/' result='Failed'>",
    "</test-suite>",
    "<test-case name='.' duration='-1'/>",
    "<failure><message>",
    "</message></failure>",
    "<assemblies>",
    "</assemblies>",
    "<assembly run-date='' run-time='' failed='18446744073709551615' errors='1'>",
    "</assembly>",
    "<error/>",
    "<test name='.' type='' result='Fail'/>",
    "<testng-results failed='1'>",
    "</testng-results>",
    "<test-method status='SKIP' retried='true'>",
    "</test-method>",
    "<value>",
    "</value>",
    "<checkstyle>",
    "</checkstyle>",
    "<file name='\u{1b}['>",
    "<exception>",
];

proptest! {
    #[test]
    fn arbitrary_pieces_of_documents_never_panic(
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60),
    ) {
        for format in [None].into_iter().chain(Format::all().map(Some)) {
            let _ = reports::read("out.xml", pieces.concat().as_bytes(), format);
        }
    }

    #[test]
    fn what_is_written_is_what_is_read(
        suites in prop::collection::vec(prop::collection::vec(0..4usize, 0..8), 0..6),
    ) {
        let count = |outcome| suites.iter().flatten().filter(|&&each| each == outcome).count() as u64;
        let [passed, failed, errors, skipped] = [0, 1, 2, 3].map(count);
        let tests = passed + failed + errors + skipped;
        for (format, words) in WORDS {
            let report = report(&write(format, &suites, words));
            prop_assert_eq!(report.format.name(), format);
            let read = totals(&tests_of(report));
            prop_assert_eq!(read, [tests, passed, failed, errors, skipped, 0]);
        }
    }
}
