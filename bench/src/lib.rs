//! What the functions cost: `bench-start` measures cold starts against two others in the same run,
//! `bench-calls` counts the AWS calls of a demo that was run and the round trips of a release of each
//! target, `bench-gate` reads reports, `bench-judge` lets the judge and its rivals carry out simulated
//! releases.
//!
//! Statistics and the reading of logs are pure; [`start`] alone starts processes.

pub mod calls;
pub mod judge;
pub mod rollback;
pub mod round_trips;
pub mod sample;
pub mod start;
pub mod table;
