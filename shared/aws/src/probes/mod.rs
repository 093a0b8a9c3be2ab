//! What tells whether something is healthy. One file a kind of probe, one line here.

mod alarm;
mod ecs;
mod http;

use std::collections::BTreeSet;

use engine::{HealthProbe, PortError};
use release::Checked;
use release::check::{ProbeSpec, Probed, RunCheck};

use crate::Aws;

impl HealthProbe for Aws {
    async fn probe(&self, probe: &ProbeSpec) -> Result<Probed, PortError> {
        match probe {
            ProbeSpec::Http(http) => http::probe(http).await,
            ProbeSpec::Alarm(alarm) => alarm::probe(self, alarm).await,
            ProbeSpec::EcsService(service) => ecs::probe(self, service).await,
        }
    }

    async fn run_check(
        &self,
        check: &RunCheck,
        _context: &serde_json::Value,
    ) -> Result<Checked, PortError> {
        Err(PortError::new(
            engine::Class::Permanent,
            format!("ask {}", check.name()),
            "not implemented yet",
        ))
    }

    async fn firing(&self, alarms: &[String]) -> Result<BTreeSet<String>, PortError> {
        alarm::firing(self, alarms).await
    }
}
