//! What ECR's scan of an image found: its own basic scan, or Amazon Inspector's, which ECR hands
//! out as `enhancedFindings`. Events about scans are best effort (ECR's user guide, EventBridge), so
//! the gate asks.

use std::collections::BTreeMap;

use aws_sdk_ecr::config::{Config, Region};
use aws_sdk_ecr::operation::describe_image_scan_findings::DescribeImageScanFindingsOutput;
use aws_sdk_ecr::types::{
    EnhancedImageScanFinding, ImageIdentifier, ImageScanFinding, ImageScanFindings, ScanStatus,
    VulnerablePackage,
};
use engine::{Class, PortError, Sourced};
use release::gate::{Found, ImageRef, ImageVersion, Keeper, Kept};
use reports::{Content, Finding, FindingsReport, Provenance, Severity};

use super::instant;
use crate::Aws;
use crate::error::{failed, odd_answer};

/// Findings on one page.
const PAGE: i32 = 200;
/// How many pages are read; the findings beyond count by ECR's own counts.
const PAGES_MAX: usize = 100;
/// How many packages of one finding are listed.
const PACKAGES_MAX: usize = 100;

/// Looks at the scan of one image.
pub(super) async fn look(aws: &Aws, image: &ImageRef) -> Result<Sourced, PortError> {
    let doing = || format!("read the scan of {image}");
    let digest = match &image.version {
        ImageVersion::Digest(digest) => digest.clone(),
        ImageVersion::Tag(tag) => digest_of(aws, image, tag).await?,
    };
    let mut scan = Scan::default();
    let mut token = None;
    for _ in 0..PAGES_MAX {
        let call = aws.ecr().describe_image_scan_findings();
        let call = call
            .registry_id(&image.registry)
            .repository_name(&image.repository)
            .image_id(ImageIdentifier::builder().image_digest(&digest).build())
            .max_results(PAGE)
            .set_next_token(token);
        let answer = call.customize().config_override(of_region(aws, image));
        let page = match answer.send().await.map_err(|e| failed(doing(), e)) {
            Ok(page) => page,
            Err(error) if error.said("ScanNotFoundException") => {
                let what = format!(
                    "the scan of {image} (none has begun; scanning must be on for the \
                     repository, and an index of several platforms has no scan of its own)"
                );
                return Ok(Sourced::Pending { what });
            }
            Err(error) => return Err(not_there(error, image)),
        };
        match standing(&page) {
            Standing::Done => scan.add(page.image_scan_findings.as_ref(), image),
            Standing::Pending(state) => {
                let what = format!("the scan of {image} ({state})");
                return Ok(Sourced::Pending { what });
            }
            Standing::Failed(why) => {
                let why = format!("could not use the scan of {image}: {why}");
                return Ok(Sourced::Found(vec![Found::Unreadable { why }]));
            }
        }
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    Ok(Sourced::Found(vec![scan.finish(image)]))
}

/// The digest of the image that has this tag now.
async fn digest_of(aws: &Aws, image: &ImageRef, tag: &str) -> Result<String, PortError> {
    let doing = || format!("find the image {image}");
    let call = aws.ecr().describe_images();
    let call = call
        .registry_id(&image.registry)
        .repository_name(&image.repository)
        .image_ids(ImageIdentifier::builder().image_tag(tag).build());
    let answer = call.customize().config_override(of_region(aws, image));
    let answer = answer.send().await;
    let answer = answer.map_err(|e| not_there(failed(doing(), e), image))?;
    let detail = answer.image_details().first();
    let digest = detail.and_then(|detail| detail.image_digest());
    let digest = digest.ok_or_else(|| odd_answer(doing(), "it has no digest"))?;
    Ok(digest.to_owned())
}

/// An image is asked for where it is.
fn of_region(aws: &Aws, image: &ImageRef) -> aws_sdk_ecr::config::Builder {
    let is_here = aws.sdk.region().map(Region::as_ref) == Some(&image.region);
    let region = (!is_here).then(|| Region::new(image.region.clone()));
    let mut config = Config::builder();
    config.set_region(region);
    config
}

/// An image that is not there is the pipeline's mistake.
fn not_there(error: PortError, image: &ImageRef) -> PortError {
    let is_missing =
        error.said("ImageNotFoundException") || error.said("RepositoryNotFoundException");
    match is_missing {
        true => PortError::new(
            Class::Misconfigured,
            error.doing,
            format!(
                "there is no such image in account {} and region {}: push it before this action, \
                 and name it in the file that `image-scan` names",
                image.registry, image.region
            ),
        ),
        false => error,
    }
}

/// How far a scan is.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// It has found what it finds.
    Done,
    /// It goes on.
    Pending(String),
    /// It will find nothing.
    Failed(String),
}

