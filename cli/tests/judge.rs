//! `penstock judge --stdio`, as an outside evaluation speaks to it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

const GOLDEN: &str = include_str!("../../shared/stats/tests/golden/judge.json");
const TOLERANCE: f64 = 1e-9;
/// The longest line that is read, in bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// The most releases at a time.
const RELEASES_MAX: usize = 100_000;

fn judge(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_penstock"));
    command
        .args(["judge", "--stdio"])
        .args(arguments)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the command over an input.
fn run(arguments: &[&str], input: Vec<u8>) -> Output {
    let mut child = judge(arguments).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read all.
    let writer = thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    _ = writer.join().unwrap();
    output
}

/// The answers to the lines, without a configuration.
fn answers(lines: &[impl AsRef<[u8]>]) -> Vec<Value> {
    let lines: Vec<&[u8]> = lines.iter().map(AsRef::as_ref).collect();
    answers_of(run(&[], lines.join(&b'\n')))
}

#[track_caller]
fn answers_of(output: Output) -> Vec<Value> {
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{complaints}");
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers = answers.lines().map(serde_json::from_str);
    answers.collect::<Result<_, _>>().unwrap()
}

/// A window of errors: canary requests, bad ones, baseline requests, bad ones.
fn window(release: &str, minute: u64, counts: [u64; 4]) -> String {
    let [canary, canary_bad, baseline, baseline_bad] = counts;
    json!({
        "release": release,
        "minute": minute,
        "metric": "errors",
        "canary": {"count": canary, "bad": canary_bad},
        "baseline": {"count": baseline, "bad": baseline_bad},
    })
    .to_string()
}

const STEADY: [u64; 4] = [600, 1, 59_400, 59];
const SUSPICIOUS: [u64; 4] = [600, 4, 59_400, 59];

/// The golden cases of one configuration as one stream, one line of each in turn: the releases
/// are mixed, and each must be judged as if it were alone.
fn mixed<'a>(cases: &[&'a Value]) -> Vec<(String, &'a Value)> {
    let windows = |case: &'a Value| case["windows"].as_array().unwrap();
    let longest = cases.iter().map(|case| windows(case).len()).max().unwrap();
    let in_turn = (0..longest).flat_map(|at| cases.iter().map(move |case| (at, *case)));
    let lines = in_turn.filter_map(|(at, case)| {
        let golden = windows(case).get(at)?;
        let mut line = json!({"release": case["name"]});
        for key in ["minute", "metric", "canary", "baseline"] {
            line[key] = golden[key].clone();
        }
        Some((line.to_string(), golden))
    });
    lines.collect()
}

#[test]
fn every_golden_line_is_answered_by_its_evidence_and_its_verdict() {
    let golden: Value = serde_json::from_str(GOLDEN).unwrap();
    let cases: Vec<&Value> = golden["cases"].as_array().unwrap().iter().collect();
    let (defaults, others): (Vec<_>, Vec<_>) = cases
        .into_iter()
        .partition(|case| case["config"] == json!({}));
    assert_eq!((defaults.len(), others.len()), (5, 2));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("judge.json");
    let file = file.to_str().unwrap();
    let mut runs: Vec<_> = others
        .iter()
        .map(|case| (Some(case["config"].clone()), vec![*case]))
        .collect();
    runs.push((Some(golden["defaults"].clone()), defaults.clone()));
    runs.push((None, defaults));
    for (config, cases) in runs {
        let arguments = match &config {
            Some(config) => {
                fs::write(file, config.to_string()).unwrap();
                vec!["--config", file]
            }
            None => vec![],
        };
        let (lines, golden): (Vec<_>, Vec<_>) = mixed(&cases).into_iter().unzip();
        let answers = answers_of(run(&arguments, lines.join("\n").into_bytes()));
        assert_eq!(answers.len(), golden.len());
        for ((line, golden), answer) in lines.iter().zip(golden).zip(&answers) {
            let error = answer["log_e"].as_f64().unwrap() - golden["log_e"].as_f64().unwrap();
            assert!(error.abs() <= TOLERANCE, "{line}: {answer}");
            assert_eq!(answer["verdict"], golden["verdict"], "{line}: {answer}");
            assert_eq!(answer["minute"], golden["minute"]);
            assert!(line.contains(answer["release"].as_str().unwrap()));
            let keys: Vec<_> = answer.as_object().unwrap().keys().collect();
            assert_eq!(keys, ["log_e", "minute", "release", "verdict", "why"]);
        }
    }
}

