//! What the functions cost: `bench-start` measures cold starts against two others in the same run,
//! `bench-calls` counts the AWS calls of a demo that was run, `bench-gate` reads reports.
//!
//! Statistics and the reading of logs are pure; [`start`] alone starts processes.

pub mod calls;
pub mod sample;
pub mod start;
pub mod table;
