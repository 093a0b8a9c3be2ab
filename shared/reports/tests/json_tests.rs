//! The formats that report tests in one JSON document: Cucumber's, CTRF and Mocha's.

use std::path::Path;

use proptest::prelude::*;
use reports::{Content, Format, Outcome, ReadError, Report, TestReport, Totals};
use serde_json::{Value, json};

fn read_as(format: &str, json: &[u8]) -> Result<Report, ReadError> {
    let format: Option<Format> = (!format.is_empty()).then(|| format.parse().unwrap());
    reports::read("out.json", json, format)
}

fn read(format: &str, json: &Value) -> TestReport {
    let report = read_as(format, json.to_string().as_bytes());
    tests(report.unwrap_or_else(|error| panic!("{json}: {error}")))
}

fn tests(report: Report) -> TestReport {
    match report.content {
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

fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tests");
    std::fs::read(folder.join(name)).unwrap()
}

/// What each tool said is in the README beside the fixtures.
const FIXTURES: [(&str, &str, [u64; 6]); 7] = [
    // '9 scenarios (2 failed, 1 undefined, 1 pending, 1 skipped, 4 passed)'
    ("cucumber.json", "cucumber", [9, 4, 4, 0, 1, 0]),
    // '2 scenarios passed, 1 failed, 2 error, 1 skipped'
    ("behave.json", "cucumber", [6, 2, 1, 2, 1, 0]),
    ("jest-ctrf.json", "ctrf", [8, 4, 2, 0, 2, 1]),
    ("mocha-ctrf.json", "ctrf", [9, 4, 3, 0, 2, 1]),
    // The summary says otherwise; these are the tests listed.
    ("playwright-ctrf.json", "ctrf", [9, 4, 3, 0, 2, 1]),
    ("pytest-ctrf.json", "ctrf", [16, 7, 6, 0, 3, 1]),
    // '4 passing, 2 pending, 3 failing', one of these a hook.
    ("mocha.json", "mocha-json", [9, 4, 2, 1, 2, 1]),
];

#[test]
fn the_fixtures_are_detected_and_counted_as_their_tools_count_them() {
    for (name, format, expected) in FIXTURES {
        let report = read_as("", &fixture(name)).unwrap();
        assert_eq!(report.format.name(), format, "{name}");
        assert_eq!(counts(&tests(report)), expected, "{name}");
    }
}

#[test]
fn the_other_fixtures_are_of_none_of_these_formats() {
    let ours = ["cucumber", "ctrf", "mocha-json", "gotest", "dart", "tap"];
    let known = FIXTURES.map(|(name, ..)| name);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for folder in ["", "tests", "coverage", "findings"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let is_ours = known.contains(&name)
                || name == "go-test.json"
                || name == "prove-verbose.txt"
                || name.ends_with(".tap");
            if path.is_dir() || name == "README.md" || is_ours {
                continue;
            }
            if let Ok(report) = read_as("", &std::fs::read(&path).unwrap()) {
                let format = report.format.name();
                assert!(!ours.contains(&format), "{name} is read as {format}");
            }
        }
    }
}

#[test]
fn a_report_is_detected_whatever_the_order_of_its_keys() {
    fn sorted(value: Value, reverse: bool) -> String {
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> = members.into_iter().collect();
                members.sort_by(|one, other| one.0.cmp(&other.0));
                if reverse {
                    members.reverse();
                }
                let member = |(key, value)| format!("{key:?}:{}", sorted(value, reverse));
                let members: Vec<_> = members.into_iter().map(member).collect();
                format!("{{{}}}", members.join(","))
            }
            Value::Array(elements) => {
                let elements: Vec<_> = elements.into_iter().map(|e| sorted(e, reverse)).collect();
                format!("[{}]", elements.join(","))
            }
            other => other.to_string(),
        }
    }
    for (name, format, expected) in FIXTURES {
        let value: Value = serde_json::from_slice(&fixture(name)).unwrap();
        for reverse in [false, true] {
            let text = sorted(value.clone(), reverse);
            let report = read_as("", text.as_bytes()).unwrap();
            assert_eq!(report.format.name(), format, "{name}");
            assert_eq!(counts(&tests(report)), expected, "{name}");
        }
    }
}

