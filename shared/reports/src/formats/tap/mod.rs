//! TAP 12, 13 and 14, as Test::More, node:test, node-tap, tape, Bats, pg_prove and others write it,
//! and what `prove -v` prints. After the specifications on testanything.org; where they leave it
//! open, as `prove` does. It is read like this:
//!
//! - A test with subtests (indented by four blanks) is what they are: they count and it does not,
//!   unless it failed and none of them did. So a tree of tests counts as in other formats, and a
//!   failure once.
//! - `# SKIP` is skipped; `not ok # SKIP` fails. `# TODO` is skipped, ok or not, and so are the
//!   subtests that failed in it.
//! - The plan is what guards against a report that was cut off. A report without one is truncated.
//!   Each test planned that is not there is an error, by the numbers where there are any: a number
//!   that is there twice leaves another out. Tests beyond the plan, and a second plan, are an error.
//! - `Bail out!` is an error.
//! - `1..0 # SKIP` skips the whole, which counts as one test.
//! - A comment `# fail 2` (node:test, tape) is believed when no test that failed is there.
//! - The message is `message` or `error` of the block of YAML below a test, or else the comment.
//! - Several reports may follow each other, each with its version line. `prove -v` names the files,
//!   and its `Result:` ends the whole.

mod line;

use std::collections::BTreeSet;

use super::{Format, Head, Source};
use crate::case::{MESSAGE_CHARS_MAX, NAME_CHARS_MAX, Outcome, TestCase};
use crate::error::{Position, ReadError};
use crate::limits::TooMuch;
use crate::lines::{self, Line};
use crate::report::{Content, Parsed};
use crate::tally::Tally;
use crate::text;
use line::{Directive, Point, Tap, millis, unescaped};

pub(super) const FORMAT: Format = Format {
    name: "tap",
    sniff,
    read,
};

/// By how many blanks subtests are indented.
const INDENT: usize = 4;

/// Deepest nesting of subtests.
const DEPTH_MAX: usize = 50;

/// Most tests that may be there ahead of one with a lower number.
const AHEAD_MAX: usize = 100_000;

/// Most failed subtests that wait for whether the test around them is a todo. Those beyond fail.
const WAITING_MAX: usize = 1_000;

fn sniff(head: &Head<'_>) -> bool {
    head.lines().any(|line| match Tap::of(line) {
        Tap::Version | Tap::Plan(..) => true,
        Tap::Point(point) => point.number.is_some(),
        Tap::BailOut(_) | Tap::Subtest(_) | Tap::Comment(_) | Tap::BlockEnd | Tap::Other => false,
    })
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let name = source.name;
    let mut reading = Reading::new();
    lines::each(source, |line| {
        let read = reading.line(line);
        read.map_err(|TooMuch { what, limit }| ReadError::too_large(name, what, limit))
    })?;
    if reading.end_report() {
        let name = ReadError::name(name);
        let at = reading.end;
        return Err(ReadError::Truncated { name, at });
    }
    Ok(Content::Tests(reading.tally.finish(reading.seconds)).into())
}

struct Reading {
    tally: Tally,
    /// What the reports before this one took.
    seconds: f64,
    /// What the tests of this report took, and what it says itself.
    leaf_seconds: f64,
    told_seconds: Option<f64>,
    /// The open levels, the outermost first; there is always one.
    levels: Vec<Level>,
    /// The block of YAML that is open.
    yaml: Option<Yaml>,
    /// What failed in this report, and what it says did.
    failing: u64,
    claimed: u64,
    has_bailed_out: bool,
    prove: Option<Prove>,
    end: Position,
}

/// What `prove` printed so far.
#[derive(Default)]
struct Prove {
    /// The file whose tests follow.
    file: String,
    is_in_file: bool,
    /// What `Result:` said.
    result: Option<String>,
    /// What failed in all files.
    failing: u64,
}

/// A sequence of tests under one plan.
#[derive(Default)]
struct Level {
    name: String,
    has_version: bool,
    plans: u64,
    planned: u64,
    /// How many tests there are.
    points: u64,
    /// The tests up to this number are there, ...
    reached: u64,
    /// ... and these.
    ahead: BTreeSet<u64>,
    /// The name of the subtests that are to come.
    next_name: String,
    /// The subtests that ended, before the test that they are of.
    inside: Option<Inside>,
    /// The last test, as long as something may follow that belongs to it.
    held: Option<Held>,
    /// What of this level is for the level around it.
    told: Inside,
}

