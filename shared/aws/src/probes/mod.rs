//! What tells whether something is healthy. One file a kind of probe, one line here.

mod alarm;
mod canary;
mod ecs;
mod http;
mod lambda;
mod metric;
mod target_group;

use std::collections::BTreeSet;

use engine::{Class, HealthProbe, PortError};
use release::check::{Checked, ProbeSpec, Probed, RunCheck};
use serde_json::Value;

use crate::Aws;

/// The environment variable that says `true` where the stack's owner lets probes ask private
/// addresses.
pub const PRIVATE_PROBES_VARIABLE: &str = "PENSTOCK_ALLOW_PRIVATE_PROBES";

/// Where Lambda itself answers inside a function's machine: who asks there could take away events,
/// with the credentials in them.
const OWN_VARIABLES: [&str; 2] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// What probes may ask.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probing {
    /// Private addresses too, where the probe says so.
    private_too: bool,
    /// Ports of [`OWN_VARIABLES`], at which no private address is asked in any case.
    own_ports: Vec<u16>,
}

impl Probing {
    pub(crate) fn from_env() -> Self {
        let own = OWN_VARIABLES
            .iter()
            .filter_map(|name| std::env::var(name).ok());
        Self {
            private_too: std::env::var(PRIVATE_PROBES_VARIABLE).is_ok_and(|text| text == "true"),
            own_ports: own.filter_map(|text| port_of(&text)).collect(),
        }
    }
}

/// 9001 of `127.0.0.1:9001` and of `http://127.0.0.1:9001/path`.
fn port_of(text: &str) -> Option<u16> {
    let bare = text.split_once("://").map_or(text, |(_, rest)| rest);
    let host = bare.split('/').next()?;
    host.rsplit_once(':')?.1.parse().ok()
}

impl HealthProbe for Aws {
    async fn probe(&self, probe: &ProbeSpec) -> Result<Probed, PortError> {
        let look = async {
            match probe {
                ProbeSpec::Http(http) => Ok(http::probe(self, http).await),
                ProbeSpec::Alarm(alarm) => alarm::probe(self, alarm).await,
                ProbeSpec::Metric(metric) => metric::probe(self, metric).await,
                ProbeSpec::TargetGroup(group) => target_group::probe(self, group).await,
                ProbeSpec::EcsService(service) => ecs::probe(self, service).await,
                ProbeSpec::Lambda(function) => lambda::probe(self, function).await,
                ProbeSpec::Canary(canary) => canary::probe(self, canary).await,
            }
        };
        // All probes of a round run side by side, so this bounds the round.
        let most = probe.time_max();
        match tokio::time::timeout(most.unsigned_abs(), look).await {
            Ok(seen) => seen,
            Err(_) => {
                let why = format!("it took longer than {most:#}");
                Err(PortError::new(Class::Retryable, "look", why))
            }
        }
    }

    async fn firing(&self, alarms: &[String]) -> Result<BTreeSet<String>, PortError> {
        alarm::firing(self, alarms).await
    }

    async fn run_check(&self, check: &RunCheck, context: &Value) -> Result<Checked, PortError> {
        lambda::run_check(self, check, context).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_of_lambda_itself_are_known() {
        for (text, port) in [
            ("127.0.0.1:9001", Some(9001)),
            ("http://127.0.0.1:2773/v2/credentials", Some(2773)),
            ("169.254.100.1:9001/2018", Some(9001)),
            ("localhost", None),
            ("", None),
        ] {
            assert_eq!(port_of(text), port, "{text}");
        }
    }
}
