//! Every rule, kept and broken.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::Timestamp;
use reports::{Finding, FindingsReport, Severity};

use super::*;

static NOTHING: LazyLock<History> = LazyLock::new(History::default);

const NOW: &str = "2026-11-23T12:00:00Z";
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

fn gate(rest: &str) -> Gate {
    let yaml = format!("reports: [\"r/*.xml\"]\n{rest}");
    let gate: Gate = serde_saphyr::from_str(&yaml).unwrap();
    gate.check().unwrap();
    gate
}

fn refused(rest: &str) -> String {
    let yaml = format!("reports: [\"r/*.xml\"]\n{rest}");
    match serde_saphyr::from_str::<Gate>(&yaml) {
        Ok(gate) => gate.check().unwrap_err(),
        Err(error) => error.to_string(),
    }
}

fn context(history: &History) -> Context<'_> {
    Context {
        by: Caller::Pipeline,
        now: NOW.parse().unwrap(),
        run: "execution-2",
        since: None,
        commit: None,
        history,
        lost: None,
    }
}

/// A suite of tests called p1, p2 .. that passed, f1 .. that failed, e1 .., s1 .., k1 .. (flaky).
fn tests(counts: [u64; 5]) -> Found {
    suite("shop", counts)
}

fn suite(name: &str, [passed, failed, errors, skipped, flaky]: [u64; 5]) -> Found {
    let mut cases = String::new();
    for (letter, count, inside) in [
        ("p", passed, ""),
        ("f", failed, "<failure message='boom'/>"),
        ("e", errors, "<error message='bang'/>"),
        ("s", skipped, "<skipped/>"),
        ("k", flaky, "<flakyFailure message='oh'/>"),
    ] {
        for number in 1..=count {
            cases += &format!("<testcase name='{letter}{number}' time='1'>{inside}</testcase>");
        }
    }
    report(
        "r/a.xml",
        &format!("<testsuite name='{name}'>{cases}</testsuite>"),
    )
}

fn coverage(lines: &str) -> Found {
    let xml = format!(
        "<coverage line-rate='1'><packages><package><classes><class filename='src/a.rs'><lines>\
         {lines}</lines></class></classes></package></packages></coverage>"
    );
    report("r/c.xml", &xml)
}

/// So many lines covered of so many.
fn lines(covered: u64, valid: u64) -> Found {
    let lines = (1..=valid).map(|line| {
        let hits = u64::from(line <= covered);
        format!("<line number='{line}' hits='{hits}'/>")
    });
    coverage(&lines.collect::<String>())
}

fn report(path: &str, text: &str) -> Found {
    Found::Report {
        place: 0,
        path: path.to_owned(),
        modified: None,
        report: reports::read(path, text.as_bytes(), None).unwrap(),
    }
}

fn finding(id: &str, severity: Severity) -> Finding {
    Finding {
        id: id.to_owned(),
        severity,
        package: "left-pad@1.0".to_owned(),
        ..Finding::default()
    }
}

fn findings(findings: impl IntoIterator<Item = Finding>) -> Evidence {
    let mut report = FindingsReport::of("scan");
    findings.into_iter().for_each(|finding| report.add(finding));
    evidence([Found::Kept(Kept {
        by: Keeper::Ecr,
        name: "shop/web".to_owned(),
        content: reports::Content::Findings(report),
        provenance: reports::Provenance::default(),
    })])
}

fn evidence(found: impl IntoIterator<Item = Found>) -> Evidence {
    let mut evidence = Evidence::default();
    found.into_iter().for_each(|found| evidence.add(found));
    evidence
}

fn judge(rules: &str, found: impl IntoIterator<Item = Found>) -> GateVerdict {
    gate(rules).judge(evidence(found), &context(&NOTHING))
}

/// The rules that are broken, with `~` before those that only warn.
fn broken(verdict: &GateVerdict) -> Vec<String> {
    let name = |rule: &RuleVerdict| match rule.verdict {
        Verdict::Warn => format!("~{}", rule.rule),
        Verdict::Pass | Verdict::Fail => rule.rule.to_owned(),
    };
    verdict.broken().map(name).collect()
}

fn why(verdict: &GateVerdict, rule: &str) -> String {
    let found = verdict.rules.iter().find(|said| said.rule == rule);
    found
        .unwrap_or_else(|| panic!("{rule} said nothing: {verdict:?}"))
        .why
        .clone()
}

/// What is remembered of a run with this evidence.
fn remembered(rules: &str, found: impl IntoIterator<Item = Found>) -> History {
    let mut context = context(&NOTHING);
    context.run = "execution-1";
    context.now = "2026-11-22T12:00:00Z".parse().unwrap();
    let verdict = gate(rules).judge(evidence(found), &context);
    assert!(verdict.passed(), "{:?}", verdict.rules);
    verdict.remembered(History::default())
}

