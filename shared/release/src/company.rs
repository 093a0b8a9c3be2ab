//! What goes back with a release besides its weights, and when: the deployments alongside it, and its
//! stage of the pipeline.
//!
//! Weights first: traffic is what hurts. Then the deployments alongside are stopped, and the stage is
//! closed while the failed action still holds it, so that no execution slips in between. A stage can
//! be rolled back only once nothing of it runs, and the release's own action does: so that comes last,
//! after the action has been told that it failed.

use jiff::{SignedDuration, Timestamp};

use crate::config::{PipelinePolicy, StageArn};
use crate::{Effect, Reason, Release};

/// How long a release that is back waits for its stage to end, counted from when the stable version
/// got everything back. Other actions of the stage may go on for days, and as long as a release is
/// not over no other one can have its target.
pub const STAGE_END_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// The longest reason of a disabled transition, in characters (service model,
/// `DisabledReason`).
pub const TRANSITION_REASON_CHARS_MAX: usize = 300;

impl Release {
    /// What is to be stopped or closed as soon as the weights are back.
    pub(crate) fn company(&self) -> Option<Effect> {
        let closes = match &self.plan().rollback.pipeline {
            Some(PipelinePolicy::DisableTransition(_)) => self.to_hold,
            Some(PipelinePolicy::RollBackStage(_)) | None => false,
        };
        match (self.to_stop, closes) {
            (true, _) => Some(Effect::StopAlongside),
            (false, true) => Some(Effect::HoldStage),
            (false, false) => None,
        }
    }

    /// The stage whose end a release that is back waits for, to roll it back.
    pub fn awaits_stage(&self) -> Option<&StageArn> {
        let rolls_back = self.plan().rollback.rolls_back();
        rolls_back.filter(|_| self.is_back() && self.to_hold && !self.to_stop && !self.test_traffic)
    }

    /// Whether all that is left to do is to roll the stage back, intended already or not.
    pub(crate) fn waits_for_stage(&self) -> bool {
        self.awaits_stage().is_some()
            || self.intended == Some(Effect::HoldStage)
                && self.plan().rollback.rolls_back().is_some()
    }

    /// How much longer it waits for that, when its execution is in the stage still, or nobody knows.
    pub(crate) fn stage_left(
        &self,
        in_stage: Option<bool>,
        now: Timestamp,
    ) -> Option<SignedDuration> {
        let left = STAGE_END_WITHIN - now.duration_since(self.weight_since);
        (in_stage != Some(false) && left > SignedDuration::ZERO).then_some(left)
    }

    /// Why the stage's transition is disabled, in the characters that CodePipeline takes.
    pub fn transition_reason(&self) -> String {
        let why = self.because.as_ref().map(Reason::to_string);
        let why = why.unwrap_or_else(|| "it could not go on".to_owned());
        let release = &self.started.release;
        transition_reason(&format!("Penstock: release {release} went back: {why}"))
    }
}

/// A text in the characters that CodePipeline takes as a reason, `[a-zA-Z0-9!@ ().*?-]`, 1 to 300 of
/// them: quotes fall away, white space is a space, and anything else a hyphen.
fn transition_reason(text: &str) -> String {
    let kept = text.chars().filter(|c| !matches!(c, '\'' | '"' | '`'));
    let mapped = kept.map(|c| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => c,
        '!' | '@' | ' ' | '(' | ')' | '.' | '*' | '?' | '-' => c,
        c if c.is_whitespace() => ' ',
        _ => '-',
    });
    let reason: String = mapped.take(TRANSITION_REASON_CHARS_MAX).collect();
    match reason.trim() {
        "" => "-".to_owned(),
        reason => reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_reason_stays_readable_in_the_characters_that_are_left() {
        assert_eq!(
            transition_reason("Penstock: alarm 'shop_5xx' fired: 3.2 % > 1 %,\nsee runbook/7"),
            "Penstock- alarm shop-5xx fired- 3.2 - - 1 -- see runbook-7"
        );
    }

    proptest! {
        #[test]
        fn whatever_the_reason_says_codepipeline_takes_it(text in any::<String>()) {
            let reason = transition_reason(&text);
            prop_assert!((1..=TRANSITION_REASON_CHARS_MAX).contains(&reason.chars().count()));
            let allowed = |c: char| c.is_ascii_alphanumeric() || "!@ ().*?-".contains(c);
            prop_assert!(reason.chars().all(allowed), "{reason}");
        }
    }
}
