//! Argo Rollouts: a background analysis that measures the success rate and counts failures.

use crate::judge::ladder::Timed;
use crate::judge::release::{Decider, Ending};
use crate::judge::world::Minute;

/// `successCondition: result[0] >= 0.95`, as in its documentation.
const SUCCESS_RATE_MIN: f64 = 0.95;
/// `failureLimit: 3`, as in its documentation: so many failures are allowed, one more aborts.
const FAILURES_MAX: u32 = 3;

/// A rollout analysed in the background, once a minute. Its documentation measures every five
/// minutes, which is slower to notice anything.
#[derive(Debug, Clone, Default)]
pub struct Argo {
    failures: u32,
    without_data: bool,
    timed: Timed,
}

impl Decider for Argo {
    fn weight(&self) -> f64 {
        self.timed.weight()
    }

    fn look(&mut self, minute: &Minute) -> Option<Ending> {
        let rate = minute.canary.error_rate();
        if rate.is_none_or(|rate| 1.0 - rate < SUCCESS_RATE_MIN) {
            self.failures += 1;
            self.without_data |= rate.is_none(); // 0/0 is not at least 0.95
        }
        if self.failures > FAILURES_MAX {
            return Some(match self.without_data {
                true => Ending::GaveUp,
                false => Ending::RolledBack,
            });
        }
        self.timed.pass().then_some(Ending::Promoted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::deciders::script::{arm, endings};

    #[test]
    fn the_fourth_failure_aborts() {
        let (good, bad) = (arm(100, 5), arm(100, 6));
        let minutes = [bad, good, bad, bad, good, good, bad];
        let seen = endings(&mut Argo::default(), &minutes);
        assert_eq!(seen[..6], [None; 6]);
        assert_eq!(seen[6], Some(Ending::RolledBack));
    }

    #[test]
    fn a_failure_does_not_halt_the_advance() {
        let mut minutes = vec![arm(100, 100)];
        minutes.extend([arm(100, 0); 29]);
        let seen = endings(&mut Argo::default(), &minutes);
        assert_eq!(seen[28..], [None, Some(Ending::Promoted)]);
    }

    #[test]
    fn nothing_over_nothing_is_a_failure() {
        let seen = endings(&mut Argo::default(), &[arm(0, 0); 4]);
        assert_eq!(seen[3], Some(Ending::GaveUp));
    }
}
