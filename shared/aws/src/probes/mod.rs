//! What tells whether something is healthy. One file a kind of probe, one line here.

mod alarm;
mod ecs;
mod http;
mod lambda;

use std::collections::BTreeSet;

use engine::{HealthProbe, PortError};
use release::check::{ProbeSpec, Probed, RunAnswer, RunCheck};
use serde_json::Value;

use crate::Aws;

impl HealthProbe for Aws {
    async fn probe(&self, probe: &ProbeSpec) -> Result<Probed, PortError> {
        match probe {
            ProbeSpec::Http(http) => http::probe(http).await,
            ProbeSpec::Alarm(alarm) => alarm::probe(self, alarm).await,
            ProbeSpec::EcsService(service) => ecs::probe(self, service).await,
        }
    }

    async fn firing(&self, alarms: &[String]) -> Result<BTreeSet<String>, PortError> {
        alarm::firing(self, alarms).await
    }

    async fn run_check(&self, check: &RunCheck, context: &Value) -> Result<RunAnswer, PortError> {
        lambda::run_check(self, check, context).await
    }
}
