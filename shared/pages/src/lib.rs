//! Pages for people: a gate's verdict or the story of a release in, HTML or Markdown out.
//!
//! Pure: no clock, no file system, no network. The HTML is one file that needs nothing else: it can
//! be opened from a zip, on a phone, without a network and without JavaScript. The Markdown is for a
//! comment on a pull request or the summary of a job.
//!
//! Whoever can push to the repository can write the reports, so every text here may be hostile. The
//! templates escape by default, for the page they are of; no text stands in an attribute, in a
//! style or in a script, so whatever the texts are the page has the same elements.
//!
//! | part | holds |
//! |---|---|
//! | `html.rs`, `html/` | what the templates of a gate's HTML page show, section by section |
//! | `story.rs`, `story/` | what the templates of a release's HTML page show, section by section |
//! | `markdown.rs` | what the Markdown shows, and how it is escaped |
//! | `listing.rs` | lists that are cut at a bound and say so |
//! | `chart.rs` | the shapes of the charts |
//! | `words.rs` | how numbers, times and names are written |

mod chart;
mod html;
mod listing;
mod markdown;
mod story;
mod words;

use jiff::Timestamp;
use release::account::Account;
use release::gate::{GateVerdict, History, Verdict};

pub use html::{
    COVERAGE_ROWS_MAX, FILES_ROWS_MAX, FINDINGS_ROWS_MAX, HTML_BYTES_MAX, RULES_ROWS_MAX,
    TESTS_ROWS_MAX,
};
pub use markdown::{
    COVERAGE_ITEMS_MAX, FINDINGS_ITEMS_MAX, MARKDOWN_BYTES_MAX, RULES_ITEMS_MAX, TESTS_ITEMS_MAX,
};
pub use story::{MOMENTS_ROWS_MAX, RELEASE_HTML_BYTES_MAX, Told, WINDOWS_ROWS_MAX, told};

/// Longest text of the page's own head that is shown, in characters: the gate, the pipeline.
pub(crate) const HEAD_CHARS_MAX: usize = 200;

/// What a page is made of.
#[derive(Debug, Clone, Copy)]
pub struct GatePage<'a> {
    /// The gate: the name of its section in `penstock.yaml`.
    pub gate: &'a str,
    /// What it says.
    pub verdict: &'a GateVerdict,
    /// The runs that passed before this one.
    pub history: &'a History,
    /// The pipeline execution, when it is known.
    pub execution: Option<&'a str>,
    /// The commit, when it is known.
    pub commit: Option<&'a str>,
    /// The pipeline, when it is known.
    pub pipeline: Option<&'a str>,
    /// When the gate was judged.
    pub made: Timestamp,
}

impl GatePage<'_> {
    /// A whole page in one file; [`HTML_BYTES_MAX`] at most.
    #[must_use]
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// A summary for a comment or a job; [`MARKDOWN_BYTES_MAX`] at most, which is less than what
    /// GitHub (65,536 characters) and GitLab (1,000,000) take as one comment.
    #[must_use]
    pub fn markdown(&self) -> String {
        markdown::page(self)
    }

    fn state(&self) -> State {
        let warned = |rule: &release::gate::RuleVerdict| rule.verdict == Verdict::Warn;
        match self.verdict.verdict {
            Verdict::Fail => State::Failed,
            Verdict::Warn => State::Warned,
            Verdict::Pass if self.verdict.rules.iter().any(warned) => State::Warned,
            Verdict::Pass => State::Passed,
        }
    }
}

/// What the page of a release is made of.
#[derive(Debug, Clone, Copy)]
pub struct ReleasePage<'a> {
    /// What it did, and why.
    pub account: &'a Account,
    /// The pipeline, when it is known.
    pub pipeline: Option<&'a str>,
    /// When the page was made.
    pub made: Timestamp,
}

impl ReleasePage<'_> {
    /// A whole page in one file, without a script; [`RELEASE_HTML_BYTES_MAX`] at most.
    #[must_use]
    pub fn html(&self) -> String {
        story::page(self)
    }
}

/// The verdict at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Passed,
    Warned,
    Failed,
}

impl State {
    /// In words.
    fn words(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::Warned => "Passed with warnings",
            Self::Failed => "Failed",
        }
    }

    /// Of one rule.
    fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Passed,
            Verdict::Warn => Self::Warned,
            Verdict::Fail => Self::Failed,
        }
    }

    /// The class of its colours, and the name of its symbol.
    fn class(self) -> &'static str {
        match self {
            Self::Passed => "pass",
            Self::Warned => "warn",
            Self::Failed => "fail",
        }
    }

    /// At the head of the page.
    fn look(self) -> Look {
        Look {
            class: self.class(),
            words: self.words(),
            colour: match self {
                Self::Passed => GREEN,
                Self::Warned => AMBER,
                Self::Failed => RED,
            },
        }
    }
}

/// How the head of a page looks.
#[derive(Debug, Clone, Copy)]
struct Look {
    /// The class of its colours, and the name of its symbol.
    class: &'static str,
    /// The largest words on the page.
    words: &'static str,
    /// Of the icon, as six hexadecimal digits: the page's style sheet does not reach it.
    colour: &'static str,
}

const GREEN: &str = "17703f";
const AMBER: &str = "8a5500";
const RED: &str = "b3261e";
const BLUE: &str = "2458a6";
