//! Clover's dialects.

use std::fmt::Write;

use proptest::prelude::*;
use reports::{Content, CoverageReport, Ratio, ReadError};

fn read(xml: &str) -> CoverageReport {
    let report = reports::read("clover.xml", xml.as_bytes(), None).unwrap();
    assert_eq!(report.format.name(), "clover");
    match report.content {
        Content::Coverage(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

fn of(project: &str) -> CoverageReport {
    read(&format!(
        "<coverage generated='1'><project timestamp='1'>{project}</project></coverage>"
    ))
}

fn of_lines(lines: &str) -> CoverageReport {
    of(&format!("<file name='a.php'>{lines}</file>"))
}

#[test]
fn the_path_is_what_a_file_is_called_by_and_else_its_name() {
    let report = of(
        "<package name='x'><file name='A.java' path='/src/x/A.java'/>\
                     <file name='/src/b.php'/><file name='example.com/c.go' path=''/></package>",
    );
    let paths: Vec<_> = report.files().map(|(path, _)| path).collect();
    assert_eq!(paths, ["/src/b.php", "/src/x/A.java", "example.com/c.go"]);
}

#[test]
fn a_condition_of_istanbul_says_how_many_ways_ran_and_how_many_did_not() {
    let report = of_lines(
        "<line num='3' count='1' type='cond' truecount='3' falsecount='1'/>\
                           <line num='4' count='0' type='cond' truecount='0' falsecount='2'/>",
    );
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(1, 2), Ratio::new(3, 6))
    );
}

#[test]
fn a_condition_of_openclover_says_how_often_it_was_true_and_how_often_false() {
    let report = of_lines(
        "<line num='1' type='cond' truecount='9' falsecount='0'/>\
                           <line num='2' type='cond' truecount='2' falsecount='7'/>\
                           <line num='3' type='cond' truecount='0' falsecount='0'/>",
    );
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(2, 3), Ratio::new(3, 6))
    );
}

#[test]
fn the_code_of_the_tests_themselves_does_not_count() {
    // As OpenClover and gcovr write it.
    let file = |name: &str| {
        format!(
            "<package name='p'><file name='{name}'><line num='1' type='stmt' count='1'/></file></package>"
        )
    };
    let report = read(&format!(
        "<coverage clover='4.5.2' generated='1795424213000'><project>{}</project>\
         <testproject><metrics statements='9'/>{}</testproject></coverage>",
        file("A.java"),
        file("ATest.java"),
    ));
    let paths: Vec<_> = report.files().map(|(path, _)| path).collect();
    assert_eq!((paths, report.lines()), (vec!["A.java"], Ratio::new(1, 1)));
}

#[test]
fn the_metrics_of_a_file_count_where_the_lines_say_otherwise() {
    let lines = "<line num='1' type='method' count='1'/><line num='2' type='stmt' count='1'/>\
                 <line num='2' type='stmt' count='0'/>";
    let metrics =
        "<metrics statements='2' coveredstatements='1' conditionals='4' coveredconditionals='3'/>";
    let class = "<class name='A'><metrics statements='70' coveredstatements='70'/></class>";
    for inside in [
        format!("{metrics}{class}{lines}"),
        format!("{class}{lines}{metrics}"),
    ] {
        let report = of_lines(&inside);
        assert_eq!(
            (report.lines(), report.branches()),
            (Ratio::new(1, 2), Ratio::new(3, 4))
        );
    }
    let report = of_lines(&format!(
        "<metrics statements='0' coveredstatements='0'/>{lines}"
    ));
    assert_eq!(report.lines(), Ratio::new(1, 1));
}

#[test]
fn a_statement_behind_the_declaration_of_its_method_is_marked() {
    let lines = "<line num='1' type='method' count='0'/><line num='5' type='stmt' count='1'/>";
    let lines_of = |report: &CoverageReport| {
        let (_, file) = report.files().next().unwrap();
        file.map().lines().collect::<Vec<_>>()
    };
    let hidden = of_lines(&format!(
        "{lines}<metrics statements='2' coveredstatements='1'/>"
    ));
    assert_eq!(lines_of(&hidden), [(1, false), (5, true)]);
    let plain = of_lines(&format!(
        "{lines}<metrics statements='1' coveredstatements='1'/>"
    ));
    assert_eq!(lines_of(&plain), [(5, true)]);
}

#[test]
fn a_summary_without_files_is_taken_at_the_word_of_its_project() {
    let metrics =
        "<metrics statements='10' coveredstatements='7' conditionals='4' coveredconditionals='1'/>";
    let report = of(&format!("{metrics}<package name='a'>{metrics}</package>"));
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(7, 10), Ratio::new(1, 4))
    );
    let listed = of(&format!("{metrics}<file name='a'/>"));
    assert_eq!(listed.lines(), Ratio::new(0, 0));
}

#[test]
fn odd_numbers_are_bounded_or_passed_over() {
    for (line, lines) in [
        (
            "<line num='1' type='stmt' count='99999999999999999999999'/>",
            Ratio::new(1, 1),
        ),
        ("<line num='1' type='stmt' count='0.5'/>", Ratio::new(1, 1)),
        ("<line num='1' type='stmt' count='-1'/>", Ratio::new(0, 1)),
        ("<line num='1' type='stmt' count='NaN'/>", Ratio::new(0, 1)),
        ("<line num='1' type='stmt'/>", Ratio::new(0, 1)),
        ("<line num='1' count='1'/>", Ratio::new(1, 1)),
        ("<line type='stmt' count='1'/>", Ratio::new(0, 0)),
        ("<line num='x' type='stmt' count='1'/>", Ratio::new(0, 0)),
    ] {
        assert_eq!(of_lines(line).lines(), lines, "{line}");
    }
    let xml = "<coverage clover='1'><project><file name='a'><line num='4294967297' type='stmt'/>";
    let error = reports::read("clover.xml", xml.as_bytes(), None).unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        files in prop::collection::btree_map(
            "src/[a-z]{1,3}[.]js",
            prop::collection::btree_map(1..500u32, (0..3u32, 0..3u32, 0..3u32), 1..20),
            1..6,
        ),
    ) {
        let mut xml = "<coverage generated='1' clover='3.2.0'><project>".to_owned();
        for (path, lines) in &files {
            write!(xml, "<file name='x.js' path='{path}'>").unwrap();
            for (line, (count, ran, missed)) in lines {
                let ways = format!("truecount='{ran}' falsecount='{missed}'");
                let kind = if ran + missed > 0 { "cond" } else { "stmt" };
                write!(xml, "<line num='{line}' count='{count}' type='{kind}' {ways}/>").unwrap();
            }
            xml.push_str("</file>");
        }
        let report = read(&(xml + "</project></coverage>"));
        prop_assert_eq!(report.files().count(), files.len());
        for (path, file) in report.files() {
            let lines = &files[path];
            prop_assert!(file.map().lines().eq(lines.iter().map(|(&line, &(count, ..))| (line, count > 0))));
            let ran: u32 = lines.values().map(|line| line.1).sum();
            let all: u32 = lines.values().map(|line| line.1 + line.2).sum();
            prop_assert_eq!(file.branches(), Ratio::new(ran.into(), all.into()));
        }
    }
}
