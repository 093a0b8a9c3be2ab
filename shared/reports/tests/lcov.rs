//! LCOV's dialects.

use std::fmt::Write;

use proptest::prelude::*;
use reports::{Content, CoverageReport, Ratio, ReadError};

fn try_read(info: &str) -> Result<CoverageReport, ReadError> {
    match reports::read("lcov.info", info.as_bytes(), None)?.content {
        Content::Coverage(report) => Ok(report),
        content => panic!("another report: {content:?}"),
    }
}

fn read(info: &str) -> CoverageReport {
    try_read(info).unwrap()
}

fn of(lines: &str) -> CoverageReport {
    read(&format!("TN:\nSF:src/a.c\n{lines}\nend_of_record\n"))
}

#[test]
fn a_line_may_have_a_checksum_and_a_count_of_any_size() {
    let report = of(
        "DA:1,2,7d9d3ce69baaa3f589eba3ac7ba57c03\nDA:2,99999999999999999999999\nDA:3,1.5\nDA:4,0\nDA:5,-1",
    );
    assert_eq!(report.lines(), Ratio::new(3, 5));
}

#[test]
fn a_branch_that_was_never_reached_is_one_that_did_not_run() {
    assert_eq!(
        of("DA:1,1\nBRDA:1,0,0,-\nBRDA:1,0,1,3\nBRDA:1,0,2,0").branches(),
        Ratio::new(1, 3)
    );
}

#[test]
fn a_branch_may_be_named_by_an_expression_and_be_of_an_exception() {
    let report = of(
        "DA:2,1\nBRDA:2,e0,0,1\nBRDA:2,0,f(a, b) == 1,0\nBRDA:2,0,jump to line 5,1\nBRDA:2,0,0,-",
    );
    assert_eq!(report.branches(), Ratio::new(2, 4));
}

#[test]
fn a_branch_that_is_repeated_counts_once_and_ran_when_it_ran_in_either() {
    let record = |taken: [u32; 2]| {
        format!(
            "SF:a.c\nDA:1,1\nBRDA:1,0,0,{}\nBRDA:1,0,1,{}\nend_of_record\n",
            taken[0], taken[1]
        )
    };
    let report = read(&format!(
        "TN:one\n{}TN:two\n{}",
        record([1, 0]),
        record([0, 1])
    ));
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(1, 1), Ratio::new(2, 2))
    );
}

#[test]
fn sums_count_where_there_are_no_lines_or_branches() {
    let report = of("LF:10\nLH:7\nBRF:4\nBRH:1");
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(7, 10), Ratio::new(1, 4))
    );
    let report = of("DA:1,1\nBRDA:1,0,0,1\nLF:10\nLH:7\nBRF:4\nBRH:1");
    assert_eq!(
        (report.lines(), report.branches()),
        (Ratio::new(1, 1), Ratio::new(1, 1))
    );
}

#[test]
fn what_lcov_2_adds_is_passed_over() {
    let report = read(
        "# a comment\nTN:GCOVR_report\nSF:/b/a.c\nVER:98a342\nFNL:0,1,4\nFNA:0,2,price\nFN:1,4,price\nFNDA:2,price\n\
         DA:1,1\nMCDC:1,2,t,1,0,a && b\nMCF:2\nMCH:1\nLF:1\nLH:1\nend_of_record",
    );
    assert_eq!(report.lines(), Ratio::new(1, 1));
}

#[test]
fn a_report_begins_with_a_test_or_a_file() {
    for (text, is_lcov) in [
        ("SF:a\nend_of_record\n", true),
        ("\n\nTN:\nSF:a\nend_of_record\n", true),
        ("\u{feff}SF:a\r\nDA:1,1\r\nend_of_record\r\n", true),
        ("TN:\nTN:\nSF:a\nend_of_record\n", true),
        ("TN: no file follows\n", false),
        ("ok 1\nSF:a\nend_of_record\n", false),
    ] {
        assert_eq!(try_read(text).is_ok(), is_lcov, "{text:?}");
    }
}

#[test]
fn a_file_that_ends_within_a_record_is_cut_off() {
    let whole = "TN:\nSF:a.c\nDA:1,1\nend_of_record\nSF:b.c\nDA:1,0\nend_of_record\n";
    let first = whole.find("SF:b").unwrap();
    for length in 0..whole.len() - 1 {
        let expected = length < 31 || length > first + 2;
        // Of a record only the end of its last line is the end.
        let report = try_read(&whole[..length]);
        let is_whole = report
            .as_ref()
            .is_ok_and(|report| report.files().count() == 1);
        assert_eq!(report.is_err(), expected, "{length}");
        assert_eq!(is_whole, !expected, "{length}");
    }
    let lcov = Some("lcov".parse().unwrap());
    for text in ["TN:\n", "TN:x\n\n", "nothing\n"] {
        let error = reports::read("lcov.info", text.as_bytes(), lcov).unwrap_err();
        assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
    }
}

#[test]
fn lines_that_break_the_format_are_not_passed_over() {
    for lines in [
        "DA:1",
        "DA:",
        "DA:x,1",
        "DA:1,x",
        "DA:1,NaN",
        "DA:-1,1",
        "BRDA:1,0,0",
        "BRDA:1,0,0,x",
        "BRDA:x,0,0,1",
        "BRDA:",
        "LF:x",
        "SF:b.c",
    ] {
        let error = try_read(&format!("SF:a.c\n{lines}\nend_of_record\n")).unwrap_err();
        assert!(
            matches!(error, ReadError::Malformed { at, .. } if at.line == 2),
            "{lines}: {error}"
        );
    }
    let error = try_read("SF:a\nend_of_record\nDA:1,1\n").unwrap_err();
    assert!(matches!(error, ReadError::Malformed { .. }), "{error}");
    let long = format!("BRDA:1,0,{},1", "x".repeat(100_000));
    let error = try_read(&format!("SF:a.c\n{long}\nend_of_record\n")).unwrap_err();
    assert!(matches!(error, ReadError::Malformed { .. }), "{error}");
    let error = try_read("SF:a.c\nDA:1000001,1\nend_of_record\n").unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        files in prop::collection::btree_map(
            "[a-z/]{1,5}[.]c",
            prop::collection::btree_map(1..500u32, (0..3u32, prop::collection::vec(0..3u32, 0..4)), 1..20),
            1..6,
        ),
    ) {
        let mut info = String::new();
        for (path, lines) in &files {
            writeln!(info, "TN:\nSF:{path}").unwrap();
            for (line, (count, ways)) in lines {
                writeln!(info, "DA:{line},{count}").unwrap();
                for (number, taken) in ways.iter().enumerate() {
                    writeln!(info, "BRDA:{line},0,{number},{taken}").unwrap();
                }
            }
            writeln!(info, "end_of_record").unwrap();
        }
        let report = read(&info);
        prop_assert_eq!(report.files().count(), files.len());
        for (path, file) in report.files() {
            let lines = &files[path];
            prop_assert!(file.map().lines().eq(lines.iter().map(|(&line, (count, _))| (line, *count > 0))));
            let ways = || lines.values().flat_map(|(_, ways)| ways);
            let ran = ways().filter(|&&taken| taken > 0).count() as u64;
            prop_assert_eq!(file.branches(), Ratio::new(ran, ways().count() as u64));
        }
    }
}
