//! The reports of one build in a CodeBuild report group. What CodeBuild claims beyond what it lists
//! counts where it is failure, and its lists are cut at 500 test cases a report (its user guide,
//! test reports), so the summary is always asked too.

use aws_sdk_codebuild::types::{
    CodeCoverageReportSummary, Report, ReportStatusType, ReportType, SortOrderType,
    TestCase as Case, TestReportSummary,
};
use engine::{Class, PortError, Sourced};
use release::gate::{Found, Keeper, Kept};
use reports::{Content, CoverageReport, Outcome, Provenance, Ratio, TestCase, TestReport, Totals};

use super::instant;
use crate::error::failed;
use crate::{Aws, REPORT_GROUPS_VARIABLE};

/// The most that CodeBuild puts on one page of anything.
const PAGE: i32 = 100;
/// How many pages of a group's newest reports are searched for those of the build.
const REPORT_PAGES_MAX: usize = 5;
/// How many pages of cases are read: twice what CodeBuild keeps.
const CASE_PAGES_MAX: usize = 10;
/// How many pages of files are read of a report of coverage.
const FILE_PAGES_MAX: usize = 200;

/// Looks for the reports of `build` in `group`.
pub(super) async fn look(aws: &Aws, group: &str, build: &str) -> Result<Sourced, PortError> {
    let name = group.rsplit('/').next().unwrap_or(group);
    let doing = || format!("read the reports of build {build} in report group {name}");
    if !is_build(build) {
        let why = "that is no build: pass \"build\":\"#{BuildVariables.CODEBUILD_BUILD_ID}\" in \
                   UserParameters, with the namespace of the build action";
        return Err(PortError::new(Class::Misconfigured, doing(), why));
    }
    let arn = arn_of(group, aws.report_groups.as_deref())
        .map_err(|why| PortError::new(Class::Misconfigured, doing(), why))?;
    let reports = of_build(aws, &arn, build, &doing).await?;
    if reports.is_empty() {
        let what = format!(
            "a report of build {build} in report group {name} (there is none so far; the \
             buildspec's `reports` must name the group)"
        );
        return Ok(Sourced::Pending { what });
    }
    let mut found = Vec::new();
    for report in &reports {
        match report.status() {
            None | Some(ReportStatusType::Generating) => {
                let what = format!("report {} to be generated", shown(report));
                return Ok(Sourced::Pending { what });
            }
            Some(status) => found.push(read(aws, report, status, &doing).await?),
        }
    }
    Ok(Sourced::Found(found))
}

/// `PROJECT:ID`, or the ARN of it.
fn is_build(build: &str) -> bool {
    let id = build.rsplit_once(":build/").map_or(build, |(_, id)| id);
    let parts = id.split_once(':');
    parts.is_some_and(|(project, id)| !project.is_empty() && !id.is_empty())
}

/// Whether the ARN of what made a report is that of this build.
fn is_of(execution: &str, build: &str) -> bool {
    let id = execution.rsplit_once(":build/").map(|(_, id)| id);
    execution == build || id == Some(build)
}

/// The group's ARN. `prefix` is that of every group in the function's account and region.
fn arn_of(group: &str, prefix: Option<&str>) -> Result<String, String> {
    match (group.starts_with("arn:"), prefix) {
        (true, _) => Ok(group.to_owned()),
        (false, Some(prefix)) => Ok(format!("{prefix}{group}")),
        (false, None) => Err(format!(
            "{REPORT_GROUPS_VARIABLE} is not set: write the group's ARN, or deploy the stack's \
             template"
        )),
    }
}

/// The reports of the build: one, unless the build wrote to the group more than once. The newest
/// come first, so nothing is read beyond the page that has one.
async fn of_build(
    aws: &Aws,
    group: &str,
    build: &str,
    doing: &impl Fn() -> String,
) -> Result<Vec<Report>, PortError> {
    let mut token = None;
    for _ in 0..REPORT_PAGES_MAX {
        let call = aws.codebuild().list_reports_for_report_group();
        let page = call
            .report_group_arn(group)
            .sort_order(SortOrderType::Descending)
            .max_results(PAGE)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| named_wrongly(failed(doing(), error)))?;
        if !page.reports().is_empty() {
            let call = aws.codebuild().batch_get_reports();
            let call = call.set_report_arns(page.reports);
            let batch = call.send().await.map_err(|e| failed(doing(), e))?;
            let mut reports = batch.reports.unwrap_or_default();
            reports.retain(|report| {
                let execution = report.execution_id();
                execution.is_some_and(|execution| is_of(execution, build))
            });
            if !reports.is_empty() {
                return Ok(reports);
            }
        }
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    Ok(Vec::new())
}