/// What subtests came to.
#[derive(Default)]
struct Inside {
    /// How many were counted.
    cases: u64,
    /// Those that failed, unless a todo around them forgives it.
    failing: Vec<TestCase>,
    /// Something failed that no todo forgives.
    is_broken: bool,
}

/// A test whose message may follow, or its subtests in braces.
struct Held {
    case: TestCase,
    directive: Option<Directive>,
    opens_block: bool,
    inside: Option<Inside>,
    /// Nothing but comments came since.
    is_fresh: bool,
}

/// A block of YAML below a test.
struct Yaml {
    indent: usize,
    /// The rank of the key whose text begins on the next line.
    awaited: Option<u8>,
    /// The rank of the key that the message is from.
    rank: u8,
}

impl Reading {
    fn new() -> Self {
        Self {
            tally: Tally::default(),
            seconds: 0.0,
            leaf_seconds: 0.0,
            told_seconds: None,
            levels: vec![Level::default()],
            yaml: None,
            failing: 0,
            claimed: 0,
            has_bailed_out: false,
            prove: None,
            end: Position::START,
        }
    }

    fn line(&mut self, line: Line<'_>) -> Result<(), TooMuch> {
        self.end = Position {
            line: line.number,
            byte: line.byte + line.text.len() as u64,
        };
        let text = line.text.trim_start_matches(' ');
        let indent = line.text.len() - text.len();
        if self.is_yaml(indent, text) || (indent == 0 && self.is_of_prove(text)) {
            return Ok(());
        }
        let level = indent / INDENT;
        match indent.is_multiple_of(INDENT) {
            true => self.tap(level, Tap::of(text)),
            false => Ok(()),
        }
    }

    fn tap(&mut self, level: usize, tap: Tap<'_>) -> Result<(), TooMuch> {
        match tap {
            Tap::Version => {
                self.enter(level)?;
                self.settle(level);
                let has_begun = self.levels[level].has_version || self.levels[level].plans > 0;
                if level == 0 && (has_begun || self.levels[level].points > 0) {
                    self.end_report_within(None);
                }
                self.levels[level].has_version = true;
            }
            Tap::Plan(tests, skip) => {
                self.enter(level)?;
                self.settle(level);
                self.plan(level, tests, skip);
            }
            Tap::Point(point) => {
                self.enter(level)?;
                self.settle(level);
                self.point(level, &point)?;
            }
            Tap::BlockEnd if level < self.levels.len() => {
                self.enter(level)?;
                self.settle(level);
            }
            Tap::BailOut(reason) => self.bail_out(reason),
            Tap::Subtest(name) => self.subtest(level, name)?,
            Tap::Comment(comment) => self.comment(level, comment),
            Tap::BlockEnd | Tap::Other => {
                let held = self.levels.last_mut().and_then(|level| level.held.as_mut());
                if let Some(held) = held {
                    held.is_fresh = false;
                }
            }
        }
        Ok(())
    }

    /// Makes `level` the innermost that is open.
    fn enter(&mut self, level: usize) -> Result<(), TooMuch> {
        while self.levels.len() > level + 1 {
            self.close();
        }
        if level >= DEPTH_MAX {
            let what = "depth of nested subtests";
            let limit = DEPTH_MAX as u64;
            return Err(TooMuch { what, limit });
        }
        while self.levels.len() <= level {
            let around = self.levels.last_mut();
            let name = around.map(|around| std::mem::take(&mut around.next_name));
            self.levels.push(Level {
                name: name.unwrap_or_default(),
                ..Level::default()
            });
        }
        Ok(())
    }

    /// Ends the innermost level, which is not the outermost.
    fn close(&mut self) {
        let level = self.levels.len() - 1;
        self.end_level(level);
        let told = self.levels.pop().map(|ended| ended.told);
        let Some((around, told)) = self.levels.last_mut().zip(told) else {
            return;
        };
        match &mut around.held {
            Some(held) if held.opens_block => held.inside = Some(told),
            Some(_) | None => {
                self.count_orphans(level - 1);
                self.levels[level - 1].inside = Some(told);
            }
        }
    }

    /// Ends what is in a level.
    fn end_level(&mut self, level: usize) {
        self.settle(level);
        self.count_orphans(level);
        self.check_plan(level);
    }

    /// Counts subtests that no test followed.
    fn count_orphans(&mut self, level: usize) {
        let Some(orphans) = self.levels[level].inside.take() else {
            return;
        };
        let told = &mut self.levels[level].told;
        told.cases = told.cases.saturating_add(orphans.cases);
        told.is_broken |= orphans.is_broken;
        for case in orphans.failing {
            self.failed(level, case);
        }
    }

