//! ECR's images and their scans: JSON 1.1, shapes and errors of its API model (2015-09-21).

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{All, Page};
use crate::json_api::{ApiError, read};

/// What the header `X-Amz-Target` begins with.
pub(super) const TARGET: &str = "AmazonEC2ContainerRegistry_V20150921.";

/// ECR gives at most so many findings in one answer.
const PAGE_MAX: usize = 1_000;
const INVALID: &str = "InvalidParameterException";
const MISSING: &str = "ImageNotFoundException";

/// An image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// Its repository, such as `shop/web`.
    pub repository: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Its scan; None for one that has not begun.
    #[serde(default)]
    pub scan: Option<Scan>,
}

/// The scan of an image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scan {
    /// ECR's `ScanStatus`, such as `COMPLETE`.
    pub status: String,
    /// ECR's `ImageScanFindings` but for the findings: `imageScanCompletedAt` (seconds since 1970),
    /// `findingSeverityCounts`.
    #[serde(default)]
    pub about: serde_json::Map<String, Value>,
    /// ECR's `ImageScanFinding`s, of its own scan.
    #[serde(default)]
    pub findings: Vec<Value>,
    /// ECR's `EnhancedImageScanFinding`s, of Inspector's scan.
    #[serde(default)]
    pub enhanced_findings: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImageId {
    image_digest: Option<String>,
    image_tag: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeImages {
    repository_name: String,
    #[serde(default)]
    image_ids: Vec<ImageId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DescribeFindings {
    repository_name: String,
    image_id: ImageId,
    #[serde(flatten)]
    page: Page,
}

pub(super) fn call(all: &All, operation: &str, body: &[u8]) -> Result<Value, ApiError> {
    match operation {
        "DescribeImages" => describe_images(all, &read(body)?),
        "DescribeImageScanFindings" => describe_findings(all, &read(body)?),
        other => Err(ApiError::unknown(other)),
    }
}

fn describe_images(all: &All, asked: &DescribeImages) -> Result<Value, ApiError> {
    let repository = &asked.repository_name;
    let images = match asked.image_ids.as_slice() {
        [] => of(all, repository)?,
        ids => {
            let found = ids.iter().map(|id| find(all, repository, id));
            found.collect::<Result<_, _>>()?
        }
    };
    let details = images.into_iter().map(|image| {
        json!({
            "repositoryName": image.repository,
            "imageDigest": image.digest,
            "imageTags": image.tags,
        })
    });
    Ok(json!({"imageDetails": details.collect::<Vec<_>>()}))
}

fn describe_findings(all: &All, asked: &DescribeFindings) -> Result<Value, ApiError> {
    let image = find(all, &asked.repository_name, &asked.image_id)?;
    let scan = image.scan.as_ref();
    let scan = scan.ok_or_else(|| ApiError::new("ScanNotFoundException", "there is no scan"))?;
    let (key, findings) = match scan.enhanced_findings.is_empty() {
        true => ("findings", &scan.findings),
        false => ("enhancedFindings", &scan.enhanced_findings),
    };
    let (items, next) = asked.page.of(findings, PAGE_MAX, INVALID)?;
    let mut about = scan.about.clone();
    about.insert(key.to_owned(), json!(items));
    let mut answer = json!({
        "repositoryName": image.repository,
        "imageId": {"imageDigest": image.digest},
        "imageScanStatus": {"status": scan.status, "description": "as the test says"},
        "imageScanFindings": about,
    });
    if let Some(next) = next {
        answer["nextToken"] = next.into();
    }
    Ok(answer)
}

/// The images of a repository, which is there when it has one.
fn of<'a>(all: &'a All, repository: &str) -> Result<Vec<&'a Image>, ApiError> {
    let images = all.images.values();
    let images: Vec<_> = images
        .filter(|image| image.repository == repository)
        .collect();
    match images.is_empty() {
        true => Err(ApiError::new(
            "RepositoryNotFoundException",
            "the repository does not exist",
        )),
        false => Ok(images),
    }
}

fn find<'a>(all: &'a All, repository: &str, id: &ImageId) -> Result<&'a Image, ApiError> {
    let mut images = of(all, repository)?.into_iter();
    let found = match (&id.image_digest, &id.image_tag) {
        (Some(digest), _) => images.find(|image| image.digest == *digest),
        (None, Some(tag)) => images.find(|image| image.tags.contains(tag)),
        (None, None) => return Err(ApiError::new(INVALID, "imageId has neither digest nor tag")),
    };
    found.ok_or_else(|| ApiError::new(MISSING, "the image does not exist"))
}