/// A group that is not there is the configuration's mistake.
fn named_wrongly(mut error: PortError) -> PortError {
    if error.said("ResourceNotFoundException") || error.said("InvalidInputException") {
        error.class = Class::Misconfigured;
    }
    error
}

/// What people know a report by: `GROUP:ID`.
fn shown(report: &Report) -> &str {
    let arn = report.arn().unwrap_or_default();
    arn.rsplit('/').next().unwrap_or(arn)
}

/// Reads one report that is not being made any more.
async fn read(
    aws: &Aws,
    report: &Report,
    status: &ReportStatusType,
    doing: &impl Fn() -> String,
) -> Result<Found, PortError> {
    let content = match (status, report.r#type()) {
        (ReportStatusType::Succeeded | ReportStatusType::Failed, Some(ReportType::Test)) => {
            tests(aws, report, doing).await?
        }
        (ReportStatusType::Succeeded, Some(ReportType::CodeCoverage)) => {
            coverage(aws, report, doing).await?
        }
        (status, kind) => Err(format!(
            "CodeBuild calls it {} (a report of {}): see the build's log for why it could not be \
             processed",
            status.as_str(),
            kind.map_or("unknown type", ReportType::as_str)
        )),
    };
    let content = content.and_then(|content| match &content {
        Content::Tests(tests)
            if *status == ReportStatusType::Failed && tests.totals.failing() == 0 =>
        {
            Err("CodeBuild calls it FAILED, but lists no test that failed".to_owned())
        }
        Content::Tests(_) | Content::Coverage(_) | Content::Findings(_) => Ok(content),
    });
    Ok(match content {
        Ok(content) => Found::Kept(Kept {
            by: Keeper::CodeBuild,
            name: shown(report).to_owned(),
            content,
            provenance: Provenance::of(instant(report.created())),
        }),
        Err(why) => Found::Unreadable {
            why: format!("could not use report {}: {why}", shown(report)),
        },
    })
}

/// A report's content, or why it has none that could be used.
type Read = Result<Content, String>;

async fn tests(aws: &Aws, report: &Report, doing: &impl Fn() -> String) -> Result<Read, PortError> {
    let mut tests = TestReport::default();
    let (mut token, mut is_cut) = (None, false);
    for page in 1..=CASE_PAGES_MAX {
        let call = aws.codebuild().describe_test_cases();
        let answer = call
            .set_report_arn(report.arn.clone())
            .max_results(PAGE)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| failed(doing(), error))?;
        for case in answer.test_cases() {
            let case = test_case(case);
            tests.duration_seconds += case.seconds.unwrap_or(0.0);
            tests.count(case);
        }
        token = answer.next_token;
        if token.is_none() {
            break;
        }
        is_cut = page == CASE_PAGES_MAX;
    }
    is_cut |= report.truncated().unwrap_or(false);
    Ok(match report.test_summary() {
        Some(summary) => {
            add_claims(&mut tests, summary, report);
            Ok(Content::Tests(tests))
        }
        None if is_cut => Err("it is truncated and has no summary".to_owned()),
        None => Ok(Content::Tests(tests)),
    })
}

fn test_case(case: &Case) -> TestCase {
    let part = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let (suite, class) = (part(case.test_suite_name()), part(case.prefix()));
    let status = case.status().unwrap_or("UNKNOWN");
    TestCase {
        outcome: outcome(status),
        seconds: case.duration_in_nano_seconds().map(seconds),
        ..TestCase::named(&suite, &class, case.name().unwrap_or_default())
            .saying(case.message().unwrap_or_default())
    }
}

/// Nobody knows that a test passed whose outcome is not known.
fn outcome(status: &str) -> Outcome {
    match status {
        "SUCCEEDED" => Outcome::Passed,
        "SKIPPED" => Outcome::Skipped,
        "FAILED" => Outcome::Failed,
        _ => Outcome::Errored, // ERROR, UNKNOWN, and whatever CodeBuild may add
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a test's time needs no nanoseconds"
)]
fn seconds(nanos: i64) -> f64 {
    nanos.max(0) as f64 / 1e9
}

