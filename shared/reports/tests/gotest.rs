//! The events of go test.

use std::path::Path;

use proptest::prelude::*;
use reports::{Content, Format, Outcome, ReadError, Report, TestReport, Totals};
use serde_json::json;

fn read_as(format: Option<Format>, events: &[u8]) -> Result<Report, ReadError> {
    reports::read("out.json", events, format)
}

fn read(events: &str) -> TestReport {
    let format = Some("gotest".parse().unwrap());
    let report = read_as(format, events.as_bytes());
    match report
        .unwrap_or_else(|error| panic!("{events}: {error}"))
        .content
    {
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

/// Events of package `p`, written `run A`, `pass A`, `fail`, `start` or `says A text`.
fn events(script: &[&str]) -> String {
    let event = |line: &&str| {
        let mut words = line.splitn(3, ' ');
        let [action, test, text] = [(); 3].map(|()| words.next().unwrap_or_default());
        let mut event = json!({"Time": "2026-11-02T10:00:00Z", "Action": action, "Package": "p"});
        if action == "says" {
            event["Action"] = "output".into();
            event["Output"] = format!("{text}\n").into();
        }
        if !test.is_empty() && test != "-" {
            event["Test"] = test.into();
        }
        format!("{event}\n")
    };
    script.iter().map(event).collect()
}

fn totals(script: &[&str]) -> [u64; 6] {
    counts(&read(&events(script)))
}

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tests");
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn the_fixture_is_detected_and_counted_as_its_tool_counts_it() {
    let report = read_as(None, &fixture("go-test.json")).unwrap();
    assert_eq!(report.format.name(), "gotest");
    assert!(report.provenance.began.is_some());
    let Content::Tests(report) = report.content else {
        panic!("another report")
    };
    // 13 tests, 7 passed, 5 failed, 1 skipped, and a package that did not build.
    assert_eq!(counts(&report), [14, 7, 5, 1, 1, 0]);
    let broken: Vec<_> = report
        .failing
        .iter()
        .filter(|case| case.name.is_empty())
        .collect();
    assert_eq!(broken[0].suite, "example.com/shop/broken");
    assert_eq!(broken[0].outcome, Outcome::Errored);
    assert!(report.duration_seconds > 0.0);
}

#[test]
fn tests_with_subtests_and_their_subtests_count_and_packages_do_not() {
    let script = [
        "start", "run A", "run A/x", "run A/y", "pass A/x", "fail A/y", "fail A", "fail",
    ];
    assert_eq!(totals(&script), [3, 1, 2, 0, 0, 0]);
    assert_eq!(
        totals(&["start", "run A", "skip A", "pass"]),
        [1, 0, 0, 0, 1, 0]
    );
    // No test files.
    assert_eq!(totals(&["start", "skip"]), [0; 6]);
}

#[test]
fn a_package_that_failed_without_a_failing_test_is_an_error() {
    let script = [
        "start",
        "says - exit status 3",
        "says - FAIL\tp\t0.1s",
        "fail",
    ];
    let report = read(&events(&script));
    assert_eq!(counts(&report), [1, 0, 0, 1, 0, 0]);
    let case = &report.failing[0];
    let told = [&case.suite[..], &case.name, &case.message];
    assert_eq!(told, ["p", "", "exit status 3"]);
    assert_eq!(
        totals(&["start", "run A", "pass A", "fail"]),
        [2, 1, 0, 1, 0, 0]
    );
}

#[test]
fn a_build_that_failed_is_an_error_of_the_package_that_names_it_or_else_its_own() {
    let build = "{\"ImportPath\":\"p [p.test]\",\"Action\":\"build-output\",\"Output\":\"# p\\n\"}\n\
                 {\"ImportPath\":\"p [p.test]\",\"Action\":\"build-output\",\"Output\":\"a.go:3: no\\n\"}\n\
                 {\"ImportPath\":\"p [p.test]\",\"Action\":\"build-fail\"}\n";
    let package = "{\"Action\":\"start\",\"Package\":\"p\"}\n\
                   {\"Action\":\"output\",\"Package\":\"p\",\"Output\":\"FAIL\\tp [build failed]\\n\"}\n\
                   {\"Action\":\"fail\",\"Package\":\"p\",\"FailedBuild\":\"p [p.test]\"}\n";
    for (stream, suite) in [
        (format!("{build}{package}"), "p"),
        (build.to_owned(), "p [p.test]"),
    ] {
        let report = read(&stream);
        assert_eq!(counts(&report), [1, 0, 0, 1, 0, 0], "{stream}");
        let case = &report.failing[0];
        assert_eq!((&case.suite[..], &case.message[..]), (suite, "a.go:3: no"));
        let detected = read_as(None, stream.as_bytes()).unwrap();
        assert_eq!(detected.format.name(), "gotest");
    }
}

#[test]
fn what_go_prints_beside_the_events_is_passed_over_unless_it_says_failed() {
    let passed = events(&["start", "run A", "pass A", "pass"]);
    for (line, expected) in [
        ("go: downloading example.com/x v1.0.0", [1, 1, 0, 0, 0, 0]),
        ("{\"level\":\"info\"}", [1, 1, 0, 0, 0, 0]),
        ("ok  \tp\t0.1s", [1, 1, 0, 0, 0, 0]),
        ("FAIL\tq [build failed]", [2, 1, 0, 1, 0, 0]),
        ("FAIL\tq [setup failed]", [2, 1, 0, 1, 0, 0]),
        ("FAIL", [2, 1, 0, 1, 0, 0]),
    ] {
        for stream in [format!("{line}\n{passed}"), format!("{passed}{line}\n")] {
            let report = read_as(None, stream.as_bytes()).unwrap();
            assert_eq!(report.format.name(), "gotest", "{stream}");
            assert_eq!(counts(&read(&stream)), expected, "{stream}");
        }
    }
}

#[test]
fn a_test_without_end_is_an_error_unless_the_package_covers_it() {
    for (script, expected) in [
        (
            &["run A", "run B", "fail B", "fail"][..],
            [2, 0, 1, 1, 0, 0],
        ),
        (&["run A", "fail"], [1, 0, 0, 1, 0, 0]),
        (&["run A", "pass"], [1, 0, 0, 1, 0, 0]),
        (&["run BenchmarkA", "pass"], [1, 1, 0, 0, 0, 0]),
        (&["run BenchmarkA", "fail"], [1, 0, 0, 1, 0, 0]),
        (
            &["run A", "says A text--- PASS: A (0.00s)", "pass"],
            [1, 1, 0, 0, 0, 0],
        ),
        (
            &["run A", "says A text--- PASS: A (0.00s)", "fail"],
            [1, 0, 0, 1, 0, 0],
        ),
        (&["run A", "run A/x", "pass A", "pass"], [2, 2, 0, 0, 0, 0]),
        (&["run A", "run A/x", "pass"], [2, 0, 0, 2, 0, 0]),
    ] {
        assert_eq!(totals(script), expected, "{script:?}");
    }
}

#[test]
fn a_package_that_never_ends_is_truncated() {
    for script in [
        &["start"][..],
        &["run A", "pass A"],
        &["says - text"],
        &["start", "pass", "run A"],
    ] {
        let error = read_as(None, events(script).as_bytes()).unwrap_err();
        assert!(
            matches!(error, ReadError::Truncated { .. }),
            "{script:?}: {error}"
        );
    }
}

#[test]
fn a_rerun_that_passes_makes_the_test_flaky_and_a_repetition_does_not() {
    let first = ["start", "run A", "fail A", "run B", "pass B", "fail"];
    let rerun = ["start", "run A", "pass A", "pass"];
    let both: Vec<_> = first.iter().chain(&rerun).copied().collect();
    assert_eq!(totals(&both), [2, 2, 0, 0, 0, 1]);
    let failed_again: Vec<_> = first
        .iter()
        .chain(&["run A", "fail A", "fail"])
        .copied()
        .collect();
    assert_eq!(totals(&failed_again), [2, 1, 1, 0, 0, 0]);
    // `-count=2`: two runs of the test in one of the package.
    let repeated = ["start", "run A", "fail A", "run A", "pass A", "fail"];
    assert_eq!(totals(&repeated), [2, 1, 1, 0, 0, 0]);
    // A test that another's panic left without end passes in the rerun.
    let panicked = [
        "run A", "run B", "fail B", "fail", "run A", "pass A", "run B", "pass B", "pass",
    ];
    assert_eq!(totals(&panicked), [2, 2, 0, 0, 0, 2]);
}

#[test]
fn the_message_is_what_go_marks_or_else_the_first_line_printed() {
    let report = read(&events(&[
        "run A",
        "says A === RUN   A",
        "says A     a_test.go:3: log",
        "says A     a_test.go:4: expected 1",
        "says A --- FAIL: A (0.00s)",
        "fail A",
        "fail",
    ]));
    assert_eq!(report.failing[0].message, "a_test.go:3: log");
    let marked = events(&["run A", "says A log", "says A wrong"]).replace(
        "\"Output\":\"wrong\\n\"",
        "\"Output\":\"wrong\\n\",\"OutputType\":\"error\"",
    ) + &events(&["fail A", "fail"]);
    assert_eq!(read(&marked).failing[0].message, "wrong");
}

#[test]
fn a_stream_of_no_events_is_no_report() {
    let format = Some("gotest".parse().unwrap());
    let error = read_as(format, b"{\"level\":\"info\"}\nok  \tp\t0.1s\n").unwrap_err();
    assert!(matches!(error, ReadError::Malformed { .. }), "{error}");
}

#[test]
fn a_stream_cut_off_anywhere_is_truncated_or_ends_with_a_package() {
    let bytes = fixture("go-test.json");
    let text = str::from_utf8(&bytes).unwrap();
    let is_end = |line: &str| line.contains("\"Elapsed\"") && !line.contains("\"Test\"");
    let format = Some("gotest".parse().unwrap());
    for length in (0..text.trim_end().len()).step_by(7) {
        let last = text.as_bytes()[..length]
            .split(|byte| *byte == b'\n')
            .rfind(|line| !line.is_empty());
        match read_as(format, &bytes[..length]) {
            Err(ReadError::Truncated { .. } | ReadError::Empty { .. }) => {}
            // Before the first event.
            Err(ReadError::Malformed { .. }) => assert!(!text[..length].contains('{')),
            Ok(_) => {
                let last = str::from_utf8(last.unwrap()).unwrap();
                assert!(is_end(last), "cut at {length}: {last}");
            }
            Err(error) => panic!("cut at {length}: {error}"),
        }
    }
}

#[test]
fn utf16_as_powershell_redirects_it_is_read() {
    let text = format!("\u{feff}{}", events(&["run A", "fail A", "fail"]));
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let report = read_as(None, &bytes).unwrap();
    assert_eq!(report.format.name(), "gotest");
}

#[test]
fn tests_that_run_at_one_time_are_bounded() {
    let many: String = (0..60_000)
        .map(|n| events(&[&format!("run T{n}")]))
        .collect();
    let error = read_as(None, many.as_bytes()).unwrap_err();
    assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        packages in prop::collection::vec(
            prop::collection::vec(prop::sample::select(vec!["pass", "fail", "skip"]), 0..8),
            0..5,
        ),
    ) {
        let mut stream = String::new();
        let mut expected = Totals::default();
        for (number, tests) in packages.iter().enumerate() {
            let event = |action: &str, test: Option<usize>| {
                let mut event = json!({"Action": action, "Package": format!("p{number}")});
                if let Some(test) = test {
                    event["Test"] = format!("T{test}").into();
                }
                format!("{event}\n")
            };
            stream += &event("start", None);
            for (test, outcome) in tests.iter().enumerate() {
                stream += &event("run", Some(test));
                stream += &event(outcome, Some(test));
                expected.tests += 1;
                match *outcome {
                    "pass" => expected.passed += 1,
                    "fail" => expected.failed += 1,
                    _ => expected.skipped += 1,
                }
            }
            let failed = tests.contains(&"fail");
            stream += &event(if failed { "fail" } else { "pass" }, None);
        }
        prop_assume!(!stream.is_empty());
        prop_assert_eq!(read(&stream).totals, expected);
    }

    #[test]
    fn arbitrary_events_never_panic(
        script in prop::collection::vec(prop::sample::select(vec![
            "start", "run A", "run A/x", "pass A", "fail A", "skip A/x", "bench A", "pass", "fail",
            "skip", "says A text", "says - FAIL\tp", "build-fail", "cont A", "odd A",
        ]), 0..40),
    ) {
        let _ = read_as(Some("gotest".parse().unwrap()), events(&script).as_bytes());
    }
}