#[test]
fn tests_that_all_pass_pass_the_gate_and_hand_on_their_numbers() {
    let verdict = judge("", [tests([11, 0, 0, 1, 1])]);
    assert!(verdict.passed(), "{verdict:?}");
    let outputs = verdict.outputs();
    for (key, value) in [
        ("verdict", "pass"),
        ("warnings", "0"),
        ("tests", "13"),
        ("passed", "12"),
        ("failed", "0"),
        ("errors", "0"),
        ("skipped", "1"),
        ("flaky", "1"),
    ] {
        assert_eq!(outputs[key], value, "{key}");
    }
    assert_eq!(
        verdict.summary(),
        "test gate passed: 13 tests, 12 passed, 0 failed, 0 errors, 1 flaky, 1 skipped"
    );
}

#[test]
fn a_failing_test_fails_the_gate_and_is_named() {
    let verdict = judge("", [tests([12, 1, 1, 0, 0])]);
    assert_eq!(broken(&verdict), ["max-failures", "max-errors"]);
    let summary = verdict.summary();
    for part in [
        "test gate failed: 14 tests, 12 passed, 1 failed, 1 errors",
        "max-failures: 1 failed, 0 allowed",
        "shop::f1: boom",
        "shop::e1: bang",
    ] {
        assert!(summary.contains(part), "{summary}");
    }
}

#[test]
fn every_limit_holds_at_its_edge_and_not_beyond() {
    let with = |counts| vec![tests(counts)];
    for (rule, kept, over) in [
        (
            "max-failures: 2",
            with([1, 2, 0, 0, 0]),
            with([1, 3, 0, 0, 0]),
        ),
        (
            "max-errors: 2",
            with([1, 0, 2, 0, 0]),
            with([1, 0, 3, 0, 0]),
        ),
        (
            "max-skipped: 25%",
            with([3, 0, 0, 1, 0]),
            with([2, 0, 0, 1, 0]),
        ),
        ("min-tests: 3", with([3, 0, 0, 9, 0]), with([2, 0, 0, 9, 0])),
        ("max-flaky: 1", with([1, 0, 0, 0, 1]), with([1, 0, 0, 0, 2])),
        (
            "max-duration: 3s",
            with([3, 0, 0, 0, 0]),
            with([4, 0, 0, 0, 0]),
        ),
        (
            "min-line-coverage: 75%",
            vec![lines(3, 4)],
            vec![lines(2, 4)],
        ),
        (
            "min-branch-coverage: 50%",
            vec![coverage(
                "<line number='1' hits='1' condition-coverage='50% (1/2)'/>",
            )],
            vec![coverage(
                "<line number='1' hits='1' condition-coverage='0% (0/2)'/>",
            )],
        ),
    ] {
        let (key, limit) = rule.split_once(": ").unwrap();
        let written = format!("rules: {{{key}: {{limit: {limit}, level: LEVEL}}}}");
        for (level, expected) in [
            ("fail", vec![key.to_owned()]),
            ("warn", vec![format!("~{key}")]),
            ("off", vec![]),
        ] {
            let gate = gate(&written.replace("LEVEL", level));
            let judge = |found: &[Found]| {
                let mut evidence = Evidence::default();
                for found in found {
                    evidence.add(found.clone());
                }
                gate.judge(evidence, &context(&NOTHING))
            };
            assert_eq!(broken(&judge(&kept)), [""; 0], "{rule} {level}");
            let verdict = judge(&over);
            assert_eq!(broken(&verdict), expected, "{rule} {level}");
            assert_eq!(verdict.passed(), level != "fail", "{rule} {level}");
        }
    }
}

#[test]
fn what_could_not_be_read_never_passes_even_with_every_rule_off() {
    let off = "rules: {max-failures: off, max-errors: off, min-tests: off, max-findings: {level: \
               off}}";
    let unreadable = Found::Unreadable {
        why: "it is cut off".to_owned(),
    };
    let missing = Found::Missing {
        glob: "r/*.xml".to_owned(),
    };
    for (found, part) in [
        (unreadable, "it is cut off"),
        (missing, "no file in the input artifacts matches 'r/*.xml'"),
        (
            report("r/a.xml", "<testsuite/>"),
            "r/a.xml: the report has no tests",
        ),
    ] {
        let verdict = judge(off, [tests([3, 0, 0, 0, 0]), found]);
        assert_eq!(broken(&verdict), ["reports"]);
        assert!(verdict.summary().contains(part), "{}", verdict.summary());
    }
}

#[test]
fn a_gate_without_tests_is_not_asked_for_any_unless_a_rule_says_so() {
    assert!(judge("", [lines(1, 2)]).passed());
    let asked = judge("rules: {min-tests: 1}", [lines(1, 2)]);
    assert_eq!(broken(&asked), ["min-tests"]);
}

#[test]
fn coverage_that_nobody_measured_is_not_enough() {
    let strict = "rules: {min-line-coverage: 0%}";
    assert_eq!(
        broken(&judge(strict, [tests([3, 0, 0, 0, 0])])),
        ["min-line-coverage"]
    );
    let nothing = [tests([3, 0, 0, 0, 0]), coverage("")];
    assert_eq!(
        broken(&judge(strict, nothing)),
        ["reports", "min-line-coverage"]
    );
}

