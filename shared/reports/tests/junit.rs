//! JUnit's dialects.

use proptest::prelude::*;
use reports::{Content, FAILING_LISTED_MAX, TestReport, Totals};

fn read(xml: &str) -> TestReport {
    let format = Some("junit".parse().unwrap());
    match reports::read("out.xml", xml.as_bytes(), format)
        .unwrap()
        .content
    {
        Content::Tests(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

/// Tests, passed, failed, errors, skipped, flaky.
fn totals(xml: &str) -> [u64; 6] {
    let totals = read(xml).totals;
    [
        totals.tests,
        totals.passed,
        totals.failed,
        totals.errors,
        totals.skipped,
        totals.flaky,
    ]
}

#[test]
fn suites_and_cases_count_however_they_nest() {
    let cases =
        "<testcase name='a'/><testsuite><testsuite><testcase name='b'/></testsuite></testsuite>";
    for xml in [
        format!("<testsuite>{cases}</testsuite>"),
        format!("<testsuites>{cases}</testsuites>"),
        format!("<testsuites><group>{cases}</group></testsuites>"),
        format!("<t:testsuites xmlns:t='urn:t'>{cases}</t:testsuites>"),
    ] {
        assert_eq!(totals(&xml), [2, 2, 0, 0, 0, 0], "{xml}");
    }
}

#[test]
fn a_suite_that_says_it_failed_is_believed_unless_something_in_it_tells_of_a_failure() {
    let suite = |inside: &str| {
        format!(
            "<testsuites failures='7'><testsuite tests='9' failures='4' errors='3'>\
             <testcase name='a'/>{inside}</testsuite></testsuites>"
        )
    };
    for (inside, expected) in [
        ("", [8, 1, 4, 3, 0, 0]),
        (
            "<testcase name='b'><skipped/></testcase>",
            [9, 1, 4, 3, 1, 0],
        ),
        (
            "<testcase name='b'><failure/></testcase>",
            [2, 1, 1, 0, 0, 0],
        ),
        ("<testcase name='b' status='failed'/>", [2, 1, 1, 0, 0, 0]),
        (
            "<testcase name='b'><flakyError/></testcase>",
            [2, 2, 0, 0, 0, 1],
        ),
        // A skip, as TestNG wrote it.
        (
            "<testcase name='b'><error type='org.testng.SkipException'/></testcase>",
            [2, 1, 0, 0, 1, 0],
        ),
        ("<error/>", [2, 1, 0, 1, 0, 0]),
    ] {
        assert_eq!(totals(&suite(inside)), expected, "{inside}");
    }
}

#[test]
fn a_suite_without_cases_is_believed_when_it_says_it_failed_and_not_when_it_says_it_passed() {
    assert_eq!(totals("<testsuite tests='9'/>"), [0; 6]);
    let failed = "<testsuite name='s' tests='9' failures='2' errors='1'/>";
    assert_eq!(totals(failed), [3, 0, 2, 1, 0, 0]);
    // The suite around repeats what the suite inside says.
    let nested = format!("<testsuites tests='9' failures='2' errors='1'>{failed}</testsuites>");
    assert_eq!(totals(&nested), [3, 0, 2, 1, 0, 0]);
    assert_eq!(read(&nested).failing[0].suite, "s");
}

#[test]
fn a_failure_or_error_of_the_suite_itself_counts_as_a_case() {
    let xml = "<testsuite name='db' errors='1'><error message='down'/></testsuite>";
    assert_eq!(totals(xml), [1, 0, 0, 1, 0, 0]);
    let report = read(xml);
    let case = &report.failing[0];
    assert_eq!(
        (&case.suite[..], &case.name[..], &case.message[..]),
        ("db", "", "down")
    );
}

#[test]
fn a_case_has_its_worst_outcome() {
    for (inside, expected) in [
        ("", [1, 1, 0, 0, 0, 0]),
        ("<skipped/>", [1, 0, 0, 0, 1, 0]),
        ("<failure/>", [1, 0, 1, 0, 0, 0]),
        ("<failure/><failure/>", [1, 0, 1, 0, 0, 0]),
        ("<failure/><skipped/>", [1, 0, 1, 0, 0, 0]),
        ("<failure/><error/>", [1, 0, 0, 1, 0, 0]),
        ("<flakyFailure/><flakyError/>", [1, 1, 0, 0, 0, 1]),
        ("<failure/><rerunFailure/><rerunError/>", [1, 0, 1, 0, 0, 0]),
        ("<error/><rerunFailure/>", [1, 0, 0, 1, 0, 0]),
        ("<rerunFailure/>", [1, 0, 1, 0, 0, 0]),
        ("<flakyFailure/><failure/>", [1, 0, 1, 0, 0, 0]),
        (
            "<flakyFailure><failure/></flakyFailure>",
            [1, 1, 0, 0, 0, 1],
        ),
        (
            "<system-out>&lt;failure/&gt;</system-out>",
            [1, 1, 0, 0, 0, 0],
        ),
        ("<properties><failure/></properties>", [1, 1, 0, 0, 0, 0]),
    ] {
        let xml = format!("<testsuite><testcase name='a'>{inside}</testcase></testsuite>");
        assert_eq!(totals(&xml), expected, "{inside}");
    }
}

#[test]
fn a_status_counts_like_the_element_would_and_never_hides_a_failure() {
    for (attributes, inside, expected) in [
        ("status='disabled'", "", [1, 0, 0, 0, 1, 0]),
        (
            "status='notrun' result='suppressed'",
            "",
            [1, 0, 0, 0, 1, 0],
        ),
        ("status='run' result='skipped'", "", [1, 0, 0, 0, 1, 0]),
        ("status='run' result='completed'", "", [1, 1, 0, 0, 0, 0]),
        ("status='Failed'", "", [1, 0, 1, 0, 0, 0]),
        ("status='errored'", "", [1, 0, 0, 1, 0, 0]),
        ("status='disabled'", "<failure/>", [1, 0, 1, 0, 0, 0]),
        ("status='passed'", "<failure/>", [1, 0, 1, 0, 0, 0]),
    ] {
        let xml = format!("<testsuite><testcase {attributes}>{inside}</testcase></testsuite>");
        assert_eq!(totals(&xml), expected, "{attributes} {inside}");
    }
}

#[test]
fn a_case_is_a_retry_only_of_one_with_the_same_suite_class_name_and_file() {
    let failed = "<testcase classname='c' name='n' file='f'><failure/></testcase>";
    let suite = |later: &str| format!("<testsuite name='s'>{failed}{later}</testsuite>");
    assert_eq!(
        totals(&suite("<testcase classname='c' name='n' file='f'/>")),
        [1, 1, 0, 0, 0, 1]
    );
    for other in [
        "<testcase classname='d' name='n' file='f'/>",
        "<testcase classname='c' name='m' file='f'/>",
        "<testcase classname='c' name='n' file='g'/>",
        "<testcase classname='c' name='n'/>",
        "<testsuite name='t'><testcase classname='c' name='n' file='f'/></testsuite>",
        "</testsuite><testsuite name='s'><testcase classname='c' name='n' file='f'/>",
    ] {
        let xml = format!("<testsuites>{}</testsuites>", suite(other));
        assert_eq!(totals(&xml), [2, 1, 1, 0, 0, 0], "{other}");
    }
}

#[test]
fn no_failure_hides_among_tests_whose_name_repeats() {
    let passed = "<testcase classname='c' name='adds'/>";
    let failed = "<testcase classname='c' name='adds'><failure/></testcase>";
    for (cases, expected) in [
        ([passed, failed, passed], [3, 2, 1, 0, 0, 0]),
        ([failed, passed, passed], [3, 2, 1, 0, 0, 0]),
        ([failed, passed, failed], [3, 1, 2, 0, 0, 0]),
        ([passed, passed, failed], [3, 2, 1, 0, 0, 0]),
        // A test that is run again until it passes.
        ([failed, failed, passed], [1, 1, 0, 0, 0, 1]),
    ] {
        let xml = format!("<testsuite>{}</testsuite>", cases.concat());
        assert_eq!(totals(&xml), expected, "{cases:?}");
        let report = reports::read("a.xml", xml.as_bytes(), None).unwrap();
        let reports::Content::Tests(tests) = report.content else {
            panic!("a testsuite holds tests")
        };
        assert_eq!(tests.failing.len() as u64, tests.totals.failing());
        assert_eq!(tests.suites["c"], expected[0]);
    }
}

#[test]
fn cases_without_a_name_are_not_retries_of_each_other() {
    let xml = "<testsuite><testcase><failure/></testcase><testcase/></testsuite>";
    assert_eq!(totals(xml), [2, 1, 1, 0, 0, 0]);
}

#[test]
fn names_that_differ_only_beyond_what_is_listed_are_different_tests() {
    let long = "n".repeat(reports::NAME_CHARS_MAX);
    let xml = format!(
        "<testsuite><testcase name='{long}1'><failure/></testcase>\
         <testcase name='{long}2'/></testsuite>"
    );
    assert_eq!(totals(&xml), [2, 1, 1, 0, 0, 0]);
}

#[test]
fn the_duration_is_the_outermost_that_is_a_time() {
    for (xml, seconds) in [
        (
            "<testsuites time='1,000.5'><testsuite time='2'/></testsuites>",
            1000.5,
        ),
        (
            "<testsuites time='NaN'><testsuite time='2'/><testsuite time='3'/></testsuites>",
            5.0,
        ),
        (
            "<testsuites><testsuite time='-1'><testcase time='0.25'/></testsuite></testsuites>",
            0.25,
        ),
        (
            "<testsuite><testcase time='x'/><testcase time='1'/><testcase/></testsuite>",
            1.0,
        ),
    ] {
        assert_eq!(read(xml).duration_seconds, seconds, "{xml}");
    }
    let many = "<testsuite><testcase time='1e308'/><testcase time='1e308'/></testsuite>";
    assert!(read(many).duration_seconds.is_finite());
}

#[test]
fn the_message_is_the_first_line_there_is() {
    for (failure, message) in [
        ("<failure message='&#10; a&#10;b' type='T'>c</failure>", "a"),
        ("<failure message=' ' type='T'>\n  c\nd</failure>", "c"),
        (
            "<failure><![CDATA[\n\nc &amp; d\n]]></failure>",
            "c &amp; d",
        ),
        (
            "<failure>a &lt; b &amp; c &#x21;\nx</failure>",
            "a < b & c !",
        ),
        ("<failure>&nbsp;&xxe;</failure>", "&nbsp;&xxe;"),
        ("<failure message='&nbsp;a'/>", "&nbsp;a"),
        ("<failure type='T'/>", "T"),
        ("<failure/>", ""),
        ("<failure message='&#27;[31mred&#27;[0m&#7;'/>", "red�"),
        ("<failure/><failure message='second'/>", "second"),
    ] {
        let xml = format!("<testsuite><testcase name='a'>{failure}</testcase></testsuite>");
        assert_eq!(read(&xml).failing[0].message, message, "{failure}");
    }
}

#[test]
fn a_failing_case_is_told_by_the_innermost_suite_that_has_a_name() {
    let xml = "<testsuites name='all'><testsuite name='s'><testsuite>\
               <testcase classname='c' name='n'><failure message='m'/></testcase>\
               </testsuite></testsuite></testsuites>";
    let case = &read(xml).failing[0];
    let told = [&case.suite, &case.classname, &case.name, &case.message];
    assert_eq!(told, ["s", "c", "n", "m"]);
}

#[test]
fn the_list_of_failing_cases_is_bounded_and_their_count_is_not() {
    let cases: String = (0..FAILING_LISTED_MAX + 7)
        .map(|index| format!("<testcase name='{index}'><failure/></testcase>"))
        .collect();
    let report = read(&format!("<testsuite>{cases}</testsuite>"));
    assert_eq!(report.totals.failed, FAILING_LISTED_MAX as u64 + 7);
    assert_eq!(report.failing.len(), FAILING_LISTED_MAX);
    assert_eq!(report.failing[49].name, "49");
}

#[test]
fn what_catch2_expects_to_fail_counts_as_skipped_in_whichever_order_it_is_written() {
    let may_fail = "<skipped message='TEST_CASE tagged with !mayfail'/>";
    for (inside, expected) in [
        (format!("{may_fail}<failure/>"), [1, 0, 0, 0, 1, 0]),
        (format!("<error/>{may_fail}"), [1, 0, 0, 0, 1, 0]),
        (may_fail.to_owned(), [1, 1, 0, 0, 0, 0]),
    ] {
        let xml = format!("<testsuite><testcase name='a'>{inside}</testcase></testsuite>");
        assert_eq!(totals(&xml), expected, "{inside}");
    }
}

#[test]
fn what_ctest_could_not_run_is_an_error_and_what_it_skipped_is_not() {
    for (message, expected) in [
        ("Unable to find executable", [1, 0, 0, 1, 0, 0]),
        ("Required Files Missing", [1, 0, 0, 1, 0, 0]),
        ("Missing Configuration", [1, 0, 0, 1, 0, 0]),
        ("Fixture dependency failed", [1, 0, 0, 1, 0, 0]),
        ("SKIP_RETURN_CODE=77", [1, 0, 0, 0, 1, 0]),
        ("SKIP_REGULAR_EXPRESSION_MATCHED", [1, 0, 0, 0, 1, 0]),
    ] {
        let xml = format!(
            "<testsuite><testcase name='a' status='notrun'><skipped message='{message}'/>\
             </testcase></testsuite>"
        );
        assert_eq!(totals(&xml), expected, "{message}");
    }
}

#[test]
fn what_is_missing_from_a_suite_or_a_case_is_made_up_for_nowhere() {
    for (xml, expected) in [
        ("<testsuite/>", [0; 6]),
        ("<testsuites/>", [0; 6]),
        (
            "<testsuites><testsuite/><testsuite name=''/></testsuites>",
            [0; 6],
        ),
        (
            "<testsuite tests='' failures='' errors='x' time=''/>",
            [0; 6],
        ),
        ("<testsuite failures='-1'/>", [0; 6]),
        ("<testsuite><testcase/></testsuite>", [1, 1, 0, 0, 0, 0]),
        (
            "<testsuite><testcase name=''><failure/></testcase></testsuite>",
            [1, 0, 1, 0, 0, 0],
        ),
        // Bazel's, of a target that is no test framework's.
        (
            "<testsuites><testsuite name='t' tests='1' failures='0' errors='0'>\
             <testcase name='t' status='run' duration='0' time='0'></testcase>\
             <system-out>x</system-out></testsuite></testsuites>",
            [1, 1, 0, 0, 0, 0],
        ),
        (
            "<testsuites><testsuite name='t' tests='1' failures='0' errors='1'>\
             <testcase name='t' status='run'><error message='exited with error code 1'/></testcase>\
             </testsuite></testsuites>",
            [1, 0, 0, 1, 0, 0],
        ),
    ] {
        assert_eq!(totals(xml), expected, "{xml}");
    }
}

/// A generated suite: cases, each with the element inside it, and suites inside it.
#[derive(Debug, Clone)]
struct Suite {
    cases: Vec<&'static str>,
    suites: Vec<Suite>,
}

fn suite() -> impl Strategy<Value = Suite> {
    let outcome = prop::sample::select(vec!["", "skipped", "failure", "error", "flakyFailure"]);
    let cases = prop::collection::vec(outcome, 0..8);
    let leaf = cases.clone().prop_map(|cases| Suite {
        cases,
        suites: vec![],
    });
    leaf.prop_recursive(4, 40, 4, move |inner| {
        let suites = prop::collection::vec(inner, 0..4);
        (cases.clone(), suites).prop_map(|(cases, suites)| Suite { cases, suites })
    })
}

fn write(suite: &Suite, next: &mut u32, xml: &mut String, totals: &mut Totals) {
    *xml += "<testsuite name=\"a &amp; b\">\n";
    for case in &suite.cases {
        *next += 1;
        let inside = if case.is_empty() {
            String::new()
        } else {
            format!("<{case}>x</{case}>")
        };
        *xml += &format!("<testcase name='{next}'>{inside}</testcase>");
        totals.tests += 1;
        match *case {
            "skipped" => totals.skipped += 1,
            "failure" => totals.failed += 1,
            "error" => totals.errors += 1,
            passed => {
                totals.passed += 1;
                totals.flaky += u64::from(passed == "flakyFailure");
            }
        }
    }
    for suite in &suite.suites {
        write(suite, next, xml, totals);
    }
    *xml += "</testsuite>";
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(suite in suite()) {
        let (mut xml, mut expected) = (String::new(), Totals::default());
        write(&suite, &mut 0, &mut xml, &mut expected);
        prop_assert_eq!(read(&xml).totals, expected);
    }
}
