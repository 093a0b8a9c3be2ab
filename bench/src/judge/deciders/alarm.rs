//! CodeDeploy: a CloudWatch alarm on the new version, which knows no baseline.

use crate::judge::ladder::Timed;
use crate::judge::release::{Decider, Ending};
use crate::judge::world::{Arm, Minute};

/// What a minute must show to count against the new version.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Breach {
    /// More than this part of the requests failed.
    Rate(f64),
    /// Any request failed: the alarm of the example in the documentation of AWS SAM.
    AnyError,
}

/// Minutes in a row that must be breaching, 2 of 2.
const MINUTES_IN_A_ROW: u32 = 2;

/// A deployment guarded by an alarm.
#[derive(Debug, Clone)]
pub struct Alarm {
    breach: Breach,
    in_a_row: u32,
    timed: Timed,
}

impl Alarm {
    /// A deployment at its beginning.
    pub fn new(breach: Breach) -> Self {
        Self {
            breach,
            in_a_row: 0,
            timed: Timed::default(),
        }
    }

    /// Whether the minute breaches; `None` without requests, for then the metric has no data.
    fn breaches(&self, arm: &Arm) -> Option<bool> {
        let rate = arm.error_rate()?;
        Some(match self.breach {
            Breach::Rate(limit) => rate > limit,
            Breach::AnyError => arm.errors > 0,
        })
    }
}

impl Decider for Alarm {
    fn weight(&self) -> f64 {
        self.timed.weight()
    }

    fn look(&mut self, minute: &Minute) -> Option<Ending> {
        match self.breaches(&minute.canary) {
            Some(true) => self.in_a_row += 1,
            Some(false) => self.in_a_row = 0,
            None => {} // missing data changes nothing
        }
        if self.in_a_row >= MINUTES_IN_A_ROW {
            return Some(Ending::RolledBack);
        }
        self.timed.pass().then_some(Ending::Promoted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::deciders::script::{arm, endings};

    const ONE_PER_CENT: Breach = Breach::Rate(0.01);

    #[test]
    fn two_breaching_minutes_in_a_row_fire() {
        let bad = arm(1000, 11);
        let good = arm(1000, 10);
        let mut alarm = Alarm::new(ONE_PER_CENT);
        let seen = endings(&mut alarm, &[bad, good, bad, bad]);
        assert_eq!(seen, [None, None, None, Some(Ending::RolledBack)]);
    }

    #[test]
    fn missing_data_changes_nothing() {
        let bad = arm(10, 10);
        let mut alarm = Alarm::new(ONE_PER_CENT);
        let seen = endings(&mut alarm, &[bad, arm(0, 0), bad]);
        assert_eq!(seen, [None, None, Some(Ending::RolledBack)]);
    }

    #[test]
    fn the_example_of_sam_fires_at_any_error_in_two_minutes() {
        let mut alarm = Alarm::new(Breach::AnyError);
        let seen = endings(&mut alarm, &[arm(60_000, 1), arm(60_000, 1)]);
        assert_eq!(seen, [None, Some(Ending::RolledBack)]);
        let mut alarm = Alarm::new(Breach::AnyError);
        let seen = endings(
            &mut alarm,
            &[arm(60_000, 1), arm(60_000, 0), arm(60_000, 1)],
        );
        assert_eq!(seen, [None, None, None]);
    }

    #[test]
    fn a_quiet_alarm_lets_a_deployment_take_its_planned_time() {
        let seen = endings(&mut Alarm::new(ONE_PER_CENT), &[arm(1000, 0); 30]);
        assert_eq!(seen[28..], [None, Some(Ending::Promoted)]);
    }
}
