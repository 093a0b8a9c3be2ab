use reports::{CoverageReport, FailingCase, Ratio, Report, TestReport, Totals};

use super::*;

fn gate(rules: &str) -> Gate {
    serde_json::from_str(&format!(r#"{{"reports":["r/*.xml"],"rules":{{{rules}}}}}"#)).unwrap()
}

fn tests(passed: u64, failed: u64, skipped: u64) -> Found {
    let failing = (0..failed).map(|n| FailingCase {
        name: format!("test_{n}"),
        message: "boom".to_owned(),
        ..FailingCase::default()
    });
    Found::Report {
        path: "r/a.xml".to_owned(),
        report: Report::Tests(TestReport {
            totals: Totals {
                tests: passed + failed + skipped,
                passed,
                failed,
                skipped,
                ..Totals::default()
            },
            failing: failing.collect(),
            ..TestReport::default()
        }),
    }
}

fn coverage(lines: (u64, u64), branches: (u64, u64)) -> Found {
    Found::Report {
        path: "r/c.xml".to_owned(),
        report: Report::Coverage(CoverageReport {
            lines: Ratio::new(lines.0, lines.1),
            branches: Ratio::new(branches.0, branches.1),
        }),
    }
}

fn broken(verdict: &GateVerdict) -> Vec<&'static str> {
    let broken = verdict.rules.iter().filter(|rule| !rule.passed);
    broken.map(|rule| rule.rule).collect()
}

#[test]
fn tests_that_all_pass_pass_the_gate() {
    let verdict = gate("").judge(&[tests(12, 0, 1)]);
    assert!(verdict.passed, "{verdict:?}");
    assert_eq!(verdict.outputs()["tests"], "13");
    assert_eq!(verdict.outputs()["verdict"], "pass");
}

#[test]
fn a_failing_test_fails_the_gate_and_is_named() {
    let verdict = gate("").judge(&[tests(12, 2, 0)]);
    assert_eq!(broken(&verdict), ["max-failures"]);
    let summary = verdict.summary();
    assert!(
        summary.contains("2 failed, 0 allowed; test_0: boom; test_1: boom"),
        "{summary}"
    );
    assert!(gate(r#""max-failures":2"#).judge(&[tests(12, 2, 0)]).passed);
}

#[test]
fn a_suite_that_silently_stops_running_fails_the_gate() {
    let strict = gate(r#""min-tests":10"#);
    assert_eq!(broken(&strict.judge(&[tests(9, 0, 40)])), ["min-tests"]);
    assert!(strict.judge(&[tests(5, 0, 0), tests(5, 0, 0)]).passed);
}

#[test]
fn what_is_missing_empty_or_unreadable_never_passes() {
    let lenient = gate(r#""min-tests":0"#);
    for (found, part) in [
        (
            Found::Missing {
                glob: "r/*.xml".to_owned(),
            },
            "matches 'r/*.xml'",
        ),
        (
            Found::Unreadable {
                why: "r/a.xml: cut off".to_owned(),
            },
            "cut off",
        ),
        (tests(0, 0, 0), "the report has no tests"),
    ] {
        let verdict = lenient.judge(&[found]);
        assert!(!verdict.passed);
        assert!(verdict.summary().contains(part), "{}", verdict.summary());
    }
}

#[test]
fn coverage_below_the_minimum_fails_with_the_numbers() {
    let strict = gate(r#""min-line-coverage":"80%","min-branch-coverage":"50%""#);
    let all = |lines, branches| strict.judge(&[tests(3, 0, 0), coverage(lines, branches)]);
    assert!(all((80, 100), (1, 2)).passed);
    assert_eq!(broken(&all((79, 100), (1, 2))), ["min-line-coverage"]);
    let summary = all((79, 100), (1, 2)).summary();
    assert!(
        summary.contains("79.0 % of the lines covered, at least 80.0 %"),
        "{summary}"
    );
}

#[test]
fn coverage_that_nobody_measured_is_not_enough() {
    let strict = gate(r#""min-line-coverage":"0%""#);
    assert_eq!(
        broken(&strict.judge(&[tests(3, 0, 0)])),
        ["min-line-coverage"]
    );
    let nothing = [tests(3, 0, 0), coverage((0, 0), (0, 0))];
    assert_eq!(broken(&strict.judge(&nothing)), ["min-line-coverage"]);
}

#[test]
fn a_report_that_claims_more_failures_than_there_are_numbers_fails() {
    let claimed = Found::Report {
        path: "r/a.xml".to_owned(),
        report: Report::Tests(TestReport {
            totals: Totals {
                tests: u64::MAX,
                failed: u64::MAX,
                errors: 1,
                ..Totals::default()
            },
            ..TestReport::default()
        }),
    };
    assert_eq!(
        broken(&gate("").judge(&[claimed, tests(3, 1, 0)])),
        ["max-failures"]
    );
}
