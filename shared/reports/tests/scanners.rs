//! The laws that hold for every format of findings that is written in JSON.
//!
//! The fixtures are written by the real tools; `fixtures/README.md` and, for those of CycloneDX,
//! the table here say what each tool itself said. Grype could not be had: its samples follow the
//! types of its package `presenter/models`.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use reports::{Content, Finding, FindingsReport, Format, ReadError, Report, Severity};
use serde_json::{Value, json};

use Severity::{Critical, High, Info, Low, Medium, Unknown};

/// How many findings of each severity there are.
type Counts = &'static [(Severity, usize)];

/// The fixture, its format, what the tool calls itself and what it counted.
const COUNTED: &[(&str, &str, &str, Counts)] = &[
    (
        "bandit.sarif",
        "sarif",
        "Bandit",
        &[(Info, 4), (Medium, 2), (High, 1)],
    ),
    ("eslint.sarif", "sarif", "ESLint", &[(Medium, 3), (High, 2)]),
    ("ruff.sarif", "sarif", "ruff", &[(High, 8)]),
    (
        "trivy.sarif",
        "sarif",
        "Trivy",
        &[(Medium, 1), (Unknown, 1), (Critical, 1)],
    ),
    (
        "cargo-audit.sarif",
        "sarif",
        "cargo-audit",
        &[(Medium, 2), (High, 1), (Critical, 1)],
    ),
    (
        "trivy.json",
        "trivy",
        "Trivy",
        &[
            (Low, 2),
            (Medium, 2),
            (Unknown, 1),
            (High, 1),
            (Critical, 2),
        ],
    ),
    ("trivy-none.json", "trivy", "Trivy", &[]),
    ("trivy-nothing-to-scan.json", "trivy", "Trivy", &[]),
    (
        "cargo-audit.json",
        "cargo-audit",
        "cargo-audit",
        &[(Info, 1), (Low, 1), (Unknown, 1), (Critical, 1)],
    ),
    ("cargo-audit-clean.json", "cargo-audit", "cargo-audit", &[]),
    (
        "npm-audit.json",
        "npm-audit",
        "npm audit",
        &[(Low, 1), (Medium, 1), (High, 1), (Critical, 1)],
    ),
    // pip-audit 2.10 over a local service of made-up answers: 'Found 2 known vulnerabilities in 1
    // package'. It writes no ratings, and `bomFormat` last.
    ("pip-audit.cdx.json", "cyclonedx", "", &[(Unknown, 2)]),
];

/// Real files of the same tools that say nothing of findings, and the end of their refusal.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "npm-audit-error.json",
        "npm-audit",
        "npm audit ended with an error: nothing was audited; run it again",
    ),
    // npm 11.19 `npm sbom --sbom-format=cyclonedx`.
    (
        "npm-sbom.cdx.json",
        "cyclonedx",
        "there is no `vulnerabilities`",
    ),
    // pip-audit: 'No known vulnerabilities found'.
    (
        "pip-audit-clean.cdx.json",
        "cyclonedx",
        "there is no `vulnerabilities`",
    ),
];

const FORMATS: [&str; 6] = [
    "sarif",
    "cyclonedx",
    "trivy",
    "grype",
    "cargo-audit",
    "npm-audit",
];

fn bytes(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/findings");
    std::fs::read(folder.join(name)).unwrap()
}

fn read(name: &str, bytes: &[u8]) -> Report {
    reports::read(name, bytes, None).unwrap_or_else(|error| panic!("{error}: {:?}", error))
}

fn findings(report: Report) -> FindingsReport {
    match report.content {
        Content::Findings(report) => report,
        content => panic!("another report: {content:?}"),
    }
}

/// In an order of their own.
fn sorted(report: FindingsReport) -> Vec<Finding> {
    let mut listed = report.listed;
    listed.sort_by_key(|finding| (finding.id.clone(), finding.package.clone(), finding.line));
    listed
}

fn cause(error: &ReadError) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

#[test]
fn each_fixture_is_read_in_its_own_format_and_counts_what_its_tool_counted() {
    for &(name, format, tool, expected) in COUNTED {
        let report = read(name, &bytes(name));
        assert_eq!(report.format.name(), format, "{name}");
        let report = findings(report);
        assert_eq!(report.tool, tool, "{name}");
        let mut counted = BTreeMap::new();
        for finding in &report.listed {
            *counted.entry(finding.severity).or_insert(0) += 1;
            assert!(
                !finding.id.is_empty() && !finding.message.is_empty(),
                "{name}: {finding:?}"
            );
        }
        assert_eq!(counted.into_iter().collect::<Vec<_>>(), expected, "{name}");
    }
}