#[test]
fn a_test_in_quarantine_runs_and_may_fail_until_its_last_day_is_over() {
    let entry = "quarantine: [{test: '*::f1', ticket: SHOP-12, expires: DAY}]";
    let until = |day: &str| judge(&entry.replace("DAY", day), [tests([3, 1, 0, 0, 0])]);
    let verdict = until("2026-11-23");
    assert!(verdict.passed(), "{:?}", verdict.rules);
    assert_eq!(
        why(&verdict, "max-failures"),
        "0 failed and 1 in quarantine, 0 allowed"
    );
    let weighed = Weighed::Quarantined {
        ticket: "SHOP-12".to_owned(),
    };
    assert_eq!(verdict.failing[0].weighed, weighed);

    let expired = until("2026-11-22");
    assert_eq!(broken(&expired), ["max-failures", "expired-quarantine"]);
    let said = why(&expired, "expired-quarantine");
    assert!(
        said.contains("(SHOP-12) expired on 2026-11-22: mend the test"),
        "{said}"
    );

    let mended = judge(
        &entry.replace("DAY", "2026-11-22"),
        [tests([3, 0, 0, 0, 0])],
    );
    assert_eq!(broken(&mended), ["~expired-quarantine"]);
    let other = judge(
        &entry.replace("DAY", "2027-01-01"),
        [tests([3, 2, 0, 0, 0])],
    );
    assert_eq!(
        why(&other, "max-failures"),
        "1 failed and 1 in quarantine, 0 allowed"
    );
}

#[test]
fn what_has_expired_fails_warns_or_is_silent_as_its_rule_says() {
    let entries = "quarantine: [{test: '*f1', ticket: A-1, expires: 2026-11-22}]\n\
                   allow: [{id: CVE-1, reason: r, expires: 2026-11-22}]\n";
    let scan = || {
        let mut report = FindingsReport::of("scan");
        report.add(finding("CVE-1", Severity::High));
        Found::Kept(Kept {
            by: Keeper::Ecr,
            name: "shop/web".to_owned(),
            content: reports::Content::Findings(report),
            provenance: reports::Provenance::default(),
        })
    };
    let others = "max-failures: off, max-findings: off";
    for (level, expected) in [
        ("fail", &["expired-quarantine", "expired-allow"][..]),
        ("warn", &["~expired-quarantine", "~expired-allow"]),
        ("off", &[]),
    ] {
        let rules = format!(
            "{entries}rules: {{{others}, expired-quarantine: {level}, expired-allow: {level}}}"
        );
        let verdict = judge(&rules, [tests([3, 1, 0, 0, 0]), scan()]);
        assert_eq!(broken(&verdict), expected, "{level}");
    }
    let unwritten = format!("{entries}rules: {{{others}}}");
    let mended = judge(&unwritten, [tests([3, 0, 0, 0, 0])]);
    assert_eq!(broken(&mended), ["~expired-quarantine", "~expired-allow"]);
}

#[test]
fn a_share_just_below_its_limit_is_not_shown_as_the_limit() {
    let verdict = judge("rules: {min-line-coverage: 80%}", [lines(2_399, 3_000)]);
    assert_eq!(
        why(&verdict, "min-line-coverage"),
        "79.97 % of the lines covered, at least 80.00 % needed"
    );
}

#[test]
fn rules_that_are_maps_can_be_off_too() {
    let rules = "rules: {max-findings: off, min-path-coverage: 'off', max-failures: off}";
    let critical = findings([finding("CVE-1", Severity::Critical)]);
    let verdict = gate(rules).judge(critical, &context(&NOTHING));
    assert_eq!(broken(&verdict), [""; 0]);
    for on in ["true", "5", "on"] {
        let said = refused(&format!("rules: {{max-findings: {on}}}"));
        assert!(said.contains("a map or off"), "{said}");
    }
}

#[test]
fn the_commit_file_may_have_a_byte_order_mark() {
    let utf16 = format!("\u{feff}{COMMIT}\r\n");
    let utf16: Vec<u8> = utf16.encode_utf16().flat_map(u16::to_le_bytes).collect();
    for bytes in [format!("\u{feff}{COMMIT}\n").as_bytes(), &utf16] {
        let found = Found::commit("commit.txt", bytes);
        assert!(
            matches!(&found, Found::Commit(commit) if commit == COMMIT),
            "{found:?}"
        );
    }
}

#[test]
fn whoever_runs_the_command_is_told_of_its_options() {
    let mut context = context(&NOTHING);
    context.by = Caller::Command;
    let rules = "rules: {same-commit: fail, max-report-age: execution}";
    let verdict = gate(rules).judge(evidence([tests([1, 0, 0, 0, 0])]), &context);
    assert!(why(&verdict, "same-commit").ends_with("--commit"));
    assert!(why(&verdict, "max-report-age").ends_with("--since"));
}

