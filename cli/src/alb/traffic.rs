//! Counts of what passed through the proxy, by load balancer and second.
//!
//! A request is counted once and whole, in the second in which it ended; so within every second the
//! answers, failed connections and unanswered requests add up to the requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws::local::metrics::Second;

/// Most seconds kept while nobody takes them; the oldest is dropped first.
const SECONDS_MAX: usize = 600;

/// How a request ended that had a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The target answered with this status after so long.
    Answered { status: u16, after: Duration },
    /// The target refused the connection.
    NotConnected,
    /// The target broke off, took too long, or the client went away before it answered.
    Unanswered,
}

#[derive(Debug, Default)]
pub(super) struct Traffic {
    seconds: Mutex<BTreeMap<(i64, String), Second>>,
}

impl Traffic {
    /// Counts a request that was given to a target of `group`.
    pub(super) fn count(&self, at: i64, load_balancer: &str, group: &str, outcome: Outcome) {
        self.in_second(at, load_balancer, |second| {
            let counts = second.groups.entry(group.to_owned()).or_default();
            counts.requests += 1;
            match outcome {
                Outcome::Answered { status, after } => {
                    let class = usize::from(status / 100).checked_sub(2);
                    if let Some(answers) = class.and_then(|class| counts.answers.get_mut(class)) {
                        *answers += 1;
                    }
                    *counts
                        .response_micros
                        .entry(three_digits(after))
                        .or_default() += 1;
                }
                Outcome::NotConnected => counts.connection_errors += 1,
                Outcome::Unanswered => {}
            }
        });
    }

    /// Counts an answer that the load balancer gave itself: 4xx or 5xx.
    pub(super) fn count_own_answer(&self, at: i64, load_balancer: &str, status: u16) {
        self.in_second(at, load_balancer, |second| match status {
            500.. => second.elb_5xx += 1,
            _ => second.elb_4xx += 1,
        });
    }

    /// Takes all seconds before `now`, oldest first. They are complete: a request is counted at its end.
    pub(super) fn take_before(&self, now: i64) -> Vec<Second> {
        let mut seconds = self.lock();
        let unfinished = seconds.split_off(&(now, String::new()));
        std::mem::replace(&mut *seconds, unfinished)
            .into_values()
            .collect()
    }

    fn in_second(&self, at: i64, load_balancer: &str, change: impl FnOnce(&mut Second)) {
        let mut seconds = self.lock();
        let second = seconds
            .entry((at, load_balancer.to_owned()))
            .or_insert_with(|| Second {
                load_balancer: load_balancer.to_owned(),
                at,
                ..Second::default()
            });
        change(second);
        while seconds.len() > SECONDS_MAX {
            seconds.pop_first();
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(i64, String), Second>> {
        // Every change is complete before the lock is given back, so a panic elsewhere spoiled nothing.
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Microseconds rounded to three significant digits, so that a second has few distinct response times.
pub(crate) fn three_digits(duration: Duration) -> u64 {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    let unit = 10_u64.pow(micros.checked_ilog10().unwrap_or(0).saturating_sub(2));
    micros / unit * unit
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BALANCER: &str = "app/shop/1";

    fn outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            (200_u16..600, 0_u64..1_000_000).prop_map(|(status, micros)| Outcome::Answered {
                status,
                after: Duration::from_micros(micros)
            }),
            Just(Outcome::NotConnected),
            Just(Outcome::Unanswered),
        ]
    }

    proptest! {
        #[test]
        fn counts_add_up_to_the_requests_and_are_taken_once(
            requests in prop::collection::vec((0_i64..20, outcome()), 0..200),
            now in 0_i64..25,
        ) {
            let traffic = Traffic::default();
            for (at, outcome) in &requests {
                traffic.count(*at, BALANCER, "targetgroup/blue/1", *outcome);
            }
            let first = traffic.take_before(now);
            prop_assert!(first.iter().all(|second| second.at < now));
            let rest = traffic.take_before(i64::MAX);
            prop_assert!(rest.iter().all(|second| second.at >= now));
            let mut sums = (0, 0, 0, 0);
            for counts in first.iter().chain(&rest).flat_map(|second| second.groups.values()) {
                sums.0 += counts.requests;
                sums.1 += counts.answers.iter().sum::<u64>();
                sums.2 += counts.connection_errors;
                sums.3 += counts.response_micros.values().sum::<u64>();
            }
            let of = |kind: fn(&Outcome) -> bool| requests.iter().filter(|(_, outcome)| kind(outcome)).count() as u64;
            let answered = of(|outcome| matches!(outcome, Outcome::Answered { .. }));
            let refused = of(|outcome| *outcome == Outcome::NotConnected);
            prop_assert_eq!(sums, (requests.len() as u64, answered, refused, answered));
            prop_assert!(traffic.take_before(i64::MAX).is_empty());
        }

        #[test]
        fn three_digits_err_by_less_than_one_percent(micros in 0_u64..100_000_000) {
            let rounded = three_digits(Duration::from_micros(micros));
            prop_assert!(rounded <= micros && (micros - rounded) * 100 <= micros);
        }
    }

    #[test]
    fn seconds_nobody_takes_are_bounded() {
        let traffic = Traffic::default();
        for at in 0..SECONDS_MAX as i64 + 10 {
            traffic.count_own_answer(at, BALANCER, 503);
        }
        let kept = traffic.take_before(i64::MAX);
        assert_eq!(
            (kept.len(), kept[0].at, kept[0].elb_5xx),
            (SECONDS_MAX, 10, 1)
        );
    }
}
