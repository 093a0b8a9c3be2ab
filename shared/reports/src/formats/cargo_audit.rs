//! What `cargo audit --json` writes, as of versions 0.17 to 0.22 (its types are those of the crate
//! `rustsec`: `Report`, `Vulnerability`, `Warning`).
//!
//! - A vulnerability is as bad as its advisory's CVSS vector says; unknown without one, which
//!   RustSec allows.
//! - A warning (`unmaintained`, `unsound`, `yanked`, `notice`) is a finding too. One without a CVSS
//!   vector is info, or low where the crate misbehaves (`unsound`) or was taken back (`yanked`).
//!   The kind is its id where there is no advisory, as with yanked crates.
//! - `patched` lists ranges of versions, any of which mends it.
//! - What `settings.ignore` names, cargo-audit has left out of the report.
//! - Where `count` is more than what is listed, that counts as one finding, of unknown severity.
//!
//! `cargo audit bin --json` writes one such document a binary, one after the other; put each into a
//! file of its own.

use super::{Format, Head, Source};
use crate::error::ReadError;
use crate::findings::{ALIASES_MAX, Finding, FindingsReport, Severity};
use crate::json::{self, Fault, Json};
use crate::report::{Content, Parsed};

pub(super) const FORMAT: Format = Format {
    name: "cargo-audit",
    sniff,
    read,
};

/// Most ranges of patched versions that are kept.
const PATCHED_MAX: usize = 8;

fn sniff(head: &Head<'_>) -> bool {
    head.json().is_some_and(|json| {
        ["database.advisory-count", "lockfile.dependency-count"]
            .iter()
            .any(|place| json.has(place))
    })
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let report = json::read(source, |json| {
        let mut report = FindingsReport::of("cargo-audit");
        let mut is_listed = false;
        json.object(|name, json| {
            match name {
                "vulnerabilities" => is_listed |= vulnerabilities(json, &mut report)?,
                "warnings" => warnings(json, &mut report)?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        match is_listed {
            true => Ok(report),
            false => Err(Fault::Missing("vulnerabilities.list")),
        }
    })?;
    Ok(Content::Findings(report).into())
}

/// Whether there is a list of them.
fn vulnerabilities(json: &mut Json<'_>, report: &mut FindingsReport) -> Result<bool, Fault> {
    let (mut is_listed, mut listed, mut claimed) = (false, 0, 0);
    json.object(|name, json| {
        match name {
            "list" => {
                is_listed = json.array(|json| {
                    listed += 1;
                    report.add(entry(json)?.finding(Severity::Unknown));
                    Ok(())
                })?;
            }
            "count" => claimed = claimed.max(json.integer()?.unwrap_or(0)),
            "found" => claimed = claimed.max(json.boolean()?.unwrap_or(false).into()),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    if claimed > listed {
        report.add(Finding {
            id: "vulnerabilities.count".to_owned(),
            message: format!("the report counts {claimed} vulnerabilities and lists {listed}"),
            ..Finding::default()
        });
    }
    Ok(is_listed)
}

/// An object of arrays, by kind.
fn warnings(json: &mut Json<'_>, report: &mut FindingsReport) -> Result<(), Fault> {
    json.object(|kind, json| {
        let severity = match kind {
            "unmaintained" | "notice" => Severity::Info,
            "unsound" | "yanked" => Severity::Low,
            _ => Severity::Unknown,
        };
        json.array(|json| {
            let mut finding = entry(json)?.finding(severity);
            if finding.id.is_empty() {
                finding.id = kind.to_owned();
            }
            report.add(finding);
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(())
}

/// A vulnerability, or a warning.
#[derive(Default)]
struct Entry {
    finding: Finding,
    scored: Option<Severity>,
}

impl Entry {
    fn finding(self, otherwise: Severity) -> Finding {
        Finding {
            severity: self.scored.unwrap_or(otherwise),
            ..self.finding
        }
    }
}

fn entry(json: &mut Json<'_>) -> Result<Entry, Fault> {
    let mut entry = Entry::default();
    json.object(|name, json| {
        match name {
            "advisory" => advisory(json, &mut entry)?,
            "package" => entry.finding.package = package(json)?,
            "versions" => {
                let patched = json.member("patched", |json| json.strings(PATCHED_MAX))?;
                entry.finding.fixed_in = patched.unwrap_or_default().join(" or ");
            }
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(entry)
}

fn advisory(json: &mut Json<'_>, entry: &mut Entry) -> Result<(), Fault> {
    let Entry { finding, scored } = entry;
    json.object(|name, json| {
        match name {
            "id" => finding.id = json.string()?.unwrap_or_default(),
            "title" => finding.message = json.string()?.unwrap_or_default(),
            "aliases" => finding.aliases = json.strings(ALIASES_MAX)?,
            "cvss" => *scored = json.string()?.as_deref().and_then(Severity::of_vector),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(())
}

fn package(json: &mut Json<'_>) -> Result<String, Fault> {
    let [mut package, mut version] = [const { String::new() }; 2];
    json.object(|name, json| {
        match name {
            "name" => package = json.string()?.unwrap_or_default(),
            "version" => version = json.string()?.unwrap_or_default(),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(Finding::package(&package, &version))
}
