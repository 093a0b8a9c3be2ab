//! Cobertura's dialects.

use reports::{Content, CoverageReport, Ratio, ReadError};

fn read(xml: &str) -> CoverageReport {
    match reports::read("coverage.xml", xml.as_bytes(), None)
        .unwrap()
        .content
    {
        Content::Coverage(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

fn of(classes: &str) -> CoverageReport {
    read(&format!(
        "<coverage line-rate='1' lines-covered='90' lines-valid='100' branches-covered='8' \
         branches-valid='10'><packages><package><classes>{classes}</classes></package></packages>\
         </coverage>"
    ))
}

const HIT: &str = "<line number='1' hits='1'/>";
const MISSED: &str = "<line number='2' hits='0'/>";

#[test]
fn the_lines_count_and_not_what_the_root_says_of_them() {
    let report = of(&format!("<class><lines>{HIT}{MISSED}{HIT}</lines></class>"));
    assert_eq!(report.lines(), Ratio::new(1, 2));
}

#[test]
fn two_classes_of_one_file_are_one_file() {
    let classes = [
        "<lines><line number='1' hits='1'/></lines>",
        "<lines><line number='1' hits='0'/><line number='9' hits='0'/></lines>",
    ];
    let classes = classes.map(|lines| format!("<class filename='src/a.kt'>{lines}</class>"));
    let report = of(&classes.concat());
    let files: Vec<_> = report
        .files()
        .map(|(path, file)| (path, file.lines()))
        .collect();
    assert_eq!(files, [("src/a.kt", Ratio::new(1, 2))]);
}

#[test]
fn a_line_that_its_method_repeats_counts_once() {
    let method = format!("<methods><method><lines>{MISSED}</lines></method></methods>");
    let report = of(&format!(
        "<class>{method}<lines>{HIT}{MISSED}</lines></class>"
    ));
    assert_eq!(report.lines(), Ratio::new(1, 2));
}

#[test]
fn a_class_that_lists_lines_in_its_methods_only_is_counted_by_them() {
    let method = format!("<methods><method><lines>{HIT}{MISSED}</lines></method></methods>");
    let by_method = format!("<class>{method}</class>");
    let by_class = format!("<class filename='b'><lines>{HIT}</lines></class>");
    assert_eq!(
        of(&format!("{by_method}{by_class}")).lines(),
        Ratio::new(2, 3)
    );
}

#[test]
fn without_lines_or_conditions_the_root_is_believed() {
    assert_eq!(of("").lines(), Ratio::new(90, 100));
    assert_eq!(of("").branches(), Ratio::new(8, 10));
    let no_conditions = of(&format!("<class><lines>{HIT}</lines></class>"));
    assert_eq!(no_conditions.branches(), Ratio::new(8, 10));
}

#[test]
fn nothing_measured_is_none_of_none() {
    assert_eq!(read("<coverage line-rate='1'/>"), CoverageReport::default());
    let odd = "<coverage lines-valid='many' lines-covered='-1'/>";
    assert_eq!(read(odd), CoverageReport::default());
}

#[test]
fn branches_are_the_fractions_of_the_conditions() {
    for (condition, branches) in [
        ("50% (1/2)", Ratio::new(1, 2)),
        ("100% ( 3 / 3 )", Ratio::new(3, 3)),
        ("(9/2)", Ratio::new(2, 2)),
    ] {
        let line =
            format!("<line number='1' hits='1' branch='true' condition-coverage='{condition}'/>");
        let report = of(&format!("<class><lines>{line}</lines></class>"));
        assert_eq!(report.branches(), branches, "{condition}");
    }
    for unknown in ["", "50%", "(1/", "(/2)", "(a/b)"] {
        let line =
            format!("<line number='1' hits='1' branch='true' condition-coverage='{unknown}'/>");
        let report = of(&format!("<class><lines>{line}</lines></class>"));
        assert_eq!(report.branches(), Ratio::new(8, 10), "{unknown}");
    }
}

#[test]
fn a_line_is_covered_when_its_hits_are_more_than_none() {
    for (hits, covered) in [
        ("1", 1),
        ("99999999999999999999999", 1),
        ("0.5", 1),
        ("0", 0),
        ("-1", 0),
        ("NaN", 0),
        ("", 0),
    ] {
        let report = of(&format!(
            "<class><lines><line number='1' hits='{hits}'/></lines></class>"
        ));
        assert_eq!(report.lines(), Ratio::new(covered, 1), "{hits}");
    }
}

#[test]
fn clover_and_cobertura_are_told_apart_by_the_root_or_by_what_is_in_it() {
    for (document, format) in [
        (
            "<coverage generated='1' clover='4.5'><project/></coverage>",
            "clover",
        ),
        ("<coverage generated='1'/>", "clover"),
        ("<coverage><project timestamp='1'/></coverage>", "clover"),
        ("<coverage line-rate='1'><project/></coverage>", "cobertura"),
        ("<coverage lines-valid='1'/>", "cobertura"),
        ("<coverage version='1'><sources/></coverage>", "cobertura"),
        ("<coverage><packages/></coverage>", "cobertura"),
    ] {
        let report = reports::read("coverage.xml", document.as_bytes(), None).unwrap();
        assert_eq!(report.format.name(), format, "{document}");
    }
    // SonarQube's generic coverage is neither.
    let sonar = "<coverage version='1'><file path='a.js'/></coverage>";
    let error = reports::read("coverage.xml", sonar.as_bytes(), None).unwrap_err();
    assert!(matches!(error, ReadError::NoFormat { .. }), "{error}");
}
