//! The sources over the wire: answers written after the services' models (CodeBuild 2016-10-06, ECR
//! 2015-09-21), served by a small server that knows nothing of AWS.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use engine::{Class, PortError, ReportSource, Sourced};
use release::gate::{Found, ImageRef, Keeper, Kept};
use reports::{Content, CoverageReport, FindingsReport, Outcome, Ratio, Severity, TestReport};
use serde_json::{Value, json};

use crate::{Aws, answering};

const GROUP: &str = "arn:aws:codebuild:eu-west-1:123456789012:report-group/shop-unit";
const BUILD: &str = "shop:0f0e";
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Every call so far: its operation and its body.
type Calls = Arc<Mutex<Vec<(String, Value)>>>;

/// Answers each call by `answer`: a status and a body.
fn serve(answer: impl Fn(&str, &Value) -> (u16, Value) + Send + 'static) -> (Aws, Calls) {
    let calls = Calls::default();
    let kept = Arc::clone(&calls);
    let aws = answering::serve(move |call| {
        let operation = call.operation.unwrap();
        let answered = answer(&operation, &call.body);
        kept.lock().unwrap().push((operation, call.body));
        answered
    });
    (aws, calls)
}

fn operations(calls: &Calls) -> Vec<String> {
    let calls = calls.lock().unwrap();
    calls
        .iter()
        .map(|(operation, _)| operation.clone())
        .collect()
}

/// One page of `items`, by the number in the call's token.
fn page(call: &Value, key: &str, items: &[Value]) -> Value {
    let most = usize::try_from(call["maxResults"].as_u64().unwrap()).unwrap();
    let from: usize = call["nextToken"].as_str().unwrap_or("0").parse().unwrap();
    let end = items.len().min(from + most);
    let mut page = json!({ key: items[from..end] });
    if end < items.len() {
        page["nextToken"] = json!(end.to_string());
    }
    page
}

fn one(sourced: Sourced) -> Found {
    match sourced {
        Sourced::Found(mut found) => {
            assert_eq!(found.len(), 1, "{found:?}");
            found.remove(0)
        }
        Sourced::Pending { what } => panic!("pending: {what}"),
    }
}

fn kept(sourced: Sourced) -> Kept {
    match one(sourced) {
        Found::Kept(kept) => kept,
        other => panic!("{other:?}"),
    }
}

/// Pending, unreadable or read, in words.
fn said(sourced: Sourced) -> String {
    match sourced {
        Sourced::Pending { what } => format!("pending: {what}"),
        found => match one(found) {
            Found::Unreadable { why } => format!("unreadable: {why}"),
            Found::Kept(_) => "read".to_owned(),
            other => panic!("{other:?}"),
        },
    }
}

mod builds {
    use super::*;

    fn report(id: &str, build: &str, rest: Value) -> Value {
        let mut report = json!({
            "arn": format!("arn:aws:codebuild:eu-west-1:123456789012:report/shop-unit:{id}"),
            "name": "unit",
            "type": "TEST",
            "executionId": format!("arn:aws:codebuild:eu-west-1:123456789012:build/{build}"),
            "status": "SUCCEEDED",
            "created": 1_790_000_000.5,
        });
        report
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        report
    }

    fn case(name: &str, status: &str) -> Value {
        json!({
            "name": name, "prefix": "cart.Cart", "testSuiteName": "cart", "status": status,
            "durationInNanoSeconds": 250_000_000, "message": "boom\nat line 3",
        })
    }

    /// A group with these reports, each with the same cases and files.
    fn group(reports: Vec<Value>, cases: Vec<Value>, files: Vec<Value>) -> (Aws, Calls) {
        serve(move |operation, call| {
            let arns: Vec<_> = reports.iter().map(|report| report["arn"].clone()).collect();
            let answer = match operation {
                "ListReportsForReportGroup" => page(call, "reports", &arns),
                "BatchGetReports" => {
                    let asked = call["reportArns"].as_array().unwrap();
                    assert!(asked.len() <= 100, "BatchGetReports takes 100");
                    let found = reports
                        .iter()
                        .filter(|report| asked.contains(&report["arn"]));
                    json!({ "reports": found.collect::<Vec<_>>() })
                }
                "DescribeTestCases" => page(call, "testCases", &cases),
                "DescribeCodeCoverages" => page(call, "codeCoverages", &files),
                other => panic!("{other} is not allowed"),
            };
            (200, answer)
        })
    }