fn next_answer(answers: &mut BufReader<ChildStdout>) -> Value {
    let mut answer = String::new();
    answers.read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

fn end(mut child: Child) -> Option<i32> {
    drop(child.stdin.take());
    child.wait().unwrap().code()
}

#[test]
fn whoever_sends_one_line_has_the_answer_before_sending_the_next() {
    let mut child = judge(&[]).spawn().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    for minute in 1..=20 {
        let line = window("r1", minute, STEADY);
        let stdin = child.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        // And even when the next line has begun.
        write!(stdin, "  ").unwrap();
        stdin.flush().unwrap();
        assert_eq!(next_answer(&mut answers)["minute"], minute);
    }
    assert_eq!(end(child), Some(0));
}

#[test]
fn a_window_that_comes_twice_late_or_out_of_order_changes_nothing_and_is_told_so() {
    let first = window("r1", 5, STEADY);
    let second = window("r1", 7, SUSPICIOUS);
    let undisturbed = answers(&[&first, &second]);

    let lines = [
        first.clone(),
        first,
        window("r1", 5, SUSPICIOUS),
        window("r1", 4, SUSPICIOUS),
        second,
    ];
    let mut disturbed = answers(&lines);
    assert_eq!(disturbed.len(), lines.len());
    for (unused, minute) in disturbed.drain(1..4).zip([5, 5, 4]) {
        assert_eq!(unused["minute"], minute);
        assert_eq!(unused["verdict"], undisturbed[0]["verdict"]);
        assert_eq!(unused["log_e"], undisturbed[0]["log_e"]);
        let why = unused["why"].as_str().unwrap();
        let expected = format!("not used: minute {minute} of errors is not after minute 5");
        assert!(why.starts_with(&expected), "{why}");
    }
    assert_eq!(disturbed, undisturbed);
    assert_ne!(undisturbed[0]["log_e"], undisturbed[1]["log_e"]);
}

#[test]
fn each_metric_of_a_minute_is_used() {
    let errors = window("r1", 1, STEADY);
    let slowness = errors.replace("errors", "slow:p90");
    let answers = answers(&[&errors, &slowness]);
    assert!(
        !answers[1]["why"].as_str().unwrap().starts_with("not used"),
        "{}",
        answers[1]
    );
    assert_ne!(answers[0]["log_e"], answers[1]["log_e"]);
}

#[test]
fn an_end_forgets_the_release_and_has_no_answer() {
    let line = window("r1", 1, SUSPICIOUS);
    let end = r#"{"release":"r1","end":true}"#;
    let unknown = r#"{"release":"r2","end":true}"#;
    let answers = answers(&[&*line, end, end, unknown, &line]);
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], answers[1]);
}

