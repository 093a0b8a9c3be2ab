//! The fixtures of coverage, each written by a real tool, say what the tool's own summary said.

use std::path::Path;

use reports::{Content, CoverageReport, Ratio, ReadError, Report};

/// File, format, lines and branches, the last two as the tool itself counts them: see the README
/// beside the fixtures.
const FIXTURES: [(&str, &str, [u64; 2], [u64; 2]); 15] = [
    ("jacoco.xml", "jacoco", [8, 12], [6, 11]),
    ("c8-clover.xml", "clover", [13, 25], [4, 7]),
    ("nyc-clover.xml", "clover", [8, 14], [6, 12]),
    ("phpunit-clover.xml", "clover", [2, 7], [2, 10]),
    // The same run: PHPUnit leaves the branches out of the lines, and has them in the root alone.
    ("phpunit-cobertura.xml", "cobertura", [2, 7], [2, 10]),
    ("c8.info", "lcov", [13, 25], [4, 7]),
    ("nyc.info", "lcov", [8, 14], [6, 12]),
    // A template's lines and branches are there twice.
    ("lcov.info", "lcov", [9, 10], [7, 12]),
    ("lcov-added.info", "lcov", [9, 10], [7, 12]),
    // As `lcov --summary` says of it. llvm-cov itself says 7/12: it counts a template's once.
    ("llvm-cov.info", "lcov", [12, 20], [8, 14]),
    ("llvm-cov.json", "llvm-cov", [12, 20], [7, 12]),
    ("llvm-cov-summary.json", "llvm-cov", [12, 20], [7, 12]),
    // Statements.
    ("go-set.out", "gocover", [5, 8], [0, 0]),
    ("go-atomic.out", "gocover", [5, 8], [0, 0]),
    ("simplecov-resultset.json", "simplecov", [8, 12], [4, 6]),
];

fn bytes(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/coverage");
    std::fs::read(folder.join(name)).unwrap()
}

fn read(name: &str) -> Report {
    reports::read(name, bytes(name).as_slice(), None).unwrap()
}

fn coverage(name: &str) -> CoverageReport {
    match read(name).content {
        Content::Coverage(report) => report,
        content => panic!("{name} is another report: {content:?}"),
    }
}

/// Path, lines and branches of each file.
fn files(name: &str) -> Vec<(String, [u64; 4])> {
    let report = coverage(name);
    let files = report.files().map(|(path, file)| {
        let (lines, branches) = (file.lines(), file.branches());
        let counts = [lines.covered, lines.valid, branches.covered, branches.valid];
        (path.to_owned(), counts)
    });
    files.collect()
}

#[test]
fn each_is_detected_and_says_what_its_tool_said() {
    for (name, format, [lines_run, lines], [ways_run, ways]) in FIXTURES {
        let report = read(name);
        assert_eq!(report.format.name(), format, "{name}");
        let Content::Coverage(coverage) = report.content else {
            panic!("{name} is another report")
        };
        let counted = (coverage.lines(), coverage.branches());
        let told = (Ratio::new(lines_run, lines), Ratio::new(ways_run, ways));
        assert_eq!(counted, told, "{name}");
    }
}

#[test]
fn each_file_has_the_counts_that_its_tool_gave_it() {
    for (name, expected) in [
        (
            "jacoco.xml",
            vec![
                ("shop/Cart.java", [8, 10, 6, 9]),
                ("shop/Unused.java", [0, 2, 0, 2]),
            ],
        ),
        (
            "nyc.info",
            vec![
                ("src/main.js", [2, 3, 3, 4]),
                ("src/price.js", [6, 7, 3, 6]),
                ("src/unused.js", [0, 4, 0, 2]),
            ],
        ),
        (
            "phpunit-clover.xml",
            vec![
                ("/build/php/src/Cart.php", [2, 6, 2, 9]),
                ("/build/php/src/Unused.php", [0, 1, 0, 1]),
            ],
        ),
        (
            "llvm-cov.json",
            vec![
                ("/build/cpp/cart.h", [9, 17, 4, 6]),
                ("/build/cpp/main.cpp", [3, 3, 3, 6]),
            ],
        ),
        (
            "simplecov-resultset.json",
            vec![
                ("/build/ruby/lib/cart.rb", [8, 9, 4, 6]),
                ("/build/ruby/lib/unused.rb", [0, 3, 0, 0]),
            ],
        ),
    ] {
        let found = files(name);
        let found: Vec<_> = found
            .iter()
            .map(|(path, counts)| (&path[..], *counts))
            .collect();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn two_formats_of_one_run_have_the_same_lines() {
    for (one, other) in [
        ("c8-clover.xml", "c8.info"),
        ("nyc-clover.xml", "nyc.info"),
        ("llvm-cov.json", "llvm-cov.info"),
        ("lcov.info", "lcov-added.info"),
    ] {
        let [one, other] = [one, other].map(|name| {
            let report = coverage(name);
            let files = report.files().map(|(path, file)| {
                let name = path.rsplit('/').next().unwrap().to_owned();
                (name, file.map().lines().collect::<Vec<_>>())
            });
            files.collect::<Vec<_>>()
        });
        assert_eq!(one, other);
    }
}

#[test]
fn a_format_that_has_a_time_gives_it() {
    for (name, began) in [
        ("jacoco.xml", "2026-11-23T08:31:00.402Z"),
        ("nyc-clover.xml", "2026-11-23T08:35:18.849Z"),
        ("phpunit-clover.xml", "2026-11-23T08:43:34Z"),
        ("simplecov-resultset.json", "2026-11-23T08:44:23Z"),
    ] {
        let expected = began.parse().unwrap();
        assert_eq!(read(name).provenance.began, Some(expected), "{name}");
    }
}

#[test]
fn a_report_cut_off_anywhere_is_never_read_as_a_whole_one() {
    for (name, format, ..) in FIXTURES {
        let bytes = bytes(name);
        let whole = bytes.trim_ascii_end().len();
        let step = if whole < 1500 { 1 } else { 17 };
        for length in (1..whole).step_by(step) {
            let head = &bytes[..length];
            let read = reports::read(name, head, None);
            // Where lines are all there is, the end of one may be the end of the report: of an LCOV
            // record only that of its last line.
            let may_end = match format {
                "lcov" => is_between_records(head),
                "gocover" => bytes[length] == b'\n' || head.ends_with(b"\n") || is_number(head),
                _ => false,
            };
            match read {
                Err(ReadError::Truncated { .. }) => {}
                Err(ReadError::NoFormat { .. }) if length < 16 => {}
                Ok(_) if may_end => {}
                other => panic!("{name} cut at {length}: {other:?}"),
            }
        }
    }
}

/// Whether an LCOV report ends before it names its next file.
fn is_between_records(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let last = text.rsplit_once("end_of_record").map(|(_, last)| last);
    last.is_some_and(|last| !last.contains("SF:"))
}

/// Whether a profile ends within the count of its last line, which is none the less more than zero.
fn is_number(head: &[u8]) -> bool {
    head.last().is_some_and(u8::is_ascii_digit)
        && head.iter().rev().skip(1).any(|&byte| byte == b' ')
}
