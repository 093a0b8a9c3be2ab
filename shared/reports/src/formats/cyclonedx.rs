//! CycloneDX in JSON, versions 1.4 to 1.7, as far as it reports vulnerabilities: what Trivy, Grype,
//! pip-audit, Dependency-Track and others write (the schema is that of the specification,
//! ECMA-424). Its XML is not read.
//!
//! - A vulnerability is one finding for each component that it affects, or one that names none.
//! - It is as bad as the worst of its ratings. A rating is what its severity says, or else its
//!   score or vector where the method is a CVSS: other methods, such as EPSS, have scales of their
//!   own.
//! - It is suppressed when its analysis says `resolved`, `resolved_with_pedigree`, `false_positive`
//!   or `not_affected`; not when it is `exploitable`, or still `in_triage`.
//! - What mends it is the version that the recommendation names as in `Upgrade a to version 1.2`,
//!   which is how Trivy says it, or else the version or range that is `unaffected`, which is how
//!   Grype says it.
//! - A component is named by its group, name and version, or by its package URL where it is not in
//!   the document.
//! - A document without `vulnerabilities` is a list of components. Nobody says that they were
//!   scanned, so it is refused. pip-audit leaves out what is empty: its reports say nothing of a
//!   project without vulnerabilities. Use another of its formats, or a tool that writes `[]`.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use super::{Format, Head, Source};
use crate::error::ReadError;
use crate::findings::{ALIASES_MAX, Finding, FindingsReport, Severity, TERM_CHARS_MAX};
use crate::json::{self, Fault, Json};
use crate::limits::TooMuch;
use crate::report::{Content, Parsed, Provenance};
use crate::text;

pub(super) const FORMAT: Format = Format {
    name: "cyclonedx",
    sniff,
    read,
};

/// Most components that are remembered, to name what a vulnerability affects.
const COMPONENTS_MAX: usize = 100_000;

/// Most bytes of their names.
const COMPONENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Most components that one vulnerability may affect.
const AFFECTED_MAX: usize = 10_000;

/// Some writers put `bomFormat` last.
fn sniff(head: &Head<'_>) -> bool {
    head.json().is_some_and(|json| {
        let places = ["components[].bom-ref", "vulnerabilities[].affects[].ref"];
        json.is("bomFormat", "CycloneDX") || places.iter().any(|place| json.has(place))
    })
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    json::read(source, |json| {
        let mut document = Document::default();
        let mut is_listed = false;
        json.object(|name, json| {
            match name {
                "metadata" => metadata(json, &mut document)?,
                "components" | "services" => components(json, &mut document.components)?,
                "vulnerabilities" => {
                    is_listed |= json.array(|json| vulnerability(json, &mut document.found))?;
                }
                _ => json.skip()?,
            }
            Ok(())
        })?;
        match is_listed {
            true => Ok(document.finish()),
            false => Err(Fault::Missing("vulnerabilities")),
        }
    })
}

#[derive(Default)]
struct Document {
    tool: String,
    /// With the reference to a component in place of its name.
    found: FindingsReport,
    components: Components,
    provenance: Provenance,
}

impl Document {
    /// Components may come after what affects them, so they are named at the end.
    fn finish(mut self) -> Parsed {
        for finding in &mut self.found.listed {
            finding.package = match self.components.names.get(&finding.package) {
                Some(name) => name.clone(),
                None => of_url(&finding.package),
            };
        }
        let mut report = FindingsReport::of(&self.tool);
        report.merge(self.found);
        Parsed {
            content: Content::Findings(report),
            provenance: self.provenance,
        }
    }
}

/// The names of the components by what refers to them, each cut as a finding's text is.
#[derive(Default)]
struct Components {
    names: HashMap<String, String>,
    bytes: usize,
}

