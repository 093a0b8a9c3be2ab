//! How long a gate waits for what AWS has not finished.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::Found;
use crate::{JobReply, ReleaseId, Story, Token};

/// Something that AWS has not finished yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What it is, such as `the scan of shop/web:v1`.
    pub what: String,
    /// How long the gate waits for it.
    pub within: SignedDuration,
}

/// One past fact of a gate's wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum WaitEvent {
    /// The gate looked for the first time, and something was not finished.
    Began {
        /// When.
        at: Timestamp,
    },
}

/// A gate that waits, folded from its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateWait {
    /// When it began to.
    pub began: Timestamp,
}

impl Story for Option<GateWait> {
    type Event = WaitEvent;
    const KIND: &'static str = "gate-wait";

    fn apply(&mut self, event: &WaitEvent) {
        let WaitEvent::Began { at } = event;
        self.get_or_insert(GateWait { began: *at });
    }
}

/// What a gate does about what is not finished.
#[derive(Debug)]
pub enum Patience {
    /// It looks again at its next job.
    Wait(JobReply),
    /// It judges what there is; what is not finished counts as unreadable.
    Over(Vec<Found>),
}

impl GateWait {
    /// Goes on waiting, unless one of these has had its time: then the gate fails anyway, so nobody
    /// waits for the others. `pending` is not empty.
    pub fn patience(&self, now: Timestamp, pending: &[Pending], story: &ReleaseId) -> Patience {
        let waited = now.duration_since(self.began).max(SignedDuration::ZERO);
        if pending.iter().any(|one| waited >= one.within) {
            return Patience::Over(pending.iter().map(|one| one.given_up(waited)).collect());
        }
        let names: Vec<_> = pending.iter().map(|one| one.what.as_str()).collect();
        let shortest = pending.iter().map(|one| one.within).min();
        let shortest = shortest.unwrap_or(SignedDuration::ZERO);
        let whole = SignedDuration::from_secs(waited.as_secs());
        Patience::Wait(JobReply::Continue {
            token: Token::of(story.clone()),
            summary: format!(
                "waiting for {} ({whole:#} of {shortest:#})",
                names.join("; ")
            ),
            percent: percent(waited, shortest),
        })
    }
}

/// How much of the time is over, 0..=99.
fn percent(waited: SignedDuration, within: SignedDuration) -> u8 {
    let seconds = within.as_secs().max(1);
    let percent = waited.as_secs().saturating_mul(100) / seconds;
    u8::try_from(percent).unwrap_or(99).min(99)
}

impl Pending {
    fn given_up(&self, waited: SignedDuration) -> Found {
        let Self { what, within } = self;
        let limit = match waited >= *within {
            true => format!("not finished within {within:#}"),
            false => "not finished when the gate gave up waiting for the others".to_owned(),
        };
        Found::Unreadable {
            why: format!("{what}: {limit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: Timestamp = Timestamp::UNIX_EPOCH;

    fn pending(what: &str, minutes: i64) -> Pending {
        Pending {
            what: what.to_owned(),
            within: SignedDuration::from_mins(minutes),
        }
    }

    fn after(seconds: i64, pending: &[Pending]) -> Patience {
        let wait = GateWait { began: BEGAN };
        let now = BEGAN + SignedDuration::from_secs(seconds);
        let story = ReleaseId::for_job("unit", "1").unwrap();
        wait.patience(now, pending, &story)
    }

    #[test]
    fn a_gate_waits_until_the_limit_and_not_longer() {
        let scan = [pending("the scan of web:1", 15)];
        let Patience::Wait(JobReply::Continue {
            token,
            summary,
            percent,
        }) = after(225, &scan)
        else {
            panic!("it gave up too early")
        };
        assert_eq!(token.story.as_str(), "unit-1");
        assert_eq!(summary, "waiting for the scan of web:1 (3m 45s of 15m)");
        assert_eq!(percent, 25);
        assert!(matches!(after(899, &scan), Patience::Wait(_)));
        let Patience::Over(found) = after(900, &scan) else {
            panic!("it waits beyond its limit")
        };
        let Some(Found::Unreadable { why }) = found.first() else {
            panic!("what is not finished passed")
        };
        assert_eq!(why, "the scan of web:1: not finished within 15m");
    }

    #[test]
    fn a_gate_that_must_fail_waits_for_nobody() {
        let two = [pending("reports", 1), pending("a scan", 60)];
        let Patience::Over(found) = after(60, &two) else {
            panic!("it waits although it must fail")
        };
        assert_eq!(found.len(), 2);
        let Some(Found::Unreadable { why }) = found.get(1) else {
            panic!("what is not finished passed")
        };
        assert!(why.contains("not finished when the gate gave up"), "{why}");
    }

    #[test]
    fn a_clock_that_goes_back_ends_no_wait() {
        assert!(matches!(
            after(-86_400, &[pending("a scan", 1)]),
            Patience::Wait(_)
        ));
    }

    #[test]
    fn the_time_counts_from_the_first_look_however_often_it_is_told() {
        let mut wait: Option<GateWait> = None;
        for seconds in [5, 9] {
            let at = BEGAN + SignedDuration::from_secs(seconds);
            wait.apply(&WaitEvent::Began { at });
        }
        let began = BEGAN + SignedDuration::from_secs(5);
        assert_eq!(wait, Some(GateWait { began }));
    }
}
