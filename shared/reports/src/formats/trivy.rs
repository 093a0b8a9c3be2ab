//! What `trivy --format json` writes, of an image, a file system, a repository or an SBOM (its
//! types are in Trivy's package `pkg/types`). Schema version 2, which Trivy writes since 0.20.
//!
//! - Vulnerabilities, misconfigurations, secrets and licenses are findings. A misconfiguration
//!   whose `Status` is `PASS` is none, and one that is an `EXCEPTION` is suppressed.
//! - `ExperimentalModifiedFindings` (`--show-suppressed`) are suppressed when somebody said that
//!   they do not matter: `ignored`, `not_affected` or `fixed`.
//! - A finding is in the file it names, or else in the `Target` of its result.
//! - A scan that found nothing has no `Results`.
//! - What was found of a secret is never repeated, though Trivy masks it.
//!
//! Reports of `trivy kubernetes` and of compliance have other shapes and are not read.

use super::{Format, Head, Source};
use crate::error::ReadError;
use crate::findings::{ALIASES_MAX, Finding, FindingsReport, Severity};
use crate::json::{self, Fault, Json};
use crate::report::{Content, Parsed, Provenance};

pub(super) const FORMAT: Format = Format {
    name: "trivy",
    sniff,
    read,
};

const SCHEMA_VERSION: u64 = 2;

/// The schema's version comes first, or last when keys are sorted. None of these is rare alone.
fn sniff(head: &Head<'_>) -> bool {
    head.json().is_some_and(|json| {
        let places = [
            "SchemaVersion",
            "ArtifactName",
            "ArtifactType",
            "Results[].Target",
        ];
        places.iter().filter(|place| json.has(place)).count() >= 2
    })
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    json::read(source, |json| {
        let mut report = FindingsReport::of("Trivy");
        let mut provenance = Provenance::default();
        let (mut version, mut is_listed) = (None, true);
        json.object(|name, json| {
            match name {
                "SchemaVersion" => version = json.integer()?,
                "CreatedAt" => provenance.began(&json.string()?.unwrap_or_default()),
                "Metadata" => {
                    let commit = json.member("Commit", Json::string)?.flatten();
                    provenance.of_commit(&commit.unwrap_or_default());
                }
                "Results" if json.is_null()? => json.skip()?,
                "Results" => is_listed = json.array(|json| result(json, &mut report))?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        match (version, is_listed) {
            (Some(SCHEMA_VERSION), true) => Ok(Parsed {
                content: Content::Findings(report),
                provenance,
            }),
            (Some(SCHEMA_VERSION), false) => Err(Fault::Missing("Results")),
            (Some(_), _) => Err(Fault::Broken(
                "its SchemaVersion is not 2; write it with another version of Trivy",
            )),
            (None, _) => Err(Fault::Missing("SchemaVersion")),
        }
    })
}

/// What was found in one target.
fn result(json: &mut Json<'_>, report: &mut FindingsReport) -> Result<(), Fault> {
    let mut found = FindingsReport::default();
    let mut target = String::new();
    json.object(|name, json| {
        match name {
            "Target" => target = json.string()?.unwrap_or_default(),
            "Vulnerabilities" | "Misconfigurations" | "Secrets" | "Licenses" => {
                json.array(|json| {
                    finding(json)?
                        .into_iter()
                        .for_each(|finding| found.add(finding));
                    Ok(())
                })?;
            }
            "ExperimentalModifiedFindings" => {
                json.array(|json| {
                    modified(json)?
                        .into_iter()
                        .for_each(|finding| found.add(finding));
                    Ok(())
                })?;
            }
            _ => json.skip()?,
        }
        Ok(())
    })?;
    for finding in found
        .listed
        .iter_mut()
        .filter(|finding| finding.path.is_empty())
    {
        finding.path.clone_from(&target);
    }
    report.merge(found);
    Ok(())
}

/// A finding that `.trivyignore` or VEX speaks about.
fn modified(json: &mut Json<'_>) -> Result<Option<Finding>, Fault> {
    let (mut found, mut suppressed) = (Some(Finding::default()), false);
    json.object(|name, json| {
        match name {
            "Status" => {
                let status = json.string()?.unwrap_or_default();
                suppressed = matches!(status.as_str(), "ignored" | "not_affected" | "fixed");
            }
            "Finding" => found = finding(json)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(found.map(|finding| Finding {
        suppressed: suppressed || finding.suppressed,
        ..finding
    }))
}

/// A vulnerability, a misconfiguration, a secret or a license: their members have different names.
/// None for a check that passed.
fn finding(json: &mut Json<'_>) -> Result<Option<Finding>, Fault> {
    let mut finding = Finding::default();
    let [
        mut status,
        mut package,
        mut version,
        mut title,
        mut description,
    ] = [const { String::new() }; 5];
    json.object(|name, json| {
        let text = match name {
            "VulnerabilityID" | "ID" | "RuleID" | "Name" => &mut finding.id,
            "FixedVersion" => &mut finding.fixed_in,
            "PkgPath" | "FilePath" => &mut finding.path,
            "PkgName" => &mut package,
            "InstalledVersion" => &mut version,
            "Status" => &mut status,
            "Message" => &mut finding.message,
            "Title" => &mut title,
            "Description" | "Category" => &mut description,
            "Severity" => {
                finding.severity = Severity::of_word(&json.string()?.unwrap_or_default());
                return Ok(());
            }
            "VendorIDs" => {
                finding.aliases = json.strings(ALIASES_MAX)?;
                return Ok(());
            }
            "StartLine" => {
                finding.line = json.line_number()?;
                return Ok(());
            }
            "CauseMetadata" => {
                finding.line = json.member("StartLine", Json::line_number)?.flatten();
                return Ok(());
            }
            _ => return json.skip(),
        };
        *text = json.string()?.unwrap_or_default();
        Ok(())
    })?;
    if status == "PASS" {
        return Ok(None);
    }
    finding.suppressed = status == "EXCEPTION";
    finding.package = Finding::package(&package, &version);
    let messages = [finding.message, title, description];
    let message = messages.into_iter().find(|text| !text.trim().is_empty());
    finding.message = message.unwrap_or_default();
    Ok(Some(finding))
}
