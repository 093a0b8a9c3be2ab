//! A vulnerability was found in an image that is being released: by ECR's own scan, which tells how
//! many of each severity, or by Amazon Inspector, which tells of each. The release's plan says how
//! bad one must be.

use std::collections::BTreeMap;

use reports::Severity;
use serde::Deserialize;

use super::{HeededBy, OutsideEvent, RollbackRequest, SourceError, words};
use crate::gate::is_digest;
use crate::{Reason, watches};

/// The most resources of one finding (Inspector's API reference, `Finding.resources`).
const RESOURCES_MAX: usize = 10;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Scan {
    scan_status: String,
    repository_name: String,
    image_digest: String,
    /// Severities without findings are left out; all of them where the scan failed.
    #[serde(default)]
    finding_severity_counts: BTreeMap<String, u64>,
}

/// `ECR Image Scan`.
pub(super) fn scan(event: &OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError> {
    let scan: Scan = event.detail()?;
    if scan.scan_status != "COMPLETE" {
        return Ok(None);
    }
    let counts = scan.finding_severity_counts.iter();
    let found = counts.filter(|(_, count)| **count > 0);
    let worst = found
        .map(|(word, count)| (Severity::of_word(word), *count))
        .max_by_key(|(severity, _)| *severity);
    let Some((severity, count)) = worst else {
        return Ok(None);
    };
    if !is_digest(&scan.image_digest) {
        return Err(event.malformed("its image-digest is none"));
    }
    let what = format!(
        "ECR's scan found vulnerabilities in {}@{}, {count} of them {}",
        scan.repository_name,
        scan.image_digest,
        severity.name()
    );
    Ok(Some(RollbackRequest {
        watches: vec![watches::image(&scan.image_digest)],
        at: event.latest(),
        because: Reason::Happened { what: words(what) },
        heeded_by: HeededBy::PlansAgainst(severity),
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Finding {
    status: String,
    severity: String,
    #[serde(default)]
    title: Option<String>,
    #[serde(default)]
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    #[serde(default)]
    details: Details,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Details {
    #[serde(default)]
    aws_ecr_container_image: Option<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    #[serde(default)]
    repository_name: String,
    image_hash: String,
}

/// `Inspector2 Finding`. One that is suppressed or closed is none.
pub(super) fn finding(event: &OutsideEvent<'_>) -> Result<Option<RollbackRequest>, SourceError> {
    let finding: Finding = event.detail()?;
    if finding.status != "ACTIVE" {
        return Ok(None);
    }
    let resources = finding.resources.into_iter().take(RESOURCES_MAX);
    let images = resources.filter_map(|resource| resource.details.aws_ecr_container_image);
    let images: Vec<_> = images
        .filter(|image| is_digest(&image.image_hash))
        .collect();
    let Some(first) = images.first() else {
        return Ok(None); // of an instance or a function
    };
    let severity = Severity::of_word(&finding.severity);
    let what = format!(
        "Amazon Inspector has a {} finding in {}@{}: {}",
        severity.name(),
        first.repository_name,
        first.image_hash,
        finding.title.as_deref().unwrap_or("without a title")
    );
    let names = images.iter().map(|image| watches::image(&image.image_hash));
    Ok(Some(RollbackRequest {
        watches: names.collect(),
        at: event.latest(),
        because: Reason::Happened { what: words(what) },
        heeded_by: HeededBy::PlansAgainst(severity),
    }))
}