/// What is wrong, the line, and what the answer says of it.
fn hostile() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = window("r9", 3, STEADY);
    let with = |from: &str, to: &str| {
        let line = good.replace(from, to);
        assert_ne!(line, good);
        line.into_bytes()
    };
    let mut not_text = good.clone().into_bytes();
    let name = good.find("r9").unwrap();
    not_text[name] = 0xff;
    let long_name = "x".repeat(257);
    vec![
        ("not JSON", b"errors 3 of 60".to_vec(), "expected value"),
        ("half a line", good[..good.len() / 2].into(), "EOF"),
        ("two in one line", good.repeat(2).into_bytes(), "trailing"),
        ("a number", b"7".to_vec(), "expected an object"),
        (
            "a list",
            format!("[{good}]").into_bytes(),
            "expected an object",
        ),
        (
            "a list of the values",
            br#"["r9",3,"errors",[60,1],[5940,3]]"#.to_vec(),
            "expected an object",
        ),
        ("null", b"null".to_vec(), "expected an object"),
        (
            "a list for an arm",
            with(r#"{"bad":1,"count":600}"#, "[600,1]"),
            "canary: invalid type",
        ),
        (
            "text for a number",
            with("\"minute\":3", "\"minute\":\"3\""),
            "minute: invalid type",
        ),
        (
            "a number for text",
            with("\"r9\"", "9"),
            "release: invalid type",
        ),
        (
            "a part of a minute",
            with("\"minute\":3", "\"minute\":3.5"),
            "minute: invalid type",
        ),
        (
            "a negative minute",
            with("\"minute\":3", "\"minute\":-3"),
            "minute: invalid value",
        ),
        (
            "a negative count",
            with("\"count\":600", "\"count\":-600"),
            "canary.count: invalid value",
        ),
        (
            "a huge count",
            with("\"count\":600", "\"count\":1e30"),
            "canary.count: invalid type",
        ),
        (
            "a count beyond all",
            with("\"count\":600", "\"count\":1e999"),
            "canary.count: number out of range",
        ),
        (
            "NaN",
            with("\"count\":600", "\"count\":NaN"),
            "canary.count: expected",
        ),
        (
            "more bad than all",
            with("\"bad\":59", "\"bad\":59401"),
            "baseline: could not count 59401 bad requests among 59400",
        ),
        (
            "an unknown metric",
            with("errors", "erors"),
            "could not judge by metric \"erors\": give it a share in weights",
        ),
        (
            "an unknown key",
            with("\"minute\"", "\"minuet\""),
            "unknown field `minuet`",
        ),
        (
            "an unknown key of an arm",
            with("\"bad\":59", "\"worse\":59"),
            "baseline.worse: unknown field",
        ),
        (
            "no metric",
            with(r#""metric":"errors","#, ""),
            "missing field `metric`",
        ),
        (
            "no bad ones",
            with("\"bad\":59,", ""),
            "baseline: missing field `bad`",
        ),
        (
            "a key twice",
            with("\"minute\":3", "\"minute\":3,\"minute\":4"),
            "duplicate field `minute`",
        ),
        (
            "no name",
            with("\"r9\"", "\"\""),
            "must have 1 to 256 bytes",
        ),
        (
            "a long name",
            with("r9", &long_name),
            "must have 1 to 256 bytes",
        ),
        (
            "an end that is none",
            br#"{"release":"r9","end":false}"#.to_vec(),
            r#"write {"release":"r1","end":true}"#,
        ),
        (
            "an end with more",
            br#"{"release":"r9","end":true,"why":1}"#.to_vec(),
            "unknown field `why`",
        ),
        (
            "an end of nothing",
            br#"{"end":true}"#.to_vec(),
            "missing field `release`",
        ),
        (
            "deep nesting",
            "[".repeat(LINE_BYTES_MAX).into_bytes(),
            "expected an object",
        ),
        (
            "deep nesting inside",
            with(
                "\"minute\":3",
                &format!("\"minute\":{}", "[".repeat(10_000)),
            ),
            "minute: ",
        ),
        (
            "a long line",
            vec![b' '; LINE_BYTES_MAX + 1],
            "line of more than 65536 bytes",
        ),
        (
            "a long key",
            format!("{{\"{}\":1}}", "k".repeat(50_000)).into_bytes(),
            "unknown field `kkk",
        ),
        ("not UTF-8", not_text, "invalid unicode code point"),
        ("not text", vec![0, 159, 146, 150], "expected value"),
    ]
}

#[test]
fn a_hostile_line_is_answered_by_what_is_wrong_and_the_stream_goes_on() {
    let first = window("r9", 1, STEADY);
    let last = window("r9", 4, SUSPICIOUS);
    let undisturbed = answers(&[&first, &last]);

    let hostile = hostile();
    let lines: Vec<&[u8]> = [first.as_bytes()]
        .into_iter()
        .chain(hostile.iter().map(|(_, line, _)| &**line))
        .chain([last.as_bytes()])
        .collect();
    let mut answers = answers(&lines);
    assert_eq!(answers.len(), lines.len());
    for (number, (answer, (what, _, expected))) in
        (2..).zip(answers.drain(1..=hostile.len()).zip(&hostile))
    {
        let error = answer["error"].as_str().unwrap_or_default();
        assert!(error.starts_with("could not "), "{what}: {answer}");
        assert!(error.contains(expected), "{what}: {answer}");
        assert!(error.len() < 1000, "{what}: {answer}");
        assert_eq!(answer["line"], number, "{what}: {answer}");
        assert_eq!(answer.get("verdict"), None, "{what}: {answer}");
    }
    assert_eq!(answers, undisturbed);
}

#[test]
fn an_error_names_the_release_and_the_minute_when_they_can_be_read() {
    let bad = window("r9", 3, STEADY).replace("\"bad\":1", "\"bad\":-1");
    let nameless = bad.replace("\"r9\"", "9");
    let timeless = bad.replace("\"minute\":3", "\"minute\":true");
    let named = answers(&[bad, nameless, timeless])
        .into_iter()
        .map(|answer| {
            let keys = ["release", "minute"].map(|key| answer.get(key).cloned());
            assert!(answer["error"].is_string());
            keys
        });
    let expected = [
        [Some(json!("r9")), Some(json!(3))],
        [None, Some(json!(3))],
        [Some(json!("r9")), None],
    ];
    assert_eq!(named.collect::<Vec<_>>(), expected);
}

#[test]
fn empty_lines_and_the_ends_of_other_systems_are_no_mistake() {
    let line = window("r1", 1, STEADY);
    let input = format!("\n{line}\r\n   \n\n{line}");
    let answers = answers_of(run(&[], input.into_bytes()));
    assert_eq!(answers.len(), 2);
    assert_eq!(answers_of(run(&[], Vec::new())), Vec::<Value>::new());
}

#[cfg(target_os = "linux")]
#[test]
fn a_line_without_an_end_takes_no_memory() {
    const CHUNK: usize = 1024 * 1024;
    let mut child = judge(&[]).spawn().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap());
    let mut memory_after = |chunks: usize, minute| {
        let stdin = child.stdin.as_mut().unwrap();
        for _ in 0..chunks {
            stdin.write_all(&vec![b'['; CHUNK]).unwrap();
        }
        writeln!(stdin, "\n{}", window("r1", minute, STEADY)).unwrap();
        while next_answer(&mut answers)["minute"] != minute {}
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.unwrap().trim().strip_suffix(" kB").unwrap();
        peak.parse::<usize>().unwrap() * 1024
    };
    let before = memory_after(0, 1);
    let after = memory_after(32, 2);
    assert!(after < before + 4 * CHUNK, "{before} {after}");
    assert_eq!(end(child), Some(0));
}

