//! A release as an append-only log of facts.
//!
//! A release is one move of one target from a stable version to a candidate. Everything here is
//! pure: no clock, no network, no runtime. Time arrives as data in an [`Observation`].
//!
//! - [`Event`] is a past fact, [`Effect`] a command, [`Release`] what the facts add up to;
//! - [`decide`] turns a release and an observation into new events, with a [`Reason`];
//! - [`announce`] tells everybody else what happened, one change at a time;
//! - [`account`] tells what a release did and why, from its events;
//! - [`replay`] shows the same events to another plan;
//! - [`check`] does the same for a health check, [`gate`] for test and coverage reports;
//! - [`config`] is `penstock.yaml`;
//! - [`freeze`] says when no weight is raised;
//! - [`forecast`] says what a release does next;
//! - [`sources`] turn outside events (an alarm) into rollbacks.

pub mod account;
pub mod announce;
pub mod check;
mod company;
pub mod config;
mod decide;
mod event;
pub mod forecast;
pub mod freeze;
pub mod gate;
mod ids;
mod observation;
mod order;
mod reason;
mod release;
pub mod replay;
mod reply;
pub mod sources;
mod story;
pub mod watches;

pub use check::{CheckVerdict, Checked};
pub use company::{STAGE_END_WITHIN, TRANSITION_REASON_CHARS_MAX};
pub use decide::{Decision, EXTRA_WINDOWS_MAX, ask_rollback, decide};
pub use event::{
    ArmCounts, Arms, CandidateRequests, Effect, Event, Outcome, Proof, Started, Window,
};
pub use ids::{Generation, IdError, ReleaseId, TargetId, Weight, WeightError};
pub use observation::{Approved, Live, Observation};
pub use order::{By, HOLD_MAX, Order, take_order};
pub use reason::Reason;
pub use release::{Candidate, Phase, Release, STUCK_AFTER, STUCK_AGAIN, SWEEP_PAUSE, WindowQuery};
pub use reply::{FailureKind, JobReply, TRIES_MAX, Token};
pub use story::{Claim, Head, Story};