#[test]
fn a_report_cut_off_anywhere_is_truncated_or_malformed() {
    for (name, format, _) in FIXTURES {
        let bytes = fixture(name);
        let whole = bytes.trim_ascii_end().len();
        for length in (1..whole).step_by(13) {
            let error = read_as(format, &bytes[..length]).unwrap_err();
            // Behind a key, or within a word or a character, it is malformed all the same.
            let is_cut = matches!(
                error,
                ReadError::Truncated { .. } | ReadError::Malformed { .. }
            );
            assert!(is_cut, "{name} cut at {length}: {error}");
        }
    }
}

#[test]
fn a_document_without_what_every_report_has_is_malformed() {
    for (format, json) in [
        ("cucumber", json!({})),
        ("cucumber", json!([{"name": "a"}])),
        ("cucumber", json!([1])),
        ("ctrf", json!([])),
        ("ctrf", json!({"results": []})),
        ("ctrf", json!({"results": {"summary": {"passed": 3}}})),
        ("ctrf", json!({"results": {"tests": {}}})),
        ("mocha-json", json!({"stats": {"passes": 3}, "tests": []})),
        (
            "mocha-json",
            json!({"stats": {}, "passes": [], "failures": {}}),
        ),
        ("mocha-json", json!({"passes": [], "failures": []})),
    ] {
        let error = read_as(format, json.to_string().as_bytes()).unwrap_err();
        assert!(
            matches!(error, ReadError::Malformed { .. }),
            "{json}: {error}"
        );
    }
    assert_eq!(counts(&read("cucumber", &json!([]))), [0; 6]);
}

fn step(status: &str) -> Value {
    json!({"keyword": "When ", "name": "a", "result": {"status": status, "duration": 500_000_000}})
}

fn scenario(line: u64, statuses: &[&str]) -> Value {
    let steps: Vec<_> = statuses.iter().map(|status| step(status)).collect();
    json!({"type": "scenario", "id": "f;s", "name": "s", "line": line, "steps": steps})
}

fn feature(elements: &[Value]) -> Value {
    json!([{"elements": elements, "name": "f", "uri": "a/f.feature", "keyword": "Feature"}])
}

#[test]
fn a_scenario_has_the_worst_outcome_of_its_steps() {
    for (statuses, expected) in [
        (&["passed", "passed"][..], [1, 1, 0, 0, 0, 0]),
        (&["passed", "skipped"], [1, 0, 0, 0, 1, 0]),
        (&["passed", "failed", "skipped"], [1, 0, 1, 0, 0, 0]),
        (&["undefined", "skipped"], [1, 0, 1, 0, 0, 0]),
        (&["ambiguous"], [1, 0, 1, 0, 0, 0]),
        (&["pending"], [1, 0, 1, 0, 0, 0]),
        (&["Passed"], [1, 1, 0, 0, 0, 0]),
        (&["passed", "odd"], [1, 0, 0, 1, 0, 0]),
        (&[""], [1, 0, 0, 1, 0, 0]),
        (&[], [1, 0, 0, 0, 1, 0]),
    ] {
        let report = read("cucumber", &feature(&[scenario(1, statuses)]));
        assert_eq!(counts(&report), expected, "{statuses:?}");
    }
}

#[test]
fn a_hook_counts_wherever_it_is_written() {
    let hook = json!([{"result": {"status": "failed", "error_message": "\n no db\n at x"}}]);
    let (mut before, mut after, mut of_step) = (
        scenario(1, &["skipped"]),
        scenario(1, &["passed"]),
        scenario(1, &["passed"]),
    );
    before["before"] = hook.clone();
    after["after"] = hook.clone();
    of_step["steps"][0]["after"] = hook;
    for element in [before, after, of_step] {
        let report = read("cucumber", &feature(std::slice::from_ref(&element)));
        assert_eq!(counts(&report), [1, 0, 1, 0, 0, 0], "{element}");
        assert_eq!(report.failing[0].message, "no db");
    }
}