#[test]
fn a_file_without_findings_of_its_own_is_refused_and_never_clean() {
    for &(name, format, why) in REFUSED {
        let by_sniffing = reports::read(name, bytes(name).as_slice(), None);
        let by_name = reports::read(name, bytes(name).as_slice(), Some(format.parse().unwrap()));
        for error in [by_sniffing.unwrap_err(), by_name.unwrap_err()] {
            assert!(
                matches!(error, ReadError::Malformed { .. }),
                "{name}: {error}"
            );
            assert_eq!(cause(&error), why, "{name}");
        }
    }
}

#[test]
fn an_empty_object_or_one_of_other_members_is_refused_in_every_format() {
    for format in FORMATS {
        let format: Format = format.parse().unwrap();
        for text in [
            "{}",
            "[]",
            "null",
            "1",
            "{\"a\":[]}",
            "{\"error\":{\"code\":\"E\"}}",
        ] {
            let error = reports::read("out.json", text.as_bytes(), Some(format)).unwrap_err();
            assert!(
                matches!(error, ReadError::Malformed { .. }),
                "{format} {text}: {error}"
            );
        }
    }
}

#[test]
fn a_report_cut_off_anywhere_is_an_error_and_truncated_where_no_token_is_cut() {
    for &(name, format, ..) in COUNTED {
        let bytes = bytes(name);
        let whole = bytes.trim_ascii_end().len();
        let step = if whole < 1500 { 1 } else { 17 };
        for length in (0..whole).step_by(step) {
            let cut = &bytes[..length];
            let is_between = matches!(cut.last(), Some(b'{' | b'[' | b',' | b':' | b'}' | b']'));
            match reports::read(name, cut, Some(format.parse().unwrap())) {
                Err(ReadError::Truncated { .. }) => {}
                Err(ReadError::Empty { .. }) if length == 0 => {}
                Err(ReadError::Malformed { .. }) if !is_between => {}
                other => panic!("{name} cut at {length}: {other:?}"),
            }
        }
    }
}

/// The document with the members of each object in the order of their names, or in the reverse.
fn written(value: &Value, is_reversed: bool) -> String {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().collect();
            let member = |(name, value): (&&String, &&Value)| {
                let name = Value::from(name.as_str());
                format!("{name}:{}", written(value, is_reversed))
            };
            let mut members: Vec<_> = members.iter().map(member).collect();
            if is_reversed {
                members.reverse();
            }
            format!("{{{}}}", members.join(","))
        }
        Value::Array(elements) => {
            let elements = elements.iter().map(|value| written(value, is_reversed));
            format!("[{}]", elements.collect::<Vec<_>>().join(","))
        }
        other => other.to_string(),
    }
}

#[test]
fn the_order_of_the_members_changes_nothing() {
    for &(name, ..) in COUNTED {
        let bytes = bytes(name);
        let whole = read(name, &bytes);
        let provenance = whole.provenance.clone();
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        let expected = sorted(findings(whole));
        for text in [written(&value, false), written(&value, true)] {
            let report = read(name, text.as_bytes());
            assert_eq!(report.provenance, provenance, "{name}");
            assert_eq!(sorted(findings(report)), expected, "{name}");
        }
    }
}

#[test]
fn a_report_says_when_it_was_made_where_its_tool_does() {
    for (name, began) in [
        ("trivy.json", Some("2026-11-23T08:48:40.809258072Z")),
        ("pip-audit.cdx.json", Some("2026-11-23T08:47:42.056869Z")),
        ("npm-audit.json", None),
        ("cargo-audit.json", None),
    ] {
        let provenance = read(name, &bytes(name)).provenance;
        let began = began.map(|time| time.parse().unwrap());
        assert_eq!(provenance.began, began, "{name}");
    }
}

/// What every format can say of a finding.
#[derive(Debug, Clone)]
struct Sample {
    severity: Severity,
    message: String,
    package: String,
    is_fixed: bool,
    suppressed: bool,
}

fn sample() -> impl Strategy<Value = Sample> {
    let severity = prop::sample::select(vec![Info, Low, Medium, High, Critical]);
    (
        severity,
        "[a-zä<>&\"\\\\]{1,12}",
        "[a-z/@]{1,12}",
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |(severity, message, package, is_fixed, suppressed)| Sample {
                severity,
                message,
                package,
                is_fixed,
                suppressed,
            },
        )
}

fn id(number: usize) -> String {
    format!("GHSA-{number}")
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Info => "info",
        Low => "low",
        Medium => "medium",
        High => "high",
        Critical => "critical",
        Unknown => "unknown",
    }
}

fn score(severity: Severity) -> f64 {
    match severity {
        Info | Unknown => 0.05,
        Low => 3.9,
        Medium => 4.0,
        High => 8.9,
        Critical => 9.0,
    }
}

