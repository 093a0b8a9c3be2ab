//! Penstock's judge against those who decide otherwise, in closed loop: each gives its canary the
//! weight it thinks right, minute by minute, and what it sees next depends on that.
//!
//! Everything here is pure: a figure is a function of the seed and the number of releases.
//!
//! | module | what it holds |
//! |---|---|
//! | `random` | random numbers named by what they are for |
//! | `world` | traffic, and what the versions do to it |
//! | `ladder` | the plan that all follow |
//! | `release` | one release in closed loop |
//! | `deciders` | Penstock, the oracle, Kayenta, Flagger, Argo Rollouts, CodeDeploy |
//! | `cells` | which scenarios are simulated |
//! | `tournament` | all releases of all cells by all contenders |
//! | `tally` | what came of them |
//! | `goals` | what was promised beforehand |
//! | `tables` | the figures for a terminal |
//! | `plot` | the figures as a picture |
//! | `limit` | how many requests anybody needs |

pub mod cells;
pub mod deciders;
pub mod goals;
pub mod ladder;
pub mod limit;
pub mod plot;
pub mod random;
pub mod release;
pub mod tables;
pub mod tally;
pub mod tournament;
pub mod world;
