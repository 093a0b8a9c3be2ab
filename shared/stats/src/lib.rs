//! The sequential judge: counts in, verdict out. Pure: no clock, no I/O, no randomness.
//!
//! A release is watched in windows of about a minute. Each window brings, for each metric, the
//! requests of the canary and of the baseline and how many of them were bad (failed, or slower
//! than a fixed threshold). After every window the judge may be asked for a [`Verdict`], and one
//! promise covers all those looks together: a release that does no harm is rolled back with
//! probability at most `alpha`.
//!
//! The promise is Ville's inequality. The judge keeps an *e-process*: a fortune that starts at 1
//! and, while the release does no harm, is not expected to grow whatever happened before. Such a
//! fortune ever reaches `1 / alpha` with probability at most `alpha`. Reaching it is the verdict.
//!
//! | file | what it holds |
//! |---|---|
//! | `logspace` | sums of numbers too large or too small to write down |
//! | `config`, `range` | what a user may set |
//! | `counts` | the counts of one arm, and the two arms of one window |
//! | `experts` | who bets, and with how much of the prior |
//! | `regression` | one expert's bet that the canary is worse than the baseline |
//! | `limit` | one expert's bet that the canary breaks a fixed limit |
//! | `robust` | a bet that survives bursts of unknown size |
//! | `wealth` | many experts, at every possible start, as one fortune |
//! | `noninferiority` | the opposite question: is the canary clearly good enough? |
//! | `metric` | everything known about one metric |
//! | `judge` | all metrics together, and the verdict |
//! | `explain`, `numerals` | the verdict in one sentence |
//! | `dispersion` | how clustered errors are, measured on a release of equal versions |
//!
//! ```
//! use stats::{Counts, Judge, JudgeConfig, Verdict};
//!
//! let config = JudgeConfig::default();
//! let mut judge = Judge::new(&config);
//! judge.observe(&config, "errors", Counts::new(60, 60)?, Counts::new(5940, 6)?)?;
//! assert_eq!(judge.verdict(&config), Verdict::Rollback);
//! assert_eq!(
//!     judge.explain(&config),
//!     "errors 100 % against 0.1 %, 990 times, evidence over 10^15 to 1 after 60 requests",
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod config;
mod counts;
mod dispersion;
mod experts;
mod explain;
mod judge;
mod limit;
mod logspace;
mod metric;
mod noninferiority;
pub mod numerals;
mod range;
mod regression;
mod robust;
mod verdict;
mod wealth;

#[cfg(test)]
mod enumeration;

pub use config::{ConfigError, JudgeConfig, METRIC_NAME_LEN_MAX, METRICS_MAX};
pub use counts::{Counts, CountsError};
pub use dispersion::cluster_size;
pub use judge::{Judge, Look, ObserveError};
pub use metric::Metric;
pub use verdict::Verdict;
