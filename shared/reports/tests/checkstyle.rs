//! Checkstyle's reports, and those of other linters in its format.

use std::path::Path;

use proptest::prelude::*;
use reports::{Content, FindingsReport, ReadError, Report, Severity};

fn report(xml: &str) -> Report {
    reports::read("checkstyle.xml", xml.as_bytes(), None).unwrap()
}

fn read(xml: &str) -> FindingsReport {
    match report(xml).content {
        Content::Findings(findings) => findings,
        content => panic!("another report: {content:?}"),
    }
}

fn of(inside: &str) -> FindingsReport {
    read(&format!(
        "<checkstyle version='8.36'><file name='src/a.js'>{inside}</file></checkstyle>"
    ))
}

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/findings");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Errors, warnings, infos.
fn counts(report: &FindingsReport) -> [usize; 3] {
    [Severity::High, Severity::Medium, Severity::Info].map(|severity| {
        let found = report.listed.iter();
        found.filter(|finding| finding.severity == severity).count()
    })
}

#[test]
fn each_tool_s_report_says_what_the_tool_said() {
    // Checkstyle: 1 error, 2 warnings, 3 infos; ESLint: 5 problems (2 errors, 3 warnings).
    for (name, expected) in [
        ("checkstyle.xml", [1, 2, 3]),
        ("eslint-checkstyle.xml", [2, 3, 0]),
    ] {
        let text = fixture(name);
        assert_eq!(report(&text).format.name(), "checkstyle", "{name}");
        assert_eq!(counts(&read(&text)), expected, "{name}");
    }
}

#[test]
fn a_finding_has_its_rule_file_line_and_message() {
    let report = read(&fixture("eslint-checkstyle.xml"));
    let finding = &report.listed[3];
    assert_eq!(finding.id, "eslint.rules.no-eval");
    assert_eq!(finding.path, "/build/npm/src/unused.js");
    assert_eq!(finding.line, Some(5));
    assert_eq!(finding.message, "eval can be harmful. (no-eval)");
    assert_eq!(finding.severity, Severity::High);
}

#[test]
fn a_report_cut_off_anywhere_is_truncated_and_never_without_findings() {
    for name in ["checkstyle.xml", "eslint-checkstyle.xml"] {
        let text = fixture(name);
        for length in 1..text.trim_end().len() {
            let read = reports::read(name, &text.as_bytes()[..length], None);
            let is_truncated = matches!(read, Err(ReadError::Truncated { .. }));
            assert!(is_truncated, "{name} cut at {length}: {read:?}");
        }
    }
}

#[test]
fn a_severity_is_as_bad_as_its_word_and_unknown_without_one() {
    for (attributes, severity) in [
        ("severity='error'", Severity::High),
        ("severity='warning'", Severity::Medium),
        ("severity='info'", Severity::Info),
        ("severity='ignore'", Severity::Info),
        ("severity='odd'", Severity::Unknown),
        ("", Severity::Unknown),
    ] {
        let report = of(&format!("<error {attributes}/>"));
        assert_eq!(report.listed[0].severity, severity, "{attributes}");
    }
}

#[test]
fn a_line_is_a_number_from_1() {
    for (line, expected) in [
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("0", None),
        ("-1", None),
        ("99999999999", None),
        ("x", None),
    ] {
        let report = of(&format!("<error line='{line}'/>"));
        assert_eq!(report.listed[0].line, expected, "{line}");
    }
}

#[test]
fn findings_without_a_rule_are_told_apart_by_their_messages() {
    let report = of("<error message='one'/><error source=' ' message='two'/>");
    let keys: Vec<_> = report.listed.iter().map(reports::Finding::key).collect();
    assert_eq!(keys, ["one|src/a.js", "two|src/a.js"]);
}

#[test]
fn a_file_that_could_not_be_checked_is_a_finding() {
    let report = of(
        "<exception>\n<![CDATA[\ncom.puppycrawl.CheckstyleException: broke\n at x]]></exception>",
    );
    let finding = &report.listed[0];
    assert_eq!(
        (&finding.id[..], finding.severity),
        ("exception", Severity::High)
    );
    assert_eq!(finding.message, "com.puppycrawl.CheckstyleException: broke");
    assert_eq!(finding.path, "src/a.js");
}

#[test]
fn no_file_and_empty_files_are_a_report_of_no_findings() {
    for xml in [
        "<checkstyle version='3.7.1'>\n</checkstyle>",
        "<checkstyle><file name='a'/><file/></checkstyle>",
    ] {
        assert_eq!(read(xml), FindingsReport::default(), "{xml}");
    }
}

#[test]
fn a_finding_outside_of_any_file_has_no_path() {
    let report = read("<checkstyle><file name='a'/><error source='s'/></checkstyle>");
    assert_eq!(report.listed[0].path, "");
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        files in prop::collection::vec(prop::collection::vec((0..3usize, 1..9999u32), 0..8), 0..6),
    ) {
        let mut xml = "<?xml version='1.0'?><checkstyle>".to_owned();
        let mut expected = Vec::new();
        for (file, errors) in files.iter().enumerate() {
            xml += &format!("<file name='{file}'>");
            for &(severity, line) in errors {
                let word = ["error", "warning", "info"][severity];
                let severity = [Severity::High, Severity::Medium, Severity::Info][severity];
                xml += &format!("<error line='{line}' severity='{word}' source='r{line}'/>");
                expected.push((file.to_string(), format!("r{line}"), severity, Some(line)));
            }
            xml += "</file>";
        }
        xml += "</checkstyle>";
        let found = read(&xml).listed.into_iter();
        let found: Vec<_> = found
            .map(|finding| (finding.path, finding.id, finding.severity, finding.line))
            .collect();
        prop_assert_eq!(found, expected);
    }
}
