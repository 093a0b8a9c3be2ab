//! SARIF 2.1.0, as CodeQL, Semgrep, ESLint, Bandit, Ruff, Clippy, Trivy, Roslyn and many others
//! write it. Read by the OASIS standard with errata 01; the sections named here are its.
//!
//! - A result is a finding, unless its kind is `pass` or `notApplicable`, or its baselineState is
//!   `absent`. One of kind `informational`, `open` or `review` claims no failure and is info
//!   (3.27.9).
//! - A result of kind `fail`, which it is when it says nothing, is as bad as its level: its own, or
//!   else that of its rule as the invocation configures it, or else as the rule does by default, or
//!   else `warning` (3.27.10). `error` is high, `warning` medium, `note` and `none` info, any other
//!   unknown.
//! - A `security-severity`, a CVSS score among the properties of the result or of its rule, goes
//!   before the level. CodeQL, Trivy, Semgrep and others write it, and GitHub reads it so. A score
//!   of 0 is what Trivy writes of a vulnerability that nobody has scored: unknown.
//! - A rule is found by its index in its component, or else by its id, which may have one part more
//!   than the rule's (`CA1000/1`).
//! - It is suppressed when it has suppressions and none of them is `underReview` or `rejected`.
//! - `unchanged` and `updated` results are known.
//! - Its fingerprint is what `fingerprints` say, or else `partialFingerprints` with its path: many
//!   tools hash no more than the line.
//! - Its path is that of its first location, below what `uriBaseId` stands for as far as that is
//!   relative, too. A `file:` address is its path.
//! - A run whose invocation says `executionSuccessful: false` adds a finding of unknown severity:
//!   what was not looked at is not clean.
//! - A run without `results` did not scan (3.14.23), and a log without runs has nothing to say:
//!   both are refused. So is one that keeps results, rules or invocations in other files
//!   (`externalPropertyFileReferences`), or in others inside itself (`inlineExternalProperties`).
//!
//! A run's members come in any order, and sorted by name its results come before its rules. So
//! results wait for the end of their run: those that a report lists in full, the others counted by
//! what decides how bad they are.

mod place;
mod result;
mod rules;

use std::collections::{BTreeMap, HashMap};

use super::{Format, Head, Source};
use crate::error::ReadError;
use crate::findings::{Finding, FindingsReport, Severity, TERM_CHARS_MAX};
use crate::json::{self, Fault, Json};
use crate::limits::TooMuch;
use crate::report::{Content, Parsed, Provenance};
use crate::text;
use place::{Place, Places};
use rules::{At, Component, RuleReference, Rules};

pub(super) const FORMAT: Format = Format {
    name: "sarif",
    sniff,
    read,
};

const VERSION: &str = "2.1.0";

/// Most bytes of what the results of a run refer to: rules, artifacts, bases and overrides.
const REFERRED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What each of those counts for at least.
const REFERRED_BYTES_MIN: usize = 64;

/// Most kinds of results that are counted apart beyond those that are listed.
const KINDS_MAX: usize = 20_000;

/// The members of a run come in any order, and any of them may be longer than a head.
fn sniff(head: &Head<'_>) -> bool {
    head.json().is_some_and(|json| {
        let places = [
            "runs[].tool.driver",
            "runs[].results[].message",
            "runs[].results[].locations",
            "runs[].results[].ruleId",
            "runs[].artifacts[].location",
            "runs[].invocations[].executionSuccessful",
        ];
        (json.is("version", VERSION) && json.has("runs"))
            || places.iter().any(|place| json.has(place))
    })
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    json::read(source, |json| {
        let mut log = Log::default();
        json.object(|name, json| {
            match name {
                "version" => log.version = json.string()?,
                "runs" => {
                    json.array(|json| run(json, &mut log))?;
                }
                "inlineExternalProperties" => {
                    json.array(|json| {
                        log.is_partial = true;
                        json.skip()
                    })?;
                }
                _ => json.skip()?,
            }
            Ok(())
        })?;
        log.finish()
    })
}

#[derive(Default)]
struct Log {
    version: Option<String>,
    runs: u64,
    /// Some of what matters is kept elsewhere.
    is_partial: bool,
    /// A run has no results.
    is_without_results: bool,
    report: FindingsReport,
    provenance: Provenance,
}