/// For some time ECR calls a scan COMPLETE before it knows anything of it, so a scan that tells
/// neither when it was done nor a count nor a finding is not done.
fn standing(page: &DescribeImageScanFindingsOutput) -> Standing {
    let told = page.image_scan_status();
    let Some(status) = told.and_then(|told| told.status()) else {
        return Standing::Pending("ECR does not say how far it is".to_owned());
    };
    let described = told
        .and_then(|told| told.description())
        .unwrap_or("no reason given");
    match status {
        ScanStatus::Complete | ScanStatus::Active if tells(page.image_scan_findings()) => {
            Standing::Done
        }
        ScanStatus::Complete | ScanStatus::Active => Standing::Pending(format!(
            "{}, but what it found is not there yet",
            status.as_str()
        )),
        ScanStatus::InProgress | ScanStatus::Pending => {
            Standing::Pending(status.as_str().to_owned())
        }
        // FAILED, UNSUPPORTED_IMAGE, SCAN_ELIGIBILITY_EXPIRED, FINDINGS_UNAVAILABLE,
        // LIMIT_EXCEEDED, IMAGE_ARCHIVED, and whatever ECR may add: no findings will come.
        other => Standing::Failed(format!("ECR calls it {}: {described}", other.as_str())),
    }
}

fn tells(findings: Option<&ImageScanFindings>) -> bool {
    findings.is_some_and(|told| {
        told.image_scan_completed_at().is_some()
            || told.finding_severity_counts().is_some()
            || !told.findings().is_empty()
            || !told.enhanced_findings().is_empty()
    })
}

/// What the pages so far add up to.
#[derive(Debug, Default)]
struct Scan {
    report: FindingsReport,
    provenance: Provenance,
    /// How many findings were told, by what ECR calls their severity.
    told: BTreeMap<Severity, u64>,
    /// How many there are, by ECR's own counts.
    claimed: BTreeMap<Severity, u64>,
}

impl Scan {
    fn add(&mut self, page: Option<&ImageScanFindings>, image: &ImageRef) {
        let Some(page) = page else {
            return;
        };
        self.provenance = Provenance::of(instant(page.image_scan_completed_at()));
        let counts = page.finding_severity_counts().into_iter().flatten();
        let mut claimed = BTreeMap::new();
        for (severity, count) in counts {
            let sum: &mut u64 = claimed.entry(of_word(Some(severity.as_str()))).or_default();
            *sum = sum.saturating_add(u64::try_from(*count).unwrap_or(0));
        }
        for (severity, count) in claimed {
            let most = self.claimed.entry(severity).or_default();
            *most = count.max(*most);
        }
        for finding in page.findings() {
            let word = finding.severity().map(|severity| severity.as_str());
            *self.told.entry(of_word(word)).or_default() += 1;
            self.list("Amazon ECR", basic(finding, image));
        }
        for finding in page.enhanced_findings() {
            *self.told.entry(of_word(finding.severity())).or_default() += 1;
            // What Inspector has closed is not in the image any more.
            if finding.status() != Some("CLOSED") {
                for finding in enhanced(finding, image) {
                    self.list("Amazon Inspector", finding);
                }
            }
        }
    }

    fn list(&mut self, tool: &str, finding: Finding) {
        if self.report.tool.is_empty() {
            tool.clone_into(&mut self.report.tool);
        }
        self.report.add(finding);
    }

    /// Findings that ECR counts but does not tell count too.
    fn finish(mut self, image: &ImageRef) -> Found {
        for (severity, claimed) in self.claimed {
            let told = self.told.get(&severity).copied().unwrap_or(0);
            if claimed > told {
                self.report.more(severity, claimed - told);
            }
        }
        if self.report.tool.is_empty() {
            "Amazon ECR".clone_into(&mut self.report.tool);
        }
        Found::Kept(Kept {
            by: Keeper::Ecr,
            name: image.to_string(),
            content: Content::Findings(self.report),
            provenance: self.provenance,
        })
    }
}

