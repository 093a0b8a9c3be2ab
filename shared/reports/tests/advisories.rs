//! The dialects of the reports of vulnerable packages: CycloneDX, Trivy, Grype, cargo-audit and npm.
//! The samples are written by hand after each tool's documented types; real reports are read in
//! `scanners.rs`.

use reports::{Content, Finding, ReadError, Report, Severity};
use serde_json::{Value, json};

use Severity::{Critical, High, Info, Low, Medium, Unknown};

fn try_read(format: &str, value: &Value) -> Result<Report, ReadError> {
    let format = Some(format.parse().unwrap());
    reports::read("out.json", value.to_string().as_bytes(), format)
}

fn listed(format: &str, value: &Value) -> Vec<Finding> {
    match try_read(format, value).unwrap().content {
        Content::Findings(report) => report.listed,
        content => panic!("another report: {content:?}"),
    }
}

fn is_refused(format: &str, value: &Value) {
    let error = try_read(format, value).unwrap_err();
    assert!(
        matches!(error, ReadError::Malformed { .. }),
        "{value}: {error}"
    );
}

/// A document of one component and one vulnerability with these members.
fn cyclonedx(vulnerability: Value) -> Value {
    json!({
        "bomFormat": "CycloneDX",
        "metadata": {
            "timestamp": "2026-11-02T10:00:00Z",
            "component": { "bom-ref": "root", "name": "shop", "version": "1.0" },
        },
        "components": [{
            "bom-ref": "a", "group": "@x", "name": "a", "version": "1.2",
            "components": [{ "bom-ref": "b", "name": "b" }],
        }],
        "vulnerabilities": [vulnerability],
    })
}

fn of_cyclonedx(vulnerability: Value) -> Finding {
    listed("cyclonedx", &cyclonedx(vulnerability)).remove(0)
}

#[test]
fn cyclonedx_takes_the_worst_rating_and_no_score_of_another_scale() {
    let vector = "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
    for (ratings, severity) in [
        (json!([]), Unknown),
        (
            json!([{ "severity": "low" }, { "severity": "high" }, { "severity": "medium" }]),
            High,
        ),
        (
            json!([{ "severity": "unknown" }, { "severity": "low" }]),
            Low,
        ),
        // Grype: its own word, with somebody else's score.
        (
            json!([{ "severity": "low", "score": 8.2, "method": "CVSSv31" }]),
            Low,
        ),
        (json!([{ "score": 9.8, "method": "CVSSv3" }]), Critical),
        (json!([{ "vector": vector, "method": "CVSSv31" }]), Critical),
        (
            json!([{ "vector": format!("CVSS:3.1/{vector}"), "method": "CVSSv31" }]),
            Critical,
        ),
        (json!([{ "vector": "AV:N", "method": "CVSSv31" }]), Unknown),
        // EPSS and the catalogue of what is exploited.
        (
            json!([{ "score": 1, "method": "other" }, { "score": 0.9 }]),
            Unknown,
        ),
    ] {
        let finding = of_cyclonedx(json!({ "id": "CVE-1", "ratings": ratings }));
        assert_eq!(finding.severity, severity, "{ratings}");
    }
}

#[test]
fn cyclonedx_suppresses_what_the_analysis_says_does_not_matter() {
    for (state, suppressed) in [
        ("resolved", true),
        ("resolved_with_pedigree", true),
        ("false_positive", true),
        ("not_affected", true),
        ("exploitable", false),
        ("in_triage", false),
        ("whatever", false),
    ] {
        let finding = of_cyclonedx(json!({ "analysis": { "state": state } }));
        assert_eq!(finding.suppressed, suppressed, "{state}");
    }
}