impl Log {
    fn finish(self) -> Result<Parsed, Fault> {
        match self.version.as_deref() {
            Some(VERSION) => {}
            Some(_) => {
                return Err(Fault::Broken(
                    "its version is not 2.1.0; write it in that one",
                ));
            }
            None => return Err(Fault::Missing("version")),
        }
        if self.is_partial {
            let why = "it keeps results or rules in external properties; write them into its runs";
            return Err(Fault::Broken(why));
        }
        if self.runs == 0 {
            return Err(Fault::Missing("runs[]"));
        }
        if self.is_without_results {
            return Err(Fault::Missing("runs[].results"));
        }
        Ok(Parsed {
            content: Content::Findings(self.report),
            provenance: self.provenance,
        })
    }
}

fn run(json: &mut Json<'_>, log: &mut Log) -> Result<(), Fault> {
    let mut run = Run::default();
    let mut has_results = false;
    json.object(|name, json| {
        match name {
            "tool" => run.tool(json)?,
            "results" => has_results |= json.array(|json| run.result(json))?,
            "artifacts" => {
                json.array(|json| run.artifact(json))?;
            }
            "originalUriBaseIds" => {
                json.object(|name, json| run.base(name, json))?;
            }
            "invocations" => {
                json.array(|json| run.invocation(json, &mut log.provenance))?;
            }
            "versionControlProvenance" => {
                json.array(|json| revision(json, &mut log.provenance))?;
            }
            "externalPropertyFileReferences" => log.is_partial |= keeps_what_matters(json)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    log.runs += 1;
    log.is_without_results |= !has_results;
    log.report.merge(run.finish());
    Ok(())
}

/// Whether results, or what decides how bad they are, is in other files.
fn keeps_what_matters(json: &mut Json<'_>) -> Result<bool, Fault> {
    let mut keeps = false;
    json.object(|name, json| {
        keeps |= matches!(name, "results" | "driver" | "extensions" | "invocations");
        json.skip()
    })?;
    Ok(keeps)
}

fn revision(json: &mut Json<'_>, provenance: &mut Provenance) -> Result<(), Fault> {
    let revision = json.member("revisionId", Json::string)?.flatten();
    provenance.of_commit(&revision.unwrap_or_default());
    Ok(())
}

#[derive(Default)]
struct Run {
    rules: Rules,
    places: Places,
    /// The rules that each invocation configures, and to which level.
    overrides: Vec<Vec<(RuleReference, Severity)>>,
    /// The results that there is room for. How bad they are and where is not known yet.
    found: FindingsReport,
    /// What they wait for, in the same order.
    waiting: Vec<Waiting>,
    /// The other results, counted.
    others: BTreeMap<Told, u64>,
    /// Invocations that did not succeed.
    unfinished: FindingsReport,
    referred_bytes: usize,
}

/// What the end of the run decides of a result.
#[derive(Default)]
struct Waiting {
    told: Told,
    place: Place,
    /// Its fingerprint tells it apart only together with its path.
    is_partial: bool,
}

/// What a result says of how bad it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    /// Its kind is not `fail`.
    claims_nothing: bool,
    level: Option<Severity>,
    scored: Option<Severity>,
    rule: RuleReference,
    invocation: Option<usize>,
}

impl Run {
    /// Takes account of something that results refer to.
    fn refer(&mut self, bytes: usize) -> Result<(), TooMuch> {
        let what = "size in bytes of the rules and artifacts of a run";
        self.referred_bytes += REFERRED_BYTES_MIN + bytes;
        within(what, self.referred_bytes, REFERRED_BYTES_MAX)
    }

    fn tool(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        json.object(|name, json| {
            match name {
                "driver" => {
                    let driver = self.component(json)?;
                    self.rules.set_driver(driver);
                }
                "extensions" => {
                    json.array(|json| {
                        let extension = self.component(json)?;
                        self.rules.add_extension(extension);
                        Ok(())
                    })?;
                }
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(())
    }

    fn component(&mut self, json: &mut Json<'_>) -> Result<Component, Fault> {
        self.refer(TERM_CHARS_MAX)?;
        Component::read(json, |rule| self.refer(rule.bytes()))
    }

    fn artifact(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        let place = json.member("location", Place::read)?.unwrap_or_default();
        self.refer(place.bytes())?;
        self.places.artifacts.push(place);
        Ok(())
    }

    fn base(&mut self, id: &str, json: &mut Json<'_>) -> Result<(), Fault> {
        let id = text::line(id, TERM_CHARS_MAX);
        let place = Place::read(json)?;
        self.refer(id.len() + place.bytes())?;
        self.places.bases.insert(id, place);
        Ok(())
    }

    fn result(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        let Some((finding, waiting)) = result::read(json)? else {
            return Ok(());
        };
        if self.found.list(finding) {
            self.waiting.push(waiting);
            return Ok(());
        }
        *self.others.entry(waiting.told).or_default() += 1;
        let what = "number of kinds of results of a run";
        Ok(within(what, self.others.len(), KINDS_MAX)?)
    }

    fn invocation(
        &mut self,
        json: &mut Json<'_>,
        provenance: &mut Provenance,
    ) -> Result<(), Fault> {
        let mut overrides = Vec::new();
        let (mut is_successful, mut why) = (true, String::new());
        json.object(|name, json| {
            match name {
                "startTimeUtc" => provenance.began(&json.string()?.unwrap_or_default()),
                "executionSuccessful" => is_successful = json.boolean()?.unwrap_or(false),
                "exitCodeDescription" | "processStartFailureMessage" => why = json.line()?,
                "toolExecutionNotifications" => {
                    json.array(|json| notification(json, &mut why))?;
                }
                "ruleConfigurationOverrides" => {
                    json.array(|json| {
                        let (rule, level) = configured(json)?;
                        self.refer(rule.bytes())?;
                        overrides.extend(level.map(|level| (rule, level)));
                        Ok(())
                    })?;
                }
                _ => json.skip()?,
            }
            Ok(())
        })?;
        self.refer(0)?;
        self.overrides.push(overrides);
        if !is_successful {
            self.unfinished.add(Finding {
                id: "executionSuccessful".to_owned(),
                message: format!("the tool did not finish. {why}"),
                ..Finding::default()
            });
        }
        Ok(())
    }

    fn finish(mut self) -> FindingsReport {
        self.rules.index();
        let configured = self.configured();
        let mut report = FindingsReport::of(self.rules.tool());
        report.merge(self.unfinished);
        for (mut finding, waiting) in self.found.listed.into_iter().zip(self.waiting) {
            let Waiting {
                told,
                place,
                is_partial,
            } = waiting;
            finding.severity = told.severity(&self.rules, &configured);
            finding.path = self.places.path(&place);
            if let Some(at) = self.rules.find(&told.rule) {
                self.rules.get(at).describe(&mut finding);
            }
            if is_partial {
                finding.fingerprint = format!("{}|{}", finding.fingerprint, finding.path);
            }
            report.add(finding);
        }
        for (told, count) in self.others {
            report.more(told.severity(&self.rules, &configured), count);
        }
        report
    }

    /// The levels to which invocations configure rules.
    fn configured(&self) -> Configured {
        let mut configured = Configured::new();
        for (invocation, overrides) in self.overrides.iter().enumerate() {
            for (reference, level) in overrides {
                if let Some(at) = self.rules.find(reference) {
                    configured.entry((invocation, at)).or_insert(*level);
                }
            }
        }
        configured
    }
}

/// Levels by the number of the invocation and the rule.
type Configured = HashMap<(usize, At), Severity>;

impl Told {
    fn severity(&self, rules: &Rules, configured: &Configured) -> Severity {
        if self.claims_nothing {
            return Severity::Info;
        }
        let at = rules.find(&self.rule);
        let rule = at.map(|at| rules.get(at));
        let configured = || configured.get(&(self.invocation?, at?)).copied();
        let by_score = self.scored.or_else(|| rule?.scored);
        let by_level = self.level.or_else(configured).or_else(|| rule?.level);
        by_score.or(by_level).unwrap_or(Severity::Medium)
    }
}

fn within(what: &'static str, amount: usize, max: usize) -> Result<(), TooMuch> {
    let limit = max as u64;
    if amount > max {
        Err(TooMuch { what, limit })
    } else {
        Ok(())
    }
}

/// Keeps the first message.
fn notification(json: &mut Json<'_>, why: &mut String) -> Result<(), Fault> {
    let message = json.member("message", result::message)?;
    if why.is_empty() {
        *why = message.unwrap_or_default();
    }
    Ok(())
}

/// A configurationOverride.
fn configured(json: &mut Json<'_>) -> Result<(RuleReference, Option<Severity>), Fault> {
    let (mut rule, mut level) = (RuleReference::default(), None);
    json.object(|name, json| {
        match name {
            "descriptor" => rule.read(json)?,
            "configuration" => level = rules::configuration(json)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok((rule, level))
}
