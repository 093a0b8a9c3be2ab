//! Flagger: checks against fixed thresholds every minute, and a count of those that failed.

use crate::judge::ladder::Timed;
use crate::judge::release::{Decider, Ending};
use crate::judge::world::{Arm, Minute};

/// `request-success-rate`, `thresholdRange.min: 99`, as in its examples.
const SUCCESS_RATE_MIN: f64 = 0.99;
/// `request-duration`, `thresholdRange.max: 500`: the p99 in milliseconds, as in its examples. The
/// p99 is beyond it when more than this part of the requests is.
const OVER_HALF_SECOND_MAX: f64 = 0.01;
/// `threshold`: failed checks before the rollback, as in its examples.
const FAILED_CHECKS_MAX: u32 = 5;

/// A canary analysed by Flagger.
#[derive(Debug, Clone, Default)]
pub struct Flagger {
    failed: u32,
    without_data: bool,
    timed: Timed,
}

impl Decider for Flagger {
    fn weight(&self) -> f64 {
        self.timed.weight()
    }

    fn look(&mut self, minute: &Minute) -> Option<Ending> {
        if self.failed >= FAILED_CHECKS_MAX {
            // Decided one tick after the last check failed.
            return Some(match self.without_data {
                true => Ending::GaveUp,
                false => Ending::RolledBack,
            });
        }
        match passes(&minute.canary) {
            Some(true) => self.timed.pass().then_some(Ending::Promoted),
            other => {
                self.failed += 1; // never reset
                self.without_data |= other.is_none();
                None // and the advance is halted: this minute counts for no step
            }
        }
    }
}

/// Whether a minute passes both checks; `None` without requests, which fails too.
fn passes(arm: &Arm) -> Option<bool> {
    let successful = 1.0 - arm.error_rate()?;
    let over = arm.over_half_second as f64 / arm.count as f64;
    Some(successful >= SUCCESS_RATE_MIN && over <= OVER_HALF_SECOND_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::deciders::script::{arm, endings};

    #[test]
    fn the_tick_after_the_fifth_failed_check_rolls_back() {
        let (good, bad) = (arm(1000, 10), arm(1000, 11));
        let minutes = [bad, bad, good, bad, bad, good, bad, good];
        let seen = endings(&mut Flagger::default(), &minutes);
        assert_eq!(seen[..7], [None; 7]);
        assert_eq!(seen[7], Some(Ending::RolledBack));
    }

    #[test]
    fn a_slow_p99_fails_a_check() {
        let slow = Arm {
            over_half_second: 11,
            ..arm(1000, 0)
        };
        assert_eq!(passes(&slow), Some(false));
        let quick = Arm {
            over_half_second: 10,
            ..slow
        };
        assert_eq!(passes(&quick), Some(true));
    }

    #[test]
    fn empty_checks_count_too() {
        let seen = endings(&mut Flagger::default(), &[arm(0, 0); 6]);
        assert_eq!(seen[5], Some(Ending::GaveUp));
    }

    #[test]
    fn a_failed_check_halts_the_advance() {
        let mut minutes = vec![arm(1000, 1000)];
        minutes.extend([arm(1000, 0); 30]);
        let seen = endings(&mut Flagger::default(), &minutes);
        assert_eq!(seen[29..], [None, Some(Ending::Promoted)]);
    }
}
