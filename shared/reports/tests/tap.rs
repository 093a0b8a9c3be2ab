//! TAP's dialects.

use std::path::Path;

use proptest::prelude::*;
use reports::{Content, Format, Outcome, ReadError, Report, TestReport, Totals};

fn read_as(format: Option<Format>, tap: &[u8]) -> Result<Report, ReadError> {
    reports::read("out.tap", tap, format)
}

fn read(tap: &str) -> TestReport {
    let format = Some("tap".parse().unwrap());
    let report = read_as(format, tap.as_bytes());
    let content = report
        .unwrap_or_else(|error| panic!("{tap}: {error}"))
        .content;
    match content {
        Content::Tests(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

/// Tests, passed, failed, errors, skipped, flaky.
fn counts(report: &TestReport) -> [u64; 6] {
    let Totals {
        tests,
        passed,
        failed,
        errors,
        skipped,
        flaky,
    } = report.totals;
    [tests, passed, failed, errors, skipped, flaky]
}

fn totals(tap: &str) -> [u64; 6] {
    counts(&read(tap))
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tests");
    std::fs::read(folder.join(name)).unwrap()
}

/// What each tool said is in the README beside the fixtures; here a test with subtests is not one,
/// and a todo is skipped.
const FIXTURES: [(&str, [u64; 6]); 9] = [
    ("node.tap", [9, 5, 2, 0, 2, 0]),
    ("node-tap-14.tap", [8, 3, 2, 0, 3, 0]),
    ("node-tap-bail-out.tap", [2, 1, 0, 1, 0, 0]),
    ("tape.tap", [7, 3, 2, 0, 2, 0]),
    // 'Tests: 7 Failed: 2' of prove is one more, and the plan of the subtests is not its own.
    ("perl-cart.tap", [8, 2, 2, 0, 4, 0]),
    ("perl-dies.tap", [3, 1, 0, 2, 0, 0]),
    ("perl-bails.tap", [2, 1, 0, 1, 0, 0]),
    ("perl-skipped.tap", [1, 0, 0, 0, 1, 0]),
    ("prove-verbose.txt", [12, 3, 2, 2, 5, 0]),
];

#[test]
fn the_fixtures_are_detected_and_counted_as_their_tools_count_them() {
    for (name, expected) in FIXTURES {
        let report = read_as(None, &fixture(name)).unwrap();
        assert_eq!(report.format.name(), "tap", "{name}");
        let Content::Tests(tests) = report.content else {
            panic!("{name} is another report")
        };
        assert_eq!(counts(&tests), expected, "{name}");
    }
}

#[test]
fn a_point_is_a_test() {
    for (tap, expected) in [
        ("1..1\nok\n", [1, 1, 0, 0, 0, 0]),
        ("ok 1 - a\nnot ok 2 - b\n1..2", [2, 1, 1, 0, 0, 0]),
        ("1..1\r\nnot ok 1\r\n", [1, 0, 1, 0, 0, 0]),
        ("\u{feff}TAP version 14\n1..1\nok 1", [1, 1, 0, 0, 0, 0]),
        ("1..1\nsome output\nokay then\nok 1", [1, 1, 0, 0, 0, 0]),
        ("1..0", [0; 6]),
    ] {
        assert_eq!(totals(tap), expected, "{tap}");
    }
}

#[test]
fn a_directive_skips_and_only_a_todo_forgives_a_failure() {
    for (point, expected) in [
        ("ok 1 a # SKIP no net", [1, 0, 0, 0, 1, 0]),
        ("ok 1 # skipped: no net", [1, 0, 0, 0, 1, 0]),
        ("not ok 1 a # SKIP", [1, 0, 1, 0, 0, 0]),
        ("not ok 1 a # TODO", [1, 0, 0, 0, 1, 0]),
        ("ok 1 a # todo later", [1, 0, 0, 0, 1, 0]),
        ("not ok 1 a \\# TODO", [1, 0, 1, 0, 0, 0]),
        ("not ok 1 a # todos", [1, 0, 1, 0, 0, 0]),
        ("not ok 1 C# TODO", [1, 0, 1, 0, 0, 0]),
    ] {
        assert_eq!(totals(&format!("1..1\n{point}\n")), expected, "{point}");
    }
    let report = read("1..1\nok 1 - a \\# b # SKIP no net\n");
    let case = &report.others[0];
    assert_eq!((&case.name[..], &case.message[..]), ("a # b", "no net"));
}

#[test]
fn a_whole_that_is_skipped_is_one_test() {
    let report = read("1..0 # Skipped: needs a network\n");
    assert_eq!(counts(&report), [1, 0, 0, 0, 1, 0]);
    assert_eq!(report.others[0].message, "needs a network");
}

#[test]
fn tests_that_are_planned_and_missing_are_errors() {
    for (tap, expected) in [
        ("1..3\nok 1\n", [3, 1, 0, 2, 0, 0]),
        ("1..3\nok\nok\n", [3, 2, 0, 1, 0, 0]),
        ("1..3\nok 1\nok 3\n", [3, 2, 0, 1, 0, 0]),
        ("1..3\nok 3\nok 1\nok 2\n", [3, 3, 0, 0, 0, 0]),
        // A number twice leaves another out.
        ("1..3\nok 1\nok 2\nok 2\n", [4, 3, 0, 1, 0, 0]),
        ("1..2\nok 0\nok 1\n", [3, 2, 0, 1, 0, 0]),
        (
            "1..18446744073709551615\nok 1\n",
            [u64::MAX, 1, 0, u64::MAX - 1, 0, 0],
        ),
    ] {
        assert_eq!(totals(tap), expected, "{tap}");
    }
}

#[test]
fn tests_beyond_the_plan_and_a_second_plan_are_an_error() {
    for (tap, expected) in [
        ("1..1\nok 1\nok 2\n", [3, 2, 0, 1, 0, 0]),
        ("ok 1\n1..1\nok 2\n", [3, 2, 0, 1, 0, 0]),
        ("1..1\nok 1\n1..1\n", [2, 1, 0, 1, 0, 0]),
        ("1..0\nok 1\n", [2, 1, 0, 1, 0, 0]),
    ] {
        assert_eq!(totals(tap), expected, "{tap}");
    }
}

#[test]
fn a_report_without_a_plan_is_truncated() {
    let format = Some("tap".parse().unwrap());
    for tap in [
        "TAP version 13\n",
        "ok 1\nok 2\n",
        "nothing of TAP",
        "    1..1\n    ok 1\n",
    ] {
        let error = read_as(format, tap.as_bytes()).unwrap_err();
        assert!(
            matches!(error, ReadError::Truncated { .. }),
            "{tap}: {error}"
        );
    }
}

#[test]
fn a_bail_out_is_an_error_wherever_it_is() {
    for (tap, expected) in [
        ("Bail out! no db\n", [1, 0, 0, 1, 0, 0]),
        ("1..1\nok 1\nBail out!\nBail out!\n", [2, 1, 0, 1, 0, 0]),
        ("ok 1\n    bail out! no db\n", [2, 1, 0, 1, 0, 0]),
    ] {
        assert_eq!(totals(tap), expected, "{tap}");
    }
    let report = read("1..0\nBail out! no db\n");
    let case = &report.failing[0];
    assert_eq!(
        (&case.message[..], case.outcome),
        ("no db", Outcome::Errored)
    );
}

#[test]
fn a_test_with_subtests_is_what_they_are() {
    let around = |inside: &str, point: &str| format!("# Subtest: s\n{inside}\n{point}\n1..1\n");
    for (inside, point, expected) in [
        (
            "    ok 1\n    ok 2\n    1..2",
            "ok 1 - s",
            [2, 2, 0, 0, 0, 0],
        ),
        (
            "    ok 1\n    not ok 2\n    1..2",
            "not ok 1 - s",
            [2, 1, 1, 0, 0, 0],
        ),
        // What the test around says on its own.
        ("    ok 1\n    1..1", "not ok 1 - s", [2, 1, 1, 0, 0, 0]),
        (
            "    1..0 # SKIP why",
            "ok 1 - s # SKIP why",
            [1, 0, 0, 0, 1, 0],
        ),
        // A failure counts whatever the test around says, but for a todo.
        ("    not ok 1\n    1..1", "ok 1 - s", [1, 0, 1, 0, 0, 0]),
        (
            "    not ok 1\n    1..1",
            "ok 1 - s # SKIP",
            [1, 0, 1, 0, 0, 0],
        ),
        (
            "    not ok 1\n    1..1",
            "not ok 1 - s # TODO",
            [1, 0, 0, 0, 1, 0],
        ),
        // The plan of the subtests.
        ("    ok 1\n    1..3", "not ok 1 - s", [3, 1, 0, 2, 0, 0]),
        ("    ok 1\n    1..3", "ok 1 - s # TODO", [3, 1, 0, 2, 0, 0]),
        // Deeper.
        (
            "        not ok 1\n    not ok 1\n    1..1",
            "not ok 1",
            [1, 0, 1, 0, 0, 0],
        ),
        (
            "    1..1\n        not ok 1\n    not ok 1",
            "not ok 1",
            [1, 0, 1, 0, 0, 0],
        ),
        (
            "    1..1\n        not ok 1\n    not ok 1",
            "not ok 1 # TODO",
            [1, 0, 0, 0, 1, 0],
        ),
    ] {
        let tap = around(inside, point);
        assert_eq!(totals(&tap), expected, "{tap}");
    }
}

#[test]
fn subtests_that_no_test_follows_count_all_the_same() {
    assert_eq!(totals("    not ok 1\n    1..1\n1..0\n"), [1, 0, 1, 0, 0, 0]);
    assert_eq!(totals("1..1\n    not ok 1\n"), [2, 0, 1, 1, 0, 0]);
}

#[test]
fn subtests_in_braces_follow_their_test() {
    let tap = "1..2\nnot ok 1 - prices # time=5ms {\n    ok 1 - a\n    not ok 2 - b\n    1..2\n}\n\
               ok 2 - other {\n    ok 1 - c\n    1..1\n}\n";
    let report = read(tap);
    assert_eq!(counts(&report), [3, 2, 1, 0, 0, 0]);
    assert_eq!(report.failing[0].name, "b");
}

#[test]
fn subtests_are_named_by_the_comment_before_them_at_either_level() {
    for tap in [
        "# Subtest: prices\n    not ok 1 - b\n    1..1\nnot ok 1 - prices\n1..1\n",
        "    # Subtest: prices\n    not ok 1 - b\n    1..1\nnot ok 1 - prices\n1..1\n",
    ] {
        let report = read(tap);
        assert_eq!(report.failing[0].id(), "prices::b", "{tap}");
    }
    let report = read(&String::from_utf8(fixture("node.tap")).unwrap());
    let ids: Vec<_> = report.failing.iter().map(|case| case.id()).collect();
    assert_eq!(ids, ["prices::count 30 is small", "deeper::throws"]);
}

#[test]
fn the_message_is_from_the_yaml_or_the_comment_below() {
    for (below, message) in [
        ("  ---\n  message: 'a: b'\n  ...\n", "a: b"),
        ("  ---\n  error: |-\n    one\n    two\n  ...\n", "one"),
        (
            "  ---\n  error: e\n  message: \"m\"\n  error: f\n  ...\n",
            "m",
        ),
        ("  ---\n  message:\n    severity: x\n  ...\n", "severity: x"),
        ("  ---\n  stack: s\n  ...\n", ""),
        ("#   Failed test 'a'\n#   at a.t\n", "Failed test 'a'"),
        ("some output\n# later\n", ""),
        ("", ""),
    ] {
        let report = read(&format!("1..2\nnot ok 1 - a\n{below}ok 2\n"));
        assert_eq!(report.failing[0].message, message, "{below}");
        assert_eq!(report.totals.tests, 2, "{below}");
    }
}

#[test]
fn what_is_in_yaml_is_no_test_and_yaml_that_never_ends_hides_none() {
    let within = "1..1\nnot ok 1\n  ---\n  found: |\n    not ok 2\n    1..9\n  ...\n";
    assert_eq!(totals(within), [1, 0, 1, 0, 0, 0]);
    let open = "1..2\nnot ok 1\n  ---\n  found: |\n    x\nnot ok 2\n";
    assert_eq!(totals(open), [2, 0, 2, 0, 0, 0]);
}

#[test]
fn times_are_those_of_the_tests_or_else_of_the_report() {
    let tap = "1..2\nok 1\n  ---\n  duration_ms: 250\n  ...\nok 2 - b # time=500ms\n";
    let report = read(tap);
    assert_eq!(report.duration_seconds, 0.75);
    assert_eq!(report.others[1].seconds, Some(0.5));
    assert_eq!(report.others[1].name, "b");
    assert_eq!(
        read(&format!("{tap}# duration_ms 2000\n")).duration_seconds,
        2.0
    );
    assert_eq!(read(&format!("{tap}# time=3000ms\n")).duration_seconds, 3.0);
    assert_eq!(
        read(&format!("{tap}# duration_ms NaN\n")).duration_seconds,
        0.75
    );
}

#[test]
fn a_summary_that_says_failed_counts_where_nothing_else_does() {
    assert_eq!(totals("1..1\nok 1\n# fail 2\n"), [3, 1, 0, 2, 0, 0]);
    assert_eq!(totals("1..1\nnot ok 1\n# fail 2\n"), [1, 0, 1, 0, 0, 0]);
    assert_eq!(
        totals("1..1\nok 1\n# fail 0\n# pass 9\n"),
        [1, 1, 0, 0, 0, 0]
    );
}

#[test]
fn reports_that_follow_each_other_each_have_their_plan() {
    let one = "TAP version 13\n1..1\nok 1\n";
    assert_eq!(totals(&one.repeat(3)), [3, 3, 0, 0, 0, 0]);
    let cut = "TAP version 13\nok 1\n";
    assert_eq!(totals(&format!("{cut}{one}")), [3, 2, 0, 1, 0, 0]);
    let error = read_as(None, format!("{one}{cut}").as_bytes()).unwrap_err();
    assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
}

#[test]
fn prove_names_the_files_and_its_result_ends_the_whole() {
    let report = read(&String::from_utf8(fixture("prove-verbose.txt")).unwrap());
    let suites: Vec<_> = report.failing.iter().map(|case| &case.suite[..]).collect();
    assert_eq!(suites, ["t/cart.t", "prices", "t/dies.t"]);
    for (tap, expected) in [
        ("a.t .. \nok\n1..1\nok\nResult: PASS\n", [1, 1, 0, 0, 0, 0]),
        (
            "a.t .. \n1..1\nok 1\nok\nb.t .. \n1..1\nok 1\nok\nResult: PASS",
            [2, 2, 0, 0, 0, 0],
        ),
        (
            "a.t .. \n1..1\nok 1\nDubious, test returned 3 (wstat 768, 0x300)\nResult: FAIL\n",
            [2, 1, 0, 1, 0, 0],
        ),
        (
            "a.t .. \n1..1\nok 1\nok\nResult: FAIL\n",
            [2, 1, 0, 1, 0, 0],
        ),
        ("a.t .. skipped: why\nResult: NOTESTS\n", [1, 0, 0, 0, 1, 0]),
    ] {
        assert_eq!(totals(tap), expected, "{tap}");
    }
    let cut = read_as(None, b"a.t .. \n1..1\nok 1\nok\n").unwrap_err();
    assert!(matches!(cut, ReadError::Truncated { .. }), "{cut}");
}

#[test]
fn a_report_cut_off_anywhere_never_says_that_all_passed() {
    for (name, _) in FIXTURES {
        let bytes = fixture(name);
        let whole = bytes.trim_ascii_end().len();
        let all = match read_as(None, &bytes).unwrap().content {
            Content::Tests(report) => report.totals,
            content => panic!("{name}: {content:?}"),
        };
        for length in 0..whole {
            let Ok(report) = read_as(Some("tap".parse().unwrap()), &bytes[..length]) else {
                continue;
            };
            let Content::Tests(report) = report.content else {
                panic!("{name}: another report")
            };
            // All of these failed, or passed nothing.
            let same = report.totals == all;
            let claims_success = report.totals.failing() == 0 && report.totals.passed > 0;
            assert!(same || !claims_success, "{name} cut at {length}");
        }
    }
}

#[test]
fn hostile_nesting_and_numbers_are_bounded() {
    let deep: String = (0..100)
        .map(|depth| format!("{}ok 1\n", "    ".repeat(depth)))
        .collect();
    let error = read_as(Some("tap".parse().unwrap()), deep.as_bytes()).unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
    let ahead: String = (0..200_000)
        .map(|n| format!("ok {}\n", 2 * n + 2))
        .collect();
    let error = read_as(None, ahead.as_bytes()).unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
    let failed = "    not ok\n".repeat(100_000) + "not ok 1\n1..1\n";
    assert_eq!(totals(&failed), [100_000, 0, 100_000, 0, 0, 0]);
}

#[test]
fn utf16_is_read() {
    let bytes: Vec<u8> = "\u{feff}1..1\nnot ok 1 - ä\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let Content::Tests(report) = read_as(None, &bytes).unwrap().content else {
        panic!("another report")
    };
    assert_eq!(report.failing[0].name, "ä");
}

/// A generated test: the points inside it, or an outcome.
#[derive(Debug, Clone)]
enum Node {
    Leaf(&'static str),
    Sub(Vec<Node>),
}

fn node() -> impl Strategy<Value = Node> {
    let leaf = prop::sample::select(vec!["ok", "not ok", "skip", "todo"]).prop_map(Node::Leaf);
    leaf.prop_recursive(4, 60, 5, |inner| {
        prop::collection::vec(inner, 1..5).prop_map(Node::Sub)
    })
}

/// Writes the points of one level; says whether one failed.
fn write(nodes: &[Node], depth: usize, leads: bool, tap: &mut String, totals: &mut Totals) -> bool {
    let indent = "    ".repeat(depth);
    let plan = format!("{indent}1..{}\n", nodes.len());
    let mut failed = false;
    if leads {
        *tap += &plan;
    }
    for (index, node) in nodes.iter().enumerate() {
        let number = index + 1;
        let point = match node {
            Node::Sub(inside) => {
                *tap += &format!("{indent}# Subtest: s{number}\n");
                match write(inside, depth + 1, leads, tap, totals) {
                    true => "not ok",
                    false => "ok",
                }
            }
            Node::Leaf(outcome) => {
                totals.tests += 1;
                match *outcome {
                    "ok" => totals.passed += 1,
                    "not ok" => totals.failed += 1,
                    _ => totals.skipped += 1,
                }
                outcome
            }
        };
        failed |= point == "not ok";
        *tap += &match point {
            "skip" => format!("{indent}ok {number} - a # SKIP\n"),
            "todo" => format!("{indent}not ok {number} - a # TODO\n"),
            point => format!(
                "{indent}{point} {number} - a\n{indent}  ---\n{indent}  x: 1..9\n{indent}  ...\n"
            ),
        };
    }
    if !leads {
        *tap += &plan;
    }
    failed
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        nodes in prop::collection::vec(node(), 0..6),
        leads in any::<bool>(),
    ) {
        let (mut tap, mut expected) = ("TAP version 14\n".to_owned(), Totals::default());
        write(&nodes, 0, leads, &mut tap, &mut expected);
        prop_assert_eq!(read(&tap).totals, expected, "{}", tap);
    }

    #[test]
    fn arbitrary_lines_never_panic(
        lines in prop::collection::vec(prop::sample::select(vec![
            "ok 1", "not ok 2", "    ok", "    not ok 1 {", "}", "    }", "1..2", "    1..1",
            "  ---", "  ...", "  message: |", "      ---", "        not ok", "# Subtest: a",
            "    # Subtest: b", "TAP version 14", "    TAP version 14", "Bail out!", "# fail 3",
            "a.t .. ", "ok", "Dubious, test returned 1", "Result: FAIL", "ok 5 # TODO", "",
        ]), 0..60),
    ) {
        let _ = read_as(Some("tap".parse().unwrap()), lines.join("\n").as_bytes());
    }
}
