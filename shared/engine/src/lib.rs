//! The ports to the outside world, and [`drive`], the loop that loads, decides, intends and
//! performs.
//!
//! With the feature `fakes` there are an in-memory world behind the same ports, faults that break
//! every single call of it, and mutants that break each rule of the protocol.

mod action;
mod drive;
mod error;
#[cfg(feature = "fakes")]
pub mod fakes;
mod job;
mod ports;

pub use action::{Action, ActionError, Trigger};
pub use drive::{Driven, ROUNDS_MAX, begin, drive, roll_back};
pub use error::{AppendError, Class, PortError, chain};
pub use job::{Artifact, Credentials, Invocation, Job, UserParameters};
pub use ports::{
    ArtifactStore, Clock, HealthProbe, JobReporter, MetricSource, Ports, ReleaseLog, ReportSource,
    Sourced, TrafficTarget,
};