#[test]
fn the_releases_at_a_time_are_bounded_and_an_end_makes_room() {
    let begin = |number: usize| window(&format!("r{number}"), 1, STEADY);
    let mut lines: Vec<String> = (0..=RELEASES_MAX).map(begin).collect();
    lines.push(window("r0", 2, STEADY));
    lines.push(r#"{"release":"r0","end":true}"#.to_owned());
    lines.push(begin(RELEASES_MAX));
    let answers = answers(&lines);
    let refused = &answers[RELEASES_MAX];
    let error = refused["error"].as_str().unwrap();
    assert!(error.contains("100000 are open; end those"), "{error}");
    assert_eq!(refused["release"], "r100000");
    let others = answers.iter().filter(|answer| *answer != refused);
    assert!(others.clone().all(|answer| answer["verdict"] == "continue"));
    assert_eq!(others.count(), RELEASES_MAX + 2);
}

#[test]
fn whoever_stops_listening_ends_it_quietly() {
    let mut child = judge(&[]).spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    for minute in 1..10_000 {
        if writeln!(stdin, "{}", window("r1", minute, STEADY)).is_err() {
            break; // it has ended
        }
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_configuration_that_cannot_be_used_names_the_key_and_what_it_may_be() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("judge.json");
    let file = file.to_str().unwrap();
    let huge = format!("{{\"alpha\": 0.01 {}}}", " ".repeat(64 * 1024));
    for (config, parts) in [
        (
            r#"{"alpha": 0.9}"#,
            &["alpha = 0.9", "above 0 and at most 0.5"][..],
        ),
        (
            r#"{"alpha": "x"}"#,
            &["alpha: invalid type", "above 0 and at most 0.5"],
        ),
        (
            r#"{"hold": null}"#,
            &["hold: invalid type", "0 (for never), or from 1 to 10^9"],
        ),
        (
            r#"{"min_windows": 1.5}"#,
            &["min_windows: invalid type", "from 1 to 1440"],
        ),
        (
            r#"{"eta": {"errors": 0}}"#,
            &["eta.errors = 0", "above 0 and at most 1"],
        ),
        (
            r#"{"eta": {"errors": []}}"#,
            &["eta.errors: invalid type", "above 0 and at most 1"],
        ),
        (
            r#"{"weights": {"errors": 1.1}}"#,
            &["weights.errors = 1.1", "from 0 to 1"],
        ),
        (
            r#"{"slo": {"errors": 0.01}}"#,
            &["add slo:errors to weights"],
        ),
        (
            r#"{"alfa": 0.01}"#,
            &["unknown field `alfa`", "`alpha`", "penstock judge --help"],
        ),
        (
            r#"{"robust": "errors"}"#,
            &["robust: invalid type", "penstock judge --help"],
        ),
        ("[0.01]", &["expected an object", "write an object such as"]),
        (
            "alpha: 0.01",
            &["expected value", "write an object such as"],
        ),
        ("{} {}", &["one JSON object and nothing else"]),
        ("", &["EOF", "write an object such as"]),
        (&huge, &["it may have 65536 bytes"]),
    ] {
        fs::write(file, config).unwrap();
        let output = run(&["--config", file], Vec::new());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{config}: {said}");
        assert!(said.contains("judge.json"), "{config}: {said}");
        for part in parts {
            assert!(said.contains(part), "{config}: no {part} in: {said}");
        }
        assert_eq!(output.stdout, b"");
    }
    for arguments in [&["--config", "nowhere.json"][..], &["--config", "."]] {
        let output = run(arguments, Vec::new());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("name the configuration by --config"),
            "{said}"
        );
    }
}

#[test]
fn a_metric_of_any_name_is_judged_when_the_configuration_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("judge.json");
    fs::write(
        &file,
        r#"{"weights": {"checkout": 0.7, "slow:p50": 0.3}, "robust": ["slow:p50"], "eta": {"checkout": 0.5}}"#,
    )
    .unwrap();
    let line = window("r1", 1, SUSPICIOUS);
    let lines = ["checkout", "slow:p50", "errors"].map(|metric| line.replace("errors", metric));
    let arguments = ["--config", file.to_str().unwrap()];
    let answers = answers_of(run(&arguments, lines.join("\n").into_bytes()));
    assert!(answers[0]["why"].as_str().unwrap().starts_with("checkout "));
    assert!(answers[1]["log_e"].is_number());
    assert!(answers[2]["error"].is_string());
}
