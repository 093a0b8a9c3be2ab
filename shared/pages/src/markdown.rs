//! What the Markdown shows, and how it is escaped.
//!
//! Nothing that a report says may become markup, a link, a mention or HTML, on any of the forges and
//! in any place of the page. A name is shown as code, where forges leave everything alone; any other
//! text is escaped. All rules below are those of CommonMark 0.31 and of GitHub Flavored Markdown, and
//! of what GitHub and GitLab make links of in a text.

use std::collections::BTreeMap;
use std::fmt;

use askama::Template;
use askama::filters::{Escaper, Safe};
use release::gate::{GateVerdict, JudgedCase, Standing, Verdict, Weighed};
use reports::{Outcome, Ratio, Severity};

use crate::listing::{Listing, Room};
use crate::{GatePage, State, words};

/// Largest page, in bytes: every list has a bound, and every text in it, once it is escaped.
pub const MARKDOWN_BYTES_MAX: usize = 60_000;

/// Most rules that are listed, the broken ones first.
pub const RULES_ITEMS_MAX: usize = 30;

/// Most failing tests that are listed, the new ones first.
pub const TESTS_ITEMS_MAX: usize = 50;

/// Most files that are listed, those with the most uncovered lines first.
pub const COVERAGE_ITEMS_MAX: usize = 10;

/// Most findings that are listed, the worst first. Only those that count are.
pub const FINDINGS_ITEMS_MAX: usize = 20;

/// Most bytes of a rule's reason, of another text, and of a name.
const WHY_BYTES_MAX: usize = 400;
const TEXT_BYTES_MAX: usize = 250;
const NAME_BYTES_MAX: usize = 200;

/// Escapes what a template of Markdown shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Escaped;

impl Escaper for Escaped {
    fn write_escaped_str<W: fmt::Write>(&self, mut to: W, text: &str) -> fmt::Result {
        to.write_str(&escaped(text, usize::MAX))
    }
}

/// A text as Markdown in which nothing of it is markup; so many bytes at most, and `…` where it is
/// cut.
///
/// Punctuation that can be markup is written as a number, `&#42;`, which by definition is never
/// markup. What forges make links of after that (`@name`, `#1`, `www.`, `:bug:`) is parted by a space
/// without width.
fn escaped(text: &str, bytes_max: usize) -> String {
    let mut written = String::with_capacity(text.len());
    for (place, char) in text.char_indices() {
        let whole = written.len();
        match char {
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '|' | '~' | '!' | '#'
            | '$' | '^' | '&' | '@' | '=' | '+' => written += &format!("&#{};", u32::from(char)),
            char if char.is_control() || char.is_whitespace() => written.push(' '),
            char => written.push(char),
        }
        if links(&text[..place], char, &text[place + char.len_utf8()..]) {
            written += "&#8203;";
        }
        if written.len() > bytes_max {
            written.truncate(whole);
            written.push('…');
            break;
        }
    }
    written
}

/// Whether a forge may make a link, a mention or a picture of what stands around this character.
fn links(before: &str, char: char, after: &str) -> bool {
    let ends = |word: &str| {
        let start = before.len().checked_sub(word.len());
        let end = start.and_then(|start| before.get(start..));
        end.is_some_and(|end| end.eq_ignore_ascii_case(word))
    };
    match char {
        '@' | '#' | '!' | '$' | '~' | '&' | '%' | '^' => {
            after.starts_with(|next: char| next.is_alphanumeric() || "\"_".contains(next))
        }
        // https://, mailto:name, and :bug:
        ':' => after.starts_with(|next: char| next.is_alphanumeric() || "/+-".contains(next)),
        '.' => ends("www"),
        // GH-1, JIRA-1
        '-' => before.ends_with(char::is_alphabetic) && after.starts_with(|c: char| c.is_numeric()),
        _ => false,
    }
}

/// A name as code; so many bytes at most, and `…` where it is cut. Not for a table, whose cells end
/// at a `|` even within code.
fn code(name: &str) -> Safe<String> {
    let printable = name.chars().map(|char| match char {
        char if char.is_control() || char.is_whitespace() => ' ',
        char => char,
    });
    let mut written = String::new();
    for char in printable {
        if written.len() + char.len_utf8() > NAME_BYTES_MAX {
            written.push('…');
            break;
        }
        written.push(char);
    }
    if written.trim().is_empty() {
        return Safe("(no name)".to_owned());
    }
    // Code ends at as many backticks as it begins with. One space at both ends is taken off.
    let runs = written.split(|char| char != '`').map(str::len);
    let fence = "`".repeat(runs.max().unwrap_or(0) + 1);
    let is_at_end = |char| written.starts_with(char) || written.ends_with(char);
    let space = if is_at_end('`') || is_at_end(' ') {
        " "
    } else {
        ""
    };
    Safe(format!("{fence}{space}{written}{space}{fence}"))
}