/// Counts what the summary claims beyond the cases that are listed. A test that it counts in total
/// but under no outcome may have failed.
fn add_claims(tests: &mut TestReport, summary: &TestReportSummary, report: &Report) {
    let mut claimed = Totals::default();
    for (status, count) in summary.status_counts() {
        let count = u64::try_from(*count).unwrap_or(0);
        let sum = match outcome(status) {
            Outcome::Passed => &mut claimed.passed,
            Outcome::Skipped => &mut claimed.skipped,
            Outcome::Failed => &mut claimed.failed,
            Outcome::Errored => &mut claimed.errors,
        };
        *sum = sum.saturating_add(count);
    }
    let listed = tests.totals;
    let mut more = Totals {
        passed: claimed.passed.saturating_sub(listed.passed),
        skipped: claimed.skipped.saturating_sub(listed.skipped),
        failed: claimed.failed.saturating_sub(listed.failed),
        errors: claimed.errors.saturating_sub(listed.errors),
        ..Totals::default()
    };
    let known = more.passed + more.skipped + more.failed + more.errors;
    let total = u64::try_from(summary.total()).unwrap_or(0);
    let untold = total.saturating_sub(listed.tests.saturating_add(known));
    more.errors += untold;
    more.tests = known + untold;
    if summary.duration_in_nano_seconds() > 0 {
        tests.duration_seconds = seconds(summary.duration_in_nano_seconds());
    }
    if more.tests > 0 {
        let name = report.name().unwrap_or_default();
        let told = format!(
            "({} more tests, {} failed, {} errors)",
            more.tests, more.failed, more.errors
        );
        let message = format!(
            "CodeBuild lists {} of this report's cases; the others count by its summary",
            listed.tests
        );
        let told = TestCase {
            outcome: worst(more),
            ..TestCase::named(name, "", &told).saying(&message)
        };
        tests.count_unlisted(more, told);
    }
}

fn worst(totals: Totals) -> Outcome {
    match totals {
        Totals { errors: 1.., .. } => Outcome::Errored,
        Totals { failed: 1.., .. } => Outcome::Failed,
        Totals { passed: 1.., .. } => Outcome::Passed,
        Totals { .. } => Outcome::Skipped,
    }
}

async fn coverage(
    aws: &Aws,
    report: &Report,
    doing: &impl Fn() -> String,
) -> Result<Read, PortError> {
    let mut coverage = CoverageReport::default();
    let mut token = None;
    for _ in 0..FILE_PAGES_MAX {
        let call = aws.codebuild().describe_code_coverages();
        let page = call
            .set_report_arn(report.arn.clone())
            .max_results(PAGE)
            .set_next_token(token)
            .send()
            .await
            .map_err(|error| failed(doing(), error))?;
        for file in page.code_coverages() {
            let Some(path) = file.file_path() else {
                return Ok(Err("it has a file without a path".to_owned()));
            };
            let lines = ratio(file.lines_covered(), file.lines_missed());
            let branches = ratio(file.branches_covered(), file.branches_missed());
            if let Err(error) = coverage.add_counted(path, lines, branches) {
                return Ok(Err(error.to_string()));
            }
        }
        token = page.next_token;
        if token.is_none() {
            return Ok(whole(coverage, report.code_coverage_summary()));
        }
    }
    let most = FILE_PAGES_MAX * usize::try_from(PAGE).unwrap_or(0);
    Ok(Err(format!(
        "it has more than {most} files: leave generated code out of the report"
    )))
}

/// A report that lists no files is known by its summary only.
fn whole(coverage: CoverageReport, summary: Option<&CodeCoverageReportSummary>) -> Read {
    let lists_files = coverage.files().next().is_some();
    let coverage = match summary {
        _ if lists_files => coverage,
        Some(summary) => CoverageReport::of_whole(
            ratio(summary.lines_covered(), summary.lines_missed()),
            ratio(summary.branches_covered(), summary.branches_missed()),
        ),
        None => return Err("it has neither files nor a summary".to_owned()),
    };
    Ok(Content::Coverage(coverage))
}

fn ratio(covered: Option<i32>, missed: Option<i32>) -> Ratio {
    let count = |count: Option<i32>| u64::try_from(count.unwrap_or(0)).unwrap_or(0);
    let covered = count(covered);
    Ratio::new(covered, covered + count(missed))
}
