//! The pipeline actions, written against the ports. One file each.

mod announce;
mod artifacts;
mod canary_shift;
mod company;
pub mod gather;
mod health_check;
mod output;
mod rollback_trigger;
mod sources;
mod test_gate;

pub use announce::Announce;
pub use canary_shift::CanaryShift;
pub use health_check::HealthCheck;
pub use rollback_trigger::RollbackTrigger;
pub use test_gate::TestGate;