#[test]
fn cyclonedx_names_each_component_that_is_affected() {
    let affects = json!([
        { "ref": "a" },
        { "ref": "b" },
        { "ref": "root" },
        { "ref": "pkg:npm/%40y/c@3.0?arch=x#d" },
        { "ref": "urn:cdx:3e671687/1#z" },
    ]);
    let findings = listed(
        "cyclonedx",
        &cyclonedx(json!({ "id": "CVE-1", "affects": affects })),
    );
    let packages: Vec<_> = findings
        .iter()
        .map(|finding| finding.package.as_str())
        .collect();
    let expected = [
        "@x/a@1.2",
        "b",
        "shop@1.0",
        "@y/c@3.0",
        "urn:cdx:3e671687/1#z",
    ];
    assert_eq!(packages, expected);
    assert!(findings.iter().all(|finding| finding.id == "CVE-1"));
    assert_eq!(of_cyclonedx(json!({ "affects": [] })).package, "");
}

#[test]
fn cyclonedx_says_what_mends_it_only_where_a_version_is_named() {
    let unaffected = json!([{ "ref": "a", "versions": [
        { "version": "1.2", "status": "affected" },
        { "range": "vers:npm/>=1.3", "status": "unaffected" },
    ] }]);
    for (recommendation, affects, fixed_in) in [
        ("Upgrade a to version 1.3", json!([]), "1.3"),
        (
            "Upgrade a to version 1.3; Upgrade b to version 2",
            json!([]),
            "1.3; 2",
        ),
        ("Upgrade", json!([]), ""),
        ("", unaffected, "vers:npm/>=1.3"),
    ] {
        let vulnerability = json!({ "recommendation": recommendation, "affects": affects });
        assert_eq!(
            of_cyclonedx(vulnerability).fixed_in,
            fixed_in,
            "{recommendation}"
        );
    }
}

#[test]
fn cyclonedx_says_who_scanned_and_when_in_both_shapes_of_its_tools() {
    for tools in [
        json!([{ "vendor": "v", "name": "scan", "version": "1" }, { "name": "other" }]),
        json!({ "components": [{ "name": "scan" }, { "name": "other" }] }),
    ] {
        let mut document = cyclonedx(json!({ "references": [{ "id": "GHSA-1" }] }));
        document["metadata"]["tools"] = tools;
        let report = try_read("cyclonedx", &document).unwrap();
        assert_eq!(
            report.provenance.began,
            Some("2026-11-02T10:00:00Z".parse().unwrap())
        );
        let Content::Findings(report) = report.content else {
            panic!("another report")
        };
        assert_eq!(
            (report.tool.as_str(), &report.listed[0].aliases[0][..]),
            ("scan", "GHSA-1")
        );
    }
}

#[test]
fn cyclonedx_without_vulnerabilities_did_not_scan_and_with_none_is_clean() {
    let mut document = cyclonedx(json!({}));
    document["vulnerabilities"] = json!([]);
    assert!(listed("cyclonedx", &document).is_empty());
    for absent in [json!(null), json!({}), json!("none")] {
        document["vulnerabilities"] = absent;
        is_refused("cyclonedx", &document);
    }
}

#[test]
fn cyclonedx_that_names_more_than_is_allowed_is_refused() {
    let components: Vec<_> = (0..100_001)
        .map(|n| json!({ "bom-ref": n.to_string() }))
        .collect();
    let affects = vec![json!({}); 10_001];
    for document in [
        json!({ "components": components, "vulnerabilities": [] }),
        json!({ "vulnerabilities": [{ "affects": affects }] }),
    ] {
        let error = try_read("cyclonedx", &document).unwrap_err();
        assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
    }
}

/// A report of one result with these members.
fn trivy(result: Value) -> Value {
    json!({ "SchemaVersion": 2, "ArtifactName": "shop", "Results": [result] })
}

#[test]
fn trivy_counts_checks_that_failed_and_suppresses_the_excepted() {
    let statuses = ["FAIL", "PASS", "EXCEPTION", "whatever"];
    let checks =
        statuses.map(|status| json!({ "ID": status, "Status": status, "Severity": "HIGH" }));
    let findings = listed("trivy", &trivy(json!({ "Misconfigurations": checks })));
    let told: Vec<_> = findings
        .iter()
        .map(|f| (f.id.as_str(), f.suppressed))
        .collect();
    assert_eq!(
        told,
        [("FAIL", false), ("EXCEPTION", true), ("whatever", false)]
    );
}