    async fn look(aws: &Aws) -> Sourced {
        aws.build_reports(GROUP, BUILD).await.unwrap()
    }

    fn tests(sourced: Sourced) -> TestReport {
        match kept(sourced).content {
            Content::Tests(tests) => tests,
            other => panic!("{other:?}"),
        }
    }

    fn coverage(sourced: Sourced) -> CoverageReport {
        match kept(sourced).content {
            Content::Coverage(coverage) => coverage,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn the_report_of_the_build_is_found_among_those_of_others() {
        let mut reports: Vec<_> = (0..250)
            .map(|number| report(&number.to_string(), &format!("shop:{number}"), json!({})))
            .collect();
        reports[150] = report("mine", BUILD, json!({}));
        let (aws, calls) = group(reports, vec![case("adds", "SUCCEEDED")], vec![]);
        let kept = kept(look(&aws).await);
        assert_eq!(
            (kept.by, kept.name.as_str()),
            (Keeper::CodeBuild, "shop-unit:mine")
        );
        let began = kept.provenance.began.unwrap();
        assert_eq!(began.as_millisecond(), 1_790_000_000_500);
        let operations = operations(&calls);
        assert_eq!(
            operations,
            [
                "ListReportsForReportGroup",
                "BatchGetReports",
                "ListReportsForReportGroup",
                "BatchGetReports",
                "DescribeTestCases",
            ]
        );
        let calls = calls.lock().unwrap();
        assert_eq!(calls[0].1["reportGroupArn"], GROUP);
        assert_eq!(calls[0].1["sortOrder"], "DESCENDING");
    }

    #[tokio::test]
    async fn a_build_is_known_by_its_id_and_by_its_arn_and_by_no_part_of_them() {
        let reports = vec![
            report("a", "shop:0f0e1", json!({})),
            report("b", "myshop:0f0e", json!({})),
            report("c", "shop:0f0", json!({})),
        ];
        let (aws, _) = group(reports, vec![], vec![]);
        assert!(said(look(&aws).await).starts_with("pending: a report of build shop:0f0e"));

        let arn = "arn:aws:codebuild:eu-west-1:123456789012:build/shop:0f0e";
        let (aws, _) = group(
            vec![report("a", BUILD, json!({}))],
            vec![case("a", "FAILED")],
            vec![],
        );
        assert_eq!(
            tests(aws.build_reports(GROUP, arn).await.unwrap())
                .totals
                .failed,
            1
        );
    }

    #[tokio::test]
    async fn a_group_without_end_is_not_searched_without_end() {
        let others = (0..900).map(|number| report(&number.to_string(), "other:1", json!({})));
        let (aws, calls) = group(others.collect(), vec![], vec![]);
        assert!(said(look(&aws).await).starts_with("pending"));
        assert_eq!(operations(&calls).len(), 10);
    }

    #[tokio::test]
    async fn every_status_of_a_report_is_waited_for_read_or_refused() {
        for (status, kind, expected) in [
            (
                "GENERATING",
                "TEST",
                "pending: report shop-unit:1 to be generated",
            ),
            ("SUCCEEDED", "TEST", "read"),
            (
                "FAILED",
                "TEST",
                "unreadable: could not use report shop-unit:1: CodeBuild calls it FAILED, but lists no test",
            ),
            (
                "INCOMPLETE",
                "TEST",
                "unreadable: could not use report shop-unit:1: CodeBuild calls it INCOMPLETE",
            ),
            (
                "DELETING",
                "TEST",
                "unreadable: could not use report shop-unit:1: CodeBuild calls it DELETING",
            ),
            (
                "PAUSED",
                "TEST",
                "unreadable: could not use report shop-unit:1: CodeBuild calls it PAUSED",
            ),
            (
                "SUCCEEDED",
                "POEM",
                "unreadable: could not use report shop-unit:1: CodeBuild calls it SUCCEEDED (a report of POEM)",
            ),
            (
                "SUCCEEDED",
                "CODE_COVERAGE",
                "unreadable: could not use report shop-unit:1: it has neither files",
            ),
            (
                "FAILED",
                "CODE_COVERAGE",
                "unreadable: could not use report shop-unit:1: CodeBuild calls it FAILED",
            ),
        ] {
            let told = report("1", BUILD, json!({"status": status, "type": kind}));
            let (aws, _) = group(vec![told], vec![case("adds", "SUCCEEDED")], vec![]);
            let said = said(look(&aws).await);
            assert!(said.starts_with(expected), "{status} {kind}: {said}");
        }
        let mut untold = report("1", BUILD, json!({}));
        untold.as_object_mut().unwrap().remove("status");
        let (aws, _) = group(vec![untold], vec![], vec![]);
        assert!(said(look(&aws).await).starts_with("pending"));
    }

    #[tokio::test]
    async fn every_status_of_a_case_counts_and_none_passes_that_is_not_known() {
        let statuses = [
            "SUCCEEDED",
            "FAILED",
            "ERROR",
            "SKIPPED",
            "UNKNOWN",
            "DREAMING",
        ];
        let mut cases: Vec<_> = statuses.iter().map(|status| case(status, status)).collect();
        cases.push(json!({"name": "says nothing"}));
        let told = report("1", BUILD, json!({"status": "FAILED"}));
        let (aws, _) = group(vec![told], cases, vec![]);
        let tests = tests(look(&aws).await);
        let totals = tests.totals;
        assert_eq!((totals.tests, totals.passed, totals.failed), (7, 1, 1));
        assert_eq!((totals.errors, totals.skipped, totals.flaky), (4, 1, 0));
        let failed = &tests.failing[0];
        assert_eq!(failed.id(), "cart::cart.Cart::FAILED");
        assert_eq!(
            (failed.message.as_str(), failed.seconds),
            ("boom", Some(0.25))
        );
        assert!((tests.duration_seconds - 1.5).abs() < 1e-9);
        assert_eq!(tests.suites["cart.Cart"], 5);
    }

    #[tokio::test]
    async fn the_cases_of_all_pages_count() {
        let cases = (0..230).map(|number| case(&number.to_string(), "SUCCEEDED"));
        let summary = json!({"testSummary": {
            "total": 230, "statusCounts": {"SUCCEEDED": 230}, "durationInNanoSeconds": 9_000_000_000_i64,
        }});
        let (aws, calls) = group(vec![report("1", BUILD, summary)], cases.collect(), vec![]);
        let tests = tests(look(&aws).await);
        assert_eq!((tests.totals.tests, tests.totals.passed), (230, 230));
        assert_eq!((tests.others.len(), tests.duration_seconds), (230, 9.0));
        let cases = operations(&calls);
        assert_eq!(
            cases
                .iter()
                .filter(|name| *name == "DescribeTestCases")
                .count(),
            3
        );
    }

    #[tokio::test]
    async fn failures_that_only_the_summary_knows_count_and_it_is_said() {
        let cases = vec![case("a", "SUCCEEDED"), case("b", "FAILED")];
        let summary = json!({"truncated": true, "status": "FAILED", "testSummary": {
            "total": 600, "durationInNanoSeconds": 0,
            "statusCounts": {"SUCCEEDED": 590, "FAILED": 4, "ERROR": 1, "UNKNOWN": 2, "SKIPPED": 0},
        }});
        let (aws, _) = group(vec![report("1", BUILD, summary)], cases, vec![]);
        let tests = tests(look(&aws).await);
        let totals = tests.totals;
        assert_eq!((totals.tests, totals.passed, totals.failed), (600, 590, 4));
        assert_eq!(
            (totals.errors, totals.skipped),
            (6, 0),
            "three have no outcome at all"
        );
        let told = tests.failing.last().unwrap();
        assert_eq!(told.name, "(598 more tests, 3 failed, 6 errors)");
        assert!(
            told.message
                .contains("CodeBuild lists 2 of this report's cases")
        );
        assert_eq!(told.outcome, Outcome::Errored);
    }

    #[tokio::test]
    async fn a_summary_that_claims_less_takes_nothing_away() {
        let summary = json!({"testSummary": {
            "total": -3, "durationInNanoSeconds": i64::MIN, "statusCounts": {"FAILED": -1},
        }});
        let cases = vec![case("a", "FAILED"), case("b", "SUCCEEDED")];
        let (aws, _) = group(vec![report("1", BUILD, summary)], cases, vec![]);
        let totals = tests(look(&aws).await).totals;
        assert_eq!((totals.tests, totals.failed, totals.passed), (2, 1, 1));
    }

    #[tokio::test]
    async fn what_is_cut_and_has_no_summary_is_refused() {
        let cut = report("1", BUILD, json!({"truncated": true}));
        let (aws, _) = group(vec![cut], vec![case("a", "SUCCEEDED")], vec![]);
        assert!(said(look(&aws).await).contains("truncated and has no summary"));

        let endless = (0..1_100).map(|number| case(&number.to_string(), "SUCCEEDED"));
        let (aws, calls) = group(
            vec![report("1", BUILD, json!({}))],
            endless.collect(),
            vec![],
        );
        assert!(said(look(&aws).await).contains("truncated and has no summary"));
        assert_eq!(operations(&calls).len(), 12);
    }

    #[tokio::test]
    async fn hostile_values_are_bounded_and_fit_to_print() {
        let hostile = json!({
            "name": format!("\u{1b}[2J{}\u{202e}", "x".repeat(5_000)), "status": "FAILED",
            "durationInNanoSeconds": -1, "message": "y".repeat(5_000),
        });
        let most = json!({"testSummary": {
            "total": i32::MAX, "durationInNanoSeconds": i64::MAX,
            "statusCounts": {"FAILED": i32::MAX, "SUCCEEDED": i32::MAX, "ERROR": i32::MAX, "X": i32::MAX},
        }});
        let (aws, _) = group(vec![report("1", BUILD, most)], vec![hostile], vec![]);
        let tests = tests(look(&aws).await);
        assert!(tests.failing[0].name.chars().count() <= 201);
        assert!(!tests.failing[0].name.contains(['\u{1b}', '\u{202e}']));
        assert_eq!(tests.failing[0].seconds, Some(0.0));
        assert!(tests.duration_seconds.is_finite());
        assert_eq!(tests.totals.failed, 2_147_483_647);
    }

    #[tokio::test]
    async fn the_files_of_all_pages_are_covered() {
        let file = |number: usize| {
            json!({
                "filePath": format!("src\\{number}.rs"), "linesCovered": 3, "linesMissed": 1,
                "branchesCovered": 1, "branchesMissed": 1,
            })
        };
        let told = || report("1", BUILD, json!({"type": "CODE_COVERAGE"}));
        let (aws, _) = group(vec![told()], vec![], (0..150).map(file).collect());
        let read = coverage(look(&aws).await);
        assert_eq!(
            (read.lines(), read.branches()),
            (Ratio::new(450, 600), Ratio::new(150, 300))
        );
        let names: Vec<_> = read.files().map(|(path, _)| path.to_owned()).collect();
        assert!(names.contains(&"src/149.rs".to_owned()));

        let negative = json!({"filePath": "a", "linesCovered": -1, "linesMissed": i32::MAX});
        let (aws, _) = group(vec![told()], vec![], vec![negative]);
        assert_eq!(
            coverage(look(&aws).await).lines(),
            Ratio::new(0, 2_147_483_647)
        );

        let (aws, _) = group(vec![told()], vec![], vec![json!({"linesCovered": 9})]);
        assert!(said(look(&aws).await).contains("a file without a path"));

        let (aws, _) = group(vec![told()], vec![], (0..20_001).map(file).collect());
        assert!(said(look(&aws).await).contains("more than 20000 files"));
    }

    #[tokio::test]
    async fn coverage_without_files_counts_by_its_summary() {
        let summary = json!({"type": "CODE_COVERAGE", "codeCoverageSummary": {
            "linesCovered": 80, "linesMissed": 20, "branchesCovered": 1, "branchesMissed": 3,
        }});
        let (aws, _) = group(vec![report("1", BUILD, summary)], vec![], vec![]);
        let read = coverage(look(&aws).await);
        assert_eq!(
            (read.lines(), read.branches()),
            (Ratio::new(80, 100), Ratio::new(1, 4))
        );
    }

    async fn refused(group: &str, build: &str, status: u16, kind: &str) -> PortError {
        let error = json!({"__type": kind, "message": "AWS says so"});
        let (aws, _) = serve(move |_, _| (status, error.clone()));
        aws.build_reports(group, build).await.unwrap_err()
    }

    #[tokio::test]
    async fn an_error_says_whose_mistake_it_is() {
        for (group, build, status, kind, class, part) in [
            (
                GROUP,
                BUILD,
                400,
                "ResourceNotFoundException",
                Class::Misconfigured,
                "AWS says so",
            ),
            (
                GROUP,
                BUILD,
                400,
                "InvalidInputException",
                Class::Misconfigured,
                "AWS says so",
            ),
            (
                GROUP,
                BUILD,
                400,
                "AccessDeniedException",
                Class::Denied,
                "AWS says so",
            ),
            (
                GROUP,
                BUILD,
                400,
                "ThrottlingException",
                Class::Retryable,
                "AWS says so",
            ),
            (
                GROUP,
                BUILD,
                500,
                "InternalFailure",
                Class::Retryable,
                "AWS says so",
            ),
            (
                "shop-unit",
                BUILD,
                200,
                "",
                Class::Misconfigured,
                "write the group's ARN",
            ),
            (
                GROUP,
                "shop",
                200,
                "",
                Class::Misconfigured,
                "CODEBUILD_BUILD_ID",
            ),
            (
                GROUP,
                ":",
                200,
                "",
                Class::Misconfigured,
                "CODEBUILD_BUILD_ID",
            ),
        ] {
            let error = refused(group, build, status, kind).await;
            assert_eq!(error.class, class, "{kind}: {error}");
            assert!(error.to_string().contains(part), "{kind}: {error}");
        }
    }

    #[tokio::test]
    async fn a_groups_name_is_one_of_the_functions_own_account_and_region() {
        let (mut aws, calls) = group(vec![], vec![], vec![]);
        let prefix = GROUP.strip_suffix("shop-unit").unwrap();
        aws.report_groups = Some(prefix.to_owned());
        aws.build_reports("shop-unit", BUILD).await.unwrap();
        assert_eq!(calls.lock().unwrap()[0].1["reportGroupArn"], GROUP);
    }
}

mod scans {
    use super::*;

    fn image(version: &str) -> ImageRef {
        let uri = format!("123456789012.dkr.ecr.eu-west-1.amazonaws.com/shop/web{version}");
        ImageRef::parse(&uri).unwrap()
    }

    fn by_digest() -> ImageRef {
        image(&format!("@{DIGEST}"))
    }

    /// An image whose scan says this, with these findings of one kind.
    fn scan(status: &str, rest: Value, kind: &'static str, findings: Vec<Value>) -> (Aws, Calls) {
        let status = json!({"status": status, "description": "the reason"});
        serve(move |operation, call| match operation {
            "DescribeImages" => (
                200,
                json!({"imageDetails": [{"imageDigest": DIGEST, "imageTags": ["v1"]}]}),
            ),
            "DescribeImageScanFindings" => {
                assert_eq!(call["imageId"], json!({"imageDigest": DIGEST}));
                assert_eq!(call["registryId"], "123456789012");
                assert_eq!(call["repositoryName"], "shop/web");
                let mut page = page(call, kind, &findings);
                let token = page.as_object_mut().unwrap().remove("nextToken");
                page.as_object_mut()
                    .unwrap()
                    .extend(rest.as_object().unwrap().clone());
                let mut answer = json!({"imageScanStatus": status, "imageScanFindings": page});
                if let Some(token) = token {
                    answer["nextToken"] = token;
                }
                (200, answer)
            }
            other => panic!("{other} is not allowed"),
        })
    }

    fn done() -> Value {
        json!({"imageScanCompletedAt": 1_790_000_000.0, "findingSeverityCounts": {}})
    }

    fn findings(sourced: Sourced) -> FindingsReport {
        match kept(sourced).content {
            Content::Findings(findings) => findings,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn every_status_of_a_scan_is_waited_for_read_or_refused() {
        for (status, expected) in [
            ("COMPLETE", "read"),
            ("ACTIVE", "read"),
            ("IN_PROGRESS", "pending: the scan of shop/web@sha256:"),
            ("PENDING", "pending: the scan of"),
            ("FAILED", "unreadable: could not use the scan of"),
            ("UNSUPPORTED_IMAGE", "unreadable"),
            ("SCAN_ELIGIBILITY_EXPIRED", "unreadable"),
            ("FINDINGS_UNAVAILABLE", "unreadable"),
            ("LIMIT_EXCEEDED", "unreadable"),
            ("IMAGE_ARCHIVED", "unreadable"),
            ("ASLEEP", "unreadable"),
        ] {
            let (aws, _) = scan(status, done(), "findings", vec![]);
            let said = said(aws.image_findings(&by_digest()).await.unwrap());
            assert!(said.starts_with(expected), "{status}: {said}");
            let is_refused = expected.starts_with("unreadable");
            assert_eq!(
                said.contains(&format!("ECR calls it {status}: the reason")),
                is_refused
            );
        }
        let (aws, _) = serve(|_, _| (200, json!({})));
        let said = said(aws.image_findings(&by_digest()).await.unwrap());
        assert!(said.starts_with("pending"), "{said}");
    }

    #[tokio::test]
    async fn a_scan_that_is_complete_but_tells_nothing_yet_is_waited_for() {
        for status in ["COMPLETE", "ACTIVE"] {
            let (aws, _) = scan(status, json!({}), "findings", vec![]);
            let said = said(aws.image_findings(&by_digest()).await.unwrap());
            assert!(said.contains("what it found is not there yet"), "{said}");
        }
        let counted = json!({"findingSeverityCounts": {}});
        let (aws, _) = scan("ACTIVE", counted, "enhancedFindings", vec![]);
        assert!(
            findings(aws.image_findings(&by_digest()).await.unwrap())
                .listed
                .is_empty()
        );
    }

    #[tokio::test]
    async fn the_findings_of_ecrs_own_scan_are_read() {
        let told = |name: &str, severity: &str, attributes: Value| {
            json!({
                "name": name, "description": "Bad\nthing", "uri": "https://x", "severity": severity,
                "attributes": attributes,
            })
        };
        let package = json!([
            {"key": "package_version", "value": "5.6.1"}, {"key": "package_name", "value": "xz"},
            {"key": "CVSS3_SCORE", "value": "9.8"},
        ]);
        let scored = json!([
            {"key": "CVSS2_SCORE", "value": "4.3"}, {"key": "CVSS3_SCORE", "value": "7.5"},
            {"key": "CVSS3_VECTOR", "value": "9.9"}, {"key": "CVSS4_SCORE", "value": "NaN"},
        ]);
        let all = vec![
            told("CVE-1", "LOW", package),
            told("CVE-2", "UNDEFINED", scored),
            told("CVE-3", "INFORMATIONAL", json!([])),
            json!({}),
        ];
        let (aws, _) = scan("COMPLETE", done(), "findings", all);
        let kept = kept(aws.image_findings(&by_digest()).await.unwrap());
        assert_eq!(
            (kept.by, kept.name),
            (Keeper::Ecr, format!("shop/web@{DIGEST}"))
        );
        assert_eq!(kept.provenance.began.unwrap().as_second(), 1_790_000_000);
        let Content::Findings(report) = kept.content else {
            panic!("a scan has findings")
        };
        assert_eq!(report.tool, "Amazon ECR");
        let severities: Vec<_> = report
            .listed
            .iter()
            .map(|finding| finding.severity)
            .collect();
        let expected = [
            Severity::Low,
            Severity::High,
            Severity::Info,
            Severity::Unknown,
        ];
        assert_eq!(severities, expected);
        let first = &report.listed[0];
        assert_eq!(
            (first.id.as_str(), first.package.as_str()),
            ("CVE-1", "xz@5.6.1")
        );
        assert_eq!(
            (first.message.as_str(), first.path.as_str()),
            ("Bad", "shop/web")
        );
    }

    fn inspected(id: &str, severity: &str, rest: Value) -> Value {
        let mut finding = json!({
            "severity": severity, "status": "ACTIVE", "type": "PACKAGE_VULNERABILITY",
            "title": format!("{id} - xz"), "description": "Bad", "fixAvailable": "YES",
            "packageVulnerabilityDetails": {
                "vulnerabilityId": id, "relatedVulnerabilities": ["GHSA-1"],
                "cvss": [{"baseScore": 9.8, "version": "3.1"}],
                "vulnerablePackages": [
                    {"name": "xz", "version": "5.6.1", "release": "2", "epoch": 1, "fixedInVersion": "1:5.6.1-3"},
                    {"name": "liblzma", "version": "5.6.1", "epoch": 0, "fixedInVersion": "NotAvailable",
                     "filePath": "/app/lzma.jar"},
                ],
            },
        });
        finding
            .as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        finding
    }

    #[tokio::test]
    async fn the_findings_of_inspector_are_read_package_by_package() {
        let all = vec![
            inspected("CVE-1", "HIGH", json!({})),
            inspected(
                "CVE-2",
                "UNTRIAGED",
                json!({"status": "SUPPRESSED", "fixAvailable": "NO"}),
            ),
            inspected("CVE-3", "CRITICAL", json!({"status": "CLOSED"})),
            json!({"title": "hard-coded secret", "severity": "MEDIUM"}),
        ];
        let (aws, _) = scan("ACTIVE", done(), "enhancedFindings", all);
        let report = findings(aws.image_findings(&by_digest()).await.unwrap());
        assert_eq!(report.tool, "Amazon Inspector");
        let shown: Vec<_> = report
            .listed
            .iter()
            .map(|found| {
                (
                    found.id.as_str(),
                    found.package.as_str(),
                    found.fixed_in.as_str(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("CVE-1", "xz@1:5.6.1-2", "1:5.6.1-3"),
                ("CVE-1", "liblzma@5.6.1", "a newer version"),
                ("CVE-2", "xz@1:5.6.1-2", "1:5.6.1-3"),
                ("CVE-2", "liblzma@5.6.1", ""),
                ("hard-coded secret", "", ""),
            ]
        );
        assert_eq!(report.listed[1].path, "shop/web/app/lzma.jar");
        assert_eq!(report.listed[0].aliases, ["GHSA-1"]);
        assert_eq!(
            (report.listed[0].severity, report.listed[0].suppressed),
            (Severity::High, false)
        );
        let scored = &report.listed[2];
        assert_eq!(
            (scored.severity, scored.suppressed),
            (Severity::Critical, true)
        );
    }

    #[tokio::test]
    async fn a_tag_is_looked_up_once_and_the_scan_asked_for_by_digest() {
        let many =
            (0..450).map(|number| json!({"name": format!("CVE-{number}"), "severity": "HIGH"}));
        let (aws, calls) = scan("COMPLETE", done(), "findings", many.collect());
        let report = findings(aws.image_findings(&image(":v1")).await.unwrap());
        assert_eq!(report.listed.len(), 450);
        let scans = ["DescribeImageScanFindings"; 3];
        assert_eq!(
            operations(&calls),
            [&["DescribeImages"], &scans[..]].concat()
        );
        let calls = calls.lock().unwrap();
        assert_eq!(calls[0].1["imageIds"], json!([{"imageTag": "v1"}]));
    }

    #[tokio::test]
    async fn findings_that_are_only_counted_count() {
        let counts = json!({"imageScanCompletedAt": 1.0, "findingSeverityCounts": {
            "CRITICAL": 3, "HIGH": 1, "LOW": -5, "UNDEFINED": 2,
        }});
        let all = vec![
            json!({"name": "CVE-1", "severity": "CRITICAL"}),
            json!({"name": "CVE-2", "severity": "HIGH"}),
            json!({"name": "CVE-3", "severity": "HIGH"}),
        ];
        let (aws, _) = scan("COMPLETE", counts, "findings", all);
        let report = findings(aws.image_findings(&by_digest()).await.unwrap());
        assert_eq!(report.listed.len(), 3);
        let expected = BTreeMap::from([(Severity::Critical, 2), (Severity::Unknown, 2)]);
        assert_eq!(report.unlisted, expected);
    }

    #[tokio::test]
    async fn a_scan_without_end_is_given_up_and_counts_by_its_counts() {
        let (aws, calls) = serve(|_, _| {
            let counts = json!({"HIGH": 1_000_000});
            let findings = json!([{"name": "CVE-1", "severity": "HIGH"}]);
            let told = json!({"findings": findings, "findingSeverityCounts": counts});
            let status = json!({"status": "COMPLETE"});
            let answer =
                json!({"imageScanStatus": status, "imageScanFindings": told, "nextToken": "x"});
            (200, answer)
        });
        let report = findings(aws.image_findings(&by_digest()).await.unwrap());
        assert_eq!(operations(&calls).len(), 100);
        assert_eq!(report.unlisted[&Severity::High], 1_000_000 - 100);
    }

    #[tokio::test]
    async fn a_scan_that_has_not_begun_is_waited_for() {
        let error = json!({"__type": "ScanNotFoundException", "message": "no"});
        let (aws, _) = serve(move |_, _| (400, error.clone()));
        let said = said(aws.image_findings(&by_digest()).await.unwrap());
        assert!(
            said.starts_with("pending: the scan of shop/web@sha256:"),
            "{said}"
        );
        assert!(said.contains("scanning must be on"), "{said}");
    }

    #[tokio::test]
    async fn an_error_says_whose_mistake_it_is() {
        for (status, kind, class, part) in [
            (
                400,
                "ImageNotFoundException",
                Class::Misconfigured,
                "push it before this action",
            ),
            (
                400,
                "RepositoryNotFoundException",
                Class::Misconfigured,
                "account 123456789012",
            ),
            (400, "AccessDeniedException", Class::Denied, "AWS says so"),
            (400, "ThrottlingException", Class::Retryable, "AWS says so"),
            (500, "ServerException", Class::Retryable, "AWS says so"),
        ] {
            for image in [by_digest(), image(":v1")] {
                let error = json!({"__type": kind, "message": "AWS says so"});
                let (aws, _) = serve(move |_, _| (status, error.clone()));
                let error = aws.image_findings(&image).await.unwrap_err();
                assert_eq!(error.class, class, "{kind}: {error}");
                assert!(error.to_string().contains(part), "{kind}: {error}");
            }
        }
        let (aws, _) = serve(|_, _| (200, json!({"imageDetails": []})));
        let error = aws.image_findings(&image(":v1")).await.unwrap_err();
        assert_eq!(error.class, Class::Retryable);
    }

    #[tokio::test]
    async fn hostile_values_are_bounded_and_fit_to_print() {
        let hostile = inspected(
            &"\u{1b}[2Jx".repeat(2_000),
            "\u{202e}",
            json!({"score": 1e308}),
        );
        let mut packages = hostile.clone();
        let package = json!({"name": "y".repeat(9_000), "epoch": i32::MIN});
        packages["packageVulnerabilityDetails"]["vulnerablePackages"] = json!(vec![package; 1_000]);
        let late =
            json!({"imageScanCompletedAt": 1e15, "findingSeverityCounts": {"HIGH": i32::MAX}});
        let (aws, _) = scan("ACTIVE", late, "enhancedFindings", vec![hostile, packages]);
        let kept = kept(aws.image_findings(&by_digest()).await.unwrap());
        assert_eq!(kept.provenance.began, None);
        let Content::Findings(report) = kept.content else {
            panic!("a scan has findings")
        };
        assert_eq!(report.listed.len(), 102);
        for finding in &report.listed {
            assert!(finding.id.chars().count() <= 201 && !finding.id.contains('\u{1b}'));
            assert!(finding.package.chars().count() <= 201);
        }
    }
}