#[test]
fn only_failures_that_the_last_run_did_not_have_count_as_new() {
    let rules = "rules: {only-new-failures: LEVEL}";
    let with = |level: &str, history: &History, found| {
        gate(&rules.replace("LEVEL", level)).judge(evidence([found]), &context(history))
    };
    let first = with("fail", &NOTHING, tests([3, 2, 0, 0, 0]));
    assert_eq!(broken(&first), ["only-new-failures"]);
    assert!(why(&first, "only-new-failures").contains("no earlier run"));

    let history = remembered(&rules.replace("LEVEL", "warn"), [tests([3, 2, 0, 0, 0])]);
    let same = with("fail", &history, tests([4, 2, 0, 0, 0]));
    assert!(same.passed(), "{:?}", same.rules);
    let more = with("fail", &history, tests([4, 3, 0, 0, 0]));
    assert_eq!(
        why(&more, "only-new-failures"),
        "1 new and 2 known failures (since execution-1)"
    );
    assert!(!more.passed());
    let new: Vec<_> = more
        .failing
        .iter()
        .map(|j| (&j.case.name[..], &j.weighed))
        .collect();
    assert_eq!(
        new,
        [
            ("f1", &Weighed::Known),
            ("f2", &Weighed::Known),
            ("f3", &Weighed::New)
        ]
    );
    // Two tests of one name, of which one failed before: one of them is new.
    let twice = [tests([1, 1, 0, 0, 0]), tests([1, 1, 0, 0, 0])];
    let before = remembered(&rules.replace("LEVEL", "warn"), [tests([1, 1, 0, 0, 0])]);
    let verdict = gate(&rules.replace("LEVEL", "fail")).judge(evidence(twice), &context(&before));
    assert!(why(&verdict, "only-new-failures").starts_with("1 new and 1 known"));
}

#[test]
fn a_suite_that_silently_stops_running_is_named() {
    let rules = "rules: {max-test-drop: 10%}";
    let cart = || suite("cart", [20, 0, 0, 0, 0]);
    let history = remembered(rules, [cart(), suite("checkout", [10, 0, 0, 0, 0])]);
    let with = |found: Vec<Found>| gate(rules).judge(evidence(found), &context(&history));
    assert!(with(vec![cart(), suite("checkout", [7, 0, 0, 0, 0])]).passed());
    let gone = with(vec![cart()]);
    assert_eq!(broken(&gone), ["max-test-drop"]);
    assert_eq!(
        why(&gone, "max-test-drop"),
        "20 ran, 30 did before: 33.3 % fewer, 10.0 % allowed; checkout lost 10"
    );
    // Tests that are skipped do not run.
    let skipped = with(vec![cart(), suite("checkout", [0, 0, 0, 10, 0])]);
    assert_eq!(broken(&skipped), ["max-test-drop"]);
    let first = judge(rules, [cart()]);
    assert!(first.passed() && why(&first, "max-test-drop").contains("no earlier run"));
}

#[test]
fn a_gate_that_lost_its_history_says_so_and_never_that_there_was_none() {
    let rules = "rules: {max-test-drop: 0%, max-coverage-drop: 0%, only-new-failures: warn}";
    let mut context = context(&NOTHING);
    context.lost = Some("it is damaged");
    let found = [tests([1, 0, 0, 0, 0]), lines(1, 2)];
    let verdict = gate(rules).judge(evidence(found), &context);
    assert!(verdict.passed());
    assert_eq!(broken(&verdict), ["~history"]);
    assert!(why(&verdict, "history").contains("cannot be read (it is damaged)"));
    for rule in ["max-test-drop", "max-coverage-drop", "only-new-failures"] {
        let why = why(&verdict, rule);
        assert!(why.contains("are lost"), "{rule}: {why}");
    }
}

#[test]
fn coverage_may_not_drop_by_more_than_allowed() {
    let rules = "rules: {max-coverage-drop: 5%}";
    let history = remembered(rules, [lines(80, 100)]);
    let with = |found| gate(rules).judge(evidence([found]), &context(&history));
    assert!(with(lines(75, 100)).passed());
    let verdict = with(lines(74, 100));
    assert_eq!(
        why(&verdict, "max-coverage-drop"),
        "74.0 % of the lines covered, 80.0 % before: 6.0 points lost, 5.0 allowed"
    );
    assert!(!verdict.passed());
    assert_eq!(broken(&with(tests([3, 0, 0, 0, 0]))), ["max-coverage-drop"]);
}

/// A diff that adds lines 1 to `last` of a file.
fn diff(path: &str, last: u64) -> Found {
    let added: String = (1..=last).map(|_| "+x\n").collect();
    let text = format!("--- /dev/null\n+++ b/{path}\n@@ -0,0 +1,{last} @@\n{added}");
    Found::Diff(reports::Diff::read("change.diff", text.as_bytes()).unwrap())
}

#[test]
fn the_changed_lines_are_covered_where_there_are_enough_to_judge() {
    let rules = "rules: {min-changed-coverage: 80%}";
    let with = |path, last, covered| judge(rules, [lines(covered, 100), diff(path, last)]);
    assert!(with("src/a.rs", 50, 40).passed());
    let low = with("src/a.rs", 50, 39);
    let expected = "78.0 % of the changed lines covered, at least 80.0 % needed";
    assert_eq!(why(&low, "min-changed-coverage"), expected);
    assert_eq!(low.outputs()["changed_coverage"], "78.0");
    assert!(!low.passed());
    let few = with("src/a.rs", CHANGED_LINES_MIN - 1, 0);
    assert!(few.passed() && why(&few, "min-changed-coverage").contains("too few"));
    assert!(with("README.md", 50, 0).passed());
    let elsewhere = with("lib/b.rs", 50, 100);
    assert_eq!(broken(&elsewhere), ["min-changed-coverage"]);
    assert!(why(&elsewhere, "min-changed-coverage").contains("no report knows lib/b.rs"));
    let without = judge(rules, [lines(1, 1)]);
    assert!(why(&without, "min-changed-coverage").contains("git diff"));
    assert_eq!(
        broken(&judge(
            rules,
            [tests([1, 0, 0, 0, 0]), diff("src/a.rs", 50)]
        )),
        ["min-changed-coverage"]
    );
}

