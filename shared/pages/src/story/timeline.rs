//! What happened, in order: when, what, why, and who.

use std::collections::BTreeSet;

use jiff::Timestamp;
use release::account::{Account, Moment, What, Who};
use release::{CheckVerdict, Effect, Outcome, Reason, Weight};

use super::{clock, sentence, took};
use crate::html::escaped;
use crate::listing::{Listing, Room};
use crate::words;

/// Most moments that are listed, the last ones.
pub const MOMENTS_ROWS_MAX: usize = 500;

const MOMENTS_ROOM: Room = Room {
    rows: MOMENTS_ROWS_MAX,
    bytes: 300 * 1024,
};

/// Most alarms that are named in one place.
const ALARMS_MAX: usize = 10;
/// Longest name of an alarm or an execution that is shown, in characters.
const NAME_CHARS_MAX: usize = 200;

/// One moment.
pub(super) struct Happened {
    pub(super) at: String,
    pub(super) after: String,
    /// Of its dot.
    pub(super) class: &'static str,
    pub(super) what: String,
    pub(super) why: String,
    pub(super) who: String,
}

/// The last moments, the oldest of them first.
pub(super) fn of(account: &Account) -> Listing<Happened> {
    let began = account.end.started.at;
    let steps = account.plan().steps.len();
    let serving = account.end.serving();
    let all = account.moments.iter().rev();
    let all = all.map(|moment| Happened::of(moment, began, steps, &serving));
    let size = |row: &Happened| 200 + escaped(&row.what) + escaped(&row.why);
    let mut listing = Listing::of(all, 0, MOMENTS_ROOM, size);
    listing.rows.reverse();
    say_once(&mut listing.rows);
    listing
}

/// One thing that happened, in words: plain text, which may be hostile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
    /// Why; empty where there was no choice, or where it is that of the thing before.
    pub why: String,
    /// Who decided it, or saw it.
    pub who: String,
}

/// The last things that happened, at most so many, the oldest of them first.
#[must_use]
pub fn told(account: &Account, most: usize) -> Vec<Told> {
    let began = account.end.started.at;
    let steps = account.plan().steps.len();
    let serving = account.end.serving();
    let last = account.moments.len().saturating_sub(most);
    let rows = account.moments.iter().skip(last);
    let told = rows.clone();
    let told = told.map(|moment| Happened::of(moment, began, steps, &serving));
    let mut told: Vec<_> = told.collect();
    say_once(&mut told);
    let told = rows.zip(told).map(|(moment, row)| Told {
        at: moment.at,
        what: row.what,
        why: row.why,
        who: row.who,
    });
    told.collect()
}

/// What follows for the same reason does not repeat it.
fn say_once(rows: &mut [Happened]) {
    let mut before = String::new();
    for row in rows {
        if row.why == before {
            row.why.clear();
        } else {
            before.clone_from(&row.why);
        }
    }
}

impl Happened {
    fn of(moment: &Moment, began: Timestamp, steps: usize, serving: &str) -> Self {
        let (class, what) = what(moment, steps, serving);
        // That the plan's next weight is this one has been said.
        let because = moment.because.as_ref();
        let because = because.filter(|why| !matches!(why, Reason::NextWeight { .. }));
        Self {
            at: clock(moment.at),
            after: format!("+{}", took(moment.at.duration_since(began))),
            class,
            what,
            why: match &moment.what {
                What::Ordered { by, .. } => sentence(&by.why),
                What::Frozen { because, .. } => sentence(because),
                What::Checked { checked } => sentence(&checked.said),
                What::CleanupFailed { why, .. } | What::RollbackStuck { why } => sentence(why),
                What::Act { .. } => String::new(),
                What::Began { .. }
                | What::CandidateReady
                | What::Weight { .. }
                | What::Alarms { .. }
                | What::StepDone { .. }
                | What::RollbackDecided
                | What::Ended { .. } => {
                    because.map_or_else(String::new, |why| sentence(&capital(why)))
                }
            },
            who: who(moment),
        }
    }
}

fn capital(because: &Reason) -> String {
    let text = because.to_string();
    let mut chars = text.chars();
    let first = chars.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(chars).collect()
}

