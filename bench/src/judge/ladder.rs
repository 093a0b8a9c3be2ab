//! The plan that every decider follows: how much the canary gets, and for how long.

/// One step before the last: the canary's part of the requests, and the planned minutes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// 0 to 1.
    pub weight: f64,
    /// Planned.
    pub minutes: u32,
}

/// 1 %, 5 %, 25 % and 50 %; then everything.
pub const STEPS: [Step; 4] = [
    Step {
        weight: 0.01,
        minutes: 5,
    },
    Step {
        weight: 0.05,
        minutes: 5,
    },
    Step {
        weight: 0.25,
        minutes: 10,
    },
    Step {
        weight: 0.5,
        minutes: 10,
    },
];

/// The planned minutes until the canary serves everything.
pub const PLANNED_MINUTES: u32 = 30;

/// Where a release stands on the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Climb {
    step: usize,
}

impl Climb {
    /// The current step; `None` at the top.
    pub fn step(&self) -> Option<Step> {
        STEPS.get(self.step).copied()
    }

    /// The canary's part of the requests.
    pub fn weight(&self) -> f64 {
        self.step().map_or(1.0, |step| step.weight)
    }

    /// One step up; whether that is the top.
    pub fn up(&mut self) -> bool {
        self.step += 1;
        self.step >= STEPS.len()
    }
}

/// A climb by the clock: each step lasts as planned, in minutes that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timed {
    climb: Climb,
    minutes: u32,
}

impl Timed {
    /// The canary's part of the requests.
    pub fn weight(&self) -> f64 {
        self.climb.weight()
    }

    /// A minute has passed; whether the release is now at the top.
    pub fn pass(&mut self) -> bool {
        self.minutes += 1;
        let over = self
            .climb
            .step()
            .is_none_or(|step| self.minutes >= step.minutes);
        if !over {
            return false;
        }
        self.minutes = 0;
        self.climb.up()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_climb_by_the_clock_takes_as_long_as_planned() {
        let planned: u32 = STEPS.iter().map(|step| step.minutes).sum();
        assert_eq!(planned, PLANNED_MINUTES);

        let mut timed = Timed::default();
        let mut weights = Vec::new();
        loop {
            weights.push(timed.weight());
            if timed.pass() {
                break;
            }
        }
        assert_eq!(weights.len(), 30);
        assert_eq!(
            (weights[4], weights[5], weights[10], weights[29]),
            (0.01, 0.05, 0.25, 0.5)
        );
        assert_eq!(timed.weight(), 1.0);
    }
}
