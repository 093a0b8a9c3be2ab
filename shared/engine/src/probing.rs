//! Looking at something until it is healthy.

use futures::future::join_all;
use release::check::{ProbeSpec, Probed};

use crate::{Class, Ports};

/// One round of all probes, side by side. What could not be looked at is not healthy; what is not as
/// the configuration says never will be.
pub async fn look_at(ports: &impl Ports, probes: &[ProbeSpec]) -> Vec<Probed> {
    let looks = probes
        .iter()
        .map(async |probe| match ports.probe(probe).await {
            Ok(probed) => probed,
            Err(error) if error.class == Class::Misconfigured => {
                Probed::hopeless(error.to_string())
            }
            Err(error) => Probed::unhealthy(error.to_string()),
        });
    join_all(looks).await
}
