//! What `npm audit --json` writes: npm 7 and later (`auditReportVersion` 2), and npm 6, whose shape
//! `pnpm audit --json` and older versions of `yarn npm audit --json` still write.
//!
//! - An advisory about one package is a finding, however many packages depend on it: npm 7 lists
//!   each dependent as a vulnerable package too, and npm's own total counts those.
//! - Its severity is npm's word, or else its CVSS score. Its id is GitHub's (`GHSA-...`) where the
//!   address or the member of that name has it.
//! - npm 7 says what mends it by `fixAvailable`: a version of the package, a version of the one
//!   that depends on it (`name@version`), or no more than that `npm audit fix` does. npm 6 says it
//!   by `patched_versions`.
//! - npm 7 does not say which version is installed.
//! - `actions` of npm 6 repeat what its advisories say.
//! - A report that counts vulnerable packages and lists no advisory counts as one finding, of
//!   unknown severity.
//! - An object with an `error` is what npm writes when it could not ask the registry, or has no
//!   lockfile. Nothing was audited, so it is refused.
//!
//! Yarn 1 and Yarn 4 write a JSON document a line, which is not read.

use super::{Format, Head, Source};
use crate::error::ReadError;
use crate::findings::{ALIASES_MAX, Finding, FindingsReport, Severity};
use crate::json::{self, Fault, Json};
use crate::report::{Content, Parsed};

pub(super) const FORMAT: Format = Format {
    name: "npm-audit",
    sniff,
    read,
};

/// What npm 6 writes for versions that will never be.
const NO_VERSIONS: &str = "<0.0.0";

/// An error is one of its own too, so that the refusal can say so.
fn sniff(head: &Head<'_>) -> bool {
    head.json().is_some_and(|json| {
        json.has("auditReportVersion")
            || (json.has("advisories") && (json.has("actions") || json.has("muted")))
            || (json.has("error.summary") && json.has("error.detail"))
    })
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let report = json::read(source, |json| {
        let mut report = FindingsReport::of("npm audit");
        let (mut is_listed, mut is_error, mut claimed) = (false, false, 0);
        json.object(|name, json| {
            match name {
                "vulnerabilities" => {
                    is_listed |= json.object(|name, json| vulnerable(name, json, &mut report))?;
                }
                "advisories" => {
                    is_listed |= json.object(|_, json| {
                        report.add(advisory(json)?.into_finding());
                        Ok(())
                    })?;
                }
                "metadata" => claimed = metadata(json)?,
                "error" => {
                    is_error = !json.is_null()?;
                    json.skip()?;
                }
                _ => json.skip()?,
            }
            Ok(())
        })?;
        if is_error {
            let why = "npm audit ended with an error: nothing was audited; run it again";
            return Err(Fault::Broken(why));
        }
        if !is_listed {
            return Err(Fault::Missing("vulnerabilities"));
        }
        if claimed > 0 && report.listed.is_empty() {
            report.add(Finding {
                id: "metadata.vulnerabilities".to_owned(),
                message: format!("the report counts {claimed} and lists none"),
                ..Finding::default()
            });
        }
        Ok(report)
    })?;
    Ok(Content::Findings(report).into())
}

/// How many vulnerable packages it counts.
fn metadata(json: &mut Json<'_>) -> Result<u64, Fault> {
    let mut most = 0;
    json.member("vulnerabilities", |json| {
        json.object(|_, json| {
            most = most.max(json.integer()?.unwrap_or(0));
            Ok(())
        })
    })?;
    Ok(most)
}