#[test]
fn a_background_is_of_the_scenario_after_it() {
    let background = |status| json!({"type": "background", "name": "", "steps": [step(status)]});
    let elements = [
        background("failed"),
        scenario(1, &["skipped"]),
        background("passed"),
        scenario(2, &["passed"]),
    ];
    assert_eq!(
        counts(&read("cucumber", &feature(&elements))),
        [2, 1, 1, 0, 0, 0]
    );
    let alone = read("cucumber", &feature(&[background("failed")]));
    assert_eq!(counts(&alone), [1, 0, 1, 0, 0, 0]);
    assert_eq!(
        counts(&read("cucumber", &feature(&[background("passed")]))),
        [0; 6]
    );
}

#[test]
fn a_scenario_is_a_retry_only_of_one_of_the_same_feature_id_and_line() {
    let both = |line| [scenario(1, &["failed"]), scenario(line, &["passed"])];
    assert_eq!(
        counts(&read("cucumber", &feature(&both(1)))),
        [1, 1, 0, 0, 0, 1]
    );
    assert_eq!(
        counts(&read("cucumber", &feature(&both(2)))),
        [2, 1, 1, 0, 0, 0]
    );
    // Another run of the feature, in another browser for one.
    let [failed, passed] = both(1).map(|element| feature(&[element])[0].clone());
    assert_eq!(
        counts(&read("cucumber", &json!([failed, passed]))),
        [2, 1, 1, 0, 0, 0]
    );
}

#[test]
fn a_scenario_is_told_with_its_feature_its_step_and_its_time() {
    let report = read(
        "cucumber",
        &feature(&[scenario(1, &["passed", "undefined"])]),
    );
    let case = &report.failing[0];
    assert_eq!(case.id(), "f::s");
    assert_eq!(case.message, "undefined: When a");
    assert_eq!(case.seconds, Some(1.0));
    assert_eq!(report.duration_seconds, 1.0);
}

#[test]
fn behave_counts_seconds_and_its_statuses_only_make_worse() {
    let element = |status: &str, result: Value| {
        json!({"type": "scenario", "name": "s", "location": "a.feature:3", "status": status,
               "steps": [{"name": "a", "result": result}]})
    };
    let passed = json!({"status": "passed", "duration": 0.25});
    let failed = json!({"status": "failed", "error_message": ["", "one", "two"]});
    for (status, result, expected) in [
        ("passed", &passed, [1, 1, 0, 0, 0, 0]),
        ("hook_error", &passed, [1, 0, 0, 1, 0, 0]),
        ("passed", &failed, [1, 0, 1, 0, 0, 0]),
        ("skipped", &Value::Null, [1, 0, 0, 0, 1, 0]),
    ] {
        let report = read(
            "cucumber",
            &json!([{"elements": [element(status, result.clone())]}]),
        );
        assert_eq!(counts(&report), expected, "{status} {result}");
    }
    let report = read(
        "cucumber",
        &json!([{"elements": [element("passed", passed)]}]),
    );
    assert_eq!(report.duration_seconds, 0.25);
    let report = read(
        "cucumber",
        &json!([{"elements": [element("failed", failed)]}]),
    );
    assert_eq!(report.failing[0].message, "one");
    let hook = json!([{"name": "f", "status": "hook_error", "elements": []}]);
    assert_eq!(counts(&read("cucumber", &hook)), [1, 0, 0, 1, 0, 0]);
}

#[test]
fn features_longer_than_what_waits_for_their_name_are_counted_whole() {
    let elements: Vec<_> = (0..10_050)
        .map(|line| scenario(line, &["failed"]))
        .collect();
    assert_eq!(read("cucumber", &feature(&elements)).totals.failed, 10_050);
}

fn ctrf(tests: &Value) -> Value {
    json!({"results": {"tool": {"name": "x"}, "summary": {"failed": 2}, "tests": tests}})
}

#[test]
fn a_ctrf_status_is_read_and_one_unknown_never_passes() {
    for (status, raw, expected) in [
        ("passed", "failed", [1, 1, 0, 0, 0, 0]),
        ("failed", "", [1, 0, 1, 0, 0, 0]),
        ("skipped", "", [1, 0, 0, 0, 1, 0]),
        ("pending", "", [1, 0, 0, 0, 1, 0]),
        ("other", "todo", [1, 0, 0, 0, 1, 0]),
        ("other", "interrupted", [1, 0, 0, 1, 0, 0]),
        ("other", "passed", [1, 0, 0, 1, 0, 0]),
        ("Passed", "", [1, 0, 0, 1, 0, 0]),
        ("", "", [1, 0, 0, 1, 0, 0]),
    ] {
        let test = json!({"name": "a", "status": status, "rawStatus": raw});
        let mut document = ctrf(&json!([test]));
        document["results"]["summary"] = json!({});
        assert_eq!(counts(&read("ctrf", &document)), expected, "{status} {raw}");
    }
}