fn text(text: &str) -> Safe<String> {
    Safe(escaped(text, TEXT_BYTES_MAX))
}

/// The page.
#[derive(Template)]
#[template(path = "gate.md")]
struct Page {
    sign: &'static str,
    gate: Safe<String>,
    words: &'static str,
    numbers: Safe<String>,
    rules: Listing<Rule>,
    failing: Listing<Test>,
    shares: Vec<Share>,
    files: Listing<File>,
    findings: Option<Listing<Found>>,
    origin: Vec<(&'static str, Safe<String>)>,
}

struct Rule {
    sign: &'static str,
    rule: &'static str,
    why: Safe<String>,
}

struct Test {
    tag: Safe<String>,
    id: Safe<String>,
    message: Option<Safe<String>>,
}

struct Share {
    label: &'static str,
    covered: String,
    valid: String,
    share: String,
}

struct File {
    path: Safe<String>,
    missed: String,
    of: String,
}

struct Found {
    severity: &'static str,
    id: Safe<String>,
    place: Option<Safe<String>>,
    message: Option<Safe<String>>,
    fixed_in: Option<Safe<String>>,
}

pub(crate) fn page(page: &GatePage<'_>) -> String {
    let verdict = page.verdict;
    let state = page.state();
    let coverage = verdict.coverage;
    let shares = [
        ("Lines", coverage.map(|coverage| coverage.lines)),
        ("Branches", coverage.map(|coverage| coverage.branches)),
        (
            "Changed lines",
            coverage.and_then(|coverage| coverage.changed),
        ),
    ];
    let shares = shares
        .into_iter()
        .filter_map(|(label, ratio)| Some(share(label, ratio?)));
    let origin = [
        ("pipeline", page.pipeline),
        ("execution", page.execution),
        ("commit", page.commit),
    ];
    let origin = origin
        .into_iter()
        .filter_map(|(what, value)| Some((what, code(value?))));
    let judged = Safe(words::moment(page.made));
    let view = Page {
        sign: sign(state),
        gate: code(page.gate),
        words: state.words(),
        numbers: Safe(numbers(verdict)),
        rules: rules(verdict),
        failing: failing(verdict),
        shares: shares.collect(),
        files: files(verdict),
        findings: verdict
            .findings
            .as_ref()
            .map(|counts| findings(verdict, counts)),
        origin: origin.chain([("judged", judged)]).collect(),
    };
    // Writing to a string fails only when a Display does, and none here does.
    bounded(view.render().unwrap_or_default())
}

/// Ends a page that is too long at the end of a line, and says so.
fn bounded(mut page: String) -> String {
    const REST: &str = "\n\n*This is not all: the rest is in report.html.*\n";
    if page.len() > MARKDOWN_BYTES_MAX {
        let cut = page.floor_char_boundary(MARKDOWN_BYTES_MAX - REST.len());
        page.truncate(page[..cut].rfind('\n').unwrap_or(0));
        page += REST;
    }
    page
}

fn sign(state: State) -> &'static str {
    match state {
        State::Passed => "✅",
        State::Warned => "⚠️",
        State::Failed => "❌",
    }
}

/// So many rows, whatever they hold: their texts are bounded one by one.
fn room(rows: usize) -> Room {
    let bytes = usize::MAX;
    Room { rows, bytes }
}

