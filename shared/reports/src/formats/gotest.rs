//! The events of `go test -json`, of `go tool test2json` and of gotestsum's `--jsonfile`: JSON lines,
//! after the documentation of cmd/test2json. It is read like this:
//!
//! - Every test that ran counts, tests with subtests and their subtests alike, as gotestsum and the
//!   JUnit reports made of this count them. Packages do not count.
//! - A package that failed and in which no test did (it did not build, or `TestMain` gave up) is an
//!   error without a name. So is a build that failed and that no package named.
//! - A test without an end, in a package that failed (another test panicked or the time was up), is
//!   an error. In one that passed it is one too, unless the package's word covers it: benchmarks
//!   have no end, a subtest without end is covered by the test around it, and a test that printed
//!   half a line before its `--- PASS` loses its end in the output.
//! - A package that begins and never ends is a report that was cut off. A cut between two packages
//!   cannot be seen.
//! - A test that failed and passes in a later run of its package (gotestsum's reruns, which append
//!   to the file) is flaky. Within one run its repetitions (`-count`) are tests of their own.
//! - Lines that are no events, like a compiler's among them, are passed over, but for the
//!   `FAIL <package> [build failed]` of Go before 1.20 and a lone `FAIL`.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;

use super::{Format, Head, Source};
use crate::case::{MESSAGE_CHARS_MAX, Outcome, TestCase};
use crate::error::{Position, ReadError};
use crate::limits::RETRIES_REMEMBERED_MAX;
use crate::lines::{self, Line};
use crate::report::{Content, Parsed, Provenance};
use crate::tally::Tally;
use crate::text;

pub(super) const FORMAT: Format = Format {
    name: "gotest",
    sniff,
    read,
};

/// Most tests and packages that may run at one time.
const OPEN_MAX: usize = 50_000;

/// Most builds that failed and are remembered, to see whether a package names them.
const BUILDS_MAX: usize = 1_000;

/// What the events are that begin a report.
const ACTIONS: [&str; 10] = [
    "start",
    "run",
    "pause",
    "cont",
    "pass",
    "bench",
    "fail",
    "output",
    "skip",
    "build-output",
];

/// One event. Members that are not known are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event<'a> {
    #[serde(borrow)]
    action: Cow<'a, str>,
    #[serde(borrow, default)]
    time: Cow<'a, str>,
    #[serde(borrow, default)]
    package: Cow<'a, str>,
    #[serde(borrow, default)]
    test: Cow<'a, str>,
    #[serde(borrow, default)]
    output: Cow<'a, str>,
    #[serde(borrow, default)]
    output_type: Cow<'a, str>,
    #[serde(borrow, default)]
    import_path: Cow<'a, str>,
    #[serde(borrow, default)]
    failed_build: Cow<'a, str>,
    elapsed: Option<f64>,
}

impl<'a> Event<'a> {
    fn of(line: &'a str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }

    fn seconds(&self) -> Option<f64> {
        self.elapsed.filter(|seconds| *seconds >= 0.0)
    }
}

fn sniff(head: &Head<'_>) -> bool {
    let is_event = |line: &str| {
        Event::of(line).is_some_and(|event| {
            let is_of_something = !event.package.is_empty() || !event.import_path.is_empty();
            ACTIONS.contains(&&*event.action) && (is_of_something || !event.time.is_empty())
        })
    };
    head.lines().any(is_event)
}

fn read(source: Source<'_>) -> Result<Parsed, ReadError> {
    let name = source.name;
    let mut reading = Reading::new();
    lines::each(source, |line| {
        let read = reading.line(line);
        read.map_err(|what| ReadError::too_large(name, what, OPEN_MAX as u64))
    })?;
    if !reading.packages.is_empty() || reading.is_cut {
        let name = ReadError::name(name);
        let at = reading.end;
        return Err(ReadError::Truncated { name, at });
    }
    if reading.events == 0 {
        let none = "there is no event of go test";
        return Err(ReadError::malformed(name, Position::START, none));
    }
    reading.count_claims();
    Ok(Parsed {
        content: Content::Tests(reading.tally.finish(reading.seconds)),
        provenance: reading.provenance,
    })
}

/// What runs too much at one time.
type TooMany = &'static str;

struct Reading {
    tally: Tally,
    provenance: Provenance,
    seconds: f64,
    /// How many events there were.
    events: u64,
    /// How many tests failed, and packages without one.
    failing: u64,
    /// The packages that run, by the hash of their names.
    packages: HashMap<u64, Package>,
    /// How many tests run in them.
    open: usize,
    /// The builds that failed or printed, by their import path.
    builds: BTreeMap<String, Build>,
    /// A lone `FAIL` was printed.
    says_fail: bool,
    /// The last line is half an event.
    is_cut: bool,
    end: Position,
}

/// One run of a package.
#[derive(Default)]
struct Package {
    message: String,
    /// The tests that run, by the hash of the package's and their name.
    open: BTreeMap<u64, Open>,
    /// The tests that failed in this run.
    failed: HashSet<u64>,
    has_failed: bool,
}

/// A test that runs.
struct Open {
    case: TestCase,
    /// The test around this subtest.
    root: Option<u64>,
    is_benchmark: bool,
    /// It printed that it passed.
    says_passed: bool,
    /// Its message is what Go marks as an error.
    has_error: bool,
}

#[derive(Default)]
struct Build {
    message: String,
    has_failed: bool,
    /// A package that failed named it.
    is_told: bool,
}

impl Reading {
    fn new() -> Self {
        Self {
            tally: Tally::default(),
            provenance: Provenance::default(),
            seconds: 0.0,
            events: 0,
            failing: 0,
            packages: HashMap::new(),
            open: 0,
            builds: BTreeMap::new(),
            says_fail: false,
            is_cut: false,
            end: Position::START,
        }
    }