fn vector(severity: Severity) -> Option<&'static str> {
    match severity {
        Info | Unknown => None,
        Low => Some("CVSS:3.1/AV:P/AC:H/PR:H/UI:R/S:U/C:N/I:N/A:L"),
        Medium => Some("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:L"),
        High => Some("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"),
        Critical => Some("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"),
    }
}

/// Writes the samples in the format of this name.
fn write(format: &str, samples: &[Sample]) -> Value {
    let each = |write: fn(usize, &Sample) -> Value| -> Vec<Value> {
        samples
            .iter()
            .enumerate()
            .map(|(number, sample)| write(number, sample))
            .collect()
    };
    let split = |write: fn(usize, &Sample) -> Value, suppressed: bool| -> Vec<Value> {
        let chosen = samples
            .iter()
            .enumerate()
            .filter(|(_, sample)| sample.suppressed == suppressed);
        chosen
            .map(|(number, sample)| write(number, sample))
            .collect()
    };
    match format {
        "sarif" => json!({
            "version": "2.1.0",
            "runs": [{ "tool": { "driver": { "name": "x", "rules": each(sarif_rule) } }, "results": each(sarif) }],
        }),
        "cyclonedx" => json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "components": each(cyclonedx_component),
            "vulnerabilities": each(cyclonedx),
        }),
        "trivy" => json!({
            "SchemaVersion": 2,
            "ArtifactName": "x",
            "Results": [{
                "Target": "Cargo.lock",
                "Vulnerabilities": split(trivy, false),
                "ExperimentalModifiedFindings": split(trivy_modified, true),
            }],
        }),
        "grype" => json!({
            "matches": split(grype, false),
            "ignoredMatches": split(grype, true),
            "descriptor": { "name": "grype", "version": "0.90.0" },
        }),
        "cargo-audit" => json!({
            "database": { "advisory-count": 1 },
            "vulnerabilities": { "found": !samples.is_empty(), "count": samples.len(), "list": each(cargo_audit) },
            "warnings": {},
        }),
        "npm-audit" => json!({
            "auditReportVersion": 2,
            "vulnerabilities": npm_audit(samples),
            "metadata": { "vulnerabilities": { "total": samples.len() } },
        }),
        other => panic!("{other} has no writer"),
    }
}

fn sarif_rule(number: usize, sample: &Sample) -> Value {
    json!({ "id": id(number), "properties": { "security-severity": score(sample.severity).to_string() } })
}

fn sarif(number: usize, sample: &Sample) -> Value {
    let suppressions = if sample.suppressed {
        json!([{ "kind": "external" }])
    } else {
        json!([])
    };
    json!({ "ruleId": id(number), "message": { "text": sample.message }, "suppressions": suppressions })
}

fn cyclonedx_component(number: usize, sample: &Sample) -> Value {
    json!({ "bom-ref": number.to_string(), "name": sample.package, "version": "1.0" })
}

fn cyclonedx(number: usize, sample: &Sample) -> Value {
    let state = if sample.suppressed {
        "not_affected"
    } else {
        "in_triage"
    };
    let recommendation = if sample.is_fixed {
        "Upgrade it to version 2.0"
    } else {
        "Upgrade"
    };
    json!({
        "id": id(number),
        "description": sample.message,
        "recommendation": recommendation,
        "ratings": [{ "severity": word(sample.severity) }],
        "analysis": { "state": state },
        "affects": [{ "ref": number.to_string() }],
    })
}

fn trivy(number: usize, sample: &Sample) -> Value {
    // Trivy has no word for it.
    let severity = if sample.severity == Info {
        "NONE"
    } else {
        word(sample.severity)
    };
    json!({
        "VulnerabilityID": id(number),
        "PkgName": sample.package,
        "InstalledVersion": "1.0",
        "FixedVersion": if sample.is_fixed { "2.0" } else { "" },
        "Severity": severity.to_uppercase(),
        "Title": sample.message,
    })
}

fn trivy_modified(number: usize, sample: &Sample) -> Value {
    json!({ "Type": "vulnerability", "Status": "ignored", "Finding": trivy(number, sample) })
}

fn grype(number: usize, sample: &Sample) -> Value {
    let severity = if sample.severity == Info {
        "Negligible"
    } else {
        word(sample.severity)
    };
    let state = if sample.is_fixed { "fixed" } else { "wont-fix" };
    json!({
        "vulnerability": {
            "id": id(number),
            "severity": severity,
            "description": sample.message,
            "fix": { "versions": ["2.0"], "state": state },
        },
        "relatedVulnerabilities": [],
        "artifact": { "name": sample.package, "version": "1.0", "locations": [] },
    })
}