    fn plan(&mut self, level: usize, tests: u64, skip: Option<&str>) {
        let at = &mut self.levels[level];
        at.plans += 1;
        if at.plans > 1 {
            self.broken(level, 1, "there is more than one plan");
            return;
        }
        at.planned = tests;
        if let (0, 0, Some(reason)) = (level, tests, skip) {
            let case = TestCase {
                message: text::line(reason, MESSAGE_CHARS_MAX),
                outcome: Outcome::Skipped,
                ..TestCase::named(&self.suite(level), "", "")
            };
            self.tally.count(None, case);
        }
    }

    fn point(&mut self, level: usize, point: &Point<'_>) -> Result<(), TooMuch> {
        let suite = self.suite(level);
        let at = &mut self.levels[level];
        at.number(point.number)?;
        at.next_name.clear();
        let outcome = match (point.directive, point.is_ok) {
            (Some(Directive::Todo), _) | (Some(Directive::Skip), true) => Outcome::Skipped,
            (Some(Directive::Skip) | None, false) => Outcome::Failed,
            (None, true) => Outcome::Passed,
        };
        at.held = Some(Held {
            case: TestCase {
                message: text::line(point.reason, MESSAGE_CHARS_MAX),
                outcome,
                seconds: point.seconds,
                ..TestCase::named(&suite, "", &unescaped(point.name))
            },
            directive: point.directive,
            opens_block: point.opens_block,
            inside: at.inside.take(),
            is_fresh: true,
        });
        Ok(())
    }

    /// Counts the test that is held at `level`: nothing more will follow that belongs to it.
    fn settle(&mut self, level: usize) {
        let Some(held) = self.levels[level].held.take() else {
            return;
        };
        let mut inside = held.inside.unwrap_or_default();
        let is_leaf = inside.cases == 0;
        let explains = !inside.failing.is_empty() || inside.is_broken;
        let is_unexplained = held.case.outcome.is_failing() && !explains;
        if held.directive == Some(Directive::Todo) {
            for case in inside.failing.drain(..) {
                let outcome = Outcome::Skipped;
                self.tally.count(None, TestCase { outcome, ..case });
            }
        }
        self.levels[level].told.cases += inside.cases;
        self.levels[level].told.is_broken |= inside.is_broken;
        for case in inside.failing {
            self.failed(level, case);
        }
        if is_leaf || is_unexplained {
            self.leaf_seconds += held.case.seconds.unwrap_or_default();
            self.levels[level].told.cases += 1;
            match held.case.outcome.is_failing() {
                true => self.failed(level, held.case),
                false => self.tally.count(None, held.case),
            }
        }
    }

    /// Counts a test that failed, or has it wait for whether it is within a todo.
    fn failed(&mut self, level: usize, case: TestCase) {
        let told = &mut self.levels[level].told;
        if level > 0 && told.failing.len() < WAITING_MAX {
            told.failing.push(case);
            return;
        }
        told.is_broken = true;
        self.failing += 1;
        self.tally.count(None, case);
    }

    /// Counts errors that are of no test.
    fn broken(&mut self, level: usize, errors: u64, message: &str) {
        let case = TestCase {
            message: text::line(message, MESSAGE_CHARS_MAX),
            outcome: Outcome::Errored,
            ..TestCase::named(&self.suite(level), "", "")
        };
        if let Some(level) = self.levels.get_mut(level) {
            level.told.is_broken = true;
            level.told.cases = level.told.cases.saturating_add(1);
        }
        self.failing = self.failing.saturating_add(errors);
        self.tally.count_unlisted(0, errors, case);
    }

    fn check_plan(&mut self, level: usize) {
        let at = &self.levels[level];
        let (planned, points) = (at.planned, at.points);
        let there = at.reached.saturating_add(at.ahead.len() as u64);
        if at.plans == 0 {
            return;
        }
        let missing = planned.saturating_sub(there);
        if missing > 0 {
            let message = format!("{missing} of {planned} planned tests are not there");
            self.broken(level, missing, &message);
        } else if points > planned {
            let message = format!("{planned} tests are planned, and {points} are there");
            self.broken(level, 1, &message);
        }
    }

