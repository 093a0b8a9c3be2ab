//! What SARIF's standard says, rule by rule. Samples by hand, after its text and its schema.

use proptest::prelude::*;
use reports::{Content, Finding, FindingsReport, ReadError, Report, Severity};
use serde_json::{Value, json};

use Severity::{Critical, High, Info, Low, Medium, Unknown};

fn try_read(log: &Value) -> Result<Report, ReadError> {
    reports::read(
        "out.sarif",
        log.to_string().as_bytes(),
        Some("sarif".parse().unwrap()),
    )
}

fn of_log(log: &Value) -> FindingsReport {
    match try_read(log).unwrap().content {
        Content::Findings(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

/// A log of one run with these members besides a tool and results.
fn log(run: Value) -> Value {
    let mut whole = json!({ "tool": { "driver": { "name": "lint" } }, "results": [] });
    let members = run.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(members);
    json!({ "version": "2.1.0", "runs": [whole] })
}

fn of_run(run: Value) -> Vec<Finding> {
    of_log(&log(run)).listed
}

fn of_results(results: Value) -> Vec<Finding> {
    of_run(json!({ "results": results }))
}

fn one(result: Value) -> Finding {
    of_results(json!([result])).remove(0)
}

fn severity_in(run: Value) -> Severity {
    of_run(run)[0].severity
}

#[test]
fn a_level_is_read_and_an_unknown_one_is_unknown() {
    for (level, severity) in [
        ("error", High),
        ("warning", Medium),
        ("note", Info),
        ("none", Info),
        ("dreadful", Unknown),
    ] {
        assert_eq!(one(json!({ "level": level })).severity, severity, "{level}");
    }
    assert_eq!(one(json!({})).severity, Medium);
    assert_eq!(one(json!(null)).severity, Medium);
}

#[test]
fn a_result_of_another_kind_than_fail_is_none_or_info() {
    for (kind, listed) in [
        ("pass", None),
        ("notApplicable", None),
        ("informational", Some(Info)),
        ("open", Some(Info)),
        ("review", Some(Info)),
        ("fail", Some(High)),
        ("whatever", Some(High)),
    ] {
        let result = json!({ "kind": kind, "level": "error" });
        let severities: Vec<_> = of_results(json!([result]))
            .iter()
            .map(|f| f.severity)
            .collect();
        assert_eq!(severities, Vec::from_iter(listed), "{kind}");
    }
}

#[test]
fn without_a_level_the_rule_s_default_counts_however_the_rule_is_found() {
    let run = |result: Value| {
        json!({
            "results": [result],
            "tool": {
                "driver": { "name": "x", "rules": [
                    { "id": "A" },
                    { "id": "B", "defaultConfiguration": { "level": "error" } },
                ] },
                "extensions": [
                    { "name": "first" },
                    { "name": "pack", "rules": [
                        { "id": "C", "defaultConfiguration": { "level": "note" } },
                    ] },
                ],
            },
        })
    };
    for (result, severity) in [
        (json!({ "ruleIndex": 1 }), High),
        (json!({ "ruleId": "B" }), High),
        (json!({ "ruleId": "B/1" }), High),
        (json!({ "ruleId": "B/1", "ruleIndex": 1 }), High),
        (json!({ "rule": { "id": "B", "index": -1 } }), High),
        (json!({ "rule": { "index": 1 } }), High),
        // The index is wrong, the id is not.
        (json!({ "ruleId": "B", "ruleIndex": 0 }), High),
        (json!({ "ruleId": "B", "ruleIndex": 7 }), High),
        (json!({ "ruleId": "A" }), Medium),
        (json!({ "ruleId": "D" }), Medium),
        (json!({ "ruleId": "C" }), Info),
        (
            json!({ "rule": { "index": 0, "toolComponent": { "index": 1 } } }),
            Info,
        ),
        (
            json!({ "rule": { "index": 0, "toolComponent": { "name": "pack" } } }),
            Info,
        ),
        (
            json!({ "rule": { "index": 9, "toolComponent": { "index": 9 } } }),
            Medium,
        ),
        (json!({ "ruleId": "B", "level": "note" }), Info),
    ] {
        assert_eq!(severity_in(run(result.clone())), severity, "{result}");
    }
}

#[test]
fn an_invocation_configures_rules_for_the_results_that_name_it() {
    let run = |result: Value| {
        json!({
            "results": [result],
            "tool": { "driver": { "rules": [
                { "id": "A", "defaultConfiguration": { "level": "error" } },
                { "id": "B", "defaultConfiguration": { "level": "error" } },
            ] } },
            "invocations": [
                { "executionSuccessful": true },
                { "executionSuccessful": true, "ruleConfigurationOverrides": [
                    { "descriptor": { "id": "A" }, "configuration": { "level": "note" } },
                    { "descriptor": { "index": 1 }, "configuration": { "enabled": true } },
                ] },
            ],
        })
    };
    for (result, severity) in [
        (
            json!({ "ruleId": "A", "provenance": { "invocationIndex": 1 } }),
            Info,
        ),
        (
            json!({ "ruleId": "A", "provenance": { "invocationIndex": 0 } }),
            High,
        ),
        (
            json!({ "ruleId": "A", "provenance": { "invocationIndex": -1 } }),
            High,
        ),
        (json!({ "ruleId": "A" }), High),
        (
            json!({ "ruleId": "B", "provenance": { "invocationIndex": 1 } }),
            High,
        ),
    ] {
        assert_eq!(severity_in(run(result.clone())), severity, "{result}");
    }
}

#[test]
fn a_security_severity_goes_before_the_level_and_zero_is_unknown() {
    let run = |of_result: Value, of_rule: Value| {
        json!({
            "results": [{ "ruleId": "A", "level": "error", "properties": of_result }],
            "tool": { "driver": { "rules": [{ "id": "A", "properties": of_rule }] } },
        })
    };
    let score = |score: Value| json!({ "security-severity": score, "tags": ["security"] });
    for (of_result, of_rule, severity) in [
        (json!({}), score(json!("9.8")), Critical),
        (json!({}), score(json!(" 3.9 ")), Low),
        (json!({}), score(json!(5)), Medium),
        (score(json!("2.0")), score(json!("9.8")), Low),
        (json!({}), score(json!("0.0")), Unknown),
        (json!({}), score(json!("11")), High),
        (json!({}), score(json!("bad")), High),
        (json!({}), json!({}), High),
    ] {
        let run = run(of_result, of_rule.clone());
        assert_eq!(severity_in(run), severity, "{of_rule}");
    }
}

#[test]
fn a_result_is_suppressed_when_all_its_suppressions_are_in_force() {
    for (suppressions, suppressed) in [
        (json!(null), false),
        (json!([]), false),
        (json!([{ "kind": "inSource" }]), true),
        (json!([{ "kind": "external", "status": "accepted" }]), true),
        (
            json!([{ "kind": "external", "status": "underReview" }]),
            false,
        ),
        (json!([{ "kind": "external", "status": "rejected" }]), false),
        (
            json!([{ "kind": "inSource" }, { "status": "rejected" }]),
            false,
        ),
        (json!([{ "status": "whatever" }]), false),
    ] {
        let finding = one(json!({ "suppressions": suppressions }));
        assert_eq!(finding.suppressed, suppressed, "{suppressions}");
    }
}

#[test]
fn what_the_baseline_knows_is_known_and_what_is_gone_is_none() {
    for (state, known) in [
        ("new", Some(false)),
        ("unchanged", Some(true)),
        ("updated", Some(true)),
        ("absent", None),
    ] {
        let findings = of_results(json!([{ "baselineState": state }]));
        let listed: Vec<_> = findings.iter().map(|finding| finding.known).collect();
        assert_eq!(listed, Vec::from_iter(known), "{state}");
    }
}

#[test]
fn a_path_is_decoded_and_put_below_its_bases() {
    let run = |location: Value| {
        json!({
            "results": [{ "locations": [
                { "physicalLocation": { "artifactLocation": location, "region": { "startLine": 7 } } },
                { "physicalLocation": { "artifactLocation": { "uri": "other.c" } } },
            ] }],
            "artifacts": [
                { "location": { "uri": "x.c" } },
                { "location": { "uri": "a%20b.c", "uriBaseId": "SRC" } },
            ],
            "originalUriBaseIds": {
                "ROOT": { "uri": "file:///build/" },
                "SRC": { "uri": "src/", "uriBaseId": "ROOT" },
                "LOOP": { "uri": "l/", "uriBaseId": "LOOP" },
            },
        })
    };
    for (location, path) in [
        (json!({ "uri": "src/na%C3%AFve.c" }), "src/naïve.c"),
        (json!({ "uri": "a.c", "uriBaseId": "ROOT" }), "a.c"),
        (json!({ "uri": "a.c", "uriBaseId": "SRC" }), "src/a.c"),
        (json!({ "uri": "a.c", "uriBaseId": "%UNKNOWN%" }), "a.c"),
        (json!({ "index": 1 }), "src/a b.c"),
        (json!({ "index": 9 }), ""),
        (
            json!({ "uri": "file:///build/a.c", "index": 1 }),
            "/build/a.c",
        ),
        (
            json!({ "uri": "file:///C:/a.c", "uriBaseId": "SRC" }),
            "C:/a.c",
        ),
        (
            json!({ "uri": "https://example.com/a", "uriBaseId": "SRC" }),
            "https://example.com/a",
        ),
        (
            json!({ "uri": "a.c", "uriBaseId": "LOOP" }),
            "l/l/l/l/l/l/l/l/a.c",
        ),
        (json!({ "uri": "%ff%00\u{1b}[2J" }), "��"),
    ] {
        let finding = of_run(run(location.clone())).remove(0);
        assert_eq!(
            (finding.path.as_str(), finding.line),
            (path, Some(7)),
            "{location}"
        );
    }
    let target = one(json!({ "analysisTarget": { "uri": "a.dll" }, "locations": [] }));
    assert_eq!((target.path.as_str(), target.line), ("a.dll", None));
}

#[test]
fn a_partial_fingerprint_tells_apart_together_with_the_path_and_a_whole_one_alone() {
    let result = |uri: &str, fingerprints: Value| {
        let mut result = json!({
            "ruleId": "A",
            "locations": [{ "physicalLocation": { "artifactLocation": { "uri": uri } } }],
        });
        result
            .as_object_mut()
            .unwrap()
            .extend(fingerprints.as_object().unwrap().clone());
        one(result)
    };
    let partial = json!({ "partialFingerprints": { "line/v1": "abc:1", "column": "4" } });
    assert_eq!(result("a.c", partial.clone()).fingerprint, "4|abc:1|a.c");
    assert_ne!(
        result("a.c", partial.clone()).key(),
        result("b.c", partial).key()
    );
    let both = json!({ "partialFingerprints": { "x": "1" }, "fingerprints": { "y": "2" } });
    assert_eq!(result("a.c", both.clone()).key(), result("b.c", both).key());
    assert_eq!(result("a.c", json!({})).key(), "A|a.c");
}

#[test]
fn a_message_that_has_only_an_id_is_the_rule_s_description() {
    let run = json!({
        "results": [{ "ruleIndex": 0, "message": { "id": "default" } }, { "message": { "markdown": "**m**" } }],
        "tool": { "driver": { "rules": [{ "id": "A", "shortDescription": { "text": "About A" } }] } },
    });
    let findings = of_run(run);
    assert_eq!(
        (findings[0].id.as_str(), findings[0].message.as_str()),
        ("A", "About A")
    );
    assert_eq!(findings[1].message, "**m**");
}

#[test]
fn a_run_that_did_not_finish_adds_a_finding_of_unknown_severity() {
    let run = json!({ "invocations": [
        { "executionSuccessful": true },
        {
            "executionSuccessful": false,
            "toolExecutionNotifications": [{ "level": "error", "message": { "text": "out of memory" } }],
        },
    ] });
    let findings = of_run(run);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].severity, Unknown);
    assert_eq!(
        findings[0].message,
        "the tool did not finish. out of memory"
    );
}

#[test]
fn a_log_that_did_not_scan_is_refused() {
    let without = |member: &str| {
        let mut log = log(json!({}));
        log["runs"][0].as_object_mut().unwrap().remove(member);
        log
    };
    let external = |member: &str| {
        log(
            json!({ "externalPropertyFileReferences": { member: [{ "location": { "uri": "r.sarif" } }] } }),
        )
    };
    let mut inline = log(json!({}));
    inline["inlineExternalProperties"] = json!([{ "results": [] }]);
    for refused in [
        json!({ "version": "2.1.0", "runs": [] }),
        json!({ "version": "2.1.0", "runs": null }),
        json!({ "version": "2.1.0" }),
        json!({ "version": "2.0.0", "runs": [{ "results": [] }] }),
        json!({ "runs": [{ "results": [] }] }),
        json!({ "version": "2.1.0", "runs": [{ "results": [] }, {}] }),
        json!({ "version": "2.1.0", "runs": [{ "results": [] }, 1] }),
        without("results"),
        log(json!({ "results": null })),
        log(json!({ "results": {} })),
        external("results"),
        external("driver"),
        external("extensions"),
        external("invocations"),
        inline,
    ] {
        let error = try_read(&refused).unwrap_err();
        assert!(
            matches!(error, ReadError::Malformed { .. }),
            "{refused}: {error}"
        );
    }
    assert!(of_log(&without("tool")).listed.is_empty());
    assert!(of_log(&external("graphs")).listed.is_empty());
}

#[test]
fn a_run_says_when_it_began_and_which_commit_it_looked_at() {
    let report = try_read(&log(json!({
        "invocations": [{ "executionSuccessful": true, "startTimeUtc": "2026-11-02T10:00:00.5Z" }],
        "versionControlProvenance": [{ "repositoryUri": "https://example.com", "revisionId": "abc123" }],
    })));
    let provenance = report.unwrap().provenance;
    assert_eq!(
        provenance.began,
        Some("2026-11-02T10:00:00.5Z".parse().unwrap())
    );
    assert_eq!(provenance.commits, ["abc123".to_owned()].into());
}

#[test]
fn the_runs_of_a_log_are_added_up_and_each_has_rules_of_its_own() {
    let run = |level: &str| {
        json!({
            "results": [{ "ruleIndex": 0 }],
            "tool": { "driver": { "name": level, "rules": [{ "id": "A", "defaultConfiguration": { "level": level } }] } },
        })
    };
    let log = json!({ "version": "2.1.0", "runs": [run("error"), run("note")] });
    let report = of_log(&log);
    let severities: Vec<_> = report
        .listed
        .iter()
        .map(|finding| finding.severity)
        .collect();
    assert_eq!(
        (report.tool.as_str(), severities),
        ("error", vec![High, Info])
    );
}

#[test]
fn results_beyond_those_listed_are_judged_by_their_rules_as_well() {
    let result =
        |number: usize| json!({ "ruleId": if number.is_multiple_of(2) { "A" } else { "B/x" } });
    let results: Vec<_> = (0..30_000).map(result).collect();
    let log = log(json!({
        "results": results,
        "tool": { "driver": { "rules": [
            { "id": "A", "defaultConfiguration": { "level": "error" } },
            { "id": "B", "properties": { "security-severity": "9.9" } },
        ] } },
    }));
    let report = of_log(&log);
    assert_eq!(report.listed.len(), reports::FINDINGS_LISTED_MAX);
    assert_eq!(
        Vec::from_iter(report.unlisted),
        [(High, 5_000), (Critical, 5_000)]
    );
}

#[test]
fn what_results_refer_to_is_bounded() {
    let rules: Vec<_> = (0..300_000).map(|_| json!({})).collect();
    let invocations = vec![json!({ "executionSuccessful": true }); 300_000];
    let kinds: Vec<_> = (0..45_000)
        .map(|number| json!({ "ruleIndex": number }))
        .collect();
    for run in [
        json!({ "tool": { "driver": { "rules": rules } } }),
        json!({ "invocations": invocations }),
        json!({ "results": kinds }),
    ] {
        let error = try_read(&log(run)).unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
    }
}

proptest! {
    #[test]
    fn how_bad_a_result_is_follows_the_standard_s_procedure(
        kind in prop::sample::select(vec![None, Some("fail"), Some("open"), Some("pass")]),
        level in prop::option::of(prop::sample::select(vec!["error", "warning", "note", "none"])),
        of_rule in prop::option::of(prop::sample::select(vec!["error", "warning", "note", "none"])),
        configured in prop::option::of(prop::sample::select(vec!["error", "warning", "note", "none"])),
        has_rule in any::<bool>(),
        invocation in -1..2i64,
    ) {
        let mut result = json!({ "ruleId": if has_rule { "A" } else { "Z" }, "provenance": { "invocationIndex": invocation } });
        if let Some(kind) = kind {
            result["kind"] = json!(kind);
        }
        if let Some(level) = level {
            result["level"] = json!(level);
        }
        let findings = of_run(json!({
            "results": [result],
            "tool": { "driver": { "rules": [{ "id": "A", "defaultConfiguration": { "level": of_rule } }] } },
            "invocations": [{ "executionSuccessful": true, "ruleConfigurationOverrides": [
                { "descriptor": { "id": "A" }, "configuration": { "level": configured } },
            ] }],
        }));
        let by_rule = || {
            let configured = configured.filter(|_| invocation == 0);
            configured.or(of_rule).filter(|_| has_rule)
        };
        let level = match kind {
            Some("pass") => None,
            Some("open") => Some("none"),
            _ => Some(level.or_else(by_rule).unwrap_or("warning")),
        };
        let expected = level.map(|level| match level {
            "error" => High,
            "warning" => Medium,
            _ => Info,
        });
        let found: Vec<_> = findings.iter().map(|finding| finding.severity).collect();
        prop_assert_eq!(found, Vec::from_iter(expected));
    }
}