#[test]
fn some_paths_have_a_minimum_of_their_own() {
    let with = |paths: &str| {
        judge(
            &format!("rules: {{min-path-coverage: {{paths: {{{paths}}}}}}}"),
            [lines(3, 4)],
        )
    };
    assert!(with("'src/**': 75%").passed());
    let low = with("'src/**': 76%");
    let expected = "75.0 % of the lines of src/** covered, at least 76.0 % needed";
    assert_eq!(why(&low, "min-path-coverage"), expected);
    assert_eq!(broken(&with("'lib/**': 0%")), ["min-path-coverage"]);
}

#[test]
fn findings_have_a_budget_for_each_severity() {
    let of = |severity| finding("CVE-1", severity);
    let judged = |rules: &str, severity| {
        let verdict = gate(rules).judge(findings([of(severity)]), &context(&NOTHING));
        verdict.passed()
    };
    for (rules, severity, passes) in [
        ("", Severity::Critical, false),
        ("", Severity::High, false),
        ("", Severity::Unknown, false),
        ("", Severity::Medium, true),
        ("rules: {max-findings: {critical: 0}}", Severity::High, true),
        (
            "rules: {max-findings: {critical: 0}}",
            Severity::Unknown,
            true,
        ),
        ("rules: {max-findings: {high: 0}}", Severity::Unknown, false),
        (
            "rules: {max-findings: {high: 0, unknown: 1}}",
            Severity::Unknown,
            true,
        ),
        ("rules: {max-findings: {high: 1}}", Severity::High, true),
        ("rules: {max-findings: {low: 0}}", Severity::Low, false),
        (
            "rules: {max-findings: {high: 0, level: off}}",
            Severity::High,
            true,
        ),
        (
            "rules: {max-findings: {high: 0, level: warn}}",
            Severity::High,
            true,
        ),
        (
            "rules: {max-findings: {high: 0, fixable-only: true}}",
            Severity::High,
            true,
        ),
    ] {
        assert_eq!(judged(rules, severity), passes, "{rules} {severity:?}");
    }
    let verdict = gate("").judge(findings([of(Severity::Critical)]), &context(&NOTHING));
    let expected = "1 critical (CVE-1 in left-pad@1.0), 0 allowed; 0 high, 0 allowed";
    assert_eq!(why(&verdict, "max-findings"), expected);
    assert_eq!(verdict.outputs()["critical"], "1");
    assert_eq!(verdict.outputs()["high"], "0");
    let none = judge("rules: {max-findings: {high: 0}}", [tests([1, 0, 0, 0, 0])]);
    assert_eq!(broken(&none), ["max-findings"]);
}

#[test]
fn a_finding_on_the_allow_list_is_accepted_until_its_last_day_is_over() {
    let allow = |entry: &str| {
        let evidence = findings([Finding {
            aliases: vec!["GHSA-1".to_owned()],
            ..finding("CVE-1", Severity::High)
        }]);
        gate(&format!("allow: [{{reason: not reachable, {entry}}}]"))
            .judge(evidence, &context(&NOTHING))
    };
    for (entry, passes) in [
        ("id: CVE-1, expires: 2026-11-23", true),
        ("id: GHSA-1, expires: 2026-11-23", true),
        ("id: 'CVE-*', expires: 2026-11-23", true),
        ("id: CVE-1, at: 'left-pad@*', expires: 2026-11-23", true),
        ("id: CVE-1, at: 'right-pad@*', expires: 2026-11-23", false),
        ("id: CVE-2, expires: 2026-11-23", false),
        ("id: CVE-1, expires: 2026-11-22", false),
    ] {
        assert_eq!(allow(entry).passed(), passes, "{entry}");
    }
    let expired = allow("id: CVE-1, expires: 2026-11-22");
    assert_eq!(broken(&expired), ["max-findings", "expired-allow"]);
    assert!(why(&expired, "expired-allow").contains("(not reachable) expired on 2026-11-22"));
    assert_eq!(
        broken(&allow("id: CVE-9, expires: 2026-11-22")),
        ["max-findings", "~expired-allow"]
    );
}

#[test]
fn a_gate_that_read_no_report_fails() {
    let off = "rules: {min-tests: off, max-failures: off}";
    for found in [
        vec![],
        vec![Found::Commit(COMMIT.to_owned()), diff("a.rs", 1)],
    ] {
        assert_eq!(broken(&judge(off, found)), ["reports"]);
    }
}

