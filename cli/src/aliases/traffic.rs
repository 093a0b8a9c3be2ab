//! Counts of what the versions behind each alias did, by second.
//!
//! An invocation is counted once and whole, in the second in which it ended.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws::local::invocations::Second;

use crate::alb::three_digits;

/// Most seconds of aliases kept while nobody takes them; the oldest is dropped first.
const SECONDS_MAX: usize = 600;

/// Second, function and alias.
type Key = (i64, String, String);

#[derive(Debug, Default)]
pub(super) struct Traffic {
    seconds: Mutex<BTreeMap<Key, Second>>,
}

impl Traffic {
    /// Counts an invocation that `version` had through an alias of a function.
    pub(super) fn count(
        &self,
        at: i64,
        (function, alias): (&str, &str),
        version: &str,
        failed: bool,
        took: Duration,
    ) {
        let mut seconds = self.lock();
        let key = (at, function.to_owned(), alias.to_owned());
        let second = seconds.entry(key).or_insert_with(|| Second {
            function: function.to_owned(),
            alias: alias.to_owned(),
            at,
            versions: BTreeMap::new(),
        });
        let counts = second.versions.entry(version.to_owned()).or_default();
        counts.invocations += 1;
        counts.errors += u64::from(failed);
        let micros = counts.duration_micros.entry(three_digits(took));
        *micros.or_default() += 1;
        while seconds.len() > SECONDS_MAX {
            seconds.pop_first();
        }
    }

    /// Takes all seconds before `now`, oldest first.
    pub(super) fn take_before(&self, now: i64) -> Vec<Second> {
        let mut seconds = self.lock();
        let unfinished = seconds.split_off(&(now, String::new(), String::new()));
        std::mem::replace(&mut *seconds, unfinished)
            .into_values()
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Key, Second>> {
        // Every change is complete before the lock is given back, so a panic elsewhere spoiled nothing.
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(3);

    #[test]
    fn an_invocation_is_counted_once_for_its_version_in_a_second_that_is_over() {
        let traffic = Traffic::default();
        for (at, version, failed) in [
            (5, "7", false),
            (5, "8", true),
            (5, "7", false),
            (6, "7", false),
        ] {
            traffic.count(at, ("shop", "live"), version, failed, TOOK);
        }
        traffic.count(5, ("shop", "test"), "8", false, TOOK);
        let taken = traffic.take_before(6);
        assert_eq!(taken.len(), 2, "two aliases had a fifth second");
        let live = &taken[0].versions;
        assert_eq!((live["7"].invocations, live["7"].errors), (2, 0));
        assert_eq!((live["8"].invocations, live["8"].errors), (1, 1));
        assert_eq!(live["7"].duration_micros, [(3_000, 2)].into());
        assert_eq!(traffic.take_before(7).len(), 1, "each is given out once");
        assert!(traffic.take_before(7).is_empty());
    }

    #[test]
    fn seconds_nobody_takes_are_bounded() {
        let traffic = Traffic::default();
        for at in 0..SECONDS_MAX as i64 + 10 {
            traffic.count(at, ("shop", "live"), "7", false, TOOK);
        }
        let taken = traffic.take_before(i64::MAX);
        assert_eq!((taken.len(), taken[0].at), (SECONDS_MAX, 10));
    }
}