    fn line(&mut self, line: Line<'_>) -> Result<(), TooMany> {
        self.end = Position {
            line: line.number,
            byte: line.byte + line.text.len() as u64,
        };
        match Event::of(line.text) {
            Some(event) => {
                self.events += 1;
                self.event(&event)
            }
            None => {
                self.is_cut = line.is_open && line.text.trim_start().starts_with('{');
                self.text(line.text);
                Ok(())
            }
        }
    }

    /// What is printed beside the events.
    fn text(&mut self, line: &str) {
        let line = line.trim_end();
        self.says_fail |= line == "FAIL";
        if let Some(package) = line.strip_prefix("FAIL\t")
            && line.ends_with("failed]")
        {
            let name = package.split_whitespace().next().unwrap_or_default();
            self.broken(name, line);
        }
    }

    fn event(&mut self, event: &Event<'_>) -> Result<(), TooMany> {
        let is_of_test = !event.test.is_empty();
        match &*event.action {
            "start" => _ = self.package(event)?,
            "run" => self.run(event)?,
            "output" if is_of_test => self.printed(event)?,
            "output" => self.package(event)?.printed(&event.output),
            "pass" | "bench" if is_of_test => self.end(event, Outcome::Passed)?,
            "fail" if is_of_test => self.end(event, Outcome::Failed)?,
            "skip" if is_of_test => self.end(event, Outcome::Skipped)?,
            "pass" | "skip" => self.end_package(event, false)?,
            "fail" => self.end_package(event, true)?,
            "build-output" | "build-fail" => self.build(event),
            // How a test pauses, and what later Go may add: what ends nothing.
            _ => {}
        }
        Ok(())
    }

    /// The package of an event, which begins with its first.
    fn package(&mut self, event: &Event<'_>) -> Result<&mut Package, TooMany> {
        let key = hash(&event.package, "");
        if !self.packages.contains_key(&key) {
            if self.packages.len() >= OPEN_MAX {
                return Err("number of packages that run at one time");
            }
            self.provenance.began(&event.time);
        }
        Ok(self.packages.entry(key).or_default())
    }

    fn run(&mut self, event: &Event<'_>) -> Result<(), TooMany> {
        let key = hash(&event.package, &event.test);
        if let Some(before) = self.package(event)?.open.remove(&key) {
            // `-count` runs it again, and the end of the run before is lost.
            let outcome = before.outcome_without_end(true, true);
            self.close(event, key, before, outcome)?;
        }
        if self.open >= OPEN_MAX {
            return Err("number of tests that run at one time");
        }
        self.open += 1;
        let open = Open::of(event);
        self.package(event)?.open.insert(key, open);
        Ok(())
    }

    fn printed(&mut self, event: &Event<'_>) -> Result<(), TooMany> {
        let key = hash(&event.package, &event.test);
        if let Some(open) = self.package(event)?.open.get_mut(&key) {
            open.printed(event);
        }
        Ok(())
    }

    fn end(&mut self, event: &Event<'_>, outcome: Outcome) -> Result<(), TooMany> {
        let key = hash(&event.package, &event.test);
        let open = self.package(event)?.open.remove(&key);
        let mut open = match open {
            Some(open) => open,
            None => {
                self.open += 1;
                Open::of(event)
            }
        };
        open.case.seconds = event.seconds();
        self.close(event, key, open, outcome)
    }

    fn close(
        &mut self,
        event: &Event<'_>,
        key: u64,
        open: Open,
        outcome: Outcome,
    ) -> Result<(), TooMany> {
        self.open -= 1;
        let package = self.package(event)?;
        let identity = package.identity(key, outcome);
        self.count(identity, open, outcome);
        Ok(())
    }

    fn count(&mut self, identity: Option<u64>, open: Open, outcome: Outcome) {
        self.failing += u64::from(outcome.is_failing());
        let mut case = TestCase {
            outcome,
            ..open.case
        };
        if outcome == Outcome::Passed {
            case.message.clear();
        }
        self.tally.count(identity, case);
    }

