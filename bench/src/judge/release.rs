//! One release in closed loop: what a decider sees next depends on what it has decided.

use super::world::{Minute, Scenario};

/// The canary's harm is counted up to this minute: the planned half hour, and another at 100 %.
pub const HORIZON_MINUTES: u32 = 60;

/// By then every decider must have come to an end.
pub const MINUTES_MAX: u32 = 240;

/// How a release ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The canary serves everything. Nobody looks any more.
    Promoted,
    /// The canary looked worse and serves nothing any more.
    RolledBack,
    /// It was taken back for want of requests, not because of what they showed.
    GaveUp,
}

/// Somebody who gives the canary its weight, minute by minute.
pub trait Decider {
    /// The canary's part (0 to 1) of the requests in the minute to come.
    fn weight(&self) -> f64;

    /// Looks at the minute that has passed, each once and in order. An ending is final.
    fn look(&mut self, minute: &Minute) -> Option<Ending>;
}

/// What came of a release.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// Minutes from its beginning to its end.
    pub minutes: u32,
    /// Requests that the canary served while it did harm, up to [`HORIZON_MINUTES`] if promoted.
    pub exposed: f64,
}

/// Lets a decider carry out the release of this seed.
pub fn carry_out(decider: &mut dyn Decider, scenario: &Scenario, seed: u64) -> Outcome {
    let mut exposed = 0.0;
    for number in 1..=MINUTES_MAX {
        let minute = scenario.minute(seed, number, decider.weight());
        if scenario.harms(number) {
            exposed += minute.canary.count as f64;
        }
        if let Some(ending) = decider.look(&minute) {
            if ending == Ending::Promoted {
                exposed += exposed_after(scenario, number);
            }
            return Outcome {
                ending,
                minutes: number,
                exposed,
            };
        }
    }
    Outcome {
        ending: Ending::GaveUp,
        minutes: MINUTES_MAX,
        exposed,
    }
}

/// The requests that meet a harmful canary between its promotion and the horizon, on average.
fn exposed_after(scenario: &Scenario, promoted: u32) -> f64 {
    let harmful = (promoted + 1..=HORIZON_MINUTES).filter(|minute| scenario.harms(*minute));
    harmful.count() as f64 * scenario.requests_per_minute()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::world::Harm;

    /// Ends after some minutes, and remembers what it saw.
    struct Script {
        ends: u32,
        with: Ending,
        seen: Vec<Minute>,
    }

    impl Decider for Script {
        fn weight(&self) -> f64 {
            if self.seen.len() < 3 { 0.01 } else { 0.5 }
        }

        fn look(&mut self, minute: &Minute) -> Option<Ending> {
            self.seen.push(*minute);
            (minute.number >= self.ends).then_some(self.with)
        }
    }

    fn script(ends: u32, with: Ending) -> Script {
        Script {
            ends,
            with,
            seen: Vec::new(),
        }
    }

    fn outage_since(since: u32) -> Scenario {
        Scenario {
            harm: Harm::Outage,
            since,
            ..Scenario::calm(10.0, 0.001)
        }
    }

    #[test]
    fn a_decider_sees_each_minute_once_in_order_and_none_after_its_end() {
        let mut decider = script(7, Ending::RolledBack);
        let outcome = carry_out(&mut decider, &outage_since(1), 1);
        let numbers: Vec<u32> = decider.seen.iter().map(|minute| minute.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(outcome.minutes, 7);
    }

    #[test]
    fn the_loop_is_closed_the_weight_decides_what_is_seen() {
        let mut decider = script(6, Ending::RolledBack);
        carry_out(&mut decider, &outage_since(1), 1);
        let canary = |at: usize| decider.seen[at].canary.count;
        assert!(canary(2) < 30 && canary(3) > 200, "{:?}", decider.seen);
    }

    #[test]
    fn exposure_ends_with_a_rollback() {
        let mut decider = script(6, Ending::RolledBack);
        let outcome = carry_out(&mut decider, &outage_since(1), 1);
        let served: u64 = decider.seen.iter().map(|minute| minute.canary.count).sum();
        assert_eq!(outcome.exposed, served as f64);
    }

    #[test]
    fn exposure_goes_on_after_a_promotion_up_to_the_horizon() {
        let outcome = carry_out(&mut script(50, Ending::Promoted), &outage_since(51), 1);
        assert_eq!(outcome.exposed, 10.0 * 600.0);
        let outcome = carry_out(
            &mut script(50, Ending::Promoted),
            &Scenario::calm(10.0, 0.1),
            1,
        );
        assert_eq!(outcome.exposed, 0.0);
    }

    #[test]
    fn only_requests_during_harm_are_exposed() {
        let mut decider = script(6, Ending::RolledBack);
        let outcome = carry_out(&mut decider, &outage_since(6), 1);
        assert_eq!(outcome.exposed, decider.seen[5].canary.count as f64);
    }
}