fn of_word(word: Option<&str>) -> Severity {
    Severity::of_word(word.unwrap_or_default())
}

/// What the scanner calls it; when it does not say, the worst of its scores.
fn severity(word: Option<&str>, scores: impl IntoIterator<Item = f64>) -> Severity {
    match of_word(word) {
        Severity::Unknown => {
            let scored = scores.into_iter().filter_map(Severity::of_score).max();
            scored.unwrap_or(Severity::Unknown)
        }
        told => told,
    }
}

/// A finding of ECR's own scan. It does not say which version mends it.
fn basic(finding: &ImageScanFinding, image: &ImageRef) -> Finding {
    let attribute = |key: &str| {
        let mut attributes = finding.attributes().iter();
        let found = attributes.find(|attribute| attribute.key() == key);
        found
            .and_then(|attribute| attribute.value())
            .unwrap_or_default()
    };
    let scores = finding.attributes().iter().filter_map(|attribute| {
        let is_score = attribute.key().starts_with("CVSS") && attribute.key().ends_with("_SCORE");
        attribute.value().filter(|_| is_score)?.parse().ok()
    });
    Finding {
        id: finding.name().unwrap_or("(no name)").to_owned(),
        severity: severity(finding.severity().map(|severity| severity.as_str()), scores),
        message: finding.description().unwrap_or_default().to_owned(),
        path: image.repository.clone(),
        package: at_version(attribute("package_name"), attribute("package_version")),
        ..Finding::default()
    }
}

/// A finding of Inspector, once for each package that has it.
fn enhanced(finding: &EnhancedImageScanFinding, image: &ImageRef) -> Vec<Finding> {
    let details = finding.package_vulnerability_details();
    let cvss = details.map(|details| details.cvss()).unwrap_or_default();
    let scores = cvss.iter().map(|score| score.base_score());
    let scores = scores.chain([finding.score()]).filter(|score| *score > 0.0);
    let id = details.and_then(|details| details.vulnerability_id());
    let id = id.or(finding.title()).unwrap_or("(no name)");
    let message = finding.description().or(finding.title());
    let alone = Finding {
        id: id.to_owned(),
        aliases: details.map_or_else(Vec::new, |details| {
            details.related_vulnerabilities().to_vec()
        }),
        severity: severity(finding.severity(), scores),
        message: message.unwrap_or_default().to_owned(),
        path: image.repository.clone(),
        suppressed: finding.status() == Some("SUPPRESSED"),
        ..Finding::default()
    };
    let packages = details.map(|details| details.vulnerable_packages());
    let packages = packages.unwrap_or_default();
    if packages.is_empty() {
        return vec![alone];
    }
    let is_fixable = finding.fix_available() == Some("YES");
    let packages = packages.iter().take(PACKAGES_MAX);
    packages
        .map(|package| Finding {
            path: path(image, package),
            package: at_version(package.name().unwrap_or_default(), &version(package)),
            fixed_in: fixed_in(package, is_fixable),
            ..alone.clone()
        })
        .collect()
}

/// The repository, and the file in the image where the package is a file's.
fn path(image: &ImageRef, package: &VulnerablePackage) -> String {
    match package.file_path() {
        Some(file) => format!("{}/{}", image.repository, file.trim_start_matches('/')),
        None => image.repository.clone(),
    }
}

fn at_version(name: &str, version: &str) -> String {
    match (name.is_empty(), version.is_empty()) {
        (true, _) => String::new(),
        (false, true) => name.to_owned(),
        (false, false) => format!("{name}@{version}"),
    }
}

/// As package managers write it: `EPOCH:VERSION-RELEASE`.
fn version(package: &VulnerablePackage) -> String {
    let mut text = package.version().unwrap_or_default().to_owned();
    if let Some(release) = package.release().filter(|release| !release.is_empty()) {
        text = format!("{text}-{release}");
    }
    match package.epoch() {
        Some(epoch) if epoch > 0 => format!("{epoch}:{text}"),
        Some(_) | None => text,
    }
}

/// The version that mends it. Inspector writes `NotAvailable` where there is none.
fn fixed_in(package: &VulnerablePackage, is_fixable: bool) -> String {
    let told = package.fixed_in_version();
    match told.filter(|version| !version.is_empty() && *version != "NotAvailable") {
        Some(version) => version.to_owned(),
        None if is_fixable => "a newer version".to_owned(),
        None => String::new(),
    }
}