impl Components {
    fn add(&mut self, reference: &str, name: &str) -> Result<(), TooMuch> {
        let [reference, name] = [reference, name].map(|text| text::line(text, TERM_CHARS_MAX));
        self.bytes += reference.len() + name.len();
        for (what, amount, limit) in [
            ("number of components", self.names.len() + 1, COMPONENTS_MAX),
            (
                "size in bytes of the components' names",
                self.bytes,
                COMPONENT_BYTES_MAX,
            ),
        ] {
            if amount > limit {
                let limit = limit as u64;
                return Err(TooMuch { what, limit });
            }
        }
        self.names.insert(reference, name);
        Ok(())
    }
}

/// What a package URL (`pkg:npm/%40a/b@1.0?x=y`) names. Any other reference stays what it is.
fn of_url(reference: &str) -> String {
    let Some((_, url)) = reference.split_once("pkg:") else {
        return reference.to_owned();
    };
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (_, name) = url[..end].split_once('/').unwrap_or_default();
    percent_decode_str(name).decode_utf8_lossy().into_owned()
}

fn metadata(json: &mut Json<'_>, document: &mut Document) -> Result<(), Fault> {
    json.object(|name, json| {
        match name {
            "timestamp" => document
                .provenance
                .began(&json.string()?.unwrap_or_default()),
            "component" => component(json, &mut document.components)?,
            "tools" => tools(json, &mut document.tool)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(())
}

/// An array of tools, or since version 1.5 an object of arrays. The first name is kept.
fn tools(json: &mut Json<'_>, tool: &mut String) -> Result<(), Fault> {
    if json.is_object()? {
        json.object(|_, json| tools(json, tool))?;
        return Ok(());
    }
    json.array(|json| {
        json.object(|name, json| match name {
            "name" if tool.is_empty() => {
                *tool = json.string()?.unwrap_or_default();
                Ok(())
            }
            _ => json.skip(),
        })?;
        Ok(())
    })?;
    Ok(())
}

fn components(json: &mut Json<'_>, known: &mut Components) -> Result<(), Fault> {
    json.array(|json| component(json, known))?;
    Ok(())
}

/// A component and those inside it.
fn component(json: &mut Json<'_>, known: &mut Components) -> Result<(), Fault> {
    let [mut reference, mut group, mut name, mut version] = [const { String::new() }; 4];
    json.object(|member, json| {
        let text = match member {
            "bom-ref" => &mut reference,
            "group" => &mut group,
            "name" => &mut name,
            "version" => &mut version,
            "components" | "services" => return components(json, known),
            _ => return json.skip(),
        };
        *text = json.string()?.unwrap_or_default();
        Ok(())
    })?;
    if !reference.is_empty() {
        if !group.is_empty() {
            name = format!("{group}/{name}");
        }
        known.add(&reference, &Finding::package(&name, &version))?;
    }
    Ok(())
}

fn vulnerability(json: &mut Json<'_>, found: &mut FindingsReport) -> Result<(), Fault> {
    let mut finding = Finding::default();
    let [mut description, mut recommendation] = [const { String::new() }; 2];
    let (mut worst, mut affected) = (None, Vec::new());
    json.object(|name, json| {
        match name {
            "id" => finding.id = json.string()?.unwrap_or_default(),
            "description" => description = json.string()?.unwrap_or_default(),
            "detail" => finding.message = json.string()?.unwrap_or_default(),
            "recommendation" => recommendation = json.string()?.unwrap_or_default(),
            "references" => {
                json.array(|json| {
                    let id = json.member("id", Json::string)?.flatten();
                    let has_room = finding.aliases.len() < ALIASES_MAX;
                    finding.aliases.extend(id.filter(|_| has_room));
                    Ok(())
                })?;
            }
            "ratings" => {
                json.array(|json| {
                    worst = worst.max(rating(json)?);
                    Ok(())
                })?;
            }
            "affects" => {
                json.array(|json| {
                    affected.push(affects(json, affected.len())?);
                    Ok(())
                })?;
            }
            "analysis" => finding.suppressed = analysis(json)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let Finding { id, aliases, .. } = &mut finding;
    aliases.retain(|alias| alias != id);
    finding.severity = worst.unwrap_or_default();
    if !description.is_empty() {
        finding.message = description;
    }
    finding.fixed_in = versions_in(&recommendation);
    add_each(found, &finding.neutral(), affected);
    Ok(())
}

/// One finding for each of those affected, and one of none when there are none.
fn add_each(found: &mut FindingsReport, finding: &Finding, mut affected: Vec<Affected>) {
    if affected.is_empty() {
        affected.push(Affected::default());
    }
    let mut left = affected.len() as u64;
    for Affected {
        reference,
        unaffected,
    } in affected
    {
        let mut finding = Finding {
            package: reference,
            ..finding.clone()
        };
        if finding.fixed_in.is_empty() {
            finding.fixed_in = unaffected;
        }
        // Without room for this one there is none for the others, which are as long.
        if !found.list(finding) {
            break;
        }
        left -= 1;
    }
    found.more(finding.severity, left);
}

/// The versions that a recommendation such as `Upgrade a to version 1.2; Upgrade b to version 3`
/// names.
fn versions_in(recommendation: &str) -> String {
    let parts = recommendation.split(';');
    let versions = parts.filter_map(|part| part.split_once(" to version "));
    let versions: Vec<_> = versions.map(|(_, version)| version.trim()).collect();
    versions.join("; ")
}

/// None for a rating by another scale, or for none.
fn rating(json: &mut Json<'_>) -> Result<Option<Severity>, Fault> {
    let (mut word, mut score) = (Severity::Unknown, None);
    let [mut method, mut vector] = [const { String::new() }; 2];
    json.object(|name, json| {
        match name {
            "severity" => word = Severity::of_word(&json.string()?.unwrap_or_default()),
            "score" => score = json.number()?,
            "method" => method = json.string()?.unwrap_or_default(),
            "vector" => vector = json.string()?.unwrap_or_default(),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    if word != Severity::Unknown {
        return Ok(Some(word));
    }
    let prefix = match method.as_str() {
        "CVSSv2" => "",
        "CVSSv3" => "CVSS:3.0/",
        "CVSSv31" => "CVSS:3.1/",
        "CVSSv4" => "CVSS:4.0/",
        _ => return Ok(None),
    };
    let vector = match vector.starts_with("CVSS:") {
        true => vector,
        false => format!("{prefix}{vector}"),
    };
    let scored = score.and_then(Severity::of_score);
    Ok(scored.or_else(|| Severity::of_vector(&vector)))
}

/// Whether it says that the vulnerability does not matter here.
fn analysis(json: &mut Json<'_>) -> Result<bool, Fault> {
    let state = json.member("state", Json::string)?.flatten();
    Ok(matches!(
        state.as_deref(),
        Some("resolved" | "resolved_with_pedigree" | "false_positive" | "not_affected")
    ))
}

/// A component that a vulnerability affects.
#[derive(Default)]
struct Affected {
    reference: String,
    /// The first version or range of it that is not affected.
    unaffected: String,
}

/// After so many others.
fn affects(json: &mut Json<'_>, others: usize) -> Result<Affected, Fault> {
    if others >= AFFECTED_MAX {
        let what = "number of components that one vulnerability affects";
        let limit = AFFECTED_MAX as u64;
        return Err(TooMuch { what, limit }.into());
    }
    let mut affected = Affected::default();
    json.object(|name, json| {
        match name {
            "ref" => {
                let reference = json.string()?.unwrap_or_default();
                affected.reference = text::line(&reference, TERM_CHARS_MAX);
            }
            "versions" => {
                json.array(|json| version(json, &mut affected.unaffected))?;
            }
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(affected)
}

fn version(json: &mut Json<'_>, unaffected: &mut String) -> Result<(), Fault> {
    let [mut version, mut status] = [const { String::new() }; 2];
    json.object(|name, json| {
        match name {
            "version" | "range" => version = json.string()?.unwrap_or_default(),
            "status" => status = json.string()?.unwrap_or_default(),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    if unaffected.is_empty() && status == "unaffected" {
        *unaffected = text::line(&version, TERM_CHARS_MAX);
    }
    Ok(())
}