fn what(moment: &Moment, steps: usize, serving: &str) -> (&'static str, String) {
    match &moment.what {
        What::Began {
            execution,
            alarms_firing,
        } => {
            let by = execution.as_deref().map(|execution| {
                let name = words::cut(execution, NAME_CHARS_MAX);
                format!(" for pipeline execution {name}")
            });
            let ignored = match alarms_firing.is_empty() {
                true => String::new(),
                false => format!(
                    "; firing already, so ignored until it clears: {}",
                    names(alarms_firing)
                ),
            };
            let by = by.unwrap_or_default();
            ("began", format!("The release began{by}{ignored}"))
        }
        What::Weight {
            weight, performed, ..
        } => {
            let done = match performed {
                Some(at) => format!("in place {} later", took(at.duration_since(moment.at))),
                None => "not known to be in place".to_owned(),
            };
            match *weight == Weight::ZERO {
                true => (
                    "back",
                    format!("All traffic back to the stable version, {done}"),
                ),
                false => ("up", format!("Candidate to {weight}, {done}")),
            }
        }
        What::Act {
            effect, performed, ..
        } => {
            let what = match effect {
                Effect::Deploy => "Candidate asked for",
                Effect::Retire => "Idle version taken down",
                Effect::TestTraffic(true) => "Test traffic to the candidate",
                Effect::TestTraffic(false) => "Test traffic ended",
                Effect::StopAlongside => "Deployments alongside stopped",
                Effect::HoldStage => "Stage held",
                Effect::SetWeight(_) => "Weight set",
            };
            let done = match performed {
                Some(_) => "",
                None => ", not known to be done",
            };
            ("up", format!("{what}{done}"))
        }
        What::CleanupFailed { effect, .. } => ("back", format!("Could not {effect}: it is left")),
        What::CandidateReady => ("done", "Candidate up and healthy".to_owned()),
        What::Checked { checked } => match checked.verdict {
            CheckVerdict::Pass => ("done", "Check passed".to_owned()),
            CheckVerdict::Fail => ("back", "Check failed".to_owned()),
            CheckVerdict::Wait => ("up", "Check goes on".to_owned()),
        },
        What::Frozen { until, .. } => ("hand", format!("Frozen until {until:.0}")),
        What::Alarms { fired, cleared } => {
            let told = [(fired, "fired"), (cleared, "cleared")];
            let told = told.into_iter().filter(|(alarms, _)| !alarms.is_empty());
            let told = told.map(|(alarms, verb)| format!("{} {verb}", names(alarms)));
            let told: Vec<_> = told.collect();
            ("alarm", format!("Alarms: {}", told.join("; ")))
        }
        What::StepDone { step } => (
            "done",
            format!("Step {} of {steps} done", step.saturating_add(1)),
        ),
        What::Ordered { order, .. } => ("hand", format!("Ordered: {order}")),
        What::RollbackDecided => ("back", "Rollback decided".to_owned()),
        What::RollbackStuck { .. } => (
            "alarm",
            "The rollback is stuck: it goes on being tried".to_owned(),
        ),
        What::Ended { outcome, proof } => {
            let (class, how) = match outcome {
                Outcome::Promoted => ("done", "Promoted"),
                Outcome::RolledBack => ("back", "Rolled back"),
            };
            let weight = proof.weight;
            let requests = proof.candidate_requests;
            let requests = requests.map_or_else(String::new, |seen| format!("; {seen}"));
            (
                class,
                format!("{how}: the target reads {weight}, with {serving}{requests}"),
            )
        }
    }
}

fn names(alarms: &BTreeSet<String>) -> String {
    let some = alarms.iter().take(ALARMS_MAX);
    let mut names: Vec<_> = some.map(|name| words::cut(name, NAME_CHARS_MAX)).collect();
    let more = alarms.len().saturating_sub(ALARMS_MAX);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    names.join(", ")
}

fn who(moment: &Moment) -> String {
    let identity = match (&moment.what, &moment.because) {
        (What::Ordered { by, .. }, _) => Some(&by.who),
        (_, Some(Reason::Asked { by, .. })) => by.as_ref(),
        (_, _) => None,
    };
    if let Some(identity) = identity {
        return words::cut(identity, NAME_CHARS_MAX);
    }
    let who = match moment.who {
        Who::Pipeline => "the pipeline",
        Who::Plan => "the plan",
        Who::Judge => "the judge",
        Who::Alarm => "an alarm",
        Who::Outside => "an event outside",
        Who::Somebody => "somebody, by hand",
        Who::Penstock => "Penstock",
    };
    who.to_owned()
}
