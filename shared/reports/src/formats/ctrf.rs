//! CTRF's JSON, of the reporters for Jest, Mocha, Playwright, Cypress, pytest, Go and others, after
//! the schema that CTRF publishes (ctrf.io). It is read like this:
//!
//! - The `results.tests` are counted, each once: a test that was tried again is one with `retries`.
//!   Two of one name are two tests, as the same test is listed for each browser it ran in.
//! - `passed` with `flaky`, with `retries` or with an attempt that failed is flaky.
//! - `skipped` and `pending` are skipped. `other` is skipped when its `rawStatus` says that the test
//!   is a todo or did not run, else an error, as is a status that the schema does not have.
//! - `summary.failed` is believed when no test that failed is listed; no claim of success is.
//! - `summary.start` says when the tests began, and `environment.commit` of which commit they are.

use super::{Format, Head, Source};
use crate::case::{MESSAGE_CHARS_MAX, Outcome, TestCase};
use crate::error::ReadError;
use crate::json::{self, Fault, Json};
use crate::report::{Content, Parsed, Provenance};
use crate::tally::Tally;
use crate::text;

pub(super) const FORMAT: Format = Format {
    name: "ctrf",
    sniff,
    read,
};

/// Most names that a test's suite is made up of.
const SUITE_NAMES_MAX: usize = 20;

fn sniff(head: &Head<'_>) -> bool {
    let Some(json) = head.json() else {
        return false;
    };
    json.is("reportFormat", "CTRF")
        || json.has("results.tests[].status")
        || (json.has("results.tool.name")
            && (json.has("results.tests") || json.has("results.summary")))
        || (json.has("results.summary.passed") && json.has("results.summary.other"))
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let mut reading = Reading::default();
    json::read(source, |json| reading.root(json))?;
    let seconds = reading.summary.seconds().unwrap_or(reading.seconds);
    Ok(Parsed {
        content: Content::Tests(reading.tally.finish(seconds)),
        provenance: reading.provenance,
    })
}

#[derive(Default)]
struct Reading {
    tally: Tally,
    provenance: Provenance,
    summary: Summary,
    /// The sum of what the tests took.
    seconds: f64,
    /// How many tests failed of those listed.
    failing: u64,
}

#[derive(Default)]
struct Summary {
    failed: u64,
    /// In milliseconds since 1970.
    start: Option<u64>,
    stop: Option<u64>,
}

impl Summary {
    fn seconds(&self) -> Option<f64> {
        let millis = self.stop?.checked_sub(self.start?)?;
        Some(std::time::Duration::from_millis(millis).as_secs_f64())
    }
}

impl Reading {
    fn root(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        let (mut results, mut tests) = (false, false);
        json.object(|name, json| {
            match name {
                "results" => results |= self.results(json, &mut tests)?,
                "timestamp" => self.provenance.began(&json.string()?.unwrap_or_default()),
                _ => json.skip()?,
            }
            Ok(())
        })?;
        match (results, tests) {
            (false, _) => return Err(Fault::Missing("results")),
            (true, false) => return Err(Fault::Missing("results.tests")),
            (true, true) => {}
        }
        let failed = self.summary.failed;
        if self.failing == 0 && failed > 0 {
            let told = TestCase {
                message: format!("{failed} failed, and none that did is listed"),
                outcome: Outcome::Failed,
                ..TestCase::default()
            };
            self.tally.count_unlisted(failed, 0, told);
        }
        Ok(())
    }

    fn results(&mut self, json: &mut Json<'_>, tests: &mut bool) -> Result<bool, Fault> {
        json.object(|name, json| {
            match name {
                "summary" => self.summary(json)?,
                "environment" => self.environment(json)?,
                "tests" => {
                    *tests |= json.array(|json| {
                        let case = case(json)?;
                        self.failing += u64::from(case.outcome.is_failing());
                        self.seconds += case.seconds.unwrap_or_default();
                        self.tally.count(None, case);
                        Ok(())
                    })?;
                }
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    fn summary(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        json.object(|name, json| {
            match name {
                "failed" => self.summary.failed = json.integer()?.unwrap_or_default(),
                "start" => {
                    self.summary.start = json.integer()?;
                    let millis = self
                        .summary
                        .start
                        .and_then(|start| i64::try_from(start).ok());
                    self.provenance.began_at_millis(millis.unwrap_or_default());
                }
                "stop" => self.summary.stop = json.integer()?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(())
    }

    fn environment(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        json.object(|name, json| {
            match name {
                "commit" => self
                    .provenance
                    .of_commit(&json.string()?.unwrap_or_default()),
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn case(json: &mut Json<'_>) -> Result<TestCase, Fault> {
    let [mut name, mut status, mut raw_status, mut file] = <[String; 4]>::default();
    let [mut suite, mut message, mut trace] = <[String; 3]>::default();
    let (mut seconds, mut was_retried) = (None, false);
    json.object(|member, json| {
        match member {
            "name" => name = json.string()?.unwrap_or_default(),
            "status" => status = json.string()?.unwrap_or_default(),
            "rawStatus" => raw_status = json.string()?.unwrap_or_default(),
            "filePath" => file = json.string()?.unwrap_or_default(),
            "suite" => suite = suite_of(json)?,
            "message" => message = json.string()?.unwrap_or_default(),
            "trace" => trace = json.string()?.unwrap_or_default(),
            "duration" => {
                let millis = json.number()?.filter(|millis| *millis >= 0.0);
                seconds = millis.map(|millis| millis / 1000.0);
            }
            "flaky" => was_retried |= json.boolean()?.unwrap_or_default(),
            "retries" => was_retried |= json.integer()?.is_some_and(|retries| retries > 0),
            "retryAttempts" => was_retried |= has_failed_attempt(json)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    if suite.is_empty() {
        // The folders above the file differ between machines.
        suite = text::file_name(&file).to_owned();
    }
    let outcome = outcome_of(&status, &raw_status);
    let lines = [message, trace].map(|told| text::line(&told, MESSAGE_CHARS_MAX));
    let message = lines.into_iter().find(|line| !line.is_empty());
    Ok(TestCase {
        message: message.unwrap_or_default(),
        outcome,
        flaky: outcome == Outcome::Passed && was_retried,
        seconds,
        ..TestCase::named(&suite, "", &name)
    })
}

/// A suite is a name, or a list of them from the outermost in.
fn suite_of(json: &mut Json<'_>) -> Result<String, Fault> {
    if !json.is_array()? {
        return Ok(json.string()?.unwrap_or_default());
    }
    let mut names = Vec::new();
    json.array(|json| {
        match names.len() < SUITE_NAMES_MAX {
            true => names.extend(json.string()?),
            false => json.skip()?,
        }
        Ok(())
    })?;
    Ok(names.join(" > "))
}

fn has_failed_attempt(json: &mut Json<'_>) -> Result<bool, Fault> {
    let mut has = false;
    json.array(|json| {
        json.object(|name, json| {
            match name {
                "status" => has |= json.string()?.is_some_and(|status| status == "failed"),
                _ => json.skip()?,
            }
            Ok(())
        })?;
        Ok(())
    })?;
    Ok(has)
}

fn outcome_of(status: &str, raw_status: &str) -> Outcome {
    match status {
        "passed" => Outcome::Passed,
        "failed" => Outcome::Failed,
        "skipped" | "pending" => Outcome::Skipped,
        "other" => match raw_status.to_ascii_lowercase().as_str() {
            "todo" | "pending" | "skipped" | "disabled" | "ignored" => Outcome::Skipped,
            _ => Outcome::Errored,
        },
        _ => Outcome::Errored,
    }
}
