//! The events of dart test and flutter test, after the documentation of their protocol: there is no
//! Dart here. Reports of the real tools are read in `collected.rs`.

use proptest::prelude::*;
use reports::{Content, Format, ReadError, Report, TestReport, Totals};
use serde_json::{Value, json};

fn read_as(format: Option<Format>, events: &[u8]) -> Result<Report, ReadError> {
    reports::read("out.json", events, format)
}

fn read(events: &[Value]) -> TestReport {
    let text = text(events);
    let report = read_as(None, text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(report.format.name(), "dart");
    match report.content {
        Content::Tests(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

fn text(events: &[Value]) -> String {
    events.iter().map(|event| format!("{event}\n")).collect()
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

fn start() -> Value {
    json!({"protocolVersion": "0.1.1", "runnerVersion": null, "pid": 1, "type": "start", "time": 0})
}

fn suite(path: &str) -> Value {
    json!({"suite": {"id": 0, "platform": "vm", "path": path}, "type": "suite", "time": 0})
}

fn test(id: u64) -> Value {
    json!({"test": {"id": id, "name": format!("t{id}"), "suiteID": 0, "groupIDs": []},
           "type": "testStart", "time": 1000})
}

fn error(id: u64) -> Value {
    json!({"testID": id, "error": "Expected: <2>\n  Actual: <1>", "isFailure": true,
           "stackTrace": "", "type": "error", "time": 1100})
}

fn test_done(id: u64, result: &str) -> Value {
    json!({"testID": id, "result": result, "skipped": false, "hidden": false, "type": "testDone",
           "time": 1250})
}

fn done(success: impl Into<Value>) -> Value {
    json!({"success": success.into(), "type": "done", "time": 2000})
}

#[test]
fn a_test_ends_as_its_result_says() {
    let with = |key: &str, result: &str| {
        let mut event = test_done(1, result);
        event[key] = true.into();
        event
    };
    for (end, success, expected) in [
        (test_done(1, "success"), true, [1, 1, 0, 0, 0, 0]),
        (test_done(1, "failure"), false, [1, 0, 1, 0, 0, 0]),
        (test_done(1, "error"), false, [1, 0, 0, 1, 0, 0]),
        (test_done(1, "odd"), true, [1, 0, 0, 1, 0, 0]),
        (with("skipped", "success"), true, [1, 0, 0, 0, 1, 0]),
        (with("skipped", "failure"), false, [1, 0, 1, 0, 0, 0]),
        (with("hidden", "success"), true, [0, 0, 0, 0, 0, 0]),
        (with("hidden", "error"), false, [1, 0, 0, 1, 0, 0]),
    ] {
        let events = [
            start(),
            suite("test/a_test.dart"),
            test(1),
            end.clone(),
            done(success),
        ];
        assert_eq!(counts(&read(&events)), expected, "{end}");
    }
}

#[test]
fn a_test_that_succeeds_after_an_error_is_flaky_and_one_with_an_error_after_its_end_is_not() {
    let retried = [
        start(),
        test(1),
        error(1),
        test_done(1, "success"),
        done(true),
    ];
    assert_eq!(counts(&read(&retried)), [1, 1, 0, 0, 0, 1]);
    let late = [
        start(),
        test(1),
        test_done(1, "success"),
        error(1),
        error(1),
        done(false),
    ];
    assert_eq!(counts(&read(&late)), [2, 1, 0, 1, 0, 0]);
    // One that had failed anyway.
    let twice = [
        start(),
        test(1),
        test_done(1, "failure"),
        error(1),
        done(false),
    ];
    assert_eq!(counts(&read(&twice)), [1, 0, 1, 0, 0, 0]);
}

#[test]
fn a_test_without_end_is_an_error() {
    let events = [
        start(),
        test(1),
        test(2),
        test_done(1, "success"),
        done(Value::Null),
    ];
    assert_eq!(counts(&read(&events)), [2, 1, 0, 1, 0, 0]);
}

#[test]
fn a_run_without_success_counts_when_no_test_failed() {
    for success in [json!(false), json!(null)] {
        let events = [start(), test(1), test_done(1, "success"), done(success)];
        assert_eq!(counts(&read(&events)), [2, 1, 0, 1, 0, 0]);
    }
    assert_eq!(counts(&read(&[start(), done(true)])), [0; 6]);
}

#[test]
fn a_run_without_done_is_truncated_wherever_it_is() {
    let whole = [start(), test(1), test_done(1, "success"), done(true)];
    let text = text(&whole);
    for length in 1..text.len() - 2 {
        let format = Some("dart".parse().unwrap());
        match read_as(format, &text.as_bytes()[..length]) {
            Err(ReadError::Truncated { .. }) => {}
            // Before the end of its first event.
            Err(ReadError::Malformed { .. }) => assert!(!text[..length].contains('\n')),
            other => panic!("cut at {length}: {other:?}"),
        }
    }
    let two = format!("{}\n{text}", start());
    let error = read_as(None, two.as_bytes()).unwrap_err();
    assert!(matches!(error, ReadError::Truncated { .. }), "{error}");
}

#[test]
fn runs_that_follow_each_other_count_together() {
    let one = [start(), test(1), test_done(1, "success"), done(true)];
    let two = [start(), test(1), test_done(1, "failure"), done(false)];
    let report = read(&[one, two].concat());
    assert_eq!(counts(&report), [2, 1, 1, 0, 0, 0]);
    assert_eq!(report.duration_seconds, 4.0);
}

#[test]
fn a_test_is_told_by_its_file_from_the_folder_of_tests_on() {
    let events = [
        start(),
        suite("/codebuild/src123/app/test/ui/a_test.dart"),
        test(1),
        error(1),
        test_done(1, "failure"),
        done(false),
    ];
    let report = read(&events);
    let case = &report.failing[0];
    assert_eq!(case.id(), "test/ui/a_test.dart::t1");
    assert_eq!(case.message, "Expected: <2>");
    assert_eq!(case.seconds, Some(0.25));
    assert_eq!(report.duration_seconds, 2.0);
}

#[test]
fn what_flutter_prints_among_the_events_is_passed_over() {
    let run = text(&[start(), test(1), test_done(1, "success"), done(true)]);
    for line in [
        "[{\"event\":\"test.startedProcess\",\"params\":{}}]",
        "Downloading packages...",
        "{\"type\":1}",
    ] {
        for stream in [format!("{line}\n{run}"), format!("{run}{line}\n")] {
            let report = read_as(None, stream.as_bytes()).unwrap();
            assert_eq!(report.format.name(), "dart", "{stream}");
        }
    }
    let format = Some("dart".parse().unwrap());
    let error = read_as(format, b"{\"type\":1}").unwrap_err();
    assert!(matches!(error, ReadError::Malformed { .. }), "{error}");
}

#[test]
fn an_error_longer_than_a_line_may_be_does_not_hide_how_the_test_ended() {
    let mut long = error(1);
    long["stackTrace"] = "x".repeat(200_000).into();
    let events = [start(), test(1), long, test_done(1, "failure"), done(false)];
    assert_eq!(counts(&read(&events)), [1, 0, 1, 0, 0, 0]);
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(
        results in prop::collection::vec(
            prop::sample::select(vec!["success", "failure", "error"]), 0..12,
        ),
    ) {
        let mut events = vec![start()];
        events.extend((0..).zip(&results).map(|(id, _)| test(id)));
        events.extend((0..).zip(&results).map(|(id, result)| test_done(id, result)));
        let count = |wanted| results.iter().filter(|result| **result == wanted).count() as u64;
        let [passed, failed, errors] = ["success", "failure", "error"].map(count);
        events.push(done(failed + errors == 0));
        let expected = [results.len() as u64, passed, failed, errors, 0, 0];
        prop_assert_eq!(counts(&read(&events)), expected);
    }

    #[test]
    fn arbitrary_events_never_panic(
        picks in prop::collection::vec(0..8usize, 0..30),
    ) {
        let all = [start(), suite("a"), test(1), test(2), error(1), test_done(1, "success"),
                   test_done(2, "error"), done(true)];
        let events: Vec<_> = picks.into_iter().map(|pick| all[pick].clone()).collect();
        let _ = read_as(Some("dart".parse().unwrap()), text(&events).as_bytes());
    }
}