fn cargo_audit(number: usize, sample: &Sample) -> Value {
    let patched: &[&str] = if sample.is_fixed { &["2.0"] } else { &[] };
    json!({
        "advisory": { "id": id(number), "title": sample.message, "cvss": vector(sample.severity), "aliases": [] },
        "versions": { "patched": patched, "unaffected": [] },
        "package": { "name": sample.package, "version": "1.0" },
    })
}

/// Packages by name: those of one name share what mends them.
fn npm_audit(samples: &[Sample]) -> Value {
    let packages = samples.iter().enumerate().map(|(number, sample)| {
        let fix = if sample.is_fixed {
            json!({ "name": format!("{}{number}", sample.package), "version": "2.0" })
        } else {
            json!(false)
        };
        let advisory = json!({
            "source": number,
            "url": format!("https://github.com/advisories/{}", id(number)),
            "severity": word(sample.severity),
            "title": sample.message,
        });
        let package = json!({ "via": [advisory, "another"], "fixAvailable": fix });
        (format!("{}{number}", sample.package), package)
    });
    Value::Object(packages.collect())
}

/// What comes back of a sample, as far as the format can say it.
fn expected(format: &str, number: usize, sample: &Sample) -> Finding {
    let Sample {
        severity,
        message,
        package,
        is_fixed,
        suppressed,
    } = sample.clone();
    let fixed_in = if is_fixed { "2.0" } else { "" }.to_owned();
    let finding = Finding {
        id: id(number),
        severity,
        message,
        package: format!("{package}@1.0"),
        fixed_in,
        suppressed,
        ..Finding::default()
    };
    match format {
        "sarif" => Finding {
            package: String::new(),
            fixed_in: String::new(),
            ..finding
        },
        "trivy" => Finding {
            path: "Cargo.lock".to_owned(),
            ..finding
        },
        "cargo-audit" => Finding {
            severity: if severity == Info { Unknown } else { severity },
            suppressed: false,
            ..finding
        },
        "npm-audit" => Finding {
            package: format!("{package}{number}"),
            suppressed: false,
            ..finding
        },
        _ => finding,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read_back_whatever_the_order_of_the_members(
        samples in prop::collection::vec(sample(), 0..8),
    ) {
        for format in FORMATS {
            let value = write(format, &samples);
            let expected: Vec<_> =
                samples.iter().enumerate().map(|(number, sample)| expected(format, number, sample)).collect();
            for text in [value.to_string(), written(&value, false), written(&value, true)] {
                let report = read(format, text.as_bytes());
                prop_assert_eq!(report.format.name(), format);
                prop_assert_eq!(&sorted(findings(report)), &expected, "{}", text);
            }
        }
    }

    #[test]
    fn values_of_other_types_anywhere_never_panic(
        (name, ..) in prop::sample::select(COUNTED),
        place in any::<prop::sample::Index>(),
        other in prop::sample::select(vec!["null", "-1", "1e999", "\"x\"", "[]", "[[]]", "{}", "{\"a\":{}}", "true"]),
    ) {
        let mut value: Value = serde_json::from_slice(&bytes(name)).unwrap();
        let mut places = Vec::new();
        walk(&value, &mut String::new(), &mut places);
        let pointer = &places[place.index(places.len())];
        // serde_json cannot hold 1e999.
        *value.pointer_mut(pointer).unwrap() = Value::from("here");
        let text = value.to_string().replacen("\"here\"", other, 1);
        for format in [None].into_iter().chain(Format::all().map(Some)) {
            let _ = reports::read(name, text.as_bytes(), format);
        }
    }
}

/// The pointers of all values.
fn walk(value: &Value, at: &mut String, places: &mut Vec<String>) {
    places.push(at.clone());
    let length = at.len();
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (name, value) in children {
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        walk(value, at, places);
        at.truncate(length);
    }
}

#[test]
fn many_findings_are_listed_as_far_as_there_is_room_and_all_are_counted() {
    let sample = Sample {
        severity: High,
        message: "m".to_owned(),
        package: "p".to_owned(),
        is_fixed: true,
        suppressed: false,
    };
    let samples = vec![sample; reports::FINDINGS_LISTED_MAX + 7];
    for format in FORMATS {
        let text = write(format, &samples).to_string();
        let report = findings(read(format, text.as_bytes()));
        assert!(
            report.listed.len() <= reports::FINDINGS_LISTED_MAX,
            "{format}"
        );
        assert!(
            report.listed.iter().all(|finding| finding.severity == High),
            "{format}"
        );
        let unlisted = report.unlisted[&High] as usize;
        assert_eq!(report.listed.len() + unlisted, samples.len(), "{format}");
        assert_eq!(report.unlisted.len(), 1, "{format}");
    }
}
