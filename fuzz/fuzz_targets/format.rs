//! A report of one format: whatever the bytes are, it is read or refused, and what is read keeps
//! its promises. The format is the name of the target.
#![no_main]

use libfuzzer_sys::fuzz_target;
use reports::{Content, Finding, Format, TestCase, TestReport};

const FORMAT: &str = env!("CARGO_BIN_NAME");

fuzz_target!(|bytes: &[u8]| {
    let format: Format = FORMAT.parse().expect("a target is called like its format");
    if let Ok(report) = reports::read("report", bytes, Some(format)) {
        match report.content {
            Content::Tests(tests) => sums_up(&tests),
            Content::Coverage(coverage) => {
                assert!(coverage.lines().covered <= coverage.lines().valid);
                assert!(coverage.branches().covered <= coverage.branches().valid);
            }
            Content::Findings(findings) => findings.listed.iter().for_each(prints),
        }
    }
    // Detection may find another format, or none, and never fails otherwise.
    let _ = reports::read("report", bytes, None);
});

fn sums_up(report: &TestReport) {
    let totals = report.totals;
    let parts = [totals.passed, totals.failed, totals.errors, totals.skipped];
    let sum = parts.into_iter().fold(0_u64, u64::saturating_add);
    assert_eq!(totals.tests, sum);
    assert!(totals.flaky <= totals.passed);
    assert!(report.duration_seconds.is_finite() && report.duration_seconds >= 0.0);
    for case in report.failing.iter().chain(&report.others) {
        let TestCase {
            suite,
            classname,
            name,
            message,
            seconds,
            ..
        } = case;
        [suite, classname, name, message].into_iter().for_each(is_fit_to_print);
        assert!(seconds.is_none_or(|seconds| seconds.is_finite() && seconds >= 0.0));
    }
}

fn prints(finding: &Finding) {
    let texts = [&finding.id, &finding.message, &finding.path, &finding.package];
    texts.into_iter().chain(&finding.aliases).for_each(is_fit_to_print);
}

fn is_fit_to_print(text: &String) {
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert!(text.chars().count() <= 301, "{text:?}");
}
