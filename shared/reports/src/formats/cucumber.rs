//! Cucumber's JSON, of cucumber-js, cucumber-jvm, cucumber-ruby, behave, pytest-bdd, Reqnroll, godog
//! and others: a list of features, each with `elements`. No schema binds them; it is read as their
//! own summaries count:
//!
//! - A scenario is one test with the worst outcome of its steps and hooks, wherever a writer puts
//!   these: `before` and `after` of the scenario and of each step, or steps that are hidden.
//! - `undefined`, `ambiguous` and `pending` fail, as Cucumber is strict unless told otherwise. A
//!   scenario of which nothing ran is skipped. A status that is not known is an error.
//! - The steps of a `background` are those of the scenario after it. One that failed before the end
//!   of its feature is a case of its own.
//! - behave gives the scenario a `status` too, which can only make it worse, and each feature one,
//!   which is believed when it says failed and no scenario of it did.
//! - In one feature, a scenario of the id (or place), line and name of an earlier one that failed is
//!   a retry of it. The rows of an outline have one id, and lines of their own.
//! - A `start_timestamp` says when a scenario began.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::{Format, Head, Source};
use crate::case::{MESSAGE_CHARS_MAX, Outcome, TestCase};
use crate::error::ReadError;
use crate::json::{self, Fault, Json};
use crate::report::{Content, Parsed, Provenance};
use crate::tally::Tally;
use crate::text;

pub(super) const FORMAT: Format = Format {
    name: "cucumber",
    sniff,
    read,
};

/// Most scenarios of one feature that wait for its name, which may come after them. Those beyond
/// are counted without it.
const WAITING_MAX: usize = 10_000;

/// Longest failed step's message that is searched for its first line, in lines.
const MESSAGE_LINES_MAX: usize = 20;

fn sniff(head: &Head<'_>) -> bool {
    let Some(json) = head.json() else {
        return false;
    };
    // The keys of a feature and of an element come in any order, and one may fill the head.
    let telling = [
        "keyword",
        "uri",
        "elements[].keyword",
        "elements[].steps",
        "elements[].before",
        "elements[].line",
        "elements[].start_timestamp",
    ];
    json.has("[].elements") && telling.iter().any(|place| json.has(&format!("[].{place}")))
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let mut reading = Reading::default();
    json::read(source, |json| reading.root(json))?;
    Ok(Parsed {
        content: Content::Tests(reading.tally.finish(reading.seconds)),
        provenance: reading.provenance,
    })
}

#[derive(Default)]
struct Reading {
    tally: Tally,
    provenance: Provenance,
    seconds: f64,
    features: u64,
}

/// A feature as far as it was read.
#[derive(Default)]
struct Feature {
    name: String,
    uri: String,
    status: Option<Outcome>,
    has_elements: bool,
    has_failed: bool,
    /// What the background found, for the scenario after it.
    background: Ran,
    /// The scenarios that are to be counted under the feature's name.
    waiting: Vec<(Option<u64>, TestCase)>,
}

/// What steps and hooks came to.
#[derive(Default)]
struct Ran {
    /// None when nothing ran.
    outcome: Option<Outcome>,
    message: String,
    /// As written: nanoseconds, or behave's seconds.
    duration: f64,
}

/// A scenario or a background.
#[derive(Default)]
struct Element {
    kind: String,
    id: String,
    name: String,
    line: Option<u64>,
    /// behave's place of the scenario.
    location: String,
    ran: Ran,
}

impl Reading {
    fn root(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        let mut any = None;
        let is_list = json.array(|json| {
            let has_elements = self.feature(json)?;
            any = Some(any.unwrap_or_default() || has_elements);
            Ok(())
        })?;
        match (is_list, any) {
            (true, None | Some(true)) => Ok(()),
            (true, Some(false)) | (false, _) => Err(Fault::Missing("elements")),
        }
    }

    /// Reads a feature; says whether it has elements.
    fn feature(&mut self, json: &mut Json<'_>) -> Result<bool, Fault> {
        self.features += 1;
        let mut feature = Feature::default();
        json.object(|name, json| {
            match name {
                "name" => feature.name = json.string()?.unwrap_or_default(),
                "uri" => feature.uri = json.string()?.unwrap_or_default(),
                "status" => feature.status = json.string()?.as_deref().map(outcome_of),
                "elements" => {
                    feature.has_elements |= json.array(|json| self.element(json, &mut feature))?;
                }
                _ => json.skip()?,
            }
            Ok(())
        })?;
        let has_elements = feature.has_elements;
        self.end(feature);
        Ok(has_elements)
    }