#[test]
fn a_rule_about_tests_that_is_written_and_finds_none_is_broken() {
    for (key, limit) in [
        ("max-failures", "3"),
        ("max-errors", "3"),
        ("max-skipped", "50%"),
        ("max-test-drop", "50%"),
        ("max-flaky", "3"),
        ("max-duration", "1h"),
        ("only-new-failures", "fail"),
    ] {
        let verdict = judge(&format!("rules: {{{key}: {limit}}}"), [lines(1, 2)]);
        assert_eq!(broken(&verdict), [key]);
        assert_eq!(why(&verdict, key), "no report of tests was read");
    }
    let warned = judge("rules: {max-flaky: {limit: 1, level: warn}}", [lines(1, 2)]);
    assert_eq!(broken(&warned), ["~max-flaky"]);
}

#[test]
fn a_report_of_coverage_without_lines_is_not_one() {
    let verdict = judge("", [tests([1, 0, 0, 0, 0]), coverage("")]);
    assert_eq!(broken(&verdict), ["reports"]);
    let drop = judge("rules: {max-coverage-drop: 1%}", [tests([1, 0, 0, 0, 0])]);
    assert_eq!(broken(&drop), ["max-coverage-drop"]);
}

#[test]
fn a_drop_as_large_as_allowed_is_allowed() {
    let rules = "rules: {max-coverage-drop: 0.1%}";
    let history = remembered(rules, [lines(802, 1000)]);
    let verdict = gate(rules).judge(evidence([lines(801, 1000)]), &context(&history));
    assert!(verdict.passed(), "{:?}", verdict.rules);
}

#[test]
fn reasons_are_told_up_to_a_bound_and_then_counted() {
    let unreadable = (0..10_000).map(|n| Found::Unreadable {
        why: format!("could not read {n}"),
    });
    let verdict = judge("", unreadable);
    assert!(verdict.rules.len() < 100);
    assert!(verdict.rules.iter().any(|rule| rule.why == "and 9950 more"));
}

#[test]
fn a_new_test_is_not_asked_to_be_covered_and_new_code_is() {
    let rules = "rules: {min-changed-coverage: 80%}";
    let with = |path| judge(rules, [lines(100, 100), diff(path, 50)]);
    assert!(with("src/cart_test.rs").passed());
    assert!(with("tests/cart.rs").passed());
    assert_eq!(broken(&with("src/new.rs")), ["min-changed-coverage"]);
}

#[test]
fn of_one_key_as_many_findings_are_known_as_there_were_and_none_that_is_worse() {
    let rules = "rules: {max-findings: {high: 0, critical: 0, only-new: true}}";
    let of = |severity| Finding {
        path: "src/a.js".to_owned(),
        package: String::new(),
        ..finding("no-eval", severity)
    };
    let warn = rules.replace("only-new: true", "only-new: true, level: warn");
    let mut context = context(&NOTHING);
    context.run = "execution-1";
    let first = gate(&warn).judge(findings([of(Severity::High)]), &context);
    let history = first.remembered(History::default());
    let with = |all: Vec<Finding>| {
        let context = Context {
            history: &history,
            run: "execution-2",
            ..context
        };
        gate(rules).judge(findings(all), &context).passed()
    };
    assert!(with(vec![of(Severity::High)]));
    assert!(!with(vec![of(Severity::High), of(Severity::High)]));
    assert!(!with(vec![of(Severity::Critical)]));
}

#[test]
fn what_an_entry_excused_is_new_when_the_entry_goes() {
    let allow = "allow: [{id: CVE-1, reason: r, expires: 2027-01-01}]";
    let one = || findings([finding("CVE-1", Severity::High)]);
    let mut context = context(&NOTHING);
    let first = gate(allow).judge(one(), &context);
    let history = first.remembered(History::default());
    context.history = &history;
    let rules = "rules: {max-findings: {high: 0, only-new: true}}";
    assert!(!gate(rules).judge(one(), &context).passed());
}

#[test]
fn fixable_only_excuses_packages_and_never_the_code_itself() {
    let rules = "rules: {max-findings: {high: 0, fixable-only: true}}";
    let in_code = Finding {
        package: String::new(),
        path: "src/a.js".to_owned(),
        ..finding("no-eval", Severity::High)
    };
    assert!(
        !gate(rules)
            .judge(findings([in_code]), &context(&NOTHING))
            .passed()
    );
}

#[test]
fn what_is_suppressed_or_known_or_not_fixable_does_not_count() {
    let rules = "rules: {max-findings: {high: 0, only-new: true, fixable-only: true}}";
    let high = |id: &str| Finding {
        fixed_in: "2.0".to_owned(),
        ..finding(id, Severity::High)
    };
    let mut history = History::default();
    let mut run = gate("")
        .judge(Evidence::default(), &context(&NOTHING))
        .run();
    run.point.run = "execution-1".to_owned();
    run.findings = BTreeMap::from([(high("old").key(), (Severity::High, 1))]);
    history = history.after(run);
    let suppressed = Finding {
        suppressed: true,
        ..high("a")
    };
    let unchanged = Finding {
        known: true,
        ..high("b")
    };
    let unfixed = finding("c", Severity::High);
    let all = [suppressed, unchanged, unfixed, high("old")];
    let verdict = gate(rules).judge(findings(all), &context(&history));
    assert!(verdict.passed(), "{:?}", verdict.rules);
    assert_eq!(
        why(&verdict, "max-findings"),
        "0 high, 0 allowed; 4 not counted"
    );
    let new = gate(rules).judge(findings([high("new")]), &context(&history));
    assert!(!new.passed());
}

