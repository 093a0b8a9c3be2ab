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
mod gate;
mod job;
mod listener;
mod ports;
mod probing;
mod sweep;

pub use action::{Action, ActionError, Trigger};
pub use drive::{Driven, OrderError, ROUNDS_MAX, begin, drive, give_order, roll_back};
pub use error::{AppendError, Class, PortError, chain};
pub use gate::{
    Asking, Lost, Memory, Past, REMEMBER_TRIES_MAX, Recalled, STREAM_CHARS_MAX, Stream,
    StreamError, recall_history, remember_run,
};
pub use job::{Artifact, Credentials, Invocation, Job, PARAMETER_CHARS_MAX, UserParameters};
pub use listener::{Fact, Heard, Listener};
pub use ports::{
    ANNOUNCEMENTS_MAX, ArtifactStore, Clock, Company, Due, EventBus, Executions, GateHistory,
    HealthProbe, JobReporter, MetricSource, Ports, ReleaseLog, ReportSource, Sourced, Telemetry,
    TrafficTarget,
};
pub use probing::look_at;
pub use reports::Input;
pub use sweep::{SWEEP_PAGE, Swept, sweep};