    fn element(&mut self, json: &mut Json<'_>, feature: &mut Feature) -> Result<(), Fault> {
        let mut element = Element::default();
        let provenance = &mut self.provenance;
        json.object(|name, json| {
            match name {
                "type" => element.kind = json.string()?.unwrap_or_default(),
                "id" => element.id = json.string()?.unwrap_or_default(),
                "name" => element.name = json.string()?.unwrap_or_default(),
                "line" => element.line = json.integer()?,
                "location" => element.location = json.string()?.unwrap_or_default(),
                "start_timestamp" => provenance.began(&json.string()?.unwrap_or_default()),
                "status" => {
                    let outcome = json.string()?.as_deref().map(outcome_of);
                    element.ran.outcome = element.ran.outcome.max(outcome);
                }
                "steps" => _ = json.array(|json| element.ran.step(json))?,
                "before" | "after" => _ = json.array(|json| element.ran.hook(json))?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        let is_behave = element.line.is_none() && !element.location.is_empty();
        if !is_behave {
            element.ran.duration /= 1e9;
        }
        if element.kind == "background" {
            feature.background.add(element.ran);
            return Ok(());
        }
        element.ran.add(std::mem::take(&mut feature.background));
        self.scenario(element, feature);
        Ok(())
    }

    fn scenario(&mut self, element: Element, feature: &mut Feature) {
        let has_identity = !element.name.is_empty() || !element.id.is_empty();
        let identity = has_identity.then(|| {
            let mut hasher = DefaultHasher::new();
            (self.features, &element.id, &element.location).hash(&mut hasher);
            (element.line, &element.name).hash(&mut hasher);
            hasher.finish()
        });
        let case = element.ran.case(&element.name);
        self.seconds += case.seconds.unwrap_or_default();
        feature.has_failed |= case.outcome.is_failing();
        match feature.waiting.len() < WAITING_MAX {
            true => feature.waiting.push((identity, case)),
            false => self.tally.count(identity, case),
        }
    }

    fn end(&mut self, feature: Feature) {
        let name = [&feature.name[..], text::file_name(&feature.uri)];
        let name = name.into_iter().find(|name| !name.is_empty());
        let suite = TestCase::named(name.unwrap_or_default(), "", "").suite;
        let within = |case: TestCase| TestCase {
            suite: suite.clone(),
            ..case
        };
        for (identity, case) in feature.waiting {
            self.tally.count(identity, within(case));
        }
        let is_failing = |outcome: Option<Outcome>| outcome.filter(|outcome| outcome.is_failing());
        if is_failing(feature.background.outcome).is_some() {
            let background = feature.background.case("(background)");
            self.tally.count(None, within(background));
        } else if let Some(outcome) = is_failing(feature.status)
            && !feature.has_failed
        {
            let message = "the feature failed, and no scenario of it did".to_owned();
            self.tally.count(
                None,
                within(TestCase {
                    message,
                    outcome,
                    ..TestCase::default()
                }),
            );
        }
    }
}

impl Ran {
    fn add(&mut self, other: Self) {
        self.duration += other.duration;
        self.note(other.outcome, || other.message);
    }

    /// Notes an outcome, and why when nothing worse was noted before.
    fn note(&mut self, outcome: Option<Outcome>, message: impl FnOnce() -> String) {
        let [is_failing, was_failing] =
            [outcome, self.outcome].map(|outcome| outcome.is_some_and(Outcome::is_failing));
        if is_failing && (!was_failing || self.message.is_empty()) {
            self.message = message();
        }
        self.outcome = self.outcome.max(outcome);
    }

    fn step(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        let [mut keyword, mut name] = <[String; 2]>::default();
        let mut step = None;
        json.object(|member, json| {
            match member {
                "keyword" => keyword = json.string()?.unwrap_or_default(),
                "name" => name = json.string()?.unwrap_or_default(),
                "result" => step = StepResult::read(json)?,
                "before" | "after" => _ = json.array(|json| self.hook(json))?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        if let Some(result) = step {
            self.result(result, &format!("{} {name}", keyword.trim()));
        }
        Ok(())
    }

    fn hook(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        let mut hook = None;
        json.object(|member, json| {
            match member {
                "result" => hook = StepResult::read(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        if let Some(result) = hook {
            self.result(result, "hook");
        }
        Ok(())
    }

    fn result(&mut self, result: StepResult, step: &str) {
        self.duration += result.duration;
        let outcome = outcome_of(&result.status);
        self.note(Some(outcome), || match result.message.is_empty() {
            true => text::line(&format!("{}: {step}", result.status), MESSAGE_CHARS_MAX),
            false => result.message,
        });
    }

    fn case(self, name: &str) -> TestCase {
        let duration = self.duration;
        TestCase {
            message: self.message,
            outcome: self.outcome.unwrap_or(Outcome::Skipped),
            seconds: (duration.is_finite() && duration >= 0.0).then_some(duration),
            ..TestCase::named("", "", name)
        }
    }
}

struct StepResult {
    status: String,
    duration: f64,
    message: String,
}

impl StepResult {
    fn read(json: &mut Json<'_>) -> Result<Option<Self>, Fault> {
        let mut result = Self {
            status: String::new(),
            duration: 0.0,
            message: String::new(),
        };
        let is_result = json.object(|name, json| {
            match name {
                "status" => result.status = json.string()?.unwrap_or_default(),
                "duration" => result.duration = json.number()?.unwrap_or_default().max(0.0),
                "error_message" => result.message = message(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(is_result.then_some(result))
    }
}

/// The first line of a message; behave writes a list of lines.
fn message(json: &mut Json<'_>) -> Result<String, Fault> {
    let mut lines = Vec::new();
    if json.is_array()? {
        json.array(|json| {
            match lines.len() < MESSAGE_LINES_MAX {
                true => lines.extend(json.string()?),
                false => json.skip()?,
            }
            Ok(())
        })?;
    } else {
        lines.extend(json.string()?);
    }
    let mut lines = lines.iter().map(|line| text::line(line, MESSAGE_CHARS_MAX));
    Ok(lines.find(|line| !line.is_empty()).unwrap_or_default())
}

/// What a status says, of a step or (in behave) of a scenario or a feature.
fn outcome_of(status: &str) -> Outcome {
    match status.to_ascii_lowercase().as_str() {
        "passed" => Outcome::Passed,
        "skipped" | "untested" | "untested_pending" | "untested_undefined" | "pending_warn" => {
            Outcome::Skipped
        }
        "failed" | "undefined" | "ambiguous" | "pending" => Outcome::Failed,
        _ => Outcome::Errored,
    }
}