    fn bail_out(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.has_bailed_out, true) {
            self.failing += 1;
            let case = TestCase {
                message: text::line(reason, MESSAGE_CHARS_MAX),
                outcome: Outcome::Errored,
                ..TestCase::named(&self.suite(0), "", "Bail out!")
            };
            self.tally.count(None, case);
        }
    }

    /// Notes the name of subtests. TAP 14 puts it at the level of their test; Test::More once put
    /// it at their own.
    fn subtest(&mut self, level: usize, name: &str) -> Result<(), TooMuch> {
        let name = text::line(&unescaped(name), NAME_CHARS_MAX);
        if level > 0 && self.levels.len() <= level {
            self.enter(level - 1)?;
            let around = &mut self.levels[level - 1].next_name;
            if around.is_empty() {
                *around = name;
                return Ok(());
            }
            self.enter(level)?;
        }
        self.levels[level].next_name = name;
        Ok(())
    }

    fn comment(&mut self, level: usize, comment: &str) {
        if level == 0 {
            let (key, value) = comment.split_once([' ', '=']).unwrap_or((comment, ""));
            let told = match key {
                "duration_ms" => millis(value),
                "time" => value.strip_suffix("ms").and_then(millis),
                _ => None,
            };
            self.told_seconds = told.map(|millis| millis / 1000.0).or(self.told_seconds);
            if key == "fail" {
                self.claimed = value.trim().parse().unwrap_or(self.claimed);
            }
        }
        let held = self
            .levels
            .get_mut(level)
            .and_then(|level| level.held.as_mut());
        if let Some(held) = held
            && held.is_fresh
            && held.case.outcome.is_failing()
            && held.case.message.is_empty()
        {
            held.case.message = text::line(comment, MESSAGE_CHARS_MAX);
        }
    }

    /// Whether the line begins, continues or ends a block of YAML.
    fn is_yaml(&mut self, indent: usize, text: &str) -> bool {
        let deepest = self.levels.len() - 1;
        let held = self.levels[deepest].held.as_mut();
        let Some(yaml) = &mut self.yaml else {
            let base = deepest * INDENT;
            let begins = text.trim_end() == "---" && (base + 1..base + INDENT).contains(&indent);
            if begins && held.is_some() {
                self.yaml = Some(Yaml {
                    indent,
                    awaited: None,
                    rank: 0,
                });
            }
            return begins;
        };
        let is_blank = text.trim_end().is_empty();
        if !is_blank && indent < yaml.indent {
            self.yaml = None;
            return false;
        }
        if indent == yaml.indent && text.trim_end() == "..." {
            self.yaml = None;
        } else if let Some(held) = held
            && !is_blank
        {
            yaml.line(indent, text, &mut held.case);
        }
        true
    }

    /// The innermost name around the tests of `level`.
    fn suite(&self, level: usize) -> String {
        let around = self.levels.iter().take(level + 1).rev();
        let name = around
            .map(|level| &level.name)
            .find(|name| !name.is_empty());
        let file = self.prove.as_ref().map(|prove| &prove.file);
        name.or(file).cloned().unwrap_or_default()
    }

    /// Whether the line is one of `prove`'s own.
    fn is_of_prove(&mut self, text: &str) -> bool {
        let text = text.trim_end();
        let top = &self.levels[0];
        let is_idle = top.plans == 0 && top.points == 0 && !top.has_version;
        let plan_is_met = top.plans > 0 && top.points >= top.planned;
        let is_new = self.prove.is_none();
        if let Some((file, skipped)) = prove_header(text)
            && is_idle
            && self.prove.as_ref().is_none_or(|prove| !prove.is_in_file)
        {
            let prove = self.prove.get_or_insert_default();
            prove.file = TestCase::named(file, "", "").suite;
            prove.is_in_file = skipped.is_none();
            if let Some(reason) = skipped {
                self.plan(0, 0, Some(reason));
                self.end_report_within(None);
            }
            return true;
        }
        if is_new {
            return false;
        }
        if let Some(reason) = text.strip_prefix("Bailout called.") {
            self.bail_out(reason);
        } else if let Some(result) = text.strip_prefix("Result: ")
            && let Some(prove) = &mut self.prove
        {
            prove.result = Some(result.to_owned());
        } else if text.starts_with("Dubious, test returned") {
            self.end_file(Some(text));
        } else if (text == "ok" && plan_is_met)
            || (text.starts_with("Failed ") && text.ends_with(" subtests"))
        {
            self.end_file(None);
        } else {
            return false;
        }
        true
    }

    /// Ends the tests of one of `prove`'s files, which exited as `dubious` says.
    fn end_file(&mut self, dubious: Option<&str>) {
        if self.prove.as_ref().is_some_and(|prove| prove.is_in_file) {
            self.end_report_within(dubious);
        }
    }

    /// Ends a report that is followed by another.
    fn end_report_within(&mut self, dubious: Option<&str>) {
        self.end_levels();
        if self.levels[0].plans == 0 && !self.has_bailed_out {
            self.broken(0, 1, "there is no plan");
        }
        if let Some(dubious) = dubious
            && self.failing == 0
        {
            self.broken(0, 1, dubious);
        }
        self.count_claim();
        self.levels = vec![Level::default()];
        if let Some(prove) = &mut self.prove {
            prove.is_in_file = false;
            prove.failing = prove.failing.saturating_add(self.failing);
        }
        (self.failing, self.claimed) = (0, 0);
        self.has_bailed_out &= self.prove.is_some();
    }

    /// Ends the last report; says whether it was cut off.
    fn end_report(&mut self) -> bool {
        self.yaml = None;
        self.end_levels();
        self.count_claim();
        let Some(prove) = &self.prove else {
            return self.levels[0].plans == 0 && !self.has_bailed_out;
        };
        let failing = prove.failing.saturating_add(self.failing);
        match prove.result.as_deref() {
            None => return !self.has_bailed_out,
            Some("PASS") => {}
            Some(_) if failing > 0 => {}
            Some("NOTESTS") => {}
            Some(result) => {
                let message = format!("Result: {result}, and nothing that failed is there");
                self.broken(0, 1, &message);
            }
        }
        false
    }

    /// Ends all levels, with what they hold.
    fn end_levels(&mut self) {
        while self.levels.len() > 1 {
            self.close();
        }
        self.end_level(0);
    }

    /// Counts what the report says of itself.
    fn count_claim(&mut self) {
        let leaf_seconds = std::mem::take(&mut self.leaf_seconds);
        self.seconds += self.told_seconds.take().unwrap_or(leaf_seconds);
        if self.failing == 0 && self.claimed > 0 {
            let claimed = self.claimed;
            let message = format!("{claimed} failed, and none that did is there");
            self.broken(0, claimed, &message);
        }
    }
}