#[test]
fn trivy_reads_secrets_and_licenses_and_repeats_no_secret() {
    let findings = listed(
        "trivy",
        &trivy(json!({
            "Target": "deploy.sh",
            "Secrets": [{
                "RuleID": "aws-access-key-id", "Category": "AWS", "Severity": "CRITICAL",
                "Title": "AWS Access Key ID", "StartLine": 3, "Match": "KEY=hunter2",
                "Code": { "Lines": [{ "Content": "KEY=hunter2" }] },
            }],
            "Licenses": [{
                "Severity": "HIGH", "Category": "restricted", "PkgName": "a", "FilePath": "LICENSE",
                "Name": "GPL-3.0", "Confidence": 1,
            }],
        })),
    );
    let [license, secret] = &findings[..] else {
        panic!("not two: {findings:?}")
    };
    assert_eq!(
        (
            secret.id.as_str(),
            secret.path.as_str(),
            secret.line,
            secret.severity
        ),
        ("aws-access-key-id", "deploy.sh", Some(3), Critical)
    );
    assert!(!format!("{findings:?}").contains("hunter2"));
    assert_eq!(
        (
            license.id.as_str(),
            license.path.as_str(),
            license.package.as_str(),
            license.severity
        ),
        ("GPL-3.0", "LICENSE", "a", High)
    );
    assert_eq!(license.message, "restricted");
}

#[test]
fn trivy_suppresses_what_somebody_said_does_not_matter() {
    for (status, suppressed) in [
        ("ignored", true),
        ("not_affected", true),
        ("fixed", true),
        ("affected", false),
        ("under_investigation", false),
        ("whatever", false),
    ] {
        let finding = json!({ "VulnerabilityID": "CVE-1", "Severity": "LOW", "Status": "fixed" });
        let modified = json!([{ "Type": "vulnerability", "Status": status, "Finding": finding }]);
        let result = json!({ "ExperimentalModifiedFindings": modified });
        let findings = listed("trivy", &trivy(result));
        assert_eq!(
            (findings.len(), findings[0].suppressed),
            (1, suppressed),
            "{status}"
        );
    }
}

#[test]
fn trivy_of_another_schema_or_without_one_is_refused() {
    is_refused("trivy", &json!({ "ArtifactName": "a", "Results": [] }));
    is_refused("trivy", &json!({ "SchemaVersion": 3, "Results": [] }));
    is_refused("trivy", &json!({ "SchemaVersion": 2, "Results": {} }));
    for clean in [
        json!({ "SchemaVersion": 2 }),
        json!({ "SchemaVersion": 2, "Results": null }),
    ] {
        assert!(listed("trivy", &clean).is_empty());
    }
    let mut report = trivy(json!({}));
    report["Metadata"] = json!({ "Commit": "abc123" });
    let provenance = try_read("trivy", &report).unwrap().provenance;
    assert_eq!(provenance.commits, ["abc123".to_owned()].into());
}

#[test]
fn grype_says_what_mends_it_only_when_it_is_fixed() {
    for (state, fixed_in) in [
        ("fixed", "1.1, 2.0"),
        ("not-fixed", ""),
        ("wont-fix", ""),
        ("", ""),
    ] {
        let fix = json!({ "versions": ["1.1", "2.0"], "state": state });
        let one = json!({ "vulnerability": { "id": "CVE-1", "fix": fix } });
        let findings = listed("grype", &json!({ "matches": [one] }));
        assert_eq!(findings[0].fixed_in, fixed_in, "{state}");
    }
}