#[test]
fn a_ctrf_test_that_passed_at_a_retry_is_flaky_and_two_of_a_name_are_two() {
    let failed = json!({"name": "a", "status": "failed", "flaky": true, "retries": 2});
    for (key, value) in [
        ("flaky", json!(true)),
        ("retries", json!(1)),
        ("retryAttempts", json!([{"attempt": 1, "status": "failed"}])),
    ] {
        let mut passed = json!({"name": "a", "status": "passed"});
        passed[key] = value;
        let report = read("ctrf", &ctrf(&json!([failed, passed])));
        assert_eq!(counts(&report), [2, 1, 1, 0, 0, 1], "{key}");
    }
}

#[test]
fn a_ctrf_summary_is_believed_when_it_says_failed_and_no_failure_is_listed() {
    let passed = json!({"name": "a", "status": "passed"});
    assert_eq!(
        counts(&read("ctrf", &ctrf(&json!([passed])))),
        [3, 1, 2, 0, 0, 0]
    );
    let failed = json!({"name": "a", "status": "failed"});
    assert_eq!(
        counts(&read("ctrf", &ctrf(&json!([failed])))),
        [1, 0, 1, 0, 0, 0]
    );
}

#[test]
fn a_ctrf_report_tells_its_names_times_and_commit() {
    let document = json!({
        "reportFormat": "CTRF",
        "results": {
            "tool": {"name": "x"},
            "summary": {"start": 1_795_423_104_000_u64, "stop": 1_795_423_106_500_u64},
            "environment": {"commit": "abc123"},
            "tests": [
                {"name": "a", "status": "failed", "suite": ["cart", "prices"], "duration": 250,
                 "message": "\n\u{1b}[31mno\u{1b}[0m", "filePath": "/build/src1/cart.js"},
                {"name": "b", "status": "failed", "trace": "Error: x\n at y", "duration": -1,
                 "filePath": "/build/src1/cart.js"},
            ],
        },
    });
    let report = read_as("", document.to_string().as_bytes()).unwrap();
    assert_eq!(report.provenance.commits.first().unwrap(), "abc123");
    let began = report.provenance.began.unwrap();
    assert_eq!(began.as_millisecond(), 1_795_423_104_000);
    let report = tests(report);
    assert_eq!(report.duration_seconds, 2.5);
    let [a, b] = &report.failing[..] else {
        panic!("two failed")
    };
    assert_eq!(
        (a.id().as_str(), &a.message[..], a.seconds),
        ("cart > prices::a", "no", Some(0.25))
    );
    assert_eq!(
        (b.id().as_str(), &b.message[..], b.seconds),
        ("cart.js::b", "Error: x", None)
    );
}

fn mocha(stats: &Value, tests: &Value, passes: &Value, pending: &Value, failures: &Value) -> Value {
    json!({"stats": stats, "tests": tests, "passes": passes, "pending": pending,
           "failures": failures})
}

#[test]
fn a_mocha_test_that_passed_at_a_retry_is_flaky_and_a_hook_is_an_error() {
    let case = |title: &str, retry| {
        json!({"title": title, "fullTitle": format!("cart prices {title}"), "currentRetry": retry,
               "duration": 250, "file": "/build/src1/cart.js", "err": {"message": "no\nx"}})
    };
    let hook = case("\"before all\" hook for \"a\"", 0);
    let none = json!([]);
    let document = mocha(
        &json!({"failures": 2, "duration": 1500, "start": "2026-11-23T08:38:22.000Z"}),
        &json!([case("a", 1), case("b", 2)]),
        &json!([case("a", 1)]),
        &none,
        &json!([case("b", 2), hook]),
    );
    let report = read_as("", document.to_string().as_bytes()).unwrap();
    assert!(report.provenance.began.is_some());
    let report = tests(report);
    assert_eq!(counts(&report), [3, 1, 1, 1, 0, 1]);
    assert_eq!(report.duration_seconds, 1.5);
    let failed = &report.failing[0];
    assert_eq!(
        (failed.id().as_str(), &failed.message[..]),
        ("cart prices::b", "no")
    );
    assert_eq!(report.failing[1].outcome, Outcome::Errored);
}

