//! What `grype --output json` writes (its types are in Grype's package `presenter/models`).
//!
//! - A match is a finding, as bad as Grype's own word for it.
//! - `ignoredMatches` (by a rule of the configuration, by VEX, or by `--only-fixed`) are findings
//!   that are suppressed.
//! - `fix.versions` mend it when `fix.state` is `fixed`.
//! - The related vulnerabilities are its aliases, the artifact's first location its path.

use super::{Format, Head, Source};
use crate::error::ReadError;
use crate::findings::{ALIASES_MAX, Finding, FindingsReport, Severity};
use crate::json::{self, Fault, Json};
use crate::report::{Content, Parsed, Provenance};

pub(super) const FORMAT: Format = Format {
    name: "grype",
    sniff,
    read,
};

/// Most fixed versions that are kept.
const VERSIONS_MAX: usize = 8;

/// The tool that scanned is named at the very end, or at the very beginning when keys are sorted.
fn sniff(head: &Head<'_>) -> bool {
    head.json().is_some_and(|json| {
        json.is("descriptor.name", "grype")
            || (json.has("matches[].vulnerability.id") && json.has("matches[].artifact"))
            || json.has("ignoredMatches[].appliedIgnoreRules")
    })
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    json::read(source, |json| {
        let mut report = FindingsReport::of("grype");
        let mut provenance = Provenance::default();
        let mut is_listed = false;
        json.object(|name, json| {
            match name {
                "matches" => is_listed |= matches(json, false, &mut report)?,
                "ignoredMatches" => {
                    matches(json, true, &mut report)?;
                }
                "descriptor" => {
                    let time = json.member("timestamp", Json::string)?.flatten();
                    provenance.began(&time.unwrap_or_default());
                }
                _ => json.skip()?,
            }
            Ok(())
        })?;
        match is_listed {
            true => Ok(Parsed {
                content: Content::Findings(report),
                provenance,
            }),
            false => Err(Fault::Missing("matches")),
        }
    })
}

/// Whether there is a list of them.
fn matches(
    json: &mut Json<'_>,
    suppressed: bool,
    report: &mut FindingsReport,
) -> Result<bool, Fault> {
    json.array(|json| {
        let finding = Finding {
            suppressed,
            ..one(json)?
        };
        report.add(finding);
        Ok(())
    })
}

fn one(json: &mut Json<'_>) -> Result<Finding, Fault> {
    let mut finding = Finding::default();
    json.object(|name, json| {
        match name {
            "vulnerability" => vulnerability(json, &mut finding)?,
            "relatedVulnerabilities" => {
                json.array(|json| {
                    let id = json.member("id", Json::string)?.flatten();
                    let has_room = finding.aliases.len() < ALIASES_MAX;
                    finding.aliases.extend(id.filter(|_| has_room));
                    Ok(())
                })?;
            }
            "artifact" => artifact(json, &mut finding)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let Finding { id, aliases, .. } = &mut finding;
    aliases.retain(|alias| alias != id);
    Ok(finding)
}

fn vulnerability(json: &mut Json<'_>, finding: &mut Finding) -> Result<(), Fault> {
    json.object(|name, json| {
        match name {
            "id" => finding.id = json.string()?.unwrap_or_default(),
            "severity" => {
                finding.severity = Severity::of_word(&json.string()?.unwrap_or_default());
            }
            "description" => finding.message = json.string()?.unwrap_or_default(),
            "fix" => finding.fixed_in = fix(json)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(())
}

fn fix(json: &mut Json<'_>) -> Result<String, Fault> {
    let (mut versions, mut is_fixed) = (Vec::new(), false);
    json.object(|name, json| {
        match name {
            "versions" => versions = json.strings(VERSIONS_MAX)?,
            "state" => is_fixed = json.string()?.is_some_and(|state| state == "fixed"),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(if is_fixed {
        versions.join(", ")
    } else {
        String::new()
    })
}

fn artifact(json: &mut Json<'_>, finding: &mut Finding) -> Result<(), Fault> {
    let [mut package, mut version] = [const { String::new() }; 2];
    json.object(|name, json| {
        match name {
            "name" => package = json.string()?.unwrap_or_default(),
            "version" => version = json.string()?.unwrap_or_default(),
            "locations" => {
                json.array(|json| {
                    let path = json.member("path", Json::string)?.flatten();
                    if finding.path.is_empty() {
                        finding.path = path.unwrap_or_default();
                    }
                    Ok(())
                })?;
            }
            _ => json.skip()?,
        }
        Ok(())
    })?;
    finding.package = Finding::package(&package, &version);
    Ok(())
}