    fn end_package(&mut self, event: &Event<'_>, failed: bool) -> Result<(), TooMany> {
        self.seconds += event.seconds().unwrap_or_default();
        self.package(event)?;
        let Some(mut package) = self.packages.remove(&hash(&event.package, "")) else {
            return Ok(());
        };
        let build = self.builds.get_mut(&*event.failed_build);
        if failed && let Some(build) = build {
            build.is_told = true;
            package.message.clone_from(&build.message);
        }
        self.open -= package.open.len();
        let open = std::mem::take(&mut package.open);
        let still_open: HashSet<u64> = open.keys().copied().collect();
        for (key, open) in open {
            let root_ended = open.root.is_some_and(|root| !still_open.contains(&root));
            let outcome = open.outcome_without_end(!failed, root_ended);
            let identity = package.identity(key, outcome);
            self.count(identity, open, outcome);
        }
        if failed && !package.has_failed {
            self.broken(&event.package, &package.message);
        }
        Ok(())
    }

    /// Counts a package that failed and in which no test did.
    fn broken(&mut self, package: &str, message: &str) {
        self.failing += 1;
        let case = TestCase {
            message: text::line(message, MESSAGE_CHARS_MAX),
            outcome: Outcome::Errored,
            ..TestCase::named(package, "", "")
        };
        self.tally.count(None, case);
    }

    fn build(&mut self, event: &Event<'_>) {
        let is_known = self.builds.contains_key(&*event.import_path);
        if !is_known && self.builds.len() >= BUILDS_MAX {
            return;
        }
        let build = self
            .builds
            .entry(event.import_path.to_string())
            .or_default();
        build.has_failed |= event.action == "build-fail";
        // The compiler's first line only names the package.
        if build.message.is_empty() && !event.output.starts_with('#') {
            build.message = text::line(&event.output, MESSAGE_CHARS_MAX);
        }
    }

    /// Counts the failures that no test and no package tells of.
    fn count_claims(&mut self) {
        let builds = std::mem::take(&mut self.builds).into_iter();
        for (path, build) in builds.filter(|(_, build)| build.has_failed && !build.is_told) {
            self.broken(&path, &build.message);
        }
        if self.says_fail && self.failing == 0 {
            self.broken("", "FAIL, and nothing that failed is listed");
        }
    }
}

impl Package {
    /// What a test that ended so is to be recognised by in a later run of its package.
    fn identity(&mut self, key: u64, outcome: Outcome) -> Option<u64> {
        let is_repeated = self.failed.contains(&key);
        if outcome.is_failing() {
            self.has_failed = true;
            if self.failed.len() < RETRIES_REMEMBERED_MAX {
                self.failed.insert(key);
            }
        }
        (!is_repeated).then_some(key)
    }

    /// Keeps the first line that says more than that the package failed, or else that it did.
    fn printed(&mut self, output: &str) {
        let line = output.trim();
        let is_result = matches!(line, "" | "FAIL" | "PASS") || line.starts_with("coverage:");
        let [was_verdict, is_verdict] = [&self.message, line].map(|line| line.starts_with("FAIL"));
        if !is_result && (self.message.is_empty() || (was_verdict && !is_verdict)) {
            self.message = text::line(line, MESSAGE_CHARS_MAX);
        }
    }
}

impl Open {
    fn of(event: &Event<'_>) -> Self {
        let root = event.test.split_once('/').map(|(root, _)| root);
        Self {
            case: TestCase::named(&event.package, "", &event.test),
            root: root.map(|root| hash(&event.package, root)),
            is_benchmark: event.test.starts_with("Benchmark"),
            says_passed: false,
            has_error: false,
        }
    }

    /// Keeps the first line that Go marks as an error, or else the first that is not Go's own.
    fn printed(&mut self, event: &Event<'_>) {
        let line = event.output.trim();
        self.says_passed |= line.contains("--- PASS: ");
        let is_frame = line.starts_with("=== ") || line.starts_with("--- ");
        let is_error = event.output_type == "error";
        let is_better = self.case.message.is_empty() || (is_error && !self.has_error);
        if !line.is_empty() && !is_frame && is_better {
            self.case.message = text::line(line, MESSAGE_CHARS_MAX);
            self.has_error = is_error;
        }
    }

    /// How a test ended that its package ended without.
    fn outcome_without_end(&self, package_passed: bool, root_ended: bool) -> Outcome {
        let is_covered =
            self.is_benchmark || self.says_passed || (self.root.is_some() && root_ended);
        match package_passed && is_covered {
            true => Outcome::Passed,
            false => Outcome::Errored,
        }
    }
}

fn hash(package: &str, test: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (package, test).hash(&mut hasher);
    hasher.finish()
}