#[test]
fn grype_tells_ignored_matches_aliases_and_places() {
    let one = json!({
        "vulnerability": { "id": "GHSA-1", "severity": "Unknown" },
        "relatedVulnerabilities": [{ "id": "CVE-1" }, { "id": "GHSA-1" }],
        "artifact": {
            "name": "a", "version": "1.0",
            "locations": [{ "path": "/lib/a.jar" }, { "path": "/other" }],
        },
    });
    let report = json!({
        "matches": [],
        "ignoredMatches": [one],
        "descriptor": { "name": "grype", "timestamp": "2026-11-02T12:00:00.25+02:00" },
    });
    let read = try_read("grype", &report).unwrap();
    assert_eq!(
        read.provenance.began,
        Some("2026-11-02T10:00:00.25Z".parse().unwrap())
    );
    let expected = Finding {
        id: "GHSA-1".to_owned(),
        aliases: vec!["CVE-1".to_owned()],
        package: "a@1.0".to_owned(),
        path: "/lib/a.jar".to_owned(),
        suppressed: true,
        ..Finding::default()
    };
    assert_eq!(listed("grype", &report), [expected]);
    is_refused(
        "grype",
        &json!({ "descriptor": { "name": "grype" }, "ignoredMatches": [] }),
    );
    is_refused("grype", &json!({ "matches": null }));
}

#[test]
fn cargo_audit_s_warnings_are_as_bad_as_their_vector_or_their_kind() {
    let vector = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H";
    let package = json!({ "name": "a", "version": "1.0" });
    let warning =
        |cvss: Value| json!({ "advisory": { "id": "R", "cvss": cvss }, "package": package });
    let report = json!({
        "vulnerabilities": { "found": false, "count": 0, "list": [] },
        "warnings": {
            "notice": [warning(json!(null))],
            "unmaintained": [warning(json!(null))],
            "unsound": [warning(json!(null)), warning(json!(vector))],
            "whatever": [warning(json!("CVSS:3.1/AV:N"))],
            "yanked": [{ "kind": "yanked", "package": package, "advisory": null }],
        },
    });
    let findings = listed("cargo-audit", &report);
    let told: Vec<_> = findings
        .iter()
        .map(|f| (f.id.as_str(), f.severity))
        .collect();
    let expected = [
        ("R", Info),
        ("R", Info),
        ("R", Low),
        ("R", Critical),
        ("R", Unknown),
        ("yanked", Low),
    ];
    assert_eq!(told, expected);
    assert!(findings.iter().all(|finding| finding.package == "a@1.0"));
}

#[test]
fn cargo_audit_that_counts_more_than_it_lists_has_a_finding() {
    for counted in [
        json!({ "count": 2, "list": [] }),
        json!({ "found": true, "list": [] }),
    ] {
        let findings = listed("cargo-audit", &json!({ "vulnerabilities": counted }));
        assert_eq!((findings.len(), findings[0].severity), (1, Unknown));
    }
    is_refused(
        "cargo-audit",
        &json!({ "vulnerabilities": { "found": false, "count": 0 } }),
    );
    is_refused(
        "cargo-audit",
        &json!({ "vulnerabilities": [], "warnings": {} }),
    );
}

#[test]
fn npm_s_advisories_of_both_shapes_are_the_same_finding() {
    let seven = json!({
        "auditReportVersion": 2,
        "vulnerabilities": {
            "a": {
                "via": [{
                    "source": 7, "url": "https://github.com/advisories/GHSA-1", "title": "t",
                    "severity": "high",
                }],
                "fixAvailable": { "name": "a", "version": "1.1" },
            },
            "b": { "via": ["a"], "severity": "high", "fixAvailable": true },
        },
    });
    let six = json!({
        "actions": [{ "action": "update", "resolves": [{ "id": 7 }] }],
        "advisories": { "7": {
            "id": 7, "url": "https://github.com/advisories/GHSA-1", "title": "t", "severity": "high",
            "module_name": "a", "patched_versions": "1.1", "findings": [{ "paths": ["b>a"] }],
        } },
        "muted": [],
        "metadata": { "vulnerabilities": { "high": 2 } },
    });
    let expected = Finding {
        id: "GHSA-1".to_owned(),
        severity: High,
        message: "t".to_owned(),
        package: "a".to_owned(),
        fixed_in: "1.1".to_owned(),
        ..Finding::default()
    };
    for report in [seven, six] {
        let text = report.to_string();
        let read = reports::read("out.json", text.as_bytes(), None).unwrap();
        assert_eq!(read.format.name(), "npm-audit");
        assert_eq!(
            listed("npm-audit", &report),
            std::slice::from_ref(&expected)
        );
    }
}

