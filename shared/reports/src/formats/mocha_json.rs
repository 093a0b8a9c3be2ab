//! Mocha's JSON (`mocha --reporter json`): `stats`, and every test in `tests` and once more in
//! `passes`, `pending` or `failures`. Known from Mocha's own reporter. It is read like this:
//!
//! - The three lists are counted. Those in `tests` bear no outcome, so it only tells how many there
//!   are: where it is longer than the three together, the rest are errors.
//! - A hook that failed is in `failures` alone and is a case of its own, an error. Mocha counts it as
//!   a failure too; that the tests after it never ran is nowhere in the report.
//! - A test that passed with a `currentRetry` above 0 is flaky: Mocha only tries again what failed.
//! - `stats.failures` is believed when `failures` is empty; no claim of success is.

use super::{Format, Head, Source};
use crate::case::{MESSAGE_CHARS_MAX, Outcome, TestCase};
use crate::error::ReadError;
use crate::json::{self, Fault, Json};
use crate::report::{Content, Parsed, Provenance};
use crate::tally::Tally;
use crate::text;

pub(super) const FORMAT: Format = Format {
    name: "mocha-json",
    sniff,
    read,
};

fn sniff(head: &Head<'_>) -> bool {
    let Some(json) = head.json() else {
        return false;
    };
    // With its keys sorted, one list may fill the head.
    let lists = ["failures", "passes", "pending", "tests"];
    let listed = |list: &&str| json.has(&format!("{list}[].fullTitle"));
    let is_list = |list: &&str| json.has(list);
    lists.iter().any(listed) || (json.has("stats.passes") && lists.iter().any(is_list))
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
    claimed_failures: u64,
    /// How many cases are listed at all, and how many of them failed.
    listed: u64,
    failures: u64,
}

impl Reading {
    fn root(&mut self, json: &mut Json<'_>) -> Result<(), Fault> {
        let (mut stats, mut passes, mut failures) = (false, false, false);
        let mut tests = 0;
        json.object(|name, json| {
            match name {
                "stats" => stats |= self.stats(json)?,
                "passes" => passes |= self.list(json, Outcome::Passed)?,
                "pending" => _ = self.list(json, Outcome::Skipped)?,
                "failures" => failures |= self.list(json, Outcome::Failed)?,
                "tests" => {
                    json.array(|json| {
                        tests += 1;
                        json.skip()
                    })?;
                }
                _ => json.skip()?,
            }
            Ok(())
        })?;
        for (there, name) in [(stats, "stats"), (passes, "passes"), (failures, "failures")] {
            if !there {
                return Err(Fault::Missing(name));
            }
        }
        self.count_untold(tests);
        Ok(())
    }

    fn stats(&mut self, json: &mut Json<'_>) -> Result<bool, Fault> {
        json.object(|name, json| {
            match name {
                "start" => self.provenance.began(&json.string()?.unwrap_or_default()),
                "duration" => self.seconds = seconds(json.number()?).unwrap_or_default(),
                "failures" => self.claimed_failures = json.integer()?.unwrap_or_default(),
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    fn list(&mut self, json: &mut Json<'_>, outcome: Outcome) -> Result<bool, Fault> {
        json.array(|json| {
            let case = case(json, outcome)?;
            self.listed += 1;
            self.failures += u64::from(case.outcome.is_failing());
            self.tally.count(None, case);
            Ok(())
        })
    }

    /// Counts what is claimed and not listed, when the whole report is read.
    fn count_untold(&mut self, tests: u64) {
        let claimed = self.claimed_failures;
        let mut told = self.listed;
        if self.failures == 0 && claimed > 0 {
            let message = format!("{claimed} failures, and none is listed");
            let case = TestCase {
                message,
                outcome: Outcome::Failed,
                ..TestCase::default()
            };
            self.tally.count_unlisted(claimed, 0, case);
            told = told.saturating_add(claimed);
        }
        let untold = tests.saturating_sub(told);
        if untold > 0 {
            let message = format!("{untold} tests neither passed nor failed nor are pending");
            let case = TestCase {
                message,
                outcome: Outcome::Errored,
                ..TestCase::default()
            };
            self.tally.count_unlisted(0, untold, case);
        }
    }
}

fn case(json: &mut Json<'_>, outcome: Outcome) -> Result<TestCase, Fault> {
    let [mut title, mut full, mut file, mut message] = <[String; 4]>::default();
    let (mut took, mut retry) = (None, 0);
    json.object(|name, json| {
        match name {
            "title" => title = json.string()?.unwrap_or_default(),
            "fullTitle" => full = json.string()?.unwrap_or_default(),
            "file" => file = json.string()?.unwrap_or_default(),
            "duration" => took = seconds(json.number()?),
            "currentRetry" => retry = json.integer()?.unwrap_or_default(),
            "err" => message = failure(json)?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let around = full.strip_suffix(&title).unwrap_or_default().trim_end();
    let suite = match around {
        // The folders above the file differ between machines.
        "" => text::file_name(&file),
        around => around,
    };
    let outcome = match outcome {
        Outcome::Failed if is_hook(&title) => Outcome::Errored,
        Outcome::Passed | Outcome::Skipped | Outcome::Failed | Outcome::Errored => outcome,
    };
    Ok(TestCase {
        message,
        outcome,
        flaky: outcome == Outcome::Passed && retry > 0,
        seconds: took,
        ..TestCase::named(suite, "", &title)
    })
}

/// Whether it is the title that Mocha gives a hook, as in `"before each" hook for "adds"`.
fn is_hook(title: &str) -> bool {
    ["before all", "before each", "after each", "after all"]
        .iter()
        .any(|kind| {
            let rest = title
                .strip_prefix('"')
                .and_then(|rest| rest.strip_prefix(kind));
            rest.is_some_and(|rest| rest.starts_with("\" hook"))
        })
}

fn failure(json: &mut Json<'_>) -> Result<String, Fault> {
    let [mut message, mut stack] = <[String; 2]>::default();
    json.object(|name, json| {
        match name {
            "message" => message = json.string()?.unwrap_or_default(),
            "stack" => stack = json.string()?.unwrap_or_default(),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    let lines = [message, stack].map(|told| text::line(&told, MESSAGE_CHARS_MAX));
    let told = lines.into_iter().find(|line| !line.is_empty());
    Ok(told.unwrap_or_default())
}

fn seconds(millis: Option<f64>) -> Option<f64> {
    millis
        .filter(|millis| *millis >= 0.0)
        .map(|millis| millis / 1000.0)
}
