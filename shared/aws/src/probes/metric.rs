//! A number that CloudWatch keeps.

use engine::{Clock, PortError};
use release::check::{MetricProbe, Probed};

use crate::Aws;

pub(super) async fn probe(aws: &Aws, probe: &MetricProbe) -> Result<Probed, PortError> {
    let range = probe.range(aws.now());
    let seen = aws.datapoints(&probe.query(), probe.period, range).await?;
    Ok(probe.judge(&seen))
}