impl Level {
    /// Notes the number of a test; one without is the next.
    fn number(&mut self, number: Option<u64>) -> Result<(), TooMuch> {
        self.points += 1;
        let number = number.unwrap_or(self.reached.saturating_add(1));
        if number > self.reached {
            self.ahead.insert(number);
        }
        while self.ahead.first() == Some(&self.reached.saturating_add(1)) {
            self.ahead.pop_first();
            self.reached += 1;
        }
        if self.ahead.len() > AHEAD_MAX {
            let what = "number of tests ahead of a lower number";
            let limit = AHEAD_MAX as u64;
            return Err(TooMuch { what, limit });
        }
        Ok(())
    }
}

impl Yaml {
    /// Reads a line of the block for what belongs to the test.
    fn line(&mut self, indent: usize, text: &str, case: &mut TestCase) {
        if let Some(rank) = self.awaited.take()
            && indent > self.indent
        {
            self.message(rank, text, case);
            return;
        }
        if indent != self.indent {
            return;
        }
        let Some((key, value)) = text.split_once(':') else {
            return;
        };
        let value = value.trim();
        let rank = match key {
            "message" => 2,
            "error" => 1,
            "duration_ms" => {
                let seconds = millis(value).map(|millis| millis / 1000.0);
                case.seconds = seconds.or(case.seconds);
                return;
            }
            _ => return,
        };
        match value {
            "" | "|" | "|-" | "|+" | ">" | ">-" | ">+" => self.awaited = Some(rank),
            value => self.message(rank, unquoted(value), case),
        }
    }

    /// Takes a message, unless there is one from a better key. A reason is better than any.
    fn message(&mut self, rank: u8, message: &str, case: &mut TestCase) {
        if case.outcome.is_failing() && rank > self.rank {
            self.rank = rank;
            case.message = text::line(message, MESSAGE_CHARS_MAX);
        }
    }
}

fn unquoted(value: &str) -> &str {
    let within = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    within('\'').or_else(|| within('"')).unwrap_or(value)
}

/// The file in `t/cart.t .. `, and why it was skipped in `t/cart.t .. skipped: no net`.
fn prove_header(text: &str) -> Option<(&str, Option<&str>)> {
    let (file, rest) = text.split_once(" ..")?;
    let rest = rest.trim_start_matches('.').trim();
    // Others print dots too: this is a path.
    if file.contains(char::is_whitespace) || !file.contains(['.', '/']) || file.starts_with('#') {
        return None;
    }
    match rest {
        "" => Some((file, None)),
        rest => Some((file, Some(rest.strip_prefix("skipped:")?.trim()))),
    }
}