#[test]
fn what_mocha_claims_and_does_not_list_counts_when_it_is_no_success() {
    let (none, one) = (json!([]), json!([{"title": "a", "fullTitle": "a"}]));
    let two = json!([{"title": "a"}, {"title": "b"}]);
    for (document, expected) in [
        (
            mocha(&json!({"failures": 2}), &none, &one, &none, &none),
            [3, 1, 2, 0, 0, 0],
        ),
        (
            mocha(&json!({"failures": 9}), &one, &none, &none, &one),
            [1, 0, 1, 0, 0, 0],
        ),
        (
            mocha(&json!({"passes": 9}), &none, &none, &one, &none),
            [1, 0, 0, 0, 1, 0],
        ),
        // One test is in none of the lists.
        (
            mocha(&json!({}), &two, &one, &none, &none),
            [2, 1, 0, 1, 0, 0],
        ),
    ] {
        assert_eq!(
            counts(&read("mocha-json", &document)),
            expected,
            "{document}"
        );
    }
}

#[test]
fn odd_values_count_as_absent_and_never_panic() {
    let odd = [
        json!(null),
        json!(-1),
        json!(1e308),
        json!("x"),
        json!([[]]),
        json!({"a": {}}),
        json!(true),
    ];
    for (name, format, _) in FIXTURES {
        let whole: Value = serde_json::from_slice(&fixture(name)).unwrap();
        let pointers = pointers(&whole, String::new());
        for pointer in pointers.iter().step_by(5) {
            for value in &odd {
                let mut changed = whole.clone();
                *changed.pointer_mut(pointer).unwrap() = value.clone();
                if let Ok(report) = read_as(format, changed.to_string().as_bytes()) {
                    assert!(tests(report).duration_seconds >= 0.0, "{pointer} {value}");
                }
            }
        }
    }
}

/// The places of all values within.
fn pointers(value: &Value, at: String) -> Vec<String> {
    let inside: Vec<_> = match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(key, value)| pointers(value, format!("{at}/{key}")))
            .collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .flat_map(|(index, value)| pointers(value, format!("{at}/{index}")))
            .collect(),
        _ => Vec::new(),
    };
    [at].into_iter().chain(inside).collect()
}

fn outcomes() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(
        prop::sample::select(vec!["passed", "failed", "skipped"]),
        0..12,
    )
}

fn expected(outcomes: &[&str]) -> Totals {
    let count = |wanted| {
        outcomes
            .iter()
            .filter(|outcome| **outcome == wanted)
            .count() as u64
    };
    Totals {
        tests: outcomes.len() as u64,
        passed: count("passed"),
        failed: count("failed"),
        skipped: count("skipped"),
        ..Totals::default()
    }
}

proptest! {
    #[test]
    fn what_is_written_is_what_is_read(outcomes in outcomes()) {
        let scenarios: Vec<_> = (0..).zip(&outcomes).map(|(n, o)| scenario(n, &[o])).collect();
        let tests: Vec<_> = outcomes.iter().map(|o| json!({"name": "a", "status": o})).collect();
        let listed = |wanted: &str| {
            let listed = outcomes.iter().filter(|outcome| **outcome == wanted);
            listed.map(|_| json!({"title": "a", "fullTitle": "s a"})).collect::<Value>()
        };
        let [passes, failures, pending] = ["passed", "failed", "skipped"].map(listed);
        let mut ctrf = ctrf(&json!(tests));
        ctrf["results"]["summary"] = json!({});
        for (format, document) in [
            ("cucumber", feature(&scenarios)),
            ("ctrf", ctrf),
            ("mocha-json", mocha(&json!({}), &json!([]), &passes, &pending, &failures)),
        ] {
            prop_assert_eq!(read(format, &document).totals, expected(&outcomes), "{}", document);
        }
    }
}