/// A vulnerable package of npm 7. What it is vulnerable by (`via`) is an advisory, or the name of
/// another vulnerable package.
fn vulnerable(
    package: &str,
    json: &mut Json<'_>,
    report: &mut FindingsReport,
) -> Result<(), Fault> {
    let (mut found, mut fixed_in) = (FindingsReport::default(), String::new());
    json.object(|name, json| {
        match name {
            "via" => {
                json.array(|json| {
                    match json.is_object()? {
                        true => found.add(advisory(json)?.into_finding()),
                        false => json.skip()?,
                    }
                    Ok(())
                })?;
            }
            "fixAvailable" => fixed_in = fix(json, package)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    for finding in &mut found.listed {
        package.clone_into(&mut finding.package);
        finding.fixed_in.clone_from(&fixed_in);
    }
    report.merge(found);
    Ok(())
}

/// `true`, `false`, or which version of what mends `package`.
fn fix(json: &mut Json<'_>, package: &str) -> Result<String, Fault> {
    if !json.is_object()? {
        let is_available = json.boolean()?.unwrap_or(false);
        return Ok(if is_available { "npm audit fix" } else { "" }.to_owned());
    }
    let [mut mended, mut version] = [const { String::new() }; 2];
    json.object(|name, json| {
        match name {
            "name" => mended = json.string()?.unwrap_or_default(),
            "version" => version = json.string()?.unwrap_or_default(),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(match mended == package {
        true => version,
        false => Finding::package(&mended, &version),
    })
}

/// What npm 6 and npm 7 say of an advisory. Most of it has another name in each.
#[derive(Default)]
struct Advisory {
    /// The number that the registry gives it.
    number: String,
    url: String,
    github_id: String,
    title: String,
    word: Severity,
    scored: Option<Severity>,
    cves: Vec<String>,
    module_name: String,
    /// The first version that was found.
    version: String,
    patched_versions: String,
}

impl Advisory {
    fn into_finding(self) -> Finding {
        let from_url = self.url.rsplit('/').next().unwrap_or_default();
        let github_id = match self.github_id.is_empty() && from_url.starts_with("GHSA-") {
            true => from_url.to_owned(),
            false => self.github_id,
        };
        let names = [github_id, self.number, self.url];
        let mut names = names.into_iter().filter(|name| !name.is_empty());
        let is_mended = self.patched_versions != NO_VERSIONS;
        Finding {
            id: names.next().unwrap_or_default(),
            aliases: self.cves,
            severity: match self.word {
                Severity::Unknown => self.scored.unwrap_or_default(),
                word => word,
            },
            message: self.title,
            package: Finding::package(&self.module_name, &self.version),
            fixed_in: if is_mended {
                self.patched_versions
            } else {
                String::new()
            },
            ..Finding::default()
        }
    }
}

fn advisory(json: &mut Json<'_>) -> Result<Advisory, Fault> {
    let mut advisory = Advisory::default();
    json.object(|name, json| {
        let text = match name {
            "source" | "id" => &mut advisory.number,
            "url" => &mut advisory.url,
            "github_advisory_id" => &mut advisory.github_id,
            "title" => &mut advisory.title,
            "module_name" => &mut advisory.module_name,
            "patched_versions" => &mut advisory.patched_versions,
            "cves" => {
                advisory.cves = json.strings(ALIASES_MAX)?;
                return Ok(());
            }
            "cvss" => {
                let score = json.member("score", Json::number)?.flatten();
                // 0 stands for none.
                let score = score.filter(|&score| score > 0.0);
                advisory.scored = score.and_then(Severity::of_score);
                return Ok(());
            }
            "findings" => return found(json, &mut advisory.version),
            "severity" => {
                advisory.word = Severity::of_word(&json.string()?.unwrap_or_default());
                return Ok(());
            }
            _ => return json.skip(),
        };
        *text = json.text()?.unwrap_or_default();
        Ok(())
    })?;
    Ok(advisory)
}

/// Where npm 6 found it: the first version is kept.
fn found(json: &mut Json<'_>, first: &mut String) -> Result<(), Fault> {
    json.array(|json| {
        let version = json.member("version", Json::string)?.flatten();
        if first.is_empty() {
            *first = version.unwrap_or_default();
        }
        Ok(())
    })?;
    Ok(())
}