#[test]
fn findings_that_are_not_listed_cannot_be_excused() {
    let many =
        (0..reports::FINDINGS_LISTED_MAX + 1).map(|n| finding(&n.to_string(), Severity::High));
    let allow = "allow: [{id: '*', reason: all of them, expires: 2027-01-01}]";
    let verdict = gate(allow).judge(findings(many), &context(&NOTHING));
    assert!(
        why(&verdict, "max-findings").contains("1 high, 0 allowed"),
        "{:?}",
        verdict.rules
    );
}

#[test]
fn a_report_may_be_no_older_than_allowed() {
    let at = |time: &str| {
        let xml = format!("<testsuite timestamp='{time}'><testcase name='a'/></testsuite>");
        report("r/a.xml", &xml)
    };
    let with = |rules: &str, since: Option<&str>, found| {
        let mut context = context(&NOTHING);
        context.since = since.map(|since| since.parse().unwrap());
        gate(rules).judge(evidence([found]), &context)
    };
    let age = "rules: {max-report-age: 2h}";
    assert!(with(age, None, at("2026-11-23T10:00:00")).passed());
    let old = with(age, None, at("2026-11-23T09:00:00"));
    assert_eq!(broken(&old), ["max-report-age"]);
    let said = why(&old, "max-report-age");
    assert!(
        said.contains("r/a.xml is of 2026-11-23T09:00:00Z, older than 2h"),
        "{said}"
    );
    let undated = with(age, None, tests([1, 0, 0, 0, 0]));
    assert!(why(&undated, "max-report-age").contains("nobody knows how old r/a.xml is"));
    let Found::Report { path, report, .. } = tests([1, 0, 0, 0, 0]) else {
        panic!("tests are a report")
    };
    let modified: Option<Timestamp> = Some("2026-11-23T11:00:00Z".parse().unwrap());
    let dated = Found::Report {
        place: 0,
        path,
        modified,
        report,
    };
    assert!(with(age, None, dated).passed());

    let execution = "rules: {max-report-age: execution}";
    let began = Some("2026-11-23T10:00:00Z");
    assert!(with(execution, began, at("2026-11-23T10:00:00")).passed());
    assert!(!with(execution, began, at("2026-11-23T09:00:00")).passed());
    let unknown = with(execution, None, at("2026-11-23T11:00:00"));
    assert!(why(&unknown, "max-report-age").contains("#{codepipeline.PipelineExecutionId}"));
}

#[test]
fn the_reports_must_be_of_the_commit_that_is_released() {
    let with = |commit: Option<&str>, of: &[&str]| {
        let mut context = context(&NOTHING);
        context.commit = commit;
        let files = of.iter().map(|of| Found::Commit((*of).to_owned()));
        let found = files.chain([tests([1, 0, 0, 0, 0])]);
        gate("rules: {same-commit: fail}").judge(evidence(found), &context)
    };
    assert!(with(Some(COMMIT), &[COMMIT]).passed());
    assert!(with(Some(COMMIT), &["0123456"]).passed());
    assert!(with(Some("0123456"), &[COMMIT]).passed());
    for (commit, of, part) in [
        (Some(COMMIT), &["012345"][..], "the reports are of 012345"),
        (
            Some(COMMIT),
            &["f123456", COMMIT],
            "the reports are of f123456",
        ),
        (Some(COMMIT), &[], "name that as `commit-file`"),
        (None, &[COMMIT], "#{SourceVariables.CommitId}"),
    ] {
        let verdict = with(commit, of);
        assert_eq!(broken(&verdict), ["same-commit"], "{of:?}");
        assert!(
            why(&verdict, "same-commit").contains(part),
            "{:?}",
            verdict.rules
        );
    }
}

#[test]
fn only_a_run_that_passes_is_remembered() {
    let history = remembered("", [tests([5, 0, 0, 0, 0])]);
    assert_eq!(history.points.len(), 1);
    let failed = gate("").judge(evidence([tests([5, 1, 0, 0, 0])]), &context(&history));
    assert_eq!(failed.remembered(history.clone()), history);
    let passed = gate("").judge(evidence([tests([6, 0, 0, 0, 0])]), &context(&history));
    let next = passed.remembered(history);
    assert_eq!(next.points.len(), 2);
    assert_eq!(
        next.last.unwrap().suites,
        BTreeMap::from([("shop".to_owned(), 6)])
    );
}

#[test]
fn a_run_that_is_judged_again_is_not_compared_with_itself() {
    let rules = "rules: {max-test-drop: {limit: 0%, level: warn}}";
    let history = remembered(rules, [tests([10, 0, 0, 0, 0])]);
    let first = gate(rules).judge(evidence([tests([5, 0, 0, 0, 0])]), &context(&history));
    let history = first.remembered(history);
    let again = gate(rules).judge(evidence([tests([5, 0, 0, 0, 0])]), &context(&history));
    assert_eq!(again.rules, first.rules);
    assert_eq!(broken(&again), ["~max-test-drop"]);
    assert_eq!(again.remembered(history.clone()), history);
}

