//! CodeBuild's report groups: JSON 1.1, shapes and errors of its API model (2016-10-06).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{All, Page, listed};
use crate::json_api::{ApiError, read};

/// What the header `X-Amz-Target` begins with.
pub(super) const TARGET: &str = "CodeBuild_20161006.";

/// CodeBuild gives at most so many of anything in one answer.
const PAGE_MAX: usize = 100;
const INVALID: &str = "InvalidInputException";
const MISSING: &str = "ResourceNotFoundException";

/// A report group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ReportGroup {
    /// `arn:aws:codebuild:REGION:ACCOUNT:report-group/NAME`.
    pub arn: String,
    /// Its reports; those with the latest `created` are told first.
    #[serde(default)]
    pub reports: Vec<BuildReport>,
}

/// One report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BuildReport {
    /// CodeBuild's `Report`: `arn`, `type`, `status`, `executionId`, `created` (seconds since
    /// 1970), `testSummary`, and so on.
    pub report: Value,
    /// CodeBuild's `TestCase`s.
    #[serde(default)]
    pub test_cases: Vec<Value>,
    /// CodeBuild's `CodeCoverage`s.
    #[serde(default)]
    pub code_coverages: Vec<Value>,
}

impl BuildReport {
    fn arn(&self) -> &str {
        self.report["arn"].as_str().unwrap_or_default()
    }

    fn created(&self) -> f64 {
        self.report["created"].as_f64().unwrap_or(0.0)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListReports {
    report_group_arn: String,
    sort_order: Option<String>,
    #[serde(flatten)]
    page: Page,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BatchGet {
    report_arns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfReport {
    report_arn: String,
    #[serde(flatten)]
    page: Page,
}

pub(super) fn call(all: &All, operation: &str, body: &[u8]) -> Result<Value, ApiError> {
    match operation {
        "ListReportsForReportGroup" => list(all, &read(body)?),
        "BatchGetReports" => batch_get(all, &read(body)?),
        "DescribeTestCases" => {
            let asked: OfReport = read(body)?;
            let report = find(all, &asked.report_arn)
                .ok_or_else(|| ApiError::new(MISSING, "the report does not exist"))?;
            let page = asked.page.of(&report.test_cases, PAGE_MAX, INVALID)?;
            Ok(listed("testCases", page))
        }
        "DescribeCodeCoverages" => {
            let asked: OfReport = read(body)?;
            let report = find(all, &asked.report_arn)
                .ok_or_else(|| ApiError::new(INVALID, "the report does not exist"))?;
            let page = asked.page.of(&report.code_coverages, PAGE_MAX, INVALID)?;
            Ok(listed("codeCoverages", page))
        }
        other => Err(ApiError::unknown(other)),
    }
}

fn list(all: &All, asked: &ListReports) -> Result<Value, ApiError> {
    let group = all.groups.get(&asked.report_group_arn);
    let group = group.ok_or_else(|| ApiError::new(MISSING, "the report group does not exist"))?;
    let mut reports: Vec<_> = group.reports.iter().collect();
    reports.sort_by(|a, b| b.created().total_cmp(&a.created()));
    if asked.sort_order.as_deref() == Some("ASCENDING") {
        reports.reverse();
    }
    let arns: Vec<_> = reports.iter().map(|report| report.arn()).collect();
    let page = asked.page.of(&arns, PAGE_MAX, INVALID)?;
    Ok(listed("reports", page))
}

fn batch_get(all: &All, asked: &BatchGet) -> Result<Value, ApiError> {
    let arns = &asked.report_arns;
    if !(1..=PAGE_MAX).contains(&arns.len()) {
        let told = format!("reportArns must be 1 to {PAGE_MAX}");
        return Err(ApiError::new(INVALID, told));
    }
    let found = arns.iter().filter_map(|arn| Some(&find(all, arn)?.report));
    let found: Vec<_> = found.collect();
    let missing: Vec<_> = arns.iter().filter(|arn| find(all, arn).is_none()).collect();
    Ok(json!({"reports": found, "reportsNotFound": missing}))
}

fn find<'a>(all: &'a All, arn: &str) -> Option<&'a BuildReport> {
    let mut reports = all.groups.values().flat_map(|group| &group.reports);
    reports.find(|report| report.arn() == arn)
}