/// The counts, in words.
fn numbers(verdict: &GateVerdict) -> String {
    let totals = &verdict.totals;
    let mut parts = Vec::new();
    if totals.tests > 0 || (verdict.coverage.is_none() && verdict.findings.is_none()) {
        parts.push(format!(
            "**{}**",
            words::counted(totals.tests, "test", "tests")
        ));
        let counts = [
            (totals.passed, "passed"),
            (totals.failed, "failed"),
            (totals.errors, "errors"),
            (totals.flaky, "flaky"),
            (totals.skipped, "skipped"),
        ];
        parts.extend(counts.map(|(count, word)| format!("{} {word}", words::count(count))));
        parts.push(words::duration(verdict.duration_seconds).replace('<', "&#60;"));
    }
    let lines = verdict.coverage.map(|coverage| coverage.lines);
    parts.extend(lines.map(|lines| format!("{} of the lines covered", words::share(lines))));
    if let Some(counts) = &verdict.findings {
        let of_each = |(severity, count): (&Severity, &u64)| {
            (*count > 0).then(|| format!("{} {}", words::count(*count), severity.name()))
        };
        let counts: Vec<_> = counts.iter().rev().filter_map(of_each).collect();
        parts.push(match counts.is_empty() {
            true => "no findings".to_owned(),
            false => format!("findings: {}", counts.join(", ")),
        });
    }
    parts.join(" · ")
}

fn rules(verdict: &GateVerdict) -> Listing<Rule> {
    let kept = verdict
        .rules
        .iter()
        .filter(|rule| rule.verdict == Verdict::Pass);
    let all = verdict.broken().chain(kept).map(|said| Rule {
        sign: sign(State::of(said.verdict)),
        rule: said.rule,
        why: Safe(escaped(&said.why, WHY_BYTES_MAX)),
    });
    Listing::of(all, 0, room(RULES_ITEMS_MAX), |_| 0)
}

fn failing(verdict: &GateVerdict) -> Listing<Test> {
    let mut all: Vec<_> = verdict.failing.iter().collect();
    all.sort_by_key(|JudgedCase { case, weighed }| {
        let is_excused = matches!(weighed, Weighed::Quarantined { .. });
        (
            is_excused,
            *weighed != Weighed::New,
            case.outcome != Outcome::Errored,
        )
    });
    let all = all.into_iter().map(|JudgedCase { case, weighed }| {
        let tag = match weighed {
            Weighed::New => Safe("new".to_owned()),
            Weighed::Known => Safe("known".to_owned()),
            Weighed::Quarantined { ticket } => text(&format!("quarantined, {ticket}")),
        };
        let message = Some(&case.message).filter(|message| !message.is_empty());
        Test {
            tag,
            id: code(&case.id()),
            message: message.map(|message| text(message)),
        }
    });
    Listing::of(all, verdict.totals.failing(), room(TESTS_ITEMS_MAX), |_| 0)
}

fn share(label: &'static str, ratio: Ratio) -> Share {
    Share {
        label,
        covered: words::count(ratio.covered),
        valid: words::count(ratio.valid),
        share: words::share(ratio),
    }
}

/// The files that have uncovered lines.
fn files(verdict: &GateVerdict) -> Listing<File> {
    let all = verdict
        .covered
        .files()
        .map(|(path, file)| (file.lines(), path));
    let missed = |ratio: &Ratio| ratio.valid.saturating_sub(ratio.covered);
    let mut all: Vec<_> = all.filter(|(ratio, _)| missed(ratio) > 0).collect();
    all.sort_by_key(|(ratio, _)| std::cmp::Reverse(missed(ratio)));
    let all = all.into_iter().map(|(ratio, path)| File {
        path: code(path),
        missed: words::count(missed(&ratio)),
        of: words::count(ratio.valid),
    });
    Listing::of(all, 0, room(COVERAGE_ITEMS_MAX), |_| 0)
}

/// The findings that count.
fn findings(verdict: &GateVerdict, counts: &BTreeMap<Severity, u64>) -> Listing<Found> {
    let total = counts
        .values()
        .fold(0_u64, |sum, count| sum.saturating_add(*count));
    let said = |part: &str| Some(code(part)).filter(|_| !part.is_empty());
    let all = verdict
        .found
        .iter()
        .filter(|judged| judged.standing == Standing::Counts);
    let all = all.map(|judged| {
        let finding = &judged.finding;
        let at = match finding.line {
            Some(line) => format!("{}:{line}", finding.path),
            None => finding.path.clone(),
        };
        let in_code = Some(at.as_str()).filter(|_| !finding.path.is_empty());
        Found {
            severity: finding.severity.name(),
            id: code(&finding.id),
            place: said(&finding.package).or_else(|| in_code.map(code)),
            message: Some(text(&finding.message)).filter(|_| !finding.message.is_empty()),
            fixed_in: said(&finding.fixed_in),
        }
    });
    Listing::of(all, total, room(FINDINGS_ITEMS_MAX), |_| 0)
}

#[cfg(test)]
mod laws;