#[test]
fn a_report_that_claims_more_failures_than_there_are_numbers_fails() {
    let most = u64::MAX;
    let claims = format!("<testsuite failures='{most}' errors='{most}'/>");
    let found = [report("r/a.xml", &claims), tests([3, 1, 0, 0, 0])];
    assert_eq!(broken(&judge("", found)), ["max-failures", "max-errors"]);
}

#[test]
fn the_json_has_what_outside_tools_are_promised() {
    let verdict = judge("", [tests([2, 1, 0, 0, 0]), lines(1, 4)]);
    let json = serde_json::to_value(&verdict).unwrap();
    assert_eq!(json["verdict"], "fail");
    assert_eq!(json["totals"]["tests"], 3);
    assert_eq!(json["coverage"]["lines"]["percent"], 25.0);
    assert_eq!(json["findings"], serde_json::Value::Null);
    assert_eq!(json["rules"][0]["rule"], "max-failures");
    assert_eq!(json["rules"][0]["verdict"], "fail");
    assert_eq!(json["rules"][0]["why"], "1 failed, 0 allowed");
    assert_eq!(json["files"][0]["path"], "r/a.xml");
    assert_eq!(json["files"][1]["format"], "cobertura");
    let found = gate("").judge(findings([finding("a", Severity::Low)]), &context(&NOTHING));
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["findings"]["low"], 1);
    assert_eq!(json["findings"]["critical"], 0);
}

#[test]
fn the_metric_line_names_only_metrics_and_dimensions_that_it_has() {
    let verdict = judge("", [tests([2, 1, 0, 0, 0]), lines(1, 4)]);
    for pipeline in [None, Some("shop")] {
        let line = verdict.metric_line("unit", pipeline);
        assert!(!line.contains('\n'));
        let root: serde_json::Value = serde_json::from_str(&line).unwrap();
        let directive = &root["_aws"]["CloudWatchMetrics"][0];
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!(
            metrics
                .iter()
                .all(|m| root[m["Name"].as_str().unwrap()].is_number()),
            "{line}"
        );
        let dimensions = directive["Dimensions"].as_array().unwrap();
        let names = dimensions.iter().flat_map(|set| set.as_array().unwrap());
        let names: Vec<_> = names
            .map(|name| root[name.as_str().unwrap()].is_string())
            .collect();
        assert_eq!(
            names,
            vec![true; if pipeline.is_some() { 3 } else { 1 }],
            "{line}"
        );
        assert_eq!(
            (&root["Failed"], &root["LineCoverage"]),
            (&1.into(), &25.0.into())
        );
        let at = NOW.parse::<Timestamp>().unwrap().as_millisecond();
        assert_eq!(root["_aws"]["Timestamp"], at);
    }
}

#[test]
fn every_mistake_in_a_gate_names_the_fix() {
    for (written, part) in [
        ("rules: {max-failurs: 1}", "max-failurs"),
        ("rules: {max-failures: -1}", "below zero"),
        (
            "rules: {max-skipped: 10}",
            "'10' is not a share: write 0% to 100%",
        ),
        (
            "rules: {max-duration: 10}",
            "'10' is not a duration: write for example 90s",
        ),
        ("rules: {max-skipped: {limit: 10%, level: error}}", "error"),
        ("rules: {same-commit: yes please}", "yes please"),
        (
            "rules: {max-report-age: yesterday}",
            "write execution, or a time such as 2h",
        ),
        ("rules: {max-duration: 0s}", "more than 0s"),
        (
            "rules: {min-path-coverage: {paths: {}}}",
            "1 to 100 are allowed",
        ),
        ("rules: {max-findings: {critcal: 0}}", "critcal"),
        ("rules: {max-findings: {high: }}", "invalid u64"),
        ("rules: {min-line-coverage: }", "expected a limit"),
        ("rules: {max-report-age: 48h}", "at most 24h"),
        (
            "quarantine: [{test: a, ticket: \"A\\e[2J\", expires: 2026-11-23}]",
            "control character",
        ),
        (
            "rules: {max-findings: {only-new: true}}",
            "name at least one severity",
        ),
        ("quarantine: [{test: '*', expires: 2026-11-23}]", "ticket"),
        (
            "quarantine: [{test: '', ticket: A-1, expires: 2026-11-23}]",
            "needs `test`",
        ),
        (
            "quarantine: [{test: a, ticket: A-1, expires: soon}]",
            "'soon' is not a day: write it as 2026-12-31",
        ),
        (
            "rules: {min-path-coverage: {paths: {'src/[': 90%}}}",
            "could not understand the pattern src/[",
        ),
        ("allow: [{id: CVE-1, expires: 2026-11-23}]", "reason"),
        (
            "allow: [{id: CVE-1, reason: ' ', expires: 2026-11-23}]",
            "`reason` (why",
        ),
    ] {
        let said = refused(written);
        assert!(said.contains(part), "{written}: {said}");
    }
    let gate: Gate = serde_saphyr::from_str("reports: ['a[.xml']").unwrap();
    let said = gate.check().unwrap_err();
    assert!(said.contains("the pattern a[.xml"), "{said}");
}
