//! Whether the reports are of this execution and of this commit.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::{Age, Evidence, History, Level, RuleVerdict, Rules, Run, Verdict};

/// How far the clock of the machine that ran the tests may be behind.
const SKEW: SignedDuration = SignedDuration::from_mins(1);

/// The shortest abbreviation of a commit that is compared.
const ABBREVIATED_CHARS_MIN: usize = 7;

/// Who asks for the verdict: it says where the fix of a mistake belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// An action of a pipeline, with its UserParameters.
    Pipeline,
    /// The command `penstock gate`, with its options.
    Command,
}

impl Caller {
    /// How the time at which the execution began is told.
    fn since(self) -> &'static str {
        match self {
            Self::Pipeline => {
                "pass \"execution\":\"#{codepipeline.PipelineExecutionId}\" and \"pipeline\" in \
                 UserParameters"
            }
            Self::Command => "give it as --since",
        }
    }

    /// How the commit that is being released is told.
    fn commit(self) -> &'static str {
        match self {
            Self::Pipeline => "pass \"commit\":\"#{SourceVariables.CommitId}\" in UserParameters",
            Self::Command => "give it as --commit",
        }
    }
}

/// What the reports are compared with.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Who asks.
    pub by: Caller,
    /// Now.
    pub now: Timestamp,
    /// Names this run: the pipeline execution, or what else is unlike every other run's.
    pub run: &'a str,
    /// When the pipeline execution began; None when that is not known.
    pub since: Option<Timestamp>,
    /// The commit that is being released; None when that is not known.
    pub commit: Option<&'a str>,
    /// The runs that passed before.
    pub history: &'a History,
    /// Why what was remembered of such runs cannot be read any more; None when nothing was lost.
    pub lost: Option<&'a str>,
}

impl Context<'_> {
    /// Whether it is later than this day everywhere that counts in UTC.
    pub(super) fn is_after(&self, day: Date) -> bool {
        self.now.to_zoned(TimeZone::UTC).date() > day
    }

    pub(super) fn last(&self) -> Option<&Run> {
        self.history.before(self.run)
    }

    /// Why there is no last run to compare with.
    pub(super) fn without_last(&self) -> &'static str {
        match self.lost {
            Some(_) => "could not compare: the earlier runs that passed are lost",
            None => "there is no earlier run that passed",
        }
    }

    /// Nobody shall take a gate that could not compare for one that did.
    pub(super) fn judge_history(&self) -> Option<RuleVerdict> {
        let why = self.lost?;
        let why = format!(
            "could not compare with the earlier runs that passed, because what was remembered of \
             them cannot be read ({why}); the history begins anew with the next run that passes"
        );
        Some(RuleVerdict::new("history", Verdict::Warn, why))
    }
}

pub(super) fn judge(rules: &Rules, evidence: &Evidence, context: &Context<'_>) -> Vec<RuleVerdict> {
    let age = rules.max_report_age.and_then(|limit| limit.active());
    let age = age.and_then(|(age, level)| {
        let said = of_age(age, evidence, context);
        RuleVerdict::of("max-report-age", level, said)
    });
    let commit = match rules.same_commit {
        Level::Off => None,
        level => RuleVerdict::of("same-commit", level, of_commit(evidence, context)),
    };
    age.into_iter().chain(commit).collect()
}

/// The reason why the rule is kept, or why not.
type Said = Result<String, String>;

fn of_age(age: Age, evidence: &Evidence, context: &Context<'_>) -> Said {
    let (limit, since) = match age {
        Age::Execution => (
            "the execution".to_owned(),
            context.since.ok_or_else(|| {
                let fix = context.by.since();
                format!("when the execution began is not known: {fix}")
            })?,
        ),
        Age::Time(time) => (time.to_string(), context.now - time.0),
    };
    if let Some(path) = evidence.undated.first() {
        return Err(format!(
            "nobody knows how old {path} is: it has no time, and neither has its file"
        ));
    }
    match &evidence.oldest {
        Some((began, path)) if *began < since.checked_sub(SKEW).unwrap_or(since) => Err(format!(
            "{path} is of {began:.0}, older than {limit}: is it a report of an earlier run, from a \
             cache or from the repository?"
        )),
        Some((began, path)) => Ok(format!("the oldest report, {path}, is of {began:.0}")),
        None => Ok("there is no report".to_owned()),
    }
}

fn of_commit(evidence: &Evidence, context: &Context<'_>) -> Said {
    let Some(commit) = context.commit else {
        let fix = context.by.commit();
        return Err(format!("the commit being released is not known: {fix}"));
    };
    let other = evidence.commits.iter().find(|of| !is_same(of, commit));
    match (other, evidence.commits.is_empty()) {
        (Some(other), _) => Err(format!(
            "the reports are of {other}, the release is of {commit}"
        )),
        (None, true) => Err(
            "no report says which commit it is of: let the build write it to a file and name that \
             as `commit-file`"
                .to_owned(),
        ),
        (None, false) => Ok(format!("the reports are of {commit}")),
    }
}

/// Whether both name the same commit, one of them perhaps abbreviated.
fn is_same(a: &str, b: &str) -> bool {
    let length = a.len().min(b.len());
    let starts = |text: &str| text.get(..length).map(str::to_ascii_lowercase);
    length >= ABBREVIATED_CHARS_MIN && starts(a).is_some() && starts(a) == starts(b)
}
