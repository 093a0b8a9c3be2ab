//! A replay in words.

use jiff::{SignedDuration, Timestamp};
use stats::numerals::grouped;

use super::{Course, Move, Replay, Turn};
use crate::{Effect, Outcome, Phase};

impl Replay {
    /// What the other plan would have done, in sentences, the answer first.
    pub fn summary(&self) -> Vec<String> {
        let Some(parted) = &self.parted else {
            return vec![format!(
                "The other plan decides the same: {}.",
                self.recorded.told("")
            )];
        };
        let mut told = vec![format!(
            "The other plan decides otherwise from {} on.",
            clock(parted.at)
        )];
        told.push(format!("Recorded: {}.", self.recorded.told("")));
        told.push(format!("Other: {}.", self.other.told(&self.sooner())));
        told.push(format!(
            "Where they part, the recorded release {}; the other one {}.",
            parted.recorded.told(),
            parted.other.told()
        ));
        told.push(
            "From there on, the requests are those that were served at the recorded weights."
                .to_owned(),
        );
        told
    }

    /// How much sooner or later the other one ended in the same way.
    fn sooner(&self) -> String {
        let (Some(recorded), Some(other)) = (self.recorded.decided, self.other.decided) else {
            return match self.other.decided {
                None => ", and what would have come next is not known".to_owned(),
                Some(_) => String::new(),
            };
        };
        let time = other.duration_since(recorded);
        let requests = [
            self.recorded.candidate_requests,
            self.other.candidate_requests,
        ];
        let fewer = format!(
            "{} candidate requests",
            grouped(requests[0].abs_diff(requests[1]))
        );
        let (time, word) = match time.is_negative() {
            true => (time.abs(), "earlier"),
            false => (time, "later"),
        };
        match time.as_secs() {
            0 => String::new(),
            _ => format!(", {:#} and {fewer} {word}", whole_seconds(time)),
        }
    }
}

impl Course {
    /// How it went, such as `rolled back at 12:07:10 at 5%, after 3 100 candidate requests: ...`;
    /// `sooner` than what, if anything, stands before the reason.
    fn told(&self, sooner: &str) -> String {
        let requests = grouped(self.candidate_requests);
        let after = format!("after {requests} candidate requests{sooner}");
        let weight = self.weight;
        match (self.phase, self.decided) {
            (Phase::Promoted, Some(at)) => format!("promoted at {}, {after}", clock(at)),
            (Phase::RolledBack | Phase::RollingBack, Some(at)) => {
                let why = self.because.as_ref();
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                format!("rolled back at {} at {weight}, {after}{why}", clock(at))
            }
            (
                Phase::Shifting | Phase::Promoted | Phase::RollingBack | Phase::RolledBack,
                Some(_) | None,
            ) => format!(
                "still at {weight} when the log ends, {after}: {}",
                self.evidence
            ),
        }
    }
}

impl Turn {
    /// What is done, such as `goes on to 25% (nothing speaks against it: ...)`.
    fn told(&self) -> String {
        let moves = self.moves.iter().map(|what| match what {
            Move::Act(Effect::SetWeight(weight)) => format!("sets {weight}"),
            Move::Act(effect) => format!("is to {effect}"),
            Move::StepDone(step) => format!("ends step {}", step.saturating_add(1)),
            Move::RollBack => "turns round".to_owned(),
            Move::End(Outcome::Promoted) => "is promoted".to_owned(),
            Move::End(Outcome::RolledBack) => "is rolled back".to_owned(),
        });
        let moves: Vec<_> = moves.collect();
        // Why it turns round has been said.
        match moves.is_empty() {
            _ if self.moves.contains(&Move::RollBack) => "turns round".to_owned(),
            true => format!("waits ({})", self.because),
            false => format!("{} ({})", moves.join(", "), self.because),
        }
    }
}

fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

fn whole_seconds(time: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(time.as_secs())
}