#[test]
fn npm_6_names_the_version_the_cves_and_that_nothing_mends_it() {
    let findings = listed(
        "npm-audit",
        &json!({ "advisories": { "7": {
            "id": 7, "github_advisory_id": "GHSA-2", "cves": ["CVE-1"], "severity": "moderate",
            "module_name": "a", "patched_versions": "<0.0.0",
            "findings": [{ "version": "1.0" }, { "version": "2.0" }],
        } } }),
    );
    let expected = Finding {
        id: "GHSA-2".to_owned(),
        aliases: vec!["CVE-1".to_owned()],
        severity: Medium,
        package: "a@1.0".to_owned(),
        ..Finding::default()
    };
    assert_eq!(findings, [expected]);
}

#[test]
fn npm_7_says_what_mends_it_in_three_ways() {
    for (fix, fixed_in) in [
        (json!({ "name": "a", "version": "1.1" }), "1.1"),
        (
            json!({ "name": "b", "version": "9.0", "isSemVerMajor": true }),
            "b@9.0",
        ),
        (json!(true), "npm audit fix"),
        (json!(false), ""),
        (json!(null), ""),
    ] {
        let package = json!({ "via": [{ "source": 1 }], "fixAvailable": fix });
        let report = json!({ "auditReportVersion": 2, "vulnerabilities": { "a": package } });
        let findings = listed("npm-audit", &report);
        assert_eq!(
            (findings[0].id.as_str(), findings[0].fixed_in.as_str()),
            ("1", fixed_in),
            "{fix}"
        );
    }
}

#[test]
fn npm_takes_the_score_where_it_has_no_word() {
    for (severity, score, expected) in [
        ("low", 9.8, Low),
        ("none", 0.0, Info),
        ("", 9.8, Critical),
        ("", 0.0, Unknown),
    ] {
        let via = json!([{ "source": 1, "severity": severity, "cvss": { "score": score } }]);
        let report = json!({ "vulnerabilities": { "a": { "via": via } } });
        assert_eq!(
            listed("npm-audit", &report)[0].severity,
            expected,
            "{severity} {score}"
        );
    }
}

#[test]
fn npm_that_counts_packages_and_lists_no_advisory_has_a_finding() {
    let report = |vulnerabilities: Value| json!({ "vulnerabilities": vulnerabilities, "metadata": { "vulnerabilities": { "high": 1 } } });
    for vulnerabilities in [json!({}), json!({ "b": { "via": ["a"] } })] {
        let findings = listed("npm-audit", &report(vulnerabilities));
        assert_eq!((findings.len(), findings[0].severity), (1, Unknown));
    }
}

#[test]
fn npm_that_ended_with_an_error_is_refused_whatever_else_it_says() {
    for error in [
        json!({ "error": { "code": "ENOLOCK", "summary": "no lockfile", "detail": "d" } }),
        json!({ "message": "m", "error": { "summary": "", "detail": "" } }),
        json!({ "error": "E", "vulnerabilities": {}, "auditReportVersion": 2 }),
        json!({ "auditReportVersion": 2 }),
        json!({ "auditReportVersion": 2, "vulnerabilities": [] }),
        json!({ "auditReportVersion": 2, "vulnerabilities": null }),
    ] {
        is_refused("npm-audit", &error);
    }
}

#[test]
fn a_document_a_line_is_not_a_report() {
    // Yarn 1 writes so, and cargo-audit of several binaries.
    let yarn =
        "{\"type\":\"auditAdvisory\",\"data\":{}}\n{\"type\":\"auditSummary\",\"data\":{}}\n";
    let error = reports::read("out.json", yarn.as_bytes(), None).unwrap_err();
    assert!(matches!(error, ReadError::NoFormat { .. }), "{error}");
    let clean = json!({ "database": { "advisory-count": 1 }, "vulnerabilities": { "list": [] } });
    let error =
        reports::read("out.json", format!("{clean}\n{clean}").as_bytes(), None).unwrap_err();
    assert!(matches!(error, ReadError::Malformed { .. }), "{error}");
}
